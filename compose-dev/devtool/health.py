"""Is the cluster up? Each check asks all of one part over their published ports: what serves, and what is missing.

Used to wait during `up` and to report in `status`. A check is a question about now; `await_infrastructure` waits. One that is
dead never hides what the others say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from . import cluster, secure, web
from .settings import MASTERS, SCHEDULERS, Settings
from .shell import run
from .terminal import Problem, Step

#: Started that often, a container is not coming up: its log says why.
CRASHES = 3
POLL_S = 0.3
#: That often the containers are looked at while something is missing.
LOOK_S = 5
#: Everything is on this machine: what takes longer does not answer.
ANSWER_S = 3
#: States of Consul's members, as its API numbers them.
ALIVE, LEFT, FAILED = 1, 3, 4


@dataclass(frozen=True)
class Lack:
    """One thing that is missing, and the services that may be to blame for it."""

    text: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What was found of one part: what serves, "" where nothing does, and what is missing."""

    serves: str
    lacks: tuple[Lack, ...] = ()


def ask_all(
    kind: str, service: str, which: int | range, settings: Settings, path: str
) -> tuple[dict[int, tuple[int, str]], list[Lack]]:
    """Ask every one of a kind at once, so that a dead one costs its time limit once. Return the answers, and who gave none.

    ``which``: how many there are, or the numbers of those to ask.
    """

    access = secure.access(settings, kind)

    def ask(number: int) -> tuple[int, str] | str:
        try:
            return web.request("GET", settings.url(kind, number, path), None, ANSWER_S, access)
        except web.Unanswered as error:
            return str(error)

    numbers = range(1, which + 1) if isinstance(which, int) else which
    with ThreadPoolExecutor(max_workers=len(numbers)) as pool:
        asked = {number: pool.submit(ask, number) for number in numbers}
        results = {number: future.result() for number, future in asked.items()}
    answers = {number: result for number, result in results.items() if not isinstance(result, str)}
    silent = [
        Lack(f"{service}{number} does not answer ({result})", (f"{service}{number}",))
        for number, result in results.items()
        if isinstance(result, str)
    ]
    return answers, silent


def consul(settings: Settings) -> Finding:
    """Every server answers, they have a leader, every node is a living member; so in each data center, and these are joined."""
    found = [_consul(settings, datacenter) for datacenter in settings.datacenters]
    return Finding("; ".join(one.serves for one in found if one.serves), tuple(lack for one in found for lack in one.lacks))


def _consul(settings: Settings, datacenter: str) -> Finding:
    numbers = settings.consul_servers(datacenter)
    answers, lacks = ask_all("CONSUL", "consul", numbers, settings, "/v1/status/leader")
    leaders = {_parsed(text) for status, text in answers.values() if status == 200} - {None, ""}
    if not leaders:
        where = f" in {datacenter}" if datacenter else ""
        return Finding("", (*lacks, Lack(f"no server leads{where}", tuple(f"consul{n}" for n in numbers))))
    try:
        members = consul_members(settings, datacenter)
        lacks += _apart(settings, datacenter)
    except web.Unanswered as error:
        return Finding("", (*lacks, Lack(str(error))))
    alive = {name for name, member in members.items() if member["Status"] == ALIVE}
    leader = next((name for name, member in members.items() if f"{member['Addr']}:8300" in leaders), "a server")
    silent = {service for lack in lacks for service in lack.services}
    for name in sorted(settings.consul_nodes(datacenter) - alive - silent):
        # A host's Consul agent is a container beside the host's.
        lacks.append(Lack(f"{name} is no living member", (name if name.startswith("consul") else f"consul-{name}",)))
    return Finding(f"{leader} leads, {len(alive)} members{f' in {datacenter}' if datacenter else ''}", tuple(lacks))


def _apart(settings: Settings, datacenter: str) -> list[Lack]:
    """Return which servers of other data centers are out of sight of those of one. Raise Unanswered."""
    wanted = {
        f"consul{n}.{other}" for other in settings.datacenters if other != datacenter for n in settings.consul_servers(other)
    }
    if not wanted:
        return []
    seen = consul_get(settings, "/v1/agent/members?wan=1", datacenter)
    alive = {member["Name"] for member in seen if member["Status"] == ALIVE}
    return [Lack(f"{name} is out of sight of {datacenter}") for name in sorted(wanted - alive)]


def consul_get(settings: Settings, path: str, datacenter: str = "") -> Any:
    """Return what the first Consul server of a data center answers that can. Raise Unanswered where none can."""
    answers, lacks = ask_all("CONSUL", "consul", settings.consul_servers(datacenter), settings, path)
    for number, (status, text) in answers.items():
        if status == 200:
            return json.loads(text)
        lacks.append(Lack(f"consul{number} answers HTTP {status}"))
    raise web.Unanswered(f"no Consul server answers: {'; '.join(lack.text for lack in lacks)}")


def consul_everywhere(settings: Settings, path: str) -> list[Any]:
    """Return what each data center answers. Raise Unanswered where one does not."""
    return [consul_get(settings, path, datacenter) for datacenter in settings.datacenters]


def consul_members(settings: Settings, datacenter: str) -> dict[str, dict[str, Any]]:
    """Return the members of a data center of Consul by name, those that left excepted. Raise Unanswered."""
    found: list[dict[str, Any]] = consul_get(settings, "/v1/agent/members", datacenter)
    return {member["Name"]: member for member in found if member["Status"] != LEFT}


def mesos(settings: Settings) -> Finding:
    """Every master answers, one of them leads, and every agent is registered with it."""
    # A master that does not lead redirects to the one that does.
    answers, lacks = ask_all("MASTER", "master", MASTERS, settings, "/slaves")
    leading = {number: _parsed(text) for number, (status, text) in answers.items() if status == 200}
    if not leading:
        return Finding("", (*lacks, Lack("no master leads", ("zookeeper",))))
    number, state = next(iter(leading.items()))
    active = {agent["hostname"] for agent in state["slaves"] if agent["active"]}
    lacks += [
        Lack(f"agent{n} is not registered", (f"agent{n}",)) for n in range(1, settings.agents + 1) if f"agent{n}" not in active
    ]
    return Finding(f"master{number} leads, {len(active)} agents", tuple(lacks))


def schedulers(settings: Settings) -> Finding:
    """Every scheduler answers, and one of them leads."""
    answers, lacks = ask_all("API", "scheduler", SCHEDULERS, settings, "/ping")
    lacks += [
        Lack(f"scheduler{number} answers HTTP {status}", (f"scheduler{number}",))
        for number, (status, _) in answers.items()
        if status != 200
    ]
    leader = scheduler_leader(settings)
    if not leader:
        return Finding("", (*lacks, Lack("no scheduler leads", ("zookeeper",))))
    return Finding(f"scheduler{leader} leads", tuple(lacks))


def scheduler_leader(settings: Settings) -> int:
    """Return the number of the scheduler that leads, by its own word, 0 if none does."""
    answers, _ = ask_all("API", "scheduler", SCHEDULERS, settings, "/v2/info")
    for number, (status, text) in answers.items():
        if status == 200 and (_parsed(text) or {}).get("elected"):
            return number
    return 0


def _parsed(text: str) -> Any:
    """Return what a JSON text says, None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def balancers(settings: Settings) -> Finding:
    """Every balancer serves, and its companion is known to Consul, where executors look for it."""
    answers, lacks = ask_all("STATS", "balancer", settings.balancers, settings, "/stats;csv")
    serving = [number for number, (status, _) in answers.items() if status == 200]
    lacks += [
        Lack(f"balancer{number}: statistics answer HTTP {status}", (f"balancer{number}",))
        for number, (status, _) in answers.items()
        if status != 200
    ]
    serves = f"{len(serving)} serve" if serving else ""
    try:
        registered = {entry["Node"]["Node"] for entry in passing_balancers(settings)}
    except web.Unanswered:
        return Finding(serves, tuple(lacks))  # that Consul does not answer is reported elsewhere
    lacks += [
        Lack(f"balancer{number} is not registered at Consul", (f"consul-balancer{number}",))
        for number in serving
        if f"balancer{number}" not in registered
    ]
    return Finding(serves, tuple(lacks))


def prometheus(settings: Settings) -> Finding:
    """Prometheus answers and has figures of the leading scheduler. Others that do not answer it are troubles of their own."""
    answers, lacks = ask_all("PROMETHEUS", "prometheus", 1, settings, "/api/v1/targets?state=active")
    if lacks:
        return Finding("", tuple(Lack(lack.text.replace("prometheus1", "prometheus"), ("prometheus",)) for lack in lacks))
    status, text = answers[1]
    targets = ((_parsed(text) or {}).get("data") or {}).get("activeTargets") if status == 200 else None
    if targets is None:
        return Finding("", (Lack(f"prometheus answers HTTP {status}", ("prometheus",)),))
    names = {f"{one['labels']['job']} {one['labels']['instance']}": one["health"] for one in targets}
    silent = sorted(name for name, health in names.items() if health != "up")
    serves = f"{len(names) - len(silent)} of {len(names)} targets answer" + (f", but not {', '.join(silent)}" if silent else "")
    if names.get("eratos-scheduler leader") != "up":
        return Finding(serves, (Lack("it has no figures of the leading scheduler yet", ("prometheus",)),))
    return Finding(serves)


def registry(settings: Settings) -> Finding:
    """The registry for images answers."""
    answers, lacks = ask_all("REGISTRY", "registry", 1, settings, "/v2/")
    said = [lack.text.replace("registry1", "registry") for lack in lacks]
    said += [f"registry answers HTTP {status}" for status, _ in answers.values() if status != 200]
    if said:
        return Finding("", tuple(Lack(text, ("registry",)) for text in said))
    return Finding(f"images are called 127.0.0.1:{settings.port('REGISTRY')}/...")


def passing_balancers(settings: Settings) -> list[dict[str, Any]]:
    """Return Consul's entries of the balancers that are well. Raise Unanswered."""
    path = "/v1/health/service/eratos-balancer?passing"
    return [entry for answer in consul_everywhere(settings, path) for entry in answer]


#: What must hold before workers are started, in the order in which it comes true.
INFRASTRUCTURE: dict[str, Callable[[Settings], Finding]] = {
    "Consul": consul,
    "Mesos": mesos,
    "balancers": balancers,
    "schedulers": schedulers,
}


def parts(settings: Settings) -> dict[str, Callable[[Settings], Finding]]:
    """Return the check of each part that a cluster has."""
    return {
        **INFRASTRUCTURE,
        **({"Prometheus": prometheus} if settings.observe else {}),
        **({"registry": registry} if settings.registry else {}),
    }


def look(settings: Settings) -> dict[str, Finding]:
    """Return what is found of each part."""
    asked = parts(settings)
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        checks = {name: pool.submit(check, settings) for name, check in asked.items()}
        return {name: future.result() for name, future in checks.items()}


def missing(settings: Settings) -> dict[str, str]:
    """Return what is missing, by part."""
    found = look(settings)
    return {name: "; ".join(lack.text for lack in finding.lacks) for name, finding in found.items() if finding.lacks}


def await_infrastructure(
    settings: Settings, step: Step, timeout_s: float, settle_s: float, remake: Callable[[set[str]], None] = lambda services: None
) -> None:
    """Wait until every part is up and stays so for `settle_s`: some still answer while they find out that another was restarted.

    What ended meanwhile, keeps crashing, or is not up at half of the time is made anew by `remake`, once. Raise Problem where it
    crashes again, and at the deadline for what is missing.
    """
    well_since = None
    began = time.monotonic()
    next_look = began + LOOK_S
    before = {container.id: container.restarts for container in cluster.containers(settings.project)}
    remade: set[str] = set()
    half_time = False
    while True:
        lacking = {name: finding.lacks for name, finding in look(settings).items() if finding.lacks}
        if not lacking:
            well_since = well_since or time.monotonic()
            if time.monotonic() - well_since >= settle_s:
                return
            time.sleep(POLL_S)
            continue
        well_since = None
        name, lacks = next(iter(lacking.items()))
        reason = "; ".join(lack.text for lack in lacks)
        step.detail = f"{name}: {reason}"
        if time.monotonic() > next_look:
            blamed = {container.service for container in crashing(cluster.containers(settings.project), before, remade)}
            if not half_time and time.monotonic() > began + timeout_s / 2:
                half_time = True
                blamed |= {service for lacks in lacking.values() for lack in lacks for service in lack.services} - remade
            if blamed:
                step.detail = f"making {', '.join(sorted(blamed))} anew: {name}: {reason}"
                remake(blamed)
                remade |= blamed
            next_look = time.monotonic() + LOOK_S
        if time.monotonic() > began + timeout_s:
            raise Problem(
                f"after {timeout_s:.0f} s, {name} is not up: {reason}",
                "look at ./dev status and ./dev logs SERVICE; ./dev up tries again; ./dev down, then ./dev up, makes all anew",
            )
        time.sleep(POLL_S)


def crashing(found: list[cluster.Container], before: dict[str, int], remade: set[str]) -> list[cluster.Container]:
    """Return the containers that ended, or that Docker has started again too often since `before` was counted.

    Raise Problem for one whose service was made anew before, without success.
    """
    crashed = [one for one in found if one.state in ("exited", "dead") or one.restarts - before.get(one.id, 0) >= CRASHES]
    for container in crashed:
        if container.service in remade:
            log = run(["docker", "logs", "--tail", "8", container.id], check=False, with_errors=True).rstrip()
            shown = "".join(f"\n       {line}" for line in log.splitlines())
            raise Problem(
                f"{container.service} does not stay up (exit code {container.exit_code}){shown}",
                f"put right what its log says (./dev logs {container.service}), then ./dev up",
            )
    return crashed
