"""./dev: build output, certificates, ports, statistics, pid files, and what the user gets to read."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from devtool import commands, development, engine, ports
from devtool import settings as settings_module
from devtool.base import private_certificates
from devtool.cluster import Container
from devtool.development import needs_engine
from devtool.images import BuildOutput
from devtool.report import parse_size_mib
from devtool.rotation import left_out, parse_statistics, sentences
from devtool.settings import ROOT, Settings
from devtool.shell import CommandFailed, run, stream
from devtool.terminal import Problem, Progress


def certificate(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"


def test_build_output_tells_what_is_at_work_and_what_took_long() -> None:
    output = BuildOutput()
    output.feed(
        "#11 [consul1 base 2/2] RUN --mount=type=cache,target=/var/cache/apt,sharing=locked     install-packages ca-certificates"
    )
    output.feed("#12 [consul1 consul-source 4/4] RUN cd /src/consul && go build")
    output.feed("#11 0.5 Reading package lists...")
    assert output.now() == "base: RUN install-packages ca-certificates"
    output.feed("#11 DONE 3.6s")
    assert output.now() == "consul-source: RUN cd /src/consul && go build"
    output.feed("#12 DONE 231.0s")
    assert output.longest(3) == [
        ("consul-source: RUN cd /src/consul && go build", 231.0),
        ("base: RUN install-packages ca-certificates", 3.6),
    ]
    assert output.longest(60) == [("consul-source: RUN cd /src/consul && go build", 231.0)]


def test_cached_parts_of_a_build_take_no_time() -> None:
    output = BuildOutput()
    output.feed("#5 [agent1 mesos 1/3] RUN install-packages libsvn1")
    output.feed("#5 CACHED")
    assert output.longest(0) == []
    assert output.now() == ""


def test_a_part_that_is_announced_again_for_another_image_is_not_at_work_again() -> None:
    output = BuildOutput()
    output.feed("#5 [agent1 base 2/2] RUN install-packages ca-certificates")
    output.feed("#5 DONE 4.0s")
    output.feed("#5 [consul1 base 2/2] RUN install-packages ca-certificates")
    assert output.now() == ""
    output.feed("#5 DONE 4.0s")
    assert len(output.longest(0)) == 1


def test_only_certificates_beyond_the_distributions_own_are_passed_on() -> None:
    bundle = f"{certificate('AAA')}\n{certificate('BBB')}\n{certificate('CCC')}\n"
    assert private_certificates(bundle, [certificate("AAA"), certificate("CCC") + "\n"]) == [certificate("BBB")]
    assert private_certificates(bundle, []) == [certificate("AAA"), certificate("BBB"), certificate("CCC")]


def test_statistics_count_servers_up_by_backend() -> None:
    text = (
        "# pxname,svname,status,\n"
        "eratos:traffic,FRONTEND,OPEN,\n"
        "prime,eratos-prime.1,UP,\n"
        "prime,eratos-prime.2,UP 1/2,\n"
        "prime,eratos-prime.3,DOWN,\n"
        "prime,BACKEND,UP,\n"
        "hello,eratos-hello.1,MAINT,\n"
    )
    assert parse_statistics(text) == {"prime": 2, "hello": 0}


def test_what_balancers_leave_out_is_told_once_for_each_reason() -> None:
    def balancer(host: str, *reasons: str) -> dict[str, Any]:
        return {"Service": {"Meta": {"eratos-host": host, **{f"eratos-left-out-{i}": text for i, text in enumerate(reasons)}}}}

    balancers = [balancer("b2", "db: port 5432: taken"), balancer("b1", "db: port 5432: taken", "a: mode"), balancer("b3")]
    assert sentences(left_out(balancers)) == ["left out by b1: a: mode", "left out by b1, b2: db: port 5432: taken"]


@pytest.mark.parametrize(("text", "mib"), [("512KiB", 0.5), ("37.53MiB", 37.53), ("1.5GiB", 1536.0), ("0B", 0.0)])
def test_sizes_of_docker_stats_are_read(text: str, mib: float) -> None:
    assert parse_size_mib(text) == pytest.approx(mib)


@pytest.fixture
def taken_port() -> object:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_told_with_the_variable_that_moves_it(taken_port: int) -> None:
    settings = Settings(variables={"ERATOS_BALANCER1_PORT": str(taken_port)})
    assert not ports.is_free(taken_port)
    with pytest.raises(Problem) as caught:
        ports.check(settings, [])
    assert f"{taken_port} is held by" in str(caught.value)
    assert "ERATOS_BALANCER1_PORT=" in caught.value.fix


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_a_port_that_the_cluster_holds_itself_is_no_problem(taken_port: int, state: str) -> None:
    settings = Settings(variables={"ERATOS_BALANCER1_PORT": str(taken_port)})
    mine = [
        Container(name=service, service=service, state=state, health="", exit_code=0, started_at="", restarts=0)
        for service in settings.services()
    ]
    ports.check(settings, mine)


def test_pid_files_are_removed_unless_their_process_is_still_that_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, reused, alive = tmp_path / "gone.pid", tmp_path / "reused.pid", tmp_path / "alive.pid"
    gone.write_text("4194305")
    reused.write_text(str(os.getpid()))
    alive.write_text(str(os.getpid()))
    # The name that the kernel has for this very process.
    own_name = Path("/proc/self/comm").read_text().strip()
    monkeypatch.setattr(engine, "PID_FILES", {"dockerd": str(gone), "containerd": str(reused), own_name: str(alive)})
    engine.remove_stale_pid_files()
    assert (gone.exists(), reused.exists(), alive.exists()) == (False, False, True)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["tests/unit", "-k", "dev"], False),
        (["tests/unit/test_x.py::test_y", "tests/simulation"], False),
        (["tests/e2e"], True),
        (["tests/unit", "tests/contract"], True),
        (["-k", "rotation"], True),
    ],
)
def test_the_engine_is_started_only_for_tests_that_may_need_it(arguments: list[str], needed: bool) -> None:
    assert needs_engine(arguments) is needed


def test_a_failed_program_is_told_with_the_end_of_its_output() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "echo one; echo two >&2; exit 3"])
    assert "exit code 3" in str(caught.value)
    assert "one" in str(caught.value) and "two" in str(caught.value)
    assert run(["sh", "-c", "echo one; exit 3"], check=False) == ""


def test_a_missing_program_is_told() -> None:
    with pytest.raises(CommandFailed, match="no such program"):
        run(["eratos-has-no-such-program"])


def test_a_long_program_hands_over_its_lines_and_keeps_a_log(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "folder" / "build.log"
    with pytest.raises(CommandFailed, match=r"build\.log"):
        stream(["sh", "-c", "echo first; echo second; exit 1"], lines.append, log)
    assert lines == ["first", "second"]
    assert log.read_text() == "first\nsecond\n"


def test_a_step_is_one_line_with_its_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    with progress.step("do it") as step:
        step.text = "did it"
    with pytest.raises(ValueError, match="broken"), progress.step("do more"):
        raise ValueError("broken")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(" s  did it")
    assert second.endswith(" s  do more ... did not work")


def test_help_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main([]) == 0
    text = capsys.readouterr().out
    for name in ("up", "down", "status", "ps", "logs", "scale", "shell", "kill", "test", "bench", "lint"):
        assert f"\n    {name} " in text


def test_a_problem_is_two_lines_and_exit_code_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings_module, "GENERATED", tmp_path)
    assert commands.main(["up", "--agents", "0"]) == 1
    error, fix = capsys.readouterr().err.splitlines()
    assert error == "error: --agents 0 is out of range"
    assert fix == "fix:   choose between 1 and 50"


def test_a_benchmark_may_clean_up_after_ctrl_c() -> None:
    # The benchmark is told whenever somebody begins to wait for it, and takes until the second time: who kills it instead, as
    # subprocess.run does after a quarter of a second, never lets it end well. The blocked signal is inherited.
    script = """if True:
        import signal, subprocess, sys
        from devtool.development import to_its_end

        class Telling(subprocess.Popen):
            def wait(self, timeout=None):
                self.send_signal(signal.SIGUSR1)
                return super().wait(timeout)

        subprocess.Popen = Telling
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        # As from a terminal: in the background, or under nohup, ctrl-C is ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(to_its_end(sys.argv[1:], {}))
        """
    benchmark = """if True:
        import os, signal, sys

        signal.sigwait([signal.SIGUSR1])
        os.kill(os.getppid(), signal.SIGINT)
        signal.sigwait([signal.SIGUSR1])
        print("clean")
        sys.exit(3)
        """
    command = [sys.executable, "-c", script, sys.executable, "-c", benchmark]
    environment = {**os.environ, "PYTHONPATH": str(settings_module.COMPOSE_FOLDER)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, "clean\n"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "chosen", "ran"),
    [
        (["tests/unit"], {}, [["tests/unit"]]),
        (["tests/unit"], {"everything": True}, [["tests/unit", "-m", ""]]),
        ([], {}, [[*development.WITHOUT_ENGINE], [*development.BESIDE], ["tests/e2e"]]),
        (
            [],
            {"everything": True},
            [[*development.WITHOUT_ENGINE, "-m", ""], [*development.BESIDE, "-m", ""], ["tests/e2e", "-m", ""]],
        ),
        ([], {"fast": True}, [["tests/unit", "tests/scenarios", "-m", development.FAST]]),
        (["-x"], {"fast": True}, [["tests/unit", "tests/scenarios", "-m", development.FAST]]),
        (["tests/unit/cli"], {"fast": True}, [["tests/unit/cli", "-m", development.FAST]]),
    ],
)
def test_how_long_tests_take_is_chosen(
    pytest_runs: list[list[str]], arguments: list[str], chosen: dict[str, bool], ran: list[list[str]]
) -> None:
    assert development.test(Settings(), arguments, **chosen) == 0
    assert pytest_runs == ran
    assert os.environ.get("HYPOTHESIS_PROFILE") == ("thorough" if "everything" in chosen else None)


@pytest.mark.parametrize(
    ("arguments", "side_by_side"),
    [
        (["tests/unit"], True),
        (["tests/unit/cli", "tests/simulation", "-x"], True),
        (["tests/unit/cli/test_wait.py"], False),
        (["tests/unit/cli/test_wait.py::test_a_countdown_is_told_once"], False),
        (["tests/unit", "-n0"], False),
        (["tests/unit", "tests/contract"], False),
        (["-x"], False),
    ],
)
def test_whole_folders_that_share_nothing_are_run_side_by_side(
    monkeypatch: pytest.MonkeyPatch, pytest_runs: list[list[str]], arguments: list[str], side_by_side: bool
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(development, "_pytest", lambda words: ran.append(words) or 0)
    assert development.test(Settings(), arguments) == 0
    assert ran == [[*(["-n", development.WITHOUT_ENGINE_PROCESSES, "--dist", "worksteal"] if side_by_side else []), *arguments]]


def test_tests_with_clusters_of_their_own_run_beside_those_of_the_shared_one(
    monkeypatch: pytest.MonkeyPatch, pytest_runs: list[list[str]]
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(development, "_pytest", lambda words: ran.append(words) or 0)
    assert development.test(Settings(), []) == 0
    assert ran[-1] == ["tests/e2e", *(f"--ignore={path}" for path in development.OWN_CLUSTER)]
    assert {*development.OWN_CLUSTER} < {*pytest_runs[-1]}


@pytest.mark.parametrize("path", development.OWN_CLUSTER)
def test_tests_with_clusters_of_their_own_leave_the_shared_one_alone(path: str) -> None:
    functions = [found for found in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(found, ast.FunctionDef)]
    tests = [found for found in functions if found.name.startswith("test_")]
    assert tests and not {argument.arg for test in tests for argument in test.args.args} & {"cluster", "fleet", "settings"}


@pytest.mark.parametrize(
    ("failing", "code"), [(None, 0), ("tests/unit", 7), ("tests/contract", 7), ("tests/e2e", 7)], ids=lambda value: str(value)
)
def test_a_failure_of_any_kind_of_tests_is_the_exit_code(
    pytest_runs: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str | None,
    code: int,
) -> None:
    monkeypatch.setenv("FAILING", failing or "")
    assert development.test(Settings(), []) == code
    beside_shown = "what it printed: tests/contract" in capsys.readouterr().out
    assert beside_shown == (failing != "tests/unit"), "what ran beside is shown, whatever the other did"


@pytest.fixture
def pytest_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Return what pytest is started with, which fails with 7 where FAILING is among the folders."""
    found: list[list[str]] = []

    def command(words: list[str]) -> list[str]:
        chosen = [word for word in words if word.startswith("tests/") or word in ("-m", "", development.FAST)]
        found.append(chosen)
        failing = os.environ.get("FAILING") in chosen
        return [sys.executable, "-c", f"print('what it printed:', {chosen[0]!r}); raise SystemExit({7 * failing})"]

    # Both, so that what is set meanwhile is forgotten, too.
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "")
    monkeypatch.delenv("HYPOTHESIS_PROFILE")
    monkeypatch.setattr(development, "ensure_venv", lambda progress: None)
    monkeypatch.setattr(development, "_ensure_engine_and_images", lambda settings, progress: None)
    monkeypatch.setattr(development, "_ensure_programs", lambda progress: None)
    monkeypatch.setattr(development, "_pytest_command", command)
    monkeypatch.setattr(development, "BESIDE_LOG", tmp_path / "tests-beside.log")
    return found


@pytest.mark.parametrize(("failing", "code"), [("", 0), ("ruff", 3), ("mypy", 3), ("sphinx", 3), ("pytest", 3)])
def test_what_any_check_of_lint_finds_is_shown_and_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str, code: int
) -> None:
    ran: list[list[str]] = []

    def check(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        failed = failing in words if failing else False
        return subprocess.CompletedProcess(words, 3 * failed, "one line\nwhat is wrong\nthe end\n" if failed else "fine\n")

    monkeypatch.setattr(development, "ensure_venv", lambda progress: None)
    monkeypatch.setattr(development, "_link_farm", Path)
    monkeypatch.setattr(development, "_environment", dict)
    monkeypatch.setattr(subprocess, "run", check)
    assert development.lint() == code
    assert ("what is wrong" in capsys.readouterr().out) == bool(failing)
    (collected,) = (words for words in ran if "--collect-only" in words)
    kinds = {word for word in collected if word.startswith("tests")}
    assert kinds == {*development.WITHOUT_ENGINE, "tests/contract", "tests/e2e"}
