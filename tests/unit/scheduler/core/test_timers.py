"""Deadlines, by table: what is due when, and in which order."""

from __future__ import annotations

import pytest

from eratos.scheduler.core.timers import Timer, TimerKind, Timers

KILL, DELAY, GATE = Timer(TimerKind.KILL, "i1"), Timer(TimerKind.DELAY, "/a"), Timer(TimerKind.GATE, "/a")


@pytest.mark.parametrize(
    ("now", "due", "next_at"),
    [
        (9.9, [], 10.0),
        (10.0, [KILL], 20.0),  # the moment itself is due
        (25.0, [KILL, DELAY], 30.0),
        (30.0, [KILL, DELAY, GATE], None),
    ],
)
def test_what_is_due_comes_earliest_first_and_once(now: float, due: list[Timer], next_at: float | None) -> None:
    timers = Timers()
    for timer, at in ((GATE, 30.0), (KILL, 10.0), (DELAY, 20.0)):
        timers.set(timer, at)
    assert timers.pop_due(now) == due
    assert timers.pop_due(now) == [] and timers.next_at() == next_at
    assert [timer in timers for timer in (KILL, DELAY, GATE)] == [timer not in due for timer in (KILL, DELAY, GATE)]


@pytest.mark.parametrize(("moved_to", "at"), [(5.0, 5.0), (15.0, 15.0), (10.0, 10.0)])
def test_setting_it_again_moves_it_either_way(moved_to: float, at: float) -> None:
    timers = Timers()
    timers.set(KILL, 10.0)
    timers.set(KILL, moved_to)
    assert timers.next_at() == at
    assert timers.pop_due(at - 0.1) == [] and timers.pop_due(at) == [KILL] and timers.next_at() is None


def test_those_of_one_moment_come_in_the_order_they_were_set() -> None:
    timers = Timers()
    for timer in (GATE, DELAY, KILL):
        timers.set(timer, 10.0)
    assert timers.pop_due(10.0) == [GATE, DELAY, KILL]


def test_what_was_cleared_is_never_due_and_may_be_set_again() -> None:
    timers = Timers()
    timers.set(KILL, 10.0)
    timers.clear(KILL)
    timers.clear(DELAY)
    assert KILL not in timers and timers.next_at() is None and timers.pop_due(99.0) == []
    timers.set(KILL, 20.0)
    assert timers.pop_due(20.0) == [KILL]


def test_moving_deadlines_over_and_over_takes_no_room() -> None:
    timers = Timers()
    for number in range(1000):
        timers.set(KILL, float(number))
        timers.set(DELAY, 2000.0 - number)
        assert len(timers._heap) <= 2 * 2 + 64
    assert timers.pop_due(5000.0) == [KILL, DELAY]
