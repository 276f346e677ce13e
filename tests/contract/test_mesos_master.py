"""The simulated master and a real one give the same answers, and the scheduler's driver works with both.

The real one is Mesos 1.11 in a container, elected in a ZooKeeper of its own; it has no agents, so nothing is launched.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.collector import Collector
from support.containers import Container
from support.mesos_containers import run_master
from support.mesos_master import SimulatedMaster
from support.waiting import until

from eratos.mesos.recordio import RecordDecoder
from eratos.scheduler.core import actions
from eratos.scheduler.core import events as e
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.mesos.driver import SchedulerDriver
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings

JSON = {"Content-Type": "application/json", "Accept": "application/json"}


@pytest.fixture(scope="module")
def real_master(zookeeper_container: Container) -> Iterator[str]:
    """A real master's ``host:port``."""
    with run_master(zookeeper_container) as master:
        yield master


@pytest.fixture(params=["simulated", "real"])
def master(request: pytest.FixtureRequest) -> Iterator[str]:
    """``host:port`` of one master after the other."""
    if request.param == "real":
        yield request.getfixturevalue("real_master")
        return
    with SimulatedMaster() as simulated:
        yield simulated.address


class RawScheduler:
    """A subscription made by hand: what the wire says, no driver between."""

    def __init__(self, master: str, framework_id: str = "") -> None:
        self.master = master
        info: dict[str, Any] = {"user": "root", "name": f"contract-{os.getpid()}", "roles": ["*"], "failover_timeout": 60.0}
        info["capabilities"] = [{"type": "PARTITION_AWARE"}, {"type": "MULTI_ROLE"}]
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if framework_id:
            info["id"] = call["framework_id"] = {"value": framework_id}
        self._stream = http.client.HTTPConnection(master, timeout=10)
        self._stream.request("POST", "/api/v1/scheduler", json.dumps(call), JSON)
        self.response = self._stream.getresponse()
        self.stream_id = self.response.headers.get("Mesos-Stream-Id")
        self._events = self._read()

    def _read(self) -> Iterator[dict[str, Any]]:
        decoder = RecordDecoder()
        while data := self.response.read1(65536):
            for record in decoder.feed(data):
                yield json.loads(record)

    def next_of(self, kind: str) -> dict[str, Any]:
        """Return the content of the next event of a type."""
        return next(dict(event.get(kind.lower(), {})) for event in self._events if event["type"] == kind)

    def call(self, call: dict[str, Any], **headers: str) -> tuple[int, str]:
        """Send a call on a connection of its own; returns status and message."""
        connection = http.client.HTTPConnection(self.master, timeout=10)
        connection.request("POST", "/api/v1/scheduler", json.dumps(call), JSON | headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def close(self) -> None:
        self.response.close()
        self._stream.close()


@pytest.fixture
def subscribe(master: str) -> Iterator[Callable[..., RawScheduler]]:
    made: list[RawScheduler] = []

    def subscribe(framework_id: str = "") -> RawScheduler:
        made.append(RawScheduler(master, framework_id))
        return made[-1]

    yield subscribe
    for scheduler in made:
        scheduler.close()


@pytest.fixture
def events() -> Collector:
    return Collector()


@pytest.fixture
def drive(master: str, events: Collector) -> Iterator[Callable[..., SchedulerDriver]]:
    """Start a driver; the frameworks it makes are torn down at the end, so that the master forgets them."""
    drivers: list[SchedulerDriver] = []

    def start(framework_id: str = "", address: str = master) -> SchedulerDriver:
        executor = ExecutorSettings(command="true")
        driver = SchedulerDriver(MesosSettings(address, executor, backoff_first_s=0.01), events.emit)
        drivers.append(driver)
        driver.start(framework_id)
        return driver

    yield start
    for driver in drivers:
        if driver.connected:
            driver.teardown()
        driver.stop()


def test_subscription_begins_with_subscribed_and_a_heartbeat(subscribe):
    scheduler = subscribe()
    assert scheduler.response.status == 200
    assert scheduler.response.headers["Transfer-Encoding"] == "chunked"
    assert scheduler.stream_id
    subscribed = scheduler.next_of("SUBSCRIBED")
    assert subscribed["framework_id"]["value"]
    assert subscribed["heartbeat_interval_seconds"] == 15
    scheduler.next_of("HEARTBEAT")


def test_calls_are_judged_alike(subscribe):
    scheduler = subscribe()
    framework_id = scheduler.next_of("SUBSCRIBED")["framework_id"]
    revive = {"type": "REVIVE", "framework_id": framework_id}
    assert scheduler.call(revive, **{"Mesos-Stream-Id": scheduler.stream_id}) == (202, "")
    status, message = scheduler.call(revive)
    assert (status, "should include the 'Mesos-Stream-Id' header" in message) == (400, True)
    status, message = scheduler.call(revive, **{"Mesos-Stream-Id": "another"})
    assert (status, "didn't match the stream ID" in message) == (400, True)
    stranger = {"type": "REVIVE", "framework_id": {"value": "nobody"}}
    assert scheduler.call(stranger, **{"Mesos-Stream-Id": scheduler.stream_id}) == (400, "Framework cannot be found")


def test_disconnected_framework_is_forbidden_to_call(subscribe):
    scheduler = subscribe()
    framework_id = scheduler.next_of("SUBSCRIBED")["framework_id"]
    scheduler.close()
    revive = {"type": "REVIVE", "framework_id": framework_id}
    headers = {"Mesos-Stream-Id": scheduler.stream_id}
    until(lambda: scheduler.call(revive, **headers)[0] == 403, 10, "the master notices that the stream is closed")


def test_newer_subscription_replaces_the_older(subscribe):
    older = subscribe()
    framework_id = older.next_of("SUBSCRIBED")["framework_id"]["value"]
    newer = subscribe(framework_id)
    assert newer.next_of("SUBSCRIBED")["framework_id"]["value"] == framework_id
    assert older.next_of("ERROR") == {"message": "Framework failed over"}
    assert newer.stream_id != older.stream_id


def test_launch_on_an_unknown_offer_is_dropped(subscribe):
    scheduler = subscribe()
    framework_id = scheduler.next_of("SUBSCRIBED")["framework_id"]
    executor = {"executor_id": {"value": "x"}, "framework_id": framework_id, "command": {"value": "true"}}
    task = {"name": "t", "task_id": {"value": "t-1"}, "agent_id": {"value": "a-1"}, "executor": executor}
    task["resources"] = [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]
    launch = [{"type": "LAUNCH", "launch": {"task_infos": [task]}}]
    accept = {"offer_ids": [{"value": "no-such-offer"}], "operations": launch}
    call = {"type": "ACCEPT", "framework_id": framework_id, "accept": accept}
    assert scheduler.call(call, **{"Mesos-Stream-Id": scheduler.stream_id}) == (202, "")
    status = scheduler.next_of("UPDATE")["status"]
    assert (status["state"], status["reason"]) == ("TASK_DROPPED", "REASON_INVALID_OFFERS")
    assert "uuid" not in status


def test_driver_keeps_its_framework_id_over_a_new_subscription(master, events, drive):
    driver = drive()
    first = events.await_event(e.Subscribed)
    assert first.master == master
    driver.perform(actions.Resubscribe("a test"))
    events.await_event(e.Disconnected)
    assert events.await_event(e.Subscribed, 2) == first


def test_driver_stops_without_a_teardown(events, drive):
    driver = drive()
    framework_id = events.await_event(e.Subscribed).framework_id
    driver.stop()
    drive(framework_id)
    assert events.await_event(e.Subscribed, 2).framework_id == framework_id


def test_unknown_tasks_are_reconciled_and_killed_with_an_answer(events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    assert driver.perform(actions.Suppress()) and driver.perform(actions.Revive())
    assert driver.perform(actions.Decline(("no-such-offer",), refuse_s=1.5))
    assert driver.perform(actions.Reconcile((("t-1", "no-such-agent"), ("t-2", ""))))
    answers = [events.await_event(e.StatusChanged, n).status for n in (1, 2)]
    assert {answer.task_id for answer in answers} == {"t-1", "t-2"}
    assert all(a.state is TaskState.UNKNOWN and a.reason == "REASON_RECONCILIATION" and not a.uuid for a in answers)
    assert driver.perform(actions.Kill("t-3", "no-such-agent"))
    assert events.await_event(e.StatusChanged, 3).status.state is TaskState.UNKNOWN
    assert driver.connected and len(events.of(e.Subscribed)) == 1


def test_thousands_of_pipelined_calls_are_all_answered(events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    for n in range(3000):
        assert driver.perform(actions.Reconcile(((f"t-{n}", "no-such-agent"),)))
    last = events.await_event(e.StatusChanged, 3000).status
    assert last.task_id == "t-2999"
    assert len(events.of(e.Subscribed)) == 1


def test_torn_down_framework_cannot_come_back(events, drive):
    driver = drive()
    framework_id = events.await_event(e.Subscribed).framework_id
    driver.teardown()
    drive(framework_id)
    assert "removed" in events.await_event(e.MasterError).message


def test_driver_finds_the_leader_in_zookeeper(real_master, zookeeper_container, events):
    executor = ExecutorSettings(command="true")
    address = f"zk://127.0.0.1:{zookeeper_container.ports[2181]}/mesos"
    driver = SchedulerDriver(MesosSettings(address, executor), events.emit)
    driver.start("")
    assert events.await_event(e.Subscribed).master == real_master
    driver.teardown()
    driver.stop()


def test_a_master_that_asks_for_credentials_takes_ours_and_no_others(zookeeper_container: Container, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(json.dumps({"credentials": [{"principal": "eratos", "secret": "hush"}]}))

    refused = Collector()

    def a_driver(secret: str, events: Collector) -> SchedulerDriver:
        settings = MesosSettings(
            master, ExecutorSettings(command="true"), backoff_first_s=0.01, backoff_most_s=0.1, principal="eratos", secret=secret
        )
        driver = SchedulerDriver(settings, events.emit)
        driver.start("")
        return driver

    with run_master(zookeeper_container, credentials) as master:
        stranger, driver = a_driver("wrong", refused), a_driver("hush", Collector())
        try:
            until(lambda: driver.connected, 30, "the right secret is taken")
            why = refused.await_event(e.NotSubscribed).reason
            assert "answered with 401" in why
            assert why.endswith("check --principal and --secret-file")
            assert not stranger.connected
            driver.teardown()
        finally:
            stranger.stop()
            driver.stop()
