"""Where instances go, by choice: spread or packed, clear of maintenance, and which go first where there is a surplus."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from support.builders import a_machine, a_status, an_app, an_offer

from eratos.common.resources import PortRanges, Resources
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Offer, Window
from eratos.scheduler.core.reasons import Waiting


def a_core(*apps: object, **settings: object) -> Machine:
    machine = a_machine(**settings)
    machine.handle(events.Subscribed("fw1", "m:5050"), 1000.0)
    machine.handle(events.CommandReceived(1, events.PutApps(apps)), 1000.0)  # type: ignore[arg-type]
    return machine


def placed(machine: Machine, *offers: Offer, now: float = 1001.0) -> Counter[str]:
    """Return how many instances went to each agent."""
    out = machine.handle(events.OffersReceived(offers), now)
    return Counter({a.agent_id: len(a.launches) for a in out if isinstance(a, actions.Accept)})


def run(machine: Machine) -> None:
    for instance in list(machine.state.instances.values()):
        if instance.launching:
            machine.handle(events.StatusChanged(a_status(instance.task_id, "RUNNING", instance.agent_id)), 1002.0)


def test_a_fleet_spreads_over_zones_of_different_size():
    offers = [an_offer("a1", zone="z1"), *(an_offer(f"b{n}", zone="z2") for n in range(5))]
    found = placed(a_core(an_app(instances=4)), *offers)
    assert found["a1"] == 2


def test_an_attribute_named_zone_counts_where_no_fault_domain_is_configured():
    offers = [an_offer("a1", attributes={"zone": "a"}), *(an_offer(f"b{n}", attributes={"zone": "b"}) for n in range(3))]
    assert placed(a_core(an_app(instances=2)), *offers)["a1"] == 1


def test_packing_fills_the_fullest_host_first():
    machine = a_core(an_app(instances=5, cpus=0.5), placement="pack")
    assert placed(machine, an_offer("a1", cpus=4), an_offer("a2", cpus=1), an_offer("a3", cpus=2)) == {"a2": 2, "a3": 3}


def test_packing_prefers_a_host_with_our_executor():
    machine = a_core(an_app(), placement="pack")
    assert placed(machine, an_offer("a1", cpus=1, executor=False), an_offer("a2", cpus=4)) == {"a2": 1}


def test_hosts_with_gpus_are_the_last_choice_of_apps_without():
    gpus = replace(an_offer("a1"), resources=replace(an_offer("a1").resources, gpus=2))
    assert placed(a_core(an_app(instances=2)), gpus, an_offer("a2")) == {"a2": 2}
    assert placed(a_core(an_app(instances=2, gpus=1)), gpus, an_offer("a2")) == {"a1": 2}


def test_an_app_chooses_for_itself_by_label():
    machine = a_core(an_app(instances=2, labels={"ERATOS_PLACEMENT": "pack"}))
    assert placed(machine, an_offer("a1"), an_offer("a2")).most_common()[0][1] == 2


def test_large_instances_are_packed_before_small_ones_that_have_not_waited_long():
    small, large = an_app("/small", 1, cpus=1), an_app("/large", 1, cpus=4)
    for _ in range(2):  # whoever's turn it is
        machine = a_core(small, large, placement="pack")
        placed(machine, an_offer("a1", cpus=4))
        assert [i.app_id for i in machine.state.with_task()] == ["/large"]
    machine = a_core(small, large, placement="pack")
    placed(machine, an_offer("a1", cpus=4), now=1100.0)
    placed(machine, an_offer("a2", cpus=3), now=1100.0)
    assert "/small" in {i.app_id for i in machine.state.with_task()}


def test_a_host_with_maintenance_ahead_is_the_last_choice():
    machine = a_core(an_app(instances=2))
    offers = an_offer("a1", window=Window(9000.0)), an_offer("a2")
    assert placed(machine, *offers) == {"a2": 2}
    machine = a_core(an_app())
    assert placed(machine, an_offer("a1", window=Window(9000.0))) == {"a1": 1}


def test_a_host_whose_maintenance_is_near_is_refused_with_the_reason():
    machine = a_core(an_app(), maintenance_lead_s=300.0)
    assert not placed(machine, an_offer("a1", window=Window(1200.0)))
    [refusal] = machine.state.launches_of("/prime").refusals.values()
    assert refusal.reason.value == "AgentMaintenance" and "begins in 199 s" in refusal.detail


def test_cancelled_maintenance_lets_instances_stay():
    machine = a_core(an_app())
    placed(machine, an_offer("a1"))
    run(machine)
    machine.handle(events.OffersReceived((an_offer("a1", window=Window(1100.0, 2000.0)),)), 1003.0)
    assert machine.state.fleet("/prime").waiting, "no replacement is wanted"
    machine.handle(events.OffersReceived((an_offer("a1"),)), 1004.0)
    machine.handle(events.Tick(), 1005.0)
    assert not any(instance.moving for instance in machine.state.instances.values())


@pytest.mark.parametrize("selection", ["YOUNGEST_FIRST", "OLDEST_FIRST"])
def test_scaling_down_keeps_the_spread_and_then_follows_the_kill_selection(selection: str):
    machine = a_core(an_app(instances=2, killSelection=selection))
    placed(machine, an_offer("a1", zone="z1"))
    run(machine)
    machine.handle(events.CommandReceived(2, events.PutApps((machine.state.apps["/prime"].with_instances(4),))), 1003.0)
    placed(machine, an_offer("a2", zone="z2"), an_offer("a3", zone="z2"), now=1004.0)
    run(machine)
    machine.handle(events.CommandReceived(3, events.PutApps((machine.state.apps["/prime"].with_instances(2),))), 1005.0)
    left = Counter(i.agent.zone for i in machine.state.instances.values() if not i.stopping)
    assert left == {"z1": 1, "z2": 1}


def test_a_dependency_on_a_group_waits_for_every_app_in_it():
    machine = a_core(an_app("/db/one"), an_app("/db/two"))
    machine.handle(events.CommandReceived(2, events.PutApps((an_app("/web", dependencies=["/db"]),))), 1000.0)
    placed(machine, an_offer("a1"))
    [first, second] = machine.state.with_task()
    machine.handle(events.StatusChanged(a_status(first.task_id, "RUNNING")), 1002.0)
    assert machine.state.launches_of("/web").waiting is Waiting.DEPENDENCY
    machine.handle(events.StatusChanged(a_status(second.task_id, "RUNNING")), 1002.0)
    assert machine.state.launches_of("/web").waiting is Waiting.NO_OFFER


def test_what_a_group_depends_on_its_apps_wait_for_whenever_they_were_made():
    machine = a_core(an_app("/db"))
    machine.handle(events.CommandReceived(2, events.PutApps((an_app("/shop/web"),))), 1000.0)
    assert machine.state.launches_of("/shop/web").waiting is Waiting.NO_OFFER
    machine.handle(events.CommandReceived(3, events.PutApps((), groups={"/shop": ("/db",)})), 1000.0)
    assert machine.state.launches_of("/shop/web").waiting is Waiting.DEPENDENCY
    machine.handle(events.CommandReceived(4, events.PutApps((), groups={"/shop": ()})), 1000.0)
    assert machine.state.launches_of("/shop/web").waiting is Waiting.NO_OFFER


def test_refused_offers_are_counted_beyond_those_remembered():
    machine = a_core(an_app(cpus=64))
    for n in range(1500):
        machine.handle(events.OffersReceived((an_offer(f"a{n}"),)), 1001.0)
    launches = machine.state.launches_of("/prime")
    assert len(launches.refusals) == 1000 and sum(launches.refused.values()) == launches.offers_seen == 1500


def test_launches_in_flight_are_bounded_and_go_on_as_they_are_confirmed():
    machine = a_core(an_app(instances=5), launching_most=2)
    assert sum(placed(machine, an_offer("a1")).values()) == 2
    assert machine.state.launches_of("/prime").waiting is Waiting.LAUNCH_LIMIT
    assert not placed(machine, an_offer("a1"))
    run(machine)
    out = machine.handle(events.OffersReceived((an_offer("a1"),)), 1003.0)
    [accept] = [action for action in out if isinstance(action, actions.Accept)]
    assert len(accept.launches) == 2
    assert accept.refuse_s == 0, "what will be wanted in a moment is not refused"


def an_offer_with_reserved(agent: str, cpus_m: int, **changes: object) -> Offer:
    """An offer of 4 CPUs and 2 GiB, of which so much is reserved, and the ports from 31050 on."""
    kept = Resources(cpus_m=cpus_m, mem_mib=1024)
    return replace(an_offer(agent), reserved=kept, reserved_ports=PortRanges([(31050, 31099)]), **changes)


@pytest.mark.parametrize(
    ("roles", "instances"), [([], 40), (["*", "prod"], 40), (["*"], 30), (["prod"], 10)], ids=["either", "both", "*", "prod"]
)
def test_an_app_takes_resources_of_the_roles_that_it_accepts_alone(roles: list[str], instances: int):
    machine = a_core(an_app(instances=60, mem=6, portDefinitions=[], acceptedResourceRoles=roles))
    assert placed(machine, an_offer_with_reserved("a1", 1000)) == {"a1": instances}


def test_what_is_reserved_goes_first_to_who_takes_either():
    either, open_only = an_app("/a", 10, mem=6, portDefinitions=[]), {"acceptedResourceRoles": ["*"]}
    machine = a_core(either, an_app("/b", 40, mem=6, portDefinitions=[], **open_only))
    assert placed(machine, an_offer_with_reserved("a1", 1000)) == {"a1": 40}


def test_ports_are_of_the_roles_that_it_accepts_and_the_reason_names_them():
    machine = a_core(an_app(instances=1, acceptedResourceRoles=["prod"]), an_app("/b", 1, cpus=2, acceptedResourceRoles=["prod"]))
    out = machine.handle(events.OffersReceived((an_offer_with_reserved("a1", 1000),)), 1001.0)
    [accept] = [action for action in out if isinstance(action, actions.Accept)]
    [launch] = accept.launches
    assert launch.payload.ports[0].host_port >= 31050
    [refusal] = machine.state.launches_of("/b").refusals.values()
    assert refusal.detail == "cpus: 2 wanted, 0.9 free on host-a1, of reserved resources alone (acceptedResourceRoles)"


@pytest.mark.parametrize(
    ("role", "usual", "roles", "instances"),
    [
        ("prod", "", [], 40),
        ("prod", "unreserved", [], 30),
        ("prod", "reserved", [], 10),
        ("prod", "reserved", ["*", "prod"], 40),
        ("prod", "unreserved", ["prod"], 10),
        ("*", "reserved", [], 30),  # of the role * nothing can be reserved
    ],
)
def test_what_an_app_takes_that_says_nothing_of_it_is_a_setting(role: str, usual: str, roles: list[str], instances: int):
    app = an_app(instances=60, mem=6, portDefinitions=[], acceptedResourceRoles=roles)
    machine = a_core(app, roles=(role,), accepts=usual)
    out = machine.handle(events.OffersReceived((an_offer_with_reserved("a1", 1000),)), 1001.0)
    launched = [launch for action in out if isinstance(action, actions.Accept) for launch in action.launches]
    assert len(launched) == instances
    expected = "" if len(roles) == 2 else "reserved" if roles else "unreserved" if usual and role == "*" else usual
    assert {launch.payload.accepts for launch in launched} == {expected}
