"""A tunnel's two ends, with a line between them that holds nothing back: windows, half-closes, and ends that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from eratos.common import tunnel
from eratos.common.tunnel import MESSAGE_MAX, WINDOW, Command, Gone, Kind, Tunnel, carry, message, parsed


@dataclass
class Line:
    """Both directions between two ends; ``sent`` is what went, by end."""

    queues: tuple[asyncio.Queue[bytes | None], asyncio.Queue[bytes | None]] = field(
        default_factory=lambda: (asyncio.Queue(), asyncio.Queue())
    )
    sent: tuple[list[bytes], list[bytes]] = ([], [])
    told: list[tuple[Kind, bytes]] = field(default_factory=list)

    def end(self, which: int) -> Tunnel:
        async def send(data: bytes) -> None:
            self.sent[which].append(data)
            self.queues[1 - which].put_nowait(data)

        return Tunnel(send, self.queues[which].get, lambda kind, payload: self.told.append((kind, payload)))

    def leave(self, which: int) -> None:
        self.queues[1 - which].put_nowait(None)

    def data(self, which: int) -> int:
        """Return how much data an end has sent."""
        return sum(len(payload) for kind, payload in map(parsed, self.sent[which]) if kind is Kind.DATA)


def played(play: Callable[[Line, Tunnel, Tunnel], Awaitable[Any]]) -> Any:
    """Run something with two ends that take what comes."""

    async def run() -> Any:
        line = Line(sent=([], []))
        ends = line.end(0), line.end(1)
        running = [asyncio.create_task(end.run()) for end in ends]
        try:
            async with asyncio.timeout(20):
                return await play(line, *ends)
        finally:
            await tunnel.stopped(*running)

    return asyncio.run(run())


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def everything(end: Tunnel) -> bytes:
    found = bytearray()
    while (piece := await end.read()) is not None:
        found += piece[1]
    return bytes(found)


def test_what_is_written_arrives_in_order_and_to_its_end() -> None:
    data = bytes(range(256)) * 8192

    async def play(line: Line, near: Tunnel, far: Tunnel) -> bytes:
        async def write() -> None:
            await near.write(data)
            await near.end()

        _, found = await asyncio.gather(write(), everything(far))
        return found

    assert played(play) == data


def test_no_message_is_longer_than_it_may_be() -> None:
    async def play(line: Line, near: Tunnel, far: Tunnel) -> list[bytes]:
        await near.write(b"x" * (MESSAGE_MAX * 3))
        return line.sent[0]

    assert {len(sent) <= MESSAGE_MAX for sent in played(play)} == {True}


def test_a_slow_reader_holds_up_the_writer_and_nothing_piles_up() -> None:
    async def play(line: Line, near: Tunnel, far: Tunnel) -> tuple[int, int]:
        writing = asyncio.create_task(near.write(b"x" * (3 * WINDOW)))
        await settled()
        before = line.data(0)
        assert not writing.done()
        for _ in range(4):
            await far.read()  # has done with three pieces
        await settled()
        after = line.data(0)
        await tunnel.stopped(writing)
        return before, after

    before, after = played(play)
    assert 0 < before <= WINDOW
    assert before < after <= before + 3 * MESSAGE_MAX


def test_short_messages_count_more_than_their_bytes() -> None:
    async def play(line: Line, near: Tunnel, far: Tunnel) -> int:
        async def write() -> None:
            while True:
                await near.write(b"x")

        writing = asyncio.create_task(write())
        await settled()
        while (count := len(line.sent[0])) and not await _same(line, count):
            pass
        await tunnel.stopped(writing)
        return len(line.sent[0])

    async def _same(line: Line, count: int) -> bool:
        await settled()
        return len(line.sent[0]) == count

    assert played(play) <= WINDOW // 65


def test_what_is_no_data_passes_by_data_that_waits() -> None:
    async def play(line: Line, near: Tunnel, far: Tunnel) -> None:
        writing = asyncio.create_task(near.write(b"x" * (3 * WINDOW)))
        await settled()
        await near.say(Kind.SIZE, tunnel.size(30, 90))
        await until(lambda: line.told)
        await tunnel.stopped(writing)
        assert [tunnel.size_of(payload) for kind, payload in line.told if kind is Kind.SIZE] == [(30, 90)]

    played(play)


def test_an_end_that_sends_more_than_it_may_is_left() -> None:
    async def run() -> None:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        end = Tunnel(_nothing, queue.get)
        for _ in range(WINDOW // MESSAGE_MAX + 2):
            queue.put_nowait(message(Kind.DATA, b"x" * (MESSAGE_MAX - 1)))
        queue.put_nowait(None)
        await end.run()

    with pytest.raises(ValueError, match="more than it may"):
        asyncio.run(run())


async def _nothing(data: bytes) -> None:
    pass


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x02" * (MESSAGE_MAX + 1)])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parsed(data)


def test_whoever_writes_or_reads_hears_that_the_other_end_is_gone() -> None:
    async def play(line: Line, near: Tunnel, far: Tunnel) -> None:
        writing, reading = asyncio.create_task(near.write(b"x" * (3 * WINDOW))), asyncio.create_task(near.read())
        await settled()
        line.leave(1)
        for task in (writing, reading):
            with pytest.raises(Gone):
                await task
        with pytest.raises(Gone):
            await near.read()

    played(play)


def test_what_was_sent_before_a_goodbye_is_read_though_it_can_be_answered_no_more() -> None:
    async def run() -> bytes:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def send(data: bytes) -> None:
            raise Gone("closed")

        end = Tunnel(send, queue.get)
        for sent in (message(Kind.DATA, b"one"), message(Kind.DATA, b"two"), message(Kind.END)):
            queue.put_nowait(sent)
        running = asyncio.create_task(end.run())
        try:
            return await everything(end)
        finally:
            await tunnel.stopped(running)

    assert asyncio.run(run()) == b"onetwo"


# Connections -----------------------------------------------------------------------------------------------------------------


@dataclass
class Socket:
    """A connection's two streams, played: ``given`` is what comes from it, ``got`` what was written to it."""

    given: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)
    got: bytearray = field(default_factory=bytearray)
    ended: bool = False
    slow: asyncio.Event | None = None

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.got += data

    async def drain(self) -> None:
        if self.slow is not None:
            await self.slow.wait()

    def write_eof(self) -> None:
        self.ended = True


async def _carried(near: Socket, far: Socket, line: Line) -> list[asyncio.Task[None]]:
    ends = line.end(0), line.end(1)
    pairs = zip(ends, (near, far), strict=True)
    return [asyncio.create_task(carry(end, each.given, each)) for end, each in pairs]  # type: ignore[arg-type]


def test_one_direction_ends_and_the_other_goes_on() -> None:
    async def run() -> None:
        near, far, line = Socket(), Socket(), Line(sent=([], []))
        tasks = await _carried(near, far, line)
        near.given.feed_data(b"question")
        near.given.feed_eof()
        await until(lambda: far.ended)
        assert far.got == b"question"
        assert not any(task.done() for task in tasks)
        far.given.feed_data(b"answer")
        far.given.feed_eof()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)
        assert (near.got, near.ended) == (b"answer", True)

    asyncio.run(run())


def test_a_connection_that_takes_nothing_holds_up_the_one_behind_the_tunnel() -> None:
    async def run() -> None:
        near, far, line = Socket(), Socket(slow=asyncio.Event()), Line(sent=([], []))
        tasks = await _carried(near, far, line)
        near.given.feed_data(b"x" * (3 * WINDOW))
        await settled()
        assert line.data(0) <= WINDOW
        assert len(far.got) <= MESSAGE_MAX
        await tunnel.stopped(*tasks)

    asyncio.run(run())


def test_a_connection_that_breaks_ends_its_tunnel() -> None:
    async def run() -> None:
        near, far, line = Socket(), Socket(), Line(sent=([], []))
        tasks = await _carried(near, far, line)
        near.given.set_exception(ConnectionResetError("broken"))
        with pytest.raises(ConnectionResetError):
            await tasks[0]
        line.leave(0)
        with pytest.raises(Gone):
            await tasks[1]

    asyncio.run(run())


# Commands --------------------------------------------------------------------------------------------------------------------


def test_a_command_is_read_as_it_was_written() -> None:
    command = Command(("sh", "-c", "echo ü"), True, 30, 100)
    assert Command.from_bytes(command.to_bytes()) == command


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "no JSON"),
        (b"[]", "no object"),
        (b"{}", "arguments"),
        (b'{"arguments": []}', "arguments"),
        (b'{"arguments": [""]}', "not empty"),
        (b'{"arguments": ["a\\u0000b"]}', "zero byte"),
        (b'{"arguments": [1]}', "texts"),
        (b'{"arguments": ["a"], "terminal": 1}', "terminal"),
        (b'{"arguments": ["a"], "rows": 0}', "rows"),
        (b'{"arguments": ["a"], "columns": 65536}', "columns"),
        (b'{"arguments": ["a"], "rows": true}', "rows"),
        (b'{"arguments": ["a"], "user": "root"}', "user"),
    ],
)
def test_a_bad_command_is_refused_by_field(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Command.from_bytes(data)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\0\0\0\1", b"\0\1\0\0"])
def test_a_bad_size_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        tunnel.size_of(payload)
