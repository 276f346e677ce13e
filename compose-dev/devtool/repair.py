"""Brings the containers up from whatever state they are in.

`docker compose up` makes what is missing or outdated and starts what is stopped. It leaves as they are, or fails over, parts that
are paused, cut off from the network, in a network that is gone, or beside a host that is another container by now. Those are put
right first, the gentlest way that does it; and where compose still fails, more and more is made anew. Volumes stay in any case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import cluster, secure
from .cluster import Compose, Container
from .settings import Settings
from .shell import CommandFailed, run
from .terminal import Problem, Step

#: What no new container puts right, in the words of Docker, and what does.
_FIXES = {
    r"container name \\?\"?/?([\w.-]+)\\?\"? is already in use": "it is not this cluster's: docker rm -f {0}",
    r"port is already allocated|address already in use": "end what listens there, or move the port (compose-dev/README.md)",
    r"no space left": "free some disk space (docker system prune frees what Docker no longer uses)",
    r"permission denied": "do it as a user who may use Docker, or as root",
    r"overlaps with other": "name three numbers that nothing here uses: ERATOS_NETWORK=192.168.213 ./dev up",
}


@dataclass(frozen=True)
class Remedy:
    """What to do with a container before compose has its turn."""

    kind: str  #: remove, reattach, restart or unpause
    container: Container
    why: str


def start(compose: Compose, step: Step) -> bool:
    """Create and start whatever is missing, stopped or outdated, put right what is odd, and remove what no longer belongs.

    Return whether anything was done. Raise Problem, with what helps, where it cannot be done.
    """
    settings = compose.settings
    before = _seen(settings)
    compose.write_override()
    cluster.remove_surplus(settings)
    addresses = fixed_addresses(cluster.config(compose))
    _repair(settings, addresses, step)
    for more in (_stopped, _all):
        try:
            _compose_up(compose)
            break
        except CommandFailed as error:
            raise_with_fix(error)
            gone = more(settings)
            step.detail = f"making {len(gone)} containers anew, as compose says: {error.output.strip().splitlines()[-1:]}"
            _remove(settings, gone)
            if more is _all:
                _remove_network(settings)
    else:
        _compose_up(compose)
    found = cluster.containers(settings.project)
    for container in cluster.stranded(found):
        run(["docker", "restart", "-t", "1", container.id])
    cluster.remove(cluster.outlived(settings.project, found, cluster.workers(settings)))
    return before != _seen(settings)


def remake(compose: Compose, services: set[str]) -> None:
    """Make some services anew, those that share their network with them."""
    cluster.remove_with_host(compose.settings, services)
    _compose_up(compose)


def _seen(settings: Settings) -> set[tuple[object, ...]]:
    found = cluster.containers(settings.project)
    return {(one.id, one.started_at, one.state, tuple(sorted(one.networks.items()))) for one in found}


def _compose_up(compose: Compose) -> None:
    def up(services: Iterable[str]) -> None:
        compose.run("up", "-d", "--no-build", *services)

    if compose.settings.secure:
        secure.close(compose.settings, lambda: up(secure.FIRST))
    up(compose.settings.services())


def raise_with_fix(error: CommandFailed) -> None:
    """Raise Problem where making containers anew does not help against what Docker says."""
    for pattern, fix in _FIXES.items():
        match = re.search(pattern, error.output)
        if match:
            raise Problem(str(error), f"{fix.format(*match.groups())}; then run this again") from None


def _stopped(settings: Settings) -> list[Container]:
    return [one for one in cluster.containers(settings.project) if not one.running]


def _all(settings: Settings) -> list[Container]:
    return cluster.containers(settings.project)


def _remove(settings: Settings, gone: list[Container]) -> None:
    cluster.remove_with_host(settings, [one.service for one in gone])


def fixed_addresses(config: dict[str, Any]) -> dict[str, str]:
    """Return the address of each service that has a network of its own."""
    return {
        name: service["networks"]["default"]["ipv4_address"]
        for name, service in config["services"].items()
        if ((service.get("networks") or {}).get("default") or {}).get("ipv4_address")
    }


def _repair(settings: Settings, addresses: dict[str, str], step: Step) -> None:
    name = f"{settings.project}_default"
    network_id = _network_id(name)
    for remedy in diagnose(cluster.containers(settings.project), addresses, name, network_id):
        container = remedy.container
        step.detail = f"{container.service} {remedy.why}"
        if remedy.kind == "remove":
            _remove(settings, [container])
        elif remedy.kind == "reattach":
            _reattach(settings, container, name, addresses[container.service])
        else:
            soon = ["-t", "1"] if remedy.kind == "restart" else []
            run(["docker", remedy.kind, *soon, container.id], check=False, timeout_s=60)
    if not network_id:
        _remove_network(settings)


def diagnose(found: list[Container], addresses: dict[str, str], network: str, network_id: str) -> list[Remedy]:
    """Return what to do with which container, in this order. `network_id` is "" where compose has to make the network anew."""
    by_service = {one.service: one for one in found}
    remedies: list[Remedy] = []
    removed: set[str] = set()

    def remove(container: Container, why: str) -> None:
        removed.add(container.service)
        remedies.append(Remedy("remove", container, why))

    for one in sorted(found, key=lambda one: bool(cluster.host_of(one.service))):
        host = cluster.host_of(one.service)
        if host in removed:
            continue  # it goes with its host
        attached = one.networks.get(network)
        place = cluster.Attachment(network_id, addresses.get(one.service, ""))
        if one.state in ("dead", "removing"):
            remove(one, f"is {one.state}")
        elif host and (host not in by_service or one.network_mode != f"container:{by_service[host].id}"):
            remove(one, "is beside a host that is gone")
        elif one.service in addresses and not network_id:
            remove(one, "is in a network that is gone")
        elif one.service in addresses and one.state in ("running", "paused") and attached != place:
            if one.state == "paused":
                remedies.append(Remedy("unpause", one, "is paused"))
            remedies.append(Remedy("reattach", one, "is not at its place in the network"))
        elif one.service in addresses and (attached is None or attached.network_id not in ("", network_id)):
            remove(one, "has no place in the network")
        elif one.state == "paused":
            remedies.append(Remedy("unpause", one, "is paused"))
        elif one.state == "restarting":
            remedies.append(Remedy("restart", one, "waits for its next start"))
    return remedies


def _reattach(settings: Settings, container: Container, network: str, address: str) -> None:
    """Put a container that runs to its place in the network, and what runs on it stays; make it anew where that fails."""
    if network in container.networks:
        run(["docker", "network", "disconnect", "-f", network, container.id], check=False, timeout_s=60)
    try:
        run(["docker", "network", "connect", "--ip", address, "--alias", container.service, network, container.id], timeout_s=60)
    except CommandFailed:
        _remove(settings, [container])


def _network_id(name: str) -> str:
    """Return the id of the cluster's network, "" where there is none that compose would take for its own."""
    entries = json.loads(run(["docker", "network", "inspect", name], check=False) or "[]")
    mine = [
        entry["Id"]
        for entry in entries
        if (entry.get("Labels") or {}).get("com.docker.compose.network") == "default"
        and any(part.get("Subnet", "").endswith("/24") for part in (entry["IPAM"]["Config"] or []))
    ]
    return mine[0] if len(mine) == 1 else ""


def _remove_network(settings: Settings) -> None:
    """Remove the network that stands where the cluster's has to be, if there is one; others that are in it lose it, too."""
    name = f"{settings.project}_default"
    for entry in json.loads(run(["docker", "network", "inspect", name], check=False) or "[]"):
        for container in entry.get("Containers") or {}:
            run(["docker", "network", "disconnect", "-f", entry["Id"], container], check=False, timeout_s=60)
        run(["docker", "network", "rm", entry["Id"]], check=False, timeout_s=60)
