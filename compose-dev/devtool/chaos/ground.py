"""What chaos stands on: a cluster that is ours and whole, and apps of its own on it."""

from __future__ import annotations

import time
from typing import Any

from .. import cluster, fleet, health
from ..load.plan import HTTP_PORT, Aim, Target, balancer_addresses, instance_prefix
from ..settings import Settings
from ..shell import run
from ..terminal import Problem, Step
from .check import Checker, Unseen, judge, leading_state
from .parts import MARK, MARKED

#: The app under load, and one whose number of instances is changed while something is broken.
APP, NOTES = "/chaos", "/chaos-notes"
HOST = "chaos.localhost"
INSTANCES = 10
#: Little CPU for each request, as what is tested is its way; and a health check that can be told to fail.
ENV = {"WORK_S": "0.002", "HEALTH_SWITCH": "1"}
#: Percent of requests that are to succeed, as the run's own limit is (--answered).
OBJECTIVE = 99.99
WHOLE_S = 180.0
#: So long something may be missing at first: on a busy machine a part may answer too late once.
PATIENCE_S = 20.0
POLL_S = 0.5


def definition(app_id: str, instances: int, host: str) -> dict[str, Any]:
    """Return an app of prime workers that dies often and on purpose, which no delay should answer."""
    return {
        "id": app_id,
        "instances": instances,
        "cpus": 0.05,
        "mem": 64,
        "env": ENV,
        "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "name": "http"}],
        "healthChecks": [
            {"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 3, "timeoutSeconds": 2}
        ],
        "backoffSeconds": 1,
        "backoffFactor": 1.0,
        "taskKillGracePeriodSeconds": 5,
        "labels": {"HAPROXY_0_VHOST": host},
        "eratos": {"errorBudget": {"objective": OBJECTIVE, "window": "1h"}},
    }


def require(settings: Settings) -> None:
    """Raise Problem unless there is a cluster, it is marked as one that may be broken, and nothing of it is missing."""
    found = cluster.containers(settings.project)
    if not found:
        raise Problem(f"the cluster {settings.project} is down", "./dev up starts it")
    require_mark(settings, [container.id for container in found])
    deadline = time.monotonic() + PATIENCE_S
    while (lacking := missing(settings)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if lacking:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in lacking.items())
        raise Problem(f"the cluster {settings.project} is not whole: {reasons}", "./dev up heals it; then run this again")


def missing(settings: Settings) -> dict[str, str]:
    """Return what is missing of a cluster, by part or by the service that does not run."""
    lacking = health.missing(settings)
    running = {one.service for one in cluster.containers(settings.project) if one.running}
    lacking.update(dict.fromkeys(sorted(set(settings.services()) - running), "does not run"))
    return lacking


def require_mark(settings: Settings, ids: list[str]) -> None:
    """Raise Problem unless every container is marked as one that may be broken."""
    shown = '{{index .Config.Labels "' + MARK + '"}} {{.Name}}'
    lines = run(["docker", "inspect", "--format", shown, *ids], timeout_s=60).splitlines()
    unmarked = [name.lstrip("/") for mark, _, name in (line.partition(" ") for line in lines) if mark != MARKED]
    if unmarked:
        raise Problem(
            f"the cluster {settings.project} is not marked for chaos: {', '.join(unmarked[:3])} has no label {MARK}={MARKED}",
            "only the local cluster of this version is: ./dev up, which brings its parts up to date",
        )


def prepare(settings: Settings, checker: Checker, step: Step) -> tuple[dict[str, frozenset[int]], str]:
    """Deploy the apps and wait until the whole cluster is at rest; return the wanted counts of all apps, and the framework."""
    deadline = time.monotonic() + WHOLE_S
    for app in (definition(APP, INSTANCES, HOST), definition(NOTES, 1, "notes.chaos.localhost")):
        app = fleet.everywhere(settings, app)
        fleet.patiently(lambda app=app: put(settings, app["id"], app), step, deadline)  # type: ignore[misc]
    wanted = {app["id"]: frozenset({app["instances"]}) for app in fleet.patiently(lambda: fleet.apps(settings), step, deadline)}
    while True:
        try:
            frameworks = sorted(found["id"] for found in leading_state(settings)["frameworks"] if found.get("active"))
            framework = frameworks[0] if frameworks else ""
            broken = judge(checker.look(), wanted, APP, framework)
        except Unseen as error:
            broken, framework = [str(error)], ""
        if not broken:
            return wanted, framework
        step.detail = broken[0]
        if time.monotonic() > deadline:
            raise Problem(f"before anything was broken, the cluster is not at rest: {broken[0]}", "./dev status; ./dev up heals")
        time.sleep(POLL_S)


def put(settings: Settings, app_id: str, body: dict[str, Any]) -> None:
    """Create or change an app. Raise Problem unless that is acknowledged."""
    status, answer = fleet.api(settings, "PUT", f"/v2/apps/{app_id.strip('/')}?force=true", body)
    if status not in (200, 201):
        raise Problem(f"the API answers {status} to a change of {app_id}: {answer}", "./dev logs scheduler1 may show more")


def remove(settings: Settings, step: Step) -> None:
    """Remove the apps again."""
    deadline = time.monotonic() + WHOLE_S
    for app_id in (APP, NOTES):
        fleet.patiently(lambda app_id=app_id: fleet.api(settings, "DELETE", f"/v2/apps/{app_id.strip('/')}"), step, deadline)  # type: ignore[misc]


def aim(settings: Settings) -> Aim:
    """Return where the load of chaos goes: its app, through every balancer, by their addresses."""
    addresses = balancer_addresses(settings)
    targets = tuple(Target(name, f"http://{address}:{HTTP_PORT}") for name, address in sorted(addresses.items()))
    return Aim(APP, targets, f"{settings.project}_default", HOST, "/", instance_prefix(APP), named=True)
