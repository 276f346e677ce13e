"""What a pass of the loop makes known: Marathon 1.11's events with Marathon's fields (Events.scala, Formats.scala)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.builders import a_status, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.core.events import (
    DeleteApps,
    Disconnected,
    KillInstances,
    MasterError,
    OffersReceived,
    PutApps,
    ResetDelay,
    RestartApp,
    RollBack,
    StatusChanged,
    Subscribed,
)
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.refusals import CommandRefused
from eratos.scheduler.events.standing import OWN
from eratos.scheduler.events.watch import CONDITIONS

CHECK = {"protocol": "HTTP", "path": "/health", "portIndex": 0}

#: Every event's own fields.
FIELDS = {
    "scheduler_registered_event": {"frameworkId", "master"},
    "scheduler_reregistered_event": {"master"},
    "scheduler_disconnected_event": set(),
    "status_update_event": {
        *("slaveId", "taskId", "taskStatus", "message", "appId", "host", "ipAddresses", "ports", "version"),
    },
    "instance_changed_event": {"instanceId", "condition", "runSpecId", "agentId", "host", "runSpecVersion"},
    "instance_health_changed_event": {"instanceId", "runSpecId", "healthy", "runSpecVersion"},
    "unknown_instance_terminated_event": {"instanceId", "runSpecId", "condition"},
    "health_status_changed_event": {"appId", "instanceId", "version", "alive"},
    "failed_health_check_event": {"appId", "healthCheck", "taskId"},
    "unhealthy_instance_kill_event": {"appId", "taskId", "instanceId", "version", "reason", "host", "slaveId"},
    "add_health_check_event": {"appId", "healthCheck", "version"},
    "remove_health_check_event": {"appId"},
    "group_change_success": {"groupId", "version"},
    "group_change_failed": {"groupId", "version", "reason"},
    "deployment_info": {"plan", "currentStep"},
    "deployment_step_success": {"plan", "currentStep"},
    "deployment_step_failure": {"plan", "currentStep"},
    "deployment_success": {"id", "plan"},
    "deployment_failed": {"id", "plan", "reason"},
    "app_terminated_event": {"appId"},
}


class World(FakeController):
    """Remembers what happened since it was last asked."""

    position = 1

    def news(self) -> list[dict[str, Any]]:
        import json

        piece = self.events.read(self.position, 10**9)
        self.position = piece.position
        entries = [entry for entry in piece.entries if entry.kind not in OWN]  # test_standing has these
        found = [json.loads(entry.document) for entry in entries]
        for entry, document in zip(entries, found, strict=True):
            assert entry.kind == document["eventType"]
            assert set(document) == FIELDS[entry.kind] | {"eventType", "timestamp"}, document
            assert document["timestamp"] == "1970-01-01T00:16:40.000Z"
        return found

    def kinds(self) -> list[str]:
        return [event["eventType"] for event in self.news()]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.news()  # its fields are checked


def running(world: World, *apps: Any, **status: Any) -> list[str]:
    world.submit(PutApps(apps))
    tasks = world.launch(an_offer())
    for task in tasks:
        world.update(task, "RUNNING", **status)
    world.news()
    return tasks


def one(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [event for event in events if event["eventType"] == kind]
    return found


# The subscription


def test_the_first_subscription_registers_and_later_ones_register_again(world: World) -> None:
    world.handle(Subscribed("framework-1", "master:5050"))
    registered = one(world.news(), "scheduler_registered_event")
    assert (registered["frameworkId"], registered["master"]) == ("framework-1", "master:5050")
    world.handle(Disconnected())
    assert world.kinds() == ["scheduler_disconnected_event"]
    world.handle(Disconnected())
    assert world.kinds() == []
    world.handle(Subscribed("framework-1", "other:5050"))
    assert one(world.news(), "scheduler_reregistered_event")["master"] == "other:5050"
    world.handle(MasterError("go away"))
    assert world.kinds() == ["scheduler_disconnected_event"]


# Tasks


def test_a_task_is_followed_from_its_launch_to_its_end(world: World) -> None:
    world.submit(PutApps((an_app("/shop/cart"),)))
    world.news()
    (task,) = world.launch(an_offer())
    provisioned = one(world.news(), "instance_changed_event")
    assert (provisioned["condition"], provisioned["runSpecId"], provisioned["host"]) == ("Provisioned", "/shop/cart", "host-a1")
    world.update(task, "STARTING", message="pulling")
    assert world.kinds() == ["status_update_event", "instance_changed_event"]
    world.update(task, "RUNNING", addresses=("10.0.0.1", "fe80::1"))
    events = world.news()
    status, instance = one(events, "status_update_event"), one(events, "instance_changed_event")
    state = world.machine.state.instances[instance["instanceId"]]
    assert status | {"timestamp": ""} == {
        "eventType": "status_update_event",
        "timestamp": "",
        "slaveId": "a1",
        "taskId": task,
        "taskStatus": "TASK_RUNNING",
        "message": "",
        "appId": "/shop/cart",
        "host": "host-a1",
        "ipAddresses": [{"ipAddress": "10.0.0.1", "protocol": "IPv4"}, {"ipAddress": "fe80::1", "protocol": "IPv6"}],
        "ports": list(state.ports),
        "version": state.version,
    }
    assert (instance["condition"], instance["agentId"], instance["runSpecVersion"]) == ("Running", "a1", state.version)
    world.news()
    world.update(task, "FAILED", message="out of luck")
    events = world.news()
    assert one(events, "status_update_event")["message"] == "out of luck"
    assert one(events, "instance_changed_event")["condition"] == "Failed"


def test_what_says_nothing_new_is_not_told_again(world: World) -> None:
    (task,) = running(world, an_app("/a", healthChecks=[CHECK]), healthy=True)
    world.update(task, "RUNNING", healthy=True)
    world.update(task, "RUNNING", reason="REASON_RECONCILIATION", uuid="", healthy=False, message="x")
    world.update(task, "STARTING")  # late
    assert world.kinds() == []
    world.update(task, "RUNNING", healthy=True, message="health check 0 is slow")
    assert world.kinds() == ["status_update_event"]


def test_several_updates_of_one_task_in_one_pass_are_told_in_turn(world: World) -> None:
    world.submit(PutApps((an_app("/a"),)))
    (task,) = world.launch(an_offer())
    world.news()
    batch = [StatusChanged(a_status(task, state)) for state in ("STARTING", "RUNNING", "RUNNING", "FAILED")]
    state = world.machine.state
    world._watch.before(state, batch)
    for event in batch:
        world.machine.take(event, world.now)
    world.events.publish(world._watch.after(state, batch, world.machine.decide(world.now), world.now))
    conditions = [event["condition"] for event in world.news() if event["eventType"] == "instance_changed_event"]
    assert conditions == ["Starting", "Running", "Failed"]


def test_health_is_told_when_it_changes(world: World) -> None:
    (task,) = running(world, an_app("/a", healthChecks=[CHECK]))
    world.update(task, "RUNNING", healthy=True)
    events = world.news()
    assert one(events, "health_status_changed_event")["alive"] is True
    assert one(events, "instance_health_changed_event")["healthy"] is True
    world.update(task, "RUNNING", healthy=False, message="health check 0: HTTP status 500")
    events = world.news()
    assert [event["eventType"] for event in events] == [
        *("status_update_event", "health_status_changed_event", "instance_health_changed_event", "failed_health_check_event")
    ]
    failed = one(events, "failed_health_check_event")
    assert (failed["healthCheck"]["path"], failed["appId"]) == ("/health", "/a")
    world.update(task, "KILLING", healthy=False, message="stopped because of it")
    assert world.kinds() == ["status_update_event", "instance_changed_event"]
    world.update(task, "FAILED", healthy=False, message="stopped because of it")
    killed = one(world.news(), "unhealthy_instance_kill_event")
    assert (killed["reason"], killed["taskId"], killed["host"]) == ("stopped because of it", task, "host-a1")


def test_the_end_of_a_task_that_is_not_known_is_told(world: World) -> None:
    world.handle(Subscribed("f", "m"))
    world.news()
    world.update("shop_cart.instance-x._app.3", "RUNNING")
    world.update("nonsense", "FAILED")
    assert world.kinds() == []
    world.update("shop_cart.instance-x._app.3", "KILLED")
    ended = one(world.news(), "unknown_instance_terminated_event")
    assert (ended["instanceId"], ended["runSpecId"], ended["condition"]) == ("shop_cart.instance-x", "/shop/cart", "Killed")


def test_every_state_has_a_condition() -> None:
    assert set(CONDITIONS) == set(TaskState)


# Changes


def plan(event: dict[str, Any]) -> list[tuple[str, str]]:
    assert set(event["plan"]) == {"id", "version", "steps"}
    return [(action["action"], action["app"]) for step in event["plan"]["steps"] for action in step["actions"]]


def test_a_change_is_told_from_beginning_to_end(world: World) -> None:
    reply = world.submit(PutApps((an_app("/shop/cart", healthChecks=[CHECK]), an_app("/shop/data/db"))))
    events = world.news()
    assert [event["eventType"] for event in events] == ["group_change_success", "add_health_check_event", "deployment_info"]
    assert (events[0]["groupId"], events[0]["version"]) == ("/shop", reply.version)
    assert plan(events[2]) == [("StartApplication", "/shop/cart"), ("StartApplication", "/shop/data/db")]
    assert events[2]["currentStep"] == events[2]["plan"]["steps"][0]
    assert (events[2]["plan"]["id"], events[2]["plan"]["version"]) == (reply.deployment_id, reply.version)
    for task in world.launch(an_offer()):
        world.news()
        world.update(task, "RUNNING", healthy=True)
    events = world.news()
    assert [event["eventType"] for event in events][-2:] == ["deployment_step_success", "deployment_success"]
    assert events[-1]["id"] == reply.deployment_id
    assert plan(events[-1]) == [("StartApplication", "/shop/cart"), ("StartApplication", "/shop/data/db")]


@pytest.mark.parametrize(
    ("change", "action"),
    [
        (lambda _: PutApps((an_app("/a", 2),)), "ScaleApplication"),
        (lambda _: PutApps((an_app("/a", cpus=0.2),)), "RestartApplication"),
        (lambda _: RestartApp("/a"), "RestartApplication"),
        (lambda _: DeleteApps(("/a",)), "StopApplication"),
        (lambda instance: KillInstances((instance,), scale=True), "ScaleApplication"),
        (lambda _: PutApps((), dropped=("/a",)), "StopApplication"),
    ],
)
def test_each_change_is_an_action_of_its_name(world: World, change: Callable[[str], Any], action: str) -> None:
    running(world, an_app("/a"))
    (instance,) = world.machine.state.instances
    world.submit(change(instance))
    assert plan(one(world.news(), "deployment_info")) == [(action, "/a")]


def test_a_kill_alone_is_no_change(world: World) -> None:
    running(world, an_app("/a"))
    world.submit(KillInstances(tuple(world.machine.state.instances)))
    assert not {"deployment_info", "group_change_success"} & set(world.kinds())


def test_a_change_that_is_taken_back_has_failed_and_the_way_back_is_told(world: World) -> None:
    running(world, an_app("/a"))
    changed = world.submit(PutApps((an_app("/a", cpus=0.2),))).deployment_id
    world.launch(an_offer())
    world.news()
    back = world.submit(RollBack(changed)).deployment_id
    events = world.news()
    failed = one(events, "deployment_failed")
    assert (failed["id"], failed["reason"]) == (changed, f"rolled back: as deployment {back}")
    assert one(events, "deployment_info")["plan"]["id"] == back


def test_a_change_that_another_takes_over_has_failed(world: World) -> None:
    first = world.submit(PutApps((an_app("/a"), an_app("/b")))).deployment_id
    world.news()
    world.submit(PutApps((an_app("/a", cpus=0.2),)))
    assert "deployment_failed" not in world.kinds()  # /b is still to be done
    second = world.submit(PutApps((an_app("/b", cpus=0.2),))).deployment_id
    failed = one(world.news(), "deployment_failed")
    assert (failed["id"], failed["reason"]) == (first, f"superseded by {second}")


def test_a_refused_change_is_told_with_the_reason(world: World) -> None:
    world.submit(PutApps((an_app("/shop/cart"),)))
    world.news()
    with pytest.raises(CommandRefused):
        world.submit(PutApps((an_app("/shop/cart"),), create_only=True))
    (failed,) = world.news()
    assert (failed["eventType"], failed["groupId"]) == ("group_change_failed", "/shop")
    assert "already exists" in failed["reason"]


def test_health_checks_come_and_go_with_their_definition(world: World) -> None:
    running(world, an_app("/a", healthChecks=[CHECK]))
    world.submit(PutApps((an_app("/a", 2, healthChecks=[CHECK]),)))
    assert not {"add_health_check_event", "remove_health_check_event"} & set(world.kinds())
    world.submit(PutApps((an_app("/a", healthChecks=[CHECK, CHECK | {"path": "/2"}]),)))
    events = world.news()
    assert one(events, "remove_health_check_event")["appId"] == "/a"
    added = [event["healthCheck"]["path"] for event in events if event["eventType"] == "add_health_check_event"]
    assert added == ["/health", "/2"]
    world.submit(DeleteApps(("/a",)))
    assert "remove_health_check_event" in world.kinds()


def test_an_app_has_terminated_once_its_last_task_has(world: World) -> None:
    (task,) = running(world, an_app("/a"))
    world.submit(DeleteApps(("/a",)))
    assert "app_terminated_event" not in world.kinds()
    world.update(task, "KILLED")
    assert one(world.news(), "app_terminated_event")["appId"] == "/a"
    world.update(task, "KILLED")
    assert "app_terminated_event" not in world.kinds()


def test_an_app_that_came_back_has_not_terminated(world: World) -> None:
    (task,) = running(world, an_app("/a"))
    world.submit(DeleteApps(("/a",)))
    world.submit(PutApps((an_app("/a"),)))
    world.update(task, "KILLED")
    assert "app_terminated_event" not in world.kinds()


def test_what_changes_no_app_is_no_change(world: World) -> None:
    world.submit(PutApps((an_app("/a"),)))
    world.news()
    world.submit(ResetDelay("/a"))
    world.handle(OffersReceived(()))
    assert world.kinds() == []
