"""Tunnels: what ``eratos exec`` and ``eratos forward`` send through the API to an executor, and back.

A tunnel is a stream of messages both ways, each a kind and its payload. Between client and scheduler each is one message of a
WebSocket, between scheduler and executor it stands behind its length, on a connection that HTTP was upgraded from. Schedulers
hand messages on as they are.

Data has a window, as a channel of SSH has (RFC 4254, 5.2): whoever has sent ``WINDOW`` waits until the other end says that it
has done with some of it. So at no place more than that waits for a slow reader, and what stands in between never stops reading:
a new size of the window, an end and a goodbye are heard at once, however much data waits.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final, Self

#: What HTTP is upgraded to between scheduler and executor.
PROTOCOL: Final = "eratos-tunnel"
#: In an executor's answer: what the scheduler then proves its key with, so that who listens cannot repeat a command.
NONCE: Final = "eratos-nonce"
#: Of a WebSocket's answer: which task it leads to, and on which host.
TASK: Final = "eratos-task"
HOST: Final = "eratos-host"
#: Longest message, its kind included.
MESSAGE_MAX: Final = 32 * 1024
#: Data on its way in one direction.
WINDOW: Final = 256 * 1024
#: What each message counts beside its own length: many short ones take memory, too.
_OVERHEAD: Final = 64
_MORE = struct.Struct(">I")
_LENGTH = struct.Struct(">I")
_SIZE = struct.Struct(">HH")
_ARGUMENTS_MAX: Final = 1000
#: Of a terminal whose size nobody knows.
ROWS: Final = 24
COLUMNS: Final = 80
#: For an end to say goodbye, or to take what the other one says last.
GOODBYE_S: Final = 5.0


class Kind(IntEnum):
    """What a message is."""

    PROOF = 0  #: scheduler to executor, first: that it has the key
    BEGIN = 1  #: client to executor: a :class:`Command`
    DATA = 2  #: standard input, output, or what a connection carries
    ERRORS = 3  #: standard error
    END = 4  #: nothing more comes in this direction
    MORE = 5  #: so much data was dealt with
    SIZE = 6  #: of the client's terminal
    EXIT = 7  #: exit code of the command; the executor's last message
    FAILURE = 8  #: why the tunnel ends, for people; the last message


class Gone(ConnectionError):
    """The other end left without a word."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is to run beside a task."""

    arguments: tuple[str, ...]
    terminal: bool = False
    rows: int = ROWS
    columns: int = COLUMNS

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read it. Raises ValueError that names what is wrong."""
        try:
            found = json.loads(data)
        except ValueError:
            raise ValueError("the command is no JSON") from None
        if not isinstance(found, dict):
            raise ValueError("the command is no object")
        if more := found.keys() - cls.__dataclass_fields__.keys():
            raise ValueError(f"{', '.join(sorted(more))[:100]}: is no field of a command")
        arguments = found.get("arguments")
        if not isinstance(arguments, list) or not 0 < len(arguments) <= _ARGUMENTS_MAX:
            raise ValueError(f"arguments: must be a list of 1 to {_ARGUMENTS_MAX} texts")
        if not all(isinstance(argument, str) and "\0" not in argument for argument in arguments) or not arguments[0]:
            raise ValueError("arguments: must be texts without a zero byte, the first one not empty")
        terminal = found.get("terminal", False)
        if not isinstance(terminal, bool):
            raise ValueError("terminal: must be true or false")
        rows, columns = found.get("rows", ROWS), found.get("columns", COLUMNS)
        if not all(type(number) is int and 0 < number < 65536 for number in (rows, columns)):
            raise ValueError("rows and columns: must be numbers from 1 to 65535")
        return cls(tuple(arguments), terminal, rows, columns)


def message(kind: Kind, payload: bytes = b"") -> bytes:
    return bytes((kind,)) + payload


def parsed(data: bytes) -> tuple[Kind, bytes]:
    """Return kind and payload of a message. Raises ValueError for one that there is not."""
    if not 0 < len(data) <= MESSAGE_MAX:
        raise ValueError(f"a message of a tunnel has 1 to {MESSAGE_MAX} bytes")
    return Kind(data[0]), data[1:]


def size(rows: int, columns: int) -> bytes:
    """Return the payload of SIZE."""
    return _SIZE.pack(min(rows, 65535), min(columns, 65535))


def size_of(payload: bytes) -> tuple[int, int]:
    """Return rows and columns. Raises ValueError."""
    if len(payload) != _SIZE.size:
        raise ValueError("a size has four bytes")
    rows, columns = _SIZE.unpack(payload)
    if not (rows and columns):
        raise ValueError("a size is at least one row and one column")
    return rows, columns


def behind_length(data: bytes) -> bytes:
    """Return a message as it stands between scheduler and executor."""
    return _LENGTH.pack(len(data)) + data


async def next_message(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next message between scheduler and executor; None: there is none any more. Raises ValueError, OSError."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if not 0 < length <= MESSAGE_MAX:
            raise ValueError(f"a message of a tunnel has 1 to {MESSAGE_MAX} bytes, not {length}")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None


class Tunnel:
    """One end of a tunnel. For one event loop; ``run`` has to run beside whatever reads and writes."""

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[Any]],
        receive: Callable[[], Awaitable[bytes | None]],
        told: Callable[[Kind, bytes], object] = lambda kind, payload: None,
    ) -> None:
        """``send`` and ``receive`` messages, the latter None at the end; ``told`` is called with what is not data."""
        self._send = send
        self._receive = receive
        self._told = told
        self._arrived: asyncio.Queue[tuple[Kind, bytes]] = asyncio.Queue()  # the window bounds it
        self._held = 0  #: of what has arrived, that nobody has done with
        self._taken = 0  #: of it, what the last reading returned
        self._left = WINDOW
        self._room = asyncio.Event()
        self._room.set()
        self._gone = False

    async def run(self) -> None:
        """Take what the other end sends until it leaves. Raises ValueError where it does not keep to the rules, and OSError."""
        try:
            while (data := await self._receive()) is not None:
                self._take(*parsed(data))
        finally:
            self._gone = True
            self._room.set()
            self._arrived.put_nowait((Kind.FAILURE, b""))

    def _take(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.DATA | Kind.ERRORS:
                self._held += _cost(payload)
                if self._held > WINDOW:
                    raise ValueError("the other end sent more than it may")
                self._arrived.put_nowait((kind, payload))
            case Kind.END:
                self._arrived.put_nowait((kind, b""))
            case Kind.MORE:
                if len(payload) != _MORE.size:
                    raise ValueError("what was dealt with has four bytes")
                self._left = min(WINDOW, self._left + _MORE.unpack(payload)[0])
                self._room.set()
            case _:
                self._told(kind, payload)

    async def read(self) -> tuple[Kind, bytes] | None:
        """Return the next piece of data; None: it has ended. Whoever asks has done with the one before. Raises Gone."""
        if self._taken:
            self._held -= self._taken
            done, self._taken = self._taken, 0
            if not self._gone:
                # An end that has just left wants no more, and what it has sent before is still to be read.
                with suppress(OSError):
                    await self._send(message(Kind.MORE, _MORE.pack(done)))
        kind, payload = await self._arrived.get()
        if kind is Kind.FAILURE:
            self._arrived.put_nowait((kind, payload))
            raise Gone("the other end is gone")
        if kind is Kind.END:
            return None
        self._taken = _cost(payload)
        return kind, payload

    async def write(self, data: bytes, kind: Kind = Kind.DATA) -> None:
        """Send data once there is room for it. Raises Gone, OSError."""
        while data:
            while self._left <= _OVERHEAD and not self._gone:
                self._room.clear()
                await self._room.wait()
            if self._gone:
                raise Gone("the other end is gone")
            most = min(MESSAGE_MAX - 1, self._left - _OVERHEAD)
            piece, data = data[:most], data[most:]
            self._left -= _cost(piece)
            await self._send(message(kind, piece))

    async def end(self) -> None:
        """Say that no more data comes from here. Raises OSError."""
        await self.say(Kind.END)

    async def say(self, kind: Kind, payload: bytes = b"") -> None:
        """Send what is not data, at once. Raises OSError."""
        await self._send(message(kind, payload[: MESSAGE_MAX - 1]))


def _cost(payload: bytes) -> int:
    return len(payload) + _OVERHEAD


async def carry(tunnel: Tunnel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry a connection until both directions have ended. Raises Gone, OSError, ValueError where one breaks off."""

    async def there() -> None:
        while data := await reader.read(MESSAGE_MAX):
            await tunnel.write(data)
        await tunnel.end()

    async def back() -> None:
        while (piece := await tunnel.read()) is not None:
            writer.write(piece[1])
            await writer.drain()
        writer.write_eof()

    running, up, down = (asyncio.create_task(work) for work in (tunnel.run(), there(), back()))
    try:
        while not (up.done() and down.done()):
            # An end that left is no reason to drop what it has said before; whoever still reads or writes hears of it.
            left = GOODBYE_S if running.done() else None
            waited = [task for task in (running, up, down) if not task.done()]
            done, _ = await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise Gone("the other end is gone")
            for task in done:
                task.result()
    finally:
        await stopped(running, up, down)


async def stopped(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
