"""What processes write: pumped from pipes into rotated files by one thread, and read from there for the log endpoint.

Two files for each task, ``stdout`` and ``stderr``, in a folder that belongs to the executor alone: what writes and reads them
may be root, so no task may lay anything there. It is within the executor's sandbox, so Mesos' own pages show them too; older
parts are ``stdout.1`` and ``stdout.2``. The sizes are those of a container's log. A process that writes faster than the disk
takes it waits, and nobody else with it but other processes' output.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import selectors
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from eratos.common.rotated_file import RotatedFile, part_of

from ..logs import LINE_BYTES, LogRequest, NoLog

log = logging.getLogger(__name__)

STREAMS = ("stdout", "stderr")
FILE_BYTES_MAX = 10 * 1024 * 1024
FILES_MAX = 3
_PIECE = 64 * 1024
_FOLLOW_S = 0.2
_POSITION = re.compile(r"([0-9]+):([0-9]+)(?:\+([0-9]+))?")


def output_file(path: Path) -> RotatedFile:
    """Open the file for one output of a task. Raises OSError."""
    return RotatedFile(path, FILE_BYTES_MAX, FILES_MAX)


class LogPump:
    """One thread that carries the output of all processes."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._new: deque[tuple[int, RotatedFile, threading.Event]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="process-logs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._wake()
        self._thread.join()
        # Not by the thread: it may have seen that it is to stop before it is woken.
        os.close(self._wake_read)
        os.close(self._wake_write)

    def add(self, pipe: int, file: RotatedFile) -> threading.Event:
        """Carry a pipe, whose descriptor is the pump's from now on, into a file; the event says that both are closed."""
        closed = threading.Event()
        self._new.append((pipe, file, closed))
        self._wake()
        return closed

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # it has not even seen the last one

    def _run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select():
                if key.fd == self._wake_read:
                    self._take_new()
                else:
                    self._carry(key.fd, *key.data)
        for key in list(self._selector.get_map().values()):
            if key.data:
                os.close(key.fd)
                key.data[0].close()
        self._selector.close()

    def _take_new(self) -> None:
        os.read(self._wake_read, _PIECE)
        while self._new:
            pipe, file, closed = self._new.popleft()
            self._selector.register(pipe, selectors.EVENT_READ, (file, closed))

    def _carry(self, pipe: int, file: RotatedFile, closed: threading.Event) -> None:
        if data := os.read(pipe, _PIECE):
            file.write(data)
            return
        self._selector.unregister(pipe)
        os.close(pipe)
        file.close()
        closed.set()


class Piece(NamedTuple):
    """A part of a log, and where it lies."""

    data: bytes
    inode: int
    offset: int


#: The part of a log that is read first, where reading begins, and the newer ones in order.
Parts = tuple[BinaryIO, deque[BinaryIO]]


class ProcessLogs:
    """A LogSource over the files."""

    def __init__(self, folder: Callable[[str], Path | None], running: Callable[[str], bool]) -> None:
        """``folder`` returns where a task's files are, None: it is no process of this executor; ``running`` if it writes."""
        self._folder = folder
        self._running = running

    @asynccontextmanager
    async def read(self, request: LogRequest) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        folder = self._folder(request.task_id)
        if folder is None or not (folder / request.stream).exists():
            raise NoLog(f"no process {request.task_id} is on this host, or it has ended and its folder was removed")
        skip = 0
        if request.begin:
            parts, skip = _from(folder / request.stream, request.begin)
        else:
            parts = _begin(folder / request.stream, request.tail, whole=request.positions and request.follow)
        async with (
            aclosing(self._pieces(folder / request.stream, parts, request)) as pieces,
            aclosing(_positioned(pieces, skip) if request.positions else _plain(pieces)) as shown,
        ):
            yield shown

    async def _pieces(self, path: Path, parts: Parts, request: LogRequest) -> AsyncGenerator[Piece, None]:
        file, rest = parts
        try:
            while True:
                # Asked first: what was written before the end is still to be read after it.
                running = self._running(request.task_id)
                while piece := file.read(_PIECE):
                    yield Piece(piece, os.fstat(file.fileno()).st_ino, file.tell() - len(piece))
                    await asyncio.sleep(0)
                if (newer := rest.popleft() if rest else _reopened(path, file)) is not None:
                    file.close()
                    file = newer
                elif request.follow and running:
                    await asyncio.sleep(_FOLLOW_S)
                else:
                    return
        finally:
            for opened in (file, *rest):
                opened.close()


async def _plain(pieces: AsyncIterator[Piece]) -> AsyncGenerator[bytes, None]:
    async for piece in pieces:
        yield piece.data


async def _positioned(pieces: AsyncIterator[Piece], skip: int) -> AsyncGenerator[bytes, None]:
    """Yield lines, each after its position: the file's inode, which a rotation leaves, and where in it the line begins.

    A line of more than :data:`LINE_BYTES` goes out as several, each but the last of just that length, so that they are the same
    wherever reading began; from the second on their number follows the position. Of the first line, ``skip`` are left out.
    """
    rest, at, number = b"", (0, 0), 0
    async for piece in pieces:
        at = at if rest else (piece.inode, piece.offset)
        data, begin = rest + piece.data, 0
        while True:
            end = data.find(b"\n", begin)
            # One that is just as long as that may end with the next byte.
            cut = (end if end >= 0 else len(data)) - begin > LINE_BYTES
            if end < 0 and not cut:
                break
            until = begin + LINE_BYTES if cut else end
            if number >= skip:
                yield b"%b %b\n" % (_position(*at, number), data[begin:until])
            if cut:
                begin, number = until, number + 1
            else:
                begin, number, skip = until + 1, 0, 0
                at = piece.inode, piece.offset + begin - len(rest)
        rest = data[begin:]
    if rest and number >= skip:
        yield b"%b %b" % (_position(*at, number), rest)


def _position(inode: int, offset: int, number: int) -> bytes:
    return b"%d:%d" % (inode, offset) + (b"+%d" % number if number else b"")


def last_lines(folder: Path, count: int) -> str:
    """Return the last lines of both outputs, for people: errors last, as nobody knows which line was before which."""
    texts = []
    for stream in STREAMS:
        file, rest = _begin(folder / stream, count)
        for part in (file, *rest):
            texts.append(part.read(_PIECE))
            part.close()
    return b"".join(texts).decode(errors="replace")


def _begin(path: Path, lines: int, *, whole: bool = False) -> Parts:
    """Open the parts of a log that hold its last lines, the first one where they begin.

    With ``whole`` a line begins there also where ``lines`` is 0: the last one, unless it has ended.
    """
    opened: deque[BinaryIO] = deque()
    breaks = lines
    for number in range(FILES_MAX):
        try:
            part = part_of(path, number).open("rb")
        except FileNotFoundError:
            break
        opened.appendleft(part)
        if number == 0:
            breaks += _ends_a_line(part) or (whole and lines == 0)
        breaks = _seek_back(part, breaks)
        if breaks == 0:
            break
    return opened.popleft(), opened


def _from(path: Path, position: str) -> tuple[Parts, int]:
    """Open the parts of a log from the line of a position on, all there are where that one is gone.

    Return them, and how many pieces of that line come before the position. Raises NoLog.
    """
    if (parsed := _POSITION.fullmatch(position)) is None:
        raise NoLog(f"{position} is no position in a process' log")
    inode, offset, number = (int(each or 0) for each in parsed.groups())
    opened: deque[BinaryIO] = deque()
    skip = 0
    for age in range(FILES_MAX):
        try:
            part = part_of(path, age).open("rb")
        except FileNotFoundError:
            break
        opened.appendleft(part)
        there = os.fstat(part.fileno())
        if there.st_ino == inode and offset < there.st_size and _begins_a_line(part, offset):
            skip = number
            break
    if not opened:
        raise NoLog(f"{path.name} is gone")
    return (opened.popleft(), opened), skip


def _begins_a_line(file: BinaryIO, offset: int) -> bool:
    """Return whether a line begins at an offset, and leave the file there if so, else at its begin."""
    file.seek(max(0, offset - 1))
    begins = offset == 0 or file.read(1) == b"\n"
    file.seek(offset if begins else 0)
    return begins


def _ends_a_line(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _seek_back(file: BinaryIO, breaks: int) -> int:
    """Go back behind so many line breaks, or to the begin of the file; return how many are still to be found."""
    position = file.seek(0, os.SEEK_END)
    while breaks and position > 0:
        size = min(_PIECE, position)
        position = file.seek(position - size)
        block = file.read(size)
        at = size
        while breaks and (at := block.rfind(b"\n", 0, at)) >= 0:
            breaks -= 1
            file.seek(position + at + 1)
    if breaks:
        file.seek(0)
    return breaks


def _reopened(path: Path, file: BinaryIO) -> BinaryIO | None:
    """Return the file that took the place of one that was rotated away; None where it is still the newest."""
    try:
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return None
        return path.open("rb")
    except OSError:
        return None  # the folder was removed
