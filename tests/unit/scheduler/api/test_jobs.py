"""``/v1/jobs`` as Metronome's clients use it, and what it answers to what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.access.policy import Policy
from eratos.scheduler.core import schedules
from eratos.scheduler.core.events import PutApps, Tick
from eratos.scheduler.core.records import HISTORIES

JOB: dict[str, Any] = {"id": "shop.backup", "run": {"cmd": "backup", "cpus": 0.1, "mem": 32}}
NIGHTLY = {"id": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def controller() -> FakeController:
    made = FakeController()
    made.now = 1_800_000_000.0
    return made


@pytest.fixture
def api(controller: FakeController) -> ApiClient:
    return ApiClient(an_api(controller))


def _task(controller: FakeController) -> str:
    return controller.launch(an_offer())[-1]


def _end(controller: FakeController, task: str, state: str, **fields: Any) -> None:
    controller.update(task, "RUNNING")
    controller.now += 5
    controller.update(task, state, **fields)


def test_a_job_is_created_shown_changed_and_deleted(api: ApiClient) -> None:
    made = api.post("/v1/jobs", json=JOB | {"description": "x", "labels": {"a": "b"}})
    assert made.status_code == 201
    shown = made.json()
    assert shown["id"] == "shop.backup" and shown["description"] == "x" and shown["labels"] == {"a": "b"}
    assert shown["run"]["restart"] == {"policy": "NEVER"} and "schedules" not in shown
    assert api.get("/v1/jobs").json() == [shown] and api.get("/v1/jobs/shop.backup").json() == shown
    changed = api.put("/v1/jobs/shop.backup", json=shown | {"description": "y"})
    assert changed.status_code == 200 and changed.json()["description"] == "y"
    assert api.put("/v1/jobs/shop.backup", json={"run": JOB["run"]}).json()["description"] == ""
    assert api.delete("/v1/jobs/shop.backup").status_code == 200
    assert api.get("/v1/jobs").json() == []


def test_schedules_of_a_job(api: ApiClient) -> None:
    api.post("/v1/jobs", json=JOB)
    made = api.post("/v1/jobs/shop.backup/schedules", json=NIGHTLY)
    assert made.status_code == 201
    assert made.json() == NIGHTLY | {
        "concurrencyPolicy": "ALLOW",
        "enabled": True,
        "startingDeadlineSeconds": 900,
        "nextRunAt": "2027-01-16T02:00:00.000Z",
    }
    assert api.post("/v1/jobs/shop.backup/schedules", json=NIGHTLY).status_code == 409
    changed = api.put("/v1/jobs/shop.backup/schedules/nightly", json={**made.json(), "enabled": False})
    assert changed.status_code == 200 and "nextRunAt" not in changed.json()
    assert api.put("/v1/jobs/shop.backup/schedules/nightly", json={"id": "other", "cron": "* * * * *"}).status_code == 422
    assert api.get("/v1/jobs/shop.backup/schedules").json() == [changed.json()]
    assert api.get("/v1/jobs/shop.backup/schedules/nightly").json() == changed.json()
    # A change of the job alone leaves them.
    api.put("/v1/jobs/shop.backup", json=JOB)
    assert len(api.get("/v1/jobs/shop.backup?embed=schedules").json()["schedules"]) == 1
    assert api.delete("/v1/jobs/shop.backup/schedules/nightly").status_code == 200
    assert api.get("/v1/jobs/shop.backup/schedules").json() == []


def test_a_run_by_hand_until_it_stands_in_the_history(api: ApiClient, controller: FakeController) -> None:
    api.post("/v1/jobs", json=JOB)
    started = api.post("/v1/jobs/shop.backup/runs")
    assert started.status_code == 201
    run = started.json()
    assert (run["jobId"], run["status"], run["tasks"], run["completedAt"]) == ("shop.backup", "INITIAL", [], None)
    task = _task(controller)
    assert api.get("/v1/jobs/shop.backup/runs").json()[0]["status"] == "STARTING"
    controller.update(task, "RUNNING")
    (active,) = api.get("/v1/jobs/shop.backup?embed=activeRuns").json()["activeRuns"]
    assert (active["status"], active["tasks"][0]["id"], active["tasks"][0]["host"]) == ("ACTIVE", task, "host-a1")
    _end(controller, task, "FAILED", message="exit code 3; last lines of its log:\nno")
    ended = api.get(f"/v1/jobs/shop.backup/runs/{run['id']}").json()
    assert (ended["status"], ended["tasks"][0]["exitCode"], ended["missed"]) == ("FAILED", 3, False)
    assert api.get("/v1/jobs/shop.backup/runs").json() == []
    shown = api.get("/v1/jobs?embed=history&embed=historySummary").json()[0]
    assert shown["historySummary"]["failureCount"] == 1 and shown["historySummary"]["lastSuccessAt"] is None
    assert [found["id"] for found in shown["history"]["failedFinishedRuns"]] == [run["id"]]
    assert shown["history"]["successfulFinishedRuns"] == []


def test_a_run_is_stopped(api: ApiClient, controller: FakeController) -> None:
    api.post("/v1/jobs", json=JOB)
    run_id = api.post("/v1/jobs/shop.backup/runs").json()["id"]
    task = _task(controller)
    assert api.delete("/v1/jobs/shop.backup").status_code == 409
    assert api.post(f"/v1/jobs/shop.backup/runs/{run_id}/actions/stop").status_code == 200
    assert "stopped" in api.get("/v1/jobs/shop.backup/runs").json()[0]["message"]
    controller.update(task, "KILLED")
    assert api.get(f"/v1/jobs/shop.backup/runs/{run_id}").json()["message"] == "it was stopped"
    assert api.post(f"/v1/jobs/shop.backup/runs/{run_id}/actions/stop").status_code == 404
    api.post("/v1/jobs/shop.backup/runs")
    assert api.delete("/v1/jobs/shop.backup?stopCurrentJobRuns=true").status_code == 200


def test_a_schedule_runs_and_missed_instants_are_told(api: ApiClient, controller: FakeController) -> None:
    every = {"id": "m", "cron": "* * * * *", "concurrencyPolicy": "FORBID"}
    assert api.post("/v0/scheduled-jobs", json=JOB | {"schedules": [every]}).status_code == 201
    controller.now += 60
    controller.handle(Tick())
    (run,) = api.get("/v1/jobs/shop.backup/runs").json()
    assert (run["id"], run["scheduledAt"]) == ("20270115T080100Z", "2027-01-15T08:01:00.000Z")
    _task(controller)
    controller.now += 60
    controller.handle(Tick())
    shown = api.get("/v1/jobs/shop.backup?embed=history").json()["history"]
    assert shown["missedCount"] == 1
    assert shown["missed"][0]["scheduledAt"] == "2027-01-15T08:02:00.000Z" and "FORBID" in shown["missed"][0]["reason"]
    assert api.get("/v0/scheduled-jobs").json()[0]["schedules"][0]["nextRunAt"] == "2027-01-15T08:03:00.000Z"
    assert api.get("/v0/scheduled-jobs/shop.backup").status_code == 200
    assert api.put("/v0/scheduled-jobs/shop.backup", json=JOB | {"schedules": []}).json()["schedules"] == []


def test_why_a_run_waits(api: ApiClient, controller: FakeController) -> None:
    api.post("/v1/jobs", json={**JOB, "run": {**JOB["run"], "mem": 10**6}})
    api.post("/v1/jobs/shop.backup/runs")
    controller.launch(an_offer())
    assert "mem: 1e+06 wanted" in api.get("/v1/jobs/shop.backup/runs").json()[0]["message"]


def test_runs_are_no_apps_and_no_tasks_of_apps(api: ApiClient, controller: FakeController) -> None:
    api.post("/v1/jobs", json=JOB)
    controller.submit(PutApps((an_app("/shop/backup"),)))
    api.post("/v1/jobs/shop.backup/runs")
    controller.launch(an_offer())
    assert [app["id"] for app in api.get("/v2/apps").json()["apps"]] == ["/shop/backup"]
    assert {task["appId"] for task in api.get("/v2/tasks").json()["tasks"]} == {"/shop/backup"}
    assert [app["id"] for app in api.get("/v2/overview").json()["apps"]] == ["/shop/backup"]
    assert all("T08" not in item["app"]["id"] for item in api.get("/v2/queue").json()["queue"])
    text = api.get("/metrics/prometheus").text
    assert 'eratos_instances{app="/shop/backup",state="TASK_STAGING"} 2.0' in text and "eratos_jobs 1.0" in text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/jobs", JOB, 409, "already exists"),
        ("POST", "/v1/jobs", "x", 422, "must be an object"),
        ("POST", "/v1/jobs", {**JOB, "id": "a b"}, 422, "lowercase"),
        ("POST", "/v1/jobs", {**JOB, "id": "other", "schedules": [{"id": "s", "cron": "0 0 30 2 *"}]}, 422, "never comes"),
        ("POST", "/v1/jobs", {**JOB, "id": "other", "run": {"cmd": "x", "cpus": "1"}}, 422, "/run/cpus"),
        ("PUT", "/v1/jobs/other", JOB | {"id": "other"}, 404, "does not exist"),
        ("PUT", "/v1/jobs/shop.backup", JOB | {"id": "other"}, 422, "the address names"),
        ("PUT", "/v1/jobs/shop.backup", [], 422, "must be an object"),
        ("GET", "/v1/jobs/other", None, 404, "does not exist"),
        ("GET", "/v1/jobs/%2Fshop%2Fbackup", None, 404, "does not exist"),
        ("GET", "/v1/jobs/" + "x" * 500, None, 404, "does not exist"),
        ("GET", "/v1/jobs?embed=everything", None, 422, "activeRuns"),
        ("DELETE", "/v1/jobs/other", None, 404, "does not exist"),
        ("DELETE", "/v1/jobs/shop.backup?stopCurrentJobRuns=maybe", None, 422, "true or false"),
        ("POST", "/v1/jobs/other/runs", None, 404, "does not exist"),
        ("GET", "/v1/jobs/other/runs", None, 404, "does not exist"),
        ("GET", "/v1/jobs/other/runs/x", None, 404, "Job 'other' does not exist"),
        ("GET", "/v1/jobs/shop.backup/runs/x", None, 404, "has no run 'x'"),
        ("POST", "/v1/jobs/shop.backup/runs/x/actions/stop", None, 404, "does not exist"),
        ("POST", "/v1/jobs/shop.backup/schedules", {"id": "s", "cron": "* * * * *", "timezone": "Mars/X"}, 422, "no time zone"),
        ("POST", "/v1/jobs/shop.backup/schedules", {"cron": "* * * * *"}, 422, "is missing"),
        ("GET", "/v1/jobs/shop.backup/schedules/x", None, 404, "has no schedule 'x'"),
        ("PUT", "/v1/jobs/shop.backup/schedules/x", NIGHTLY, 404, "has no schedule 'x'"),
        ("DELETE", "/v1/jobs/shop.backup/schedules/x", None, 404, "has no schedule 'x'"),
        ("POST", "/v1/jobs/other/schedules", NIGHTLY, 404, "does not exist"),
        ("PATCH", "/v1/jobs/shop.backup", {}, 405, "use one of"),
    ],
)
def test_what_cannot_be_is_answered_with_the_reason(
    api: ApiClient, method: str, path: str, body: Any, status: int, said: str
) -> None:
    api.post("/v1/jobs", json=JOB)
    before = api.get("/v1/jobs?embed=schedules&embed=activeRuns").json()
    answer = api.request(method, path, json=body)
    assert answer.status_code == status and said in answer.text, answer.text
    assert api.get("/v1/jobs?embed=schedules&embed=activeRuns").json() == before


def test_a_job_has_twenty_schedules_at_most(api: ApiClient) -> None:
    api.post("/v1/jobs", json=JOB | {"schedules": [{"id": f"s{n}", "cron": "* * * * *"} for n in range(20)]})
    answer = api.post("/v1/jobs/shop.backup/schedules", json=NIGHTLY)
    assert answer.status_code == 422 and "20 at most" in answer.text


def test_the_policy_holds_for_jobs_with_the_places_of_jobs(controller: FakeController) -> None:

    api = ApiClient(an_api(controller, policy=Policy(strict=True)))
    docker = {"image": "x", "privileged": True}
    mounted = [{"containerPath": "/x", "hostPath": "/etc", "mode": "RW"}]
    answer = api.post("/v1/jobs", json={"id": "a", "run": {"cmd": "x", "docker": docker, "volumes": mounted}})
    assert answer.status_code == 422
    assert {detail["path"] for detail in answer.json()["details"]} == {"/run/docker/privileged", "/run/volumes(0)/hostPath"}
    assert api.post("/v1/jobs", json={"id": "a", "run": {"cmd": "x"}}).json()["details"][0]["path"] == "/run/user"


def test_a_dry_run_answers_what_would_be_and_changes_nothing(api: ApiClient, controller: FakeController) -> None:
    planned = api.post("/v1/jobs?dryRun=true", json=JOB | {"schedules": [NIGHTLY]})
    assert planned.status_code == 200 and api.get("/v1/jobs").json() == []
    (schedule,) = planned.json()["schedules"]
    assert planned.json()["activeRuns"] == [] and schedule["nextRunAt"] > "2027"
    assert api.put("/v1/jobs/shop.backup?dryRun=true", json=JOB).status_code == 404
    made = api.post("/v0/scheduled-jobs", json=JOB | {"schedules": [NIGHTLY]}).json()
    assert made["schedules"] == [schedule]
    assert api.post("/v1/jobs?dryRun=true", json=JOB).status_code == 409
    run = api.post("/v1/jobs/shop.backup/runs").json()
    controller.now += 86_400
    later = api.put("/v1/jobs/shop.backup?dryRun=true", json=JOB | {"schedules": [NIGHTLY | {"cron": "5 4 * * *"}]}).json()
    assert later["schedules"][0]["nextRunAt"][11:16] in ("02:05", "03:05") and later["activeRuns"][0]["id"] == run["id"]
    assert later["schedules"][0]["nextRunAt"] > schedule["nextRunAt"]
    assert api.get("/v1/jobs/shop.backup/schedules").json()[0]["cron"] == "0 3 * * *"
    wrong = api.put("/v1/jobs/shop.backup?dryRun=true", json={"run": {"cmd": "x", "cpus": -1}}).json()
    assert [detail["path"] for detail in wrong["details"]] == ["/run/cpus"]
    assert api.put("/v0/scheduled-jobs/shop.backup?dryRun=true", json={"run": {"cmd": "other"}}).status_code == 200
    assert api.get("/v1/jobs/shop.backup").json()["run"]["cmd"] == "backup"


@pytest.mark.parametrize("fault", ["jobs already", "cannot be read"])
def test_a_dry_run_is_refused_as_the_change_itself(
    fault: str, api: ApiClient, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "jobs already":
        monkeypatch.setattr(schedules, "JOBS_MOST", 0)
    else:
        controller.machine.state.spoilt[HISTORIES + JOB["id"]] = "why"
    planned, made = (api.post(f"/v1/jobs{asked}", json=JOB) for asked in ("?dryRun=true", ""))
    assert (planned.status_code, planned.json()) == (made.status_code, made.json())
    assert made.status_code == 409 and fault in made.text
