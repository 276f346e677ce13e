"""Commands in tasks: those whose end is told are not asked for it before."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator, Mapping

import pytest

from eratos.executor.commands import CommandRunner


class Telling:
    """Runs one command that tells of its end by a pipe."""

    def __init__(self) -> None:
        self.told, self._end = os.pipe()
        self.asked_early = False
        self.stopped = 0

    def command_start(self, task_id: str, command: str, container: str, env: Mapping[str, str]) -> str:
        return command

    def command_told(self, command_id: str) -> int | None:
        return self.told

    def command_result(self, command_id: str) -> int | None:
        ended = bool(select.select([self.told], [], [], 0)[0])
        self.asked_early |= not ended
        return 7 if ended else None

    def command_stop(self, command_id: str) -> bool:
        self.stopped += 1
        return True

    def end(self) -> None:
        os.write(self._end, b"7\n")

    def close(self) -> None:
        os.close(self.told)
        os.close(self._end)


@pytest.fixture
def telling() -> Iterator[Telling]:
    telling = Telling()
    yield telling
    telling.close()


def test_a_command_that_tells_of_its_end_is_not_asked_before(telling: Telling) -> None:
    async def ended() -> int:
        asyncio.get_running_loop().call_later(0.05, telling.end)
        return await CommandRunner(telling).run(("t", "told"), "x", 60)

    assert asyncio.run(ended()) == 7
    assert not telling.asked_early


def test_a_command_that_never_tells_is_ended_with_its_time(telling: Telling) -> None:
    async def ended() -> int:
        return await CommandRunner(telling).run(("t", "told"), "x", 0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(ended())
    assert telling.stopped == 1
