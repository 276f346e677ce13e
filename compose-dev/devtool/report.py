"""What `status`, `ps` and the end of `up` print."""

from __future__ import annotations

import json

from . import cluster, fleet, health, web
from .settings import SCHEDULERS, Settings
from .shell import run
from .terminal import Problem, say


def addresses(settings: Settings) -> None:
    """Print where everything is."""
    balancers = range(1, settings.balancers + 1)
    rows = [
        ("workers, through the balancers", [settings.url("BALANCER", n, "/") for n in balancers]),
        ("eratos API", [settings.url("API", n, "/v2/apps") for n in range(1, SCHEDULERS + 1)]),
        ("Consul", [settings.url("CONSUL", path="/ui/")]),
        ("Mesos masters", [settings.url("MASTER", n, "/state") for n in (1, 2)]),
        ("HAProxy statistics", [settings.url("STATS", n, "/stats") for n in balancers]),
    ]
    say()
    for what, urls in rows:
        say(f"  {what:32}{'  '.join(urls)}")


def status(settings: Settings) -> int:
    """Print how each part is and what to do about it. Return 0 if all is well."""
    found = cluster.containers(settings.project)
    if not found:
        say(f"the cluster {settings.project} is down; ./dev up starts it")
        return 1
    say(f"cluster {settings.project}: {settings.agents} agents, {settings.balancers} balancers, {len(found)} containers\n")
    troubles = [*container_troubles(settings, found)]
    lacking = health.missing(settings)
    for name in health.INFRASTRUCTURE:
        say(f"  {name:14}{lacking.get(name) or 'well: ' + _details(settings, name)}")
    troubles += [f"{name}: {reason}" for name, reason in lacking.items()]
    if "schedulers" not in lacking:
        troubles += _apps(settings)
    troubles += health.left_out(settings)
    addresses(settings)
    if troubles:
        say("\n  trouble:")
        for trouble in troubles:
            say(f"    {trouble}")
        say("\n  ./dev up heals what it can; ./dev logs SERVICE tells more")
    return 1 if troubles else 0


def container_troubles(settings: Settings, found: list[cluster.Container]) -> list[str]:
    """Return what is wrong with the containers themselves."""
    by_service = {container.service: container for container in found}
    troubles = []
    for service in settings.services():
        container = by_service.get(service)
        if container is None:
            troubles.append(f"{service} is missing")
        elif not container.running:
            troubles.append(f"{service} is {container.state} (exit code {container.exit_code})")
        elif container.health == "unhealthy":
            troubles.append(f"{service} is unhealthy")
    return troubles + [f"{container.service} has lost its host's network" for container in cluster.stranded(found)]


def _details(settings: Settings, part: str) -> str:
    """Return what is worth knowing about a part that is well."""
    try:
        if part == "Consul":
            return f"{len(health.consul_alive(settings))} members"
        if part == "Mesos":
            number, state = health.mesos_leader(settings)
            return f"master{number} leads, {sum(agent['active'] for agent in state['slaves'])} agents"
        if part == "schedulers":
            return f"leader {json.loads(health.scheduler_leader(settings)).get('leader', '?')}"
        return f"{settings.balancers} serve"
    except (web.Unanswered, ValueError) as error:
        return str(error)


def _apps(settings: Settings) -> list[str]:
    """Print the apps with their instances; return those that do not have what they want."""
    troubles = []
    say(f"\n  {'app':32}{'running':>9}{'wanted':>8}   in rotation, by balancer")
    try:
        for app in fleet.apps(settings):
            counts = fleet.in_rotation(settings, "-".join(app["id"].strip("/").split("/")))
            running, wanted = app.get("tasksRunning", 0), app["instances"]
            say(f"  {app['id']:32}{running:>9}{wanted:>8}   {' '.join(map(str, counts))}")
            if running != wanted:
                troubles.append(f"{app['id']} runs {running} of {wanted} instances: {fleet.waiting_for(settings, app['id'])}")
    except Problem as problem:
        troubles.append(str(problem))
    return troubles


def containers(settings: Settings) -> None:
    """Print every container of the cluster with its state and memory, the workers under their hosts."""
    infrastructure, workers = cluster.containers(settings.project), cluster.workers(settings)
    memory = memory_mib([container.id for container in [*infrastructure, *workers] if container.running])
    say(f"{'SERVICE':<20}{'STATE':<22}{'MEMORY':>9}  CONTAINER")
    for container in [*infrastructure, *workers]:
        state = container.state if container.running else f"{container.state} ({container.exit_code})"
        if container.health:
            state += f", {container.health}"
        used = f"{memory[container.id]:.0f} MiB" if container.id in memory else ""
        say(f"{container.service:<20}{state:<22}{used:>9}  {container.name}")
    for what, group in (("infrastructure", infrastructure), ("workers", workers)):
        say(f"{len(group)} {what}: {sum(memory.get(container.id, 0) for container in group):.0f} MiB")


def memory_mib(ids: list[str]) -> dict[str, float]:
    """Return the memory of running containers in MiB, by id."""
    if not ids:
        return {}
    output = run(
        ["docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}", *ids], check=False, timeout_s=60
    )
    return {line.split()[0]: parse_size_mib(line.split()[1]) for line in output.splitlines() if line.strip()}


def parse_size_mib(text: str) -> float:
    """Return a size as docker stats writes it, in MiB: "1.5GiB" -> 1536.0."""
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024, "kB": 1e3 / 2**20, "MB": 1e6 / 2**20, "GB": 1e9 / 2**20, "B": 1 / 2**20}
    unit = next(name for name in units if text.endswith(name))
    return float(text[: -len(unit)]) * units[unit]
