"""What balancers count, asked while something depends on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from support import companion

from eratos.scheduler import figure_watch
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.core.error_budget import ServiceFigures
from eratos.scheduler.core.events import FiguresSeen
from eratos.scheduler.core.gates import QueueFigures, ServerFigures
from eratos.scheduler.core.usage import TaskUsage

SERVER = {"address": "10.0.0.1:80", "status": "UP", "requests": 2, "weight": 1, "rate": 7}
NO_ANSWERS: dict[str, Any] = {"answers": {}}
IDLE: dict[str, Any] = {"servers": {}, "queued": {}, **NO_ANSWERS}
COUNTED = {**SERVER, "failed": 3, "answer_ms": 12, "answered": 90, "broken": 2}


def test_requests_and_failures_hold_what_broke_off() -> None:
    found = figure_watch.seen({"b1": {"servers": {"shop/eratos-1": COUNTED}}, "b2": {"servers": {}}})
    unscaled = "b1 does not say what waits: its version may be an earlier one; b2 does not say what waits: its version may be"
    assert found.servers == (ServerFigures("b1", "eratos-1", 92, 5, 12, 0, 2, 0),)
    assert (found.missing, found.balancers) == ("", ())
    assert found.unscaled.startswith(unscaled)


def test_what_came_and_what_waits_is_for_autoscaling() -> None:
    servers = {"shop/eratos-1": COUNTED | {"came": 99, "queued": 1}}
    found = figure_watch.seen({"b1": {"servers": servers, "queued": {"shop": 4, "web": 0}, **NO_ANSWERS}, "b2": IDLE})
    waits = (QueueFigures("b1", "shop", 4), QueueFigures("b1", "web", 0))
    assert found == FiguresSeen((ServerFigures("b1", "eratos-1", 92, 5, 12, 99, 2, 1),), "", ("b1", "b2"), waits, "")


@pytest.mark.parametrize("queued", [None, [], {"shop": "x"}])
def test_a_balancer_whose_queues_are_not_known_has_not_answered_for_autoscaling(queued: Any) -> None:
    found = figure_watch.seen({"b1": {"servers": {"shop/eratos-1": COUNTED}, "queued": queued}})
    assert (found.balancers, found.missing, found.unscaled.startswith("b1 does not say what waits")) == ((), "", True)


def test_while_consul_is_away_there_may_be_other_balancers() -> None:
    found = figure_watch.seen({"b1": IDLE}, "no Consul answers")
    others = "there may be other balancers: no Consul answers"
    assert (found.missing, found.unscaled, found.uncounted) == ("", others, others)


def test_what_clients_of_a_service_got_is_for_error_budgets() -> None:
    answers = {"shop": {"answered": 90, "failed": 3, "cut": 2}, "web": {"answered": 0, "failed": 0, "cut": 0}}
    found = figure_watch.seen({"b1": IDLE | {"answers": answers}, "b2": IDLE})
    assert found.services == (ServiceFigures("b1", "shop", 90, 5), ServiceFigures("b1", "web", 0, 0))
    assert (found.missing, found.unscaled, found.uncounted) == ("", "", "")


@pytest.mark.parametrize("answers", [None, [], {"shop": {"answered": 1, "failed": 0}}, {"shop": {"answered": "x"}}])
def test_a_balancer_that_does_not_say_what_clients_got_is_missed_for_error_budgets(answers: Any) -> None:
    found = figure_watch.seen({"b1": IDLE | {"answers": answers}})
    assert (found.services, found.missing, found.unscaled) == ((), "", "")
    assert found.uncounted.startswith("b1 does not say what it answers for a service")
    found = figure_watch.seen({"b1": {"servers": {}, "queued": {}}})
    assert found.uncounted.startswith("b1 does not say what it answers for a service")


def test_what_tasks_take_is_by_task_and_who_does_not_say_it_by_agent() -> None:
    usage = TaskUsage(1.0, 0.2, 0.5, 1000, None)
    answers = {"a1": {"t1": usage, "t2": usage}, "a2": "the executor at h2:5052 does not answer", "a3": {"t3": usage}}
    found = figure_watch.with_usages(FiguresSeen((), "x"), answers)
    assert found.usages == {"t1": usage, "t2": usage, "t3": usage}
    assert (found.silent, found.missing) == ({"a2": "the executor at h2:5052 does not answer"}, "x")


def test_executors_are_asked_beside_balancers() -> None:
    async def ask(hosts: Mapping[str, str]) -> dict[str, str]:
        return {agent_id: f"{host} is away" for agent_id, host in hosts.items()}

    watch = figure_watch.FigureWatch(
        lambda: True, tuple, lambda path: {}, lambda event: None, hosts=lambda: {"a1": "h1"}, ask_executors=ask
    )
    assert watch.look() == FiguresSeen((), figure_watch.NOBODY, silent={"a1": "h1 is away"})


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ({}, "no balancer is registered in Consul"),
        ({"b1": "its companion does not answer"}, "b1 says nothing: its companion does not answer"),
        ({"b1": {"servers": {"shop/eratos-1": {**SERVER, "failed": 3, "answer_ms": 12}}}}, "b1 does not say how"),
        ({"b1": {"servers": {"shop/eratos-1": {**COUNTED, "answered": None}}}}, "b1 does not say how"),
        ({"b1": {"servers": []}}, "b1 does not say how"),
        ({"b1": {}}, "b1 does not say how"),
        ({"b1": "is away", "b2": {}}, "b1 says nothing: is away; b2 does not say how"),
    ],
)
def test_what_is_missing_is_never_taken_for_good_figures(answers: dict[str, Any], missing: str) -> None:
    found = figure_watch.seen(answers)
    assert found.servers == ()
    assert found.missing.startswith(missing)


def test_balancers_are_asked_while_something_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_watch, "PERIOD_S", 0.01)
    looked, emitted, found = threading.Event(), threading.Event(), []
    shown: list[str] = []

    def wanted() -> bool:
        looked.set()
        return bool(shown)

    def emit(event: FiguresSeen) -> None:
        found.append(event)
        emitted.set()

    def answer(method: str, path: str, body: bytes) -> Any:
        return 200, json.dumps({"servers": {"shop/eratos-1": COUNTED}}).encode()

    with companion.serve(answer) as port:
        balancers = (Balancer("b1", "127.0.0.1", port, ""), Balancer("b2", "127.0.0.1", 1, ""))
        watch = figure_watch.FigureWatch(wanted, lambda: balancers, lambda path: {}, emit)
        watch.start()
        try:
            assert looked.wait(60)
            assert not found
            shown.append("a gate")
            assert emitted.wait(60)
        finally:
            watch.stop()
    assert found[0].servers == (ServerFigures("b1", "eratos-1", 92, 5, 12, 0, 2, 0),)
    assert found[0].missing.startswith("b2 says nothing: its companion at 127.0.0.1:1 does not answer")
