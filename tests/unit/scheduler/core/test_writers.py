"""Volumes that lie elsewhere: when the next instance may start with one, on whatever host, and what that waits for."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of
from support.records import as_stored

from eratos.marathon.app import App
from eratos.scheduler.api.explain import explain
from eratos.scheduler.core import actions, events, rollout
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Agent, TaskState, Window
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import INSTANCES, InstanceRecord

NFS = {"dvdi/driver": "local", "dvdi/type": "nfs", "dvdi/o": "addr=10.0.0.9", "dvdi/device": ":/db"}


def db(app_id: str = "/db", options: Any = NFS, *, mode: str = "RW", shared: bool = False, count: int = 1, **fields: Any) -> App:
    external = {"name": "db", "provider": "dvdi", "options": options, "shared": shared}
    volumes = [{"containerPath": "/data", "mode": mode, "external": external}]
    return an_app(app_id, count, container={"type": "DOCKER", "docker": {"image": "x"}, "volumes": volumes}, **fields)


@pytest.fixture
def core() -> Core:
    core = Core()
    core.subscribe()
    return core


def waits(core: Core, app_id: str = "/db") -> str:
    """Return why the app waits for somebody who may still write; nothing where it does not."""
    launches = core.machine.state.launches_of(app_id)
    if launches.waiting is not Waiting.WRITER:
        return ""
    state = core.machine.state
    told = {found["reason"]: found["message"] for found in explain(state, state.apps[app_id], core.now, {})["reasons"]}
    return str(told["VolumeInUse"])


def test_a_launch_says_what_the_driver_needs_and_the_record_what_the_task_holds(core: Core) -> None:
    core.put(db())
    out = core.offer(an_offer("a1"))
    (launch,) = of(actions.Accept, out)[0].launches
    (made,) = launch.payload.of_drivers
    assert (made.name, made.driver, made.alone) == ("db", "local", True)
    assert made.options == {"type": "nfs", "o": "addr=10.0.0.9", "device": ":/db"}
    (mounted,) = launch.payload.volumes
    assert (mounted.source, mounted.named) == ("db", True)
    (record,) = [put.record for put in of(actions.Put, out) if isinstance(put.record, InstanceRecord)]
    assert record.holds == ("db",)


def test_a_secret_option_travels_by_its_name_alone(core: Core) -> None:
    core.put(db(options={**NFS, "dvdi/o": {"secret": "login"}}, secrets={"login": {"source": "db/login"}}))
    (launch,) = of(actions.Accept, core.offer(an_offer("a1")))[0].launches
    (made,) = launch.payload.of_drivers
    assert (made.options, made.secret_options) == ({"type": "nfs", "device": ":/db"}, {"o": "db/login"})


def test_one_of_dockers_own_folders_is_told_as_executors_of_the_version_before_read_it(core: Core) -> None:
    core.put(db(options={"dvdi/driver": "local"}))
    (launch,) = of(actions.Accept, core.offer(an_offer("a1")))[0].launches
    assert not launch.payload.of_drivers and not core.machine.state.writers


def test_after_a_crash_it_starts_on_another_host(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.fail(task)
    core.tick(60)
    (again,) = core.launch(an_offer("a2"))
    assert core.instance(again).agent_id == "a2"


def test_a_new_version_starts_after_the_end_of_the_old_one(core: Core) -> None:
    core.put(db())
    (old,) = core.run()
    out = core.put(db(cpus=0.2))
    assert [kill.task_id for kill in of(actions.Kill, out)] == [old], "with minimumHealthCapacity 0.5, which is the default"
    assert core.launch() == []
    core.status(old, "KILLED")
    (new,) = core.run()
    assert core.instance(new).version == core.machine.state.apps["/db"].version


@pytest.mark.parametrize("empties", ["maintenance", "drain"])
def test_a_host_that_is_emptied_has_it_stop_before_it_starts_elsewhere(core: Core, empties: str) -> None:
    core.put(db())
    (old,) = core.run(an_offer("a1"))
    if empties == "drain":
        core.command(events.PutDrain("host-a1"))
    else:
        core.offer(an_offer("a1", window=Window(core.now, core.now + 600)))
    assert core.launch(an_offer("a2")) == []
    assert core.instance(old).stopping
    core.status(old, "KILLED")
    (new,) = core.launch(an_offer("a2"))
    assert core.instance(new).agent_id == "a2"


def test_one_out_of_reach_is_waited_for_without_end_and_that_is_explained(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE")
    core.tick(1_000_000)
    assert core.launch(an_offer("a2")) == []
    core.status(task, "GONE_BY_OPERATOR", uuid="gone")
    core.tick(10)
    assert len(core.launch(an_offer("a2"))) == 1


def test_with_a_time_it_counts_as_dead_after_that_and_is_killed_should_it_be_back(core: Core) -> None:
    core.put(db(unreachableStrategy={"inactiveAfterSeconds": 300, "expungeAfterSeconds": 300}))
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE")
    core.tick(299)
    assert core.launch(an_offer("a2")) == []
    core.tick(2)
    core.tick(60)
    assert len(core.run(an_offer("a2"))) == 1
    core.status(task, "RUNNING", uuid="back")
    assert [kill.task_id for kill in of(actions.Kill, core.tick(600))] == [task]


def test_another_app_has_the_volume_after_the_end_of_the_last_task_with_it(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.command(events.DeleteApps(("/db",)))
    core.put(db("/new"))
    assert core.launch(an_offer("a2")) == []
    assert f"task {task} on host-a1 may still write to its volume db" in waits(core, "/new")
    out = core.status(task, "KILLED")
    assert of(actions.Revive, out), "offers were not asked for meanwhile"
    assert len(core.launch(an_offer("a2"))) == 1 and not waits(core, "/new")


def test_a_deleted_app_whose_task_is_out_of_reach_keeps_the_volume_from_the_next_one(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE")
    core.command(events.DeleteApps(("/db",)))
    core.put(db("/new"))
    core.tick(1_000_000)
    assert core.launch(an_offer("a2")) == []
    assert "MARK_AGENT_GONE" in waits(core, "/new")
    assert not [found for found in core.machine.state.deployments.values() if "/db" in found.app_ids], "the deletion has ended"
    records = {f"{INSTANCES}{i.instance_id}": i.record() for i in core.machine.state.with_task()}
    apps = {f"apps{app_id}": app for app_id, app in core.machine.state.apps.items()}
    successor = Core(a_machine(as_stored(records | apps)), core.now)
    successor.subscribe()
    successor.tick(1_000_000)
    assert successor.launch(an_offer("a2")) == [], "so it is for the next leader"
    successor.status(task, "GONE_BY_OPERATOR")
    assert len(successor.launch(an_offer("a2"))) == 1


def test_of_two_that_wait_in_one_round_one_starts(core: Core) -> None:
    core.put(db(), db("/other"))
    (task,) = core.launch(an_offer("a1"), an_offer("a2"))
    other = {"/db": "/other", "/other": "/db"}[core.instance(task).app_id]
    assert core.launch() == [] and task in waits(core, other)


def test_who_reads_and_who_shares_waits_for_nobody(core: Core) -> None:
    core.put(db(), db("/reads", mode="RO", count=2), db("/shares", shared=True, count=2))
    assert len(core.launch(an_offer("a1"), an_offer("a2"))) == 5


def test_whatever_number_is_wanted_one_starts(core: Core) -> None:
    core.put(db().with_instances(3))
    assert len(core.launch(an_offer("a1"), an_offer("a2"))) == 1
    assert core.launch() == []


def test_a_task_without_a_record_has_to_end_first(core: Core) -> None:
    core.status("db.instance-lost._app.1", "RUNNING")
    core.put(db())
    assert core.launch() == [] and "no record stands for" in waits(core)
    core.status("db.instance-lost._app.1", "KILLED", uuid="end")
    assert len(core.launch()) == 1


def test_a_rollout_to_a_version_without_the_volume_waits_for_nobody(core: Core) -> None:
    core.put(db())
    core.run(an_offer("a1"))
    core.put(an_app("/db", 3, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 1}))
    assert core.launch(an_offer("a2")), "its new instances write to nothing that is in use"


def test_of_two_versions_the_one_without_the_volume_goes_on_and_the_other_hears_when_it_may(core: Core) -> None:
    canary = {"labels": {"ERATOS_CANARY": "50%"}, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}}
    core.put(db("/other"))
    (holder,) = core.run(an_offer("a9"))
    core.put(an_app("/db", 2, **canary))
    old = core.run()
    core.put(db(**canary).with_instances(2))
    stopped = next(task for task in old if core.instance(task).stopping)
    core.status(stopped, "KILLED")
    (crashed,) = set(old) - {stopped}
    core.fail(crashed)
    core.tick(60)
    again = core.run()
    assert [core.instance(task).version == core.instance(crashed).version for task in again] == [True]
    core.command(events.DeleteApps(("/other",)))
    assert of(actions.Revive, core.status(holder, "KILLED", agent="a9"))
    (new,) = core.launch()
    assert core.instance(new).holds == {"db"}


def test_an_instance_alone_may_be_away_in_an_upgrade() -> None:
    assert rollout.bounds(db()) == (0, 1)
    assert rollout.bounds(db(shared=True)) == (1, 2)


def test_a_record_of_the_version_before_holds_nothing() -> None:
    record = InstanceRecord("i", "/db", "v", 1, "a1", "h1", (), 1.0)
    instance = Instance.from_record(record, Agent("a1", "h1"))
    assert instance.holds == frozenset() and instance.state is TaskState.STAGING


def test_with_volumes_of_its_own_as_well_it_begins_anew_elsewhere_when_residency_says_so(core: Core) -> None:
    app = db()
    kept = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
    container = app.to_json()["container"]
    container["volumes"].append(kept)
    timed = {"taskLostBehavior": "RELAUNCH_AFTER_TIMEOUT", "relaunchEscalationTimeoutSeconds": 600}
    core.put(an_app("/db", 1, container=container, residency=timed, unreachableStrategy="disabled"))
    (task,) = core.run(an_offer("a1"))
    core.status(task, "UNREACHABLE")
    core.handle(events.AgentLost("a1"))
    core.tick(599)
    assert core.launch(an_offer("a2")) == []
    core.tick(1)
    (again,) = core.launch(an_offer("a2"))
    assert core.instance(again).holds == {"db"}
    assert core.machine.state.writers["db"].keys() == {core.instance(again).instance_id}


# Dead executors ----------------------------------------------------------------------------------------------------------


def died(core: Core, task: str) -> None:
    """Have the agent say that the task's executor is gone: its container may be at work."""
    core.status(task, "FAILED", source="SOURCE_AGENT", reason="REASON_EXECUTOR_TERMINATED")
    core.tick(60)


def test_what_a_dead_executor_left_may_write_until_its_host_is_swept(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    died(core, task)
    assert core.launch(an_offer("a2")) == []
    assert "an executor on host-a1 has died, and what it ran may still write to its volume db" in waits(core)
    (sweep,) = core.launch(an_offer("a1"))
    assert core.launch(an_offer("a2")) == []
    out = core.status(sweep, "FINISHED")
    assert of(actions.Revive, out) and len(core.launch(an_offer("a2"))) == 1


def test_another_task_on_that_host_does_not_say_that_what_was_left_is_gone(core: Core) -> None:
    """Its executor says that it starts, and drains for up to 20 s what the dead one left."""
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    died(core, task)
    core.put(an_app("/other"))
    (other,) = core.launch(an_offer("a1"))
    assert other.startswith("other"), "the sweep waits for what its executor says"
    out = core.status(other, "STARTING", source="SOURCE_EXECUTOR")
    assert of(actions.Revive, out), "for the sweep"
    assert core.launch(an_offer("a2")) == []
    assert "an executor on host-a1 has died" in waits(core)
    (sweep,) = core.launch(an_offer("a1"))
    core.status(sweep, "FINISHED")
    assert len(core.launch(an_offer("a2"))) == 1


def test_a_drained_host_is_swept_where_something_may_write(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    died(core, task)
    core.command(events.PutDrain("host-a1"))
    (sweep,) = core.launch(an_offer("a1"))
    assert sweep == core.machine.state.sweeps["host-a1"].task_id


def test_a_second_death_has_the_host_swept_anew_and_adds_to_what_is_left(core: Core) -> None:
    core.put(db())
    (task,) = core.run(an_offer("a1"))
    core.handle(events.ExecutorLost("a1", "e1", 9))
    (sweep,) = core.launch(an_offer("a1"))
    died(core, task)
    record = core.machine.state.sweeps["host-a1"]
    assert (record.holds, record.launched_at) == (("db",), 0.0)
    core.status(sweep, "FINISHED")
    assert "an executor on host-a1 has died" in waits(core), "that one may have looked before"
