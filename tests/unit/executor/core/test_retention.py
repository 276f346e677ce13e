"""Which ended tasks keep their container, by table."""

from __future__ import annotations

import pytest

from eratos.executor.core.retention import KEPT_MAX, KEPT_PER_APP_MAX, KEPT_S, Retention


@pytest.mark.parametrize(
    ("ended", "removed"),
    [
        (["/a"] * KEPT_PER_APP_MAX, []),
        (["/a"] * (KEPT_PER_APP_MAX + 1), ["t0"]),  # the oldest of its app goes
        (["/b", *["/a"] * (KEPT_PER_APP_MAX + 1)], ["t1"]),
        ([f"/{number}" for number in range(KEPT_MAX)], []),
        ([f"/{number}" for number in range(KEPT_MAX + 2)], ["t0", "t1"]),  # the oldest of all
    ],
)
def test_how_many_are_kept(ended: list[str], removed: list[str]) -> None:
    kept = Retention()
    assert [task for number, app in enumerate(ended) for task in kept.add(f"t{number}", app, 1000.0)] == removed


@pytest.mark.parametrize(
    ("now", "expired", "next_at"),
    [
        (999.9 + KEPT_S, [], 1000.0 + KEPT_S),
        (1000.0 + KEPT_S, ["t1"], 1001.0 + KEPT_S),
        (1001.0 + KEPT_S, ["t1", "t2"], None),
    ],
)
def test_how_long_they_are_kept(now: float, expired: list[str], next_at: float | None) -> None:
    kept = Retention()
    assert kept.next_at() is None
    kept.add("t1", "/a", 1000.0), kept.add("t2", "/b", 1001.0)
    assert kept.expire(now) == expired and kept.next_at() == next_at
    assert kept.ended_at("t1") == (None if "t1" in expired else 1000.0)


def test_those_of_an_app_go_with_it_and_all_with_the_executor() -> None:
    kept = Retention()
    for number, app in enumerate(("/a", "/b", "/a", "/c")):
        kept.add(f"t{number}", app, 1000.0)
    assert kept.drop_app("/a") == ["t0", "t2"] and kept.drop_app("/a") == []
    assert kept.drop_all() == ["t1", "t3"] and kept.drop_all() == []
