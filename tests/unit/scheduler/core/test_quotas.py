"""Quotas: what counts, what is refused and with which words, and that no sequence of changes gets around one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import a_job, a_machine, an_app, an_offer
from support.core import Core, of
from support.records import as_stored

from eratos.marathon.job import Job
from eratos.scheduler.core import actions, events, quotas
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.quotas import Amounts
from eratos.scheduler.core.records import QUOTAS, HistoryRecord, QuotaRecord


def a_core(*found: QuotaRecord) -> Core:
    core = Core()
    core.subscribe()
    for quota in found:
        core.command(events.PutQuota(quota))
    return core


def refused(out: list[actions.Action]) -> str:
    [found] = of(actions.Refuse, out)
    assert found.refusal is Refusal.QUOTA
    return found.message


def state_of(core: Core) -> Any:
    return core.machine.state


# What an app wants


@pytest.mark.parametrize(
    ("instances", "fields", "wanted"),
    [
        (0, {}, Amounts()),
        (1, {}, Amounts(1, 100, 32, 0)),
        (3, {"cpus": 1.5, "mem": 64, "disk": 10}, Amounts(3, 4500, 192, 30)),
        (2, {"cpus": 0.001, "mem": 32.5, "disk": 0.5}, Amounts(2, 2, 66, 2)),  # as is claimed of agents: whole MiB
    ],
)
def test_an_app_wants_instances_times_resources(instances: int, fields: dict[str, Any], wanted: Amounts) -> None:
    assert quotas.wants(state_of(a_core()), an_app("/a", instances, **fields)) == wanted


def test_what_is_not_wanted_wants_nothing() -> None:
    assert quotas.wants(state_of(a_core()), None) == Amounts() == quotas.total({})


def test_one_on_each_host_wants_one_for_each_host_of_now() -> None:
    core = a_core(QuotaRecord("/", instances=2))
    each = an_app("/each", eratos={"perHost": True})
    core.offer(an_offer("a1"), an_offer("a2"))
    assert quotas.wants(state_of(core), each) == Amounts(2, 200, 64, 0)
    assert quotas.wants(state_of(core), each.with_instances(0)) == Amounts()
    assert not of(actions.Refuse, core.put(each))
    assert "2 are in use, this asks for 1 more, and 0 are left" in refused(core.put(an_app("/a")))
    # A host that joins has one all the same, and what is there may be changed.
    core.offer(an_offer("a3"))
    assert quotas.total(quotas.used(state_of(core), "/")).instances == 3
    assert not of(actions.Refuse, core.put(an_app("/each", cmd="other", eratos={"perHost": True}), force=True))


# Which change is refused


@pytest.mark.parametrize(
    ("limit", "before", "after", "over"),
    [
        (10, 0, 10, False),
        (10, 0, 11, True),
        (10, 10, 11, True),
        (10, 9, 10, False),
        (10, 12, 12, False),  # as much as before: a new version, a restart
        (10, 12, 11, False),  # less, though still too much
        (10, 12, 13, True),
        (0, 0, 1, True),
        (0, 0, 0, False),
        (None, 5, 10**9, False),
    ],
)
def test_what_asks_for_more_than_the_quota_is_refused(limit: int | None, before: int, after: int, over: bool) -> None:
    core = a_core()
    core.put(an_app("/g/a", before))
    core.command(events.PutQuota(QuotaRecord("/g", instances=limit)))
    found = quotas.exceeded(state_of(core), {"/g/a": an_app("/g/a", after)})
    assert (found is not None) is over
    if found is not None:
        assert (found.before.instances, found.after.instances) == (before, after)


def test_the_refusal_says_what_is_allowed_used_asked_for_and_left() -> None:
    core = a_core(QuotaRecord("/shop", instances=10, cpus_m=1500, mem_mib=320))
    core.put(an_app("/shop/cart", 8, cpus=0.1))
    message = refused(core.put(an_app("/shop/web", 3, cpus=0.25)))
    assert message == (
        "the quota of /shop allows 10 instances: 8 are in use, this asks for 3 more, and 2 are left; "
        "and 1.5 CPUs: 0.8 are in use, this asks for 0.75 more, and 0.7 are left; "
        "and 320 MiB of memory: 256 are in use, this asks for 96 more, and 64 are left"
    )
    assert list(state_of(core).apps) == ["/shop/cart"]


def test_disk_counts_too_and_a_quota_that_is_exceeded_has_nothing_left() -> None:
    core = a_core()
    core.put(an_app("/a", 3, disk=100))
    core.command(events.PutQuota(QuotaRecord("/", disk_mib=200)))
    assert refused(core.scale("/a", 4)) == (
        "the quota of / allows 200 MiB of disk: 300 are in use, this asks for 100 more, and 0 are left"
    )


def test_amounts_are_said_in_full() -> None:
    assert [quotas.said("CPUs", amount) for amount in (0, 1, 100_000, 1_234_567_500)] == [
        "0 CPUs", "0.001 CPUs", "100 CPUs", "1234567.5 CPUs",
    ]  # fmt: skip


def test_what_another_group_wants_does_not_count_and_an_app_may_have_a_quota_of_its_own() -> None:
    core = a_core(QuotaRecord("/shop", instances=2), QuotaRecord("/shop-2/app", instances=1))
    core.put(an_app("/shop-2/other", 9), an_app("/bank", 9))
    core.put(an_app("/shop/a", 2))
    assert "/shop allows 2 instances" in refused(core.put(an_app("/shop/in/b", 1)))
    assert "/shop-2/app allows 1 instances" in refused(core.put(an_app("/shop-2/app", 2)))


def test_every_quota_around_an_app_counts() -> None:
    core = a_core(QuotaRecord("/", instances=5), QuotaRecord("/shop", instances=3))
    core.put(an_app("/bank", 3))
    assert "quota of / allows 5" in refused(core.put(an_app("/shop/a", 3)))
    core.put(an_app("/shop/a", 2))
    core.scale("/bank", 0)
    assert "quota of /shop allows 3" in refused(core.scale("/shop/a", 4))
    assert [quota.path for quota in quotas.around(state_of(core), "/shop/a")] == ["/", "/shop"]


def test_one_change_of_several_apps_counts_as_a_whole() -> None:
    core = a_core(QuotaRecord("/g", instances=4))
    core.put(an_app("/g/a", 4))
    assert of(actions.Reply, core.put(an_app("/g/a", 1), an_app("/g/b", 3)))  # moved from one to the other
    refused(core.put(an_app("/g/b", 4)))
    out = core.command(events.PutApps((an_app("/g/c", 3),), force=True, dropped=("/g/b",)))
    assert of(actions.Reply, out)


def test_a_lower_quota_stops_nothing_and_lets_everything_pass_that_asks_for_no_more() -> None:
    core = a_core()
    core.put(an_app("/g/a", 4))
    core.launch()
    assert not of(actions.Kill, core.command(events.PutQuota(QuotaRecord("/g", instances=1))))
    assert of(actions.Reply, core.put(an_app("/g/a", 4, cmd="other")))
    assert of(actions.Reply, core.command(events.RestartApp("/g/a", force=True)))
    assert of(actions.Reply, core.scale("/g/a", 3))
    refused(core.scale("/g/a", 4))


def test_a_former_version_and_what_a_rollback_wants_count_as_any_change() -> None:
    core = a_core()
    core.put(an_app("/g/a", 4))
    [first] = state_of(core).versions["/g/a"]
    core.put(an_app("/g/a", 1, cmd="small"))
    core.command(events.PutQuota(QuotaRecord("/g", instances=2)))
    refused(core.command(events.PutVersion("/g/a", first, force=True)))
    [deployment_id] = state_of(core).deployments
    refused(core.command(events.RollBack(deployment_id)))
    assert list(state_of(core).deployments) == [deployment_id]
    assert state_of(core).apps["/g/a"].instances == 1


# Jobs


def jobs_core(instances: int, *schedules: dict[str, Any]) -> tuple[Core, Job]:
    core, job = a_core(QuotaRecord("/shop", instances=instances)), a_job("shop.backup", *schedules)
    core.command(events.PutJob(job, create_only=True))
    return core, job


def history(core: Core) -> HistoryRecord:
    found: HistoryRecord = state_of(core).histories["shop.backup"]
    return found


def test_each_run_of_a_job_counts_until_it_has_ended_or_is_stopped() -> None:
    core, _ = jobs_core(2)
    core.put(an_app("/shop/web", 1))
    run_id = of(actions.Reply, core.command(events.StartRun("shop.backup")))[0].version
    assert "allows 2 instances: 2 are in use" in refused(core.command(events.StartRun("shop.backup")))
    refused(core.scale("/shop/web", 2))
    core.command(events.StopRun("shop.backup", run_id))
    assert of(actions.Reply, core.command(events.StartRun("shop.backup")))


def test_an_instant_for_whose_run_there_is_no_quota_is_missed_with_that_reason() -> None:
    core, _ = jobs_core(1, {"cron": "* * * * *"})
    core.put(an_app("/shop/web", 1))
    core.tick(60)
    assert (history(core).missed, state_of(core).runs) == (1, {})
    assert history(core).latest_missed[0].reason == (
        "the quota of /shop allows 1 instances: 1 are in use, this asks for 1 more, and 0 are left"
    )
    core.scale("/shop/web", 0)
    core.tick(60)
    assert len(state_of(core).runs) == 1


def test_a_run_in_the_place_of_another_needs_no_more_than_that_had() -> None:
    core, _ = jobs_core(1, {"cron": "* * * * *", "concurrencyPolicy": "REPLACE"})
    core.tick(60)
    core.launch()
    core.tick(60)
    assert history(core).missed == 0
    assert [run.record.stopping for run in state_of(core).runs_of("shop.backup")] == [True, False]


def test_an_instant_that_is_missed_stops_no_run() -> None:
    core, _ = jobs_core(1, {"cron": "* * * * *", "concurrencyPolicy": "REPLACE"})
    core.tick(60)
    core.command(events.PutJob(a_job("shop.backup", {"cron": "* * * * *", "concurrencyPolicy": "REPLACE"}, cpus=3)))
    core.command(events.PutQuota(QuotaRecord("/shop/backup", cpus_m=2000)))
    core.tick(60)
    assert [run.record.stopping for run in state_of(core).runs_of("shop.backup")] == [False]
    assert history(core).missed == 1


# The store


def test_a_quota_is_stored_changed_and_deleted() -> None:
    core = a_core()
    quota = QuotaRecord("/g", cpus_m=10)
    assert core.command(events.PutQuota(quota))[0] == actions.Put(QUOTAS + "/g", quota)
    assert core.command(events.DeleteQuota("/g"))[0] == actions.Forget(QUOTAS + "/g")
    [refusal] = of(actions.Refuse, core.command(events.DeleteQuota("/g")))
    assert (refusal.refusal, refusal.message) == (Refusal.NOT_FOUND, "Group '/g' has no quota")


PATHS = st.sampled_from(["/g/a", "/g/b", "/h/c", "/d"])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(PATHS, st.integers(0, 5), max_size=3), st.sampled_from([0.1, 1, 2])),
    st.tuples(st.just("drop"), PATHS, PATHS),
    st.tuples(st.just("scale"), PATHS, st.integers(0, 5)),
    st.tuples(st.just("quota"), st.sampled_from(["/", "/g", "/h", "/d"]), st.integers(0, 8)),
    st.tuples(st.just("back"), st.integers(0, 3), st.none()),
    st.tuples(st.just("version"), PATHS, st.integers(0, 3)),
    st.tuples(st.just("run"), st.none(), st.none()),
    st.tuples(st.just("failover"), st.none(), st.none()),
)


def _command(state: Any, kind: str, what: Any, value: Any) -> events.Command | None:
    """Return the command of a step, or None where there is nothing that it could be about."""
    deployments, versions = sorted(state.deployments), sorted(state.versions.get(what, ())) if isinstance(what, str) else []
    match kind:
        case "put":
            return events.PutApps(tuple(an_app(path, count, cpus=value) for path, count in what.items()), force=True)
        case "drop" if what in state.apps:
            return events.PutApps((an_app(value, 2),) if value != what else (), force=True, dropped=(what,))
        case "scale" if what in state.apps:
            return events.PutApps((state.apps[what].with_instances(value),), force=True)
        case "quota":
            return events.PutQuota(QuotaRecord(what, instances=value, cpus_m=1000 * value))
        case "back" if deployments:
            return events.RollBack(deployments[what % len(deployments)])
        case "version" if versions:
            return events.PutVersion(what, versions[value % len(versions)], force=True)
        case "run":
            return events.StartRun("g.job")
    return None


@given(st.lists(STEPS, max_size=15))
def test_no_sequence_of_changes_gets_more_than_a_quota_allows(steps: list[Any]) -> None:
    core, store = a_core(), {}

    def done(command: events.Command) -> list[actions.Action]:
        out = core.command(command)
        store.update({write.key: write.record for write in of(actions.Put, out)})
        for write in of(actions.Forget, out):
            store.pop(write.key, None)
        return out

    done(events.PutJob(a_job("g.job"), create_only=True))
    for number, (kind, what, value) in enumerate(steps):
        before = {path: quotas.total(quotas.used(state_of(core), path)) for path in state_of(core).quotas}
        kept, apps = dict(state_of(core).quotas), dict(state_of(core).apps)
        if kind == "failover":
            core.machine = a_machine(as_stored(store), core.now, first_id=1000 * (number + 1))
            core.subscribe()
            assert state_of(core).quotas == kept
        command = _command(state_of(core), kind, what, value)
        if command is not None and of(actions.Refuse, done(command)):
            assert state_of(core).apps == apps
        for path, quota in state_of(core).quotas.items():
            now = quotas.total(quotas.used(state_of(core), path))
            for limit, there, was in zip(quotas.limits(quota), now, before.get(path, now), strict=True):
                assert limit is None or there <= max(limit, was), f"{command} exceeds {quota}"


def test_a_job_that_has_ended_wants_nothing() -> None:
    core, _ = jobs_core(1)
    core.command(events.StartRun("shop.backup"))
    [task_id] = core.launch()
    core.status(task_id, "FINISHED")
    assert state_of(core).runs == {}
    assert quotas.used(state_of(core), "/shop") == {}
