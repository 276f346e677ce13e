"""What balancers count, asked while something depends on it."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from support import companion

from eratos.scheduler import figure_watch
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.core.events import FiguresSeen
from eratos.scheduler.core.gates import QueueFigures, ServerFigures

SERVER = {"address": "10.0.0.1:80", "status": "UP", "requests": 2, "weight": 1, "rate": 7}
COUNTED = {**SERVER, "failed": 3, "answer_ms": 12, "answered": 90, "broken": 2}


def test_requests_and_failures_hold_what_broke_off() -> None:
    found = figure_watch.seen({"b1": {"servers": {"shop/eratos-1": COUNTED}}, "b2": {"servers": {}}})
    unscaled = "b1 does not say what waits: its version may be an earlier one; b2 does not say what waits: its version may be"
    assert found.servers == (ServerFigures("b1", "eratos-1", 92, 5, 12, 0, 2, 0),)
    assert (found.missing, found.balancers) == ("", ())
    assert found.unscaled.startswith(unscaled)


def test_what_came_and_what_waits_is_for_autoscaling() -> None:
    servers = {"shop/eratos-1": COUNTED | {"came": 99, "queued": 1}}
    found = figure_watch.seen({"b1": {"servers": servers, "queued": {"shop": 4, "web": 0}}, "b2": {"servers": {}, "queued": {}}})
    waits = (QueueFigures("b1", "shop", 4), QueueFigures("b1", "web", 0))
    assert found == FiguresSeen((ServerFigures("b1", "eratos-1", 92, 5, 12, 99, 2, 1),), "", ("b1", "b2"), waits, "")


@pytest.mark.parametrize("queued", [None, [], {"shop": "x"}])
def test_a_balancer_whose_queues_are_not_known_has_not_answered_for_autoscaling(queued: Any) -> None:
    found = figure_watch.seen({"b1": {"servers": {"shop/eratos-1": COUNTED}, "queued": queued}})
    assert (found.balancers, found.missing, found.unscaled.startswith("b1 does not say what waits")) == ((), "", True)


def test_while_consul_is_away_there_may_be_other_balancers() -> None:
    found = figure_watch.seen({"b1": {"servers": {}, "queued": {}}}, "no Consul answers")
    assert (found.missing, found.unscaled) == ("", "there may be other balancers: no Consul answers")


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
