"""What tests of the executor build: payloads, hosts, and a collector of the events that its parts emit."""

from __future__ import annotations

import queue
import subprocess
import time
from dataclasses import replace
from typing import Any, TypeVar

from support.containers import docker
from support.waiting import until

from eratos.common import names
from eratos.common.payload import HealthCheck, Port, Service, TaskPayload
from eratos.common.resources import Resources
from eratos.executor.core import events as on
from eratos.executor.core.host import Host

HOST = Host("fw1", "eratos", "agent1", name="host1", hostname="host1.example", address="10.0.0.1")
TASK = "shop.instance-1._app.1"
PORT = 31000

E = TypeVar("E")


def a_payload(task_id: str = TASK, *, ports: int = 1, checks: int = 0, **changes: Any) -> TaskPayload:
    """A small task; ``ports`` is how many it has, each a Consul service, ``checks`` how many HTTP health checks."""
    payload = TaskPayload(
        task_id=task_id,
        instance_id=task_id.rpartition("._app.")[0],
        app_id="/shop",
        app_version="v1",
        resources=Resources(cpus_m=100, mem_mib=32),
        image="debian:trixie-slim",
        ports=tuple(Port(PORT + index) for index in range(ports)),
        services=tuple(
            Service(names.service_id(task_id, i), names.service_name("/shop", str(i or "")), PORT + i, (names.SERVICE_TAG,))
            for i in range(ports)
        ),
        health_checks=tuple(
            HealthCheck("http", f"/health{index}", PORT, grace_s=10, interval_s=5, timeout_s=2, max_failures=3)
            for index in range(checks)
        ),
        kill_grace_s=3,
        drain_s=10,
    )
    return replace(payload, **changes)


def remove_labelled(label: str) -> None:
    """Remove a test's containers by id; one whose removal is under way already is waited for."""

    def gone() -> bool:
        left = docker("ps", "-aq", "--filter", f"label={label}").split()
        subprocess.run(["docker", "rm", "-f", "-v", *left], capture_output=True, timeout=60, check=False)
        return not left

    until(gone, 30, "the test's containers are gone")


class Events:
    """Collects emitted events; awaits the one a test is after."""

    def __init__(self) -> None:
        self._queue: queue.Queue[on.Event] = queue.Queue()
        self.seen: list[on.Event] = []

    def emit(self, event: on.Event) -> None:
        self._queue.put(event)

    def until(self, kind: type[E], within_s: float = 20, **fields: Any) -> E:
        """Return the next event of a kind with these fields; the ones before it are only kept in ``seen``."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                event = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} {fields} within {within_s} s; seen: {self.seen}") from None
            self.seen.append(event)
            if isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items()):
                return event
