"""Jobs on the real cluster: every minute's run, though the leader is killed before it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e

#: Seconds of a minute at which the leader is killed: another one leads only when the next minute has come, or before it.
LATE_S, EARLY_S = 59, 30
JOB: dict[str, Any] = {
    "id": "e2e.minutely",
    "run": {
        "cmd": "echo this is $ERATOS_JOB_INSTANT",
        "docker": {"image": "eratos/prime"},
        "cpus": 0.1,
        "mem": 32,
    },
    "schedules": [{"id": "minutely", "cron": "* * * * *"}],
}


#: A minute each; many more leaders come and go in the histories of tests/simulation/test_job_histories.py.
@pytest.mark.parametrize("killed_at_s", [(LATE_S,), pytest.param((EARLY_S, LATE_S), marks=pytest.mark.hours)], ids=str)
def test_every_minute_has_its_run_though_the_leader_is_killed_before_it(cluster: Cluster, killed_at_s: tuple[int, ...]):
    made = cluster.any_api("POST", "/v1/jobs", JOB)
    assert made.status_code == 201, made.text
    try:
        for second in killed_at_s:
            minute = time.time() // 60 + (time.time() % 60 > second)
            kill_at, next_at = 60 * minute + second, 60 * (minute + 1)
            until(lambda at=kill_at: time.time() >= at, 61, "the moment to kill", pace_s=0.1)
            leader = cluster.container_of(f"scheduler{cluster.leader()}")
            docker("kill", leader)
            docker("start", leader)
            until(lambda at=next_at: time.time() >= at, 61, "the next minute", pace_s=0.1)
            until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
        ended = until(lambda: _ended(cluster, len(killed_at_s)), 2 * SOON_S, "the runs have ended")
        history = _history(cluster)
        assert (history["failureCount"], history["missedCount"]) == (0, 0), history
        for run in ended:
            assert [task["exitCode"] for task in run["tasks"]] == [0], run
            log = cluster.any_api("GET", f"/v2/tasks/{run['tasks'][0]['id']}/logs").text
            assert log == f"this is {run['scheduledAt'].replace('.000Z', 'Z')}\n"
            label = f"eratos.app=/e2e/minutely/{run['id']}"
            assert len(docker("ps", "-aq", "--filter", f"label={label}").split()) == 1, f"{run['id']} ran more than once"
    finally:
        cluster.any_api("DELETE", "/v1/jobs/e2e.minutely?stopCurrentJobRuns=true")
    assert cluster.any_api("GET", "/v1/jobs/e2e.minutely").status_code == 404


def _history(cluster: Cluster) -> dict[str, Any]:
    found = cluster.any_api("GET", "/v1/jobs/e2e.minutely?embed=history")
    assert found.status_code == 200, found.text
    return dict(found.json()["history"])


def _ended(cluster: Cluster, least: int) -> list[dict[str, Any]]:
    found = list(_history(cluster)["successfulFinishedRuns"])
    begun = sorted(_instant(run) for run in found)
    # One that began late may end after the next one.
    assert begun == [begun[0] + 60 * n for n in range(len(begun))], f"an instant was left out, or came twice: {found}"
    return found if len(found) >= least else []


def _instant(run: dict[str, Any]) -> float:
    return datetime.fromisoformat(run["scheduledAt"]).timestamp()
