"""Hosts of dead executors: swept by the next task of ours there, or by a sweep of their own."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.common import names
from eratos.scheduler.core import actions, events
from eratos.scheduler.core import offers as offering
from eratos.scheduler.core import sweeps as sweeping
from eratos.scheduler.core.mesos_types import RECONCILIATION, Window
from eratos.scheduler.core.records import SWEEPS, Stored, SweepRecord
from eratos.scheduler.core.sweeps import APP_ID, ATTEMPTS_MOST, FIRST_S, KEPT_S, MOST_S, RESOURCES, wanted, why
from eratos.scheduler.core.timers import TimerKind

HOST = "host-a1"
LEAD_S = a_machine().step.settings.maintenance_lead_s
DEAD: dict[str, Any] = {"source": "SOURCE_AGENT", "reason": "REASON_EXECUTOR_TERMINATED"}
SPOKE: dict[str, Any] = {"source": "SOURCE_EXECUTOR"}


@pytest.fixture
def core() -> Core:
    """An app of one instance, which runs on a1."""
    core = Core()
    core.subscribe()
    core.put(an_app("/a", 1))
    core.run()
    return core


def task(core: Core) -> str:
    return next(instance.task_id for instance in core.machine.state.with_task())


def die_unwanted(core: Core) -> list[actions.Action]:
    """Have the app be scaled to nothing, and its executor die before it can stop the task."""
    core.scale("/a", 0)
    return core.fail(task(core), **DEAD)


def sweeps(out: list[actions.Action]) -> list[actions.Launch]:
    launches = [launch for accept in of(actions.Accept, out) for launch in accept.launches]
    return [launch for launch in launches if launch.payload.sweeps]


def the_need(core: Core) -> SweepRecord | None:
    return core.machine.state.sweeps.get(HOST)


def another_leader(core: Core) -> Core:
    """Have another scheduler take over from what is stored."""
    state = core.machine.state
    stored = Stored("fw1", apps=tuple(state.apps.values()), sweeps=tuple(state.sweeps.values()))
    other = Core(a_machine(stored, core.now, first_id=50), core.now)
    other.subscribe()
    return other


def test_a_host_whose_executor_died_is_swept_out_of_its_next_offer(core: Core) -> None:
    out = die_unwanted(core)
    assert SWEEPS + HOST in [put.key for put in of(actions.Put, out)]
    assert of(actions.Revive, out), "offers are asked for, though no app waits"
    out = core.offer(an_offer())
    (launch,) = sweeps(out)
    assert (launch.payload.resources, launch.payload.app_id) == (RESOURCES, APP_ID)
    stored = next(action.record for action in of(actions.Put, out) if action.key == SWEEPS + HOST)
    assert isinstance(stored, SweepRecord) and stored.task_id == launch.task_id, "it is stored before it is launched"


def test_a_sweep_that_has_ended_is_forgotten_and_offers_are_wanted_no_longer(core: Core) -> None:
    die_unwanted(core)
    (launch,) = sweeps(core.offer(an_offer()))
    core.status(launch.task_id, "RUNNING", **SPOKE)
    assert the_need(core) is not None
    out = core.status(launch.task_id, "FINISHED", **SPOKE)
    assert the_need(core) is None
    assert [forget.key for forget in of(actions.Forget, out)] == [SWEEPS + HOST]
    assert of(actions.Suppress, out)
    assert not sweeps(core.offer(an_offer()))


def test_a_sweep_is_no_app_and_no_unknown_task(core: Core) -> None:
    die_unwanted(core)
    (launch,) = sweeps(core.offer(an_offer()))
    out = core.status(launch.task_id, "RUNNING", **SPOKE)
    state = core.machine.state
    assert not state.unknown and not state.instances and list(state.apps) == ["/a"]
    assert not of(actions.Kill, out + core.tick(30))


@pytest.mark.parametrize(
    ("ended", "needed"),
    [
        ({"state": "FAILED", "source": "SOURCE_AGENT"}, True),
        ({"state": "LOST", "source": "SOURCE_SLAVE"}, True),
        ({"state": "FAILED", "source": "SOURCE_EXECUTOR"}, False),
        ({"state": "GONE", "source": "SOURCE_MASTER"}, False),
    ],
)
def test_an_executor_is_dead_where_its_agent_tells_of_a_tasks_end(core: Core, ended: dict[str, str], needed: bool) -> None:
    core.fail(task(core), **ended)
    assert (the_need(core) is not None) is needed


def test_an_executor_that_never_spoke_leaves_nothing(core: Core) -> None:
    core.scale("/a", 2)
    (begun,) = core.launch(an_offer(agent="a2"))
    core.fail(begun, **DEAD)
    assert not core.machine.state.sweeps


def test_a_task_that_is_not_known_any_more_tells_of_a_dead_executor_as_well(core: Core) -> None:
    core.status("old.instance-1._app.1", "FAILED", **DEAD)
    assert the_need(core) is not None


@pytest.mark.parametrize(("status", "needed"), [(9, True), (0, False)])
def test_an_executor_without_tasks_that_dies_has_its_host_swept(core: Core, status: int, needed: bool) -> None:
    core.handle(events.ExecutorLost("a1", "e", status))
    assert (the_need(core) is not None) is needed


@pytest.mark.parametrize("told", [lambda core: core.status("old.instance-1._app.1", "FAILED", **DEAD), None])
def test_a_death_on_an_agent_that_a_new_leader_has_not_seen_is_kept_until_it_offers(told: Any) -> None:
    core = Core()
    core.subscribe()
    if told is not None:
        told(core)
    else:
        core.handle(events.ExecutorLost("a1", "e", 9))
    (kept,) = core.machine.state.sweeps.values()
    core = another_leader(core)
    out = core.offer(an_offer())
    (launch,) = sweeps(out)
    assert launch.task_id == names.task_id(kept.sweep_id, 1)
    assert [forget.key for forget in of(actions.Forget, out)] == [SWEEPS + "a1"]
    assert list(core.machine.state.sweeps) == [HOST]


def test_it_is_swept_once_where_the_host_was_known_by_another_agent(core: Core) -> None:
    core.fail(task(core), **DEAD)
    core.handle(events.ExecutorLost("a9", "e", 9))
    known = the_need(core)
    assert known is not None and core.machine.state.sweeps.keys() == {HOST, "a9"}
    core.offer(an_offer(agent="a9", hostname=HOST, cpus=0.001))
    assert core.machine.state.sweeps == {HOST: known}


@pytest.mark.parametrize("wait_s", [0, 60])
def test_a_real_task_does_as_well(core: Core, wait_s: float) -> None:
    core.tick(3600)  # it has run well, so that it is replaced at once
    core.fail(task(core), **DEAD)
    out = core.tick(wait_s)
    (again,) = [launch.task_id for accept in of(actions.Accept, core.offer(an_offer())) for launch in accept.launches]
    assert again.startswith("a.instance"), f"the app's own task alone is launched: {out}"
    assert the_need(core) is not None
    assert not sweeps(core.offer(an_offer())), "that task has not spoken yet"
    core.status(again, "STARTING", **SPOKE)
    assert the_need(core) is None


def test_a_real_task_that_never_starts_does_not(core: Core) -> None:
    core.fail(task(core), **DEAD)
    core.tick(60)
    (again,) = core.launch()
    core.fail(again, **DEAD)
    core.scale("/a", 0)
    assert sweeps(core.offer(an_offer()))


@pytest.mark.parametrize(
    "update",
    [{"reason": RECONCILIATION, "source": "SOURCE_MASTER"}, {"source": "SOURCE_MASTER"}, {"reason": RECONCILIATION, **SPOKE}, {}],
)
def test_what_the_master_says_of_a_task_does_not_speak_for_an_executor(core: Core, update: dict[str, Any]) -> None:
    core.fail(task(core), **DEAD)
    core.tick(60)
    (again,) = core.launch()
    core.status(again, "STAGING", **update)
    core.status(again, "RUNNING", **update)
    assert the_need(core) is not None


def test_a_task_from_before_the_death_does_not_either(core: Core) -> None:
    core.scale("/a", 2)
    (before,) = core.launch()
    core.tick(1)
    core.handle(events.ExecutorLost("a1", "e", 9))
    core.status(before, "STARTING", **SPOKE)
    assert the_need(core) is not None


def test_it_is_launched_again_later_and_later_and_given_up_in_the_end(core: Core) -> None:
    die_unwanted(core)
    for attempt in range(ATTEMPTS_MOST):
        (launch,) = sweeps(core.offer(an_offer()))
        assert launch.task_id.endswith(f"._app.{attempt + 1}")
        core.status(launch.task_id, "FAILED", **DEAD)
        wait_s = min(FIRST_S * 2**attempt, MOST_S)
        core.tick(wait_s - 1)
        assert not sweeps(core.offer(an_offer()))
        out = core.tick(1)
        if attempt < ATTEMPTS_MOST - 1:
            assert of(actions.Revive, out), "what was declined for long is asked for again"
    assert the_need(core) is None
    assert [notice.level for notice in core.decision.notices] == ["error"]


def test_a_host_that_does_not_come_back_is_waited_for_for_a_week(core: Core) -> None:
    die_unwanted(core)
    core.tick(KEPT_S - 1)
    assert the_need(core) is not None
    core.tick(1)
    assert the_need(core) is None


def test_a_launch_that_reached_nobody_is_repeated_at_once(core: Core) -> None:
    die_unwanted(core)
    (launch,) = sweeps(core.offer(an_offer()))
    core.status(launch.task_id, "DROPPED", source="SOURCE_MASTER")
    assert the_need(core).launched_at == 0  # type: ignore[union-attr]
    (launch,) = sweeps(core.offer(an_offer()))
    for _ in range(2):
        core.handle(events.NotLaunched((launch.task_id, "other.instance-1._app.1")))
        assert the_need(core).launched_at == 0  # type: ignore[union-attr]
    (again,) = sweeps(core.offer(an_offer()))
    assert again.task_id == launch.task_id, "what was never sent is no attempt"


def test_it_is_asked_for_although_offers_are_wanted_for_another_host_already(core: Core) -> None:
    core.handle(events.ExecutorLost("a7", "e", 9))
    core.offer(an_offer())  # of no use for a7, so it is declined for long
    assert of(actions.Revive, die_unwanted(core))


def test_one_that_waits_for_its_host_is_not_in_the_way_of_others(core: Core) -> None:
    core.scale("/a", 0)
    for agent in ("a5", "a6", "a7"):
        core.offer(an_offer(agent=agent, cpus=0.001))
        core.handle(events.ExecutorLost(agent, "e", 9))
    (first,) = sweeps(core.offer(an_offer(agent="a5")))
    # The one of a5 is under way, and nothing is offered of a6.
    (second,) = sweeps(core.offer(an_offer(agent="a5"), an_offer(agent="a7")))
    assert first.payload.instance_id != second.payload.instance_id


def test_one_of_the_agents_of_a_host_takes_it(core: Core) -> None:
    die_unwanted(core)
    agents = [an_offer(agent="a1", cpus=0.001), an_offer(agent="a8", hostname=HOST), an_offer(agent="a9", hostname=HOST)]
    assert len(sweeps(core.offer(*agents))) == 1


def test_what_is_no_sweeps_task_is_unknown_as_ever(core: Core) -> None:
    die_unwanted(core)
    core.status("b.instance-1._app.1", "RUNNING", **SPOKE)
    assert "b.instance-1._app.1" in core.machine.state.unknown


def test_nothing_is_to_do_for_one_that_waits_for_an_offer_until_it_is_given_up(core: Core) -> None:
    die_unwanted(core)
    due = [timer for timer in core.machine.step.timers.pop_due(core.now + KEPT_S - 1) if timer.kind is TimerKind.SWEEP]
    assert not due


def test_it_says_what_it_waits_for(core: Core) -> None:
    die_unwanted(core)
    state = core.machine.state

    def said() -> str:
        record = the_need(core)
        assert record is not None
        return why(state, record, core.now)

    assert "for an offer with 0.01 CPUs" in said()
    state.brake.engaged_at = core.now
    assert "until the brake is released" in said()
    state.brake.engaged_at = 0.0
    core.offer(an_offer())
    assert "was launched" in said()
    core.tick(FIRST_S)
    assert "for an offer" in said()


def test_a_new_leader_goes_on_with_it(core: Core) -> None:
    die_unwanted(core)
    core = another_leader(core)
    (launch,) = sweeps(core.offer(an_offer()))
    core = another_leader(core)
    assert not sweeps(core.offer(an_offer())), "one is under way"
    core.status(launch.task_id, "RUNNING", reason=RECONCILIATION, uuid="")
    assert not core.machine.state.unknown
    core.tick(FIRST_S)
    assert sweeps(core.offer(an_offer()))
    core.status(launch.task_id, "FINISHED", **SPOKE)
    assert the_need(core) is None


def test_an_executor_of_the_version_before_cannot_read_it_and_is_there(core: Core) -> None:
    die_unwanted(core)
    (launch,) = sweeps(core.offer(an_offer()))
    core.status(launch.task_id, "ERROR", source="SOURCE_MASTER")
    assert the_need(core) is not None
    core.status(launch.task_id, "ERROR", **SPOKE)
    assert the_need(core) is None


def test_deaths_while_a_sweep_is_due_need_no_other_one(core: Core) -> None:
    core.scale("/a", 2)
    core.run()
    first, second = (instance.task_id for instance in core.machine.state.with_task())
    core.scale("/a", 0)
    core.fail(first, **DEAD)
    (launch,) = sweeps(core.offer(an_offer()))
    core.fail(second, **DEAD)
    assert the_need(core).task_id == launch.task_id  # type: ignore[union-attr]


@pytest.mark.parametrize("held", [True, False])
def test_nothing_that_serves_is_removed_while_the_brake_is_engaged(core: Core, held: bool) -> None:
    die_unwanted(core)
    core.machine.state.brake.engaged_at = core.now if held else 0.0
    record = the_need(core)
    assert record is not None and wanted(core.machine.step, record) is not held


@pytest.mark.parametrize(
    "offer",
    [
        an_offer(cpus=0.01, mem=32),
        an_offer(window=Window(1000.0 + LEAD_S + 0.1)),
        an_offer(window=Window(900.0, 1000.0)),
    ],
)
def test_it_takes_an_offer_that_is_just_enough_and_not_in_maintenance_yet_or_any_more(core: Core, offer: Any) -> None:
    die_unwanted(core)
    assert sweeps(core.offer(offer))


@pytest.mark.parametrize(
    "offer",
    [
        an_offer(cpus=0.009),
        an_offer(mem=31),
        an_offer(window=Window(1000.0 + LEAD_S)),
        an_offer(agent="a2"),
        an_offer(cpus=0.109, mem=2048, executor=False),
        an_offer(cpus=0.2, mem=64 + 31, executor=False),
        an_offer(window=Window(1000.0)),
    ],
)
def test_it_waits_for_an_offer_of_its_host_with_room_and_without_maintenance(core: Core, offer: Any) -> None:
    die_unwanted(core)
    assert not sweeps(core.offer(offer))
    assert the_need(core) is not None


def broken_hosts(out: list[Any]) -> list[str]:
    return [notice.fields["host"] for notice in out if notice.level == "error"]


def test_a_sweep_that_is_broken_is_named_once_and_keeps_nothing_else_from_its_offers(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = core.machine.step
    for host in (HOST, "host-a2"):
        core.machine.state.sweeps[host] = SweepRecord(host, f"s-{host}", core.now)
    step.out.notices.clear()

    def broken(step: Any, record: SweepRecord) -> bool:
        raise IndexError(record.hostname)

    with monkeypatch.context() as patched:
        patched.setattr(sweeping, "wanted", broken)
        for _ in range(2):
            offering.ask(step)
            assert list(sweeping.place(step, {})) == []
    assert broken_hosts(step.out.notices) == [HOST, "host-a2"], "each is named, and once"
    assert list(sweeping.place(step, {})) == []
    step.out.notices.clear()
    monkeypatch.setattr(sweeping, "wanted", broken)
    assert list(sweeping.place(step, {})) == []
    assert broken_hosts(step.out.notices) == [HOST, "host-a2"], "it was mended in between"
    assert not core.machine.state.launches.keys() & {HOST, "host-a2"}
