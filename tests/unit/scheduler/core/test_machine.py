"""The scheduler core, event by event: what it does about each, and that it does nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core as Driven
from support.core import of

from eratos.common.resources import PortRanges
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import Agent, InverseOffer, TaskState, Window
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import InstanceRecord, Stored


@pytest.fixture
def core() -> Driven:
    driven = Driven(a_machine())
    driven.subscribe()
    return driven


def test_first_subscription_stores_the_framework_id_and_asks_for_nothing():
    out = Driven(a_machine()).subscribe()
    assert of(actions.Put, out) == [actions.Put("framework_id", "fw1")]
    assert of(actions.Suppress, out) == [actions.Suppress()]


def test_new_app_is_stored_answered_and_asks_for_offers(core: Driven):
    out = core.put(an_app(instances=2))
    [version] = core.machine.state.versions["/prime"]
    reply = of(actions.Reply, out)[0].deployment_id
    assert [put.key for put in of(actions.Put, out)] == [
        "apps//prime",
        f"versions//prime/{version}",
        f"deployments/{reply}",
        "changes//prime",
    ]
    assert of(actions.Reply, out)[0].deployment_id
    assert of(actions.Revive, out) == [actions.Revive()]


def test_launch_is_stored_before_it_is_accepted(core: Driven):
    core.put(an_app())
    out = core.offer(an_offer())
    put, accept = of(actions.Put, out)[0], of(actions.Accept, out)[0]
    assert isinstance(put.record, InstanceRecord)
    assert put.record.state == "TASK_STAGING"
    assert accept.launches[0].task_id == "prime.instance-i2._app.1"
    assert out.index(put) < out.index(accept)


def test_launches_take_distinct_ports(core: Driven):
    core.put(an_app(instances=3))
    out = core.offer(an_offer(ports=(31000, 31002)))
    payloads = [launch.payload for accept in of(actions.Accept, out) for launch in accept.launches]
    assert sorted(p.ports[0].host_port for p in payloads) == [31000, 31001, 31002]


def given(out: list[actions.Action]) -> list[int]:
    """The host ports of what was launched."""
    return [p.host_port for accept in of(actions.Accept, out) for launch in accept.launches for p in launch.payload.ports]


def test_a_host_that_comes_back_under_another_agent_id_does_not_give_the_ports_of_its_lost_tasks_again(core: Driven):
    core.put(an_app(instances=2))
    lost = core.run(an_offer("a1", hostname="h1"))
    core.handle(events.AgentLost("a1"))
    for task_id in lost:
        core.fail(task_id, "GONE")
    core.tick(60)
    assert given(core.offer(an_offer("a2", hostname="h1"))) == [31002, 31003]


def test_a_new_leader_gives_no_port_of_tasks_that_it_knows_of_before_others():
    record = InstanceRecord("prime.instance-i1", "/prime", "v", 1, "a1", "h1", (31007, 31003), 900.0, "TASK_RUNNING")
    core = Driven(a_machine(Stored("fw1", (an_app().with_version("v"),), (record,))))
    core.subscribe()
    core.status("prime.instance-i1._app.1", "GONE", agent="a1")
    core.tick(60)
    assert given(core.offer(an_offer("a2", hostname="h1"))) == [31008]


def test_offers_are_suppressed_once_nothing_waits(core: Driven):
    core.put(an_app())
    assert of(actions.Suppress, core.offer(an_offer()))


def test_unused_offers_are_declined_for_long_when_nothing_waits(core: Driven):
    decline = of(actions.Decline, core.offer(an_offer()))[0]
    assert decline.refuse_s == core.machine.step.settings.idle_refuse_s


def test_instances_spread_over_agents(core: Driven):
    core.put(an_app(instances=6))
    out = core.offer(an_offer("a1"), an_offer("a2"), an_offer("a3"))
    assert sorted(len(accept.launches) for accept in of(actions.Accept, out)) == [2, 2, 2]


def test_executor_is_counted_where_it_does_not_run_yet(core: Driven):
    core.put(an_app(cpus=4))
    assert not core.launch(an_offer(cpus=4, executor=False))
    assert core.launch(an_offer(cpus=4.1, mem=4096, executor=False))


def test_update_is_acknowledged_after_it_is_stored(core: Driven):
    core.put(an_app())
    [task] = core.launch()
    out = core.status(task, "RUNNING")
    kinds = [type(action) for action in out]
    assert kinds.index(actions.Put) < kinds.index(actions.Acknowledge)


def test_update_without_uuid_is_not_acknowledged(core: Driven):
    core.put(an_app())
    [task] = core.launch()
    assert not of(actions.Acknowledge, core.status(task, "RUNNING", uuid=""))


def test_failed_task_is_replaced_after_its_back_off_under_the_same_instance(core: Driven):
    core.put(an_app(backoffSeconds=5))
    [task] = core.run()
    out = core.status(task, "FAILED", message="exit code 1")
    assert of(actions.Forget, out) == [actions.Forget("instances/prime.instance-i2")]
    assert not core.launch()
    out = core.tick(5)
    assert of(actions.Revive, out)
    assert core.launch() == ["prime.instance-i2._app.2"]


def test_crash_loop_doubles_its_delay_up_to_the_maximum(core: Driven):
    core.put(an_app(backoffSeconds=10, backoffFactor=2, maxLaunchDelaySeconds=35))
    delays = []
    for _ in range(4):
        [task] = core.run()
        core.status(task, "FAILED")
        launches = core.machine.state.launches_of("/prime")
        delays.append(launches.delayed_until - core.now)
        core.tick(delays[-1])
    assert delays == [10, 20, 35, 35]


def test_host_that_restarts_is_not_as_many_crashes_as_it_had_tasks(core: Driven):
    core.put(an_app(instances=5, backoffSeconds=2, backoffFactor=3))
    for task in core.run():
        core.status(task, "FAILED", reason="REASON_EXECUTOR_TERMINATED")
    assert core.machine.state.launches_of("/prime").delayed_until - core.now == 2
    # Executors that end before they start anything count one by one.
    core.tick(2)
    for task in core.launch():
        core.status(task, "FAILED", reason="REASON_EXECUTOR_REGISTRATION_TIMEOUT")
    assert core.machine.state.launches_of("/prime").delayed_until - core.now > 100


def test_lost_agent_relaunches_elsewhere_without_back_off(core: Driven):
    core.put(an_app(unreachableStrategy={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))
    [task] = core.run()
    core.status(task, "UNREACHABLE")
    core.tick(core.machine.step.settings.loss_settle_s)
    assert len(core.launch(an_offer("a2"))) == 1


def test_unreachable_task_that_comes_back_after_its_replacement_is_killed(core: Driven):
    core.put(an_app(unreachableStrategy={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))
    [task] = core.run()
    core.status(task, "UNREACHABLE")
    core.tick(core.machine.step.settings.loss_settle_s)
    core.tick(0)
    core.run(an_offer("a2"))
    core.status(task, "RUNNING")
    assert [kill.task_id for kill in of(actions.Kill, core.tick(core.machine.step.settings.loss_settle_s))] == [task]


def test_unreachable_task_that_comes_back_in_time_is_kept(core: Driven):
    core.put(an_app(unreachableStrategy={"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600}))
    [task] = core.run()
    core.status(task, "UNREACHABLE")
    core.tick(299)
    out = core.status(task, "RUNNING")
    assert not of(actions.Kill, out)
    core.tick(1000)
    assert [i.task_id for i in core.machine.state.instances.values()] == [task]


def test_scale_down_kills_the_surplus_and_repeats_until_terminal(core: Driven):
    core.put(an_app(instances=3))
    tasks = core.run()
    out = core.scale("/prime", 1)
    killed = [kill.task_id for kill in of(actions.Kill, out)]
    assert len(killed) == 2 and set(killed) < set(tasks)
    again = core.tick(core.machine.step.settings.kill_retry_s)
    assert {kill.task_id for kill in of(actions.Kill, again)} == set(killed)
    for task in killed:
        core.status(task, "KILLED")
    assert not of(actions.Kill, core.tick(core.machine.step.settings.kill_retry_s))
    assert not core.machine.state.deployments


def test_deleted_app_ends_with_its_last_task(core: Driven):
    core.put(an_app(instances=2))
    tasks = core.run()
    out = core.command(events.DeleteApps(("/prime",)))
    assert actions.Forget("apps//prime") in out
    assert sorted(kill.task_id for kill in of(actions.Kill, out)) == sorted(tasks)
    for task in tasks:
        core.status(task, "KILLED")
    assert not core.machine.state.instances and not core.machine.state.deployments


def test_unknown_task_is_killed_until_it_has_ended(core: Driven):
    core.status("prime.instance-zz._app.1", "RUNNING")
    for wait_s in (core.machine.step.settings.loss_settle_s, core.machine.step.settings.kill_retry_s):
        assert [kill.task_id for kill in of(actions.Kill, core.tick(wait_s))] == ["prime.instance-zz._app.1"]
    core.status("prime.instance-zz._app.1", "KILLED")
    assert not of(actions.Kill, core.tick(core.machine.step.settings.kill_retry_s))


@pytest.mark.parametrize("state", ["UNREACHABLE", "UNKNOWN"])
def test_unknown_task_on_a_lost_agent_is_not_killed_over_and_over(core: Driven, state: str):
    # The master answers such a kill with the same state, so this would go round without end.
    core.status("prime.instance-zz._app.1", state)
    assert of(actions.Kill, core.tick(60)) == []
    core.status("prime.instance-zz._app.1", "RUNNING")
    assert of(actions.Kill, core.tick(60))


def test_late_update_of_an_earlier_attempt_is_killed_and_the_later_one_kept(core: Driven):
    core.put(an_app(backoffSeconds=0))
    [first] = core.launch()
    core.status(first, "LOST")
    [second] = core.launch()
    core.status(first, "RUNNING")
    assert [kill.task_id for kill in of(actions.Kill, core.tick(1))] == [first]
    assert [i.task_id for i in core.machine.state.instances.values()] == [second]


def test_task_whose_record_is_spoilt_is_left_alone():
    core = Driven(a_machine(Stored(framework_id="fw1", spoilt={"instances/prime.instance-zz": "not JSON"})))
    core.subscribe()
    core.status("prime.instance-zz._app.1", "RUNNING")
    assert not of(actions.Kill, core.tick(60))


def test_restart_goes_on_with_running_tasks_and_reconciles_them():
    record = InstanceRecord("prime.instance-i1", "/prime", "v", 1, "a1", "h1", (31000,), 900.0, "TASK_RUNNING")
    app = an_app().with_version("v")
    core = Driven(a_machine(Stored("fw1", (app,), (record,))))
    out = core.subscribe()
    out += core.tick(0)
    assert of(actions.Reconcile, out)[0].tasks == (("prime.instance-i1._app.1", "a1"),)
    assert not of(actions.Kill, out) and not of(actions.Revive, out)


def test_reconciliation_repeats_until_answered_then_asks_for_all():
    record = InstanceRecord("prime.instance-i1", "/prime", "v", 1, "a1", "h1", (31000,), 900.0, "TASK_RUNNING")
    core = Driven(a_machine(Stored("fw1", (an_app().with_version("v"),), (record,))))
    core.subscribe()
    assert of(actions.Reconcile, core.tick(2))[0].tasks
    core.status("prime.instance-i1._app.1", "RUNNING", reason="REASON_RECONCILIATION", uuid="")
    assert of(actions.Reconcile, core.tick(60))[0].tasks == ()


def test_launch_without_update_is_asked_about(core: Driven):
    core.put(an_app())
    [task] = core.launch()
    out = core.tick(core.machine.step.settings.launch_timer_s)
    assert of(actions.Reconcile, out)[-1].tasks == ((task, "a1"),)


def test_new_definition_replaces_instances_without_going_below_the_minimum(core: Driven):
    strategy = {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.5}
    core.put(an_app(instances=2, upgradeStrategy=strategy))
    old = core.run()
    out = core.put(an_app(instances=2, upgradeStrategy=strategy, cpus=0.2))
    assert not of(actions.Kill, out)
    [first] = core.launch()
    out = core.status(first, "RUNNING")
    [kill] = of(actions.Kill, out)
    assert kill.task_id in old
    core.status(kill.task_id, "KILLED")
    [second] = core.launch()
    out = core.status(second, "RUNNING")
    assert {k.task_id for k in of(actions.Kill, out)} | {kill.task_id} == set(old)


def test_scaling_alone_replaces_nothing(core: Driven):
    core.put(an_app(instances=1))
    core.run()
    out = core.put(an_app(instances=2))
    assert not of(actions.Kill, out)
    assert len(core.launch()) == 1


def test_creating_an_app_that_exists_is_refused_and_changes_nothing(core: Driven):
    core.put(an_app())
    version = core.machine.state.apps["/prime"].version
    out = core.put(an_app(cpus=2), create_only=True)
    assert of(actions.Refuse, out)[0].refusal is actions.Refusal.EXISTS
    assert core.machine.state.apps["/prime"].version == version


def test_command_for_an_unknown_app_is_refused(core: Driven):
    for command in (events.RestartApp("/none"), events.DeleteApps(("/none",)), events.ResetDelay("/none")):
        (refused,) = of(actions.Refuse, core.command(command))
        assert (refused.refusal, refused.message) == (actions.Refusal.NOT_FOUND, "App '/none' does not exist")


def test_misfit_is_explained_by_field(core: Driven):
    core.put(an_app(cpus=64))
    core.offer(an_offer("a1", cpus=3.9))
    [refusal] = core.machine.state.launches_of("/prime").refusals.values()
    assert refusal.reason.value == "InsufficientCpus"
    assert "64 wanted, 3.9 free on host-a1" in refusal.detail


def test_a_port_that_a_host_never_offers_is_told_with_what_it_offers(core: Driven):
    core.put(
        an_app(requirePorts=True, portDefinitions=[{"port": 80}]),
        an_app("/near", requirePorts=True, portDefinitions=[{"port": 31050}]),
    )
    core.offer(replace(an_offer("a1"), ports=PortRanges([(31000, 31049), (31051, 32000)])))
    details = {app: next(iter(core.machine.state.launches_of(app).refusals.values())).detail for app in ("/prime", "/near")}
    assert "80 not among those that host-a1 offers, 31000 to 32000" in details["/prime"]
    assert "--resources" in details["/prime"]
    assert details["/near"] == "ports: 31050 not free on host-a1"


def test_offers_die_with_the_subscription(core: Driven):
    core.put(an_app(backoffSeconds=0))
    core.handle(events.Disconnected())
    assert not core.machine.state.offers
    assert core.machine.state.launches_of("/prime").waiting is not None


def test_removed_framework_aborts_and_touches_nothing(core: Driven):
    core.put(an_app())
    core.run()
    out = core.handle(events.MasterError("Framework has been removed"))
    assert "removed" in core.decision.abort
    assert not of(actions.Forget, out)


def test_reconcile_answer_does_not_erase_health(core: Driven):
    core.put(an_app(healthChecks=[{"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0}]))
    [task] = core.launch()
    core.status(task, "RUNNING", healthy=True, addresses=("10.0.0.1",), message="slow: health check 0")
    core.status(task, "RUNNING", reason="REASON_RECONCILIATION", uuid="")
    # Whatever else it may hold is of no account: a master tells what it heard last, and not always the whole of it.
    core.status(task, "RUNNING", reason="REASON_RECONCILIATION", uuid="", healthy=False, addresses=("10.9.9.9",))
    [instance] = core.machine.state.instances.values()
    assert instance.healthy is True and instance.state is TaskState.RUNNING
    assert (instance.addresses, instance.note) == (("10.0.0.1",), "slow: health check 0")


@pytest.mark.parametrize("idle_s", [0, 24 * 3600])
@pytest.mark.parametrize(("agents", "every_s"), [(3, 0.25), (400, 2.0), (1000, 5.0), (1001, 5.0)])
def test_revives_are_bounded_by_what_they_bring(core: Driven, idle_s: float, agents: int, every_s: float):
    for number in range(1, agents + 1):
        core.machine.state.know(Agent(f"a{number}", f"h{number}"))
    core.tick(idle_s)  # a day without any earns no more than the burst
    revives = 0
    for number in range(40):
        revives += len(of(actions.Revive, core.put(an_app(f"/app{number}"))))
        core.launch()
    assert revives == core.machine.step.settings.revive_burst
    core.put(an_app("/last"))
    assert not of(actions.Revive, core.tick(every_s - 0.01))
    assert of(actions.Revive, core.tick(0.01))


@pytest.mark.parametrize(
    ("constraint", "agents"),
    [
        (["hostname", "UNIQUE"], {"a1": 1, "a2": 1, "a3": 1}),
        (["rack", "MAX_PER", "2"], {"a1": 2, "a3": 2}),
        (["rack", "CLUSTER", "r2"], {"a3": 6}),
        (["rack", "CLUSTER"], {"a1": 3, "a2": 3}),
        (["rack", "GROUP_BY", "2"], {"a1": 2, "a2": 1, "a3": 3}),
        (["rack", "LIKE", "r[3-9]|r2"], {"a3": 6}),
        (["rack", "UNLIKE", "r1"], {"a3": 6}),
        (["hostname", "IS", "host-a2"], {"a2": 6}),
        (["@hostname", "UNIQUE"], {"a1": 1, "a2": 1, "a3": 1}),
        (["@hostname", "UNLIKE", "host-a1|host-a2"], {"a3": 6}),
        (["colour", "UNIQUE"], {}),
        (["colour", "UNLIKE", "red"], {"a1": 2, "a2": 2, "a3": 2}),
    ],
)
def test_constraints_hold(core: Driven, constraint: list[str], agents: dict[str, int]):
    core.put(an_app(instances=6, constraints=[constraint]))
    racks = {"a1": "r1", "a2": "r1", "a3": "r2"}
    out = core.offer(*(an_offer(agent, attributes={"rack": rack}) for agent, rack in racks.items()))
    found = {accept.agent_id: len(accept.launches) for accept in of(actions.Accept, out)}
    if constraint == ["rack", "MAX_PER", "2"]:
        assert found["a3"] == 2 and found.get("a1", 0) + found.get("a2", 0) == 2
    elif constraint[1] == "GROUP_BY":
        assert found["a3"] == 3 and found["a1"] + found["a2"] == 3
    else:
        assert found == agents


def test_constraint_counts_survive_a_restart(core: Driven):
    app = an_app(instances=2, constraints=[["rack", "UNIQUE"]])
    core.put(app)
    out = core.offer(an_offer("a1", attributes={"rack": "r1"}))
    [put] = [p for p in of(actions.Put, out) if isinstance(p.record, InstanceRecord)]
    again = Driven(a_machine(Stored("fw1", (core.machine.state.apps["/prime"],), (put.record,))))
    again.subscribe()
    assert not again.launch(an_offer("a2", attributes={"rack": "r1"}))
    assert again.launch(an_offer("a3", attributes={"rack": "r2"}))


def test_app_starts_once_what_it_depends_on_is_ready(core: Driven):
    core.put(an_app("/db"))
    core.put(an_app("/web", dependencies=["/db"]))
    [database] = core.launch()
    assert database.startswith("db.")
    assert core.machine.state.launches_of("/web").waiting is Waiting.DEPENDENCY
    assert of(actions.Revive, core.status(database, "RUNNING"))
    [web] = core.run()
    assert web.startswith("web.")


def test_failing_dependency_does_not_keep_a_dependent_app_from_being_repaired(core: Driven):
    core.put(an_app("/db", instances=2), an_app("/web", dependencies=["/db"], backoffSeconds=0))
    databases = core.run()
    [web] = core.run()
    core.status(databases[0], "FAILED")
    core.status(web, "FAILED")
    assert [task.split(".")[0] for task in core.launch()] == ["web"]


def test_the_next_attempt_of_an_instance_that_ended_out_of_reach_is_not_taken_for_unreachable(core: Driven):
    core.put(an_app(backoffSeconds=0, unreachableStrategy={"inactiveAfterSeconds": 100, "expungeAfterSeconds": 200}))
    [task] = core.run()
    core.status(task, "UNREACHABLE")
    core.tick(10)
    core.status(task, "GONE")
    [again] = core.launch()  # and nothing is heard of it while the former task's time runs out
    core.tick(100)
    core.tick(100)
    assert [(i.task_id, i.inactive) for i in core.machine.state.instances.values()] == [(again, False)]


def test_an_instance_that_ends_while_it_is_to_move_is_not_started_again_beside_its_replacement(core: Driven):
    core.put(an_app(backoffSeconds=0))
    [task] = core.run()
    core.handle(events.InverseOffersReceived((InverseOffer("i", "a1", Window(core.now + 10)),)))
    [replacement] = core.machine.state.fleet("/prime").waiting
    core.status(task, "FAILED")
    assert list(core.machine.state.instances) == [replacement]


def test_the_answer_to_a_change_names_a_version_that_is_there() -> None:
    core = Driven(a_machine())
    [created] = of(actions.Reply, core.put(an_app("/a"), an_app("/b")))
    [scaled] = of(actions.Reply, core.scale("/a", 3))
    [together] = of(actions.Reply, core.put(an_app("/a", 4), an_app("/b", 4)))
    assert created.version == scaled.version == together.version == core.machine.state.apps["/a"].version
    [changed] = of(actions.Reply, core.put(an_app("/a", 4), an_app("/b", 4, cpus=0.2)))
    assert changed.version == core.machine.state.apps["/b"].version > created.version
    # It changes the one app, and the other stays in the deployment before.
    assert [set(found.app_ids) for found in core.machine.state.deployments.values()] == [{"/a"}, {"/b"}]
