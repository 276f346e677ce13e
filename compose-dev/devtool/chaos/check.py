"""The invariants: what has to hold whenever nothing is broken, by Mesos', Docker's, Consul's and HAProxy's own word.

(a) as many instances run as are wanted; (b) no app that was acknowledged is lost; (c) Mesos runs no task that the store does not
know; (d) no container, Consul entry or server of a balancer without its task; (f) no offer is held back; (g) the framework is the
same; (h) what is used no longer is given back. (e), what requests may fail, is judged by the load.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import fleet, health, web
from ..cluster import HOST_LABEL, TASK_LABEL
from ..settings import MASTERS, Settings
from ..shell import CommandFailed, run
from ..terminal import Problem

#: An offer that is still there after so long is held back.
HELD_S = 10.0
#: What an executor takes of its host.
EXECUTOR_CPUS = 0.1

if TYPE_CHECKING:
    #: The counts of instances that are right, by app.
    Wanted = Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Seen:
    """What all parts said at one moment."""

    frameworks: frozenset[str] = frozenset()  #: ids of those that are connected
    running: frozenset[str] = frozenset()  #: tasks, by Mesos
    tasks: frozenset[str] = frozenset()  #: tasks that have not ended, by Mesos
    known: frozenset[str] = frozenset()  #: tasks, by the store
    containers: frozenset[str] = frozenset()  #: tasks of running containers, by Docker
    dead_containers: frozenset[str] = frozenset()
    services: Mapping[str, bool] = field(default_factory=dict)  #: entries of tasks in Consul -> passing
    servers: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)  #: balancer -> backend -> servers up
    offers: frozenset[str] = frozenset()
    used_cpus: float = 0.0  #: of the frameworks, executors included
    task_cpus: float = 0.0
    executors_most: int = 0


class Unseen(Exception):
    """A part does not answer, so nothing can be judged yet."""


def prefix(app_id: str) -> str:
    """Return what the ids of an app's tasks begin with."""
    return app_id.strip("/").replace("/", "_") + ".instance-"


def backend(app_id: str) -> str:
    """Return the name of an app's service in Consul, and of its backend in HAProxy."""
    return app_id.strip("/").replace("/", "-")


def judge(seen: Seen, wanted: Wanted, routed: str, framework: str) -> list[str]:
    """Return what is broken, each with the letter of its invariant.

    ``wanted`` has, for each app, the counts that are right; ``routed`` is the app whose instances every balancer has to have.
    """
    broken = []
    for app_id, counts in sorted(wanted.items()):
        running = sum(task.startswith(prefix(app_id)) for task in seen.running)
        if running not in counts:
            right = " or ".join(map(str, sorted(counts)))
            letter = "b" if not running else "a"
            broken.append(f"({letter}) {app_id} runs {running} instances, {right} wanted")
    broken += _each("(c) tasks that the store does not know", seen.tasks - seen.known)
    broken += _each("(c) tasks of the store that Mesos does not know", seen.known - seen.tasks)
    broken += _each("(d) containers without a task", seen.containers - seen.running)
    entries = {_task(service): passing for service, passing in seen.services.items()}
    broken += _each("(d) Consul entries without a task", set(entries) - seen.running)
    # Others may run processes, have no port, or ask for no balancer.
    ours = {task for task in seen.running if task.startswith(prefix(routed))}
    broken += _each(f"(d) instances of {routed} without a container", ours - seen.containers)
    broken += _each(
        f"(d) instances of {routed} that are not passing in Consul", ours - {task for task, well in entries.items() if well}
    )
    for balancer, backends in sorted(seen.servers.items()):
        up = {_task(server) for server in backends.get(backend(routed), ())}
        broken += _each(
            f"(d) {balancer} has servers without a task", {_task(s) for b in backends.values() for s in b} - seen.running
        )
        broken += _each(f"(d) {balancer} lacks", ours - up)
    if seen.frameworks != {framework}:
        broken.append(f"(g) the framework was {framework}, now connected: {', '.join(sorted(seen.frameworks)) or 'none'}")
    spare = seen.used_cpus - seen.task_cpus
    if not -0.01 <= spare <= EXECUTOR_CPUS * seen.executors_most + 0.01:
        broken.append(f"(h) {spare:.2f} CPUs are used beyond those of tasks, {seen.executors_most} executors explain less")
    return broken


def in_rotation(seen: Seen, app_id: str) -> int:
    """Return how many of an app's instances the balancer has that has the fewest."""
    return min((len(backends.get(backend(app_id), ())) for backends in seen.servers.values()), default=0)


def _each(what: str, found: Any) -> list[str]:
    some = sorted(found)
    return [f"{what}: {', '.join(some[:3])}{f' and {len(some) - 3} more' if len(some) > 3 else ''}"] if some else []


def _task(service: str) -> str:
    """Return the task of a service's id, eratos-TASK or, for further ports, eratos-TASK-1."""
    name = service[len("eratos-") :]
    head, _, attempt = name.rpartition("._app.")
    return f"{head}._app.{attempt.partition('-')[0]}"


class Checker:
    """Looks at everything, and remembers offers, of which a single look does not show whether they are held back."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._offers: dict[str, float] = {}

    def held(self, offers: frozenset[str], now: float) -> list[str]:
        """Return what is broken about offers: those that have been there for too long."""
        self._offers = {offer: self._offers.get(offer, now) for offer in offers}
        return _each("(f) offers that are held back", [offer for offer, since in self._offers.items() if now - since > HELD_S])

    def look(self) -> Seen:
        """Ask every part. Raise Unseen where one does not answer."""
        try:
            return self._look()
        except (web.Unanswered, CommandFailed, Problem) as error:
            raise Unseen(str(error)) from None

    def _look(self) -> Seen:
        state = leading_state(self._settings)
        frameworks = [found for found in state["frameworks"] if found.get("active")]
        tasks = [task for framework in state["frameworks"] for task in framework["tasks"]]
        containers, dead = self._containers()
        status, known = fleet.api(self._settings, "GET", "/v2/tasks")
        if status != 200 or not isinstance(known, dict):
            raise Unseen(f"the API does not list the tasks: {status}")
        answers, silent = health.ask_all("STATS", "balancer", self._settings.balancers, self._settings, "/stats;csv")
        if silent:
            raise Unseen("; ".join(lack.text for lack in silent))
        return Seen(
            frameworks=frozenset(found["id"] for found in frameworks),
            running=frozenset(task["id"] for task in tasks if task["state"] == "TASK_RUNNING"),
            tasks=frozenset(task["id"] for task in tasks),
            known=frozenset(task["id"] for task in known["tasks"]),
            containers=containers,
            dead_containers=dead,
            services=self._services(),
            servers={f"balancer{number}": servers_up(text) for number, (_, text) in answers.items()},
            offers=frozenset(offer["id"] for found in frameworks for offer in found.get("offers", ())),
            used_cpus=sum(found["used_resources"]["cpus"] for found in frameworks),
            task_cpus=sum(task["resources"]["cpus"] for task in tasks),
            executors_most=self._settings.agents,
        )

    def _containers(self) -> tuple[frozenset[str], frozenset[str]]:
        shown = f'{{{{.Label "{HOST_LABEL}"}}}} {{{{.Label "{TASK_LABEL}"}}}} {{{{.State}}}}'
        lines = run(["docker", "ps", "-a", "--filter", f"label={TASK_LABEL}", "--format", shown], timeout_s=60).splitlines()
        rows = [line.split() for line in lines]
        mine = [(task, state) for host, task, state in rows if host.startswith(f"{self._settings.project}-agent")]
        running = frozenset(task for task, state in mine if state == "running")
        return running, frozenset(task for task, state in mine) - running

    def _services(self) -> dict[str, bool]:
        """Return the entries of tasks in Consul, and whether each is passing."""
        found: dict[str, bool] = {}
        for datacenter in self._settings.datacenters:
            names = health.consul_get(self._settings, "/v1/catalog/services", datacenter)
            for name in sorted(name for name, tags in names.items() if "eratos" in tags):
                for entry in health.consul_get(self._settings, f"/v1/health/service/{name}", datacenter):
                    if ".instance-" in entry["Service"]["ID"]:
                        found[entry["Service"]["ID"]] = all(check["Status"] == "passing" for check in entry["Checks"])
        return found


def leading_state(settings: Settings) -> dict[str, Any]:
    """Return the state of the leading Mesos master. Raise Unseen where none leads."""
    answers, _ = health.ask_all("MASTER", "master", MASTERS, settings, "/state")
    for status, text in answers.values():
        state = json.loads(text) if status == 200 else {}
        if state and state.get("leader") == state.get("pid"):
            found: dict[str, Any] = state
            return found
    raise Unseen("no Mesos master leads")


def retries(settings: Settings, app_id: str) -> dict[str, int]:
    """Return how often each balancer that answers had to send a request of an app once more, by its own count."""
    answers, _ = health.ask_all("STATS", "balancer", settings.balancers, settings, "/stats;csv")
    return {f"balancer{number}": retried(text, backend(app_id)) for number, (status, text) in answers.items() if status == 200}


def retried(text: str, name: str) -> int:
    """Return a backend's retries out of HAProxy's CSV."""
    rows = csv.DictReader(io.StringIO(text.lstrip("# ")))
    return sum(int(row["wretr"] or 0) for row in rows if row["pxname"] == name and row["svname"] == "BACKEND")


def servers_up(text: str) -> dict[str, frozenset[str]]:
    """Return the servers of tasks that are up, by backend, out of HAProxy's CSV."""
    up: dict[str, set[str]] = {}
    for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
        if ".instance-" in row["svname"] and row["status"].startswith("UP"):
            up.setdefault(row["pxname"], set()).add(row["svname"])
    return {name: frozenset(servers) for name, servers in up.items()}
