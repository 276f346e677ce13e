"""Instances whose volumes follow: what a drain, maintenance and rebalancing have moved, in turn, and what ends that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partialmethod
from typing import Any

import pytest
from support.builders import a_status, an_app, an_offer
from support.core import of
from support.kept_core import Kept

from eratos.marathon.app import App
from eratos.scheduler.api.drains import shown
from eratos.scheduler.api.explain import explain
from eratos.scheduler.core import actions, events, move_hosts, move_status, rebalance
from eratos.scheduler.core.following import FORGET_S
from eratos.scheduler.core.mesos_types import InverseOffer, Window
from eratos.scheduler.core.moves import AGAIN_MOST_S, AGAIN_S, HOST_S
from eratos.scheduler.core.records import VOLUMES, MoveCause, VolumeRecord, VolumeState
from eratos.scheduler.core.state import MovePhase
from eratos.scheduler.core.volumes import LOOK_S

HOST = "host-a1"
FOLLOWS = {"follow": "copy"}


def db(app_id: str = "/db", instances: int = 1, **fields: Any) -> App:
    kept = [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]
    container = {"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": kept}
    return an_app(app_id, instances, container=container, **{"eratos": FOLLOWS} | fields)


class Cluster(Kept):
    """A core whose databases run on a1, and which knows a2."""

    def __init__(self, *apps: App) -> None:
        super().__init__()
        self.put(*(apps or (db(),)))
        self.run(an_offer("a1"))
        self.tick(LOOK_S)
        self.offer(an_offer("a2"))

    def run(self, *offers: Any) -> list[str]:
        tasks = self.launch(*offers)
        for task in tasks:
            self.status(task, "RUNNING", agent=self.instance(task).agent_id)
        return tasks

    def drain(self, deadline_s: float | None = None) -> list[actions.Action]:
        return self.command(events.PutDrain(HOST, deadline_s, "ann"))

    def undrain(self) -> list[actions.Action]:
        return self.command(events.DeleteDrain(HOST))

    def tasks(self, app_id: str = "/db", agent: str = "") -> list[str]:
        return [i.task_id for i in self.state.with_task() if i.app_id == app_id and agent in ("", i.agent_id)]

    def to(self, phase: MovePhase) -> str:
        """Bring the move of the only database to a phase; return the task that copies, if there is one by then."""
        (old,) = self.tasks()
        if phase is not MovePhase.HOST:
            self.offer(an_offer("a2"))
        if phase in (MovePhase.ROOM, MovePhase.COPY):
            self.status(old, "KILLED", agent="a1")
        copy = self.copied(an_offer("a2"))[0] if phase is MovePhase.COPY else ""
        (move,) = self.state.moves.values()
        assert move.phase is phase
        return copy

    def copied(self, *offers: Any) -> list[str]:
        """Return the tasks that are launched on some offers, each of which copies."""
        launches = [launch for accept in of(actions.Accept, self.offer(*offers)) for launch in accept.launches]
        assert all(launch.payload.copies for launch in launches)
        return [launch.task_id for launch in launches]

    def volumes(self, app_id: str = "/db") -> dict[tuple[str, VolumeState], VolumeRecord]:
        records = [record for record in self.state.volumes.values() if record.app_id == app_id]
        return {(record.hostname, record.state): record for record in records}

    def moved(self) -> set[tuple[object, ...]]:
        """Return what is stored of moves."""
        records = [record for key, record in self.store.items() if key.startswith(VOLUMES)]
        return {(r.volume_id, r.state, r.copy_of, r.move_since, r.move_begun, r.move_to, r.move_cause) for r in records}

    def begun(self) -> list[str]:
        return sorted({record.app_id for record in self.state.volumes.values() if record.move_begun})

    def shown(self) -> dict[str, Any]:
        return shown(self.state, HOST, self.now)

    def explained(self, app_id: str = "/db") -> dict[str, dict[str, Any]]:
        return {found["reason"]: found for found in explain(self.state, self.state.apps[app_id], self.now, {})["reasons"]}


def killed(out: list[actions.Action]) -> list[str]:
    return [kill.task_id for kill in of(actions.Kill, out)]


def test_a_drain_has_an_instance_moved_as_eratos_move_does_and_is_not_done_before_its_volumes_are_gone() -> None:
    core = Cluster()
    (old,) = core.tasks()
    assert not killed(core.drain()), "it runs on until there is room elsewhere"
    assert core.shown()["left"] == [{"task": old, "app": "/db", "state": "moving"}]
    assert killed(core.offer(an_offer("a1"), an_offer("a2"))) == [old]
    assert [left["state"] for left in core.shown()["left"]] == ["stopping"]
    core.status(old, "KILLED", agent="a1")
    assert [left["state"] for left in core.shown()["left"]] == ["copying"] and not core.shown()["empty"]
    (copy,) = core.copied(an_offer("a1"), an_offer("a2"))
    assert not core.shown()["empty"], "the data is still read there"
    core.status(copy, "FINISHED", agent="a2")
    assert core.shown()["empty"] and not core.shown()["waits"]
    assert core.run(an_offer("a2")) == core.tasks(agent="a2")
    assert set(core.volumes()) == {(HOST, VolumeState.LEFT), ("host-a2", VolumeState.MADE)}
    assert not core.state.moves and not of(actions.DestroyVolume, core.tick(3600)), "the source is kept"


@pytest.mark.parametrize("phase", list(MovePhase))
def test_a_next_leader_goes_on_with_the_same_move_and_begins_no_second_one(phase: MovePhase) -> None:
    core = Cluster()
    core.drain()
    copy = core.to(phase)
    before = core.moved()
    core.fail_over()
    core.offer(an_offer("a1"))
    for _ in range(3):
        core.tick(LOOK_S)
    assert core.moved() == before
    (move,) = core.state.moves.values()
    assert move.phase is phase
    if phase is not MovePhase.COPY:
        old = next(iter(core.tasks()), "")
        core.offer(an_offer("a2"))
        if old:
            core.status(old, "KILLED", agent="a1")
        (copy,) = core.copied(an_offer("a2")) or [r.task_id for r in core.volumes().values() if r.copy_of]
    core.status(copy, "FINISHED", agent="a2")
    assert core.run(an_offer("a2")) and set(core.volumes()) == {(HOST, VolumeState.LEFT), ("host-a2", VolumeState.MADE)}


def test_without_the_setting_it_stays_where_it_is_and_the_drain_says_so() -> None:
    core = Cluster(db(eratos={}))
    core.drain()
    core.offer(an_offer("a2"))
    assert not core.state.moves
    assert [left["state"] for left in core.shown()["left"]] == ["staying"]
    (said,) = core.shown()["waits"]
    how = 'eratos move /db takes it elsewhere with copies, as a drain does with "eratos": {"follow": "copy"}'
    assert said == {"app": "/db", "message": f"its volumes are there: {how}"}


def test_without_room_it_runs_on_without_end_and_says_what_is_missing() -> None:
    core = Cluster()
    (old,) = core.tasks()
    core.drain(10 * HOST_S)
    core.offer(an_offer("a2", cpus=0.01))
    core.tick(5 * HOST_S)
    (said,) = core.shown()["waits"]
    way = "moves away from host-a1, as host-a1 is drained: runs on until another host offers room for it; cpus: "
    assert said["message"].startswith(way)
    reason = core.explained()["VolumeMove"]
    assert reason["message"] == said["message"] and reason["until"] == core.shown()["deadline"]
    assert core.tasks() == [old]


def test_at_the_deadline_it_is_stopped_the_drain_is_done_and_it_is_still_copied_if_there_is_room() -> None:
    core = Cluster()
    (old,) = core.tasks()
    core.drain(100)
    assert killed(core.tick(100)) == [old]
    core.status(old, "KILLED", agent="a1")
    assert core.shown()["empty"]
    assert "waits until another host offers room" in core.explained()["VolumeMove"]["message"]
    (copy,) = core.copied(an_offer("a1"), an_offer("a2"))
    core.status(copy, "FINISHED", agent="a2")
    assert core.run(an_offer("a2"))


def test_undrained_before_it_was_stopped_it_runs_on_as_if_nothing_had_been() -> None:
    core = Cluster()
    core.drain()
    assert core.state.moves
    core.undrain()
    assert not core.state.moves and [record.message for record in core.volumes().values()] == [""]
    assert not killed(core.offer(an_offer("a1"), an_offer("a2")))
    assert not core.state.failed_moves


@pytest.mark.parametrize("phase", [MovePhase.STOP, MovePhase.ROOM, MovePhase.COPY])
def test_undrained_in_the_middle_it_comes_back_to_its_source(phase: MovePhase) -> None:
    core = Cluster()
    (old,) = core.tasks()
    core.drain()
    copy = core.to(phase)
    assert (copy in killed(core.undrain())) == bool(copy)
    if phase is MovePhase.STOP:
        core.status(old, "KILLED", agent="a1")
    assert not core.state.moves and not core.state.failed_moves
    assert "host-a1 is drained no longer" in core.explained()["VolumeMoveFailed"]["message"]
    assert core.run(an_offer("a1"), an_offer("a2")) == core.tasks(agent="a1")


def test_a_user_has_it_moved_whatever_becomes_of_the_drain() -> None:
    core = Cluster()
    core.drain()
    core.command(events.MoveVolumes("/db", hostname="host-a2"))
    assert {move_status.cause(core.state, slot) for slot in core.state.moves} == {MoveCause.USER}
    core.undrain()
    assert killed(core.offer(an_offer("a2"))) == core.tasks()


def test_a_user_does_not_take_over_what_has_begun() -> None:
    core = Cluster()
    core.drain()
    core.to(MovePhase.STOP)
    assert of(actions.Refuse, core.command(events.MoveVolumes("/db", hostname="host-a2")))


def test_a_move_that_would_be_begun_again_is_not_cancelled() -> None:
    core = Cluster()
    core.drain()
    (refused,) = of(actions.Refuse, core.command(events.CancelMoves("/db")))
    assert "eratos agent undrain" in refused.message and "eratos.follow" in refused.message
    core.to(MovePhase.ROOM)
    core.put(db(eratos={}))
    assert core.state.moves, "what has begun goes on"
    assert not of(actions.Refuse, core.command(events.CancelMoves("/db")))
    assert not core.state.moves


def test_the_setting_replaces_no_instance_and_counts_at_once() -> None:
    core = Cluster(db(eratos={}))
    tasks = core.tasks()
    core.drain()
    core.put(db())
    assert core.tasks() == tasks and len(core.state.moves) == 1
    core.put(db(eratos={}))
    assert core.tasks() == tasks and not core.state.moves


def test_instances_of_one_app_move_one_after_another_and_as_many_stay_ready_as_for_a_rollout() -> None:
    core = Cluster(db(instances=2))
    core.drain()
    both = core.tasks()
    assert len(core.state.moves) == 2
    (first,) = killed(core.offer(an_offer("a2"), an_offer("a3")))
    (second,) = set(both) - {first}
    waits = core.shown()["waits"]
    assert any("another instance of the app moves first" in said["message"] for said in waits)
    core.status(first, "KILLED", agent="a1")
    ((copy, agent),) = [
        (launch.task_id, accept.agent_id)
        for accept in of(actions.Accept, core.offer(an_offer("a2"), an_offer("a3")))
        for launch in accept.launches
    ]
    core.status(copy, "FINISHED", agent=agent)
    (started,) = core.launch(an_offer(agent))
    assert not killed(core.offer(an_offer("a2"), an_offer("a3"))), "the first one is not ready yet"
    assert any("1 of the app's instances must stay ready" in said["message"] for said in core.shown()["waits"])
    core.status(started, "RUNNING", agent=agent)
    assert killed(core.offer(an_offer("a2"), an_offer("a3"))) == [second]


def test_few_move_away_from_one_host_at_a_time_and_what_has_no_room_keeps_nobody_waiting() -> None:
    large = db("/a", constraints=[["hostname", "LIKE", "host-a1"]])
    core = Cluster(large, *(db(app_id) for app_id in ("/b", "/c", "/d")))
    core.drain()
    assert len(core.state.moves) == 4
    core.offer(an_offer("a2"))
    assert len(core.begun()) == move_hosts.FROM_HOST_MOST and "/a" not in core.begun()
    (last,) = {"/b", "/c", "/d"} - set(core.begun())
    assert "2 others move away from host-a1 first" in core.explained(last)["VolumeMove"]["message"]
    for app_id in core.begun():
        core.status(core.tasks(app_id)[0], "KILLED", agent="a1")
    for copy in core.copied(an_offer("a2")):
        core.status(copy, "FINISHED", agent="a2")
    core.run(an_offer("a2"))
    core.offer(an_offer("a2"))
    assert core.begun() == [last]


def test_while_it_is_deployed_it_is_not_stopped_for_a_move() -> None:
    core = Cluster(db(instances=2, upgradeStrategy={"minimumHealthCapacity": 0, "maximumOverCapacity": 0}))
    core.put(db(instances=2, cpus=0.2, dependencies=["/away"]), an_app("/away", cpus=100))
    core.drain()
    assert core.state.changes and core.state.moves
    assert not killed(core.offer(an_offer("a2")))
    assert "the app is being deployed by" in core.explained()["VolumeMove"]["message"]


FULL = "Docker: write /data/rows: no space left on device"


def test_a_copy_that_fails_leaves_the_source_and_is_tried_again_on_another_host_if_there_is_one() -> None:
    core = Cluster()
    core.drain()
    copy = core.to(MovePhase.COPY)
    core.status(copy, "FAILED", agent="a2", message=FULL)
    source = core.volumes()[(HOST, VolumeState.MADE)]
    assert FULL in source.message and (source.move_since, source.task_id) == (0.0, "")
    assert FULL in core.explained()["VolumeMoveFailed"]["message"] and "until" in core.explained()["VolumeMoveFailed"]
    assert [left["state"] for left in core.shown()["left"]] == ["waiting"]
    (said,) = [found for found in core.shown()["waits"] if FULL in found["message"]]
    assert "it is tried again at" in said["message"]
    assert not core.launch(an_offer("a1"), an_offer("a2")), "nothing starts on a drained host"
    core.tick(AGAIN_S - 1)
    assert not core.state.moves
    core.tick(1)
    assert FULL in core.explained()["VolumeMove"]["message"], "and it still says why it is tried again"
    (copy,) = core.copied(an_offer("a2", cpus=9), an_offer("a3"))
    assert {record.move_to for record in core.volumes().values() if record.move_begun} == {"host-a3"}
    core.status(copy, "FINISHED", agent="a3")
    assert core.run(an_offer("a3")) and not core.state.failed_moves


def test_it_is_tried_again_twice_as_late_each_time_up_to_a_bound() -> None:
    core = Cluster()
    core.drain()
    copy, waited = core.to(MovePhase.COPY), []
    for _ in range(9):
        core.status(copy, "FAILED", agent="a2", message=FULL)
        (failed,) = core.state.failed_moves.values()
        waited.append(failed.again_at - core.now)
        core.tick(failed.again_at - core.now)
        (copy,) = core.copied(an_offer("a2"))
    assert waited == [AGAIN_S * 2**n for n in range(6)] + [AGAIN_MOST_S] * 3


def test_undrained_after_a_copy_failed_it_starts_at_its_source() -> None:
    core = Cluster()
    core.drain()
    core.status(core.to(MovePhase.COPY), "FAILED", agent="a2", message=FULL)
    core.undrain()
    assert core.run(an_offer("a1"), an_offer("a2")) == core.tasks(agent="a1")
    core.tick(10 * AGAIN_MOST_S)
    assert not core.state.moves


def test_what_crashed_on_a_drained_host_goes_too() -> None:
    core = Cluster()
    core.drain()
    core.status(core.tasks()[0], "FAILED", agent="a1")
    assert [left["state"] for left in core.shown()["left"]] == ["waiting"]
    assert core.copied(an_offer("a1"), an_offer("a2"))


def test_a_host_that_is_lost_has_nothing_moved_drained_or_not() -> None:
    core = Cluster()
    (task,) = core.tasks()
    core.status(task, "UNREACHABLE", agent="a1")
    core.handle(events.AgentLost("a1"))
    core.tick(LOOK_S)
    assert not core.state.moves and not core.state.brake.engaged, "an unplanned loss"
    core.drain()
    core.tick(LOOK_S)
    core.offer(an_offer("a2"))
    assert not core.state.moves


def test_a_source_that_is_lost_ends_the_move_and_none_begins_before_it_is_back() -> None:
    core = Cluster()
    core.drain()
    core.to(MovePhase.ROOM)
    core.handle(events.AgentLost("a1"))
    core.tick(LOOK_S)
    assert not core.state.moves and "its host host-a1 is away" in core.volumes()[(HOST, VolumeState.MADE)].message
    core.tick(AGAIN_MOST_S)
    assert not core.state.moves
    core.offer(an_offer("a1"))
    assert core.state.moves


def test_maintenance_by_the_masters_word_moves_it_too_and_the_host_is_free_once_its_volumes_are_gone() -> None:
    core = Cluster()
    window = Window(core.now + 10)
    inverse = events.InverseOffersReceived((InverseOffer("io1", "a1", window),))
    assert [answer.accept for answer in of(actions.AnswerInverse, core.handle(inverse))] == [False]
    assert {move_status.cause(core.state, slot) for slot in core.state.moves} == {MoveCause.MAINTENANCE}
    assert "as host-a1 is in maintenance" in core.explained()["VolumeMove"]["message"]
    copy = core.to(MovePhase.COPY)
    assert not core.tasks() and [answer.accept for answer in of(actions.AnswerInverse, core.handle(inverse))] == [False]
    core.status(copy, "FINISHED", agent="a2")
    assert [answer.accept for answer in of(actions.AnswerInverse, core.handle(inverse))] == [True]


def test_maintenance_that_is_far_away_moves_nothing_and_one_that_is_called_off_no_longer() -> None:
    core = Cluster()
    lead_s = core.machine.step.settings.maintenance_lead_s
    window = Window(core.now + lead_s + 10)
    core.offer(an_offer("a1", window=window))
    assert not core.state.moves
    core.tick(10)
    assert core.state.moves
    core.offer(an_offer("a1"))
    assert not core.state.moves


@pytest.mark.parametrize("called_off", [True, False])
def test_a_leader_that_does_not_know_yet_of_maintenance_begins_nothing_and_forgets_nothing(called_off: bool) -> None:
    core = Cluster()
    window = Window(core.now + 10)
    core.offer(an_offer("a1", window=window))
    core.fail_over()
    core.tick(1)
    assert not killed(core.offer(an_offer("a2")))
    assert "whether host-a1 is still to be emptied is not known yet" in core.explained()["VolumeMove"]["message"]
    core.offer(an_offer("a1", window=None if called_off else window))
    core.tick(LOOK_S)
    assert bool(core.state.moves) is not called_off
    assert bool(killed(core.offer(an_offer("a2")))) is not called_off


def test_a_drain_without_a_deadline_waits_for_the_error_budget_and_one_that_has_begun_goes_on() -> None:
    budget = {"errorBudget": {"objective": 99.9, "window": "1h"}}
    core = Cluster(db(labels={"HAPROXY_0_VHOST": "db.test"}, eratos=FOLLOWS | budget))
    core.drain()
    core.state.budgets["/db"] = spent = replaceable()
    core.tick(1)
    assert not core.state.moves
    assert [left["state"] for left in core.shown()["left"]] == ["staying"]
    spent.spent = False
    core.tick(1)
    assert core.state.moves
    core.to(MovePhase.ROOM)
    spent.spent = True
    core.tick(1)
    assert core.state.moves


def replaceable() -> Any:
    """Return a ledger whose budget is spent."""
    from eratos.scheduler.core.error_budget import Ledger

    ledger = Ledger()
    ledger.spent = True
    return ledger


def test_while_the_brake_is_engaged_no_move_is_asked_for() -> None:
    core = Cluster()
    brake = core.state.brake
    brake.lose("gone", 1, 1, core.now)
    brake.engaged_at = core.now
    core.drain()
    assert brake.engaged and not core.state.moves
    core.command(events.ReleaseBrake())
    assert core.state.moves


def crowd(**fields: Any) -> Cluster:
    """Return databases that all are on a1, beside a2 which has none."""
    core = Cluster(db(instances=3, **fields))
    core.machine.step.settings = replace(core.machine.step.settings, rebalance_budget=1)
    return core


def even_out(core: Cluster) -> None:
    rebalance.even_out(core.machine.step)
    core.tick(0)


def test_rebalancing_moves_one_at_a_time_to_the_host_that_has_least() -> None:
    core = crowd()
    even_out(core)
    (slot,) = core.state.moves
    assert move_status.cause(core.state, slot) is MoveCause.REBALANCE
    assert {record.move_to for record in core.state.volumes.values() if record.move_since} == {"host-a2"}
    even_out(core)
    assert len(core.state.moves) == 1
    (first,) = killed(core.offer(an_offer("a2")))
    core.status(first, "KILLED", agent="a1")
    (copy,) = core.copied(an_offer("a2"))
    core.status(copy, "FINISHED", agent="a2")
    core.run(an_offer("a2"))
    even_out(core)
    assert core.hosts() == ["a1", "a1", "a2"] and not core.state.moves, "no host has two more than another"


def test_rebalancing_leaves_what_does_not_follow_and_what_failed_of_late_and_may_be_cancelled() -> None:
    core = crowd(eratos={})
    even_out(core)
    assert not core.state.moves
    core = crowd()
    even_out(core)
    assert not of(actions.Refuse, core.command(events.CancelMoves("/db")))
    even_out(core)
    assert not core.state.moves
    core.tick(AGAIN_S + AGAIN_MOST_S)
    even_out(core)
    assert not core.state.moves, "the host to which it failed is not tried again"
    core.offer(an_offer("a3"))
    even_out(core)
    assert {record.move_to for record in core.state.volumes.values() if record.move_since} == {"host-a3"}


def test_the_budget_of_rebalancing_is_for_the_moves_of_all_apps() -> None:
    core = Cluster(db("/a", 3), db("/b", 3))
    core.machine.step.settings = replace(core.machine.step.settings, rebalance_budget=1)
    for _ in range(3):
        even_out(core)
    assert [move.app_id for move in core.state.moves.values()] == ["/a"]


def test_evening_out_is_not_tried_again_for_long_and_a_failure_is_not_remembered_for_ever() -> None:
    core = crowd()
    even_out(core)
    core.command(events.CancelMoves("/db"))
    core.offer(an_offer("a3"))
    core.tick(AGAIN_S + AGAIN_MOST_S - 1)
    even_out(core)
    assert not core.state.moves, "its instance would be stopped for it again"
    core.tick(FORGET_S)
    assert not core.state.failed_moves
    even_out(core)
    assert core.state.moves


def test_a_drain_comes_before_evening_out_and_may_go_anywhere() -> None:
    core = crowd()
    even_out(core)
    core.drain()
    assert {move_status.cause(core.state, slot) for slot in core.state.moves} == {MoveCause.MAINTENANCE}
    assert {record.move_to for record in core.state.volumes.values()} == {""} and len(core.state.moves) == 3


def test_a_move_to_even_out_ends_where_its_host_has_no_room() -> None:
    core = crowd()
    even_out(core)
    core.offer(an_offer("a2", cpus=0.01))
    core.tick(HOST_S)
    assert not core.state.moves and len(core.tasks()) == 3


def unplanned(core: Cluster) -> None:
    core.status(core.tasks()[0], "FAILED", agent="a1")


def killed_by_user(core: Cluster) -> None:
    core.command(events.KillInstances((core.instance(core.tasks()[0]).instance_id,), False, True, False))


@pytest.mark.parametrize("happens", [unplanned, killed_by_user])
def test_what_ends_on_a_host_that_is_not_emptied_comes_back_there(happens: Callable[[Cluster], None]) -> None:
    core = Cluster()
    happens(core)
    core.tick(60)
    core.offer(an_offer("a2"))
    assert not core.state.moves


class Unsearched(dict[str, Any]):
    """Agents by id, of which each may be looked up, and not all be looked at."""

    def __iter__(self) -> Any:
        raise AssertionError("a decision looked at every agent that there is")

    items = keys = values = __iter__  # type: ignore[assignment]


@pytest.mark.parametrize("follow", [FOLLOWS, {}])
def test_no_decision_about_a_drained_host_looks_at_all_agents(follow: dict[str, str]) -> None:
    core = Cluster(db(eratos=follow))
    core.drain()
    core.state.agents = Unsearched(core.state.agents)
    (old,) = core.tasks()
    for event in (
        events.Tick(),
        events.OffersReceived((an_offer("a1"), an_offer("a2"))),
        events.StatusChanged(a_status(old, "KILLED")),
        events.OffersReceived((an_offer("a1"), an_offer("a2"))),
        events.Tick(),
    ):
        core.machine.handle(event, core.now)
    core.shown()


def test_what_a_move_has_to_wait_for_is_found_once_for_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, records = Counter[int](), move_status.records
    counts = []
    for number in (10, 40):
        core = Cluster(*(db(f"/db{n}", cpus=0.1, mem=32) for n in range(number)))
        core.drain()
        looked.clear()
        monkeypatch.setattr(move_status, "records", lambda state, slot: looked.update([0]) or records(state, slot))
        core.offer(an_offer("a3", cpus=0.001))
        monkeypatch.undo()
        assert len(core.state.moves) == number
        counts.append(looked[0])
    assert counts[1] <= 4 * counts[0], "it costs by the moves, not by the pairs of them"


def test_moves_that_begin_together_do_not_all_go_to_the_host_with_most_room() -> None:
    core = Cluster(db("/x", cpus=1), db("/y", cpus=1))
    core.drain()
    core.offer(an_offer("a2", cpus=1.9), an_offer("a3", cpus=1.5))
    assert {record.move_to for record in core.state.volumes.values()} == {"host-a2", "host-a3"}


@pytest.mark.parametrize("ended", [False, True])
def test_a_move_leaves_the_room_of_one_that_began_before(ended: bool) -> None:
    """Its instance would be stopped, and wait for what the other one takes."""
    core = Cluster(db("/x", cpus=1), db("/y", cpus=1))
    core.drain()
    core.offer(an_offer("a2", cpus=1.9))
    (first,) = core.begun()
    if ended:
        core.status(core.tasks(first)[0], "KILLED", agent="a1")
    else:
        core.offer(an_offer("a2", cpus=1.9))
        assert core.begun() == [first]
        (waiting,) = [move for move in core.state.moves.values() if move.app_id != first]
        assert waiting.lacks == "host-a2 has room for others that move there, and no more"
    core.offer(an_offer("a2", cpus=2.9))
    assert core.begun() == ["/x", "/y"]


@pytest.mark.parametrize("small", ["/a", "/b", "/c"])
def test_moves_take_turns_where_one_pass_cannot_look_at_hosts_for_all(monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    core = Cluster(*(db(app_id, cpus=0.5 if app_id == small else 1.1) for app_id in ("/a", "/b", "/c")))
    monkeypatch.setattr(move_hosts.Begun, "__init__", partialmethod(move_hosts.Begun.__init__, 1))
    core.drain()
    for _ in range(3):
        core.offer(an_offer("a2", cpus=1))
    assert core.begun() == [small]
