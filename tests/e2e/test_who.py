"""``eratos who`` on the real cluster: from an answer's id to the instance, its agent and its log."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.cluster import SOON_S, Cluster
from support.folders import ROOT
from support.waiting import until

pytestmark = pytest.mark.e2e

ERATOS = str(ROOT / ".venv" / "bin" / "eratos")
HOST = "who.test"


@pytest.fixture
def app(cluster: Cluster, prime: dict[str, Any]) -> Iterator[dict[str, Any]]:
    labels = {"HAPROXY_0_VHOST": HOST, "ERATOS_0_LOG_REQUESTS": "all"}
    app = prime | {"id": "/e2e-who", "instances": 1, "labels": labels, "env": prime["env"] | {"LOG": "1"}}
    cluster.apply(app)
    try:
        cluster.settle(app, 1)
        until(lambda: cluster.reached(app["id"], HOST), SOON_S, "both balancers serve it")
        yield app
    finally:
        cluster.delete(app["id"])
    cluster.settle(app, 0)


def who(cluster: Cluster, request_id: str) -> subprocess.CompletedProcess[str]:
    command = [ERATOS, "who", request_id, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, env=cluster.typing(), timeout=60, check=False)


def served(cluster: Cluster, request_id: str) -> dict[str, Any]:
    done = who(cluster, request_id)
    assert done.returncode == 0, done.stderr
    (request,) = json.loads(done.stdout)["requests"]
    return dict(request)


def log_of(cluster: Cluster, task_id: str) -> str:
    return cluster.any_api("GET", f"/v2/tasks/{task_id}/logs").text


def test_who_served_a_request_is_known_by_its_id_also_when_it_is_gone(cluster: Cluster, app: dict[str, Any]) -> None:
    answers = [requests.get(balancer, headers={"Host": HOST}, timeout=30) for balancer in cluster.balancers]
    (task,) = cluster.any_api("GET", f"/v2/apps{app['id']}/tasks").json()["tasks"]
    for number, answer in enumerate(answers, 1):
        assert (answer.status_code, answer.headers["X-Instance"]) == (200, task["id"])
        request_id = answer.headers["X-Request-Id"]
        found = until(lambda request_id=request_id: served(cluster, request_id), SOON_S, "the balancer's log has it")
        assert (found["app"], found["task"], found["host"], found["status"]) == (app["id"], task["id"], task["host"], 200)
        assert found["balancer"].endswith(str(number))
        until(lambda request_id=request_id: request_id in log_of(cluster, task["id"]), SOON_S, "the instance's log has it")
    unknown = who(cluster, "nobody-s-request")
    assert unknown.returncode == 1
    assert "ERATOS_0_LOG_REQUESTS=all" in unknown.stderr
    cluster.apply(app, instances=0)
    cluster.settle(app, 0)
    assert served(cluster, answers[0].headers["X-Request-Id"])["host"] == task["host"]
