"""Moves of instances with volumes: what begins one and what refuses it, its phases, and that the source counts until the end."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_offer
from support.core import Core, of

from eratos.common.payload import VolumeCopy
from eratos.scheduler.api.explain import explain
from eratos.scheduler.core import actions, events, move_status
from eratos.scheduler.core.moves import HOST_S, QUIET_S, ROOM_S
from eratos.scheduler.core.records import VOLUMES, VolumeRecord, VolumeState
from eratos.scheduler.core.state import MovePhase

from .test_volumes import db, next_leader, of_app, offers, only

LAUNCHED = tuple[str, actions.Launch]


@pytest.fixture
def core() -> Core:
    """A core with a database that runs on a1, and a second host that is known."""
    core = Core()
    core.subscribe()
    core.put(db())
    core.run(an_offer("a1"))
    core.offer(an_offer("a2"))
    return core


def task(core: Core) -> str:
    (found,) = [instance.task_id for instance in core.machine.state.with_task()]
    return found


def move(core: Core, to: str = "host-a2", **fields: Any) -> list[actions.Action]:
    out = core.command(events.MoveVolumes("/db", hostname=to, **fields))
    assert not of(actions.Refuse, out)
    return out


def refusal(core: Core, to: str = "", instance: str = "", app: str = "/db") -> actions.Refuse:
    (found,) = of(actions.Refuse, core.command(events.MoveVolumes(app, instance, to)))
    assert not core.machine.state.moves
    return found


def launches(out: list[actions.Action]) -> list[LAUNCHED]:
    return [(accept.agent_id, launch) for accept in of(actions.Accept, out) for launch in accept.launches]


def by_state(core: Core) -> dict[VolumeState, VolumeRecord]:
    found = {record.state: record for record in of_app(core)}
    assert len(found) == len(of_app(core))
    return found


def copying(core: Core, **fields: Any) -> LAUNCHED:
    """Bring a move to where the copy is launched."""
    old = task(core)
    move(core, **fields)
    core.offer(an_offer("a2"))
    core.status(old, "KILLED", agent="a1")
    (found,) = launches(core.offer(*offers("a1", "a2")))
    return found


def said(core: Core) -> dict[str, str]:
    state = core.machine.state
    return {found["reason"]: found["message"] for found in explain(state, state.apps["/db"], core.now, {})["reasons"]}


def back_at_source(core: Core, why: str) -> None:
    """Assert that the instance starts where it was, with its volume, and that the move's end is explained."""
    usable = by_state(core)[VolumeState.MADE]
    assert (usable.hostname, usable.copy_of, usable.move_since) == ("host-a1", "", 0.0)
    assert why in usable.message and why in said(core)["VolumeMoveFailed"]
    assert not core.machine.state.moves
    (found,) = launches(core.offer(*offers("a2", "a1")))
    assert found[0] == "a1" and [kept.name for kept in found[1].payload.keeps] == [usable.volume_id]


def test_the_instance_runs_on_until_the_host_offers_enough_and_its_copy_takes_as_much_as_it_will(core: Core):
    old, out = task(core), move(core)
    assert not of(actions.Kill, out) and of(actions.Revive, out), "offers are asked for"
    small = an_offer("a2", cpus=0.01)
    assert not of(actions.Kill, core.offer(small, an_offer("a1")))
    assert move_status.phase(core.machine.state, "/db", only(core).slot) is MovePhase.HOST
    assert "runs on until host-a2 offers room for it; cpus: " in said(core)["VolumeMove"]
    out = core.offer(an_offer("a2"))
    assert [kill.task_id for kill in of(actions.Kill, out)] == [old] and not launches(out)
    assert not launches(core.offer(*offers("a1", "a2"))), "it has not ended yet"
    assert "its task is stopped" in said(core)["VolumeMove"]
    core.status(old, "KILLED", agent="a1")
    out = core.offer(*offers("a1", "a2"))
    ((agent, launch),) = launches(out)
    assert agent == "a2" and launch.payload.resources == core.machine.state.apps["/db"].resources
    found = by_state(core)
    new, source = found[VolumeState.COPYING], found[VolumeState.MADE]
    assert launch.payload.copies == (VolumeCopy(source.volume_id, "host-a1", "a1", new.volume_id, "data"),)
    assert (new.task_id, new.hostname, new.copy_of) == (launch.task_id, "host-a2", source.volume_id)
    kinds = [type(action) for action in out if isinstance(action, actions.Put | actions.Accept)]
    assert kinds[0] is actions.Put, "stored first"
    assert not launches(core.offer(*offers("a1", "a2"))), "nothing starts with a volume that is being copied"


def test_when_the_copy_is_whole_one_write_makes_it_count_and_the_instance_starts_with_it(core: Core):
    agent, launch = copying(core)
    core.status(launch.task_id, "RUNNING", agent=agent, message="4096 bytes of data were copied", executor_id="e2")
    assert "its volumes are being copied: 4096 bytes" in said(core)["VolumeMove"]
    out = core.status(launch.task_id, "FINISHED", agent=agent)
    found = by_state(core)
    assert (found[VolumeState.MADE].hostname, found[VolumeState.LEFT].hostname) == ("host-a2", "host-a1")
    put = [action.record.state for action in of(actions.Put, out) if action.key.startswith(VOLUMES)]  # type: ignore[union-attr]
    assert put == [VolumeState.MADE, VolumeState.LEFT], "cut off between the two there are two, of which a copy counts"
    ((agent, started),) = launches(core.offer(*offers("a1", "a2")))
    (kept,) = started.payload.keeps
    assert (agent, kept.name, kept.new) == ("a2", found[VolumeState.MADE].volume_id, False)
    core.status(started.task_id, "RUNNING", agent=agent)
    assert by_state(core)[VolumeState.LEFT] and not of(actions.DestroyVolume, core.tick(3600)), "nobody asked for that"


def test_the_old_volume_is_destroyed_once_the_instance_is_ready_if_that_was_asked_for(core: Core):
    checked = {"healthChecks": [{"protocol": "TCP"}], "portDefinitions": [{"port": 0}]}
    core.put(db(**checked))
    core.status(task(core), "KILLED", agent="a1")
    ((_, launch),) = launches(core.offer(an_offer("a1")))
    core.status(launch.task_id, "RUNNING", agent="a1", healthy=True)
    agent, launch = copying(core, wipe=True)
    core.status(launch.task_id, "FINISHED", agent=agent)
    ((_, started),) = launches(core.offer(*offers("a1", "a2")))
    core.status(started.task_id, "RUNNING", agent="a2")
    assert VolumeState.LEFT in by_state(core), "it runs, and its checks have not passed"
    out = core.status(started.task_id, "RUNNING", agent="a2", healthy=True)
    gone = by_state(core)[VolumeState.DELETING]
    asked = {call.volume_id for call in of(actions.DestroyVolume, out)}
    assert gone.hostname == "host-a1" and asked == {gone.volume_id}


@pytest.mark.parametrize("state", ["FAILED", "LOST", "GONE", "ERROR", "KILLED"])
def test_a_copy_that_fails_ends_with_the_instance_at_its_source(core: Core, state: str):
    agent, launch = copying(core)
    core.status(launch.task_id, state, agent=agent, message="no space left on device")
    copy = by_state(core)[VolumeState.DELETING]
    assert copy.hostname == "host-a2" and copy.copy_of
    back_at_source(core, "no space left on device")


def test_a_host_that_is_lost_in_the_middle_ends_it_and_what_comes_late_from_there_counts_for_nothing(core: Core):
    agent, launch = copying(core)
    out = core.status(launch.task_id, "UNREACHABLE", agent=agent)
    assert [kill.task_id for kill in of(actions.Kill, out)] == [launch.task_id]
    back_at_source(core, "host-a2 cannot be reached")
    core.status(launch.task_id, "FINISHED", agent=agent)
    assert {r.hostname for r in of_app(core) if r.state is VolumeState.MADE} == {"host-a1"}


def test_a_copy_of_which_nothing_is_heard_is_given_up(core: Core):
    agent, launch = copying(core)
    core.tick(QUIET_S - 1)
    core.status(launch.task_id, "RUNNING", agent=agent, message="1 bytes")
    core.tick(QUIET_S - 1)
    assert core.machine.state.moves
    core.tick(1)
    back_at_source(core, "nothing was heard of the copy")


def test_a_launch_that_reached_nobody_is_repeated_and_leaves_no_copy(core: Core):
    agent, launch = copying(core)
    core.status(launch.task_id, "DROPPED", agent=agent)
    assert [record.state for record in of_app(core)] == [VolumeState.MADE]
    ((_, again),) = launches(core.offer(*offers("a1", "a2")))
    assert again.task_id != launch.task_id
    core.handle(events.NotLaunched((again.task_id,)))
    assert [record.state for record in of_app(core)] == [VolumeState.MADE]
    core.offer(*offers("a1", "a2"))
    assert set(by_state(core)) == {VolumeState.MADE, VolumeState.COPYING}


def test_a_host_whose_room_is_gone_by_then_ends_it(core: Core):
    old = task(core)
    move(core)
    core.offer(an_offer("a2"))
    core.status(old, "KILLED", agent="a1")
    core.offer(an_offer("a2", cpus=0.01))
    core.tick(ROOM_S)
    back_at_source(core, "cpus: ")


def test_without_a_host_that_has_room_the_instance_runs_on_and_the_move_ends(core: Core):
    move(core, to="")
    core.offer(an_offer("a1"), an_offer("a2", cpus=0.01))
    core.tick(HOST_S)
    assert not core.machine.state.moves and not core.instance(task(core)).stopping
    assert "no room was offered" in only(core).message


def test_without_a_host_it_goes_to_the_one_that_has_most_room_and_not_to_its_own(core: Core):
    move(core, to="")
    core.offer(an_offer("a1", cpus=9), an_offer("a2", cpus=0.5), an_offer("a3", cpus=5))
    assert only(core).move_to == "host-a3"


@pytest.mark.parametrize("phase", list(MovePhase))
def test_the_next_leader_goes_on_where_the_one_before_was(core: Core, phase: MovePhase):
    old = task(core)
    move(core)
    if phase is not MovePhase.HOST:
        core.offer(an_offer("a2"))
    if phase in (MovePhase.ROOM, MovePhase.COPY):
        core.status(old, "KILLED", agent="a1")
    if phase is MovePhase.COPY:
        ((agent, launch),) = launches(core.offer(*offers("a1", "a2")))
    later = next_leader(core)
    (found,) = later.machine.state.moves.values()
    assert found.phase is phase
    if phase is MovePhase.HOST:
        later.offer(*offers("a1", "a2"))
    if phase in (MovePhase.HOST, MovePhase.STOP):
        later.status(old, "KILLED", agent="a1")
    if phase is not MovePhase.COPY:
        ((agent, launch),) = launches(later.offer(*offers("a1", "a2")))
    later.status(launch.task_id, "FINISHED", agent=agent)
    ((agent, started),) = launches(later.offer(*offers("a1", "a2")))
    assert agent == "a2" and started.payload.keeps[0].name == by_state(later)[VolumeState.MADE].volume_id


def test_of_a_write_that_was_cut_off_between_copy_and_source_the_copy_counts(core: Core):
    agent, launch = copying(core)
    found = by_state(core)
    old = found[VolumeState.MADE]
    core.status(launch.task_id, "FINISHED", agent=agent)
    core.machine.state.keep_volume(old)  # as if it had not been written any more
    later = next_leader(core)
    found = by_state(later)
    assert (found[VolumeState.MADE].hostname, found[VolumeState.LEFT].volume_id) == ("host-a2", old.volume_id)
    assert not later.machine.state.moves


def test_cancelled_it_comes_back_and_the_copy_is_ended(core: Core):
    _agent, launch = copying(core)
    out = core.command(events.CancelMoves("/db"))
    assert [kill.task_id for kill in of(actions.Kill, out)] == [launch.task_id]
    back_at_source(core, "it was cancelled")
    (refused,) = of(actions.Refuse, core.command(events.CancelMoves("/db")))
    assert refused.refusal is actions.Refusal.NOT_FOUND


def test_a_move_of_an_app_that_is_deleted_ends_and_the_source_is_kept(core: Core):
    _agent, _launch = copying(core)
    core.command(events.DeleteApps(("/db",), force=True))
    found = by_state(core)
    assert set(found) == {VolumeState.MADE, VolumeState.DELETING} and found[VolumeState.MADE].hostname == "host-a1"


def test_a_wipe_in_the_middle_destroys_source_and_copy(core: Core):
    agent, launch = copying(core)
    out = core.command(events.DeleteApps(("/db",), force=True, wipe=True))
    assert {record.state for record in of_app(core)} == {VolumeState.DELETING} and not core.machine.state.moves
    assert launch.task_id in [kill.task_id for kill in of(actions.Kill, out)]
    core.status(launch.task_id, "FINISHED", agent=agent)
    assert {record.state for record in of_app(core)} == {VolumeState.DELETING}


def test_volumes_of_a_wish_that_was_cut_off_go_and_stay_together(core: Core):
    core.put(db(paths=("data", "log")))
    core.status(task(core), "KILLED", agent="a1")
    core.run(an_offer("a1"))
    old = task(core)
    move(core)
    state = core.machine.state
    state.keep_volume(next(record for record in of_app(core) if record.container_path == "log").staying())
    core.offer(an_offer("a2"))
    core.status(old, "KILLED", agent="a1")
    core.command(events.CancelMoves("/db"))
    assert not any(record.move_begun or record.move_since for record in of_app(core))
    assert launches(core.offer(*offers("a2", "a1"))), "nothing keeps its volumes from it"


def test_a_copy_in_the_making_is_not_deleted_by_itself(core: Core):
    copying(core)
    copy = by_state(core)[VolumeState.COPYING]
    (refused,) = of(actions.Refuse, core.command(events.DeleteVolume(copy.volume_id)))
    assert "eratos move --cancel /db" in refused.message


def test_a_new_version_meanwhile_starts_with_the_copy(core: Core):
    agent, launch = copying(core)
    core.put(db(cpus=0.2))
    assert not launches(core.offer(*offers("a1", "a2")))
    core.status(launch.task_id, "FINISHED", agent=agent)
    ((agent, started),) = launches(core.offer(*offers("a1", "a2")))
    assert agent == "a2" and started.payload.resources.cpus_m == 200


def test_a_source_that_is_away_ends_a_move_that_has_not_begun_to_copy(core: Core):
    old = task(core)
    move(core)
    core.offer(an_offer("a2"))
    core.status(old, "LOST", agent="a1")
    core.handle(events.AgentLost("a1"))
    core.tick(60)
    assert "its host host-a1 is away" in only(core).message and not core.machine.state.moves


def test_while_the_brake_is_engaged_nothing_is_stopped_for_a_move(core: Core):
    move(core)
    brake = core.machine.state.brake
    brake.lose("gone", 1, 1, core.now)
    brake.engaged_at = core.now
    assert not of(actions.Kill, core.offer(an_offer("a2"))) and brake.engaged
    core.command(events.ReleaseBrake())
    assert of(actions.Kill, core.offer(an_offer("a2")))


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"app": "/none"}, "NOT_FOUND", "App '/none' does not exist"),
        ({"to": "host-a9"}, "NOT_FOUND", "to: host 'host-a9' is not known: eratos agents lists"),
        ({"to": "host-a1"}, "NOT_POSSIBLE", "is on host-a1 already: name another host"),
        ({"instance": "db.instance-9"}, "NOT_FOUND", "eratos task list /db names them"),
        ({"app": "/web"}, "NOT_POSSIBLE", "app: /web has no persistent volumes (container.volumes)"),
    ],
)
def test_what_cannot_be_moved_is_refused_with_what_to_do(core: Core, asked: dict[str, str], kind: str, words: str):
    from support.builders import an_app

    core.put(an_app("/web", 0))
    found = refusal(core, **asked)
    assert found.refusal is actions.Refusal[kind] and words in found.message


def test_what_is_deployed_drained_moved_or_unwilling_is_refused(core: Core):
    core.command(events.PutDrain("host-a2"))
    assert "to: host-a2 is drained" in refusal(core, "host-a2").message
    core.command(events.DeleteDrain("host-a2"))
    core.put(db(constraints=[["hostname", "LIKE", "host-a1"]]))
    assert "app: /db is being deployed" in refusal(core, "host-a2").message
    core.status(task(core), "KILLED", agent="a1")
    assert "is being deployed" in refusal(core, "host-a2").message
    core.run(an_offer("a1"))
    assert "to: constraints of /db do not allow it there" in refusal(core, "host-a2").message
    core.put(db())
    core.status(task(core), "KILLED", agent="a1")
    core.run(an_offer("a1"))
    move(core)
    (found,) = of(actions.Refuse, core.command(events.MoveVolumes("/db", hostname="host-a2")))
    assert "is being moved already; eratos move --cancel /db" in found.message


def test_of_several_instances_one_has_to_be_named(core: Core):
    core.scale("/db", 2)
    core.run(an_offer("a3"))
    core.offer(*offers("a1", "a2", "a3"))
    found = refusal(core, "host-a2")
    ids = sorted(core.machine.state.instances)
    assert f"name one of {ids[0]}, {ids[1]}" in found.message
    core.command(events.MoveVolumes("/db", ids[0], "host-a2"))
    (slot,) = core.machine.state.moves
    assert core.machine.state.instances[ids[0]].slot == slot


def test_all_volumes_of_an_instance_go_together(core: Core):
    core.put(db(paths=("data", "log")))
    core.status(task(core), "KILLED", agent="a1")
    core.run(an_offer("a1"))
    agent, launch = copying(core)
    assert sorted(copy.path for copy in launch.payload.copies) == ["data", "log"]
    core.status(launch.task_id, "FINISHED", agent=agent)
    states = sorted((record.hostname, record.state.value, record.container_path) for record in of_app(core))
    assert states == [
        ("host-a1", "left", "data"),
        ("host-a1", "left", "log"),
        ("host-a2", "made", "data"),
        ("host-a2", "made", "log"),
    ]
