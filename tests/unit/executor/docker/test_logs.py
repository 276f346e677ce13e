"""Lines of containers' logs, each after its position, out of what Docker sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from eratos.executor.docker import logs
from eratos.executor.logs import LINE_BYTES, NoLog

AT = [b"2026-01-31T12:00:00.%09dZ" % number for number in range(5)]


def lines(*frames: bytes, begin: bytes = b"", skip: int = 0, cut: int = 7) -> list[bytes]:
    """Return the lines of frames, of which each comes in pieces of so many bytes."""

    async def sent() -> AsyncIterator[logs.Frame]:
        for frame in frames:
            yield 1, True, b""
            for at in range(0, len(frame), cut):
                yield 1, False, frame[at : at + cut]

    async def read() -> bytes:
        return b"".join([line async for line in logs._positioned(sent(), begin, skip)])

    return asyncio.run(read()).splitlines()


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_each_line_comes_after_the_time_that_docker_has_of_it(cut: int) -> None:
    assert lines(AT[0] + b" one two\n", AT[1] + b" \n", AT[2] + b" three", cut=cut) == [
        AT[0] + b" one two",
        AT[1] + b" ",
        AT[2] + b" three",
    ]


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_a_line_of_several_frames_has_the_time_of_its_first(cut: int) -> None:
    sent = AT[0] + b" " + b"x" * 100, AT[1] + b" " + b"y" * 100, AT[2] + b" z\n", AT[3] + b" next\n"
    assert lines(*sent, cut=cut) == [AT[0] + b" " + b"x" * 100 + b"y" * 100 + b"z", AT[3] + b" next"]


def test_lines_of_one_time_are_told_apart_and_gone_on_with() -> None:
    sent = [AT[0] + b" a\n", AT[0] + b" b\n", AT[0] + b" c\n", AT[1] + b" d\n"]
    whole = [AT[0] + b" a", AT[0] + b"+1 b", AT[0] + b"+2 c", AT[1] + b" d"]
    assert lines(*sent) == whole
    for index, line in enumerate(whole):
        _, first = logs._begin(line.partition(b" ")[0].decode())
        assert lines(*sent[3 if index == 3 else 0 :], begin=first[0], skip=first[1]) == whole[index:]


def test_what_never_ends_its_line_is_not_kept_in_memory() -> None:
    found = lines(*[AT[0] + b" " + b"x" * 16_384] * 20, cut=16_500)
    assert max(map(len, found)) < LINE_BYTES + 20_000
    assert b"".join(line.partition(b" ")[2] for line in found) == b"x" * 16_384 * 20


def test_a_position_is_asked_of_docker_in_seconds_since_the_epoch() -> None:
    assert logs._begin("2026-01-31T12:00:00.000000007Z+3") == ("1769860800.000000007", (b"2026-01-31T12:00:00.000000007Z", 3))
    for strange in ("12:4", "2026-01-31T12:00:00Z+T", "Z"):
        with pytest.raises(NoLog, match="is no position in a container's log"):
            logs._begin(strange)
