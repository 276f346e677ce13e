"""Hosts where starts fail: the next choice is another one, and one that fails several apps is left alone for a while."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of

from eratos.scheduler.core import actions, events, hosts
from eratos.scheduler.core.launches import FAILED_START_S, Launches
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.core.reasons import Waiting


@pytest.fixture
def core() -> Core:
    core = Core()
    core.subscribe()
    return core


def offers() -> tuple[Offer, ...]:
    """Of three agents, the third of which is always the emptiest."""
    return an_offer("a1", cpus=2), an_offer("a2", cpus=2), an_offer("a3", cpus=4)


def fails_on_a3(core: Core, *app_ids: str) -> None:
    """Let the next starts of apps fail if they go to the third agent."""
    for instance in list(core.machine.state.with_task()):
        if instance.launching and instance.app_id in app_ids:
            if instance.agent_id == "a3":
                core.fail(instance.task_id)
            else:
                core.status(instance.task_id, "RUNNING", agent=instance.agent_id)


def alone(core: Core) -> list[str]:
    return [hostname for hostname, _ in hosts.left_alone(core.machine.state, core.now)]


@pytest.mark.parametrize("state", ["FAILED", "ERROR", "LOST", "DROPPED"])
def test_after_a_failed_start_another_host_is_the_next_choice(core: Core, state: str) -> None:
    core.put(an_app(backoffSeconds=0, maxLaunchDelaySeconds=0))
    [task] = core.launch(*offers())
    assert core.hosts() == ["a3"]
    core.fail(task, state)
    [task] = core.launch(*offers())
    assert core.hosts() != ["a3"]


def test_failed_starts_count_more_than_the_spread_and_each_host_gets_its_turn(core: Core) -> None:
    core.put(an_app(backoffSeconds=0))
    tried = []
    for _ in range(6):
        zones = (an_offer("a1", zone="z1"), an_offer("a2", zone="z1"), an_offer("a3", zone="z2"))
        [task] = core.launch(*zones)
        tried += core.hosts()
        core.fail(task)
    assert sorted(tried[:3]) == sorted(tried[3:]) == ["a1", "a2", "a3"]


def test_an_app_that_must_run_on_one_host_is_tried_there_again(core: Core) -> None:
    core.put(an_app(backoffSeconds=0, constraints=[["@hostname", "IS", "host-a3"]]))
    for _ in range(3):
        [task] = core.launch(*offers())
        core.fail(task)
    assert core.launch(*offers()) and not alone(core)


def test_another_app_may_still_start_where_one_failed(core: Core) -> None:
    core.put(an_app("/bad", backoffSeconds=0))
    core.fail(core.launch(*offers())[0])
    core.put(an_app("/good", cpus=3))
    core.launch(*offers())
    assert "a3" in core.hosts()


def test_a_new_definition_is_tried_anywhere(core: Core) -> None:
    core.put(an_app(backoffSeconds=0))
    core.fail(core.launch(*offers())[0])
    core.put(an_app(backoffSeconds=0, cpus=0.2))
    core.launch(*offers())
    assert core.hosts() == ["a3"]


def test_failed_starts_are_forgotten_one_after_another() -> None:
    launches = Launches()
    launches.start_failed("h", 0.0, 0.0)
    launches.start_failed("h", 10.0, 0.0)
    assert launches.failed_on(10.0) == {"h": 2}
    assert launches.failed_on(10.0 + FAILED_START_S) == {"h": 1}
    assert launches.failed_on(10.0 + 2 * FAILED_START_S) == {}
    # They outlast the app's longest delay, or the next attempt would not know of them.
    launches.start_failed("g", 0.0, 7200.0)
    assert "g" in launches.failed_on(7000.0)


def test_a_failed_start_counts_for_twice_the_longest_delay_of_its_app(core: Core) -> None:
    core.put(an_app("/slow", backoffSeconds=0, maxLaunchDelaySeconds=int(2 * FAILED_START_S)))
    core.fail(core.launch(*offers())[0])
    launches = core.machine.state.launches_of("/slow")
    assert launches.failed_on(core.now + 4 * FAILED_START_S - 1) == {"host-a3": 1}
    assert not launches.failed_on(core.now + 4 * FAILED_START_S)


def black_hole(core: Core, *app_ids: str) -> None:
    core.put(*(an_app(app_id, backoffSeconds=0) for app_id in app_ids))
    for app_id in app_ids:
        # One after another, each sent to the emptiest agent first.
        core.launch(*offers())
        fails_on_a3(core, app_id)
    for _ in range(3):
        core.launch(*offers())
        fails_on_a3(core, *app_ids)


def test_a_host_where_starts_of_several_apps_fail_is_left_alone_and_the_apps_run_elsewhere(core: Core) -> None:
    black_hole(core, "/a", "/b", "/c")
    assert alone(core) == ["host-a3"]
    assert len(core.hosts()) == 3 and "a3" not in core.hosts()
    core.put(an_app("/d", cpus=3))  # fits there alone
    assert not core.launch(*offers())
    launches = core.machine.state.launches_of("/d")
    assert launches.waiting is Waiting.NO_FIT
    refusal = launches.refusals["a3"]
    assert refusal.reason.value == "FailingHost"
    assert refusal.detail == "host-a3 is left alone and tried again in 60 s: starts of /a, /b failed there and nowhere else"
    core.tick(60)
    assert core.launch(*offers()) and "a3" in core.hosts()


def test_it_is_left_alone_for_twice_as_long_each_time_up_to_a_limit(core: Core) -> None:
    core.put(*(an_app(f"/a{n}", backoffSeconds=0) for n in range(2)))
    lengths = []
    for round_ in range(7):
        core.put(an_app(f"/b{round_}", backoffSeconds=0, constraints=[["@hostname", "IS", "host-a3"]]))
        core.put(an_app(f"/c{round_}", backoffSeconds=0, constraints=[["@hostname", "IS", "host-a3"]]))
        core.launch(*offers())
        for instance in list(core.machine.state.with_task()):
            if instance.agent_id == "a3":
                core.fail(instance.task_id)
        [(_, trouble)] = hosts.left_alone(core.machine.state, core.now)
        lengths.append(trouble.until - core.now)
        core.tick(lengths[-1])
    assert lengths == [60, 120, 240, 480, 960, 960, 960]


def test_one_more_failure_after_it_was_left_alone_is_enough(core: Core) -> None:
    black_hole(core, "/a", "/b")
    core.tick(2 * FAILED_START_S)  # what failed before counts no more for its app
    core.put(an_app("/d", backoffSeconds=0, cpus=3))
    core.fail(core.launch(*offers())[0])
    assert alone(core) == ["host-a3"]
    assert core.machine.state.troubles["host-a3"].until - core.now == 120


def pinned_fails(core: Core, app_id: str, host: str = "host-a3") -> None:
    core.put(an_app(app_id, backoffSeconds=0, constraints=[["@hostname", "IS", host]]))
    [task] = core.launch(*offers())
    core.fail(task)
    core.command(events.DeleteApps((app_id,), force=True))


@pytest.mark.parametrize(("later", "gone"), [(hosts.FORGET_S, False), (hosts.FORGET_S + 1, True)])
def test_a_host_without_a_failed_start_for_long_has_a_clean_sheet(core: Core, later: float, gone: bool) -> None:
    pinned_fails(core, "/x")
    core.tick(later)
    pinned_fails(core, "/y", "host-a1")
    assert ("host-a3" not in core.machine.state.troubles) == gone


def test_what_had_started_by_the_last_failure_says_nothing_of_a_host(core: Core) -> None:
    core.put(an_app("/d", cpus=3))  # fits there alone
    [task] = core.launch(*offers())
    core.status(task, "RUNNING", agent="a3")
    waits_long = {"backoffSeconds": 600, "maxLaunchDelaySeconds": 600}
    core.put(an_app("/x", constraints=[["@hostname", "IS", "host-a3"]], **waits_long))
    core.fail(core.launch(*offers())[0])
    core.tick(11)  # and it has run well
    core.put(an_app("/y", backoffSeconds=0, constraints=[["@hostname", "IS", "host-a3"]]))
    [task] = core.launch(*offers())
    core.fail(task)
    assert alone(core) == ["host-a3"]


def test_half_of_the_hosts_may_be_left_alone(core: Core) -> None:
    core.put(*(an_app(f"/{name}", backoffSeconds=0, constraints=[["@hostname", "IS", "host-a3"]]) for name in "ab"))
    for task in core.launch(an_offer("a1"), an_offer("a3")):
        core.fail(task)
    assert alone(core) == ["host-a3"]


def test_a_start_that_goes_well_there_gives_it_a_clean_sheet(core: Core) -> None:
    black_hole(core, "/a", "/b")
    core.tick(61)
    core.put(an_app("/d", cpus=3))
    [task] = core.launch(*offers())
    core.status(task, "RUNNING", agent="a3")
    core.tick(11)
    core.put(an_app("/e", backoffSeconds=0, constraints=[["@hostname", "IS", "host-a3"]]))
    core.fail(core.launch(*offers())[0])
    assert not alone(core)


def test_apps_that_fail_everywhere_speak_against_themselves(core: Core) -> None:
    core.put(*(an_app(f"/a{n}", backoffSeconds=0) for n in range(4)))
    for _ in range(8):
        for task in core.launch(*offers()):
            core.fail(task)
        core.tick(61)
    assert not alone(core)


def test_never_more_than_half_of_the_hosts_are_left_alone(core: Core) -> None:
    pinned: list[Any] = [
        an_app(f"/{app}-{agent}", backoffSeconds=0, constraints=[["@hostname", "IS", f"host-{agent}"]])
        for agent in ("a1", "a2", "a3")
        for app in ("x", "y", "z")
    ]
    core.put(*pinned)
    for task in core.launch(*offers()):
        core.fail(task)
    assert len(alone(core)) == 1


def test_the_only_host_is_never_left_alone(core: Core) -> None:
    core.put(an_app("/a", backoffSeconds=0), an_app("/b", backoffSeconds=0))
    for task in core.launch(an_offer("a1")):
        core.fail(task)
    assert not alone(core) and core.launch(an_offer("a1"))


def test_ends_that_say_nothing_of_a_host_are_not_held_against_it(core: Core) -> None:
    core.put(*(an_app(f"/{app}", backoffSeconds=0) for app in ("a", "b", "c", "d")))
    ran_well, finished, stale, crossed = core.run(an_offer("a1"))
    core.launch(*offers())
    core.tick(11)
    core.fail(ran_well)
    core.fail(finished, "FINISHED")
    core.fail(stale, "DROPPED", reason="REASON_INVALID_OFFERS")
    core.fail(crossed, "DROPPED", reason="REASON_EXECUTOR_TERMINATED")
    assert not core.machine.state.troubles


def test_launches_that_meet_an_executor_about_to_end_are_repeated_there(core: Core) -> None:
    # An agent still has an executor that was killed for as long as its tasks' ends are not acknowledged. What is launched in
    # that moment is dropped; were the host left alone for it, nothing would sweep there what the executor left.
    core.put(*(an_app(f"/{app}", backoffSeconds=1) for app in ("a", "b")))
    for task in core.launch(*offers()):
        core.fail(task, "DROPPED", reason="REASON_EXECUTOR_TERMINATED")
    assert not alone(core)
    core.tick(2)
    core.launch(*offers())
    assert "a3" in core.hosts()


def test_a_scheduler_that_starts_has_no_grudge() -> None:
    assert not a_machine().state.troubles


def test_offers_of_a_host_that_is_left_alone_are_declined(core: Core) -> None:
    black_hole(core, "/a", "/b")
    core.put(an_app("/d", cpus=3))
    out = core.offer(*offers())
    assert sum(len(decline.offer_ids) for decline in of(actions.Decline, out)) == 3
