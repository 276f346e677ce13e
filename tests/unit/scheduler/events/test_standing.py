"""What changes without an event of Marathon's is told under types of our own, to those who ask for them."""

from __future__ import annotations

import json

from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.access.roles import Grant, Identity
from eratos.scheduler.api.caller import Caller
from eratos.scheduler.api.event_stream import Reader
from eratos.scheduler.core.events import (
    DeleteDrain,
    DeleteJob,
    DeleteQuota,
    ExecutorLost,
    Pause,
    PutApps,
    PutDrain,
    PutJob,
    PutQuota,
    StartRun,
    Subscribed,
)
from eratos.scheduler.core.records import QuotaRecord
from eratos.scheduler.events.standing import APP, CLUSTER, DEPLOYMENT, JOB, OWN, QUOTA


def kinds(controller: FakeController) -> list[str]:
    return [entry.kind for entry in controller.events.read(0, 10_000_000).entries if entry.kind in OWN]


def test_agents_that_come_change_the_cluster_once() -> None:
    controller = FakeController()
    controller.launch(an_offer("a1"))
    before = kinds(controller).count(CLUSTER)
    controller.launch(an_offer("a1"))
    assert before and kinds(controller).count(CLUSTER) == before
    controller.launch(an_offer("a2"))
    assert kinds(controller).count(CLUSTER) == before + 1


def test_a_drain_its_other_deadline_and_its_end_are_told() -> None:
    controller = FakeController()
    controller.launch(an_offer("a1"))
    for command in (PutDrain("host-a1"), PutDrain("host-a1", 60.0), DeleteDrain("host-a1")):
        before = kinds(controller).count(CLUSTER)
        controller.submit(command)
        assert kinds(controller).count(CLUSTER) == before + 1, command


def test_a_host_on_which_an_executor_died_is_told() -> None:
    controller = FakeController()
    controller.launch(an_offer("a1"))
    before = kinds(controller).count(CLUSTER)
    controller.handle(ExecutorLost("a1", "executor", 137))
    assert kinds(controller).count(CLUSTER) == before + 1


def test_an_app_that_waits_for_another_reason_is_told() -> None:
    controller = FakeController()
    controller.handle(Subscribed("framework-1", "master:5050"))
    controller.submit(PutApps((an_app("/a", cpus=64),)))
    waits = kinds(controller).count(APP)
    controller.launch(an_offer())
    assert waits and kinds(controller).count(APP) == waits + 1


def test_an_app_that_begins_to_wait_or_waits_no_longer_is_told() -> None:
    controller = FakeController()
    controller.submit(PutApps((an_app("/a"),)))
    assert kinds(controller).count(APP) == 1
    controller.submit(PutApps((an_app("/b"),)))
    assert kinds(controller).count(APP) == 2
    controller.submit(PutApps((an_app("/a", 0),)))
    assert kinds(controller).count(APP) == 3


def test_a_pause_is_told() -> None:
    controller = FakeController(locks=True)
    controller.submit(PutApps((an_app("/a"),)))
    (deployment,) = controller.machine.state.deployments
    controller.submit(Pause(deployment))
    assert kinds(controller).count(DEPLOYMENT) == 1


def test_an_instance_that_begins_to_stop_is_told() -> None:
    controller = FakeController()
    controller.submit(PutApps((an_app("/a", 1),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    before = kinds(controller).count(APP)
    controller.submit(PutApps((an_app("/a", 0),)))
    assert kinds(controller).count(APP) == before + 1


def test_clients_of_marathon_hear_none_of_them() -> None:
    controller = FakeController()
    controller.launch(an_offer())
    assert CLUSTER in kinds(controller)
    everything, named = (Reader(Caller(), controller.events, frozenset(asked), told=False) for asked in ((), (CLUSTER,)))
    assert not any(kind.encode() in everything.read(0)[1] for kind in OWN)
    assert CLUSTER.encode() in named.read(0)[1]


def jobs_told(controller: FakeController) -> list[str]:
    entries = controller.events.read(0, 10_000_000).entries
    return [json.loads(entry.document)["jobId"] for entry in entries if entry.kind == JOB]


def test_whatever_changes_of_a_job_is_told() -> None:
    controller = FakeController()
    told = 0

    def tells(what: str) -> None:
        nonlocal told
        found = jobs_told(controller)
        assert len(found) == told + 1, what
        assert found[-1] == "shop.backup"
        told += 1

    controller.submit(PutJob(a_job("shop.backup", {"cron": "0 3 * * *"}), create_only=True))
    tells("it was put")
    controller.submit(StartRun("shop.backup"))
    tells("a run was begun")
    (task,) = controller.launch(an_offer())
    tells("its first task was launched")
    controller.update(task, "RUNNING")
    assert len(jobs_told(controller)) == told, "its task has an event of its own"
    controller.update(task, "FAILED", message="exit status 3")
    tells("the run ended")
    controller.submit(DeleteJob("shop.backup"))
    tells("it was deleted")


def test_apps_are_no_jobs() -> None:
    controller = FakeController()
    controller.submit(PutApps((an_app("/a"),)))
    controller.launch(an_offer())
    assert jobs_told(controller) == [] and QUOTA not in kinds(controller)


def test_a_quota_that_changes_is_told_and_not_whose() -> None:
    controller = FakeController()
    controller.submit(PutQuota(QuotaRecord("/secret", instances=3)))
    controller.submit(DeleteQuota("/secret"))
    told = [entry for entry in controller.events.read(0, 10_000_000).entries if entry.kind == QUOTA]
    assert len(told) == 2 and not any(b"secret" in entry.document for entry in told)


def test_jobs_are_told_to_those_who_may_view_them_and_quotas_to_all() -> None:
    controller = FakeController()
    controller.submit(PutJob(a_job("shop.backup"), create_only=True))
    controller.submit(PutQuota(QuotaRecord("/shop", instances=3)))
    asked = frozenset({JOB, QUOTA})

    def heard(grant: str) -> bytes:
        caller = Caller(identity=Identity("anna", (Grant.parse(grant),)))
        return Reader(caller, controller.events, asked, told=False).read(0)[1]

    assert b'"jobId":"shop.backup"' in heard("view:/shop") and QUOTA.encode() in heard("view:/shop")
    assert JOB.encode() not in heard("view:/bank") and QUOTA.encode() in heard("view:/bank")
