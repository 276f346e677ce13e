"""Hosts of dead executors: swept by the next task of ours there, or by a sweep of their own."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import RECONCILIATION, Window
from eratos.scheduler.core.records import SWEEPS, Stored, SweepRecord
from eratos.scheduler.core.sweeps import APP_ID, ATTEMPTS_MOST, FIRST_S, KEPT_S, MOST_S, RESOURCES, wanted

HOST = "host-a1"
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


def test_a_real_task_does_as_well(core: Core) -> None:
    core.fail(task(core), **DEAD)
    out = core.tick(60)
    (again,) = [launch.task_id for accept in of(actions.Accept, core.offer(an_offer())) for launch in accept.launches]
    assert again.startswith("a.instance"), f"the app's own task alone is launched: {out}"
    assert the_need(core) is not None
    core.status(again, "STARTING", **SPOKE)
    assert the_need(core) is None


def test_a_real_task_that_never_starts_does_not(core: Core) -> None:
    core.fail(task(core), **DEAD)
    core.tick(60)
    (again,) = core.launch()
    core.fail(again, **DEAD)
    core.scale("/a", 0)
    assert sweeps(core.offer(an_offer()))


@pytest.mark.parametrize("update", [{"reason": RECONCILIATION, "source": "SOURCE_MASTER"}, {"source": "SOURCE_MASTER"}])
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
    (launch,) = sweeps(core.offer(an_offer()))
    core.handle(events.NotLaunched((launch.task_id,)))
    (again,) = sweeps(core.offer(an_offer()))
    assert again.task_id == launch.task_id, "what was never sent is no attempt"


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
