"""Commands beside process tasks with input, output and terminal: each runs as its task does, below a keeper of its own.

They bear their task's mark, so they end with it, and with whatever ends what a dead executor left.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import termios
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from eratos.common.errors import TemporaryError
from eratos.common.tunnel import Command, Kind, stopped

from ..io_thread import ready
from ..sessions import NoTask
from .keeper import Keeper

_PIECE: Final = 32 * 1024
_PIECES: Final = 4
#: What ends a terminal's input.
_END_OF_TEXT: Final = b"\x04"


class ProcessSessions:
    """Commands beside the process tasks of one executor."""

    def __init__(self, options: Callable[[str], Mapping[str, Any] | None]) -> None:
        """``options`` returns what a task's keeper was started with, None where the task does not run here."""
        self._options = options

    @asynccontextmanager
    async def open(self, task_id: str, container: str, command: Command) -> AsyncIterator[ProcessSession]:
        options = self._options(task_id)
        if options is None:
            raise NoTask("the process does not run")
        starting = asyncio.get_running_loop().run_in_executor(None, _started, command, dict(options))
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_drop)  # it begins all the same
            raise
        session = ProcessSession(*started, terminal=command.terminal)
        try:
            yield session
        finally:
            await session.close()


def _started(command: Command, options: dict[str, Any]) -> tuple[Keeper, dict[Kind, int], int]:
    """Start a command, and return the ends of what it writes and reads. Raises TemporaryError."""
    uid, gid, _ = options.get("account") or (os.geteuid(), os.getegid(), ())
    if command.terminal:
        ours, slave = os.openpty()
        outputs, given, theirs = {Kind.DATA: ours}, os.dup(ours), (slave, slave, slave)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, _window(command.rows, command.columns))
        options["env"] = {**options["env"], "TERM": "xterm"}
    else:
        (read, given), (out, written), (err, told) = os.pipe(), os.pipe(), os.pipe()
        outputs, theirs = {Kind.DATA: out, Kind.ERRORS: err}, (read, written, told)
    try:
        for end in theirs:
            os.fchown(end, uid, gid)  # its own: it may open them once more by their names
        options |= {"stdin": theirs[0], "stdout": theirs[1], "stderr": theirs[2], "terminal": command.terminal}
        keeper = Keeper(command.arguments, None, **options)
    except OSError as error:
        for end in (*outputs.values(), given):
            os.close(end)
        raise TemporaryError(f"{command.arguments[0]} cannot be started: {error.strerror}") from error
    finally:
        for end in set(theirs):
            os.close(end)
    for end in (*outputs.values(), given):
        os.set_blocking(end, False)
    return keeper, outputs, given


def _drop(starting: asyncio.Future[tuple[Keeper, dict[Kind, int], int]]) -> None:
    """End a command that nobody waits for any more."""
    if not starting.cancelled() and starting.exception() is None:
        keeper, outputs, given = starting.result()
        keeper.kill()
        for end in (*outputs.values(), given):
            os.close(end)


class ProcessSession:
    """One command that runs."""

    def __init__(self, keeper: Keeper, outputs: Mapping[Kind, int], given: int, *, terminal: bool) -> None:
        self._keeper = keeper
        self._outputs = outputs
        self._input: int | None = given
        self._terminal = terminal
        # What it has started ends with it, and only that closes its outputs.
        self._code = asyncio.create_task(self._ended())

    async def _ended(self) -> int:
        await ready(self._keeper.told)
        code = await asyncio.to_thread(self._keeper.wait)
        assert code is not None  # it was waited for without a limit
        return code

    async def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left and self._input is not None:
            try:
                left = left[os.write(self._input, left) :]
            except BlockingIOError:
                await ready(self._input, writing=True)

    async def end_input(self) -> None:
        if self._terminal:
            await self.write(_END_OF_TEXT)
        elif self._input is not None:
            os.close(self._input)
            self._input = None

    async def resize(self, rows: int, columns: int) -> None:
        if self._terminal:
            fcntl.ioctl(self._outputs[Kind.DATA], termios.TIOCSWINSZ, _window(rows, columns))

    async def output(self) -> AsyncGenerator[tuple[Kind, bytes], None]:
        pieces: asyncio.Queue[tuple[Kind, bytes]] = asyncio.Queue(_PIECES)

        async def read(kind: Kind, end: int) -> None:
            while piece := await _read(end):
                await pieces.put((kind, piece))
            await pieces.put((kind, b""))

        readers = [asyncio.create_task(read(kind, end)) for kind, end in self._outputs.items()]
        try:
            left = len(readers)
            while left:
                kind, piece = await pieces.get()
                if piece:
                    yield kind, piece
                else:
                    left -= 1
        finally:
            await stopped(*readers)

    async def exit_code(self) -> int:
        return await asyncio.shield(self._code)

    async def close(self) -> None:
        """End the command, if it still runs, and close what it was reached by."""
        self._code.cancel()
        try:
            await asyncio.gather(self._code, return_exceptions=True)
        finally:
            # At once: an executor that leaves cancels whoever waits for it.
            killing = asyncio.get_running_loop().run_in_executor(None, self._keeper.kill)
            try:
                await asyncio.shield(killing)
            finally:
                for end in (*self._outputs.values(), *(() if self._input is None else (self._input,))):
                    os.close(end)


async def _read(end: int) -> bytes:
    """Return what there is to read, once there is something; nothing at the end."""
    while True:
        try:
            return os.read(end, _PIECE)
        except BlockingIOError:
            await ready(end)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""  # how a terminal ends whose last user is gone
            raise


def _window(rows: int, columns: int) -> bytes:
    return struct.pack("HHHH", rows, columns, 0, 0)
