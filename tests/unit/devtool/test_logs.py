"""./dev logs: which lines are shown, of one container and of several. Docker is a program of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from devtool import commands, logs
from devtool.shell import CommandFailed
from devtool.terminal import Problem

#: Keeps the last lines of LOGS/<container>, as docker does, times first; --follow with --since has those from then on.
DOCKER = """#!{python}
import pathlib, sys

words = sys.argv[2:]
path = pathlib.Path({folder!r}) / words[-1]
if not path.exists():
    sys.exit("Error: No such container: " + words[-1])
lines = path.read_text().splitlines(keepends=True)
if "--tail" in words:
    count = int(words[words.index("--tail") + 1])
    lines = lines[len(lines) - count:] if count else []
if "--since" in words:
    later = pathlib.Path({folder!r}) / (words[-1] + ".later")
    lines = [line for line in lines if line.split()[0] >= words[words.index("--since") + 1]]
    lines += later.read_text().splitlines(keepends=True) if later.exists() else []
sys.stdout.writelines(lines)
"""
AGENT = """\
t01 I1126 21:59:00.223917    30 gc.cpp:95] Scheduling
t02 executor one
t03 2026-11-26 21:59:00,100:7(0x7f):ZOO_INFO@check_events@1728: session
t04 executor two
t05 executor three
t06 W1126 21:59:00.223917    30 slave.cpp:95] of Mesos
t07
t08 WARNING: Logging before InitGoogleLogging() is written to STDERR
t09 E1126 21:59:00.223917    30 slave.cpp:95] of Mesos
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    (tmp_path / "agent").write_text(AGENT)
    (tmp_path / "other").write_text("t00 first\nt03 third\nt10 last\n")
    return tmp_path


@pytest.mark.parametrize(
    ("tail", "shown"),
    [(2, ["executor two", "executor three"]), (0, []), (None, ["executor one", "executor two", "executor three"])],
)
def test_the_last_lines_of_an_executor_are_counted_among_its_own(
    capsys: pytest.CaptureFixture[str], tail: int | None, shown: list[str]
) -> None:
    logs.show({"executor1": "agent"}, tail, follow=False, wanted=logs.of_executor)
    assert capsys.readouterr().out.splitlines() == shown


def test_one_container_is_shown_as_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    logs.show({"other": "other"}, 2, follow=False)
    assert capsys.readouterr().out == "third\nlast\n"


def test_several_are_shown_in_the_order_of_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.show({"agent1": "agent", "b": "other"}, 2, follow=False)
    assert capsys.readouterr().out.splitlines() == [
        "b      | third",
        "agent1 | WARNING: Logging before InitGoogleLogging() is written to STDERR",
        "agent1 | E1126 21:59:00.223917    30 slave.cpp:95] of Mesos",
        "b      | last",
    ]


def test_followed_are_lines_that_come_and_none_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.later").write_text("t11 I1126 21:59:00.223917    30 slave.cpp:95] of Mesos\nt12 executor four\n")
    logs.show({"executor1": "agent"}, 1, follow=True, wanted=logs.of_executor)
    assert capsys.readouterr().out.splitlines() == ["executor three", "executor four"]


def test_a_container_that_is_gone_is_told() -> None:
    with pytest.raises(CommandFailed, match="No such container: nobody"):
        logs.show({"nobody": "nobody"}, 2, follow=False)


@pytest.mark.parametrize(("given", "lines"), [("2", 2), ("0", 0), ("all", None)])
def test_a_number_of_lines_is_read(given: str, lines: int | None) -> None:
    assert commands._tail(given) == lines


@pytest.mark.parametrize("given", ["-1", "two", "", "1.5"])
def test_what_is_no_number_of_lines_is_refused(given: str) -> None:
    with pytest.raises(Problem, match="is no number of lines"):
        commands._tail(given)
