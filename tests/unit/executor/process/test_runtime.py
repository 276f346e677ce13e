"""What the runtime for processes does beyond what every runtime does, with real processes of this machine."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.executor import HOST, Events
from support.runtimes import Rig, running
from support.waiting import until

from eratos.common.payload import Fetch
from eratos.common.rotated_file import part_of
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.ownership import Mark
from eratos.executor.core.start import start_action
from eratos.executor.logs import LogRequest
from eratos.executor.process import logs as process_logs
from eratos.executor.process import table as process_table


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running("process", tmp_path) as rig:
        yield rig


def processes(rig: Rig) -> list[int]:
    return [pid for pid, mark in process_table.marked() if mark.framework_id == rig.host.framework_id]


def sleepers(rig: Rig) -> list[int]:
    """The processes of the host that have come to their last command: what a shell starts on the way there is not counted."""
    return [pid for pid in processes(rig) if command_line(pid) == b"sleep\x001000\x00"]


def command_line(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def test_what_starts_processes_begins_with_the_runtime_and_not_with_the_first_of_them(rig: Rig) -> None:
    program = rig.runtime._spawner._program
    assert program is not None and program.poll() is None
    assert rig.examined(rig.start("exit 0")).exit_code == 0
    assert rig.runtime._spawner._program is program


# What a process gets --------------------------------------------------------------------------------------------------------


def test_a_process_has_a_session_and_a_folder_of_its_own_and_says_where_it_is(rig: Rig) -> None:
    script = 'pwd; echo "$MESOS_SANDBOX"; echo "$MESOS_TASK_ID"; ps -o sid= -p $$ | tr -d " "; echo $$; exec sleep 1000'
    task_id = rig.started(script)
    folder = rig.folder / "tasks" / task_id
    lines = until(lambda: (found := rig.read_log(task_id).decode().split()) and len(found) == 5 and found, 20, "it has spoken")
    assert lines[:3] == [str(folder), str(folder), task_id]
    assert lines[3] == lines[4] != str(os.getsid(0))


def test_a_process_gets_the_apps_variables_and_none_of_the_executors_secrets(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "s3cret")
    task_id = rig.start("env", env={"MINE": "1"})
    assert rig.examined(task_id).exit_code == 0
    shown = rig.read_log(task_id).decode()
    assert "MINE=1\n" in shown
    assert "s3cret" not in shown


def test_a_process_gets_its_secrets_and_no_log_does(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.secrets = {"shop/db": b"hush\n"}
    task_id = rig.start('[ "$PASSWORD" = hush ]', secret_env={"PASSWORD": "shop/db"})
    assert rig.examined(task_id).exit_code == 0
    assert "hush" not in caplog.text


def test_a_secret_that_is_not_there_fails_the_start_by_its_name(rig: Rig) -> None:
    task_id = rig.start("exit 0", secret_env={"PASSWORD": "shop/db"})
    assert rig.events.until(on.StartFailed, task_id=task_id).message == "secret shop/db: there is none"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
def test_a_process_runs_as_the_apps_user(rig: Rig) -> None:
    account = pwd.getpwnam("nobody")
    task_id = rig.start('id -u; id -G; echo "$HOME $USER"; touch mine', user="nobody")
    assert rig.examined(task_id).exit_code == 0
    assert rig.read_log(task_id).decode().split() == [str(account.pw_uid), str(account.pw_gid), account.pw_dir, "nobody"]
    assert (rig.folder / "tasks" / task_id / "mine").stat().st_uid == account.pw_uid


def test_a_user_that_does_not_exist_is_named(rig: Rig) -> None:
    task_id = rig.start("exit 0", user="nosuchuser")
    assert "nosuchuser" in rig.events.until(on.StartFailed, task_id=task_id).message


def test_arguments_run_without_a_shell(rig: Rig) -> None:
    task_id = rig.start("", args=("printf", "%s", "$HOME"))
    assert rig.examined(task_id).exit_code == 0
    assert rig.read_log(task_id) == b"$HOME"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "bridge"}, "network 'bridge'"),
        ({"privileged": True}, "privileged"),
        ({"parameters": (("init", "true"),)}, "parameters"),
        ({"cpus_limit_m": 500}, "cpus_limit_m"),
        ({"args": ()}, "args"),
    ],
)
def test_what_only_a_container_can_do_is_refused_by_name(rig: Rig, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        start_action(rig.payload("exit 0", **changes), rig.host)


def test_a_runtime_that_is_switched_off_is_named(rig: Rig) -> None:
    for image, off, on_ in (("", "process", "docker"), ("shop/cart", "docker", "process")):
        with pytest.raises(Exception, match=f"runtime {off} is switched off"):
            start_action(rig.payload("exit 0", image=image), replace(HOST, runtimes=(on_,)))


# Its end ----------------------------------------------------------------------------------------------------------------------


def test_a_signals_end_is_told_as_docker_tells_it(rig: Rig) -> None:
    assert rig.examined(rig.start("kill -SEGV $$")).exit_code == 128 + signal.SIGSEGV


def test_the_stop_reaches_the_whole_group(rig: Rig) -> None:
    task_id = rig.started("sh -c \"trap 'echo child; exit 0' TERM; echo ready; while :; do sleep 0.05; done\" & wait; wait")
    until(lambda: rig.read_log(task_id) == b"ready\n", 20, "the child listens")
    rig.runtime.perform(do.StopContainer(task_id))
    rig.events.until(on.ContainerDied, task_id=task_id)


DAEMON = "setsid sh -c 'echo $$ > daemon; exec sleep 1000' </dev/null >&0 2>&1 & while [ ! -s daemon ]; do sleep 0.02; done"


def test_nothing_that_a_task_has_started_outlives_it(rig: Rig) -> None:
    task_id = rig.start(f"{DAEMON}; sleep 1000 & exit 3")
    assert rig.events.until(on.ContainerDied, task_id=task_id).exit_code == 3
    assert processes(rig) == []


#: Without the mark, in a session of its own, and orphaned, as daemons make themselves. Its number tells it from other tests'.
ESCAPED = (
    "(setsid env -i /bin/sh -c 'echo $$ > escaped; exec sleep {}' </dev/null >&0 2>&1 &); "
    "while [ ! -s escaped ]; do sleep 0.02; done"
)


def escaped(rig: Rig) -> str:
    return ESCAPED.format(seconds(rig))


def seconds(rig: Rig) -> str:
    return f"1{int(rig.mark[:6], 16):09d}"


def at_large(rig: Rig) -> list[int]:
    """Processes of this test whatever they have made of their environment."""
    wanted = f"sleep\x00{seconds(rig)}\x00".encode()
    return [pid for pid in process_table.processes() if command_line(pid) == wanted]


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$", "exec sleep 1000"])
def test_what_cleans_its_environment_and_leaves_its_session_ends_with_its_task(rig: Rig, end: str) -> None:
    task_id = rig.start(f"{escaped(rig)}; {end}")
    if end.startswith("exec"):
        until(lambda: at_large(rig), 20, "it has left")
        rig.runtime.perform(do.KillContainer(task_id))
    died = rig.events.until(on.ContainerDied, task_id=task_id)
    assert died.exit_code == (3 if end == "exit 3" else 137)
    assert at_large(rig) == processes(rig) == []


def test_what_a_check_leaves_ends_with_the_check_and_the_task_goes_on(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000")
    until(lambda: len(sleepers(rig)) == 1, 20, "the task has come to rest")
    for end in ("exit 0", "sleep 1000"):
        command_id = rig.runtime.command_start(task_id, f"rm -f escaped; {escaped(rig)}; {end}")
        if end == "exit 0":
            until(lambda command_id=command_id: rig.runtime.command_result(command_id) == 0, 20, "the check has ended")
        else:
            until(lambda: at_large(rig), 20, "the check hangs")
            assert rig.runtime.command_stop(command_id)
        assert at_large(rig) == []
        assert len(sleepers(rig)) == 1


def test_a_check_that_hangs_ends_with_its_task(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000")
    command_id = rig.runtime.command_start(task_id, f"{escaped(rig)}; sleep 1000")
    until(lambda: at_large(rig), 20, "the check hangs")
    rig.runtime.perform(do.KillContainer(task_id))
    rig.events.until(on.ContainerDied, task_id=task_id)
    assert at_large(rig) == processes(rig) == []
    assert until(lambda: rig.runtime.command_result(command_id), 20, "its end is noticed") == 137


def test_a_program_that_is_no_program_is_named(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    for program, words in ((str(tmp_path / "text"), "Permission denied"), ("nosuchprogram", "No such file"), ("./no", "No such")):
        task_id = rig.start("", task=program.replace("/", "-"), args=(program,))
        message = rig.events.until(on.StartFailed, task_id=task_id).message
        assert (program in message, words in message) == (True, True)


def test_removal_deletes_the_folder(rig: Rig) -> None:
    task_id = rig.start("echo x > file")
    rig.events.until(on.ContainerDied, task_id=task_id)
    assert rig.runtime.has(task_id)
    rig.runtime.perform(do.RemoveContainer(task_id))
    until(lambda: not (rig.folder / "tasks" / task_id).exists(), 20, "the folder is deleted")
    until(lambda: not rig.runtime.has(task_id), 20, "the task is forgotten")


def test_a_command_that_is_given_up_is_ended(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000")
    until(lambda: sleepers(rig), 20, "the task has come to rest")
    before = set(processes(rig))
    command_id = rig.runtime.command_start(task_id, "sleep 1000; exit 0")
    until(lambda: set(processes(rig)) - before, 20, "the command runs")
    rig.runtime.command_stop(command_id)
    until(lambda: set(processes(rig)) == before, 20, "the command is ended")


# What an executor leaves ------------------------------------------------------------------------------------------------------

EXECUTOR = """
import sys, time
from pathlib import Path
from eratos.executor.core.host import Host
from eratos.executor.core.start import start_action
from eratos.common.payload import TaskPayload
from eratos.executor.process.runtime import ProcessRuntime
payload = TaskPayload.from_bytes(sys.stdin.buffer.read())
host = Host("%s", "test", "agent1", "host1", "host1.example")
runtime = ProcessRuntime(Path(sys.argv[1]), {"PATH": "/usr/bin:/bin"}, host, print, lambda _: True)
runtime.start()
runtime.perform(start_action(payload, host))
time.sleep(1000)
"""


@pytest.mark.parametrize("last", ["exec sleep 1000", "exec env -i sleep 1000", "exit 0 # the executor has died before"])
def test_a_dead_executors_processes_are_found_and_ended_daemons_included(rig: Rig, tmp_path: Path, last: str) -> None:
    go = tmp_path / "go"
    payload = rig.payload(f"{DAEMON}; {escaped(rig)}; while [ ! -e {go} ]; do sleep 0.02; done; {last}")
    command = [sys.executable, "-P", "-c", EXECUTOR % rig.host.framework_id, str(tmp_path / "dead")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as executor:
        assert executor.stdin is not None
        executor.stdin.write(payload.to_bytes())
        executor.stdin.close()
        until(lambda: sleepers(rig) and at_large(rig), 20, "the daemons have come to rest")
        executor.kill()
    go.touch()
    assert len(at_large(rig)) == 1
    events = Events()
    second = rig.make(events)
    second.start()
    assert events.until(on.ContainersListed).running == {payload.task_id}
    second.perform(do.RemoveContainer(payload.task_id))
    until(lambda: not processes(rig) and not at_large(rig), 20, "the left-overs are ended")
    second.stop(10)


def test_a_mark_reads_back_and_nothing_else_is_one() -> None:
    mark = Mark("fw", "host:5051", "a", "e", 'task "1"')
    assert Mark.from_text(mark.to_text()) == mark
    for text in ("", "x", "[]", "{}", '["fw"]', "5"):
        assert Mark.from_text(text) is None


# Rotated logs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_logs, "FILE_BYTES_MAX", 1000)


def test_a_log_never_takes_more_than_its_share_of_the_disk(rig: Rig, small: None) -> None:
    # Enough for all files, however much of it is read at a time.
    amount = (process_logs.FILES_MAX + 1) * (process_logs.FILE_BYTES_MAX + process_logs._PIECE)
    task_id = rig.start(f"yes | head -c {amount}")
    rig.events.until(on.ContainerDied, task_id=task_id)
    sizes = [path.stat().st_size for path in (rig.folder / "logs" / task_id).glob("stdout*")]
    assert len(sizes) == process_logs.FILES_MAX
    assert max(sizes) <= process_logs.FILE_BYTES_MAX + process_logs._PIECE


def numbered(folder: Path, count: int) -> Path:
    """Write a log of numbered lines through rotations."""
    file = process_logs.output_file(folder / "stdout")
    for number in range(count):
        file.write(f"{number}\n".encode())
    file.close()
    return folder


@pytest.mark.parametrize("tail", [0, 1, 5, 249, 250, 251, 400, 10_000])
def test_the_last_lines_are_found_across_rotated_files(tmp_path: Path, small: None, tail: int) -> None:
    folder = numbered(tmp_path, 1000)
    files = b"".join(part_of(folder / "stdout", n).read_bytes() for n in (2, 1, 0))
    source = process_logs.ProcessLogs(lambda _: folder, lambda _: False)

    async def read() -> bytes:
        async with source.read(LogRequest("t", tail=tail)) as pieces:
            return b"".join([piece async for piece in pieces])

    lines = files.splitlines(keepends=True)
    assert asyncio.run(read()) == b"".join(lines[max(0, len(lines) - tail) :])


def test_a_log_is_followed_through_a_rotation(tmp_path: Path, small: None) -> None:
    running = True
    source = process_logs.ProcessLogs(lambda _: tmp_path, lambda _: running)

    async def follow() -> list[bytes]:
        nonlocal running
        file = process_logs.output_file(tmp_path / "stdout")
        file.write(b"one\n")
        async with source.read(LogRequest("t", follow=True)) as pieces:
            found = [await anext(pieces)]
            file.write(b"x" * 995 + b"\n")
            file.write(b"two\n")  # into the next file
            found.append(await anext(pieces))
            found.append(await anext(pieces))
            running = False
            file.close()
            return [*found, *[piece async for piece in pieces]]

    assert asyncio.run(follow()) == [b"one\n", b"x" * 995 + b"\n", b"two\n"]


def test_a_last_line_without_an_end_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"one\ntwo\nthr")
    (tmp_path / "stderr").write_bytes(b"")
    assert process_logs.last_lines(tmp_path, 2) == "two\nthr"


def test_output_that_finds_no_room_is_lost_and_the_process_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "stdout").symlink_to("/dev/full")
    with closing(process_logs.output_file(tmp_path / "stdout")) as file:
        for _ in range(3):
            file.write(b"lost\n")
    assert caplog.text.count("is lost") == 1


# What a task lays in its folder is never opened by root ---------------------------------------------------------------------


@pytest.fixture
def place(rig: Rig) -> Iterator[Path]:
    """A folder that others may look into, as they may into the executor's sandbox."""
    rig.folder.chmod(0o755)
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def secret(place: Path) -> Path:
    """A file that only root may read."""
    path = place / "secret"
    path.write_text("of root alone\n")
    path.chmod(0o600)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
@pytest.mark.parametrize("name", ["stdout", "stderr", "stdout.1", "../logs/{task}/stdout"])
def test_a_link_in_place_of_an_output_shows_nothing_of_what_it_leads_to(rig: Rig, secret: Path, name: str) -> None:
    where = name.format(task="$MESOS_TASK_ID")
    task_id = rig.start(f"echo mine; rm -f {where}; ln -s {secret} {where}; exit 1", user="nobody")
    examined = rig.examined(task_id)
    assert "mine" in examined.log_tail
    assert "of root" not in examined.log_tail
    assert rig.read_log(task_id).decode().splitlines()[0] == "mine"
    assert secret.read_text() == "of root alone\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
def test_no_file_comes_to_be_where_a_task_has_laid_a_link(rig: Rig, small: None, place: Path) -> None:
    victim = place / "victim"
    amount = (process_logs.FILES_MAX + 1) * (process_logs.FILE_BYTES_MAX + process_logs._PIECE)
    links = " ".join(f"stdout{end}" for end in ("", ".1", ".2"))
    task_id = rig.start(f"for n in {links}; do ln -sf {victim} $n; done; yes | head -c {amount}", user="nobody")
    rig.events.until(on.ContainerDied, task_id=task_id)
    assert not victim.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
def test_the_folder_of_the_outputs_is_not_the_tasks_to_change(rig: Rig, place: Path) -> None:
    task_id = rig.start("touch ../../logs/x ../x ../../logs/$MESOS_TASK_ID/x; mv ../../logs ../../gone; exit 1", user="nobody")
    assert rig.examined(task_id).exit_code == 1
    assert sorted(path.name for path in rig.folder.iterdir()) == ["logs", "tasks"]
    assert (rig.folder / "logs" / task_id).stat().st_uid == 0
    assert [path.name for path in (rig.folder / "tasks").iterdir()] == [task_id]
    assert sorted(path.name for path in (rig.folder / "logs").rglob("*")) == ["stderr", "stdout", task_id]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
def test_a_hard_link_to_anothers_file_is_not_given_away(rig: Rig, secret: Path) -> None:
    """The folder is walked once, before the task's first process: what it lays later keeps its owner."""
    task_id = rig.start(f"ln {secret} mine 2>/dev/null; exit 1", user="nobody")
    rig.examined(task_id)
    assert secret.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
def test_a_tasks_user_gets_no_file_that_it_may_not_read(rig: Rig, secret: Path) -> None:
    task_id = rig.start("cat secret", user="nobody", fetch=(Fetch(secret.as_uri(), "secret"),))
    failed = rig.events.until(on.StartFailed, task_id=task_id)
    assert "Permission denied, as user nobody" in failed.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes for others")
def test_fetched_files_are_the_tasks_users(rig: Rig, place: Path) -> None:
    given = place / "given"
    given.write_text("for all\n")
    given.chmod(0o644)
    task_id = rig.start("cat given; stat -c %U . given; rm given; exit 1", user="nobody", fetch=(Fetch(given.as_uri(), "given"),))
    assert rig.examined(task_id).exit_code == 1
    assert rig.read_log(task_id).decode().split("\n")[:3] == ["for all", "nobody", "nobody"]
