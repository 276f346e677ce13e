"""Attacks on the running cluster: from a web page, from a neighbour on the network, and from a task."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.waiting import until

from eratos.common.keys import proof

pytestmark = pytest.mark.e2e

APP = {"id": "/page", "cmd": "sleep 1000", "instances": 0, "cpus": 0.1, "mem": 32}
#: Looks at the environment and the command line of every process that it sees, for keys and for the executor's own mark.
LOOK = """
for process in /proc/[0-9]*; do
  tr '\\0' '\\n' < $process/environ | grep -E 'MESOS_AGENT_ENDPOINT|[0-9a-f]{64}'
  tr '\\0' ' ' < $process/cmdline | grep -E '[0-9a-f]{64}'
done 2>/dev/null
echo done; exec sleep 100000
"""
SPY = {"id": "/spy", "instances": 1, "cpus": 0.1, "mem": 32, "portDefinitions": [], "cmd": LOOK}
ASK = """
import sys, urllib.error, urllib.request
url, headers, method, body = sys.argv[1], eval(sys.argv[2]), sys.argv[3], sys.argv[4].encode() or None
try:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=10) as answer:
        print(answer.status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
KEYS = """
import os, sys
from eratos.scheduler import config, framework_key
key = framework_key.stored(config.read(["companions-key"], os.environ).config)
given = key.for_executor(sys.argv[1])
print(key.key.hex(), given.endpoint, given.companion, key.schedulers)
"""


def python(cluster: Cluster, code: str, *arguments: str) -> str:
    """Run a program where a neighbour could be: on the network of the cluster's parts."""
    return docker("exec", cluster.container_of("scheduler1"), "/opt/eratos/bin/python", "-c", code, *arguments).strip()


def status(cluster: Cluster, url: str, method: str = "GET", body: str = "", **headers: str) -> int:
    return int(python(cluster, ASK, url, repr(headers), method, body))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example", "Content-Type": "application/json"}, 403),
        ({"Origin": "http://evil.example", "Content-Type": "application/json"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_page_starts_nothing(cluster: Cluster, headers: dict[str, str], expected: int) -> None:
    for number in (1, 2):  # one of them follows
        answer = cluster.ask("POST", f"ERATOS_API{number}_PORT", "/v2/apps", data=json.dumps(APP), headers=headers)
        assert answer.status_code == expected
    assert cluster.any_api("GET", "/v2/apps/page").status_code == 404


def test_a_rebound_name_reads_nothing(cluster: Cluster) -> None:
    assert cluster.ask("GET", "ERATOS_API1_PORT", "/v2/apps", headers={"Host": "evil.example:8080"}).status_code == 403


@pytest.fixture
def spy(cluster: Cluster) -> Iterator[dict[str, Any]]:
    if cluster.secure:
        # Under the strict policy there is none.
        assert cluster.any_api("PUT", "/v2/apps/spy", SPY).status_code == 422
        pytest.skip("a secure cluster runs no process as root that could look around")
    cluster.apply(SPY)
    try:
        yield until(lambda: running(cluster), SOON_S, "the spy runs")
    finally:
        cluster.delete("/spy")


def running(cluster: Cluster) -> dict[str, Any] | None:
    tasks = cluster.any_api("GET", "/v2/apps/spy/tasks").json()["tasks"]
    return next((task for task in tasks if task["state"] == "TASK_RUNNING"), None)


def test_an_executor_answers_its_schedulers_alone_and_its_tasks_do_not_see_its_keys(
    cluster: Cluster, spy: dict[str, Any]
) -> None:
    master, endpoint, companion, schedulers = python(cluster, KEYS, spy["slaveId"]).split()
    url = f"http://{spy['host']}:5052/tasks/{spy['id']}/logs"
    assert status(cluster, url) == 401
    path = f"/tasks/{spy['id']}/logs"
    assert status(cluster, url, Authorization=f"Bearer {endpoint}") == 401  # a key is not for the wire
    assert status(cluster, url, Authorization=proof("0" * 64, "GET", path, b"", time.time())) == 401
    assert status(cluster, url, Authorization=proof(endpoint, "GET", path, b"", time.time())) == 200
    assert status(cluster, url, Authorization=proof(endpoint, "GET", path, b"", time.time()), Host="evil.example") == 403

    def seen() -> str:
        text = cluster.any_api("GET", f"/v2/tasks/{spy['id']}/logs?tail=1000").text
        return text if "done" in text.split() else ""

    text = until(seen, SOON_S, "the spy has looked around")
    assert "MESOS_AGENT_ENDPOINT" in text  # it did see the executor's environment
    for secret in (master, endpoint, companion, schedulers):
        assert secret not in text


@pytest.mark.parametrize("path", ["/confirm", "/status"])
def test_a_page_does_not_reach_a_companion(cluster: Cluster, path: str) -> None:
    url = f"http://balancer1:9100{path}"
    method, body = ("POST", '{"services": ["eratos-none"]}') if path == "/confirm" else ("GET", "")
    json_type = {"Content-Type": "application/json"}
    assert status(cluster, url, method, body, **json_type, Host="evil.example") == 403
    assert status(cluster, url, method, body, **json_type, Origin="http://evil.example") == 403
    assert status(cluster, url, method, body, **json_type) == (401 if cluster.secure else 200)


@pytest.mark.parametrize(
    "uri", ["http://169.254.169.254/latest/meta-data/", "http://agent1:5052/tasks/x/logs", "file:///etc/shadow"]
)
def test_an_app_that_fetches_what_no_app_needs_is_refused(cluster: Cluster, uri: str) -> None:
    answer = cluster.any_api("PUT", "/v2/apps/page", {**APP, "fetch": [{"uri": uri}]})
    assert answer.status_code == 422, answer.text
