"""Hosts that somebody has drained: emptied as before maintenance, until they are given back, by a later leader as well."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_job, a_machine, an_app, an_offer
from support.core import Core, of

from eratos.scheduler.core import actions, events, per_host, rebalance
from eratos.scheduler.core.mesos_types import InverseOffer, TaskState, Window
from eratos.scheduler.core.records import DRAINS, DrainRecord, Stored
from eratos.scheduler.store import codec

HOST = "host-a1"


def running(instances: int = 1, **fields: Any) -> Core:
    """Return a core whose instances run on the first of its agents."""
    core = Core()
    core.subscribe()
    core.put(an_app(instances=instances, **fields))
    core.run(an_offer("a1"))
    return core


def drain(core: Core, deadline_s: float | None = None, by: str = "ann") -> list[actions.Action]:
    return core.command(events.PutDrain(HOST, deadline_s, by))


def undrain(core: Core) -> list[actions.Action]:
    return core.command(events.DeleteDrain(HOST))


def killed(found: list[actions.Action]) -> list[str]:
    return [kill.task_id for kill in of(actions.Kill, found)]


def used(found: list[actions.Action]) -> list[str]:
    return [accept.agent_id for accept in of(actions.Accept, found) if accept.launches]


def later_leader(core: Core, *drains: DrainRecord) -> Core:
    state = core.machine.state
    records = tuple(instance.record() for instance in state.with_task())
    stored = Stored("fw1", tuple(state.apps.values()), records, drains=drains or tuple(state.drains.values()))
    return Core(a_machine(stored, core.now, first_id=100), core.now)


def test_instances_of_a_drained_host_are_replaced_first_and_stopped_then() -> None:
    core = running()
    [before] = core.machine.state.instances.values()
    assert not killed(drain(core))
    assert before.moving
    assert used(core.offer(an_offer("a1"), an_offer("a2"))) == ["a2"]
    [after] = [instance for instance in core.machine.state.instances.values() if instance.agent_id == "a2"]
    assert killed(core.status(after.task_id, "RUNNING", agent="a2")) == [before.task_id]


def test_a_drained_host_takes_nothing_and_says_so_whatever_the_master_says_of_it() -> None:
    core = running(2)
    drain(core)
    for offer in (an_offer("a1"), an_offer("a1", window=Window(9000.0))):
        assert not used(core.offer(offer))
    notes = {refusal.note for refusal in core.machine.state.launches["/prime"].refusals.values()}
    assert notes == {f"{HOST} is drained"}


def test_an_offer_on_hand_is_no_way_around_a_drain() -> None:
    core = running()
    machine = core.machine
    machine.take(events.CommandReceived(2, events.PutApps((machine.state.apps["/prime"].with_instances(3),))), core.now)
    machine.take(events.OffersReceived((an_offer("a1"),)), core.now)
    machine.take(events.CommandReceived(3, events.PutDrain(HOST)), core.now)
    assert not used(list(machine.decide(core.now)))


def test_an_agent_that_comes_back_under_another_id_is_still_drained() -> None:
    core = running()
    drain(core)
    assert not used(core.offer(an_offer("a9", hostname=HOST)))
    assert "a9" in core.machine.state.windows


def test_an_agent_that_was_away_and_offers_nothing_since_is_still_drained() -> None:
    core = running()
    [instance] = core.machine.state.instances.values()
    core.put(an_app("/each", eratos={"perHost": True}))
    drain(core, 100)
    core.status(instance.task_id, "UNREACHABLE")
    core.handle(events.AgentLost("a1"))
    core.status(instance.task_id, "RUNNING")
    core.offer(an_offer("a2"))
    state = core.machine.state
    assert per_host.hosts(state, state.apps["/each"], core.now, 0).closed == {HOST}
    assert killed(core.tick(100)) == [instance.task_id]


def test_an_agent_that_was_forgotten_and_comes_back_is_still_drained() -> None:
    core = Core()
    core.subscribe()
    core.put(an_app(instances=0))
    core.offer(an_offer("a1"))
    drain(core)
    core.handle(events.AgentLost("a1"))
    assert "a1" not in core.machine.state.agents and not core.machine.state.windows
    core.scale("/prime", 1)
    assert not used(core.offer(an_offer("a1")))
    assert "a1" in core.machine.state.windows
    undrain(core)
    assert used(core.offer(an_offer("a1"))) == ["a1"]


def test_what_is_given_back_is_used_again_and_offered_anew() -> None:
    core = running()
    core.scale("/prime", 2)
    drain(core)
    core.offer(an_offer("a1"))
    out = undrain(core)
    assert not any(instance.moving for instance in core.machine.state.instances.values())
    assert [action.key for action in of(actions.Forget, out)] == [DRAINS + HOST]
    assert used(core.offer(an_offer("a1"))) == ["a1"]


def test_replacements_that_run_already_are_too_many_once_the_host_is_given_back() -> None:
    core = running()
    drain(core)
    core.offer(an_offer("a2"))
    undrain(core)
    [new] = [instance for instance in core.machine.state.instances.values() if instance.agent_id == "a2"]
    assert new.stopping


def test_the_masters_maintenance_counts_again_once_a_drain_is_over() -> None:
    core = running()
    core.offer(an_offer("a1", window=Window(2000.0, 3000.0)))
    drain(core)
    undrain(core)
    assert core.machine.state.windows == {"a1": Window(2000.0, 3000.0)}
    core.scale("/prime", 2)
    core.tick(900)
    assert all(instance.moving for instance in core.machine.state.with_task())
    assert not used(core.offer(an_offer("a1", window=Window(2000.0, 3000.0))))


def test_maintenance_of_an_agent_that_left_is_told_again_once_it_is_back() -> None:
    core = running()
    core.offer(an_offer("a1", window=Window(2000.0, 3000.0)))
    core.handle(events.AgentLost("a1"))
    assert "a1" in core.machine.state.agents and not core.machine.state.windows
    core.offer(an_offer("a1", window=Window(2000.0, 3000.0)))
    assert core.machine.state.windows == {"a1": Window(2000.0, 3000.0)}


def test_inverse_offers_do_not_end_a_drain_and_are_accepted_once_the_host_is_empty() -> None:
    core = running()
    [instance] = core.machine.state.instances.values()
    drain(core, 10)
    inverse = events.InverseOffersReceived((InverseOffer("i1", "a1", Window(9000.0)),))
    assert [answer.accept for answer in of(actions.AnswerInverse, core.handle(inverse))] == [False]
    assert instance.moving
    core.tick(10)
    core.status(instance.task_id, "KILLED")
    assert [answer.accept for answer in of(actions.AnswerInverse, core.handle(inverse))] == [True]


def test_at_the_deadline_what_is_left_is_stopped_though_nothing_replaces_it() -> None:
    core = running(2)
    tasks = {instance.task_id for instance in core.machine.state.with_task()}
    drain(core, 100)
    assert not killed(core.tick(99))
    assert set(killed(core.tick(1))) == tasks
    core.offer(an_offer("a2"))
    assert core.hosts() == ["a1", "a1", "a2", "a2"]


def test_another_deadline_counts_from_then_the_begin_stays_and_none_is_as_before() -> None:
    core = running()
    drain(core, 100)
    core.tick(50)
    assert not of(actions.Put, drain(core, by="bob")), "nothing changed, so nothing is stored"
    assert core.machine.state.drains[HOST] == DrainRecord(HOST, 1000.0, 1100.0, "ann")
    drain(core, 100, "bob")
    assert core.machine.state.drains[HOST] == DrainRecord(HOST, 1000.0, 1150.0, "bob")
    assert not killed(core.tick(50))
    drain(core, 0)
    assert core.machine.state.drains[HOST] == DrainRecord(HOST, 1000.0, 0.0, "ann")
    assert not killed(core.tick(1000))


def test_a_drain_that_ended_has_no_deadline_any_more() -> None:
    core = running()
    drain(core, 100)
    undrain(core)
    drain(core)
    assert not killed(core.tick(200))


def test_the_deadline_waits_for_the_brake() -> None:
    core = running(10)
    tasks = [instance.task_id for instance in core.machine.state.with_task()]
    drain(core, 100)
    brake = core.machine.state.brake
    for other in ("b1", "b2", "b3"):
        brake.lose(other, 4, 4, core.now)
    core.tick(0)
    assert brake.engaged
    assert not killed(core.tick(110))
    core.command(events.ReleaseBrake())
    assert sorted(killed(core.tick(5))) == sorted(tasks)


def test_runs_and_what_belongs_to_a_host_stay_until_the_deadline() -> None:
    core = Core()
    core.subscribe()
    core.command(events.PutJob(a_job("nightly"), create_only=True))
    core.command(events.StartRun("nightly"))
    [task] = core.run(an_offer("a1"))
    drain(core, 100)
    assert not core.instance(task).moving
    core.offer(an_offer("a2"))
    assert core.hosts() == ["a1"] and not core.instance(task).stopping
    assert killed(core.tick(100)) == [task]


def test_what_has_volumes_there_stays_until_the_deadline_and_waits_for_the_host_then() -> None:
    kept = [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]
    core = running(container={"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": kept})
    [instance] = core.machine.state.with_task()
    drain(core, 100)
    core.offer(an_offer("a2"))
    assert not instance.moving and core.hosts() == ["a1"]
    assert killed(core.tick(100)) == [instance.task_id]
    core.status(instance.task_id, "KILLED")
    assert not used(core.offer(an_offer("a1"), an_offer("a2")))
    [refusal] = core.machine.state.launches["/prime"].refusals.values()
    assert refusal.note == f"{HOST} is drained"
    assert of(actions.Revive, undrain(core)), "what was declined for long is offered anew"
    assert used(core.offer(an_offer("a1"))) == ["a1"]


def test_one_on_each_host_ends_on_a_drained_host_at_once_and_begins_there_again() -> None:
    core = Core()
    core.subscribe()
    core.put(an_app(eratos={"perHost": True}))
    core.offer(an_offer("a1"), an_offer("a2"))
    core.run(an_offer("a1"), an_offer("a2"))
    [there] = [instance for instance in core.machine.state.with_task() if instance.agent_id == "a1"]
    assert killed(drain(core)) == [there.task_id]
    core.status(there.task_id, "KILLED")
    app = core.machine.state.apps["/prime"]
    [lacking] = per_host.lacking(core.machine.state, app)
    assert (lacking.host, lacking.message) == (HOST, "it is drained")
    assert per_host.expected(core.machine.state, app) == 1
    undrain(core)
    assert used(core.offer(an_offer("a1"))) == ["a1"]


def test_a_later_leader_goes_on() -> None:
    core = running()
    drain(core, 100)
    later = later_leader(core)
    [instance] = later.machine.state.instances.values()
    assert instance.moving
    later.subscribe()
    assert not killed(later.tick(99))
    assert killed(later.tick(1)) == [instance.task_id]


def test_a_leader_that_comes_after_the_deadline_stops_what_is_left_once_it_is_subscribed() -> None:
    core = running()
    drain(core, 100)
    core.now += 200
    later = later_leader(core)
    [instance] = later.machine.state.instances.values()
    assert not killed(later.tick(0)) and not instance.stopping
    later.subscribe()
    assert killed(later.tick(5)) == [instance.task_id]


def test_drained_hosts_do_not_count_where_apps_are_evened_out() -> None:
    core = running(4)
    core.offer(an_offer("a2"))
    core.command(events.PutDrain("host-a2"))
    core.machine.state.connected = True
    rebalance.even_out(core.machine.step)
    assert not any(instance.moving for instance in core.machine.state.with_task())


def test_no_sweep_is_launched_on_a_drained_host_until_it_is_given_back() -> None:
    core = running()
    drain(core)
    core.handle(events.ExecutorLost("a1", "e1", 9))
    assert core.machine.state.sweeps
    assert not used(core.offer(an_offer("a1", executor=False)))
    undrain(core)
    assert used(core.offer(an_offer("a1", executor=False))) == ["a1"]


def test_a_host_that_is_not_known_and_a_drain_that_there_is_not_are_refused() -> None:
    core = Core()
    core.subscribe()
    core.tick(60)
    assert core.machine.state.suppressed
    for found in (drain(core), undrain(core)):
        assert [refuse.refusal for refuse in of(actions.Refuse, found)] == [actions.Refusal.NOT_FOUND]


def test_a_host_that_only_idles_is_asked_for_and_known_then() -> None:
    core = Core()
    core.subscribe()
    core.tick(60)
    assert of(actions.Revive, drain(core)), "offers show which agents there are"
    core.offer(an_offer("a1"))
    assert not of(actions.Refuse, drain(core))


@pytest.mark.parametrize("record", [DrainRecord(HOST, 1.0), DrainRecord(HOST, 1.0, 2.0, "somebody")])
def test_drains_come_back_as_they_were(record: DrainRecord) -> None:
    found = codec.decode_all([(DRAINS + HOST, codec.encode(DRAINS + HOST, record))])
    assert (found.drains, found.spoilt) == ((record,), {})


def test_what_is_out_of_reach_on_a_drained_host_is_replaced() -> None:
    core = running()
    [instance] = core.machine.state.with_task()
    core.status(instance.task_id, "UNREACHABLE")
    drain(core)
    assert used(core.offer(an_offer("a2"))) == ["a2"]
    assert instance.state is TaskState.UNREACHABLE
