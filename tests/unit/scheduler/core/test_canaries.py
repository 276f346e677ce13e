"""Deployments that stop on their way: at gates of canaries, on a wish, and with two whole fleets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import an_app, an_offer
from support.core import of
from support.deployments import fail_new, labelled, refusal, reply
from support.kept_core import Kept

from eratos.common import names
from eratos.scheduler.core import actions, events, gates, stages
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.records import VERSIONS
from eratos.scheduler.core.state import Outcome


@pytest.fixture
def core() -> Kept:
    return Kept()


# Canaries and pauses


def canary(core: Kept, steps: str, instances: int = 4, **labels: str) -> actions.Reply:
    """Have an app at rest changed by a canary."""
    fields = {"backoffSeconds": 0, **labelled(CANARY=steps, **labels)}
    core.put(an_app("/a", instances, **fields))
    core.rest()
    core.now += 1
    return reply(core.put(an_app("/a", instances, cmd="new", **fields)))


def versions_of(core: Kept, change: actions.Reply) -> tuple[int, int]:
    """Return how many instances of /a run in the old version, and how many in the new one."""
    found = core.running().get("/a", [])
    new = found.count(change.version)
    return len(found) - new, new


def test_a_canary_stops_at_each_gate_until_it_is_promoted(core: Kept) -> None:
    change = canary(core, "1,50%")
    for expected in ((3, 1), (2, 2)):
        core.rest()
        assert versions_of(core, change) == expected
        core.tick(1_000_000)  # a gate that waits for somebody has no deadline
        core.fail_over()
        assert versions_of(core, change) == expected
        core.tick(1)
        core.command(events.Promote(change.deployment_id))
    core.rest()
    assert versions_of(core, change) == (0, 4)
    assert core.outcomes()[-1] == (change.deployment_id, Outcome.DONE)
    assert not core.state.staged


def test_a_canary_goes_on_by_itself_once_it_was_ready_for_long_enough(core: Kept) -> None:
    change = canary(core, "1", CANARY_HOLD_S="60")
    core.rest()
    core.tick(59)
    assert versions_of(core, change) == (3, 1)
    # What is not ready any more has to be ready for as long anew.
    new = next(i for i in core.state.with_task() if i.version == change.version)
    core.fail(new.task_id)
    core.rest()
    core.tick(59)
    assert versions_of(core, change) == (3, 1)
    core.tick(1)
    core.rest()
    assert versions_of(core, change) == (0, 4)


def test_at_a_gate_each_version_comes_back_as_what_it_was(core: Kept) -> None:
    change = canary(core, "1")
    core.rest()
    for instance in list(core.state.with_task()):
        core.fail(instance.task_id)
    out = core.offer(an_offer("a1"))
    payloads = [launch.payload for accept in of(actions.Accept, out) for launch in accept.launches]
    assert sorted(payload.args is not None for payload in payloads) == [False, False, False, True]
    assert all((payload.app_version == change.version) == (payload.args is not None) for payload in payloads)
    core.rest()
    assert versions_of(core, change) == (3, 1)


def test_a_canary_that_fails_goes_back_and_takes_no_old_instance_with_it(core: Kept) -> None:
    change = canary(core, "1", DEPLOYMENT_RETRIES="0", ROLLBACK="true")
    old = {i.instance_id for i in core.state.instances.values() if i.version != change.version}
    fail_new(core)
    assert (change.deployment_id, Outcome.FAILED) in core.outcomes()
    assert not core.state.staged
    core.rest()
    assert {i.instance_id for i in core.state.instances.values()} == old
    assert versions_of(core, change) == (4, 0)


def test_what_is_taken_back_goes_through_no_canary(core: Kept) -> None:
    change = canary(core, "1")
    core.rest()
    core.command(events.Promote(change.deployment_id))
    core.launch(an_offer("a1"))
    core.rest()
    again = canary(core, "1", 4)
    core.rest()
    core.command(events.RollBack(again.deployment_id))
    core.rest()
    assert not core.state.deployments
    assert len(set(core.running()["/a"])) == 1


def test_a_forced_change_in_the_midst_of_a_canary_goes_back_to_what_was_before_both(core: Kept) -> None:
    canary(core, "1")
    core.rest()
    first = core.state.staged["/a"].version
    third = reply(core.put(an_app("/a", 4, cmd="third", **labelled(CANARY="1"))))
    core.rest()
    assert core.state.changes["/a"].before == first
    assert sorted(core.running()["/a"]) == sorted([first] * 3 + [third.version])


def test_new_apps_and_scaling_know_no_canary(core: Kept) -> None:
    core.put(an_app("/a", 4, **labelled(CANARY="1")))
    core.rest()
    assert not core.state.deployments
    core.put(an_app("/a", 6, **labelled(CANARY="1")))
    core.rest()
    assert len(core.running()["/a"]) == 6


def test_nothing_to_promote_is_said(core: Kept) -> None:
    change = canary(core, "1")
    assert refusal(core.command(events.Promote(change.deployment_id))).refusal is Refusal.NOT_POSSIBLE


def test_a_paused_deployment_comes_no_further_and_loses_nothing(core: Kept) -> None:
    core.put(an_app("/a", 4, backoffSeconds=0, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0.25}))
    core.rest()
    core.now += 1
    wanted = an_app("/a", 4, cmd="new", backoffSeconds=0, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0})
    change = reply(core.put(wanted))
    core.launch(an_offer("a1"))
    core.command(events.Pause(change.deployment_id))
    core.rest()
    assert versions_of(core, change) == (3, 1)
    core.tick(1_000_000)
    core.fail_over()
    for instance in list(core.state.with_task()):
        core.fail(instance.task_id)
    core.rest()
    assert versions_of(core, change) == (3, 1)
    assert refusal(core.command(events.RestartApp("/a"))).deployments == (change.deployment_id,)
    core.command(events.Pause(change.deployment_id, paused=False))
    core.rest()
    assert versions_of(core, change) == (0, 4)
    assert not core.state.staged and not core.state.deployments


def test_what_waits_for_others_does_not_begin_while_paused(core: Kept) -> None:
    change = reply(core.put(an_app("/db"), an_app("/web", dependencies=["/db"])))
    core.launch(an_offer("a1"))
    core.command(events.Pause(change.deployment_id))
    core.rest()
    assert set(core.running()) == {"/db"}
    core.command(events.Pause(change.deployment_id, paused=False))
    core.rest()
    assert set(core.running()) == {"/db", "/web"}


def test_a_new_app_is_paused_at_what_it_has(core: Kept) -> None:
    change = reply(core.put(an_app("/a", 4, cpus=3)))
    core.launch(an_offer("a1"))
    core.command(events.Pause(change.deployment_id))
    core.command(events.Pause(change.deployment_id))
    core.rest()
    assert core.state.deployments
    core.command(events.Pause(change.deployment_id, paused=False))
    for agent in ("a1", "a2", "a3", "a4"):
        core.launch(an_offer(agent))
    core.rest()
    assert not core.state.deployments


def test_without_the_version_before_a_canary_and_a_pause_take_no_instance_away(core: Kept) -> None:
    change = canary(core, "1")
    [before] = set(core.state.versions["/a"]) - {change.version}
    key = f"{VERSIONS}/a/{before}"
    core.store[key] = replace(core.store[key], definition=b'{"id": "/a", "instances": -1}')
    core.fail_over()
    assert not core.state.staged
    assert len(core.running()["/a"]) == 4
    core.rest()
    assert versions_of(core, change) == (0, 4)


def test_the_gate_of_an_earlier_deployment_lets_no_later_one_go_on(core: Kept) -> None:
    canary(core, "1", CANARY_HOLD_S="60")
    core.rest()
    core.tick(30)
    third = reply(core.put(an_app("/a", 4, cmd="third", **labelled(CANARY="1"))))
    core.rest()
    core.tick(1000)
    core.rest()
    assert core.state.changes["/a"].stage == 0
    assert core.running()["/a"].count(third.version) == 1


def test_an_app_that_was_paused_goes_on_when_its_deployment_is_cancelled(core: Kept) -> None:
    change = reply(core.put(an_app("/a")))
    core.command(events.Pause(change.deployment_id))
    assert not core.state.instances
    core.command(events.Cancel(change.deployment_id))
    core.rest()
    assert core.running() == {"/a": [change.version]}


# Gates that balancers' figures decide


JUDGED = {"CANARY_HOLD_S": "60", "CANARY_ERRORS": "1%", "CANARY_ANSWER_MS": "250", "CANARY_REQUESTS": "100", "ROLLBACK": "true"}


def at_judged_gate(core: Kept, **more: str) -> actions.Reply:
    change = canary(core, "1", **JUDGED | more)
    core.rest()
    assert versions_of(core, change) == (3, 1)
    return change


def seen(core: Kept, change: actions.Reply, requests: int, failed: int = 0, answer_ms: int = 10, missing: str = "") -> None:
    """Have balancers say what they counted: of each new instance this, of the old ones that all is broken."""
    rows = [
        gates.ServerFigures("b1", names.service_id(i.task_id), requests, *((failed, answer_ms) if new else (requests, 9999)))
        for i in core.state.with_task()
        for new in (i.version == change.version,)
    ]
    core.handle(events.FiguresSeen(tuple(rows), missing))


def test_a_gate_with_good_figures_is_passed_when_its_time_is_over(core: Kept) -> None:
    change = at_judged_gate(core)
    seen(core, change, 0)
    core.tick(30)
    seen(core, change, 200, 2)
    assert core.state.changes["/a"].stage == 0
    core.tick(30)  # nothing new is needed for it
    core.rest()
    assert versions_of(core, change) == (0, 4)
    assert core.outcomes()[-1] == (change.deployment_id, Outcome.DONE)


def test_failed_requests_fail_the_gate_at_once_and_the_app_goes_back(core: Kept) -> None:
    change = at_judged_gate(core)
    seen(core, change, 0)
    seen(core, change, 200, 3)
    assert core.state.ended[-1].outcome is Outcome.FAILED
    assert core.state.ended[-1].reason.startswith(
        "the new instances of /a failed 3 of 200 requests (1.5%) at the balancers: ERATOS_CANARY_ERRORS allows 1%; back to"
    )
    core.rest()
    assert versions_of(core, change) == (4, 0)


def test_slow_answers_fail_the_gate_when_its_time_is_over(core: Kept) -> None:
    change = at_judged_gate(core)
    seen(core, change, 0)
    seen(core, change, 200, 0, 900)
    assert core.state.deployments
    core.tick(60)
    assert core.state.ended[-1].reason.startswith("the new instances of /a took 900 ms for an answer")
    core.rest()
    assert versions_of(core, change) == (4, 0)


@pytest.mark.parametrize(("requests", "missing"), [(None, ""), (99, ""), (200, "b2 says nothing")])
def test_missing_figures_neither_pass_nor_fail_a_gate_until_the_deadline(core: Kept, requests: int | None, missing: str) -> None:
    change = at_judged_gate(core, DEPLOYMENT_DEADLINE_S="600")
    if requests is not None:
        seen(core, change, 0, missing=missing)
        seen(core, change, requests, missing=missing)
    core.tick(60)
    assert core.state.deployments[change.deployment_id].counted["/a"].overdue
    core.tick(599)
    assert (core.state.changes["/a"].stage, versions_of(core, change)) == (0, (3, 1))
    core.tick(1)
    why = missing or ("no balancer was asked yet" if requests is None else "they had 99 requests")
    assert core.state.ended[-1].reason.startswith(f"it came no further for 600 s: the gate of /a cannot be judged: {why}")
    core.rest()
    assert versions_of(core, change) == (4, 0)


def test_figures_that_come_late_still_decide_and_somebody_may_promote(core: Kept) -> None:
    change = at_judged_gate(core)
    core.tick(1000)
    seen(core, change, 0)
    seen(core, change, 100)
    core.rest()
    assert versions_of(core, change) == (0, 4)
    other = canary(core, "1", **JUDGED)
    core.rest()
    core.command(events.Promote(other.deployment_id))
    core.rest()
    assert versions_of(core, other) == (0, 4)


def test_each_gate_and_each_leader_counts_anew(core: Kept) -> None:
    change = canary(core, "1,50%", **JUDGED)
    core.rest()
    seen(core, change, 0)
    seen(core, change, 100)
    core.tick(60)
    core.rest()
    assert versions_of(core, change) == (2, 2)
    counted = core.state.deployments[change.deployment_id].counted["/a"]
    assert (counted.requests, counted.missing) == (0, "no balancer was asked yet")
    seen(core, change, 100)
    seen(core, change, 150)
    core.fail_over()
    core.tick(0)
    assert core.state.deployments[change.deployment_id].counted["/a"].requests == 0
    core.tick(60)
    assert core.state.changes["/a"].stage == 1


def test_a_pause_and_an_unready_instance_end_the_count(core: Kept) -> None:
    change = at_judged_gate(core)
    seen(core, change, 0)
    core.command(events.Pause(change.deployment_id))
    assert not core.state.deployments[change.deployment_id].counted
    seen(core, change, 500, 500)
    assert core.state.deployments
    core.command(events.Pause(change.deployment_id, paused=False))
    [new] = [i for i in core.state.with_task() if i.version == change.version]
    assert core.state.deployments[change.deployment_id].counted["/a"].requests == 0
    core.fail(new.task_id)
    assert not core.state.deployments[change.deployment_id].counted
    core.rest()
    assert core.state.deployments[change.deployment_id].counted


# Two whole fleets, of which one has the traffic


BOTH = labelled(BLUE_GREEN="20%", ROLLBACK="true")


def blue_green(core: Kept, instances: int = 3, *, wanted: int = 0, **more: str) -> actions.Reply:
    """Have an app at rest changed as blue and green."""
    fields = {"backoffSeconds": 0, "labels": BOTH["labels"] | labelled(**more)["labels"]}
    core.put(an_app("/a", instances, **fields))
    core.rest()
    core.now += 1
    return reply(core.put(an_app("/a", wanted or instances, cmd="new", **fields)))


def traffic(core: Kept, change: actions.Reply) -> tuple[int, int]:
    """Return the weights of old and of new servers."""
    found = stages.weights(core.state, "/a")
    assert len(found) <= 2
    return next((weight for version, weight in found.items() if version != change.version), 0), found.get(change.version, 0)


def test_a_new_version_comes_whole_and_gets_the_traffic_share_by_share(core: Kept) -> None:
    change = blue_green(core)
    assert traffic(core, change) == (100, 0)
    for weights in ((100, 0), (100, 25), (0, 100)):
        core.rest()
        assert (versions_of(core, change), traffic(core, change)) == ((3, 3), weights)
        core.tick(1_000_000)  # a gate that waits for somebody has no deadline
        core.fail_over()
        core.tick(1)
        assert (versions_of(core, change), traffic(core, change)) == ((3, 3), weights)
        core.command(events.Promote(change.deployment_id))
    assert traffic(core, change) == (0, 100)  # while the old ones go
    core.rest()
    assert versions_of(core, change) == (0, 3)
    assert core.outcomes()[-1] == (change.deployment_id, Outcome.DONE)
    assert stages.weights(core.state, "/a") == {change.version: 100}


def test_the_version_at_work_is_named_before_another_one_comes(core: Kept) -> None:
    core.put(an_app("/a", 2, **BOTH), an_app("/b", 2))
    version = core.state.apps["/a"].version
    assert stages.weights(core.state, "/a") == {version: 100}
    core.rest()
    assert stages.weights(core.state, "/a") == {version: 100}
    assert stages.weights(core.state, "/b") == stages.weights(core.state, "/none") == {}


def test_a_way_back_switches_at_once_and_takes_no_old_instance_with_it(core: Kept) -> None:
    change = blue_green(core)
    old = {i.instance_id for i in core.state.instances.values() if i.version != change.version}
    for _ in range(2):
        core.rest()
        core.command(events.Promote(change.deployment_id))
    core.rest()
    assert traffic(core, change) == (0, 100)
    core.command(events.RollBack(change.deployment_id))
    assert traffic(core, change) == (100, 0)
    core.rest()
    assert {i.instance_id for i in core.state.instances.values()} == old
    assert not core.state.deployments


def test_on_a_way_back_after_the_old_ones_began_to_go_all_serve_until_enough_are_back(core: Kept) -> None:
    change = blue_green(core)
    for _ in range(3):
        core.rest()
        core.command(events.Promote(change.deployment_id))
    assert any(i.stopping for i in core.state.instances.values())
    core.command(events.RollBack(change.deployment_id))
    assert stages.weights(core.state, "/a") == {}
    core.rest()
    assert versions_of(core, change) == (3, 0)


def test_gates_of_blue_and_green_go_on_by_time_and_figures(core: Kept) -> None:
    change = blue_green(core, **{name: value for name, value in JUDGED.items() if name != "ROLLBACK"})
    core.rest()
    assert not core.state.deployments[change.deployment_id].counted  # without traffic there is nothing to judge
    core.tick(60)
    core.rest()
    assert traffic(core, change) == (100, 25)
    seen(core, change, 0)
    seen(core, change, 200, 5)
    assert core.state.ended[-1].outcome is Outcome.FAILED
    assert traffic(core, change) == (100, 0)
    core.rest()
    assert versions_of(core, change) == (3, 0)


def test_each_fleet_keeps_its_own_number_and_what_crashes_comes_back_as_what_it_was(core: Kept) -> None:
    change = blue_green(core, 3, wanted=2)
    core.rest()
    assert versions_of(core, change) == (3, 2)
    for instance in list(core.state.with_task()):
        core.fail(instance.task_id)
    core.rest()
    assert versions_of(core, change) == (3, 2)
    core.command(events.Promote(change.deployment_id))
    assert traffic(core, change) == (100, 38)  # 20% for two, 80% for three


def test_a_version_whose_former_knew_nothing_of_it_is_rolled_out_as_usual(core: Kept) -> None:
    core.put(an_app("/a", 3, backoffSeconds=0))
    core.rest()
    core.now += 1
    change = reply(core.put(an_app("/a", 3, cmd="new", backoffSeconds=0, **BOTH)))
    assert stages.weights(core.state, "/a") == {}
    core.rest()
    assert versions_of(core, change) == (0, 3)
    assert stages.weights(core.state, "/a") == {change.version: 100}


def test_a_pause_among_two_fleets_takes_no_instance_away(core: Kept) -> None:
    change = blue_green(core)
    core.launch(an_offer("a1"))
    core.command(events.Pause(change.deployment_id))
    core.rest()
    assert (versions_of(core, change), traffic(core, change)) == ((3, 3), (100, 0))
    core.tick(1)
    assert not core.state.deployments[change.deployment_id].reached
    core.command(events.Pause(change.deployment_id, paused=False))
    core.rest()
    core.command(events.Promote(change.deployment_id))
    assert traffic(core, change) == (100, 25)


def test_without_room_for_two_fleets_the_deadline_takes_the_new_one_back(core: Kept) -> None:
    change = blue_green(core, 2, DEPLOYMENT_DEADLINE_S="600")
    core.tick(599)
    assert versions_of(core, change) == (2, 0)
    core.tick(1)
    [failed] = [ended for ended in core.state.ended if ended.outcome is Outcome.FAILED]
    assert failed.reason.startswith("it came no further for 600 s")
    assert (versions_of(core, change), traffic(core, change)) == ((2, 0), (100, 0))
