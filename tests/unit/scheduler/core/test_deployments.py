"""Deployments: stored, one for an app, in the order of dependencies, taken back, and always at an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of
from support.kept_core import Kept
from support.records import as_stored

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.core import actions, deployments, events, gates, versions
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.records import CHANGES, DEPLOYMENTS, GROUPS, VERSIONS
from eratos.scheduler.core.state import ENDED_MOST, Outcome


@pytest.fixture
def core() -> Kept:
    return Kept()


def reply(out: list[actions.Action]) -> actions.Reply:
    [found] = of(actions.Reply, out)
    return found


def refusal(out: list[actions.Action]) -> actions.Refuse:
    [found] = of(actions.Refuse, out)
    return found


def labelled(**labels: str) -> dict[str, Any]:
    return {"labels": {f"ERATOS_{name}": value for name, value in labels.items()}}


# The lock


COMMANDS: dict[str, events.Command] = {
    "put": events.PutApps((an_app("/a", cmd="other"),)),
    "scale": events.PutApps((an_app("/a", 5),)),
    "put among others": events.PutApps((an_app("/new"), an_app("/a", 5))),
    "drop": events.PutApps((), dropped=("/a",)),
    "delete": events.DeleteApps(("/a",)),
    "restart": events.RestartApp("/a"),
    "version": events.PutVersion("/a", "1970-01-01T00:16:40.000Z"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_app_that_a_deployment_touches_is_locked_unless_forced(core: Kept, name: str) -> None:
    core.put(an_app("/a"))
    core.rest()
    first = reply(core.put(an_app("/a", 2, cmd="second")))
    command = COMMANDS[name]
    before = dict(core.store)
    refused = refusal(core.command(command))
    assert (refused.refusal, refused.deployments) == (Refusal.LOCKED, (first.deployment_id,))
    assert refused.message.startswith("App is locked by one or more deployments. Override with the option '?force=true'.")
    assert core.store == before
    second = reply(core.command(replace(command, force=True)))  # type: ignore[type-var]
    assert (first.deployment_id, Outcome.SUPERSEDED) in core.outcomes()
    # Back in the version that still runs, the app is at rest at once.
    assert second.deployment_id in ({*core.state.deployments} if name != "version" else dict(core.outcomes()))


def test_killing_and_scaling_is_locked_and_killing_alone_is_no_deployment(core: Kept) -> None:
    core.put(an_app("/a", 2))
    core.rest()
    instance = next(iter(core.state.instances))
    assert not reply(core.command(events.KillInstances((instance,)))).deployment_id
    core.rest()
    core.put(an_app("/a", 3))
    instance = next(i.instance_id for i in core.state.with_task())
    assert refusal(core.command(events.KillInstances((instance,), scale=True))).refusal is Refusal.LOCKED
    assert reply(core.command(events.KillInstances((instance,), scale=True, force=True))).deployment_id
    assert core.state.apps["/a"].instances == 2


def test_what_changes_nothing_locks_nothing_and_is_not_locked(core: Kept) -> None:
    core.put(an_app("/a"), an_app("/b"))
    out = core.command(events.PutApps((an_app("/a"), an_app("/b"))))
    assert reply(out).version == core.state.apps["/a"].version
    assert len(core.state.deployments) == 1
    core.rest()
    core.command(events.PutApps((an_app("/a"), an_app("/b", 2))))
    assert set(core.state.changes) == {"/b"}


def test_force_takes_its_own_apps_and_leaves_the_others_to_the_older_deployment(core: Kept) -> None:
    first = reply(core.put(an_app("/a"), an_app("/b")))
    core.put(an_app("/a", 2))
    assert core.state.deployments[first.deployment_id].app_ids == {"/b"}
    core.rest()
    assert core.outcomes()[0] == (first.deployment_id, Outcome.DONE) or core.outcomes()[1][1] is Outcome.DONE
    assert core.keys(DEPLOYMENTS) == core.keys(CHANGES) == []


# Versions


def test_each_new_definition_is_kept_and_scaling_is_none(core: Kept) -> None:
    first = reply(core.put(an_app("/a"))).version
    core.now += 10
    scaled = core.put(an_app("/a", 3))
    assert reply(scaled).version == first
    second = reply(core.put(an_app("/a", 3, cmd="second"))).version
    assert core.keys(VERSIONS) == [f"/a/{first}", f"/a/{second}"]
    former = versions.definition(core.state, "/a", first)
    assert former == an_app("/a", 3).with_version(first)  # with the instances that it had last
    assert core.state.versions["/a"][first].scaled_at == "1970-01-01T00:16:50.000Z"


def test_fifty_versions_are_kept_and_older_ones_forgotten_in_the_same_write(core: Kept) -> None:
    core.put(an_app("/a", 0))
    for number in range(versions.VERSIONS_MOST - 1):
        core.put(an_app("/a", 0, cmd=f"run {number}"))
    assert len(core.keys(VERSIONS)) == versions.VERSIONS_MOST
    [oldest, *others] = core.keys(VERSIONS)
    core.put(an_app("/a", 0, cmd="one more"))
    assert actions.Forget(VERSIONS + oldest) in core.decision.writes
    assert set(others) < set(core.keys(VERSIONS))
    assert len(core.keys(VERSIONS)) == versions.VERSIONS_MOST == len(core.state.versions["/a"])


def test_the_version_that_a_deployment_may_go_back_to_is_not_forgotten(core: Kept) -> None:
    first = reply(core.put(an_app("/a"))).version
    core.rest()
    for number in range(versions.VERSIONS_MOST - 1):
        core.put(an_app("/a", 0, cmd=f"run {number}"))
    core.command(events.PutVersion("/a", first, force=True))
    core.rest()
    # It is the oldest by its name and the youngest by its use.
    core.put(an_app("/a", cmd="one more"))
    assert first in core.state.versions["/a"]


def test_an_app_goes_back_to_a_version_and_keeps_the_instances_of_it_that_still_run(core: Kept) -> None:
    first = reply(core.put(an_app("/a", 2))).version
    core.rest()
    kept = set(core.state.instances)
    core.put(an_app("/a", 2, cmd="second"))
    core.now += 100
    back = reply(core.command(events.PutVersion("/a", first, force=True)))
    assert back.version == core.state.apps["/a"].version == first
    assert core.state.apps["/a"] == an_app("/a", 2).with_version(first)
    core.rest()
    assert set(core.state.instances) == kept
    assert core.state.versions["/a"][first].last_change == core.state.newest_version > first
    assert core.outcomes()[-1] == (back.deployment_id, Outcome.DONE)


def test_going_back_to_a_version_that_is_not_kept_or_of_no_app_is_refused(core: Kept) -> None:
    core.put(an_app("/a"))
    version = "2020-01-01T00:00:00.000Z"
    refused = refusal(core.command(events.PutVersion("/a", version)))
    assert (refused.refusal, refused.message) == (Refusal.NOT_FOUND, f"App '/a' does not exist in version {version}")
    assert refusal(core.command(events.PutVersion("/b", version))).refusal is Refusal.NOT_FOUND


def test_a_store_of_the_version_before_has_the_present_version_of_each_app() -> None:
    app = an_app("/a").with_version("2026-01-31T12:00:00.123Z")
    core = Core(a_machine(as_stored({"framework_id": "fw1", "apps//a": app})))
    out = core.subscribe()
    [put] = [put for put in of(actions.Put, out) if put.key.startswith(VERSIONS)]
    assert put.key == f"{VERSIONS}/a/{app.version}"
    assert versions.read(put.record) == app
    # and the next version is a later one, whatever the clock says
    assert reply(core.put(an_app("/a", cmd="second"))).version > app.version


def test_a_version_that_the_store_holds_and_nobody_can_read_is_left_as_it_is() -> None:
    app = an_app("/a").with_version("2026-01-31T12:00:00.123Z")
    key = f"{VERSIONS}/a/{app.version}"
    core = Core(a_machine(replace(as_stored({"framework_id": "fw1", "apps//a": app}), spoilt={key: "not JSON"})))
    assert key not in [write.key for write in core.subscribe() if isinstance(write, actions.Put | actions.Forget)]
    assert versions.definition(core.machine.state, "/a", app.version) == app


def test_versions_of_an_app_that_is_gone_are_forgotten_but_not_those_of_one_that_cannot_be_read(core: Kept) -> None:
    core.put(an_app("/a", 0), an_app("/b", 0))
    del core.store["apps//a"], core.store["apps//b"]
    spoilt = {"apps//b": "not JSON"}
    again = Core(a_machine(replace(as_stored(core.store), spoilt=spoilt)))
    forgotten = [write.key for write in of(actions.Forget, again.subscribe())]
    assert [key.split("/")[2] for key in forgotten] == ["a"]


def test_a_deleted_app_keeps_its_versions_until_its_deletion_has_ended(core: Kept) -> None:
    core.put(an_app("/a"))
    core.rest()
    core.command(events.DeleteApps(("/a",)))
    assert len(core.keys(VERSIONS)) == 1
    core.rest()
    assert core.keys(VERSIONS) == []
    assert not core.state.versions


# To take back and to cancel


def test_a_change_is_taken_back_and_what_still_runs_of_before_stays(core: Kept) -> None:
    first = reply(core.put(an_app("/a", 2), an_app("/b"))).version
    core.rest()
    kept = set(core.state.instances)
    change = reply(core.put(an_app("/a", 3, cmd="second"), an_app("/c")))
    core.launch()
    back = reply(core.command(events.RollBack(change.deployment_id)))
    assert back.deployment_id != change.deployment_id
    assert back.version > change.version
    core.rest()
    assert set(core.state.apps) == {"/a", "/b"}
    assert core.state.apps["/a"] == an_app("/a", 2).with_version(first)
    assert set(core.state.instances) == kept
    assert core.outcomes()[-2:] == [
        (change.deployment_id, Outcome.ROLLED_BACK),
        (back.deployment_id, Outcome.DONE),
    ]
    assert f"/c/{change.version}" not in core.keys(VERSIONS)


def test_a_deletion_is_taken_back(core: Kept) -> None:
    core.put(an_app("/a", 2))
    core.rest()
    app = core.state.apps["/a"]
    deletion = reply(core.command(events.DeleteApps(("/a",))))
    core.command(events.RollBack(deletion.deployment_id))
    assert core.state.apps == {"/a": app}
    core.rest()
    assert core.running() == {"/a": [app.version] * 2}


def test_what_cannot_be_taken_back_says_so(core: Kept) -> None:
    assert refusal(core.command(events.RollBack("nosuch"))).message == "DeploymentPlan nosuch does not exist"
    assert refusal(core.command(events.Cancel("nosuch"))).refusal is Refusal.NOT_FOUND
    first = reply(core.put(an_app("/a"))).version
    core.rest()
    change = reply(core.put(an_app("/a", cmd="second")))
    del core.state.versions["/a"][first]
    before = dict(core.store)
    refused = refusal(core.command(events.RollBack(change.deployment_id)))
    assert refused.refusal is Refusal.NOT_POSSIBLE and first in refused.message
    assert core.store == before


def test_a_cancelled_deployment_unlocks_and_what_it_began_stays_wanted(core: Kept) -> None:
    change = reply(core.put(an_app("/db", 2), an_app("/web", dependencies=["/db"])))
    core.command(events.Cancel(change.deployment_id))
    assert set(core.state.apps) == {"/db"}  # /web had not begun
    assert core.outcomes() == [(change.deployment_id, Outcome.CANCELLED)]
    assert (core.keys(DEPLOYMENTS), core.keys(CHANGES)) == ([], [])
    core.rest()
    assert set(core.running()) == {"/db"}


# Order


def test_an_upgrade_begins_once_what_it_depends_on_is_at_rest_and_keeps_its_old_instances_until_then(core: Kept) -> None:
    core.put(an_app("/db", 2), an_app("/web", 2, dependencies=["/db"], backoffSeconds=0))
    core.rest()
    old = core.state.apps["/web"].version
    core.put(an_app("/db", 2, cmd="new"), an_app("/web", 3, cmd="new", dependencies=["/db"], backoffSeconds=0))
    tasks = [i.task_id for i in core.state.instances_of("/web")]
    core.fail(tasks[0])
    core.launch(an_offer("a1"), an_offer("a2"))
    # What crashes meanwhile comes back as what is in force.
    assert [i.version for i in core.state.instances_of("/web")] == [old, old]
    assert {i.task_id for i in core.state.instances_of("/web")} != set(tasks)
    core.rest()
    new = core.state.apps["/web"].version
    assert core.running() == {"/db": [new] * 2, "/web": [new] * 3}


def test_once_begun_an_app_is_not_held_again(core: Kept) -> None:
    core.put(an_app("/db", backoffSeconds=0), an_app("/web", dependencies=["/db"]))
    core.run()  # of /db
    assert not core.state.held
    [database] = [i.task_id for i in core.state.instances_of("/db")]
    core.fail(database)
    core.fail_over()
    assert not core.state.held
    assert core.state.in_force("/web") is core.state.apps["/web"]


def test_stops_go_backwards(core: Kept) -> None:
    core.put(an_app("/db"), an_app("/web", dependencies=["/db"]))
    core.rest()
    out = core.command(events.DeleteApps(("/db", "/web")))
    assert [kill.task_id.split(".")[0] for kill in of(actions.Kill, out)] == ["web"]
    assert not core.state.apps
    core.fail_over()
    [web] = [i.task_id for i in core.state.instances_of("/web")]
    out = core.status(web, "KILLED")
    assert [kill.task_id.split(".")[0] for kill in of(actions.Kill, out)] == ["db"]
    core.rest()
    assert not core.state.instances and not core.state.deployments and not core.keys(VERSIONS)


def test_deployments_of_different_apps_do_not_wait_for_each_other(core: Kept) -> None:
    core.put(an_app("/db"), an_app("/web", dependencies=["/db"]))
    core.rest()
    core.put(an_app("/db", cmd="new", cpus=64))  # never fits
    core.put(an_app("/web", cmd="new", dependencies=["/db"]))
    core.rest()
    assert core.running()["/web"] == [core.state.apps["/web"].version]
    assert set(core.state.changes) == {"/db"}


# Failover


@pytest.mark.parametrize("steps", range(6))
def test_a_deployment_goes_on_after_a_failover_in_every_step(core: Kept, steps: int) -> None:
    core.put(an_app("/db", 2), an_app("/web", 2, dependencies=["/db"]), an_app("/old"))
    core.rest()
    change = reply(
        core.command(
            events.PutApps((an_app("/db", 2, cmd="n"), an_app("/web", 2, cmd="n", dependencies=["/db"])), dropped=("/old",))
        )
    )
    for _ in range(steps):
        core.launch(an_offer("a1"))
        busy = next((i for i in core.state.instances.values() if i.launching or i.stopping), None)
        if busy is not None:
            core.status(busy.task_id, "KILLED" if busy.stopping else "RUNNING", agent=busy.agent_id)
    held, changes = dict(core.state.held), dict(core.state.changes)
    core.fail_over()
    assert list(core.state.deployments) == [change.deployment_id]
    assert (core.state.changes, core.state.held) == (changes, held)
    refused = refusal(core.command(events.RestartApp("/db")))
    assert refused.deployments == (change.deployment_id,)
    core.rest()
    assert core.running() == {"/db": [change.version] * 2, "/web": [change.version] * 2}
    assert core.outcomes() == [(change.deployment_id, Outcome.DONE)]


def test_what_is_left_of_a_deployment_in_the_store_is_forgotten(core: Kept) -> None:
    core.put(an_app("/a"), an_app("/b"))
    change = core.store.pop(CHANGES + "/a")
    core.store[CHANGES + "/a"] = replace(change, deployment_id="gone")
    [deployment] = core.keys(DEPLOYMENTS)
    core.store[DEPLOYMENTS + "empty"] = replace(core.store[DEPLOYMENTS + deployment], deployment_id="empty")
    core.fail_over()
    assert (core.keys(CHANGES), core.keys(DEPLOYMENTS)) == (["/b"], [deployment])
    assert core.state.deployments[deployment].app_ids == {"/b"}


# The end


def test_a_deployment_that_comes_no_further_ends_and_what_is_wanted_is_still_tried(core: Kept) -> None:
    change = reply(core.put(an_app("/a", 2, cpus=64)))
    core.tick(1799)
    assert core.state.deployments
    core.tick(1)
    assert core.outcomes() == [(change.deployment_id, Outcome.FAILED)]
    assert "came no further for 1800 s" in core.state.failed["/a"]
    assert (core.keys(DEPLOYMENTS), core.keys(CHANGES)) == ([], [])
    core.launch(an_offer(cpus=200))
    assert core.state.failed
    core.rest()
    assert len(core.running()["/a"]) == 2 or core.launch(an_offer(cpus=200))


def test_each_instance_that_comes_nearer_to_rest_begins_the_deadline_anew_and_none_twice(core: Kept) -> None:
    core.put(an_app("/a", 2, backoffSeconds=0, **labelled(DEPLOYMENT_DEADLINE_S="100")))
    first, _second = core.launch()
    core.tick(99)
    core.status(first, "RUNNING")
    core.tick(99)
    assert core.state.deployments
    # That it runs once more after a crash is no progress.
    core.fail(first)
    core.run()
    core.tick(1)
    assert not core.state.deployments
    assert "100 s" in core.state.failed["/a"]


def test_the_longest_deadline_of_its_apps_counts(core: Kept) -> None:
    core.put(an_app("/a", cpus=64, **labelled(DEPLOYMENT_DEADLINE_S="10")), an_app("/b", cpus=64))
    core.tick(1000)
    assert core.state.deployments


def test_the_deadline_waits_for_a_subscription_and_begins_anew_with_a_new_leader(core: Kept) -> None:
    core.put(an_app("/a", cpus=64))
    core.tick(1000)
    core.fail_over()
    core.tick(1700)
    assert core.state.deployments
    core.handle(events.Disconnected())
    core.tick(5000)
    assert core.state.deployments
    core.subscribe()
    core.tick(1799)
    assert core.state.deployments
    core.tick(1)
    assert not core.state.deployments


def upgrade(core: Kept, **labels: str) -> actions.Reply:
    """Have an app at rest changed into one whose instances fail."""
    core.put(an_app("/a", 2, backoffSeconds=0, **labelled(**labels)))
    core.rest()
    core.now += 1
    return reply(core.put(an_app("/a", 2, cmd="fails", backoffSeconds=0, **labelled(**labels))))


def fail_new(core: Kept) -> None:
    """Let one instance of the new version fail."""
    core.launch(an_offer("a1"))
    new = next(i for i in core.state.with_task() if i.launching)
    core.status(new.task_id, "FAILED", agent=new.agent_id)


@pytest.mark.parametrize("over", [False, True])
def test_a_deployment_ends_when_its_instances_fail_more_often_than_they_may(core: Kept, over: bool) -> None:
    change = upgrade(core, DEPLOYMENT_RETRIES="2")
    for number in range(2):
        fail_new(core)
        if number:
            core.fail_over()  # and the failures are not forgotten
    assert core.state.changes["/a"].failures == 2
    assert core.state.deployments
    if over:
        fail_new(core)
        assert core.outcomes()[-1] == (change.deployment_id, Outcome.FAILED)
        assert "ended by themselves 3 times" in core.state.failed["/a"]
        assert core.state.apps["/a"].cmd == "fails"


def test_instances_of_the_version_before_and_apps_without_a_bound_count_no_failures(core: Kept) -> None:
    upgrade(core, DEPLOYMENT_RETRIES="0")
    old = next(i for i in core.state.with_task() if i.version != core.state.apps["/a"].version)
    core.fail(old.task_id)
    assert core.state.deployments
    other = Kept()
    upgrade(other)
    fail_new(other)
    assert other.state.changes["/a"].failures == 0


def test_an_app_that_asks_for_it_goes_back_to_what_ran_before(core: Kept) -> None:
    change = upgrade(core, DEPLOYMENT_RETRIES="0", ROLLBACK="true")
    kept = {i.instance_id for i in core.state.instances.values() if i.version != change.version}
    assert len(kept) == 2
    fail_new(core)
    assert core.state.apps["/a"].cmd is None
    [back] = core.state.deployments.values()
    assert back.record.undoes == change.deployment_id
    assert back.deployment_id in core.state.failed["/a"]
    core.rest()
    assert kept <= set(core.state.instances)
    assert len(core.running()["/a"]) == 2
    assert core.outcomes()[-2:] == [(change.deployment_id, Outcome.FAILED), (back.deployment_id, Outcome.DONE)]
    assert not core.state.failed


def test_what_never_ran_is_nothing_to_go_back_to(core: Kept) -> None:
    labels = labelled(DEPLOYMENT_DEADLINE_S="10", ROLLBACK="true")
    core.put(an_app("/a", cpus=64, **labels))
    core.put(an_app("/a", cpus=65, **labels))
    core.tick(10)
    assert not core.state.deployments
    assert core.state.apps["/a"].cpus == 65


def test_a_way_back_that_fails_is_not_taken_back_itself(core: Kept) -> None:
    change = upgrade(core, DEPLOYMENT_DEADLINE_S="10", ROLLBACK="true")
    core.launch(an_offer("a1"))
    for instance in list(core.state.with_task()):
        if instance.version != change.version:
            core.fail(instance.task_id)
    core.tick(10)
    assert len(core.state.deployments) == 1
    core.tick(10)
    assert not core.state.deployments
    assert [outcome for _, outcome in core.outcomes()[-2:]] == [Outcome.FAILED, Outcome.FAILED]
    assert core.state.apps["/a"].cmd is None


def test_of_a_failed_deployment_what_has_not_begun_is_not_done(core: Kept) -> None:
    core.put(an_app("/db", cpus=1), an_app("/web", dependencies=["/db"]), an_app("/old/db"))
    core.rest()
    web: App = core.state.apps["/web"]
    core.put(an_app("/db", cpus=64), an_app("/web", 2, cmd="new", dependencies=["/db"]), an_app("/new", dependencies=["/db"]))
    core.tick(1800)
    assert core.outcomes()[-1][1] is Outcome.FAILED
    assert core.state.apps["/web"] == web == core.store["apps//web"]
    assert "/new" not in core.state.apps and "apps//new" not in core.store
    assert core.state.apps["/db"].cpus == 64
    assert set(core.state.failed) == {"/db"}
    assert not core.state.held


def test_the_reason_of_a_failure_goes_with_the_next_change(core: Kept) -> None:
    core.put(an_app("/a", cpus=64))
    core.tick(1800)
    core.put(an_app("/a"))
    assert not core.state.failed


def test_the_last_deployments_that_ended_are_remembered(core: Kept) -> None:
    for number in range(ENDED_MOST + 5):
        last = reply(core.put(an_app(f"/a{number}", 0)))
    assert len(core.state.ended) == ENDED_MOST
    assert core.outcomes()[-1] == (last.deployment_id, Outcome.DONE)


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


# Groups


def test_groups_are_stored_and_what_they_depend_on_orders_deployments(core: Kept) -> None:
    core.command(events.PutApps((an_app("/db/main"), an_app("/shop/web/cart")), groups={"/shop": ("/db",), "/empty": ()}))
    assert core.keys(GROUPS) == ["/db", "/empty", "/shop", "/shop/web"]
    assert set(core.state.held) == {"/shop/web/cart"}
    # The order of a deployment is what it was when it began, also for a later leader and whatever becomes of the group.
    core.command(events.PutApps((), groups={"/shop": ()}))
    core.fail_over()
    core.state.check()
    assert (set(core.state.held), core.state.groups["/shop"].dependencies) == ({"/shop/web/cart"}, ())
    core.rest()
    assert not core.state.deployments
    core.command(events.PutApps((), groups={"/shop": ("/db",)}))
    core.command(events.DeleteApps(("/db/main", "/shop/web/cart"), groups=("/shop", "/shop/web")))
    assert core.keys(GROUPS) == ["/db", "/empty"]
    core.fail_over()
    stopping = [i.app_id for i in core.state.instances.values() if i.stopping]
    assert stopping == ["/shop/web/cart"], "what depends on others stops before them, although its group is gone"
    core.rest()
    core.fail_over()
    assert (set(core.state.groups), core.state.apps) == ({"/db", "/empty"}, {})


def test_a_group_of_an_app_that_is_wanted_again_is_back(core: Kept) -> None:
    core.command(events.PutApps((an_app("/db/main", dependencies=["/shop"]), an_app("/shop/cart")), groups={"/shop": ("/x",)}))
    core.rest()
    gone = reply(core.command(events.DeleteApps(("/db/main", "/shop/cart"), groups=("/shop", "/db"))))
    assert (set(core.state.held), core.state.groups) == ({"/shop/cart"}, {})
    core.command(events.Cancel(gone.deployment_id))  # what it has not begun is not done
    assert (set(core.state.apps), core.state.groups["/shop"].dependencies) == ({"/shop/cart"}, ("/x",))
    core.state.check()
    core.fail_over()
    assert core.state.groups["/shop"].dependencies == ("/x",)


def test_a_group_with_an_app_in_it_stays(core: Kept) -> None:
    core.put(an_app("/shop/cart"))
    core.command(events.DeleteApps((), groups=("/shop",)))
    assert core.keys(GROUPS) == ["/shop"]
    core.state.check()


def test_groups_of_a_store_of_before_are_those_of_its_apps(core: Kept) -> None:
    core.put(an_app("/shop/data/db"))
    for group_id in ("/shop", "/shop/data"):
        del core.store[GROUPS + group_id]
    core.fail_over()
    core.handle(events.Tick())
    assert core.keys(GROUPS) == ["/shop", "/shop/data"]
    core.command(events.DeleteApps(("/shop/data/db",)))
    assert set(core.state.groups) == {"/shop", "/shop/data"}


def test_a_group_whose_write_was_interrupted_gets_those_around_it(core: Kept) -> None:
    core.command(events.PutApps((an_app("/shop/data/db"),), groups={"/empty/in": ()}))
    for group_id in ("/shop", "/empty"):
        del core.store[GROUPS + group_id]
    core.fail_over()
    core.handle(events.Tick())
    assert core.keys(GROUPS) == ["/empty", "/empty/in", "/shop", "/shop/data"]
    core.state.check()


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
    found = deployments.weights(core.state, "/a")
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
    assert deployments.weights(core.state, "/a") == {change.version: 100}


def test_the_version_at_work_is_named_before_another_one_comes(core: Kept) -> None:
    core.put(an_app("/a", 2, **BOTH), an_app("/b", 2))
    version = core.state.apps["/a"].version
    assert deployments.weights(core.state, "/a") == {version: 100}
    core.rest()
    assert deployments.weights(core.state, "/a") == {version: 100}
    assert deployments.weights(core.state, "/b") == deployments.weights(core.state, "/none") == {}


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
    assert deployments.weights(core.state, "/a") == {}
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
    assert deployments.weights(core.state, "/a") == {}
    core.rest()
    assert versions_of(core, change) == (0, 3)
    assert deployments.weights(core.state, "/a") == {change.version: 100}


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
