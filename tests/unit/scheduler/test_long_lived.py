"""When the loop puts its records aside for the garbage collector, by table."""

from __future__ import annotations

import gc

import pytest

from eratos.scheduler.long_lived import EACH, LongLived


@pytest.mark.parametrize(
    ("instances", "times"),
    [
        ([0, 1, EACH - 1], 0),
        ([EACH], 1),
        ([EACH, EACH + 1, 2 * EACH - 1], 1),  # few more
        ([EACH, 2 * EACH], 2),
        ([2 * EACH, EACH + 1, 2 * EACH], 1),  # they come and go
        ([4 * EACH, 0, EACH], 2),  # most have gone, and others came
    ],
)
def test_records_are_put_aside_as_they_grow(instances: list[int], times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    long_lived = LongLived()
    for number in instances:
        monkeypatch.setattr(gc, "freeze", lambda number=number: frozen.append(number))
        long_lived.settle(number)
    assert len(frozen) == times
