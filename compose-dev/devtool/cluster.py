"""The cluster's containers, through `docker compose` and, where that knows too little, `docker` itself.

compose.yaml holds three agents and two balancers. Fewer of them are a selection of its services; what else a cluster has, or has
otherwise, comes from a file in .generated/ (:mod:`devtool.override`), so that compose.yaml stays the only description.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import base, override, secure, version
from .settings import COMPOSE_FILE, GENERATED, SECURE_FILE, Settings
from .shell import CommandFailed, run

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
#: On containers that compose made, and on nothing else. The labels above are on the images that it built as well, and so on
#: everything that is started from them: workers of this and other clusters, containers of tests.
MADE_LABEL = "com.docker.compose.config-hash"
#: On every worker's container; the value begins with the project.
HOST_LABEL = "eratos.host"
APP_LABEL = "eratos.app"
TASK_LABEL = "eratos.task"


@dataclass(frozen=True, order=True)
class Attachment:
    """A container in a network."""

    network_id: str
    address: str  #: "" while the container is not running


@dataclass
class Container:
    """What matters of one container."""

    name: str
    service: str
    state: str  #: Docker's word: running, exited, restarting ...
    health: str  #: healthy, unhealthy, starting; "" without a health check
    exit_code: int
    started_at: str  #: ISO time, so that texts compare as times do
    restarts: int
    id: str = ""
    network_mode: str = ""  #: "container:ID" where it shares another one's network
    networks: dict[str, Attachment] = field(default_factory=dict)  #: by the network's name

    @property
    def running(self) -> bool:
        """Return whether it runs."""
        return self.state == "running"


class Compose:
    """`docker compose` for one cluster: its files, its project, its variables."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.env = {
            **os.environ,
            **settings.variables,
            **secure.variables(settings),
            "ERATOS_PROJECT": settings.project,
            "ERATOS_BASE": base.IMAGE,
            "ERATOS_VERSION": version.current(),
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_IGNORE_ORPHANS": "1",
        }
        if profiles := [name for name in ("observe", "registry") if getattr(settings, name)]:
            self.env["COMPOSE_PROFILES"] = ",".join(profiles)
        # Mesos' binary is for x86-64 (compose-dev/images/mesos/README.md): elsewhere everything is built for it and emulated.
        if os.uname().machine not in ("x86_64", "amd64"):
            self.env.setdefault("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
        self._override = GENERATED / f"{settings.project}.compose.json"

    def command(self, *arguments: str) -> list[str]:
        """Return a whole command line, the override included where there is one."""
        files = ["-f", str(COMPOSE_FILE)]
        if self.settings.secure:
            files += ["-f", str(SECURE_FILE)]
        if self._override.exists():
            files += ["-f", str(self._override)]
        return ["docker", "compose", *files, *arguments]

    def run(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run `docker compose` and return its output."""
        return run(self.command(*arguments), env=self.env, timeout_s=timeout_s)

    def write_override(self) -> None:
        """Describe what is not as in compose.yaml; remove the description where there is nothing."""
        if self._override.exists():
            self._override.unlink()
        if override.needed(self.settings):
            GENERATED.mkdir(parents=True, exist_ok=True)
            described = override.services(config(self), self.settings)
            self._override.write_text(json.dumps(described, indent=2) + "\n")


def containers(project: str) -> list[Container]:
    """Return the containers that compose made for a project, stopped ones included."""
    return _inspect(["--filter", f"label={PROJECT_LABEL}={project}", "--filter", f"label={MADE_LABEL}"])


def workers(settings: Settings, hosts: Iterable[str] | None = None) -> list[Container]:
    """Return the workers' containers on this cluster's hosts, or on some of them."""
    wanted = set(hosts) if hosts is not None else None
    found = _inspect(["--filter", f"label={HOST_LABEL}"], HOST_LABEL)
    mine = re.compile(rf"{re.escape(settings.project)}-agent\d+")
    return [
        container for container in found if mine.fullmatch(container.service) and (wanted is None or container.service in wanted)
    ]


def worker_tasks(settings: Settings, app_id: str) -> dict[str, tuple[str, str]]:
    """Return an app's running workers on this cluster's hosts: container id and host (agent1) by task."""
    shown = f'{{{{.Label "{HOST_LABEL}"}}}} {{{{.Label "{TASK_LABEL}"}}}} {{{{.ID}}}}'
    label = f"label={APP_LABEL}={app_id}"
    lines = run(["docker", "ps", "--no-trunc", "--filter", label, "--format", shown], timeout_s=60).splitlines()
    rows = [line.split() for line in lines]
    prefix = f"{settings.project}-agent"
    return {task: (container, host[len(settings.project) + 1 :]) for host, task, container in rows if host.startswith(prefix)}


def _inspect(filters: list[str], label: str = SERVICE_LABEL) -> list[Container]:
    ids = run(["docker", "ps", "-aq", "--no-trunc", *filters], timeout_s=60).split()
    if not ids:
        return []
    # One that vanishes between the two calls makes inspect fail after it printed the others.
    output = run(["docker", "inspect", *ids], timeout_s=60, check=False) or run(["docker", "inspect", *_alive(ids)], check=False)
    return sorted(
        (parse_container(entry, label) for entry in json.loads(output or "[]")), key=lambda container: _natural(container.name)
    )


def _alive(ids: list[str]) -> list[str]:
    present = set(run(["docker", "ps", "-aq", "--no-trunc"]).split())
    return [container for container in ids if container in present]


def parse_container(entry: dict[str, Any], label: str = SERVICE_LABEL) -> Container:
    """Return what matters of one entry of `docker inspect`; `label` names the one that becomes `service`."""
    state = entry["State"]
    return Container(
        name=entry["Name"].lstrip("/"),
        service=(entry["Config"].get("Labels") or {}).get(label, ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=state["ExitCode"],
        started_at=state["StartedAt"],
        restarts=entry.get("RestartCount", 0),
        id=entry["Id"],
        network_mode=entry.get("HostConfig", {}).get("NetworkMode", ""),
        networks={
            name: Attachment(found.get("NetworkID") or "", found.get("IPAddress") or "")
            for name, found in ((entry.get("NetworkSettings") or {}).get("Networks") or {}).items()
        },
    )


def short_name(container: str) -> str:
    """Return a worker's container by what distinguishes it, as `eratos logs` calls its task: shop_cart.6f1c0a52.1."""
    match = re.fullmatch(r"eratos-(.+)\.instance-([0-9A-Za-z]{1,8})[0-9A-Za-z-]*\._app\.(\d+)", container)
    return ".".join(match.groups()) if match else container


def _natural(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def host_of(service: str) -> str:
    """Return the service whose network a Consul agent shares: consul-agent1 -> agent1; "" for every other service."""
    match = re.fullmatch(r"consul-((?:agent|balancer)\d+)", service)
    return match[1] if match else ""


def stranded(found: list[Container]) -> list[Container]:
    """Return the Consul agents that were started before their host was: their network is the one that the host had before."""
    by_service = {container.service: container for container in found}
    return [
        container
        for container in found
        if container.running
        and host_of(container.service) in by_service
        and by_service[host_of(container.service)].started_at > container.started_at
    ]


def outlived(project: str, found: list[Container], on_hosts: list[Container]) -> list[Container]:
    """Return the workers that run on although their host, made anew or started again, was without power since."""
    booted = {f"{project}-{container.service}": container.started_at for container in found if container.running}
    return [one for one in on_hosts if one.running and one.started_at < booted.get(one.service, "~")]


def config(compose: Compose) -> dict[str, Any]:
    """Return what compose makes of its files and variables."""
    loaded: dict[str, Any] = json.loads(compose.run("config", "--format", "json"))
    return loaded


def remove_surplus(settings: Settings) -> None:
    """Stop and remove the parts that this cluster no longer has, in order: what runs on a host ends first."""
    wanted = set(settings.services())
    surplus = [container for container in containers(settings.project) if container.service not in wanted]
    if not surplus:
        return
    # An agent lets its workers finish and reports to the master; its Consul agent is still there to take them out of rotation.
    for group in ([one for one in surplus if not host_of(one.service)], [one for one in surplus if host_of(one.service)]):
        if group:
            run(["docker", "stop", "-t", "30", *(container.id for container in group)], check=False, timeout_s=120)
    hosts = [f"{settings.project}-{container.service}" for container in surplus]
    remove([*surplus, *workers(settings, hosts)])


def remove_with_host(settings: Settings, services: Iterable[str]) -> None:
    """Remove the containers of services, and with those of a host all that shares its network: they are lost with it."""
    wanted = set(services)
    found = [one for one in containers(settings.project) if one.service in wanted or host_of(one.service) in wanted]
    remove([*found, *workers(settings, [f"{settings.project}-{one}" for one in wanted])])


def remove(unwanted: list[Container]) -> None:
    """Kill and remove containers, their anonymous volumes included."""
    if unwanted:
        run(["docker", "rm", "-f", "-v", *(container.id for container in unwanted)], check=False, timeout_s=120)


def stop(compose: Compose, volumes: bool) -> None:
    """Stop and remove the cluster, workers included; with `volumes`, also what it stored."""
    schedulers = [container for container in containers(compose.settings.project) if container.service.startswith("scheduler")]
    # First, so that nobody replaces the workers that go next.
    remove(schedulers)
    remove(workers(compose.settings))
    down = ["down", "--remove-orphans", "-t", "5", *(["--volumes"] if volumes else [])]
    late = None
    try:
        compose.run(*down)
    except CommandFailed as error:
        late = error
    # Those that an executor started while it was being stopped; the network of such a one could not go before it.
    remove(workers(compose.settings))
    if late is not None:
        compose.run(*down)
    _remove_left(compose.settings, volumes)


def _remove_left(settings: Settings, volumes: bool) -> None:
    """Remove what compose does not know of: what agents had that there were once, and with `volumes` the disks of workers."""
    made = ["--filter", f"label={PROJECT_LABEL}={settings.project}"]
    left = {"network": run(["docker", "network", "ls", "-q", *made], timeout_s=60).split()}
    if volumes:
        of_workers = worker_volumes(settings, run(["docker", "volume", "ls", "-q"], timeout_s=60).split())
        left["volume"] = run(["docker", "volume", "ls", "-q", *made], timeout_s=60).split() + of_workers
    for kind, unwanted in left.items():
        if unwanted:
            run(["docker", kind, "rm", *unwanted], check=False, timeout_s=60)


def worker_volumes(settings: Settings, found: Iterable[str]) -> list[str]:
    """Return which of these volumes are on the disks of the cluster's hosts: executors name them after their host."""
    return [name for name in found if re.match(rf"{re.escape(settings.project)}-agent\d+_", name)]


def kill(settings: Settings, services: Iterable[str]) -> list[str]:
    """Kill services as a power cut would, all at once, and return the names of what died.

    A host dies with all that runs on it: its Consul agent and its workers. Docker does not restart what was killed by hand.
    """
    cut = set(services)
    victims = [one for one in containers(settings.project) if one.running and cut & {one.service, host_of(one.service)}]
    run(["docker", "kill", *(container.id for container in victims)], check=False, timeout_s=60)
    dead = workers(settings, [f"{settings.project}-{service}" for service in cut])
    remove(dead)
    return [container.name for container in [*victims, *dead]]


def revive(settings: Settings, services: Iterable[str]) -> list[str]:
    """Start what :func:`kill` ended, hosts before what shares their network, and return the names."""
    back = set(services)
    dead = [one for one in containers(settings.project) if not one.running and back & {one.service, host_of(one.service)}]
    dead.sort(key=lambda one: bool(host_of(one.service)))
    for container in dead:
        run(["docker", "start", container.id], timeout_s=60)
    return [container.name for container in dead]
