"""What instances take, asked of executors and shown; what is not known is said to be so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.api import OPEN, ApiClient
from support.builders import an_app, an_offer
from support.controller import FakeController
from support.part import Part, a_part

from eratos.common import keys
from eratos.scheduler.api import executors, usage
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps

FIGURES = {"ageSeconds": 1.5, "cpus": 0.25, "cpusLimit": 0.5, "memBytes": 1000, "memLimitBytes": None}
UNKNOWN = dict.fromkeys(FIGURES)


NOTHING: dict[str, Any] = {"tasks": {}}


@pytest.fixture(scope="module")
def server() -> Iterator[Part]:
    with a_part("/usage", NOTHING, 400) as made:
        yield made


class Rig:
    def __init__(self, executor: Part) -> None:
        controller = self.controller = FakeController()
        controller.submit(PutApps((an_app("/a"), an_app("/b"))))
        self.a, self.b = controller.launch(an_offer(hostname="127.0.0.1"))
        agent_key = lambda agent_id: f"key of {agent_id}"  # noqa: E731
        self.api = ApiClient(create_api(controller, access=OPEN, executor_port=executor.port, agent_key=agent_key))

    def tasks(self, query: str = "") -> list[dict[str, Any]]:
        answer = self.api.get(f"/v2/usage{query}")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["tasks"])


@pytest.fixture(scope="module")
def made(server: Part) -> Rig:
    return Rig(server)


@pytest.fixture
def executor(server: Part) -> Part:
    server.status, server.body, server.shown = 200, NOTHING, []
    return server


@pytest.fixture
def rig(made: Rig, executor: Part, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(usage, "FRESH_S", 0.0)
    return made


def test_what_is_measured_is_shown_and_what_is_not_is_null(rig: Rig, executor: Part) -> None:
    executor.body = {"tasks": {rig.a: FIGURES}}
    assert rig.tasks() == [
        {"id": rig.a, "app": "/a", **FIGURES, "missing": ""},
        {"id": rig.b, "app": "/b", **UNKNOWN, "missing": usage.NOT_YET},
    ]
    executor.body = {"tasks": {rig.a: {**FIGURES, "cpus": None}}}
    [found] = rig.tasks("?app=/a")
    assert (found["cpus"], found["memBytes"], found["missing"]) == (None, 1000, "its CPU was read once only")
    assert keys.unproven(executor.shown[0], lambda who: "key of a1", "GET", "/usage", b"", time.time()) == ""


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (404, {}, "is of a version that measures nothing"),
        (401, {}, "answers 401"),
        (200, b"{", "answers something else than what its tasks take"),
        (200, [], "answers something else"),
        (200, {"tasks": {"x": {**FIGURES, "cpus": "many"}}}, "answers something else"),
        (200, {"tasks": {"x": {**FIGURES, "cpus": -1}}}, "answers something else"),
        (200, b'{"tasks": {"x": {"ageSeconds": NaN}}}', "answers something else"),
        (200, {"tasks": {"x": {**FIGURES, "ageSeconds": None}}}, "answers something else"),
        (200, {"tasks": {"x": {"ageSeconds": 1}}}, "answers something else"),
    ],
)
def test_an_executor_that_says_nothing_is_named(rig: Rig, executor: Part, status: int, body: Any, missing: str) -> None:
    executor.status, executor.body = status, body
    [found] = rig.tasks("?app=/b&app=/b")
    assert {**found, "missing": ""} == {"id": rig.b, "app": "/b", **UNKNOWN, "missing": ""}
    assert found["missing"].startswith(f"the executor at 127.0.0.1:{executor.port} {missing}")


def test_an_executor_that_is_away_is_named() -> None:
    found = asyncio.run(executors.ask_all({"a1": "127.0.0.1", "a2": "127.0.0.1"}, 1, lambda agent_id, path: {}))
    assert set(found) == {"a1", "a2"}
    assert str(found["a1"]).startswith("the executor at 127.0.0.1:1 does not answer: ")


def test_who_asks_at_about_the_same_time_shares_an_answer(rig: Rig, executor: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    executor.body = {"tasks": {rig.a: FIGURES}}
    [first] = rig.tasks("?app=/a")
    monkeypatch.setattr(usage, "FRESH_S", 1000.0)
    executor.body = {"tasks": {rig.a: {**FIGURES, "cpus": 0.5}}}
    [second] = rig.tasks("?app=/a")
    assert len(executor.shown) == 1
    assert second["cpus"] == 0.25
    assert second["ageSeconds"] >= first["ageSeconds"] == 1.5


class Open:
    """Events of a leader that leads on for so many looks at it."""

    def __init__(self, times: int) -> None:
        self.left = times

    @property
    def closed(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_stream_has_an_answer_each_period_while_this_scheduler_leads(
    rig: Rig, executor: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "PERIOD_S", 0.0)
    monkeypatch.setattr(rig.controller, "events", Open(2))
    executor.body = {"tasks": {rig.a: FIGURES}}
    answer = rig.api.get("/v2/usage?app=/a", headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds, data = answer.text.splitlines()[0::3], answer.text.splitlines()[1::3]
    assert kinds == ["event: usage"] * 2
    documents = [json.loads(line.removeprefix("data: ")) for line in data]
    assert documents == [{"tasks": [{"id": rig.a, "app": "/a", **FIGURES, "missing": ""}]}] * 2


def test_nobody_is_told_of_apps_that_are_not_theirs(rig: Rig) -> None:
    state = rig.controller.machine.state
    found = usage._places(state, (), lambda app_id: app_id == "/b")
    assert [place.task_id for place in found] == [rig.b]
    assert usage._places(state, ("/a",), lambda app_id: app_id == "/b") == []


def test_apps_without_instances_and_too_many_of_them(rig: Rig) -> None:
    assert rig.tasks("?app=/none") == []
    refused = rig.api.get("/v2/usage", params={"app": ["/a"] * 501})
    assert refused.status_code == 422
    assert "/app" in refused.text
