"""What a dead executor left running, from the listing that shows it to its removal: held, drained, given up, in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.driven import Driven, of, states, update
from support.executor import PORT, a_payload

from eratos.executor import balancers, ports
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.left_over import DRAINED_S, HELD_S

OLD, OLDER = "old", "older"
IDS = ("eratos-old",)
TOLD, GONE, DRAINED = on.BalancersTold(OLD), on.Deregistered(OLD), on.DrainDone(OLD, released=True)
TELL = do.TellBalancers(OLD, IDS, HELD_S)


@pytest.fixture
def driven() -> Driven:
    return Driven()


def listed(driven: Driven, *running: str, ended: str = "", runtime: str = "docker") -> list[do.Action]:
    found = on.ContainersListed(driven.now, frozenset(running), frozenset({ended} - {""}), runtime=runtime)
    return driven.handle(found)


def test_what_a_dead_executor_left_running_is_held_until_others_serve_and_then_drained(driven: Driven) -> None:
    ids = ("eratos-old", "eratos-old-1")
    found = on.ContainersListed(driven.now, frozenset({OLD}), frozenset(), services={OLD: 2})
    assert driven.handle(found) == [do.TellBalancers(OLD, ids, HELD_S)]
    driven.now += 0.5
    assert driven.handle(replace(found, began_at=driven.now)) == []  # it is on its way
    assert driven.handle(GONE) == []  # somebody else has deregistered it
    assert driven.handle(TOLD) == [do.Deregister(OLD)]
    assert driven.handle(TOLD) == []
    driven.now += 0.5
    assert driven.handle(GONE) == [do.AskBalancers(OLD, ids, DRAINED_S - 0.5)]
    assert driven.handle(DRAINED) == [do.RemoveContainer(OLD)]
    assert driven.machine.next_deadline() is None
    assert driven.handle(DRAINED) == []


def test_it_goes_on_without_others_that_serve_and_is_drained_all_the_same(driven: Driven) -> None:
    assert listed(driven, OLD) == [TELL]
    assert driven.machine.next_deadline() == driven.now + HELD_S
    assert driven.after(HELD_S) == [do.AbandonDrain(OLD), do.Deregister(OLD)]
    assert driven.handle(TOLD) == []
    assert driven.handle(GONE) == [do.AskBalancers(OLD, IDS, DRAINED_S)]
    assert driven.handle(DRAINED) == [do.RemoveContainer(OLD)]


@pytest.mark.parametrize("answers", [[TOLD], [TOLD, GONE]], ids=["Consul is away", "a balancer does not let go"])
def test_balancers_that_do_not_let_go_of_it_are_not_waited_for(driven: Driven, answers: list[on.Event]) -> None:
    listed(driven, OLD)
    for event in answers:
        driven.handle(event)
    assert driven.machine.next_deadline() == driven.now + DRAINED_S
    assert driven.after(DRAINED_S) == [do.AbandonDrain(OLD), do.RemoveContainer(OLD)]
    assert driven.machine.next_deadline() is None


def test_each_has_its_own_time(driven: Driven) -> None:
    listed(driven, OLD)
    driven.now += 1
    listed(driven, OLD, OLDER)
    driven.handle(on.BalancersTold(OLDER))
    driven.now += HELD_S - 1
    assert driven.handle(on.Tick()) == [do.AbandonDrain(OLD), do.Deregister(OLD)]
    assert driven.after(1) == [do.AbandonDrain(OLDER), do.RemoveContainer(OLDER)]


@pytest.mark.parametrize(
    ("answers", "deregistered"), [([], False), ([TOLD], True), ([TOLD, GONE], True)], ids=["held", "leaving", "drained"]
)
def test_an_executor_that_leaves_waits_for_nothing_that_another_left(
    driven: Driven, answers: list[on.Event], deregistered: bool
) -> None:
    listed(driven, OLD)
    for event in answers:
        driven.handle(event)
    left = [] if deregistered else [do.Deregister(OLD)]
    assert driven.handle(on.Shutdown("asked"))[:-1] == [do.AbandonDrain(OLD), *left, do.RemoveContainer(OLD)]
    assert driven.machine.next_deadline() is None


# Ports ----------------------------------------------------------------------------------------------------------------------

AT_PORT = on.ServicesKept({OLD: frozenset({PORT + 1, PORT}), OLDER: frozenset({PORT + 2})})
HURRIED = [do.AbandonDrain(OLD), do.TellBalancers(OLD, IDS)]


@pytest.mark.parametrize(
    "order",
    [
        [lambda d: d.launch(), lambda d: listed(d, OLD, OLDER), lambda d: d.handle(AT_PORT)],
        [lambda d: listed(d, OLD, OLDER), lambda d: d.launch(), lambda d: d.handle(AT_PORT)],
        [lambda d: listed(d, OLD, OLDER), lambda d: d.handle(AT_PORT), lambda d: d.launch()],
    ],
)
def test_it_makes_way_at_once_for_a_task_that_was_given_its_port(
    driven: Driven, order: list[Callable[[Driven], list[do.Action]]]
) -> None:
    *before, last = order
    for step in before:
        assert not of(do.AbandonDrain, step(driven))
    assert last(driven)[-2:] == HURRIED
    assert driven.handle(AT_PORT) == []  # once
    assert driven.handle(TOLD) == [do.Deregister(OLD)]
    assert driven.handle(AT_PORT) == []


def test_balancers_of_data_centers_that_may_serve_it_are_told_and_asked_too(driven: Driven) -> None:
    driven.launch()
    listed(driven, OLD)
    told = do.TellBalancers(OLD, IDS, datacenters=("dc2",))
    assert driven.handle(on.ServicesKept({OLD: frozenset({PORT})}, {OLD: ("dc2",)}))[-1] == told
    driven.handle(TOLD)
    assert driven.handle(GONE) == [do.AskBalancers(OLD, IDS, DRAINED_S, ("dc2",))]


def test_what_is_on_its_way_already_is_not_hurried(driven: Driven) -> None:
    driven.launch()
    listed(driven, OLD)
    driven.handle(TOLD)
    assert driven.handle(AT_PORT) == []


def test_it_stays_where_nobody_waits_for_its_port(driven: Driven) -> None:
    driven.run()
    listed(driven, OLD)
    assert driven.handle(AT_PORT) == []


def test_a_start_waits_for_its_port_longer_than_anything_that_was_left_there_may_take() -> None:
    assert ports.WAIT_S >= HELD_S + DRAINED_S + 5
    assert HELD_S > balancers.SILENT_S


# Its services ---------------------------------------------------------------------------------------------------------------


def test_services_of_what_was_left_stay_in_consul_until_its_turn_comes(driven: Driven) -> None:
    assert of(do.KeepServices, listed(driven, OLD)) == []  # the other runtime may have more
    assert listed(driven, OLDER, runtime="process")[0] == do.KeepServices(frozenset({OLD, OLDER}))
    assert listed(driven, OLD) == []
    assert of(do.KeepServices, listed(driven, OLD, "another")) == [do.KeepServices(frozenset({OLD, OLDER, "another"}))]


def test_what_has_ended_keeps_nothing_in_consul(driven: Driven) -> None:
    listed(driven, runtime="process")
    assert listed(driven, ended=OLD) == [do.KeepServices(frozenset()), do.Deregister(OLD), do.RemoveContainer(OLD)]


def test_one_runtime_that_is_switched_on_is_all_that_is_waited_for(driven: Driven) -> None:
    driven.machine.host = replace(driven.machine.host, runtimes=("process",))
    assert listed(driven, runtime="process") == [do.KeepServices(frozenset())]


# Sweeps: tasks that only wait for all this ----------------------------------------------------------------------------------

SWEEP = "sweep.instance-1._app.1"


def sweep(driven: Driven) -> list[do.Action]:
    return driven.handle(on.LaunchTask(SWEEP, a_payload(SWEEP, image="", args=(), sweeps=True).to_bytes()))


def all_listed(driven: Driven, *running: str) -> list[do.Action]:
    driven.now += 1
    return [*listed(driven, *running), *listed(driven, runtime="process")]


def test_a_sweep_starts_nothing_and_ends_once_a_listing_shows_that_nothing_is_left(driven: Driven) -> None:
    assert states(out := sweep(driven)) == ["TASK_RUNNING"] and len(out) == 1
    assert sweep(driven) == [], "a duplicate"
    assert not states(listed(driven, OLD)), "the processes are not known yet"
    assert not states(all_listed(driven, OLD)), "it is on its way out"
    driven.handle(TOLD)
    driven.handle(GONE)
    assert driven.handle(DRAINED) == [do.RemoveContainer(OLD)]
    out = all_listed(driven)
    assert do.KeepServices(frozenset()) in out and states(out) == ["TASK_FINISHED"]
    assert states(sweep(driven)) == ["TASK_FINISHED"], "said again where it is launched again"


def test_a_sweep_on_a_clean_host_ends_at_once(driven: Driven) -> None:
    all_listed(driven)
    assert states(sweep(driven)) == ["TASK_RUNNING", "TASK_FINISHED"]


def test_a_sweep_can_be_killed(driven: Driven) -> None:
    sweep(driven)
    assert states(driven.handle(on.KillTask(SWEEP))) == ["TASK_KILLED"]
    assert not states(all_listed(driven))


def test_a_sweep_ends_as_killed_with_its_executor(driven: Driven) -> None:
    sweep(driven)
    out = driven.handle(on.Shutdown("told to"))
    assert (update(out).task_id, update(out).state) == (SWEEP, "TASK_KILLED")
    assert of(do.Exit, out)
