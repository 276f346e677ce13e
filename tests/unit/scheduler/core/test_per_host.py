"""Apps with one instance on each host: which hosts, in which order they are replaced, and when such an app is at rest."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.marathon.app import App
from eratos.scheduler.core import actions, constraints, events, per_host, rollout
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import Agent, TaskState, Window
from eratos.scheduler.core.records import InstanceRecord, Stored, VersionRecord
from eratos.scheduler.core.timers import Timer, TimerKind


def each(**fields: Any) -> App:
    return an_app("/each", eratos={"perHost": True}, **fields)


def offers(*agents: str, **fields: Any) -> tuple[Any, ...]:
    return tuple(an_offer(agent, **fields) for agent in agents)


@pytest.fixture
def core() -> Core:
    """A core that has been with its master for long, and knows three hosts."""
    core = Core()
    core.subscribe()
    core.tick(0)
    core.offer(*offers("a1", "a2", "a3"))
    core.tick(per_host.SILENT_S + 1)
    return core


def lacking(core: Core) -> dict[str, str]:
    state = core.machine.state
    return {found.host: found.reason for found in per_host.lacking(state, state.apps["/each"])}


def wanted(core: Core) -> int:
    return per_host.wanted(core.machine.state, core.machine.state.apps["/each"])


def at_rest(core: Core) -> bool:
    state = core.machine.state
    return rollout.at_rest(state.apps["/each"], state.fleet("/each")) and not state.deployments


def test_each_host_gets_one_and_then_it_is_at_rest(core: Core):
    core.put(each())
    assert wanted(core) == 3 and not at_rest(core)
    core.run(*offers("a1", "a2", "a3"))
    assert core.hosts() == ["a1", "a2", "a3"] and at_rest(core)
    core.run(*offers("a1", "a2", "a3"))
    assert core.hosts() == ["a1", "a2", "a3"]


def test_a_host_that_joins_gets_one(core: Core):
    core.put(each())
    core.run(*offers("a1", "a2", "a3"))
    core.tick(3600)
    assert not core.machine.state.suppressed, "a new host would not be heard of"
    assert core.run(*offers("a4"))
    assert core.hosts() == ["a1", "a2", "a3", "a4"] and wanted(core) == 4 and at_rest(core)


def test_offers_are_asked_for_no_more_once_it_is_deleted(core: Core):
    core.put(each())
    (first, *_) = tasks = core.run(*offers("a1", "a2", "a3"))
    core.command(events.DeleteApps(("/each",)))
    for task in tasks:
        core.fail(task, "KILLED")
    assert first and core.machine.state.suppressed and not core.machine.state.wanted_on


def test_a_host_that_goes_is_not_replaced(core: Core):
    core.put(each(unreachableStrategy={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.status(tasks[2], "UNREACHABLE", agent="a3")
    assert wanted(core) == 2 and at_rest(core)
    core.handle(events.AgentLost("a3"))
    for _ in range(5):
        core.tick(10)
    core.offer(*offers("a1", "a2"))
    assert core.hosts() == ["a1", "a2"] and at_rest(core)
    core.run(*offers("a3"))
    assert core.hosts() == ["a1", "a2", "a3"]


def test_an_instance_that_is_out_of_reach_goes_on_when_its_host_is_back(core: Core):
    core.put(each(unreachableStrategy="disabled"))
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.status(tasks[2], "UNREACHABLE", agent="a3")
    assert at_rest(core), "nobody can say when the host is back"
    # The host's offer may come before the news of its task.
    assert core.launch(*offers("a3")) == []
    core.status(tasks[2], "RUNNING", agent="a3", uuid="again")
    assert core.launch(*offers("a3")) == [] and core.hosts() == ["a1", "a2", "a3"] and at_rest(core)


def test_what_waits_for_a_host_that_is_lost_waits_no_more(core: Core):
    core.put(each())
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.fail(tasks[2])
    core.handle(events.AgentLost("a3"))
    assert not core.machine.state.fleet("/each").waiting and wanted(core) == 2


def test_a_host_that_was_started_anew_has_another_agent_and_gets_one(core: Core):
    core.put(each(unreachableStrategy="disabled"))
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.status(tasks[2], "UNREACHABLE", agent="a3")
    assert core.run(*offers("b3", hostname="host-a3"))
    assert core.hosts() == ["a1", "a2", "a3", "b3"] and wanted(core) == 3


def test_a_host_that_is_lost_is_told_of_until_the_next_subscription(core: Core):
    core.put(each(unreachableStrategy={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.status(tasks[2], "UNREACHABLE", agent="a3")
    core.handle(events.AgentLost("a3"))
    for _ in range(5):
        core.tick(10)
    assert lacking(core) == {"host-a3": "Lost"}
    core.handle(events.Disconnected())
    core.subscribe()
    assert lacking(core) == {} and "a3" not in core.machine.state.lost


def test_a_host_without_anything_counts_with_a_new_master_once_it_offers_something(core: Core):
    core.put(each(constraints=[["rack", "UNLIKE", "r9"]]))
    core.run(*offers("a1", "a2"), an_offer("a3", cpus=0.01))
    core.handle(events.Disconnected())
    core.subscribe()
    assert lacking(core) == {"host-a3": "Lost"} and wanted(core) == 2
    core.run(*offers("a3"))
    assert wanted(core) == 3 and lacking(core) == {}


def test_two_agents_of_one_host_have_one_instance(core: Core):
    core.put(each())
    core.run(*offers("a1", "a2", "a3"), an_offer("b3", hostname="host-a3"))
    assert len(core.hosts()) == 3 and at_rest(core)


def test_what_crashed_comes_back_on_its_host_alone(core: Core):
    core.put(each())
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.tick(100)
    core.fail(tasks[1])
    core.tick(10)
    assert core.launch(*offers("a1", "a3")) == []
    (again,) = core.launch(*offers("a2"))
    assert again == tasks[1].replace("._app.1", "._app.2")


def test_a_host_without_room_is_not_waited_for_and_gets_one_later(core: Core):
    core.put(each())
    core.run(*offers("a1", "a2"), an_offer("a3", cpus=0.05))
    assert wanted(core) == 2 and at_rest(core)
    assert lacking(core) == {"host-a3": "InsufficientCpus"}
    declined = of(actions.Decline, core.offer(*offers("a1"), an_offer("a3", cpus=0.06)))
    assert [call.refuse_s for call in declined] == [3600], "a full host comes back by itself, and nobody else is asked for"
    core.run(*offers("a3"))
    assert wanted(core) == 3 and at_rest(core) and not lacking(core)


def test_a_host_that_offers_nothing_is_full(core: Core):
    core.put(each())
    core.run(*offers("a1", "a2"))
    assert not at_rest(core) and lacking(core) == {"host-a3": "Waiting"}
    core.tick(per_host.SILENT_S + 1)
    assert at_rest(core) and lacking(core) == {"host-a3": "NothingOffered"}


def test_what_waits_for_something_else_does_not_show_that_its_host_is_full(core: Core):
    core.put(each(backoffSeconds=100))
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.fail(tasks[2])
    core.tick(per_host.SILENT_S + 1)
    core.tick(per_host.SILENT_S + 1)
    assert not at_rest(core) and lacking(core) == {"host-a3": "Waiting"}


def test_a_host_has_all_of_its_time_to_offer_something(core: Core):
    core.put(each())
    tasks = core.run(*offers("a1", "a2"))
    core.tick(per_host.SILENT_S - 1)
    core.fail(tasks[0])
    core.tick(2)
    assert lacking(core) == {"host-a1": "Waiting", "host-a3": "NothingOffered"}
    core.tick(per_host.SILENT_S)
    assert lacking(core) == {"host-a1": "NothingOffered", "host-a3": "NothingOffered"}


def test_nothing_is_looked_at_while_all_hosts_have_one(core: Core):
    core.put(each())
    core.run(*offers("a1", "a2", "a3"))
    core.tick(per_host.SILENT_S + 1)
    assert Timer(TimerKind.SILENT, "/each") not in core.machine.step.timers


def test_a_new_leader_does_not_take_two_hosts_for_all():
    core = Core()
    core.subscribe()
    core.put(each())
    core.run(*offers("a1", "a2"))
    assert not at_rest(core), "there may be hosts that have not offered anything yet"
    core.tick(per_host.SILENT_S + 1)
    assert at_rest(core)


def test_without_any_host_it_comes_to_rest():
    core = Core()
    core.subscribe()
    core.put(each())
    core.tick(per_host.SILENT_S)
    assert at_rest(core) and wanted(core) == 0


def test_a_new_leader_goes_on_with_what_is_stored():
    app = each().with_version("v1")
    record = InstanceRecord("each.instance-1", "/each", "v1", 1, "a1", "host-a1", (31000,), 1.0, "TASK_RUNNING", 1.0)
    kept = VersionRecord("/each", "v1", b"{}")
    core = Core(a_machine(Stored("fw1", (app,), (record,), (kept,))))
    core.subscribe()
    assert core.launch(*offers("a1")) == []
    core.run(*offers("a2"))
    assert core.hosts() == ["a1", "a2"]


def test_a_host_is_emptied_for_maintenance_and_gets_one_afterwards(core: Core):
    core.put(each())
    tasks = core.run(*offers("a1", "a2", "a3"))
    window = Window(core.now + 400, core.now + 1000)
    core.offer(an_offer("a3", window=window))
    assert core.hosts() == ["a1", "a2", "a3"]
    killed = of(actions.Kill, core.tick(101))  # the lead time is 300 s
    assert [kill.task_id for kill in killed] == [tasks[2]]
    core.fail(tasks[2], "KILLED")
    assert core.launch(*offers("a1"), an_offer("a3", window=window)) == []
    assert at_rest(core) and lacking(core) == {"host-a3": "AgentMaintenance"}
    out = core.tick(900)
    assert of(actions.Revive, out), "its offers were declined for long, so they do not come back by themselves"
    core.run(*offers("a3"))
    assert core.hosts() == ["a1", "a2", "a3"]


def test_constraints_keep_hosts_out_and_have_others_emptied(core: Core):
    core.offer(an_offer("a1", attributes={"rack": "r1"}), an_offer("a2", attributes={"rack": "r2"}))
    core.put(each(constraints=[["rack", "LIKE", "r1"]]))
    core.run(an_offer("a1", attributes={"rack": "r1"}), an_offer("a2", attributes={"rack": "r2"}), *offers("a3"))
    assert core.hosts() == ["a1"] and at_rest(core)
    assert lacking(core) == dict.fromkeys(["host-a2", "host-a3"], "UnfulfilledConstraint")
    core.offer(an_offer("a1", attributes={"rack": "r3"}))
    assert [instance.stopping for instance in core.machine.state.with_task()] == [True]


def test_no_host_is_closed_because_a_round_is_too_short_to_look_at_it(core: Core, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constraints, "WORK_MOST", 1)
    core.put(each(constraints=[["hostname", "LIKE", ".+"]]))
    assert wanted(core) == 3
    core.run(*offers("a1", "a2", "a3"))
    assert core.hosts() == ["a1", "a2", "a3"] and at_rest(core)


def test_hosts_are_replaced_one_after_another(core: Core):
    core.put(each())
    tasks = core.run(*offers("a1", "a2", "a3"))
    out = core.put(each(cmd="new"))
    (kill,) = of(actions.Kill, out)
    agent = core.instance(kill.task_id).agent_id
    assert core.launch(*offers(agent)) == [], "never two on one host, not for a moment"
    core.fail(kill.task_id, "KILLED")
    others = [found for found in ("a1", "a2", "a3") if found != agent]
    assert core.launch(*offers(*others)) == []
    (task,) = core.launch(*offers(agent))
    assert not any(core.instance(task).stopping for task in tasks if task != kill.task_id), "the new one does not run yet"
    core.status(task, "RUNNING", agent=agent)
    assert sum(found.stopping for found in core.machine.state.with_task()) == 1


def test_what_no_number_changes_cannot_be_killed_with_scale(core: Core):
    core.put(each())
    tasks = core.run(*offers("a1", "a2", "a3"))
    (refused,) = of(actions.Refuse, core.command(events.KillInstances((core.instance(tasks[0]).instance_id,), scale=True)))
    assert "one instance on each host" in refused.message
    core.scale("/each", 0)
    assert all(found.stopping for found in core.machine.state.with_task()), "0 is none on any host"


def test_an_app_that_becomes_one_on_each_host_keeps_one_on_each(core: Core):
    core.put(an_app("/each", 4))
    core.run(*offers("a1", "a2", "a3"))
    out = core.put(each(upgradeStrategy={"minimumHealthCapacity": 0}))
    killed = {kill.task_id for kill in of(actions.Kill, out)}
    assert len(killed) == 4, "all are of the old version"
    for task in killed:
        core.fail(task, "KILLED", uuid=task)
    core.run(*offers("a1", "a2", "a3"))
    assert core.hosts() == ["a1", "a2", "a3"] and at_rest(core)


def test_a_task_that_was_given_up_and_is_back_is_killed_before_its_host_gets_another(core: Core):
    core.put(each(unreachableStrategy={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))
    tasks = core.run(*offers("a1", "a2", "a3"))
    core.status(tasks[2], "UNREACHABLE", agent="a3")
    for _ in range(5):
        core.tick(10)
    assert core.hosts() == ["a1", "a2"]
    core.status(tasks[2], "RUNNING", agent="a3", uuid="back")
    assert core.launch(*offers("a3")) == []
    core.status(tasks[2], "KILLED", agent="a3", uuid="over")
    assert core.launch(*offers("a3"))


def an_instance(number: int, host: str, letter: str) -> Instance:
    """Return one that is Current, Old, Unready, Stopping (old), Waiting, Full (waits without room), or Away."""
    agent = Agent("", "") if letter in "WF" else Agent(f"agent-{host}", host)
    state = None if letter in "WF" else TaskState.STARTING if letter == "U" else TaskState.RUNNING
    return Instance(
        f"each.instance-{number}",
        "/each",
        "v1" if letter in "OS" else "v2",
        state=TaskState.UNREACHABLE if letter == "A" else state,
        agent=agent,
        host=host if letter in "WF" else "",
        launched_at=100.0 - number,  # so that the first host has the youngest, which goes first
        stopping=letter == "S",
        unfit=letter == "F",
    )


@pytest.mark.parametrize(
    ("health", "hosts", "start", "stop"),
    [
        # what each of the hosts a, b, c ... has, then where one starts and where how many are stopped
        (1.0, ("C", "C", ""), "c", ""),
        (1.0, ("", "", ""), "abc", ""),
        (1.0, ("C", "W", "F"), "", ""),
        # one after another where all are to stay ready, as no host has two
        (1.0, ("O", "O", "O"), "", "a"),
        (1.0, ("S", "O", "O"), "", ""),
        (1.0, ("", "O", "O"), "a", ""),
        (1.0, ("U", "O", "O"), "", ""),
        (1.0, ("C", "O", "O"), "", "b"),
        (1.0, ("O",), "", "a"),
        # half of them, rounded up, stay
        (0.5, ("O", "O", "O", "O"), "", "ab"),
        (0.5, ("O", "O", "O"), "", "a"),
        (0.0, ("O", "O", "O"), "", "abc"),
        # a host without room is none of those that stay ready
        (1.0, ("O", "O", "F"), "", "a"),
        (1.0, ("C", "O", "F"), "", "b"),
        # one is enough: what is new stays, and what waits goes first
        (1.0, ("CO", "C", "C"), "", "a"),
        (1.0, ("CW", "C"), "", "a"),
        (1.0, ("OOO", "O"), "", "aaa"),  # ready ones of a crowded host go as far as enough stay
        # out of reach: it is heard of before its host offers anything
        (1.0, ("C", "A"), "", ""),
    ],
)
def test_next_steps_by_table(health: float, hosts: tuple[str, ...], start: str, stop: str):
    app = each(upgradeStrategy={"minimumHealthCapacity": health}).with_version("v2")
    step = a_machine().step
    number = 0
    for host, letters in zip("abcdef", hosts, strict=False):
        step.state.agents[f"agent-{host}"] = Agent(f"agent-{host}", host)
        for letter in letters:
            step.state.add(an_instance(number, host, letter))
            number += 1
    per_host.hosts(step.state, app, step.now, 300)
    steps, on = per_host.next_steps(step, app, None, None)
    assert ("".join(on[: steps.start]), steps.start_before) == (start, 0)
    assert "".join(sorted(found.place for found in steps.stop)) == stop


@pytest.mark.parametrize(("limit", "start", "before"), [(None, "ab", ""), (2, "a", "b"), (1, "", "ab"), (0, "", "ab")])
def test_no_more_of_the_new_than_a_paused_deployment_may_have(limit: int | None, start: str, before: str):
    app = each().with_version("v2")
    step = a_machine().step
    for host in "abc":
        step.state.agents[host] = Agent(host, host)
    step.state.add(an_instance(1, "c", "C"))
    steps, on = per_host.next_steps(step, app, each().with_version("v1"), limit)
    assert ("".join(on[: steps.start]), "".join(on[steps.start :])) == (start, before)
    assert steps.start_before == len(before)


@pytest.mark.parametrize(("limit", "stopped"), [(None, 2), (3, 2), (2, 1), (1, 0), (0, 0)])
def test_no_more_of_the_old_goes_than_may_be_new(limit: int | None, stopped: int):
    app = each(upgradeStrategy={"minimumHealthCapacity": 0}).with_version("v2")
    step = a_machine().step
    for number, (host, letter) in enumerate(zip("abc", "COO", strict=True)):
        step.state.agents[f"agent-{host}"] = Agent(f"agent-{host}", host)
        step.state.add(an_instance(number, host, letter))
    steps, on = per_host.next_steps(step, app, None, limit)
    assert (len(steps.stop), on) == (stopped, [])


def test_of_two_the_one_with_a_task_stays():
    app = each().with_version("v2")
    step = a_machine().step
    step.state.agents["agent-a"] = Agent("agent-a", "a")
    for number, letter in enumerate("WCW"):
        step.state.add(an_instance(number, "a", letter))
    steps, _ = per_host.next_steps(step, app, None, None)
    assert [found.waiting for found in steps.stop] == [True, True]


@pytest.mark.parametrize(
    ("app", "count"),
    [(an_app(instances=5), 5), (each(instances=0), 0), (each(), 2), (each(constraints=[["rack", "LIKE", "r1"]]), 1)],
)
def test_how_many_a_definition_would_have(app: App, count: int):
    state = a_machine().state
    for name, attributes in (("a1", {"rack": "r1"}), ("a2", {}), ("lost", {"rack": "r1"}), ("closed", {"rack": "r1"})):
        state.agents[name] = Agent(name, name, attributes=attributes)
    state.lost.add("lost")
    state.windows["closed"] = Window(0.0)
    assert per_host.expected(state, app) == count


@pytest.mark.parametrize(
    ("health", "hosts", "least"), [(1.0, 3, 2), (1.0, 1, 0), (0.5, 3, 2), (0.5, 4, 2), (0.0, 3, 0), (1.0, 0, 0)]
)
def test_bounds_by_table(health: float, hosts: int, least: int):
    app = each(upgradeStrategy={"minimumHealthCapacity": health})
    state = a_machine().state
    for number in range(hosts):
        state.agents[f"a{number}"] = Agent(f"a{number}", f"h{number}")
    per_host.hosts(state, app, 0.0, 300.0)
    assert per_host.bounds(state, app) == (least, hosts)
