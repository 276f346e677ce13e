"""Hosts that somebody has drained: emptied as before maintenance, until they are given back, by a later leader as well."""

from __future__ import annotations

import pytest
from support.builders import EXECUTOR, a_machine, a_status, an_app, an_offer

from eratos.common.resources import Resources
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Window
from eratos.scheduler.core.records import DRAINS, DrainRecord, Stored
from eratos.scheduler.core.step import Settings
from eratos.scheduler.store import codec

HOST = "host-a1"


def running(instances: int = 1, **fields: object) -> Machine:
    """Return a core whose instances run on the first of its agents."""
    machine = a_machine()
    machine.handle(events.Subscribed("fw1", "m:5050"), 1000.0)
    machine.handle(events.CommandReceived(1, events.PutApps((an_app(instances=instances, **fields),))), 1000.0)
    machine.handle(events.OffersReceived((an_offer("a1"),)), 1001.0)
    report(machine)
    return machine


def report(machine: Machine) -> None:
    for instance in list(machine.state.instances.values()):
        if instance.launching:
            machine.handle(events.StatusChanged(a_status(instance.task_id, "RUNNING", instance.agent_id)), 1002.0)


def drain(machine: Machine, now: float = 1003.0, **fields: float) -> list[actions.Action]:
    return list(machine.handle(events.CommandReceived(2, events.PutDrain(DrainRecord(HOST, now, **fields))), now))


def undrain(machine: Machine, now: float) -> list[actions.Action]:
    return list(machine.handle(events.CommandReceived(3, events.DeleteDrain(HOST)), now))


def killed(found: list[actions.Action]) -> list[str]:
    return [action.task_id for action in found if isinstance(action, actions.Kill)]


def refused(found: list[actions.Action]) -> list[actions.Refusal]:
    return [action.refusal for action in found if isinstance(action, actions.Refuse)]


def test_instances_of_a_drained_host_are_replaced_first_and_stopped_then() -> None:
    machine = running()
    [before] = machine.state.instances.values()
    assert not killed(drain(machine))
    assert before.moving
    launched = machine.handle(events.OffersReceived((an_offer("a1"), an_offer("a2"))), 1004.0)
    assert [a.agent_id for a in launched if isinstance(a, actions.Accept)] == ["a2"]
    [after] = [instance for instance in machine.state.instances.values() if instance.agent_id == "a2"]
    out = list(machine.handle(events.StatusChanged(a_status(after.task_id, "RUNNING", "a2")), 1005.0))
    assert killed(out) == [before.task_id]


def test_a_drained_host_takes_nothing_and_says_so_whatever_the_master_says_of_it() -> None:
    machine = running(2)
    drain(machine)
    for offer in (an_offer("a1"), an_offer("a1", window=Window(9000.0))):
        out = machine.handle(events.OffersReceived((offer,)), 1004.0)
        assert not [action for action in out if isinstance(action, actions.Accept)]
    notes = {refusal.note for refusal in machine.state.launches["/prime"].refusals.values()}
    assert notes == {f"{HOST} is drained"}


def test_an_offer_on_hand_is_no_way_around_a_drain() -> None:
    machine = running()
    machine.take(events.CommandReceived(2, events.PutApps((machine.state.apps["/prime"].with_instances(3),))), 1003.0)
    machine.take(events.OffersReceived((an_offer("a1"),)), 1003.0)
    machine.take(events.CommandReceived(3, events.PutDrain(DrainRecord(HOST, 1003.0))), 1003.0)
    assert not [action for action in machine.decide(1003.0) if isinstance(action, actions.Accept)]


def test_an_agent_that_comes_back_under_another_id_is_still_drained() -> None:
    machine = running()
    drain(machine)
    out = machine.handle(events.OffersReceived((an_offer("a9", hostname=HOST),)), 1004.0)
    assert not [action for action in out if isinstance(action, actions.Accept)]


def test_what_is_given_back_is_used_again_and_offered_anew() -> None:
    machine = running()
    drain(machine)
    machine.handle(events.OffersReceived((an_offer("a1"),)), 1004.0)
    out = undrain(machine, 1005.0)
    assert not any(instance.moving for instance in machine.state.instances.values())
    assert [action.key for action in out if isinstance(action, actions.Forget)] == [DRAINS + HOST]
    machine.handle(events.CommandReceived(4, events.PutApps((machine.state.apps["/prime"].with_instances(2),))), 1006.0)
    launched = machine.handle(events.OffersReceived((an_offer("a1"),)), 1007.0)
    assert [a.agent_id for a in launched if isinstance(a, actions.Accept)] == ["a1"]


def test_at_the_deadline_what_is_left_is_stopped_though_nothing_replaces_it() -> None:
    machine = running()
    [instance] = machine.state.instances.values()
    drain(machine, deadline=1100.0)
    assert not killed(list(machine.handle(events.Tick(), 1099.0)))
    assert killed(list(machine.handle(events.Tick(), 1100.0))) == [instance.task_id]


def test_another_deadline_counts_and_the_begin_stays() -> None:
    machine = running()
    drain(machine, deadline=1100.0)
    drain(machine, 1050.0)
    assert not killed(list(machine.handle(events.Tick(), 1200.0)))
    assert machine.state.drains[HOST] == DrainRecord(HOST, 1003.0)


def test_a_later_leader_goes_on() -> None:
    machine = running()
    records = tuple(instance.record() for instance in machine.state.instances.values())
    stored = Stored("fw1", tuple(machine.state.apps.values()), records, drains=(DrainRecord(HOST, 1003.0, 1100.0),))
    later = Machine(stored, Settings(EXECUTOR, Resources(100, 64)), iter("xyz").__next__, 1010.0)
    [instance] = later.state.instances.values()
    assert instance.moving
    later.handle(events.Subscribed("fw1", "m:5050"), 1011.0)
    assert killed(list(later.handle(events.Tick(), 1100.0))) == [instance.task_id]


def test_a_host_that_is_not_known_and_a_drain_that_there_is_not_are_refused() -> None:
    machine = a_machine()
    assert refused(drain(machine)) == [actions.Refusal.NOT_FOUND]
    assert refused(undrain(machine, 1004.0)) == [actions.Refusal.NOT_FOUND]


@pytest.mark.parametrize("record", [DrainRecord(HOST, 1.0), DrainRecord(HOST, 1.0, 2.0, "somebody")])
def test_drains_come_back_as_they_were(record: DrainRecord) -> None:
    found = codec.decode_all([(DRAINS + HOST, codec.encode(DRAINS + HOST, record))])
    assert (found.drains, found.spoilt) == ((record,), {})
