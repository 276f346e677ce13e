"""The executor's state machine from launch to end, event by event, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from support.driven import Driven, of, states, update
from support.executor import HOST, PORT, TASK, a_payload

from eratos.common import names
from eratos.common.payload import Service
from eratos.executor.core import actions as do
from eratos.executor.core import endings, updates
from eratos.executor.core import events as on
from eratos.executor.core.left_over import HELD_S
from eratos.executor.core.lifecycle import ENDED_MAX, EXAMINE_S, KILL_AGAIN_S, SHUTDOWN_RESERVE_S
from eratos.executor.core.retention import KEPT_MAX, KEPT_PER_APP_MAX, KEPT_S

SERVICE = names.service_id(TASK)
SHUTDOWN_S = 5.0  #: as Driven has it


@pytest.fixture
def driven() -> Driven:
    return Driven()


# Launch -----------------------------------------------------------------------------------------------------------------


def test_a_launch_is_answered_before_the_container_is_asked_for(driven: Driven) -> None:
    out = driven.launch()
    assert states(out) == ["TASK_STARTING"]
    assert [type(action) for action in out] == [do.SendUpdate, do.StartContainer]


def test_a_task_without_an_image_is_started_as_a_process(driven: Driven) -> None:
    (start,) = of(do.StartProcess, driven.launch(image="", args=("serve",), user="web"))
    assert (start.args, start.user, start.host_ports, start.env["MESOS_TASK_ID"]) == (("serve",), "web", (PORT,), TASK)
    assert "MARATHON_APP_DOCKER_IMAGE" not in start.env


def test_a_launch_twice_starts_one_container(driven: Driven) -> None:
    driven.launch()
    assert driven.launch() == []


def test_an_unreadable_payload_is_an_error_with_its_reason(driven: Driven) -> None:
    sent = update(driven.handle(on.LaunchTask(TASK, b"{")))
    assert (sent.state, sent.reason) == ("TASK_ERROR", "REASON_TASK_INVALID")
    assert "cannot be read" in sent.message


def test_a_payload_from_a_newer_scheduler_is_refused_by_version(driven: Driven) -> None:
    assert "version 99" in update(driven.launch(version=99)).message


def test_a_payload_of_another_task_is_refused(driven: Driven) -> None:
    out = driven.handle(on.LaunchTask("other", a_payload(TASK).to_bytes()))
    assert update(out).state == "TASK_ERROR"


def test_an_unknown_docker_parameter_is_refused_by_name(driven: Driven) -> None:
    sent = update(driven.launch(parameters=(("teleport", "yes"),)))
    assert (sent.state, "teleport" in sent.message) == ("TASK_ERROR", True)


def test_running_is_told_when_docker_says_so_with_the_address(driven: Driven) -> None:
    sent = update(driven.run())
    assert (sent.state, sent.addresses, sent.healthy) == ("TASK_RUNNING", (HOST.address,), None)


def test_a_pull_is_told_once(driven: Driven) -> None:
    driven.launch()
    sent = update(driven.handle(on.Preparing(TASK, "pulling image shop/cart")))
    assert (sent.state, sent.message) == ("TASK_STARTING", "pulling image shop/cart")
    assert driven.handle(on.Preparing(TASK, "pulling image shop/cart")) == []


def test_a_failed_start_fails_the_task_with_its_message(driven: Driven) -> None:
    driven.launch()
    out = driven.handle(on.StartFailed(TASK, "port 31000 is taken"))
    assert (update(out).state, update(out).message) == ("TASK_FAILED", "port 31000 is taken")
    assert of(do.RemoveContainer, out)


def test_a_launch_of_an_ended_task_gets_its_terminal_update_again(driven: Driven) -> None:
    driven.kill()
    assert states(driven.launch()) == ["TASK_KILLED"]


# The confirmed stop -------------------------------------------------------------------------------------------------------


def test_a_planned_stop_goes_step_by_step(driven: Driven) -> None:
    driven.ready()
    out = driven.kill()
    assert states(out) == ["TASK_KILLING"]
    assert out[1:] == [do.TellBalancers(TASK, (SERVICE,))]
    assert driven.handle(on.BalancersTold(TASK)) == [do.Deregister(TASK)]
    assert driven.handle(on.Deregistered(TASK)) == [do.AskBalancers(TASK, (SERVICE,), 10)]
    assert driven.handle(on.DrainDone(TASK, True)) == [do.StopContainer(TASK)]
    out = driven.handle(on.ContainerDied(TASK, 143))
    assert update(out).state == "TASK_KILLED"
    assert out[-1] == do.RemoveContainer(TASK)


def test_balancers_of_data_centers_that_an_app_names_are_told_and_asked_too(driven: Driven) -> None:
    stated = {"a": "dc1,dc2", "b": "dc2,dc3", "c": "no name"}
    driven.ready(services=tuple(Service(key, "x", PORT, meta={"haproxy-failover": text}) for key, text in stated.items()))
    asked = ("dc1", "dc2", "dc3")
    assert driven.kill()[1:] == [do.TellBalancers(TASK, ("a", "b", "c"), datacenters=asked)]
    driven.handle(on.BalancersTold(TASK))
    assert driven.handle(on.Deregistered(TASK)) == [do.AskBalancers(TASK, ("a", "b", "c"), 10, asked)]


def test_a_process_that_ignores_the_stop_is_killed_after_the_grace(driven: Driven) -> None:
    driven.ready()
    driven.drain()
    driven.handle(on.DrainDone(TASK, True))
    out = driven.after(2.9)
    assert (states(out), update(out).message) == (["TASK_KILLING"], "asked to end, and killed if it has not after 3 s")
    assert driven.after(0.2) == [do.KillContainer(TASK)]
    assert driven.after(KILL_AGAIN_S) == [do.KillContainer(TASK)]


def test_the_kills_own_grace_wins(driven: Driven) -> None:
    driven.run()
    driven.kill(grace_s=60)
    assert not of(do.KillContainer, driven.after(59))
    assert driven.after(1) == [do.KillContainer(TASK)]


def test_a_grace_of_zero_kills_at_once(driven: Driven) -> None:
    driven.run()
    assert of(do.KillContainer, driven.kill(grace_s=0))
    out = driven.after(KILL_AGAIN_S)
    assert of(do.KillContainer, out)
    assert update(out).message == "killed, and not ended yet"


def test_a_second_kill_with_a_shorter_grace_escalates(driven: Driven) -> None:
    driven.run()
    driven.kill(grace_s=60)
    assert driven.kill(grace_s=1) == []
    assert driven.after(1) == [do.KillContainer(TASK)]


def test_a_repeated_kill_changes_nothing(driven: Driven) -> None:
    driven.ready()
    driven.drain()
    before = driven.machine.next_deadline()
    driven.now += 1
    assert driven.kill() == []
    assert driven.machine.next_deadline() == before


def test_a_second_kill_never_prolongs_a_drain(driven: Driven) -> None:
    driven.ready(drain_s=10)
    driven.kill(grace_s=60)
    ends_at = driven.now + 10
    for event in (on.Tick(), on.BalancersTold(TASK), on.Deregistered(TASK)):
        driven.after(1, event)
        driven.kill(grace_s=driven.machine.tasks[TASK].grace_s - 1)
        assert driven.machine.tasks[TASK].deadline == ends_at
    driven.kill(grace_s=2)
    assert driven.machine.tasks[TASK].deadline == driven.now + 2


def test_a_second_kill_never_prolongs_the_stop_itself(driven: Driven) -> None:
    driven.ready(drain_s=0)
    driven.kill(grace_s=60)
    ends_at = driven.now + 60
    driven.now += 50
    driven.kill(grace_s=30)
    assert driven.machine.tasks[TASK].deadline == ends_at
    driven.kill(grace_s=5)
    assert driven.machine.tasks[TASK].deadline == driven.now + 5


def test_the_drain_ends_at_its_deadline_and_says_who_held_it(driven: Driven) -> None:
    driven.ready()
    driven.drain()
    out = driven.handle(on.DrainDone(TASK, False, "balancer1 still uses it (3 requests)"))
    assert out == [do.StopContainer(TASK)]
    assert "balancer1" in update(driven.handle(on.ContainerDied(TASK, 143))).message


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_nobody_who_is_silent_blocks_a_stop(driven: Driven, answered: int) -> None:
    driven.ready()
    driven.kill()
    for event in (on.BalancersTold(TASK), on.Deregistered(TASK))[:answered]:
        driven.handle(event)
    assert states(driven.after(9.9)) == (["TASK_KILLING"] if answered == 1 else [])
    out = driven.after(0.2)
    assert of(do.StopContainer, out)
    assert len(of(do.Deregister, out)) == (1 if answered == 0 else 0)


def test_a_task_that_was_never_ready_skips_the_drain(driven: Driven) -> None:
    driven.run(checks=1)
    out = driven.kill()
    assert of(do.StopContainer, out)
    assert not of(do.TellBalancers, out)


def test_without_time_for_a_drain_it_still_leaves_consul_first(driven: Driven) -> None:
    driven.ready(drain_s=0)
    out = driven.kill()
    assert [type(action) for action in out] == [do.SendUpdate, do.TellBalancers, do.Deregister, do.StopContainer]


def test_a_process_that_ends_while_draining_is_killed_as_asked(driven: Driven) -> None:
    driven.ready()
    driven.drain()
    out = driven.handle(on.ContainerDied(TASK, 1))
    assert update(out).state == "TASK_KILLED"
    assert of(do.AbandonDrain, out)


def test_a_process_that_ends_before_its_deregistration_is_deregistered(driven: Driven) -> None:
    driven.ready()
    driven.kill()
    assert do.Deregister(TASK) in driven.handle(on.ContainerDied(TASK, 1))


# Kills out of order (rule 62) ---------------------------------------------------------------------------------------------


def test_a_kill_of_an_unknown_task_is_answered(driven: Driven) -> None:
    assert states(driven.kill()) == ["TASK_KILLED"]


def test_a_kill_of_an_ended_task_is_answered_with_its_end(driven: Driven) -> None:
    driven.launch()
    driven.handle(on.StartFailed(TASK, "no image"))
    assert states(driven.kill()) == ["TASK_FAILED"]


def test_a_kill_before_the_start_cancels_it(driven: Driven) -> None:
    driven.launch()
    assert of(do.CancelStart, driven.kill()) == [do.CancelStart(TASK)]
    assert states(driven.handle(on.StartFailed(TASK, "cancelled"))) == ["TASK_KILLED"]


def test_a_kill_while_docker_starts_the_container_stops_it_then(driven: Driven) -> None:
    driven.launch()
    driven.kill()
    out = driven.handle(on.ContainerStarted(TASK))
    assert out == [do.StopContainer(TASK)]
    assert states(driven.handle(on.ContainerDied(TASK, 143))) == ["TASK_KILLED"]


# Death by itself ------------------------------------------------------------------------------------------------------------


def test_a_death_leaves_consul_before_anything_else(driven: Driven) -> None:
    driven.ready()
    assert driven.handle(on.ContainerDied(TASK, 137)) == [do.Deregister(TASK), do.ExamineContainer(TASK)]


@pytest.mark.parametrize(
    ("found", "state", "reason", "words"),
    [
        (on.ContainerExamined(TASK, 0), "TASK_FINISHED", None, "exit code 0"),
        (on.ContainerExamined(TASK, 3, log_tail="boom\n"), "TASK_FAILED", None, "exit code 3; last lines of its log:\nboom"),
        (on.ContainerExamined(TASK, 127), "TASK_FAILED", None, "not found in the image"),
        (on.ContainerExamined(TASK, 139), "TASK_FAILED", None, "SIGSEGV"),
        (on.ContainerExamined(TASK, 137, True), "TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", "out of memory"),
        (on.ContainerExamined(TASK, 0, True), "TASK_FINISHED", None, "exit code 0"),
        (on.ContainerExamined(TASK), "TASK_FAILED", None, "gone"),
    ],
)
def test_a_death_is_explained(driven: Driven, found: on.ContainerExamined, state: str, reason: str | None, words: str) -> None:
    driven.ready()
    driven.handle(on.ContainerDied(TASK))
    sent = update(driven.handle(found))
    assert (sent.state, sent.reason) == (state, reason)
    assert words in sent.message


@pytest.mark.parametrize(
    ("exit_code", "words"), [(127, "the command was not found on the agent's host"), (None, "process is gone")]
)
def test_the_death_of_a_process_speaks_of_no_image(exit_code: int | None, words: str) -> None:
    message = endings.death(TASK, "process", exit_code, False, "").message
    assert words in message
    assert "image" not in message
    assert "container" not in message


def test_a_long_log_is_cut_to_its_end(driven: Driven) -> None:
    driven.ready()
    driven.handle(on.ContainerDied(TASK, 1))
    message = update(driven.handle(on.ContainerExamined(TASK, 1, log_tail="x" * 5000 + " the cause"))).message
    assert len(message) <= 2048
    assert message.endswith("the cause")


def test_a_death_that_docker_never_explains_is_reported_all_the_same(driven: Driven) -> None:
    driven.ready()
    driven.handle(on.ContainerDied(TASK, 3))
    assert update(driven.after(EXAMINE_S)).message == "exit code 3"


def test_a_death_seen_before_the_start_was_confirmed_is_not_lost(driven: Driven) -> None:
    driven.launch()
    assert driven.handle(on.ContainerDied(TASK, 3)) == []
    out = driven.handle(on.ContainerStarted(TASK))
    assert out == [do.ExamineContainer(TASK)]


# Listings: the level ---------------------------------------------------------------------------------------------------------


def listed(driven: Driven, *running: str, ended: Iterable[str] = (), began_at: float | None = None) -> list[do.Action]:
    at = driven.now if began_at is None else began_at
    return driven.handle(on.ContainersListed(at, frozenset(running), frozenset(ended)))


def test_a_missed_death_is_found_by_the_listing(driven: Driven) -> None:
    driven.ready()
    driven.now += 1
    assert do.Deregister(TASK) in listed(driven, ended=[TASK])


def test_one_runtimes_listing_says_nothing_of_the_others_tasks(driven: Driven) -> None:
    driven.ready()
    driven.now += 1
    assert driven.handle(on.ContainersListed(driven.now, frozenset(), frozenset(), runtime="process")) == []


def test_a_container_younger_than_the_listing_is_not_missed(driven: Driven) -> None:
    driven.ready()
    assert listed(driven, began_at=driven.now - 1) == []


def test_a_starting_container_is_not_missed(driven: Driven) -> None:
    driven.launch()
    driven.now += 1
    assert listed(driven, TASK) == []
    assert listed(driven) == []


def test_what_a_dead_executor_left_is_swept(driven: Driven) -> None:
    assert listed(driven, ended=["old"]) == [do.Deregister("old"), do.RemoveContainer("old")]


def test_a_removal_that_failed_is_repeated(driven: Driven) -> None:
    driven.run()
    driven.kill()
    assert do.RemoveContainer(TASK) in driven.handle(on.ContainerDied(TASK, 143))
    assert do.RemoveContainer(TASK) in listed(driven, ended=[TASK])


def test_a_container_that_starts_after_its_task_ended_is_removed(driven: Driven) -> None:
    assert driven.handle(on.ContainerStarted("late")) == [do.RemoveContainer("late")]


# Kept containers -------------------------------------------------------------------------------------------------------------


def fail(driven: Driven, task_id: str, **changes: Any) -> list[do.Action]:
    """Have a task run and end by itself."""
    driven.handle(on.LaunchTask(task_id, a_payload(task_id, **changes).to_bytes()))
    driven.handle(on.ContainerStarted(task_id))
    driven.handle(on.ContainerDied(task_id, 1))
    return driven.handle(on.ContainerExamined(task_id, 1))


def removed(out: Iterable[do.Action]) -> list[str]:
    return [action.task_id for action in of(do.RemoveContainer, out)]


def test_a_task_that_ended_by_itself_keeps_its_container_for_a_while(driven: Driven) -> None:
    assert removed(fail(driven, TASK)) == []
    driven.now += 1
    assert listed(driven, ended=[TASK]) == []
    assert driven.machine.next_deadline() == driven.now - 1 + KEPT_S
    assert removed(driven.after(KEPT_S)) == [TASK]
    assert driven.machine.next_deadline() is None
    assert removed(listed(driven, ended=[TASK])) == [TASK]


def test_a_task_that_failed_its_health_checks_keeps_its_container(driven: Driven) -> None:
    driven.ready(checks=1)
    for _ in range(3):
        driven.after(5)
        driven.probe(passed=False)
    assert removed(driven.handle(on.ContainerDied(TASK, 0))) == []


def test_an_app_keeps_the_containers_of_its_last_failures_only(driven: Driven) -> None:
    tasks = [f"{TASK}{number}" for number in range(KEPT_PER_APP_MAX + 1)]
    assert [removed(fail(driven, task)) for task in tasks] == [[], [], [tasks[0]]]
    assert removed(fail(driven, "other", app_id="/other")) == []


def test_all_apps_together_keep_a_limited_number(driven: Driven) -> None:
    outs = [removed(fail(driven, f"t{number}", app_id=f"/app{number}")) for number in range(KEPT_MAX + 1)]
    assert [out for out in outs if out] == [["t0"]]


def test_a_stop_on_request_keeps_nothing_and_the_apps_last_one_takes_the_kept_along(driven: Driven) -> None:
    fail(driven, "failed")
    for task_id in ("a", "b"):
        driven.handle(on.LaunchTask(task_id, a_payload(task_id).to_bytes()))
        driven.handle(on.ContainerStarted(task_id))
    gone = []
    for task_id in ("a", "b"):
        driven.handle(on.KillTask(task_id))
        gone.append(removed(driven.handle(on.ContainerDied(task_id, 143))))
    assert gone == [["a"], ["b", "failed"]]


def test_what_is_kept_is_removed_before_the_executor_leaves(driven: Driven) -> None:
    fail(driven, TASK)
    assert driven.handle(on.Shutdown("asked")) == [do.RemoveContainer(TASK), do.Exit("asked")]


def test_a_listing_from_before_the_end_does_not_remove_what_is_kept(driven: Driven) -> None:
    began_at = driven.now
    driven.now += 1
    fail(driven, TASK)
    assert listed(driven, TASK, began_at=began_at) == []
    assert listed(driven, TASK, began_at=driven.now + 1) == [do.TellBalancers(TASK, (f"eratos-{TASK}",), HELD_S)]


# Shutdown (rule 67) ------------------------------------------------------------------------------------------------------------


def test_a_shutdown_without_tasks_exits_at_once(driven: Driven) -> None:
    assert driven.handle(on.Shutdown("asked")) == [do.Exit("asked")]
    assert driven.handle(on.Shutdown("asked")) == []


def test_a_shutdown_drains_stops_and_exits_within_the_grace(driven: Driven) -> None:
    driven.ready()
    begin = driven.now
    assert of(do.TellBalancers, driven.handle(on.Shutdown("asked")))
    driven.handle(on.BalancersTold(TASK))
    (ask,) = of(do.AskBalancers, driven.handle(on.Deregistered(TASK)))
    assert ask.timeout_s < 5
    seen: list[do.Action] = []
    while not of(do.Exit, seen):
        deadline = driven.machine.next_deadline()
        assert deadline is not None
        seen += driven.after(deadline - driven.now)
    assert driven.now - begin < 5
    assert states(seen) == ["TASK_KILLING", "TASK_KILLED"]  # that it was asked to end, and that it did not
    assert of(do.KillContainer, seen) or of(do.RemoveContainer, seen)


@pytest.mark.parametrize(
    ("wanted_s", "given_s"),
    [(60, (SHUTDOWN_S - SHUTDOWN_RESERVE_S) / 2), (1, 1)],
    ids=["cut to the share", "less than the share"],
)
def test_a_shutdown_gives_drain_and_stop_half_of_its_time_at_most(driven: Driven, wanted_s: float, given_s: float) -> None:
    driven.ready(drain_s=wanted_s, kill_grace_s=wanted_s)
    driven.handle(on.Shutdown("the agent says so"))
    assert driven.machine.tasks[TASK].deadline == driven.now + given_s
    assert of(do.StopContainer, driven.after(given_s))
    assert driven.machine.tasks[TASK].deadline == driven.now + given_s


@pytest.mark.parametrize("wanted_s", [60, 1])
def test_a_shutdown_cuts_the_grace_of_a_drain_under_way_and_never_prolongs_it(driven: Driven, wanted_s: float) -> None:
    driven.ready(drain_s=60)
    driven.kill(grace_s=wanted_s)
    driven.handle(on.Shutdown("the agent says so"))
    share_s = (SHUTDOWN_S - SHUTDOWN_RESERVE_S) / 2
    assert of(do.StopContainer, driven.after(share_s))
    assert driven.machine.tasks[TASK].deadline == driven.now + min(wanted_s, share_s)


def test_ended_tasks_are_remembered_in_limited_number(driven: Driven) -> None:
    for number in range(ENDED_MAX + 5):
        driven.handle(on.KillTask(f"t{number}"))
    assert list(driven.machine.ended) == [f"t{number}" for number in range(5, ENDED_MAX + 5)]


def test_a_shutdown_hastens_a_stop_under_way(driven: Driven) -> None:
    driven.run()
    driven.kill(grace_s=60)
    driven.handle(on.Shutdown("asked"))
    assert of(do.KillContainer, driven.after(2.3))


def test_a_launch_during_the_shutdown_is_answered(driven: Driven) -> None:
    driven.run()
    driven.handle(on.Shutdown("asked"))
    assert states(driven.handle(on.LaunchTask("late", a_payload("late").to_bytes()))) == ["TASK_KILLED"]


def test_the_exit_comes_with_the_last_tasks_end(driven: Driven) -> None:
    driven.run()
    driven.handle(on.Shutdown("asked"))
    out = driven.handle(on.ContainerDied(TASK, 143))
    assert out[-1] == do.Exit("asked")


def test_the_ledger_keeps_the_newest_of_many_updates_of_one_state() -> None:
    ledger = updates.Ledger()
    for number in range(1000):
        ledger.add(updates.StatusUpdate("t", "TASK_RUNNING", healthy=bool(number % 2), uuid=f"u{number}"))
    ledger.add(updates.StatusUpdate("t", "TASK_FAILED", uuid="end"))
    ledger.add(updates.StatusUpdate("other", "TASK_RUNNING", uuid="o"))
    kept = [update.uuid for update in ledger.updates]
    assert kept == [*(f"u{number}" for number in range(995, 1000)), "end", "o"]
