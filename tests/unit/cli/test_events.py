"""``eratos events``: the stream of a real API, its lines, and what happens when it is cut."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli import events
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps

AT = "2026-11-27T12:30:05.000Z"
TASK = "shop.instance-c1._app.1"
STEP = {"actions": [{"action": "ScaleApplication", "app": "/shop/cart"}]}


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            {"eventType": "status_update_event", "appId": "/shop", "taskStatus": "TASK_RUNNING", "host": "h1", "taskId": TASK},
            f"12:30:05  status_update  /shop  TASK_RUNNING  h1  {events.short(TASK)}",
        ),
        (
            {"eventType": "health_status_changed_event", "appId": "/shop", "alive": False},
            "12:30:05  health_status_changed  /shop  False",
        ),
        (
            {"eventType": "deployment_info", "plan": {"id": "d1", "steps": [STEP]}, "currentStep": STEP},
            "12:30:05  deployment_info  d1 ScaleApplication /shop/cart",
        ),
        (
            {"eventType": "deployment_success", "id": "d1", "plan": {"id": "d1", "steps": [STEP]}},
            "12:30:05  deployment_success  d1 /shop/cart",
        ),
        ({"eventType": "app_terminated_event", "appId": "/a\x1b[31m"}, "12:30:05  app_terminated  /a [31m"),
    ],
)
def test_an_event_is_a_line(zone: None, event: dict[str, Any], shown: str) -> None:
    assert events.line({**event, "timestamp": AT}) == shown


@pytest.mark.parametrize(
    ("name", "is_about"), [("/shop", True), ("/shop/cart", True), ("/sho", False), ("/", True), ("/bank", False)]
)
@pytest.mark.parametrize(
    "event", [{"appId": "/shop/cart"}, {"runSpecId": "/shop/cart"}, {"currentStep": STEP}, {"plan": {"steps": [STEP]}}]
)
def test_what_is_about_an_app_or_below_a_group_is_found(event: dict[str, Any], name: str, is_about: bool) -> None:
    assert events.about(event, name) == is_about


class Scripted:
    """A client whose streams are written down: each is a list of events, then an error or the end."""

    def __init__(self, *streams: Any) -> None:
        self.streams = list(streams)
        self.asked: list[str] = []

    def events(self, *, after: str = "", kinds: Any = ()) -> Iterator[tuple[str, dict[str, Any]]]:
        self.asked.append(after)
        stream = self.streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        return self._read(stream)

    def _read(self, stream: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for item in stream:
            if isinstance(item, Exception):
                raise item
            yield item, {"number": item}


def test_a_stream_that_is_cut_goes_on_behind_the_last_event_and_what_is_away_is_said_once() -> None:
    away = Unreachable("no answer from s1")
    client = Scripted(["m-1", "m-2", Unreachable("cut")], away, away, ["m-3"], Refused(401, "who are you?"))
    said: list[str] = []
    slept: list[float] = []
    found = []
    with pytest.raises(Refused, match="not believed any more, as with an expired token: who are you"):
        for event in events.follow(client, (), said.append, slept.append, "m-0"):  # type: ignore[arg-type]
            found.append(event["number"])
    assert found == ["m-1", "m-2", "m-3"]
    assert client.asked == ["m-0", "m-2", "m-2", "m-2", "m-3"]
    assert said == [f"{why}; trying again" for why in ("cut", "no answer from s1", "the stream of events ended")]
    assert slept == [events.AGAIN_S] * 4


def test_nobody_there_at_the_first_try_is_an_error() -> None:
    with pytest.raises(Unreachable):
        next(events.follow(Scripted(Unreachable("nobody")), (), print, print))  # type: ignore[arg-type]


@pytest.fixture
def served() -> Iterator[tuple[str, FakeController]]:
    controller = FakeController()
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}", controller
    server.stop()


def test_the_real_stream_is_read_from_before(served: tuple[str, FakeController]) -> None:
    url, controller = served
    controller.submit(PutApps((an_app("/shop", 1),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    client = MarathonClient(url)
    stream = client.events(after=client.overview()["earlier"], kinds=["status_update_event"])
    (event_id, event) = next(stream)
    assert event_id and (event["appId"], event["taskStatus"]) == ("/shop", "TASK_RUNNING")


def test_the_command_writes_a_line_of_json_for_each_and_ends_quietly(
    served: tuple[str, FakeController], capsys: pytest.CaptureFixture[str]
) -> None:
    url, controller = served
    controller.submit(PutApps((an_app("/shop", 1), an_app("/bank", 1))))
    for task in controller.launch(an_offer()):
        controller.update(task, "RUNNING")
    client = MarathonClient(url)

    class Leaving(MarathonClient):
        """Its user leaves after the second event."""

        def events(self, **asked: Any) -> Iterator[tuple[str, dict[str, Any]]]:
            yield from itertools.islice(super().events(**asked), 2)
            raise KeyboardInterrupt

    session = Session(Leaving(url), Output("json"))
    assert run(["events", "/shop", "--recent", "--type", "status_update_event"], session) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["eventType"], event["appId"]) for event in shown] == [("status_update_event", "/shop")]
    assert len(client.apps()) == 2
