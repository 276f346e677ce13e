"""Short ways to the objects that tests are about; each takes what the test cares for and makes up the rest."""

from __future__ import annotations

import itertools
from typing import Any

from eratos.common.resources import PortRanges, Resources
from eratos.marathon import definition, job
from eratos.marathon.app import App
from eratos.marathon.job import Job
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Offer, TaskState, TaskStatus
from eratos.scheduler.core.records import Stored
from eratos.scheduler.core.step import Settings

EXECUTOR = "eratos-executor-1"

_offer_numbers = itertools.count(1)


def an_app(app_id: str = "/prime", instances: int = 1, **fields: Any) -> App:
    """Return an app of 0.1 CPU, 32 MiB and one dynamic port; fields are Marathon's JSON names."""
    fixed: dict[str, Any] = {
        "id": app_id,
        "instances": instances,
        "cpus": 0.1,
        "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "http"}],
    }
    return definition.parse(fixed | fields)


def a_stored_app(app_id: str, **fields: Any) -> App:
    """Return an app as a store may hold it, whatever the bounds are that the API sets."""
    return definition.restore(an_app(app_id).to_json() | fields)


def an_offer(
    agent: str = "a1",
    *,
    cpus: float = 4,
    mem: int = 2048,
    ports: tuple[int, int] = (31000, 31099),
    executor: bool = True,
    **fields: Any,
) -> Offer:
    """Return an offer with a new id; the executor runs on the agent already, so that sums are round."""
    return Offer(
        offer_id=f"o{next(_offer_numbers)}",
        agent_id=agent,
        hostname=fields.pop("hostname", f"host-{agent}"),
        resources=Resources(cpus_m=round(cpus * 1000), mem_mib=mem, disk_mib=10_000),
        ports=PortRanges([ports]),
        executor_ids=frozenset([EXECUTOR] if executor else []),
        **fields,
    )


def a_status(task_id: str, state: str, agent: str = "a1", **fields: Any) -> TaskStatus:
    """Return a status update that wants an acknowledgement; ``state`` without ``TASK_``."""
    fields.setdefault("uuid", f"uuid-{task_id}-{state}")
    return TaskStatus(task_id=task_id, state=TaskState("TASK_" + state), agent_id=agent, **fields)


def a_machine(stored: Stored | None = None, now: float = 1000.0, first_id: int = 1, **settings: Any) -> Machine:
    """Return a core whose ids count up: i1, i2, ... One that takes over from another needs another ``first_id``."""
    numbers = itertools.count(first_id)
    defaults: dict[str, Any] = {"executor_id": EXECUTOR, "executor_resources": Resources(cpus_m=100, mem_mib=64)}
    return Machine(stored or Stored(), Settings(**(defaults | settings)), lambda: f"i{next(numbers)}", now)


def a_job(job_id: str = "shop.backup", *schedules: dict[str, Any], **run: Any) -> Job:
    """Return a job of 0.1 CPU and 32 MiB; each schedule gets an id, and runs every minute unless it says otherwise."""
    timed = [{"id": f"s{number}", "cron": "* * * * *", **schedule} for number, schedule in enumerate(schedules)]
    return job.parse({"id": job_id, "run": {"cmd": "backup", "cpus": 0.1, "mem": 32, **run}, "schedules": timed})
