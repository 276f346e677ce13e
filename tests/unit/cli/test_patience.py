"""How commands wait: what is said meanwhile, and the three ways in which a wait ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from eratos.cli.patience import Interrupted, Look, Patience, TookTooLong, until
from eratos.marathon.client import Unreachable


class Waiter:
    """Waits by a clock of its own; ``said`` is what was reported."""

    def __init__(self, timeout_s: float = 60) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.patience = Patience(timeout_s, timeout_s, self.said.append, lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def until(self, *looks: Look[str] | Exception) -> str:
        coming = iter(looks)
        return until(lambda: _next(coming), self.patience, "ready", "wait again")


def _next(coming: Iterator[Look[str] | Exception]) -> Look[str]:
    found = next(coming)
    if isinstance(found, Exception):
        raise found
    return found


def test_a_line_is_said_again_when_more_of_it_changes_than_seconds() -> None:
    waiter = Waiter()
    first, counted, other = (Look[str]({"a": line}) for line in ("next in 9 s", "next in 8 s", "starts"))
    assert waiter.until(first, counted, other, other, first, Look({"a": "done"}, "result")) == "result"
    assert waiter.said == ["next in 9 s", "starts", "next in 9 s", "done"]


def test_lines_about_different_things_are_compared_each_with_its_own() -> None:
    waiter = Waiter()
    both = Look[str]({"a": "waits", "b": "starts"})
    waiter.until(both, both, Look({"a": "waits", "b": "runs"}, "result"))
    assert waiter.said == ["waits", "starts", "runs"]


@pytest.mark.parametrize("perhaps_made", [False, True])
def test_who_is_away_is_waited_for_and_said_once(perhaps_made: bool) -> None:
    waiter = Waiter()
    away = Unreachable("nobody leads", perhaps_made=perhaps_made)
    assert waiter.until(away, away, Look({}, "result")) == "result"
    assert waiter.said == ["no scheduler can say it just now, as in an election; still waiting: nobody leads"]


def test_a_result_that_is_empty_is_one() -> None:
    assert Waiter().until(Look({}, "")) == ""


@pytest.mark.parametrize(("timeout_s", "looks"), [(0, 1), (2, 3)])
def test_when_the_time_is_over_what_is_late_is_named_and_how_to_go_on(timeout_s: float, looks: int) -> None:
    waiter = Waiter(timeout_s)
    with pytest.raises(TookTooLong, match=rf"^not ready after {timeout_s} s: /a; wait again$"):
        waiter.until(*[Look({"/a": "/a waits"}, late="/a")] * looks)


@pytest.mark.parametrize("looks", [True, False])
def test_a_wait_that_is_interrupted_says_how_to_go_on(looks: bool) -> None:
    waiter = Waiter()

    def interrupt(*_: object) -> Look[str]:
        raise KeyboardInterrupt

    sleep: Callable[[float], object] = interrupt
    patience = Patience(60, 60, waiter.said.append, lambda: 0.0, sleep)  # type: ignore[arg-type]
    with pytest.raises(Interrupted, match="waiting no longer; wait again"):
        until(interrupt if looks else lambda: Look[str]({}), patience, "ready", "wait again")
