"""What changes without an event of Marathon's is told under types of our own, to those who ask for them."""

from __future__ import annotations

from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api.caller import Caller
from eratos.scheduler.api.event_stream import Reader
from eratos.scheduler.core.events import Pause, PutApps, Subscribed
from eratos.scheduler.events.standing import APP, CLUSTER, DEPLOYMENT, OWN


def kinds(controller: FakeController) -> list[str]:
    return [entry.kind for entry in controller.events.read(0, 10_000_000).entries if entry.kind in OWN]


def test_agents_that_come_change_the_cluster_once() -> None:
    controller = FakeController()
    controller.launch(an_offer("a1"))
    before = kinds(controller).count(CLUSTER)
    controller.launch(an_offer("a1"))
    assert before and kinds(controller).count(CLUSTER) == before
    controller.launch(an_offer("a2"))
    assert kinds(controller).count(CLUSTER) == before + 1


def test_an_app_that_waits_for_another_reason_is_told() -> None:
    controller = FakeController()
    controller.handle(Subscribed("framework-1", "master:5050"))
    controller.submit(PutApps((an_app("/a", cpus=64),)))
    waits = kinds(controller).count(APP)
    controller.launch(an_offer())
    assert waits and kinds(controller).count(APP) == waits + 1


def test_a_pause_is_told() -> None:
    controller = FakeController(locks=True)
    controller.submit(PutApps((an_app("/a"),)))
    (deployment,) = controller.machine.state.deployments
    controller.submit(Pause(deployment))
    assert kinds(controller).count(DEPLOYMENT) == 1


def test_an_instance_that_begins_to_stop_is_told() -> None:
    controller = FakeController()
    controller.submit(PutApps((an_app("/a", 1),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    before = kinds(controller).count(APP)
    controller.submit(PutApps((an_app("/a", 0),)))
    assert kinds(controller).count(APP) == before + 1


def test_clients_of_marathon_hear_none_of_them() -> None:
    controller = FakeController()
    controller.launch(an_offer())
    assert CLUSTER in kinds(controller)
    everything, named = (Reader(Caller(), controller.events, frozenset(asked), told=False) for asked in ((), (CLUSTER,)))
    assert not any(kind.encode() in everything.read(0)[1] for kind in OWN)
    assert CLUSTER.encode() in named.read(0)[1]
