"""Deployments: stored, one for an app, in the order of dependencies, taken back, and always at an end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import a_machine, an_app, an_offer
from support.core import Core, of
from support.deployments import fail_new, labelled, refusal, reply
from support.kept_core import Kept
from support.records import as_stored

from eratos.marathon.app import App
from eratos.scheduler.core import actions, changes, deployments, events, versions
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.records import CHANGES, DEPLOYMENTS, GROUPS, VERSIONS
from eratos.scheduler.core.state import ENDED_MOST, Outcome


@pytest.fixture
def core() -> Kept:
    return Kept()


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


def test_what_fails_and_cannot_go_back_as_no_change_could_be_stored_fails_all_the_same(core: Kept) -> None:
    labels = labelled(ROLLBACK="true")
    core.put(an_app("/g/a", 2, **labels))
    core.rest()
    change = reply(core.put(an_app("/g/a", 2, cmd="second", **labels)))
    many = tuple(f"/{'x' * 100}{number}" for number in range(changes.GROUPS_CHARACTERS_MOST // 100))
    core.state.groups["/g"] = replace(core.state.groups["/g"], dependencies=many)
    deployments.fail(core.machine.step, core.state.deployments[change.deployment_id], "it broke")
    assert core.state.ended[-1].outcome is Outcome.FAILED and not core.state.deployments
    assert core.state.ended[-1].reason.startswith("it broke; not back to what was before: /g/a cannot be changed")
