"""Processes that are started out of a small one, with real ones of this machine."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.folders import ROOT
from support.waiting import until

from eratos.executor.process import spawn, table
from eratos.executor.process import spawner as program
from eratos.executor.process.spawner import Spawner

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    spawner = Spawner()
    yield spawner
    spawner.close()


def said(spawner: Spawner, script: str, env: dict[str, str] = ENV, folder: Path = Path("/")) -> str:
    """Return what a script says, once it has ended with 0."""
    read, written = os.pipe()
    try:
        child = spawner.start(["/bin/sh", "-c", script], {0: None, 1: written, 2: None}, cwd=folder, env=env)
    finally:
        os.close(written)
    with os.fdopen(read, "rb") as file:
        text = file.read().decode()
    assert os.waitpid(child, 0) == (child, 0)
    return text


def program_of(spawner: Spawner) -> int:
    assert spawner._program is not None
    return spawner._program.pid


def children() -> set[int]:
    """Return our children, those included that have ended and were not waited for."""
    return {process.pid for process in table.processes().values() if process.parent == os.getpid()}


def test_a_child_is_ours_leads_a_session_and_has_what_it_was_given_alone(spawner: Spawner, tmp_path: Path) -> None:
    script = 'cut -d" " -f4,6 /proc/$$/stat; echo $$; pwd; env; echo /proc/$$/fd/*'
    parent, pid, folder, *rest = said(spawner, script, {"A": "b", "PWD": str(tmp_path)}, tmp_path).split("\n")
    assert parent == f"{os.getpid()} {pid}"
    assert folder == str(tmp_path)
    looking = 3  # the shell's own, by which it lists the folder
    has = " ".join(f"/proc/{pid}/fd/{number}" for number in (0, 1, 2, looking))
    assert sorted(rest) == ["", has, "A=b", f"PWD={tmp_path}"]


def test_a_child_has_descriptors_where_they_are_asked_for(spawner: Spawner) -> None:
    read, written = os.pipe()
    child = spawner.start(["/bin/sh", "-c", "echo x >&9"], {0: None, 1: None, 2: None, 9: written}, cwd=Path("/"), env=ENV)
    os.close(written)
    assert os.waitpid(child, 0) == (child, 0)
    with os.fdopen(read, "rb") as file:
        assert file.read() == b"x\n"


@pytest.mark.parametrize(
    ("program", "folder", "number", "named"),
    [
        ("/nowhere/program", "/", errno.ENOENT, "/nowhere/program"),
        ("/etc/passwd", "/", errno.EACCES, "/etc/passwd"),
        ("/bin/sh", "/nowhere", errno.ENOENT, "/nowhere"),
        ("/bin/sh\0", "/", errno.EINVAL, "/bin/sh\0"),
    ],
)
def test_what_is_in_the_way_is_told_and_leaves_no_child(
    spawner: Spawner, program: str, folder: str, number: int, named: str
) -> None:
    assert said(spawner, "echo before") == "before\n"
    before = children()
    with pytest.raises(OSError, match=r".") as failed:
        spawner.start([program], {0: None, 1: None, 2: None}, cwd=Path(folder), env=ENV)
    assert (failed.value.errno, failed.value.filename) == (number, named)
    assert children() == before


def test_several_threads_start_at_a_time_and_each_has_its_own(spawner: Spawner) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: said(spawner, f"echo {number}"), range(40)))
    assert found == [f"{number}\n" for number in range(40)]


def test_an_environment_may_be_larger_than_what_a_socket_takes(spawner: Spawner) -> None:
    many = {f"V{number}": "x" * 100_000 for number in range(10)}
    assert said(spawner, "echo ${#V0}${#V9}", ENV | many) == "100000100000\n"


def test_what_was_started_outlives_the_small_process_and_the_next_start_makes_another(spawner: Spawner) -> None:
    child = spawner.start(["/bin/sh", "-c", "kill -STOP $$; exit 7"], {0: None, 1: None, 2: None}, cwd=Path("/"), env=ENV)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    first = program_of(spawner)
    os.kill(first, signal.SIGKILL)
    until(lambda: Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "Z", 20, "it has ended")
    assert said(spawner, "echo again") == "again\n"
    assert program_of(spawner) != first
    os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_the_small_process_knows_no_variable_of_ours_and_ends_when_nobody_asks_it_any_more(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "s3cret")
    said(spawner, "exit 0")
    program, channel = spawner._program, spawner._channel
    assert program is not None and channel is not None
    assert b"s3cret" not in Path(f"/proc/{program.pid}/environ").read_bytes()
    channel.close()  # as when we die
    assert program.wait(60) == 0


def test_the_small_process_begins_before_it_is_needed_and_outlives_its_installation(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner.begin()
    first = program_of(spawner)
    monkeypatch.setattr(program, "_PROGRAM", Path("/nowhere/spawn.py"))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert said(spawner, "echo there") == "there\n"
    assert program_of(spawner) == first


def test_a_small_process_that_does_not_begin_is_tried_again(spawner: Spawner, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        spawner.begin()
    assert "does not begin" in caplog.text and "/nowhere/python" in caplog.text
    assert said(spawner, "echo there") == "there\n"


def test_a_child_can_wait_for_its_own_where_whoever_began_the_small_process_could_not(spawner: Spawner) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        spawner.begin()
    finally:
        signal.signal(signal.SIGCHLD, before)
    read, written = os.pipe()
    # No shell, which may come to listen by itself.
    child = spawner.start(["/bin/cat", "/proc/self/status"], {0: None, 1: written, 2: None}, cwd=Path("/"), env=ENV)
    os.close(written)
    with os.fdopen(read) as file:
        status = dict(line.split(":", 1) for line in file)
    assert os.waitpid(child, 0) == (child, 0)
    assert not int(status["SigIgn"], 16) >> (signal.SIGCHLD - 1) & 1


@pytest.mark.parametrize(
    ("machine", "number"),
    [
        ("x86_64", 56),
        ("aarch64", 220),
        ("riscv64", 220),
        ("loongarch64", 220),
        ("ppc64", 120),
        ("ppc64le", 120),
        ("s390x", 120),
    ],
)
def test_each_processor_that_is_documented_has_its_number(machine: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []

    class Library:
        def syscall(self, *arguments: ctypes.c_long) -> int:
            called.extend(argument.value for argument in arguments)
            return 7

    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6", "1", machine)))
    monkeypatch.setattr(spawn, "_LIBRARY", Library())
    assert spawn._clone() == 7
    assert called[0] == number
    how = 0x8000 | signal.SIGCHLD
    assert called[1:] == ([0, how] if machine == "s390x" else [how, 0]) + [0, 0, 0]
    assert machine in (ROOT / "docs" / "processes.md").read_text().replace("x86-64", "x86_64")


def test_a_processor_whose_calls_are_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = os.uname_result(("Linux", "host", "6", "1", "vax"))
    monkeypatch.setattr(os, "uname", lambda: unknown)
    assert spawn._clone() == -errno.ENOSYS
