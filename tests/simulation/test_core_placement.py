"""Placement against simple truths: nothing is given away twice, and no first-fit would have placed more."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import a_machine, an_app, an_offer

from eratos.common.resources import Resources
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import Offer

offers = st.lists(
    st.builds(
        an_offer,
        agent=st.sampled_from([f"a{n}" for n in range(8)]),
        cpus=st.sampled_from([0.1, 0.5, 1, 2.5]),
        mem=st.sampled_from([32, 100, 1024]),
        zone=st.sampled_from(["", "z1", "z2"]),
    ),
    max_size=10,
)
apps = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([0.1, 0.3, 1]), st.sampled_from([32, 64]), st.integers(0, 3)), max_size=3
)


def first_fit(free: dict[str, Resources], wanted: Resources, count: int) -> int:
    """Place as simply as can be; return how many went in."""
    placed = 0
    for agent_id in free:
        while placed < count and free[agent_id].fits(wanted):
            free[agent_id] -= wanted
            placed += 1
    return placed


@settings(deadline=None)
@given(offers, apps, st.sampled_from(["spread", "pack"]))
def test_every_offer_is_answered_once_and_nothing_is_given_away_twice(
    found: list[Offer], wanted: list[tuple[int, float, int, int]], placement: str
) -> None:
    machine = a_machine(placement=placement)
    machine.handle(events.Subscribed("fw1", "m:5050"), 1000.0)
    for number, (count, cpus, mem, ports) in enumerate(wanted):
        definition = an_app(f"/app{number}", count, cpus=cpus, mem=mem, portDefinitions=[{"port": 0}] * ports)
        machine.handle(events.CommandReceived(number, events.PutApps((definition,))), 1000.0)
    out = machine.handle(events.OffersReceived(tuple(found)), 1001.0)
    machine.state.check()
    accepts = [action for action in out if isinstance(action, actions.Accept)]
    declines = [action for action in out if isinstance(action, actions.Decline)]
    answered = [offer_id for action in (*accepts, *declines) for offer_id in action.offer_ids]
    assert sorted(answered) == sorted(offer.offer_id for offer in found)
    by_id = {offer.offer_id: offer for offer in found}
    for accept in accepts:
        given_away = [by_id[offer_id] for offer_id in accept.offer_ids]
        assert {offer.agent_id for offer in given_away} == {accept.agent_id}
        used = sum((launch.payload.resources for launch in accept.launches), Resources())
        assert sum((offer.resources for offer in given_away), Resources()).fits(used)
        ports = [port.host_port for launch in accept.launches for port in launch.payload.ports]
        assert len(ports) == len(set(ports))
        assert all(any(port in offer.ports for offer in given_away) for port in ports)


@settings(deadline=None)
@given(offers, st.integers(1, 30), st.sampled_from([0.1, 0.3, 1]), st.sampled_from(["spread", "pack"]))
def test_one_app_gets_as_many_places_as_a_first_fit_would(found: list[Offer], count: int, cpus: float, placement: str) -> None:
    machine = a_machine(placement=placement)
    machine.handle(events.Subscribed("fw1", "m:5050"), 1000.0)
    definition = an_app("/app", count, cpus=cpus, portDefinitions=[])
    machine.handle(events.CommandReceived(1, events.PutApps((definition,))), 1000.0)
    out = machine.handle(events.OffersReceived(tuple(found)), 1001.0)
    placed = sum(len(action.launches) for action in out if isinstance(action, actions.Accept))
    free: dict[str, Resources] = {}
    for offer in found:
        free[offer.agent_id] = free.get(offer.agent_id, Resources()) + offer.resources
    assert placed == first_fit(free, definition.resources, count)
