"""Is the cluster up? Each check asks one part over its published port and returns what is missing, "" when nothing is.

Used to wait during `up` and to report in `status`. A check is a question about now; `await_infrastructure` waits.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from typing import Any

from . import cluster, web
from .settings import MASTERS, SCHEDULERS, Settings
from .shell import run
from .terminal import Problem, Step

#: Started that often, a container is not coming up: its log says why.
CRASHES = 3
POLL_S = 0.3


def consul(settings: Settings) -> str:
    """Consul has a leader and every node is a living member."""
    leader = web.get_json(settings.url("CONSUL", path="/v1/status/leader"))
    alive = consul_alive(settings)
    missing = settings.consul_nodes() - alive
    return "no leader yet" if not leader else f"not yet there: {', '.join(sorted(missing))}" if missing else ""


def consul_alive(settings: Settings) -> set[str]:
    """Return the names of Consul's living members."""
    alive = 1
    return {
        member["Name"] for member in web.get_json(settings.url("CONSUL", path="/v1/agent/members")) if member["Status"] == alive
    }


def mesos(settings: Settings) -> str:
    """A master leads and every agent is registered with it."""
    _, state = mesos_leader(settings)
    active = {agent["hostname"] for agent in state["slaves"] if agent["active"]}
    missing = {f"agent{n}" for n in range(1, settings.agents + 1)} - active
    return f"not yet registered: {', '.join(sorted(missing))}" if missing else ""


def mesos_leader(settings: Settings) -> tuple[int, dict[str, Any]]:
    """Return the number of the leading master and its list of agents. Raise Unanswered where none leads."""
    reasons = []
    for number in range(1, MASTERS + 1):
        try:
            # A master that does not lead redirects to the one that does.
            return number, web.get_json(settings.url("MASTER", number, "/slaves"))
        except web.Unanswered as error:
            reasons.append(str(error))
    raise web.Unanswered(f"no master leads ({'; '.join(reasons)})")


def schedulers(settings: Settings) -> str:
    """Every scheduler answers, and one of them leads."""
    for number in range(1, SCHEDULERS + 1):
        status, _ = web.request("GET", settings.url("API", number, "/ping"))
        if status != 200:
            return f"scheduler{number} answers HTTP {status}"
    return "" if scheduler_leader(settings) else "no leader yet"


def scheduler_leader(settings: Settings) -> str:
    """Return who leads, "" if nobody."""
    status, text = web.request("GET", settings.url("API", 1, "/v2/leader"))
    return text if status == 200 else ""


def balancers(settings: Settings) -> str:
    """Every balancer serves, and its companion is known to Consul, where executors look for it."""
    for number in range(1, settings.balancers + 1):
        servers_up(settings, number)
    missing = settings.balancers - len({entry["Node"]["Node"] for entry in _passing_balancers(settings)})
    return f"{missing} not yet registered at Consul" if missing > 0 else ""


def left_out(settings: Settings) -> list[str]:
    """Return what balancers say that they leave out, and why; nothing where Consul does not answer."""
    try:
        return parse_left_out(_passing_balancers(settings))
    except web.Unanswered:
        return []  # that it does not is told elsewhere


def _passing_balancers(settings: Settings) -> list[dict[str, Any]]:
    """Return Consul's entries of the balancers that are well. Raise Unanswered."""
    found: list[dict[str, Any]] = web.get_json(settings.url("CONSUL", path="/v1/health/service/eratos-balancer?passing"))
    return found


def parse_left_out(balancers: list[dict[str, Any]]) -> list[str]:
    """Return what balancers leave out, each reason once, out of Consul's answer about balancers."""
    by_reason: dict[str, list[str]] = {}
    for entry in balancers:
        meta = entry["Service"]["Meta"] or {}
        for key, reason in sorted(meta.items()):
            if key.startswith("eratos-left-out-"):
                by_reason.setdefault(reason, []).append(meta["eratos-host"])
    return [f"left out by {', '.join(sorted(hosts))}: {reason}" for reason, hosts in sorted(by_reason.items())]


def servers_up(settings: Settings, balancer: int) -> dict[str, int]:
    """Return how many servers a balancer has in rotation, by backend. Raise Unanswered where it does not answer."""
    status, text = web.request("GET", settings.url("STATS", balancer, "/stats;csv"))
    if status != 200:
        raise web.Unanswered(f"balancer{balancer}: statistics answer HTTP {status}")
    return parse_statistics(text)


def parse_statistics(text: str) -> dict[str, int]:
    """Return the number of servers UP by backend, out of HAProxy's CSV."""
    up: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
        if row["svname"] not in ("FRONTEND", "BACKEND"):
            up[row["pxname"]] = up.get(row["pxname"], 0) + row["status"].startswith("UP")
    return up


#: What must hold before workers are started, in the order in which it comes true.
INFRASTRUCTURE: dict[str, Callable[[Settings], str]] = {
    "Consul": consul,
    "Mesos": mesos,
    "balancers": balancers,
    "schedulers": schedulers,
}


def ask(check: Callable[[Settings], str], settings: Settings) -> str:
    """Return what a check finds missing; a part that does not answer is missing itself."""
    try:
        return check(settings)
    except web.Unanswered as error:
        return str(error)


def missing(settings: Settings) -> dict[str, str]:
    """Return what is missing, by part."""
    found = {name: ask(check, settings) for name, check in INFRASTRUCTURE.items()}
    return {name: reason for name, reason in found.items() if reason}


def await_infrastructure(settings: Settings, step: Step, timeout_s: float, settle_s: float) -> None:
    """Wait until every part is up and stays so for `settle_s`: some still answer while they find out that another was restarted.

    Raise Problem for a container that keeps crashing, and at the deadline for what is missing.
    """
    well_since = None
    deadline = time.monotonic() + timeout_s
    next_look = time.monotonic() + 5
    while True:
        lacking = missing(settings)
        if not lacking:
            well_since = well_since or time.monotonic()
            if time.monotonic() - well_since >= settle_s:
                return
            time.sleep(POLL_S)
            continue
        well_since = None
        name, reason = next(iter(lacking.items()))
        step.detail = f"{name}: {reason}"
        if time.monotonic() > next_look:
            _raise_for_crashes(settings)
            next_look = time.monotonic() + 5
        if time.monotonic() > deadline:
            raise Problem(
                f"after {timeout_s:.0f} s, {name} is not up: {reason}",
                "look at ./dev status and ./dev logs SERVICE; ./dev up tries again",
            )
        time.sleep(POLL_S)


def _raise_for_crashes(settings: Settings) -> None:
    for container in cluster.containers(settings.project):
        if container.state in ("exited", "dead") or container.restarts >= CRASHES:
            log = run(["docker", "logs", "--tail", "8", container.id], check=False, with_errors=True).rstrip()
            shown = "".join(f"\n       {line}" for line in log.splitlines())
            raise Problem(
                f"{container.service} does not stay up (exit code {container.exit_code}){shown}",
                f"put right what its log says (./dev logs {container.service}), then ./dev up",
            )
