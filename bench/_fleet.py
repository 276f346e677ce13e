"""A fleet of prime workers that a benchmark has for itself, under a host name of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devtool.load.plan import instance_prefix
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.waiting import until

ROOT = Path(__file__).parents[1]

CPUS, MEM_MIB = 0.05, 64
#: Between two looks. Looking costs CPU that the fleet itself wants on a small machine.
PACE_S = 0.05


class Fleet:
    """An app of prime workers. Entering removes what an interrupted run has left; leaving removes it again."""

    def __init__(self, name: str, *, work_s: float = 0.0, **changes: Any) -> None:
        """``work_s``: seconds of CPU for each request. ``changes`` are fields of the app."""
        self.cluster = Cluster.from_environment()
        self.backend = name  #: of HAProxy, and service of Consul
        self.host = f"{name}.localhost"
        self.instance = instance_prefix(name)  #: what the names of its instances begin with
        self.app: dict[str, Any] = {
            "id": f"/{name}",
            "cpus": CPUS,
            "mem": MEM_MIB,
            "env": {"WORK_S": str(work_s)},
            "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
            "networks": [{"mode": "host"}],
            "portDefinitions": [{"port": 0, "name": "http"}],
            "healthChecks": [
                {"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 5, "timeoutSeconds": 2}
            ],
            "labels": {"HAPROXY_0_VHOST": self.host},
            **changes,
        }

    def __enter__(self) -> Fleet:
        self.remove()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def scale(self, count: int, within_s: float = SOON_S) -> None:
        """Bring the fleet to ``count`` instances and wait until it is at rest."""
        self.cluster.apply(self.app, instances=count)
        self.cluster.settle(self.app, count, within_s)

    def replace(self, env: dict[str, str], count: int, within_s: float) -> None:
        """Change the environment, which replaces every instance, and wait until none of the old is left."""
        before = self.cluster.tasks(self.app["id"])
        self.app["env"] = {**self.app["env"], **env}
        self.cluster.apply(self.app, instances=count)

        def replaced() -> bool:
            assert not before & self.cluster.tasks(self.app["id"]), "old instances still run"
            return self.cluster.at_rest(self.app, count)

        until(replaced, within_s, f"all {count} instances are replaced", pace_s=0.5)

    def remove(self) -> None:
        """Delete the app and wait until nothing of it is left."""
        self.cluster.delete(self.app["id"])
        # A host that came back without its workers has their services until Consul's own limit takes them.
        self.cluster.settle(self.app, 0, AFTER_HOST_LOSS_S)


def waited(condition: Callable[[], Any], within_s: float, what: str) -> float:
    """Return the seconds until the condition held."""
    began = time.monotonic()
    until(condition, within_s, what, pace_s=PACE_S)
    return time.monotonic() - began


def machine() -> dict[str, Any]:
    """What figures have to be read with."""
    return {"cores": os.cpu_count()}
