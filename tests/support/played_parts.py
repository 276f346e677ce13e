"""What a played cluster has beside apps: jobs that ran, a pod, requirements and quotas; for pages that show them."""

from __future__ import annotations

from typing import Any

from eratos.marathon import pod_definition
from eratos.marathon.app import App
from eratos.marathon.pod import Pod
from eratos.scheduler.core.events import PutJob, PutQuota, StartRun
from eratos.scheduler.core.records import QuotaRecord

from .builders import a_job, an_app
from .played_fleet import PlayedFleet

POD = "/shop/both"


def a_pod(instances: int = 2, **fields: Any) -> Pod:
    """Return a pod of two containers, of which one has a port and a health check."""
    web: dict[str, Any] = {
        "name": "web",
        "image": {"kind": "DOCKER", "id": "shop/web:1"},
        "resources": {"cpus": 0.2, "mem": 64},
        "endpoints": [{"name": "http", "containerPort": 80, "hostPort": 0}],
        "healthCheck": {"http": {"endpoint": "http", "path": "/health"}},
    }
    log = {"name": "log", "image": {"kind": "DOCKER", "id": "shop/log:1"}, "resources": {"cpus": 0.1, "mem": 32}}
    made = {"id": POD, "networks": [{"mode": "container/bridge"}], "containers": [web, log], **fields}
    return pod_definition.parse({**made, "scaling": {"kind": "fixed", "instances": instances}})


def with_a_volume(app_id: str, **fields: Any) -> App:
    """Return an app of one instance with a persistent volume."""
    data = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
    return an_app(app_id, 1, container={"type": "DOCKER", "docker": {"image": "shop/db:1"}, "volumes": [data]}, **fields)


def run_of(fleet: PlayedFleet, job: str, ends: str = "", message: str = "") -> str:
    """Start a run of a job, have its task run and, if ``ends`` is a state, end so; return the run's id."""
    run = fleet.submit(StartRun(job)).version
    fleet.settle()
    if ends:
        end_run(fleet, job, run, ends, message)
    return run


def end_run(fleet: PlayedFleet, job: str, run: str, state: str, message: str = "") -> None:
    """Have the task of a run end."""
    path = f"/{job.replace('.', '/')}/{run}"
    (task,) = fleet.read(lambda found: [(each.task_id, each.agent_id) for each in found.instances_of(path)])
    fleet.update(task[0], state, agent=task[1], message=message)


def add_parts(fleet: PlayedFleet, text: str = "") -> None:
    """Have a fleet play some of everything; ``text`` stands wherever somebody may write what they like."""
    word = "".join(text.split()) or "settings"
    fleet.put(a_pod(environment={"WORD": text}))
    requires = {"pay": {"app": "/shop/pay", "atLeast": 9, "wait": False}, "limits": {"key": f"shop/{word[:400]}"}}
    fleet.put(an_app("/shop/front", 1, eratos={"requires": requires}))
    policy = {"autoscale": {"min": 1, "max": 4, "target": {"cpu": 0.7}}}
    fleet.put(with_a_volume("/shop/db"), an_app("/shop/scaled", 1, eratos=policy, env={"WORD": text}))
    job = a_job("shop.backup", {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}, cmd=text or "backup")
    fleet.submit(PutJob(job.model_copy(update={"description": text}), create_only=True))
    run_of(fleet, "shop.backup", "FINISHED")
    run_of(fleet, "shop.backup", "FAILED", f"exit code 3: {text}")
    run_of(fleet, "shop.backup")
    for path, instances in (("/shop", 20), ("/closed", 0), ("/empty/team", 5), ("/", 100)):
        fleet.submit(PutQuota(QuotaRecord(path, instances=instances)))
