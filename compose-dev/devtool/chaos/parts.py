"""The parts of the cluster as they are now: containers, addresses, and who leads."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import cluster, health, web
from ..cluster import Container
from ..settings import MASTERS, Settings
from ..terminal import Problem

#: On every container of compose.yaml, and so on no cluster but ours: whoever breaks things asks for it.
MARK, MARKED = "eratos.chaos", "allowed"


@dataclass(frozen=True)
class Parts:
    """What there is to break."""

    project: str
    containers: dict[str, Container]  #: by service
    workers: dict[str, tuple[str, str]]  #: of the app under load: container id by task -> (id, host)
    master: str = ""  #: the leading one; "" where none leads
    scheduler: str = ""
    consul: str = ""
    secure: bool = False  #: the cluster's parts ask who asks

    @property
    def network(self) -> str:
        """Return the name of the cluster's own network."""
        return f"{self.project}_default"

    def id(self, service: str) -> str:
        """Return a service's container. Raise Problem where there is none."""
        if service not in self.containers:
            raise Problem(f"there is no part {service}", f"choose one of {', '.join(sorted(self.containers))}")
        return self.containers[service].id

    def address(self, service: str) -> str:
        """Return a part's address on the cluster's network; a Consul agent's is its host's."""
        host = cluster.host_of(service) or service
        self.id(host)
        attached = self.containers[host].networks.get(self.network)
        if attached is None or not attached.address:
            raise Problem(f"{host} has no place in the network", "./dev up heals it")
        return attached.address

    def named(self, kind: str) -> list[str]:
        """Return the services of a kind, such as agent, by their numbers."""
        found = [service for service in self.containers if re.fullmatch(rf"{kind}\d+", service)]
        return sorted(found, key=lambda service: int(service[len(kind) :]))


def look(settings: Settings, app_id: str) -> Parts:
    """Return the parts as they are now."""
    containers = {container.service: container for container in cluster.containers(settings.project)}
    scheduler = health.scheduler_leader(settings)
    return Parts(
        settings.project,
        containers,
        cluster.worker_tasks(settings, app_id),
        leading_master(settings),
        f"scheduler{scheduler}" if scheduler else "",
        _consul_leader(settings, containers),
        settings.secure,
    )


def leading_master(settings: Settings) -> str:
    """Return the master that leads, by its own word; "" where none does."""
    answers, _ = health.ask_all("MASTER", "master", MASTERS, settings, "/slaves")
    leading = [number for number, (status, _) in answers.items() if status == 200]
    return f"master{leading[0]}" if leading else ""


def _consul_leader(settings: Settings, containers: dict[str, Container]) -> str:
    try:
        leader = health.consul_get(settings, "/v1/status/leader")
    except web.Unanswered:
        return ""
    address = leader.partition(":")[0]
    for service, container in containers.items():
        if re.fullmatch(r"consul\d+", service) and any(one.address == address for one in container.networks.values()):
            return service
    return ""
