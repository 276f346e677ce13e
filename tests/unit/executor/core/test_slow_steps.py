"""What a start, first checks or a stop that take long say of themselves."""

from __future__ import annotations

import pytest
from support.driven import Driven, states, update
from support.executor import TASK

from eratos.executor.core import events as on
from eratos.executor.core.progress import SLOW_S


@pytest.fixture
def driven() -> Driven:
    return Driven()


def test_a_drain_that_takes_long_says_who_holds_it_now_and_then(driven: Driven) -> None:
    driven.ready()
    driven.drain()
    assert driven.handle(on.DrainHeld(TASK, "balancer1 still uses it (3 requests)")) == []
    assert driven.machine.next_deadline() == driven.now + SLOW_S
    assert driven.after(SLOW_S - 0.1) == []
    out = driven.after(0.1)
    assert states(out) == ["TASK_KILLING"]
    assert update(out).message == "drained for 10 s at most: balancer1 still uses it (3 requests)"
    driven.handle(on.DrainHeld(TASK, "balancer1 still uses it (2 requests)"))
    assert driven.after(SLOW_S) == []
    driven.handle(on.DrainHeld(TASK, "balancer1 still uses it (1 requests)"))
    assert "(1 requests)" in update(driven.after(SLOW_S)).message


def test_a_start_that_takes_long_is_told_once(driven: Driven) -> None:
    driven.launch()
    out = driven.after(SLOW_S)
    assert (states(out), update(out).message) == (["TASK_STARTING"], "Docker has not started it yet")
    assert driven.after(10 * SLOW_S) == []
    driven.kill()
    assert states(driven.after(SLOW_S)) == []


def test_checks_that_do_not_pass_say_why_as_long_as_nothing_else_tells(driven: Driven) -> None:
    driven.run(checks=1)
    driven.probe(False, "HTTP status 404")
    assert states(driven.after(SLOW_S - 0.1)) == []
    told = update(driven.after(0.1))
    assert (told.state, told.healthy) == ("TASK_RUNNING", None)
    assert told.message.startswith("health check 0 (http port ")
    assert told.message.endswith(": HTTP status 404")
    assert states(driven.after(SLOW_S)) == []
    assert driven.probe()[0:1] != []
    assert states(driven.after(SLOW_S)) == []


def test_a_pull_that_takes_long_is_told_once(driven: Driven) -> None:
    driven.launch()
    driven.handle(on.Preparing(TASK, "pulling image shop/cart"))
    assert driven.after(10 * SLOW_S) == []
