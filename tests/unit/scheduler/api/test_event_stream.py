"""``/v2/events`` over real connections: what readers get, what they may get, and that none of them holds anything up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import requests
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController
from support.waiting import until

from eratos.common.browser_guard import BrowserGuard
from eratos.marathon import pod_definition
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import ANYBODY, Grant
from eratos.scheduler.api import event_stream
from eratos.scheduler.api.caller import Caller
from eratos.scheduler.api.context import Context
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps
from eratos.scheduler.events.event import Event, of_app
from eratos.scheduler.events.ring import Ring

STREAM = {"Accept": "text/event-stream"}
SOON_S = 20


class Frame(NamedTuple):
    id: str
    event: str
    data: dict[str, Any]


class Follower:
    """Reads a stream of events as it comes."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.answer = requests.get(url, headers=STREAM | headers, stream=True, timeout=SOON_S)
        assert self.answer.status_code == 200, self.answer.text
        self._lines = self.answer.iter_lines(chunk_size=None)  # type: ignore[arg-type]  # as it comes
        self.beats = 0

    def next(self) -> Frame | None:
        """Return the next event; None: the stream has ended."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.decode().partition(": ")
            if name:
                fields[name] = value
            elif fields:
                return Frame(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            else:
                self.beats += 1
        return None

    def until(self, kind: str) -> Frame:
        while (frame := self.next()) is not None:
            if frame.event == kind:
                return frame
        raise AssertionError(f"the stream ended before {kind}")

    def close(self) -> None:
        self.answer.close()


class Served:
    def __init__(self, controller: FakeController, access: Access = Access()) -> None:  # noqa: B008
        self.controller = controller
        self.server = ApiServer(create_api(controller, access=access), "127.0.0.1", 0)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self._open: list[Follower] = []

    def follow(self, query: str = "", **headers: str) -> Follower:
        made = Follower(f"{self.url}/v2/events{query}", {name.replace("_", "-"): value for name, value in headers.items()})
        self._open.append(made)
        return made

    def stop(self) -> None:
        for follower in self._open:
            follower.close()
        self.controller.events.close()
        self.server.stop()


@contextmanager
def served(controller: FakeController, access: Access = Access()) -> Iterator[Served]:  # noqa: B008
    made = Served(controller, access)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def api(controller: FakeController) -> Iterator[Served]:
    with served(controller) as made:
        yield made


def happen(controller: FakeController, *app_ids: str) -> None:
    controller.events.publish([of_app("app_terminated_event", 1.0, app_id, appId=app_id) for app_id in app_ids])


# What comes


def test_a_reader_is_told_what_happens_from_its_request_to_the_end(api: Served, controller: FakeController) -> None:
    reader = api.follow()
    assert reader.answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in reader.answer.headers
    first = reader.next()
    assert first is not None
    assert (first.event, first.data["remoteAddress"]) == ("event_stream_attached", "127.0.0.1")
    answer = requests.post(f"{api.url}/v2/apps//shop/cart?force=true", json={}, timeout=SOON_S)
    assert answer.status_code == 405
    answer = requests.put(f"{api.url}/v2/apps//shop/cart", json=an_app("/shop/cart").to_json(), timeout=SOON_S)
    deployment = answer.json()["deploymentId"]
    assert reader.until("deployment_info").data["plan"]["id"] == deployment
    posted = reader.until("api_post_event").data
    assert (posted["clientIp"], posted["uri"]) == ("127.0.0.1", "/v2/apps//shop/cart")
    assert posted["appDefinition"]["version"] == controller.machine.state.apps["/shop/cart"].version
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    assert reader.until("status_update_event").data["taskId"] == task
    success = reader.until("deployment_success")
    assert (success.data["id"], success.event) == (deployment, success.data["eventType"])


@pytest.mark.parametrize("method", ["post", "put_many"])
def test_every_app_that_is_put_is_told(api: Served, controller: FakeController, method: str) -> None:
    reader = api.follow("?event_type=api_post_event")
    if method == "post":
        requests.post(f"{api.url}/v2/apps", json=an_app("/a").to_json(), timeout=SOON_S)
        expected = ["/a"]
    else:
        apps = [an_app("/a").to_json(), an_app("/b").to_json()]
        requests.put(f"{api.url}/v2/apps", json=apps, timeout=SOON_S)
        expected = ["/a", "/b"]
    assert [reader.until("api_post_event").data["appDefinition"]["id"] for _ in expected] == expected


def test_a_reader_gets_the_types_that_it_asks_for(api: Served, controller: FakeController) -> None:
    reader = api.follow("?event_type=status_update_event&event_type=app_terminated_event&plan-format=light")
    controller.submit(PutApps((an_app("/a"),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    happen(controller, "/a")
    assert [frame.event for _ in range(2) if (frame := reader.next())] == ["status_update_event", "app_terminated_event"]


def test_a_stream_has_to_be_asked_for(api: Served) -> None:
    answer = requests.get(f"{api.url}/v2/events", headers={"Accept": "application/json"}, timeout=SOON_S)
    assert answer.status_code == 405
    assert "text/event-stream" in answer.json()["message"]
    for query in ("plan-format=heavy", "&".join(["event_type=a"] * 101)):
        answer = requests.get(f"{api.url}/v2/events?{query}", headers=STREAM, timeout=SOON_S)
        assert answer.status_code == 422
    assert requests.head(f"{api.url}/v2/events", headers=STREAM, timeout=SOON_S).status_code == 200
    assert requests.post(f"{api.url}/v2/events", timeout=SOON_S).status_code == 405


def test_an_idle_stream_shows_that_it_lives(api: Served, monkeypatch: pytest.MonkeyPatch, controller: FakeController) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.01)
    reader = api.follow("?event_type=app_terminated_event")
    lines = [next(reader._lines) for _ in range(5)]
    assert lines == [b""] * 5


def test_readers_that_leave_are_told_to_others(api: Served, controller: FakeController) -> None:
    stays, leaves = api.follow(), api.follow()
    leaves.close()
    happen(controller, "/a")
    assert stays.until("event_stream_detached").data["remoteAddress"] == "127.0.0.1"


# Coming back


def test_a_reader_that_comes_back_misses_nothing(api: Served, controller: FakeController) -> None:
    reader = api.follow("?event_type=app_terminated_event")
    happen(controller, "/a", "/b")
    last = reader.until("app_terminated_event")
    reader.close()
    happen(controller, "/c")
    again = api.follow("?event_type=app_terminated_event", Last_Event_ID=last.id)
    assert [again.until("app_terminated_event").data["appId"] for _ in range(2)] == ["/b", "/c"]


@pytest.mark.parametrize("last_id", ["another-7", "nonsense"])
def test_a_reader_of_another_leader_is_told_that_something_is_lost(api: Served, controller: FakeController, last_id: str) -> None:
    happen(controller, "/a")
    reader = api.follow(Last_Event_ID=last_id)
    first = reader.next()
    assert first is not None
    assert (first.event, first.id, first.data["lost"]) == ("events_lost_event", "", None)
    assert reader.until("app_terminated_event").data["appId"] == "/a"


def test_a_reader_that_comes_back_too_late_is_told_how_much_is_lost(controller: FakeController) -> None:
    controller.events = Ring(events_most=3, mark="m")
    with served(controller) as api:
        happen(controller, *(f"/a{number}" for number in range(1, 11)))
        reader = api.follow(Last_Event_ID="m-4")
        assert reader.until("events_lost_event").data["lost"] > 0
        # Its own arrival took the place of one of the three.
        assert reader.until("app_terminated_event").data["appId"] in ("/a8", "/a9")


# Slow readers


def test_a_slow_reader_holds_nobody_up_and_learns_what_it_lost(controller: FakeController) -> None:
    """Read by turns from streams themselves: what a socket takes before it is full is the system's affair."""
    ring = controller.events = Ring(events_most=10)
    ctx = Context(controller, lambda: controller.now, 0)

    async def go() -> None:
        bells = event_stream.Bells(ring)

        def stream(*kinds: str, told: bool = False) -> AsyncGenerator[bytes, None]:
            reader = event_stream.Reader(Caller(ANYBODY), ring, frozenset(kinds), told=told)
            return event_stream._frames(ctx, reader, bells, ring.now().position, lost=False)

        quick, told, untold = stream("app_terminated_event"), stream(told=True), stream()
        for each in (quick, told, untold):
            assert await anext(each) == b"\r\n"
        for number in range(100):
            happen(controller, f"/a{number}")
            assert f'"/a{number}"'.encode() in await anext(quick)
        lost, rest = await anext(told), await anext(told)
        assert lost.startswith(b"event: events_lost_event\ndata: {")
        assert 90 <= json.loads(lost.partition(b"data: ")[2])["lost"] <= 93  # three arrivals were told as well
        assert (b'"/a89"' in rest, b'"/a90"' in rest, b'"/a99"' in rest) == (False, True, True)
        assert [frame async for frame in untold] == []  # cut off
        for each in (quick, told):
            await each.aclose()
        assert bells._bells == {}

    asyncio.run(go())


def test_a_thousand_events_reach_many_readers(api: Served, controller: FakeController) -> None:
    readers = [api.follow("?event_type=app_terminated_event") for _ in range(20)]
    for number in range(0, 1000, 10):
        happen(controller, *(f"/a{number + offset}" for offset in range(10)))
    for reader in readers:
        assert [reader.until("app_terminated_event").data["appId"] for _ in range(1000)] == [f"/a{n}" for n in range(1000)]


# The end


def test_streams_end_with_the_leader(api: Served, controller: FakeController) -> None:
    reader = api.follow("?event_type=app_terminated_event")
    controller.events.close()
    assert reader.next() is None


def test_a_follower_hands_the_leaders_stream_on(controller: FakeController) -> None:
    with served(controller) as leader, served(FakeController(is_leader=False, leader=leader.url)) as follower:
        reader = follower.follow("?event_type=app_terminated_event")
        assert reader.answer.headers["x-marathon-leader"] == leader.url
        happen(controller, "/a")
        assert reader.until("app_terminated_event").data["appId"] == "/a"
        last = reader.until("app_terminated_event") if happen(controller, "/b") else None
        assert last is None
        controller.events.close()
        while reader.next() is not None:
            pass


# Who may hear what


@pytest.fixture
def guarded(controller: FakeController, tmp_path: Any) -> Iterator[tuple[Served, dict[str, str]]]:
    tokens = {name: credentials.new_token() for name in ("all", "shop")}
    grants = {"all": (Grant.parse("view:/"),), "shop": (Grant.parse("view:/shop"),)}
    path = tmp_path / "credentials"
    path.write_text("".join(credentials.line(n, "token", credentials.token_entry(tokens[n]), grants[n]) for n in tokens))
    path.chmod(0o600)
    with served(controller, Access(BrowserGuard(), Authenticator(CredentialsFile(path)))) as made:
        yield made, tokens


def test_a_reader_hears_of_what_it_may_view(guarded: tuple[Served, dict[str, str]], controller: FakeController) -> None:
    api, tokens = guarded
    assert requests.get(f"{api.url}/v2/events", headers=STREAM, timeout=SOON_S).status_code == 401
    shop = api.follow(Authorization=f"Bearer {tokens['shop']}")
    everything = api.follow(Authorization=f"Bearer {tokens['all']}")
    controller.submit(PutApps((an_app("/bank/vault"), an_app("/shop/cart"))))
    happen(controller, "/bank/vault", "/shop/cart")
    controller.events.publish([Event("scheduler_disconnected_event", 1.0, {})])
    seen = []
    while (frame := shop.next()) is not None:
        seen.append(frame)
        if frame.event == "scheduler_disconnected_event":
            break
    assert "bank" not in json.dumps([frame.data for frame in seen])
    kinds = [frame.event for frame in seen]
    assert kinds == ["group_change_success", "deployment_info", "app_terminated_event", "scheduler_disconnected_event"]
    plan = seen[1].data["plan"]
    assert plan["steps"] == [{"actions": [{"action": "StartApplication", "app": "/shop/cart"}]}]
    assert seen[1].data["currentStep"] == plan["steps"][0]
    actions = everything.until("deployment_info").data["currentStep"]["actions"]
    assert [action["app"] for action in actions] == ["/bank/vault", "/shop/cart"]


def test_a_change_of_an_app_and_a_pod_shows_either_to_whom_it_is_for(
    guarded: tuple[Served, dict[str, str]], controller: FakeController
) -> None:
    api, tokens = guarded
    shop = api.follow(Authorization=f"Bearer {tokens['shop']}")
    container = {"name": "a", "image": {"kind": "DOCKER", "id": "a"}, "resources": {"cpus": 0.1, "mem": 32}}
    pod = pod_definition.parse({"id": "/bank/both", "containers": [container]})
    controller.submit(PutApps((an_app("/shop/cart"), pod)))
    found = shop.until("deployment_info").data["currentStep"]["actions"]
    assert found == [{"action": "StartApplication", "app": "/shop/cart"}]


def test_the_ring_lets_go_of_readers_of_an_api_that_ended(controller: FakeController) -> None:
    made = ApiClient(an_api(controller))
    assert made.get("/v2/events", headers={"Accept": "text/html"}).status_code == 405
    before = threading.active_count()
    with served(controller) as api:
        reader = api.follow()
        reader.close()
        happen(controller, "/a")
    until(lambda: threading.active_count() <= before, SOON_S, "the server's threads end")
    happen(controller, "/b")  # to a loop that is closed
