"""What `status`, `ps` and the end of `up` print."""

from __future__ import annotations

from . import cluster, fleet, health, rotation, secure
from .settings import MASTERS, SCHEDULERS, Settings
from .shell import run
from .terminal import Problem, say


def addresses(settings: Settings) -> None:
    """Print where everything is."""
    balancers = range(1, settings.balancers + 1)
    rows = [
        ("workers, through the balancers", [settings.url("BALANCER", n, "/") for n in balancers]),
        ("eratos API", [settings.url("API", n, "/v2/apps") for n in range(1, SCHEDULERS + 1)]),
        ("Consul", [settings.url("CONSUL", n, "/ui/") for name in settings.datacenters for n in settings.consul_servers(name)]),
        ("Mesos masters", [settings.url("MASTER", n, "/state") for n in range(1, MASTERS + 1)]),
        ("HAProxy statistics", [settings.url("STATS", n, "/stats") for n in balancers]),
    ]
    if settings.observe:
        rows.append(("Prometheus", [settings.url("PROMETHEUS", 1, page) for page in ("/targets", "/alerts")]))
    if settings.registry:
        rows.append(("registry, for eratos build", [f"127.0.0.1:{settings.port('REGISTRY')}/..."]))
    say()
    for what, urls in rows:
        say(f"  {what:32}{'  '.join(urls)}")
    if settings.secure:
        say("\n  everybody is asked who they are:")
        for line in secure.how_to_ask(settings):
            say(f"    {line}")


def status(settings: Settings) -> int:
    """Print how each part is and what to do about it. Return 0 if all is well."""
    found = cluster.containers(settings.project)
    if not found:
        say(f"the cluster {settings.project} is down; ./dev up starts it")
        return 1
    say(f"cluster {settings.project}: {settings.agents} agents, {settings.balancers} balancers, {len(found)} containers")
    for line in place_lines(settings, found):
        say(line)
    say()
    troubles = [*container_troubles(settings, found), *print_parts(settings)]
    addresses(settings)
    if troubles:
        say("\n  trouble:")
        for trouble in troubles:
            say(f"    {trouble}")
        say("\n  ./dev up heals what it can; ./dev logs SERVICE shows more")
    return 1 if troubles else 0


def place_lines(settings: Settings, found: list[cluster.Container]) -> list[str]:
    """Return a line for each zone and region of a cluster that has some: which parts are in it, and which of them run not."""
    running = {container.service for container in found if container.running}
    return [
        f"  {kind} {name}: {', '.join(part if part in running else f'{part} (down)' for part in parts)}"
        for kind, places in settings.places.items()
        for name, parts in places.items()
    ]


def print_parts(settings: Settings) -> list[str]:
    """Print how each part serves, and the apps; return what is wrong."""
    troubles = []
    for name, finding in health.look(settings).items():
        for line in part_lines(name, finding):
            say(line)
        troubles += [f"{name}: {lack.text}" for lack in finding.lacks]
    seen = rotation.look(settings)
    return [*troubles, *_apps(settings, seen), *rotation.sentences(seen.left_out)]


def part_lines(name: str, finding: health.Finding) -> list[str]:
    """Return what to print of a part: how it serves, and below that what is missing of it."""
    if not finding.serves:
        return [f"  {name:14}does not serve", *(f"{'':16}{lack.text}" for lack in finding.lacks)]
    word = "serves, but not all of it is well" if finding.lacks else "well"
    return [f"  {name:14}{word}: {finding.serves}", *(f"{'':16}{lack.text}" for lack in finding.lacks)]


def container_troubles(settings: Settings, found: list[cluster.Container]) -> list[str]:
    """Return what is wrong with the containers themselves."""
    by_service = {container.service: container for container in found}
    troubles = []
    for service in settings.services():
        container = by_service.get(service)
        shares = bool(cluster.host_of(service))
        if container is None:
            troubles.append(f"{service} is missing")
        elif not container.running:
            code = f" (exit code {container.exit_code})" if container.state in ("exited", "restarting", "dead") else ""
            troubles.append(f"{service} is {container.state}{code}")
        elif container.network_mode and not shares and f"{settings.project}_default" not in container.networks:
            troubles.append(f"{service} is cut off from the network")
        elif container.health == "unhealthy":
            troubles.append(f"{service} is unhealthy")
    return troubles + [f"{container.service} has lost its host's network" for container in cluster.stranded(found)]


def _apps(settings: Settings, seen: rotation.Rotation) -> list[str]:
    """Print the apps with their instances; return those that do not have what they want."""
    troubles = []
    try:
        apps = fleet.apps(settings)
        say(f"\n  {'app':32}{'running':>9}{'wanted':>8}   in rotation, by balancer")
        for app in apps:
            counts = seen.counts(app["id"])
            running, wanted = app.get("tasksRunning", 0), app.get("tasksWanted", app["instances"])
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
    say(f"{'SERVICE':<18}{'STATE':<19}{'MEMORY':>8}  CONTAINER")
    for container in [*infrastructure, *workers]:
        say(container_line(container, memory.get(container.id)))
    for what, group in (("infrastructure", infrastructure), ("workers", workers)):
        say(f"{len(group)} {what}: {sum(memory.get(container.id, 0) for container in group):.0f} MiB")


def container_line(container: cluster.Container, used_mib: float | None) -> str:
    """Return a container's line, of 80 columns unless its app's name is long; ./dev logs takes what it calls a worker."""
    state = container.state if container.running else f"{container.state} ({container.exit_code})"
    if container.health:
        state += f", {container.health}"
    used = "" if used_mib is None else f"{used_mib:.0f} MiB"
    return f"{container.service:<18}{state:<19}{used:>8}  {cluster.short_name(container.name)}"


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
