"""Persistent volumes: which ones an instance gets and where it waits for them, what frees them, and what destroys them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.marathon.app import App
from eratos.scheduler.api.explain import explain
from eratos.scheduler.core import actions, events, rollout, volumes
from eratos.scheduler.core.mesos_types import TaskState, Window
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import INSTANCES, VOLUMES, InstanceRecord, Stored, VolumeRecord, VolumeState


def db(instances: int = 1, *, paths: tuple[str, ...] = ("data",), **fields: Any) -> App:
    kept = [{"containerPath": path, "mode": "RW", "persistent": {"size": 10}} for path in paths]
    container = {"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": kept}
    return an_app("/db", instances, container=container, **fields)


def offers(*agents: str) -> tuple[Any, ...]:
    return tuple(an_offer(agent) for agent in agents)


@pytest.fixture
def core() -> Core:
    core = Core()
    core.subscribe()
    return core


def of_app(core: Core) -> list[VolumeRecord]:
    return list(core.machine.state.volumes.values())


def only(core: Core) -> VolumeRecord:
    (record,) = of_app(core)
    return record


def waiting(core: Core) -> str:
    (instance,) = core.machine.state.fleet("/db").waiting.values()
    return instance.host


def explained(core: Core) -> dict[str, dict[str, Any]]:
    state = core.machine.state
    return {found["reason"]: found for found in explain(state, state.apps["/db"], core.now, {})["reasons"]}


def stored(core: Core) -> Stored:
    """Return what the next leader finds."""
    state = core.machine.state
    return Stored(
        framework_id="fw1",
        apps=tuple(state.apps.values()),
        instances=tuple(instance.record() for instance in state.with_task()),
        versions=tuple(found for of_one in state.versions.values() for found in of_one.values()),
        volumes=tuple(state.volumes.values()),
    )


def next_leader(core: Core) -> Core:
    found = Core(a_machine(stored(core), core.now), core.now)
    names = iter(range(1000))
    found.machine.step.new_id = lambda: f"later{next(names)}"
    found.subscribe()
    return found


def test_a_volume_is_stored_before_its_instance_and_that_before_the_launch(core: Core):
    core.put(db())
    out = core.offer(an_offer("a1"))
    put = [action.key for action in out if isinstance(action, actions.Put)]
    (accept,) = of(actions.Accept, out)
    record = only(core)
    assert put == [record.key, INSTANCES + record.instance_id]
    (launch,) = accept.launches
    assert (record.hostname, record.agent_id, record.task_id) == ("host-a1", "a1", launch.task_id)
    (kept,) = launch.payload.keeps
    assert (kept.name, kept.path, kept.new) == (record.volume_id, "data", True)
    (mounted,) = launch.payload.volumes
    assert (mounted.source, mounted.container_path, mounted.named) == (record.volume_id, "/mnt/mesos/sandbox/data", True)


def test_a_volume_counts_as_made_once_a_task_has_run_with_it(core: Core):
    core.put(db())
    (task,) = core.launch()
    assert only(core).state is VolumeState.NEW
    core.status(task, "RUNNING", executor_id="e1")
    assert (only(core).state, only(core).executor_id) == (VolumeState.MADE, "e1")
    core.status(task, "FAILED")
    core.tick(60)
    out = core.offer(an_offer("a1"))
    (launch,) = of(actions.Accept, out)[0].launches
    assert not launch.payload.keeps[0].new, "should it be missing now, data is missing"


def test_what_never_ran_is_taken_after_what_did_whoever_waited_for_it(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    kept = only(core)
    core.machine.state.keep_volume(VolumeRecord("eratos-db-x", "/db", "x", "data", 10, "a2", "host-a2", 1.0, instance_id="gone"))
    core.command(events.KillInstances((core.instance(task).instance_id,), False, True, False))
    core.status(task, "KILLED", agent="a1")
    (launch,) = of(actions.Accept, core.offer(*offers("a1", "a2")))[0].launches
    assert [volume.name for volume in launch.payload.keeps] == [kept.volume_id]


def test_after_a_crash_it_is_launched_on_its_host_with_its_volume_and_nowhere_else(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    record = only(core)
    core.status(task, "FAILED")
    core.tick(60)
    assert waiting(core) == "host-a1"
    assert not core.launch(*offers("a2", "a3"))
    (again,) = core.launch(*offers("a2", "a1"))
    assert core.instance(again).agent_id == "a1"
    assert only(core).volume_id == record.volume_id and only(core).task_id == again


def test_an_upgrade_stops_the_old_one_first_and_the_new_one_has_its_volume(core: Core):
    core.put(db())
    (old,) = core.run(an_offer("a1"))
    record = only(core)
    out = core.put(db(cpus=0.2))
    assert [kill.task_id for kill in of(actions.Kill, out)] == [old]
    assert not core.launch(*offers("a1", "a2"))
    core.status(old, "KILLED")
    (new,) = core.run(*offers("a2", "a1"))
    assert core.instance(new).agent_id == "a1" and only(core).volume_id == record.volume_id


def test_what_is_killed_leaves_its_volume_to_what_replaces_it_though_others_are_unused(core: Core):
    core.put(db(2))
    first, second = core.run(*offers("a1", "a2"))
    core.scale("/db", 1)
    stopping = next(task for task in (first, second) if core.instance(task).stopping)
    kept = second if stopping == first else first
    host = core.instance(kept).hostname
    core.status(stopping, "KILLED", agent=core.instance(stopping).agent_id)
    core.command(events.KillInstances((core.instance(kept).instance_id,)))
    assert not core.launch(*offers("a1", "a2")), "its volume is not free yet"
    core.tick(5)
    core.status(kept, "KILLED", agent=core.instance(kept).agent_id)
    assert waiting(core) == host


def test_scaling_up_again_takes_the_unused_volumes_first(core: Core):
    core.put(db(2))
    core.run(*offers("a1", "a2"))
    before = {record.volume_id for record in of_app(core)}
    out = core.scale("/db", 0)
    for kill in of(actions.Kill, out):
        core.status(kill.task_id, "KILLED", agent=kill.agent_id)
    assert {record.volume_id for record in of_app(core)} == before and not any(r.instance_id for r in of_app(core))
    core.scale("/db", 3)
    core.run(*offers("a1", "a2", "a3"))
    assert len(of_app(core)) == 3 and {record.volume_id for record in of_app(core)} > before
    assert core.hosts() == ["a1", "a2", "a3"]


def test_a_deleted_app_leaves_its_volumes_to_the_next_of_its_name(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    record = only(core)
    core.command(events.DeleteApps(("/db",)))
    core.status(task, "KILLED")
    assert only(core).volume_id == record.volume_id and not of(actions.DestroyVolume, core.tick(600))
    core.put(db())
    assert waiting(core) == "host-a1"


def test_nobody_gets_a_volume_whose_task_is_not_known_to_have_ended(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE", uuid="")
    core.command(events.DeleteApps(("/db",)))
    core.status(task, "UNREACHABLE", uuid="")
    core.tick(1)
    core.tick(1)
    assert not core.machine.state.instances, "it was given up"
    assert only(core).task_id == task
    core.put(db())
    assert not core.launch(*offers("a1", "a2"))
    assert task in explained(core)["VolumeElsewhere"]["message"]
    assert (task, "a1") in [asked for call in of(actions.Reconcile, core.tick(volumes.ASK_S)) for asked in call.tasks]
    core.status(task, "GONE", uuid="", reason="REASON_RECONCILIATION")
    assert only(core).task_id == ""
    assert core.launch(*offers("a2", "a1")) and core.hosts() == ["a1"]


def test_a_launch_that_was_never_sent_leaves_its_volume_free(core: Core):
    core.put(db())
    (task,) = core.launch(an_offer("a1"))
    core.handle(events.NotLaunched((task,)))
    assert only(core).task_id == ""
    assert core.launch(an_offer("a1")) and len(of_app(core)) == 1


def test_while_its_host_is_away_it_waits_and_says_for_what(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE", uuid="")
    core.tick(100_000)
    assert not core.launch(*offers("a2"))
    found = explained(core)["Unreachable"]
    assert "host-a1" in found["message"] and "without end" in found["message"] and "until" not in found
    core.status(task, "GONE", uuid="")
    core.handle(events.AgentLost("a1"))
    core.tick(100_000)
    assert not core.launch(*offers("a2"))
    found = explained(core)["VolumeElsewhere"]
    assert "host-a1, which is away" in found["message"] and f"eratos volume delete {only(core).volume_id}" in found["message"]


def relaunching(after_s: int) -> dict[str, Any]:
    return {"taskLostBehavior": "RELAUNCH_AFTER_TIMEOUT", "relaunchEscalationTimeoutSeconds": after_s}


def test_it_begins_anew_elsewhere_after_the_timeout_where_it_is_out_of_reach(core: Core):
    core.put(db(residency=relaunching(100)))
    (task,) = core.run(an_offer("a1"))
    left = only(core)
    core.status(task, "UNREACHABLE", uuid="")
    core.tick(99)
    assert not core.launch(an_offer("a2"))
    core.tick(1)
    (new,) = core.run(an_offer("a2"))
    assert core.instance(new).agent_id == "a2"
    found = {record.volume_id: record for record in of_app(core)}
    assert found[left.volume_id].state is VolumeState.LEFT and len(found) == 2
    core.scale("/db", 2)
    (another,) = core.launch(*offers("a3"))
    assert core.instance(another).agent_id == "a3", "what was left behind is nobody's any more"


def test_it_begins_anew_elsewhere_after_the_timeout_where_it_waits(core: Core):
    core.put(db(residency=relaunching(100)))
    (task,) = core.run(an_offer("a1"))
    core.tick(60)  # the leader knows its hosts
    core.status(task, "GONE")
    core.handle(events.AgentLost("a1"))
    core.tick(volumes.LOOK_S)
    assert not core.launch(an_offer("a2"))
    core.tick(99)
    assert not core.launch(an_offer("a2"))
    assert "until" in explained(core)["VolumeElsewhere"]
    core.tick(volumes.LOOK_S)
    assert core.launch(an_offer("a2")) and core.hosts() == ["a2"]


def test_a_host_that_is_there_is_waited_for_however_long_it_has_no_room(core: Core):
    core.put(db(residency=relaunching(0)))
    (task,) = core.run(an_offer("a1"))
    core.status(task, "FAILED")
    for _ in range(100):
        core.tick(30)
        assert not core.launch(an_offer("a2"), an_offer("a1", cpus=0.01))
    assert explained(core)["NoFittingOffer"]


def test_a_kill_with_wipe_destroys_what_the_instance_had_once_that_has_ended(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "RUNNING", executor_id="e1")
    record = only(core)
    out = core.command(events.KillInstances((core.instance(task).instance_id,), wipe=True))
    assert [kill.task_id for kill in of(actions.Kill, out)] == [task]
    assert not of(actions.DestroyVolume, out + core.tick(60)), "it may still be written to"
    (call,) = of(actions.DestroyVolume, core.status(task, "KILLED"))
    assert (call.volume_id, call.app_id, call.agent_id) == (record.volume_id, "/db", "a1")
    core.handle(events.VolumeDestroyed(record.volume_id, "in use by container x"))
    assert only(core).message == "in use by container x"
    assert of(actions.DestroyVolume, core.tick(10)), "what got lost is said again"
    (new,) = core.run(an_offer("a2"))
    out = core.handle(events.VolumeDestroyed(record.volume_id))
    assert VOLUMES + record.volume_id in [action.key for action in of(actions.Forget, out)]
    assert core.instance(new).agent_id == "a2" and only(core).volume_id != record.volume_id


def test_an_answer_nobody_asked_for_destroys_no_record(core: Core):
    core.put(db())
    core.run(an_offer("a1"))
    core.handle(events.VolumeDestroyed(only(core).volume_id))
    assert only(core).state is VolumeState.MADE


def test_a_kill_with_wipe_of_what_is_out_of_reach_begins_anew_elsewhere(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE", uuid="")
    core.command(events.KillInstances((core.instance(task).instance_id,), wipe=True))
    assert core.launch(an_offer("a2")) and core.hosts() == ["a2"]
    old = next(record for record in of_app(core) if record.hostname == "host-a1")
    assert (old.state, old.task_id) == (VolumeState.DELETING, task), "and it is destroyed only once its task has ended"


def test_deleting_an_app_with_wipe_destroys_all_that_it_has(core: Core):
    core.put(db(2))
    tasks = core.run(*offers("a1", "a2"))
    core.scale("/db", 1)
    core.command(events.DeleteApps(("/db",), force=True, wipe=True))
    out = [action for task in tasks for action in core.status(task, "KILLED", agent=core.instance(task).agent_id)]
    found = {call.volume_id for call in of(actions.DestroyVolume, out)}
    assert found == {record.volume_id for record in of_app(core)} and len(found) == 2


def test_one_volume_is_deleted_where_nobody_uses_it(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    (refused,) = of(actions.Refuse, core.command(events.DeleteVolume(only(core).volume_id)))
    assert refused.refusal is actions.Refusal.NOT_POSSIBLE and task in refused.message
    core.status(task, "FAILED")
    core.command(events.DeleteVolume(only(core).volume_id))
    assert only(core).state is VolumeState.DELETING and waiting(core) == "", "nothing binds the instance any more"
    (refused,) = of(actions.Refuse, core.command(events.DeleteVolume("nobody")))
    assert refused.refusal is actions.Refusal.NOT_FOUND


def test_one_volume_is_forgotten_where_its_host_is_gone_for_good(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "GONE")
    core.handle(events.AgentLost("a1"))
    out = core.command(events.DeleteVolume(only(core).volume_id, forget=True))
    assert of(actions.Forget, out) and not of_app(core)


def test_the_next_leader_launches_what_waited_on_its_host_with_its_volume(core: Core):
    core.put(db(2))
    first, _ = core.run(*offers("a1", "a2"))
    core.status(first, "FAILED", agent=core.instance(first).agent_id)
    host = waiting(core)
    later = next_leader(core)
    assert waiting(later) == host
    later.tick(60)
    (task,) = later.launch(*offers("a3", "a1", "a2"))
    assert later.instance(task).hostname == host and len(of_app(later)) == 2


def test_an_app_with_a_volume_whose_record_cannot_be_read_begins_with_no_empty_one():
    key = f"{VOLUMES}eratos-db-{uuid.uuid4()}"
    core = Core(a_machine(Stored("fw1", apps=(db(), an_app("/other")), spoilt={key: "not JSON"}), 1000.0), 1000.0)
    core.subscribe()
    (task,) = core.launch(*offers("a1"))
    assert core.instance(task).app_id == "/other"
    assert core.machine.state.launches["/db"].waiting is Waiting.VOLUME_RECORD
    assert key in explained(core)["VolumeRecord"]["message"]


@pytest.mark.parametrize("owner", ["db-two", "d", "db_two"])
def test_a_record_that_cannot_be_read_keeps_no_other_app_waiting(owner: str):
    spoilt = {f"{VOLUMES}eratos-{owner}-{uuid.uuid4()}": "not JSON"}
    core = Core(a_machine(Stored("fw1", apps=(db(),), spoilt=spoilt), 1000.0), 1000.0)
    core.subscribe()
    assert core.launch(*offers("a1"))


def test_the_next_leader_shows_and_destroys_volumes_as_the_one_before(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.command(events.KillInstances((core.instance(task).instance_id,), wipe=True))
    later = next_leader(core)
    assert of(actions.DestroyVolume, later.status(task, "KILLED"))


def test_maintenance_moves_nothing_away_from_its_volume(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.offer(an_offer("a1", window=Window(core.now + 10)), an_offer("a2"))
    assert not core.instance(task).moving


def test_several_instances_with_volumes_on_one_host_come_back_to_it(core: Core):
    core.put(db(3))
    tasks = core.run(an_offer("a1"))
    for task in tasks:
        core.status(task, "FAILED")
    core.tick(60)
    again = core.launch(*offers("a2", "a1"))
    assert core.hosts() == ["a1"] * 3 and len(again) == 3
    assert sorted(record.task_id for record in of_app(core)) == sorted(again)


def test_a_volume_more_is_made_beside_those_that_there_are(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    first = only(core)
    core.put(db(paths=("data", "log")))
    core.status(task, "KILLED")
    (new,) = core.run(*offers("a2", "a1"))
    found = {record.container_path: record for record in of_app(core)}
    assert found["data"].volume_id == first.volume_id and found["log"].hostname == "host-a1"
    assert {record.task_id for record in found.values()} == {new}


@pytest.mark.parametrize(
    ("instances", "health", "expected"),
    [(1, 0.5, (0, 1)), (2, 0.5, (1, 2)), (3, 0.5, (2, 3)), (4, 0.5, (2, 4)), (2, 0.0, (0, 2)), (0, 0.5, (0, 0))],
)
def test_no_more_instances_than_volumes_exist_during_a_replacement(instances: int, health: float, expected: tuple[int, int]):
    assert rollout.bounds(db(instances, upgradeStrategy={"minimumHealthCapacity": health, "maximumOverCapacity": 0})) == expected


def test_an_instances_record_of_before_has_no_volumes():
    record = InstanceRecord("i", "/db", "v", 1, "a1", "h", (), 1.0, TaskState.RUNNING.value)
    assert record.slot == ""


def test_a_folder_of_the_sandbox_that_is_a_volume_is_mounted_as_that_volume(core: Core):
    """Marathon's way to an absolute path: without it data would lie in the sandbox, and go with it."""
    also = {"containerPath": "/var/lib/db", "hostPath": "./data", "mode": "RW"}
    kept = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
    core.put(an_app("/db", container={"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": [kept, also]}))
    (launch,) = of(actions.Accept, core.offer(an_offer("a1")))[0].launches
    mounts = {volume.container_path: (volume.source, volume.named) for volume in launch.payload.volumes}
    volume_id = only(core).volume_id
    assert mounts == {"/mnt/mesos/sandbox/data": (volume_id, True), "/var/lib/db": (volume_id, True)}


def test_what_waits_begins_with_new_volumes_only_where_none_are_about_to_be_left(core: Core):
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    record = only(core)
    core.put(db(3))
    core.command(events.KillInstances((record.instance_id,), True, True))
    assert core.machine.state.apps["/db"].instances == 2
    (other,) = core.launch(*offers("a2", "a3"))
    core.status(other, "RUNNING")
    assert not core.launch(*offers("a4")), "it is to have what the killed one leaves"
    assert core.machine.state.launches["/db"].waiting is Waiting.VOLUME
    core.status(task, "KILLED")
    (successor,) = core.launch(*offers("a4", "a1"))
    assert {(found.hostname, found.task_id) for found in of_app(core)} == {("host-a1", successor), ("host-a2", other)}
