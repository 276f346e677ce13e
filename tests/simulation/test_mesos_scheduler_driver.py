"""The scheduler's driver, unmodified, against a simulated master over a real socket: what the API's docs promise.

Faults are in ``test_mesos_scheduler_faults.py``. Rule numbers are those of the Mesos rules the project follows.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest
from support.mesos_master import SimulatedMaster, some_resources

from eratos.common.errors import TemporaryError
from eratos.common.payload import DiscoveryPort, Port, TaskPayload
from eratos.common.resources import PortRanges, Resources
from eratos.mesos import callpipe
from eratos.scheduler.core import actions
from eratos.scheduler.core import events as e
from eratos.scheduler.core.mesos_types import InverseOffer, TaskState, TaskStatus, Window
from eratos.scheduler.mesos.driver import SchedulerDriver

from .conftest import some_settings


def a_payload(task_id: str = "prime.instance-1._app.1", **changes: Any) -> TaskPayload:
    fields: dict[str, Any] = {
        "instance_id": "prime.instance-1",
        "app_id": "/shop/prime",
        "app_version": "v1",
        "resources": Resources(cpus_m=100, mem_mib=32),
        "image": "eratos/prime",
        "ports": (Port(host_port=31005, name="http"),),
        "labels": {"team": "shop"},
    }
    return TaskPayload(task_id=task_id, **{**fields, **changes})


def an_accept(offer: Any, *payloads: TaskPayload, refuse_s: float = 5.0) -> actions.Accept:
    launches = tuple(actions.Launch(payload.task_id, payload) for payload in payloads)
    return actions.Accept(offer.agent_id, (offer.offer_id,), launches, refuse_s)


def test_first_subscribe_carries_no_id_and_the_framework_as_set(master, events, drive):
    drive(principal="eratos", secret="hush", roles=("batch", "web"), webui_url="http://here", hostname="here")
    request = master.await_call("SUBSCRIBE")
    info = request.content["framework_info"]
    assert "id" not in info and "framework_id" not in request.call
    assert info["failover_timeout"] == 7 * 24 * 3600 and info["checkpoint"] is True
    assert info["roles"] == ["batch", "web"]
    assert {c["type"] for c in info["capabilities"]} == {"PARTITION_AWARE", "MULTI_ROLE", "TASK_KILLING_STATE", "REGION_AWARE"}
    assert (info["principal"], info["webui_url"], info["hostname"]) == ("eratos", "http://here", "here")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"eratos:hush").decode()
    assert "mesos-stream-id" not in request.headers
    assert events.await_event(e.Subscribed) == e.Subscribed(master.framework_id, master.address)


def test_stored_id_is_sent_in_both_places(master, events, drive):
    drive("framework-7")
    request = master.await_call("SUBSCRIBE")
    assert request.call["framework_id"] == {"value": "framework-7"} == request.content["framework_info"]["id"]
    assert events.await_event(e.Subscribed).framework_id == "framework-7"


def test_the_masters_region_is_told(master, events, drive):
    master.region = "eu"
    drive()
    assert events.await_event(e.Subscribed).region == "eu"


def test_subscribes_suppressed_where_asked(master, events, drive):
    drive(suppressed=True)
    events.await_event(e.Subscribed)
    assert master.suppressed


def test_offer_is_summed_and_translated(master, events, drive, caplog):
    driver = drive()
    events.await_event(e.Subscribed)
    reserved = {"role": "eratos", "reservations": [{"type": "STATIC", "role": "eratos"}], "allocation_info": {"role": "*"}}
    attributes = [
        {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
        {"name": "speed", "type": "SCALAR", "scalar": {"value": 2.5}},
        {"name": "odd", "type": "PLANETS"},
    ]
    volume = {"name": "disk", "type": "SCALAR", "scalar": {"value": 5.0}, "disk": {"persistence": {"id": "v"}}, "role": "*"}
    cpus = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, **reserved}
    master.add_agent(attributes=attributes, executor_ids={driver.executor_id, "other"})
    master.offer(resources=[*some_resources(cpus=0.2, mem=512.9), cpus, volume])
    (offer,) = events.await_event(e.OffersReceived).offers
    assert offer.resources == Resources(cpus_m=300, mem_mib=512, disk_mib=10000)
    assert offer.ports == PortRanges([(31000, 31999)])
    assert offer.attributes == {"rack": "r1", "speed": "2.5", "odd": ""}
    assert offer.executor_ids == {driver.executor_id, "other"}
    assert (offer.agent_id, offer.hostname) == ("agent-1", "agent-1.test")
    assert offer.window is None
    assert "could not be handled" not in caplog.text


def test_maintenance_arrives_with_offers_and_inverse_offers_and_is_answered(master, events, drive, caplog):
    driver = drive()
    events.await_event(e.Subscribed)
    master.add_agent()
    window = {"start": {"nanoseconds": 2_000 * 10**9}, "duration": {"nanoseconds": 60 * 10**9}}
    (offer,) = master.make_offers()
    master.event({"type": "OFFERS", "offers": {"offers": [offer | {"unavailability": window}]}})
    (got,) = events.await_event(e.OffersReceived).offers
    assert got.window == Window(2000.0, 2060.0)
    inverse = {"id": {"value": "inverse-1"}, "agent_id": {"value": "agent-1"}, "unavailability": {"start": window["start"]}}
    master.event({"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": [inverse]}})
    (asked,) = events.await_event(e.InverseOffersReceived).offers
    assert asked == InverseOffer("inverse-1", "agent-1", Window(2000.0))
    assert driver.perform(actions.AnswerInverse(("inverse-1",), accept=False, refuse_s=5))
    answer = master.await_call("DECLINE_INVERSE_OFFERS").content
    assert answer == {"inverse_offer_ids": [{"value": "inverse-1"}], "filters": {"refuse_seconds": 5}}
    assert driver.perform(actions.AnswerInverse(("inverse-1",), accept=True, refuse_s=300))
    assert master.await_call("ACCEPT_INVERSE_OFFERS").content["filters"] == {"refuse_seconds": 300}
    master.event({"type": "RESCIND_INVERSE_OFFER", "rescind_inverse_offer": {"inverse_offer_id": {"value": "inverse-1"}}})
    assert events.await_event(e.InverseOfferRescinded).offer_id == "inverse-1"
    assert "could not be handled" not in caplog.text


def test_launch_reaches_running_and_says_all_an_executor_and_tools_need(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    payload = a_payload(kill_grace_s=7.5)
    shown = (DiscoveryPort(31005, "http", "tcp", {"team": "shop"}), DiscoveryPort(31006, "", "udp"))
    assert driver.perform(an_accept(offer, dataclasses.replace(payload, discovery=shown), refuse_s=3.5))
    accept = master.await_call("ACCEPT").content
    assert accept["filters"] == {"refuse_seconds": 3.5}
    (task,) = accept["operations"][0]["launch"]["task_infos"]
    assert TaskPayload.from_bytes(base64.b64decode(task["data"])) == payload
    assert task["name"] == "prime.shop" == task["discovery"]["name"]
    labels = {"labels": [{"key": "team", "value": "shop"}]}
    http = {"number": 31005, "name": "http", "protocol": "tcp", "labels": labels}
    assert task["discovery"]["ports"]["ports"] == [http, {"number": 31006, "name": "", "protocol": "udp"}]
    assert task["kill_policy"] == {"grace_period": {"nanoseconds": 7_500_000_000}}
    assert task["labels"] == {"labels": [{"key": "team", "value": "shop"}]}
    assert task["executor"]["executor_id"]["value"] == driver.executor_id
    assert task["executor"]["framework_id"]["value"] == master.framework_id
    assert task["executor"]["type"] == "CUSTOM"
    starting = events.await_event(e.StatusChanged).status
    assert (starting.state, starting.task_id, starting.executor_id) == (
        TaskState.STARTING,
        payload.task_id,
        driver.executor_id,
    )
    assert driver.acknowledge(starting)
    assert events.await_event(e.StatusChanged, 2).status.state is TaskState.RUNNING


def test_updates_are_acknowledged_on_demand_only(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    driver.perform(an_accept(offer, a_payload()))
    status = events.await_event(e.StatusChanged).status
    master.resend_updates()
    assert events.await_event(e.StatusChanged, 2).status.uuid == status.uuid
    # A call that comes after the update on the same connection: had the driver acknowledged by itself, it came before.
    driver.perform(actions.Suppress())
    master.await_call("SUPPRESS")
    assert master.acknowledged == []
    assert driver.acknowledge(status)
    master.await_call("ACKNOWLEDGE")
    assert master.acknowledged == [(status.task_id, status.uuid)]


def test_update_without_uuid_is_never_acknowledged(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    assert driver.acknowledge(TaskStatus("t", TaskState.RUNNING, "agent-1", uuid=""))
    driver.perform(actions.Revive())
    master.await_call("REVIVE")
    assert master.calls("ACKNOWLEDGE") == []


def test_kill_names_the_agent(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    assert driver.perform(actions.Kill("t-1", "agent-1"))
    kill = master.await_call("KILL").content
    assert kill == {"task_id": {"value": "t-1"}, "agent_id": {"value": "agent-1"}}
    assert events.await_event(e.StatusChanged).status.state is TaskState.UNKNOWN
    assert driver.perform(actions.Kill("t-2"))
    assert master.await_call("KILL", 2).content == {"task_id": {"value": "t-2"}}


def test_reconcile_names_agents_and_its_answer_needs_no_acknowledgement(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    assert driver.perform(actions.Reconcile((("t-1", "agent-1"), ("t-2", ""))))
    tasks = master.await_call("RECONCILE").content["tasks"]
    assert tasks == [{"task_id": {"value": "t-1"}, "agent_id": {"value": "agent-1"}}, {"task_id": {"value": "t-2"}}]
    answers = [events.await_event(e.StatusChanged, n).status for n in (1, 2)]
    assert [answer.state for answer in answers] == [TaskState.GONE, TaskState.UNKNOWN]
    assert all(answer.reason == "REASON_RECONCILIATION" and not answer.uuid for answer in answers)
    assert driver.perform(actions.Reconcile())
    assert master.await_call("RECONCILE", 2).content == {"tasks": []}


def test_offers_to_two_roles_are_taken_one_by_one_and_start_one_executor(master, events, drive):
    driver = drive(roles=("batch", "web"))
    events.await_event(e.Subscribed)
    master.add_agent()
    for role, ports in (("batch", (31000, 31009)), ("web", (31010, 31019))):
        master.offer(resources=some_resources(cpus=1, mem=512, ports=ports, role=role))
    batch, web = (events.await_event(e.OffersReceived, number).offers[0] for number in (1, 2))
    assert (batch.role, web.role) == ("batch", "web")
    for offer, task_id, port in ((batch, "a.instance-1._app.1", 31000), (web, "b.instance-1._app.1", 31010)):
        assert driver.perform(an_accept(offer, a_payload(task_id, ports=(Port(host_port=port, name="http"),))))
        master.until(lambda task_id=task_id: task_id in master.tasks)
    [executor_id] = master.agents["agent-1"].executor_ids
    assert executor_id == driver.executor_id
    assert driver.perform(actions.Suppress(("web",)))
    assert master.await_call("SUPPRESS").content == {"roles": ["web"]}
    assert driver.perform(actions.Revive(("web",)))
    assert master.await_call("REVIVE").content == {"roles": ["web"]}


def test_suppress_revive_and_decline(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    assert driver.perform(actions.Suppress())
    master.await_call("SUPPRESS")
    master.until(lambda: master.suppressed)
    assert driver.perform(actions.Revive())
    master.await_call("REVIVE")
    master.until(lambda: not master.suppressed)
    (offer_id,) = master.offer()
    assert driver.perform(actions.Decline((offer_id,), refuse_s=3600))
    assert master.await_call("DECLINE").content["filters"] == {"refuse_seconds": 3600}
    assert driver.perform(actions.Decline((), refuse_s=1))
    assert len(master.calls("DECLINE")) == 1


def test_calls_share_a_connection_of_their_own_and_carry_the_stream_id(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    for _ in range(50):
        assert driver.perform(actions.Revive())
    last = master.await_call("REVIVE", 50)
    stream = master.calls("SUBSCRIBE")[0].connection
    assert {id(request.connection) for request in master.calls("REVIVE")} == {id(last.connection)}
    assert last.connection is not stream
    assert last.headers["mesos-stream-id"] == master.stream_id


def test_rescinded_offer_cannot_be_accepted(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    (offer_id,) = master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    master.rescind(offer_id)
    assert events.await_event(e.OfferRescinded) == e.OfferRescinded(offer_id)
    assert driver.perform(an_accept(offer, a_payload())) is False
    driver.perform(actions.Revive())
    master.await_call("REVIVE")
    assert master.calls("ACCEPT") == []


def test_what_is_left_of_offers_whose_launch_cannot_be_sent_is_declined(master, events, drive):
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.offer()
    master.offer()
    first, second = (events.await_event(e.OffersReceived, number).offers[0] for number in (1, 2))
    master.rescind(first.offer_id)
    events.await_event(e.OfferRescinded)
    call = an_accept(first, a_payload())
    assert driver.perform(dataclasses.replace(call, offer_ids=(first.offer_id, second.offer_id))) is False
    declined = master.await_call("DECLINE").content
    assert declined["offer_ids"] == [{"value": second.offer_id}]
    assert declined["filters"] == {"refuse_seconds": 0.0}, "it is wanted back at once"
    assert master.calls("ACCEPT") == []


def test_offers_of_a_launch_that_finds_no_room_are_declined_and_short_calls_get_through(master, events, drive, monkeypatch):
    monkeypatch.setattr(callpipe, "RESERVED_BYTES", callpipe.OUTBOX_BYTES_MAX - 1000)
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    assert driver.perform(an_accept(offer, a_payload(env={"BIG": "x" * 1000}))) is False
    assert driver.perform(actions.Kill("some-task"))
    assert driver.acknowledge(TaskStatus("some-task", TaskState.RUNNING, "agent-1", "AAAA"))
    assert master.await_call("DECLINE").content["offer_ids"] == [{"value": offer.offer_id}]
    assert master.await_call("KILL") and master.await_call("ACKNOWLEDGE")
    assert master.calls("ACCEPT") == []


def test_a_master_that_takes_not_even_short_calls_is_left(master, events, drive, monkeypatch):
    driver = drive()
    events.await_event(e.Subscribed)
    monkeypatch.setattr(callpipe, "OUTBOX_BYTES_MAX", 10)
    assert driver.perform(actions.Revive()) is False
    events.await_event(e.Disconnected)
    monkeypatch.undo()
    events.await_event(e.Subscribed)


def test_agent_and_executor_losses_are_told(master, events, drive):
    drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.lose_agent("agent-1")
    assert events.await_event(e.AgentLost) == e.AgentLost("agent-1")
    failure = {"agent_id": {"value": "agent-1"}, "executor_id": {"value": "x-1"}, "status": 9}
    master.event({"type": "FAILURE", "failure": failure})
    assert events.await_event(e.ExecutorLost) == e.ExecutorLost("agent-1", "x-1", 9)


def test_second_executor_is_not_paid_for_where_one_runs(master, events, drive):
    driver = drive()
    agent = master.add_agent(resources=some_resources(cpus=0.25, mem=1000))
    events.await_event(e.Subscribed)
    master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    driver.perform(an_accept(offer, a_payload("t-1")))
    events.await_event(e.StatusChanged)
    assert agent.executor_ids == {driver.executor_id}
    # What is left is exactly one more task, and no second executor.
    master.offer(resources=some_resources(cpus=0.1, mem=32))
    (offer,) = events.await_event(e.OffersReceived, 2).offers
    assert offer.executor_ids == {driver.executor_id}
    driver.perform(an_accept(offer, a_payload("t-2")))
    assert events.await_event(e.StatusChanged, 2).status.state is TaskState.STARTING


def test_changed_executor_definition_is_another_executor(events):
    one = SchedulerDriver(some_settings("127.0.0.1:5050"), events.emit)
    same = SchedulerDriver(some_settings("127.0.0.2:5050"), events.emit)
    other = SchedulerDriver(some_settings("127.0.0.1:5050", roles=("web",)), events.emit)
    assert one.executor_id == same.executor_id != other.executor_id
    assert one.executor_id.startswith("eratos-")
    assert one.executor_resources == Resources(cpus_m=100, mem_mib=96)


def test_stop_never_tears_down_and_sends_what_was_posted(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    assert driver.perform(actions.Suppress())
    driver.stop()
    master.until(lambda: master.stream is None, "the stream ends")
    assert [request.type for request in master.requests] == ["SUBSCRIBE", "SUPPRESS"]
    assert driver.connected is False
    assert driver.perform(actions.Revive()) is False


def test_teardown_is_sent_when_asked_for(master, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    driver.teardown()
    master.until(lambda: master.torn_down, "the framework is gone")
    assert len(master.calls("SUBSCRIBE")) == 1


def test_teardown_without_a_master_says_so(events, drive, master):
    master.ignore_subscribe()
    driver = drive()
    master.await_call("SUBSCRIBE")
    with pytest.raises(TemporaryError, match="not connected"):
        driver.teardown()


def test_calls_before_subscribed_are_refused(master, events, drive):
    master.ignore_subscribe()
    driver = drive()
    master.await_call("SUBSCRIBE")
    status = TaskStatus("t", TaskState.RUNNING, "agent-1", uuid="AAAA")
    assert [driver.perform(call) for call in (actions.Revive(), actions.Suppress(), actions.Kill("t"))] == [False] * 3
    assert driver.acknowledge(status) is False
    assert len(master.requests) == 1


def test_driver_is_started_once(drive):
    driver = drive()
    with pytest.raises(RuntimeError):
        driver.start("")


def test_ipv6_master(events, drive):
    with SimulatedMaster(host="::1") as master:
        driver = drive(address=master.address)
        assert events.await_event(e.Subscribed).master == master.address
        driver.stop()


def test_json_of_a_launch_is_what_the_master_parses(master, events, drive):
    """Numbers stay numbers: protobuf's JSON parser of Mesos takes no strings for doubles."""
    driver = drive()
    master.add_agent()
    events.await_event(e.Subscribed)
    master.offer()
    (offer,) = events.await_event(e.OffersReceived).offers
    driver.perform(an_accept(offer, a_payload(ports=(Port(31001), Port(31002), Port(31009, protocol="udp,tcp")))))
    (task,) = master.await_call("ACCEPT").content["operations"][0]["launch"]["task_infos"]
    ports = next(resource for resource in task["resources"] if resource["name"] == "ports")
    assert ports["ranges"] == {"range": [{"begin": 31001, "end": 31002}, {"begin": 31009, "end": 31009}]}
    assert json.dumps(task["resources"][0]["scalar"]) == '{"value": 0.1}'
