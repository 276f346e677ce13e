"""When the loop puts its records aside for the garbage collector, by table."""

from __future__ import annotations

import gc

import pytest

from eratos.scheduler.long_lived import APP, EACH, LongLived, uncollected


@pytest.mark.parametrize(
    ("instances", "times"),
    [
        ([0, 1, EACH - 1], 1),  # the program itself, and what it loaded
        ([EACH], 1),
        ([0, EACH], 2),
        ([0, EACH, EACH + 1, 2 * EACH - 1], 2),  # few more
        ([0, EACH, 2 * EACH], 3),
        ([0, 2 * EACH, EACH + 1, 2 * EACH], 2),  # they come and go
        ([0, 4 * EACH, 0, EACH], 3),  # most have gone, and others came
    ],
)
def test_records_are_put_aside_as_they_grow(instances: list[int], times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    long_lived = LongLived()
    for number in instances:
        monkeypatch.setattr(gc, "freeze", lambda number=number: frozen.append(number))
        long_lived.settle(number, 0)
    assert len(frozen) == times


def test_apps_count_for_many_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    long_lived = LongLived()
    for apps in (0, EACH // APP - 1, EACH // APP, EACH // APP + 1):
        long_lived.settle(0, apps)
    assert len(frozen) == 2


@pytest.mark.parametrize("was_on", [True, False])
def test_nothing_is_collected_during_a_pass_whatever_becomes_of_it(*, was_on: bool) -> None:
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(RuntimeError), uncollected():
            assert not gc.isenabled()
            raise RuntimeError
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()
