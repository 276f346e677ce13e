"""Deadlines and pauses of a subscription, by a clock that the test turns."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

import pytest
from support.event_stream import EventStreamServer, Request

from eratos.common.resources import Resources
from eratos.mesos.httpwire import Endpoint
from eratos.mesos.subscription import Refused, StreamEnded, Subscription
from eratos.scheduler.mesos.callbacks import Callbacks
from eratos.scheduler.mesos.executor_info import ExecutorInfos
from eratos.scheduler.mesos.master import MasterDriver
from eratos.scheduler.mesos.offer_book import OfferBook
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings


class Peer(EventStreamServer):
    """Accepts every subscription and answers no call."""

    def handle(self, request: Request) -> None:
        if request.type == "SUBSCRIBE":
            request.connection.begin_stream({"Mesos-Stream-Id": "s"})
            request.connection.event({"n": 0})


class Watcher:
    """Owns a subscription; what it is told goes into queues, and it subscribes so many times."""

    def __init__(self, address: str, times: int = 1) -> None:
        self.now = 1000.0
        self.records: queue.Queue[bytes] = queue.Queue()
        self.ends: queue.Queue[StreamEnded] = queue.Queue()
        self.locations: list[str] = []
        self._endpoints = [Endpoint.parse(address, 1)] * times
        self.subscription = Subscription(self, "/api", call_timeout_s=10, silence_s=75, now=lambda: self.now)
        self._thread = threading.Thread(target=self.subscription.run)
        self._thread.start()

    def close(self) -> None:
        self.subscription.stop()
        self._thread.join()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.subscription._io.wake()

    def end(self) -> str:
        return str(self.ends.get(timeout=60))

    def endpoint(self) -> Endpoint | None:
        return self._endpoints.pop() if self._endpoints else None

    def headers(self) -> Mapping[str, str]:
        return {}

    def subscribe_body(self) -> bytes:
        return b'{"type": "SUBSCRIBE"}'

    def record(self, data: bytes) -> None:
        self.subscription.open_calls()
        self.records.put(data)

    def redirected(self, location: str) -> None:
        self.locations.append(location)

    def refused(self, status: int, message: str) -> bool:
        return True

    def ended(self, reason: StreamEnded) -> float:
        self.ends.put(reason)
        return 0


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def watcher(peer: Peer) -> Iterator[Watcher]:
    watcher = Watcher(peer.address)
    watcher.records.get(timeout=60)
    yield watcher
    watcher.close()


def test_each_heartbeat_puts_the_deadline_off(peer, watcher):
    stream = peer.await_call("SUBSCRIBE").connection
    for _ in range(5):
        watcher.pass_time(74)
        stream.event({"type": "HEARTBEAT"})
        watcher.records.get(timeout=60)
    # A call only goes out from a loop that is alive and has just looked at its deadlines.
    assert watcher.subscription.post(b'{"type": "KILL"}')
    peer.await_call("KILL").connection.respond(202)
    assert watcher.subscription.drain(10)
    watcher.pass_time(76)
    assert watcher.end() == "nothing was heard for 75 s, not even a heartbeat"


def test_call_without_an_answer_ends_the_subscription_although_heartbeats_come(peer, watcher):
    assert watcher.subscription.post(b'{"type": "KILL"}')
    peer.await_call("KILL")
    stream = peer.calls("SUBSCRIBE")[0].connection
    stream.event({"type": "HEARTBEAT"})  # once it was read, the loop has noted when it wrote the call
    watcher.records.get(timeout=60)
    watcher.pass_time(9)
    stream.event({"type": "HEARTBEAT"})
    watcher.records.get(timeout=60)
    assert watcher.ends.empty()
    watcher.pass_time(2)
    assert watcher.end() == "a call was not answered within 10 s"


def test_posted_calls_can_be_waited_for(peer, watcher):
    assert watcher.subscription.drain(0)
    watcher.subscription.post(b'{"type": "KILL"}')
    kill = peer.await_call("KILL")
    assert not watcher.subscription.drain(0)
    kill.connection.respond(202)
    assert watcher.subscription.drain(10)


def test_stop_while_nobody_answers_is_immediate():
    with EventStreamServerWithoutAnswers() as silent:
        watcher = Watcher(silent.address)
        silent.await_call("SUBSCRIBE")
        watcher.close()
        assert watcher.end() == "stopped"


class EventStreamServerWithoutAnswers(EventStreamServer):
    def handle(self, request: Request) -> None:
        """Say nothing."""


def test_redirections_are_followed_at_once_but_not_for_ever():
    with Redirecting() as peer:
        watcher = Watcher(peer.address, times=6)
        reasons = [watcher.ends.get(timeout=60) for _ in range(6)]
        watcher.close()
    assert all(isinstance(reason, Refused) and reason.status == 307 for reason in reasons)
    assert [getattr(reason, "redirected", None) for reason in reasons] == [True, True, True, False, False, False]
    assert watcher.locations == ["//leader:5050/api"] * 6


class Redirecting(EventStreamServer):
    def handle(self, request: Request) -> None:
        request.connection.respond(307, headers={"Location": "//leader:5050/api"})


def test_wake_ups_after_the_end_do_no_harm(peer, watcher):
    watcher.close()
    watcher.subscription.end("late")
    watcher.subscription.stop()
    assert watcher.subscription.post(b"{}") is False


def test_pauses_grow_to_their_bound_and_redirects_cost_none():
    settings = MesosSettings("m1,m2", ExecutorSettings("run"))
    driver = MasterDriver(
        settings, Callbacks(lambda event: None, OfferBook(ExecutorInfos(settings.executor, "*"), Resources())), ""
    )
    driver._started = True
    assert driver.ended(Refused(307, "//m3", redirected=True)) == 0
    delays = [driver.ended(StreamEnded("refused")) for _ in range(12)]
    for attempt, delay_s in enumerate(delays):
        whole_s = min(15.0, 0.5 * 2**attempt)
        assert whole_s / 2 <= delay_s <= whole_s
    driver.on_event({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "f-1"}}})
    assert driver.framework_id == "f-1"
    assert driver.ended(StreamEnded("cut")) <= 0.5
