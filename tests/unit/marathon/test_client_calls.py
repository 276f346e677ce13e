"""What programs in the wild ask of Marathon, in their order, and the fields that they read: Prometheus' marathon_sd, marathon-lb,
and traefik through go-marathon. The programs themselves are not run here.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import requests
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps

HTTP = {"protocol": "HTTP", "path": "/health", "portIndex": 0, "maxConsecutiveFailures": 3}


@pytest.fixture
def controller() -> FakeController:
    made = FakeController()
    ports = [{"port": 10001, "protocol": "tcp", "name": "http", "labels": {"metrics": "/metrics"}}]
    web = an_app("/shop/web", 2, healthChecks=[HTTP], labels={"traefik.enable": "true"}, portDefinitions=ports)
    mappings = [{"containerPort": 80, "hostPort": 0, "servicePort": 10002, "labels": {"a": "b"}}]
    container = {"type": "DOCKER", "docker": {"image": "shop/db"}, "portMappings": mappings}
    bridged = an_app("/shop/db", networks=[{"mode": "container/bridge"}], portDefinitions=None, container=container)
    made.submit(PutApps((web, bridged)))
    for task in made.launch(an_offer()):
        made.update(task, "RUNNING", healthy=True, addresses=("172.17.0.2",))
    return made


def test_prometheus_finds_its_targets(controller: FakeController) -> None:
    """discovery/marathon/marathon.go: one request, with the slash, and what its structs hold."""
    answer = ApiClient(an_api(controller)).get("/v2/apps/?embed=apps.tasks", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    db, web = answer.json()["apps"]
    assert (web["id"], web["labels"], web["requirePorts"], web["tasksRunning"]) == (
        *("/shop/web", {"traefik.enable": "true"}, False, 2),
    )
    assert (web["container"]["docker"]["image"], web["networks"]) == ("eratos/prime", [{"mode": "host"}])
    assert web["portDefinitions"][0]["labels"] == {"metrics": "/metrics"}
    for task in web["tasks"]:
        assert (task["host"], len(task["ports"]), task["ipAddresses"][0]["ipAddress"]) == ("host-a1", 1, "172.17.0.2")
    mapping = db["container"]["portMappings"][0]
    assert (mapping["containerPort"], mapping["hostPort"], mapping["servicePort"], mapping["labels"]) == (
        80,
        0,
        10002,
        {"a": "b"},
    )
    assert db["networks"][0]["mode"] == "container/bridge"


class Stream:
    """Follows the events in the background, as both programs do before they read the apps."""

    def __init__(self, url: str, types: list[str]) -> None:
        self.answer = requests.get(
            f"{url}/v2/events",
            params={"event_type": types},
            headers={"Cache-Control": "no-cache", "Accept": "text/event-stream"},
            stream=True,
            timeout=20,
        )
        self.events: list[dict[str, Any]] = []
        self._came = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.answer.iter_lines(chunk_size=None):  # type: ignore[arg-type]
            if line.startswith(b"data:"):
                with self._came:
                    self.events.append(json.loads(line[5:]))
                    self._came.notify_all()

    def until(self, kind: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((event for event in self.events if event["eventType"] == kind), None)

        with self._came:
            assert self._came.wait_for(found, 20), f"no {kind}"
        event = found()
        assert event is not None
        return event


@pytest.mark.parametrize(
    ("types", "query"),
    [
        # marathon-lb
        (["status_update_event", "health_status_changed_event", "api_post_event"], "embed=apps.tasks"),
        # traefik 2, pkg/provider/marathon: applications, health checks, deployments
        (
            [
                *("api_post_event", "app_terminated_event", "add_health_check_event", "remove_health_check_event"),
                *("failed_health_check_event", "health_status_changed_event", "deployment_success", "deployment_failed"),
                *("deployment_info", "deployment_step_success", "deployment_step_failure", "status_update_event"),
            ],
            "embed=apps.tasks&embed=apps.deployments&embed=apps.readiness",
        ),
    ],
)
def test_balancers_follow_the_events_and_read_the_apps(controller: FakeController, types: list[str], query: str) -> None:
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    url = f"http://127.0.0.1:{server.port}"
    try:
        stream = Stream(url, types)
        assert stream.answer.status_code == 200
        apps = requests.get(f"{url}/v2/apps?{query}", headers={"Accept": "application/json"}, timeout=20).json()["apps"]
        _, web = apps
        assert [task["state"] for task in web["tasks"]] == ["TASK_RUNNING"] * 2
        assert all(task["healthCheckResults"][0]["alive"] for task in web["tasks"])
        assert web["tasks"][0]["servicePorts"] == [10001]
        assert (web["healthChecks"][0]["path"], web["healthChecks"][0]["maxConsecutiveFailures"]) == ("/health", 3)
        assert web["deployments"] == []
        assert ("readinessCheckResults" in web) == ("readiness" in query)
        requests.put(f"{url}/v2/apps//shop/web", json={"instances": 3}, timeout=20)
        assert stream.until("api_post_event")["appDefinition"]["instances"] == 3
        task = web["tasks"][0]["id"]
        controller.update(task, "RUNNING", healthy=False, message="health check 0: HTTP status 500")
        assert stream.until("health_status_changed_event")["alive"] is False
        controller.update(task, "FAILED", message="gone")
        ended = stream.until("status_update_event")
        assert {"slaveId", "taskId", "taskStatus", "appId", "host", "ports", "version"} <= set(ended)
        assert {event["eventType"] for event in stream.events} <= set(types)
    finally:
        controller.events.close()
        server.stop()
