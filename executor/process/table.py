"""The host's processes out of /proc: by the mark in their environment, and by who is below whom. Used for process tasks only.

The environment is inherited, so it marks whatever a task's process starts, and it outlives the executor. What has cleaned its
environment is still below one that has not: the task's keeper (:mod:`keeper`). Other users' environments are for root
alone; but only as root does an executor start anything for others.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eratos.common import names

from ..core.ownership import Mark

KILL_S = 5.0
_PAUSE_S = 0.01
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PREFIX = f"{names.PROCESS_MARK}=".encode()


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the table."""

    pid: int
    parent: int
    group: int
    began: int  #: in the kernel's ticks
    zombie: bool  #: it has ended, and its parent has not asked for its exit code yet
    cpu_ticks: int = 0  #: CPU time of its own, and of those children that have ended and were asked for their exit code
    pages: int = 0  #: of memory that are its own or shared, and not swapped out


def processes() -> dict[int, Process]:
    """Return all processes by id."""
    found = {}
    for pid in _ids():
        # The name in brackets may hold anything, brackets and blanks included.
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        if fields:
            ticks = sum(map(int, fields[11:15]))
            zombie = fields[0] in (b"Z", b"X")
            found[pid] = Process(pid, int(fields[1]), int(fields[2]), int(fields[19]), zombie, ticks, int(fields[21]))
    return found


def marked() -> Iterator[tuple[int, Mark]]:
    """Yield process id and mark of every marked process. One that ends meanwhile is left out."""
    for pid in _ids():
        environ = _read(pid, "environ")
        if _PREFIX in environ:
            text = next((variable for variable in environ.split(b"\0") if variable.startswith(_PREFIX)), b"")
            mark = Mark.from_text(text.removeprefix(_PREFIX).decode(errors="replace"))
            if mark is not None:
                yield pid, mark


def kill(mark: Mark | None, keeper: int | None = None) -> bool:
    """SIGKILL every process with a mark and whatever is below one or below the keeper, which itself is only stopped.

    False: one still hangs in the kernel after ``KILL_S``; it dies once that lets go of it.
    """
    kept = set() if keeper is None else {keeper}
    deadline = time.monotonic() + KILL_S
    while True:
        # Without a mark there is none to look for: to read every environment of the host takes longer than most commands.
        tops = kept | ({pid for pid, other in marked() if other == mark} if mark is not None else set())
        for pid in tops:
            _send(pid, signal.SIGSTOP)  # so that they start nothing more
        if tops <= kept and all(map(_childless, kept)):
            return True  # as nearly always; the whole table costs milliseconds
        found = processes()
        alive = {pid for pid, process in found.items() if not process.zombie} - kept
        # Those above come last: as long as they are there, what is orphaned below them stays below them.
        targets = _below(found, tops) & alive or tops & alive
        if not targets:
            return True
        for pid in targets:
            _send(pid, signal.SIGKILL)
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)


def taken(found: Mapping[int, Process], keeper: int) -> tuple[float, int]:
    """Return the CPU time in seconds, and the memory in bytes, of a keeper's command with all that is below it.

    CPU time of what has ended is its parent's, unless that one asks nobody how it ended: then it is lost. Memory that several
    share counts for each of them.
    """
    below = [found[pid] for pid in _below(found, {keeper}) if pid in found]
    # The keeper itself takes next to nothing, but has what orphans took.
    ticks = sum(process.cpu_ticks for process in [*below, *([found[keeper]] if keeper in found else [])])
    return ticks / _TICKS_PER_S, sum(process.pages for process in below) * _PAGE_BYTES


def _below(found: Mapping[int, Process], tops: Iterable[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for process in found.values():
        children.setdefault(process.parent, []).append(process.pid)
    below: set[int] = set()
    waiting = list(tops)
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in below:
                below.add(pid)
                waiting.append(pid)
    return below


def _childless(pid: int) -> bool:
    """Return whether a process of one thread surely has no children, ended ones included."""
    try:
        return not Path(f"/proc/{pid}/task/{pid}/children").read_bytes()
    except OSError:
        return False  # a kernel without this file


def _ids() -> list[int]:
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """Return what the kernel says of a process; nothing where it has just ended, or where that is not for us to know."""
    try:
        with io.FileIO(f"/proc/{pid}/{name}") as file:  # a third of what Path takes, and there are hundreds
            return file.readall()
    except OSError:
        return b""


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
