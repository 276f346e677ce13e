"""Launches on their way: how many, for how long, and what happens to those that never get anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.marathon.app import App
from eratos.scheduler.core import actions, events, offers, rollout, status_updates
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import InstanceRecord, Stored


def broken_apps(core: Core) -> list[object]:
    """Return the apps that the last decision reports a fault of."""
    return [notice.fields["app"] for notice in core.decision.notices if notice.error is not None]


@pytest.fixture
def core() -> Core:
    core = Core()
    core.subscribe()
    return core


def small(limit: int, **settings: Any) -> Core:
    core = Core(a_machine(launching_most=limit, **settings))
    core.subscribe()
    return core


def test_a_start_that_its_executor_answered_counts_no_more_as_unanswered() -> None:
    core = small(10)
    core.put(an_app("/slow", instances=10), an_app("/innocent"))
    for task in core.launch():
        core.status(task, "STARTING", message="pulling image eratos/prime")
    [task] = core.launch()
    assert task.startswith("innocent.")


def test_agents_refused_at_the_launch_limit_are_wanted_back_at_once() -> None:
    core = small(1)
    core.put(an_app(instances=3))
    out = core.offer(an_offer("a1"), an_offer("a2"))
    assert {call.refuse_s for call in of(actions.Accept, out) + of(actions.Decline, out)} == {0.0}
    # Nothing is placed while the limit is reached, but what comes then is wanted soon as well.
    assert of(actions.Decline, core.offer(an_offer("a1")))[0].refuse_s == 0.0


def asked(core: Core, until_s: float) -> list[float]:
    """Return after how many seconds Mesos was asked about a launch, by ticks of a second."""
    began, times = core.now, []
    while core.now < began + until_s:
        if of(actions.Reconcile, [call for call in core.tick(1) if call != actions.Reconcile()]):
            times.append(core.now - began)
    return times


def test_mesos_is_asked_about_a_launch_again_after_twice_as_long_each_time() -> None:
    core = small(10, launch_confirm_timeout_s=1e9)
    core.tick(1)
    core.status("none", "RUNNING")  # the first reconciliation is over
    core.put(an_app())
    core.launch()
    assert asked(core, 590) == [30, 60, 120, 240, 480]  # and then with the full reconciliation of all tasks


def test_many_launches_are_asked_about_in_few_calls() -> None:
    core = small(5000)
    core.put(an_app(instances=1500, cpus=0.001, mem=6, portDefinitions=[]))
    assert len(core.launch(an_offer("a1", mem=100_000), an_offer("a2", mem=100_000))) == 1500
    calls = [call for call in of(actions.Reconcile, core.tick(30)) if call.tasks]
    assert [len(call.tasks) for call in calls][-2:] == [1000, 500] and len(calls) <= 4


def test_a_launch_that_no_executor_answers_is_given_up_and_tried_on_another_host(core: Core) -> None:
    core.put(an_app(backoffSeconds=0))
    [task] = core.launch(an_offer("a1", cpus=8), an_offer("a2"))
    asked(core, 299)
    assert not core.instance(task).stopping
    out = core.tick(1)
    assert [kill.task_id for kill in of(actions.Kill, out)] == [task]
    failure = core.machine.state.launches_of("/prime").last_failure
    assert failure is not None and "no executor has answered for 300 s" in failure.message
    core.launch(an_offer("a1", cpus=8), an_offer("a2"))
    assert core.hosts() == ["a1", "a2"]
    core.status(task, "LOST")
    assert core.hosts() == ["a2"]


def test_a_start_may_take_long_as_long_as_there_is_news_of_it(core: Core) -> None:
    core.put(an_app(backoffSeconds=0))
    [task] = core.launch()
    for minute in range(120):
        core.status(task, "STARTING", message=f"pulling image eratos/prime: {minute} MB", uuid=str(minute))
        asked(core, 60)
    assert not core.instance(task).stopping
    # The same words again are no news.
    asked(core, 900)
    core.status(task, "STARTING", message="pulling image eratos/prime: 119 MB", uuid="again")
    asked(core, 839)
    assert not core.instance(task).stopping
    asked(core, 2)
    assert core.instance(task).stopping
    failure = core.machine.state.launches_of("/prime").last_failure
    assert failure is not None and failure.message.endswith("the last was: pulling image eratos/prime: 119 MB")


def test_a_pull_of_twenty_minutes_in_silence_is_let_go_on(core: Core) -> None:
    # Executors of the version before say once that they pull, and nothing more.
    core.put(an_app())
    [task] = core.launch()
    core.status(task, "STARTING", message="pulling image eratos/prime")
    asked(core, 1200)
    core.status(task, "RUNNING")
    asked(core, 1200)
    assert not core.instance(task).stopping


def test_nothing_is_given_up_while_mesos_is_away_or_has_just_come_back(core: Core) -> None:
    core.put(an_app())
    [task] = core.launch()
    core.handle(events.Disconnected())
    asked(core, 1000)
    core.subscribe()
    asked(core, 299)
    assert not core.instance(task).stopping
    asked(core, 60)
    assert core.instance(task).stopping


def test_a_launch_of_before_a_restart_gets_its_time_anew() -> None:
    record = InstanceRecord("prime.instance-i1", "/prime", "v", 1, "a1", "h1", (31000,), 10.0, "TASK_STAGING")
    core = Core(a_machine(Stored("fw1", (an_app().with_version("v"),), (record,))))
    core.subscribe()
    asked(core, 299)
    [instance] = core.machine.state.with_task()
    assert not instance.stopping


def test_a_launch_that_was_never_sent_waits_again_without_a_delay(core: Core) -> None:
    core.put(an_app(backoffSeconds=60))
    [task] = core.launch()
    out = core.handle(events.NotLaunched((task,)))
    assert of(actions.Forget, out) == [actions.Forget("instances/prime.instance-i2")]
    assert of(actions.Revive, out)
    [again] = core.launch()
    assert again == task[:-1] + "2"
    assert core.machine.state.launches_of("/prime").last_failure is None
    assert not core.machine.state.troubles
    # Late, or of a task that has been heard of since: nothing.
    core.status(again, "STARTING")
    core.handle(events.NotLaunched((task, again)))
    assert core.instance(again).state is TaskState.STARTING


# Bytes


def test_one_agent_gets_no_more_instructions_in_a_pass_than_its_executor_can_take() -> None:
    core = small(10_000)
    core.put(an_app(instances=20, cpus=0.01, env={f"BIG{n}": "x" * 100_000 for n in range(4)}, portDefinitions=[]))
    sent = [len(accept.launches) for accept in of(actions.Accept, core.offer(an_offer("a1"), an_offer("a2")))]
    assert sent == [5, 5]
    launches = core.machine.state.launches_of("/prime")
    assert launches.waiting is Waiting.LAUNCH_LIMIT
    assert sum(len(accept.launches) for accept in of(actions.Accept, core.offer(an_offer("a1"), an_offer("a2")))) == 10


def test_all_instructions_of_a_pass_fit_on_the_way_to_the_master(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PASS_BYTES", 3_000_000)
    core = small(10_000)
    core.put(an_app(instances=20, cpus=0.01, env={f"BIG{n}": "x" * 100_000 for n in range(4)}, portDefinitions=[]))
    core.put(an_app("/other", instances=20, cpus=0.01, env={f"BIG{n}": "x" * 100_000 for n in range(4)}, portDefinitions=[]))
    assert len(core.launch(*(an_offer(f"a{n}") for n in range(20)))) == 3


# Counts


def test_instances_are_made_as_they_can_be_placed() -> None:
    core = small(20_000)
    out = core.put(an_app(instances=10**9, cpus=0.001, mem=6, portDefinitions=[]))
    state = core.machine.state
    assert len(state.instances) == 10_000 and of(actions.Revive, out)
    assert state.launches_of("/prime").unmade == 10**9 - 10_000
    core.launch(*(an_offer(f"a{n}", mem=600) for n in range(10)))
    placed = len(list(state.with_task()))
    assert placed == 1000 and len(state.fleet("/prime").waiting) == 10_000
    assert state.launches_of("/prime").unmade == 10**9 - 11_000
    core.scale("/prime", 5)
    assert state.launches_of("/prime").unmade == 0 and not state.fleet("/prime").waiting


def test_every_instance_is_made_in_the_end() -> None:
    core = small(30_000)
    core.put(an_app(instances=12_000, cpus=0.001, mem=6, portDefinitions=[]))
    for round_ in range(3):
        core.launch(*(an_offer(f"a{round_}{n}", mem=6000, cpus=8) for n in range(10)))
        for instance in list(core.machine.state.with_task()):
            core.machine.state.alter(instance, state=TaskState.RUNNING)
    assert len(core.machine.state.instances) == 12_000
    assert not core.machine.state.launches_of("/prime").unmade


# Deployments


def test_an_app_is_in_one_deployment_at_most(core: Core) -> None:
    core.put(an_app(cpus=64))
    for instances in range(2, 500):
        core.scale("/prime", instances)
    [deployment] = core.machine.state.deployments.values()
    assert deployment.app_ids == {"/prime"}


def test_a_later_change_takes_over_its_apps_and_leaves_the_others_to_the_older(core: Core) -> None:
    core.put(an_app("/a", cpus=64), an_app("/b", cpus=64))
    core.scale("/a", 2)
    assert [sorted(found.app_ids) for found in core.machine.state.deployments.values()] == [["/b"], ["/a"]]
    core.command(events.DeleteApps(("/b",), force=True))
    assert [sorted(found.app_ids) for found in core.machine.state.deployments.values()] == [["/a"]]


# Faults


def test_one_app_that_cannot_be_placed_does_not_keep_the_others_from_it(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = offers.payload

    def broken(app: Any, *rest: Any, **more: Any) -> Any:
        if app.id == "/bad":
            raise IndexError("tuple index out of range")
        return payload(app, *rest, **more)

    monkeypatch.setattr(offers, "payload", broken)
    core.put(*(an_app(app_id, instances=2) for app_id in ("/a", "/bad", "/z")))
    out = core.offer(an_offer("a1"), an_offer("a2"))
    launched = [launch.task_id.split(".")[0] for accept in of(actions.Accept, out) for launch in accept.launches]
    assert sorted(launched) == ["a", "a", "z", "z"]
    answered = [o for call in of(actions.Accept, out) + of(actions.Decline, out) for o in call.offer_ids]
    assert len(answered) == len(set(answered)) == 2, "every offer is answered"
    assert not [put for put in of(actions.Put, out) if "bad" in put.key], "what was not sent is not stored"
    launches = core.machine.state.launches_of("/bad")
    assert (launches.waiting, launches.fault) == (Waiting.FAULT, "IndexError: tuple index out of range")
    assert broken_apps(core) == ["/bad"]
    core.offer(an_offer("a1"))
    assert broken_apps(core) == [], "it is logged once"
    monkeypatch.undo()
    assert len(core.launch(an_offer("a1"))) == 2
    assert core.machine.state.launches_of("/bad").fault == ""


def test_one_app_that_cannot_be_rolled_out_does_not_keep_the_others_from_it(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    next_steps = rollout.next_steps

    def broken(app: App | None, fleet: Any) -> rollout.Steps:
        if app is not None and app.id == "/bad":
            raise RuntimeError("a bug")
        return next_steps(app, fleet)

    monkeypatch.setattr(rollout, "next_steps", broken)
    core.put(an_app("/bad"), an_app("/good"))
    assert broken_apps(core) == ["/bad"]
    assert [task.split(".")[0] for task in core.launch()] == ["good"]


def test_a_timer_that_breaks_is_tried_again_and_keeps_no_other_from_firing(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    core.put(an_app("/bad"), an_app("/good"))
    bad, good = sorted(core.run())
    core.command(events.DeleteApps(("/bad", "/good")))
    kill = status_updates.kill

    def broken(step: Any, instance: Any) -> None:
        if instance.app_id == "/bad":
            raise RuntimeError("a bug")
        kill(step, instance)

    monkeypatch.setattr(status_updates, "kill", broken)
    retry_s = core.machine.step.settings.kill_retry_s
    for tick in range(3):
        assert [call.task_id for call in of(actions.Kill, core.tick(retry_s))] == [good]
        assert broken_apps(core) == ([] if tick else ["/bad"])
    monkeypatch.undo()
    assert {call.task_id for call in of(actions.Kill, core.tick(retry_s))} == {bad, good}


def test_a_dependency_that_breaks_keeps_no_other_app_waiting(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    held_back = offers.held_back

    def broken(step: Any, app_id: str, depended_on: Any) -> Any:
        if app_id == "/bad":
            raise RuntimeError("a bug")
        return held_back(step, app_id, depended_on)

    monkeypatch.setattr(offers, "held_back", broken)
    assert of(actions.Revive, core.put(an_app("/bad"), an_app("/good")))
    assert [task.split(".")[0] for task in core.launch()] == ["good"]


@pytest.mark.parametrize(
    ("dependencies", "held"),
    [
        (["/db"], True),
        (["/ready"], False),
        (["/none"], False),  # scaled to nothing
        (["/gone"], False),
        (["/ready", "/db"], True),
        (["/g"], True),  # another app of the group
        (["/g/web"], False),  # itself
        (["/h"], False),
        (["/"], True),
        (["/d"], False),  # the beginning of a name
    ],
)
def test_an_app_waits_for_what_it_depends_on_and_not_for_itself(core: Core, dependencies: list[str], held: bool) -> None:
    core.put(an_app("/ready"), an_app("/h/ready"))
    core.run()
    core.put(an_app("/db"), an_app("/none", instances=0), an_app("/g/web"), an_app("/g/other"))
    assert offers._Dependencies(core.machine.state).hold_back("/g/web", dependencies) == held


def test_dependencies_cost_by_what_an_app_names_and_not_by_all_apps(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred apps with as many dependencies took two seconds of each decision."""
    looks = 0
    serves = offers._serves

    def counted(*given: Any) -> bool:
        nonlocal looks
        looks += 1
        return serves(*given)

    monkeypatch.setattr(offers, "_serves", counted)
    needed = [an_app(f"/a/{number}", instances=0) for number in range(30)]
    core.put(*needed, an_app("/db", constraints=[["rack", "LIKE", "none"]]))
    for number in range(30):
        core.put(an_app(f"/b/{number}", dependencies=[*(app.id for app in needed), "/db"]))
    looks = 0
    core.launch()
    assert core.machine.state.launches_of("/b/29").waiting is Waiting.DEPENDENCY
    assert 0 < looks <= 2 * len(core.machine.state.apps)
