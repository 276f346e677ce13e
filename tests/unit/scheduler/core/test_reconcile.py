"""Asking Mesos for states until all were answered, step by step (Mesos' docs/reconciliation.md, Algorithm)."""

from __future__ import annotations

import pytest

from eratos.scheduler.core.reconcile import BATCH, MOST_S, PERIOD_S, Reconciliation


def test_unanswered_tasks_are_asked_about_again_after_longer_and_longer_pauses() -> None:
    asked = Reconciliation()
    asked.start(["i2", "i1"])
    assert [asked.step() for _ in range(7)] == [([["i1", "i2"]], delay) for delay in (2.0, 4.0, 8.0, 16.0, 32.0, MOST_S, MOST_S)]


@pytest.mark.parametrize(
    ("tasks", "sizes"),
    [(1, [1]), (BATCH, [BATCH]), (BATCH + 1, [BATCH, 1]), (2 * BATCH + 5, [BATCH, BATCH, 5])],
)
def test_they_are_asked_about_in_batches(tasks: int, sizes: list[int]) -> None:
    asked = Reconciliation()
    asked.start(f"i{number}" for number in range(tasks))
    batches, _ = asked.step()
    assert [len(batch) for batch in batches] == sizes
    assert len({instance_id for batch in batches for instance_id in batch}) == tasks


@pytest.mark.parametrize("ids", [[], ["i1"], ["i1", "i2"]])
def test_when_all_were_answered_everything_is_asked_for_once_and_then_rests(ids: list[str]) -> None:
    asked = Reconciliation()
    asked.start(ids)
    for instance_id in ids:
        assert asked.step()[0] == [sorted(asked.unanswered)]
        asked.answered(instance_id)
    asked.answered("unheard-of")
    assert asked.step() == ([[]], PERIOD_S)
    assert asked.step() == ([], PERIOD_S)


def test_a_new_round_replaces_the_one_before_and_begins_with_short_pauses() -> None:
    asked = Reconciliation()
    asked.start(["i1"])
    asked.step(), asked.step()
    asked.start(["i2"])
    assert asked.step() == ([["i2"]], 2.0)


def test_a_round_that_was_stopped_asks_for_nothing() -> None:
    asked = Reconciliation()
    assert asked.step() == ([], PERIOD_S)
    asked.start(["i1"])
    asked.stop()
    assert asked.step() == ([], PERIOD_S) and not asked.unanswered
