"""The compose-dev cluster as tests and benchmarks see it: through its published ports and the Docker daemon.

Everything asked here is asked of the real parts: Mesos' own state, Docker's containers, Consul's catalogue, HAProxy's
statistics. ``at_rest`` holds the four against each other.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from devtool import secure
from devtool.chaos import ground
from devtool.settings import ROOT, WITH_TLS, Settings, read_settings
from support.answers import wrong_app
from support.containers import docker
from support.waiting import until

DEFAULT_PORTS = {
    "ERATOS_BALANCER1_PORT": 8000,
    "ERATOS_BALANCER2_PORT": 8001,
    "ERATOS_API1_PORT": 8080,
    "ERATOS_API2_PORT": 8081,
    "ERATOS_CONSUL_PORT": 8500,
    "ERATOS_CONSUL2_PORT": 8501,
    "ERATOS_CONSUL3_PORT": 8502,
    "ERATOS_MASTER1_PORT": 5050,
    "ERATOS_MASTER2_PORT": 5051,
    "ERATOS_STATS1_PORT": 9090,
    "ERATOS_STATS2_PORT": 9091,
    "ERATOS_PROMETHEUS_PORT": 9190,
    "ERATOS_REGISTRY_PORT": 5000,
}

#: Generous on purpose: these bound how long a broken cluster is waited for, they measure nothing.
SOON_S = 120.0
AFTER_HOST_LOSS_S = 240.0
#: Connections that a balancer is asked by, one after another, before it counts as leading somewhere: for a moment after a
#: reload the process of before may still accept some.
CONNECTIONS = 3


@dataclass(frozen=True)
class Cluster:
    """One compose project. ``ports`` are the published ones, by the variable that moves each."""

    project: str
    ports: Mapping[str, int]
    secure: bool = False  #: whether it was made by ``./dev up --secure``

    @classmethod
    def from_environment(cls) -> Cluster:
        """The cluster that ``./dev up`` started, moved by the same variables."""
        ports = {name: int(os.environ.get(name, default)) for name, default in DEFAULT_PORTS.items()}
        return cls(os.environ.get("ERATOS_PROJECT", "eratos"), ports, read_settings(os.environ).secure)

    def url(self, variable: str) -> str:
        scheme = "https" if self.secure and _kind(variable) in WITH_TLS else "http"
        return f"{scheme}://127.0.0.1:{self.ports[variable]}"

    @property
    def browsing(self) -> dict[str, Any]:
        """Return what a browser of somebody who may needs beyond :meth:`url`, as Playwright names it."""
        access = secure.access(Settings(project=self.project, secure=self.secure), "API")
        return {"ignore_https_errors": True, "extra_http_headers": dict(access.headers)} if self.secure else {}

    def typing(self, *schedulers: int) -> dict[str, str]:
        """Return the environment of somebody who may type ``eratos``, which asks these schedulers, or all."""
        urls = ",".join(self.url(f"ERATOS_API{scheduler}_PORT") for scheduler in schedulers or (1, 2))
        place = secure.folder(Settings(project=self.project, secure=self.secure))
        shown = {"ERATOS_CA_FILE": str(place / "api-ca.pem"), "ERATOS_TOKEN_FILE": str(place / "token")} if self.secure else {}
        return {**os.environ, "ERATOS_URL": urls, **shown}

    def ask(self, method: str, variable: str, path: str, **options: Any) -> requests.Response:
        """Ask whoever is behind a published port as one who may; ``requests`` knows the options."""
        access = secure.access(Settings(project=self.project, secure=self.secure), _kind(variable))
        known = {"verify": str(access.authorities)} if access.authorities is not None else {}
        headers = {**access.headers, **options.pop("headers", {})}
        return requests.request(method, f"{self.url(variable)}{path}", headers=headers, **{"timeout": 10, **known, **options})

    @property
    def balancers(self) -> tuple[str, str]:
        return self.url("ERATOS_BALANCER1_PORT"), self.url("ERATOS_BALANCER2_PORT")

    # The API

    def api(self, method: str, path: str, body: Any = None, *, scheduler: int = 1) -> requests.Response:
        return self.ask(method, f"ERATOS_API{scheduler}_PORT", path, json=body, timeout=30)

    def any_api(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask whichever scheduler answers, and wait for one: each of them may be down, and for a moment none may lead."""
        return until(lambda: self._answer(method, path, body), SOON_S, f"a scheduler answers {method} {path}")[0]

    def _answer(self, method: str, path: str, body: Any) -> list[requests.Response]:
        said = []
        for scheduler in (1, 2):
            try:
                response = self.api(method, path, body, scheduler=scheduler)
            except (requests.ConnectionError, requests.Timeout) as error:
                said.append(str(error))
                continue
            if response.status_code != 503:
                return [response]  # one of an error is false by itself
            said.append(response.text)
        raise ConnectionError("; ".join(said))

    def apply(self, app: dict[str, Any], **changes: Any) -> None:
        """Have an app as given, whatever is still under way with it."""
        response = self.any_api("PUT", f"/v2/apps{app['id']}?force=true", {**app, **changes})
        assert response.status_code in (200, 201), response.text

    def delete(self, app_id: str) -> None:
        response = self.any_api("DELETE", f"/v2/apps{app_id}")
        assert response.status_code in (200, 404), response.text

    def leader(self) -> int:
        """Return the number of the scheduler that leads, once one does."""
        return until(lambda: next(filter(self.leads, (1, 2)), 0), SOON_S, "a scheduler leads")

    def leads(self, scheduler: int) -> bool:
        """Return whether a scheduler leads by its own word, which one that is down does not give."""
        try:
            return bool(self.api("GET", "/v2/info", scheduler=scheduler).json().get("elected"))
        except (requests.RequestException, ValueError):
            return False

    # What runs, by four witnesses

    def tasks(self, app_id: str) -> set[str]:
        """Ids of the app's running tasks by Mesos' leading master."""
        return {task for task, state in self.states(app_id).items() if state == "TASK_RUNNING"}

    def states(self, app_id: str) -> dict[str, str]:
        """State by id of the app's tasks that have not ended, by Mesos' leading master."""
        frameworks = self._master_state()["frameworks"]
        found = {task["id"]: task["state"] for framework in frameworks for task in framework["tasks"]}
        return {task: state for task, state in found.items() if task.startswith(_prefix(app_id))}

    def leading_master(self) -> int:
        """Return the number of the Mesos master that leads."""
        return int(self._master_state()["hostname"].removeprefix("master"))

    def master(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Call the leading Mesos master."""
        variable = f"ERATOS_MASTER{self.leading_master()}_PORT"
        return self.ask(method, variable, path, json=body)

    def framework_ids(self) -> set[str]:
        return {framework["id"] for framework in self._master_state()["frameworks"] if framework["active"]}

    def _master_state(self) -> dict[str, Any]:
        """Return the state of the Mesos master that leads, once one does."""
        return until(self._leaders_state, SOON_S, "a Mesos master leads")

    def _leaders_state(self) -> dict[str, Any]:
        for variable in ("ERATOS_MASTER1_PORT", "ERATOS_MASTER2_PORT"):
            try:
                state = self.ask("GET", variable, "/state", allow_redirects=False)
                found: dict[str, Any] = state.json() if state.status_code == 200 else {}
            except (requests.RequestException, ValueError):
                continue
            if found and found.get("leader") == found.get("pid"):
                return found
        return {}

    def containers(self, app_id: str) -> dict[str, str]:
        """Container id by task id, of this project's hosts."""
        lines = docker(
            "ps", "--no-trunc", "--filter", f"label=eratos.app={app_id}",
            "--format", '{{.Label "eratos.host"}} {{.Label "eratos.task"}} {{.ID}}',
        ).splitlines()  # fmt: skip
        rows = [line.split() for line in lines]
        return {task: container for host, task, container in rows if self._has(host)}

    def assert_kept(self, app_id: str, containers: Mapping[str, str]) -> None:
        """Assert that these containers of the app still run; says how the tasks of the others ended."""
        lost = containers.items() - self.containers(app_id).items()
        assert not lost, f"containers were replaced: {[self._fate(task) for task, _ in sorted(lost)]}"

    def _fate(self, task_id: str) -> dict[str, Any]:
        """Return the states that Mesos has seen of a task, with reasons."""
        tasks = self.master("POST", "/api/v1", {"type": "GET_TASKS"}).json()["get_tasks"]
        found = [task for kept in tasks.values() for task in kept if task["task_id"]["value"] == task_id]
        statuses = [
            {key: status[key] for key in ("state", "source", "reason", "message", "timestamp") if key in status}
            for task in found
            for status in task.get("statuses", [])
        ]
        return {"task": task_id, "agent": [task["agent_id"]["value"] for task in found], "statuses": statuses}

    def all_worker_containers(self, *, app_id: str = "", agent: str = "") -> list[str]:
        """Ids of every container that executors of this project started, running or not: all, or an app's or a host's."""
        label = f"label=eratos.app={app_id}" if app_id else "label=eratos.task"
        lines = docker("ps", "-a", "--no-trunc", "--filter", label, "--format", '{{.Label "eratos.host"}} {{.ID}}')
        rows = [(host, container) for host, container in map(str.split, lines.splitlines()) if self._has(host)]
        return [container for host, container in rows if not agent or host == f"{self.project}-{agent}"]

    def _has(self, host: str) -> bool:
        """Return whether a played host is this cluster's: names of projects may begin alike."""
        return re.fullmatch(rf"{re.escape(self.project)}-agent\d+", host) is not None

    def worker_volumes(self) -> list[str]:
        """Names of the Docker volumes that tasks have on this project's hosts."""
        return [name for name in docker("volume", "ls", "-q").split() if re.match(rf"{self.project}-agent\d+_", name)]

    def remove_workers(self) -> None:
        """Remove the containers and volumes that are there now, also where an executor is just removing one itself."""

        def removed() -> bool:
            for kind, left in (("container", self.all_worker_containers()), ("volume", self.worker_volumes())):
                if left:
                    docker(kind, "rm", "-f", *left)
            return True

        until(removed, SOON_S, f"the workers of {self.project} are removed")

    def host_of(self, container: str) -> str:
        """The agent, such as ``agent1``, that a worker's container belongs to."""
        host = docker("inspect", "--format", '{{index .Config.Labels "eratos.host"}}', container)
        return host.removeprefix(f"{self.project}-")

    def fullest_host(self, app_id: str) -> tuple[str, set[str]]:
        """The agent with the most of an app's tasks, and these: where earlier tests left them is not known."""
        by_host: dict[str, set[str]] = defaultdict(set)
        for task, container in self.containers(app_id).items():
            by_host[self.host_of(container)].add(task)
        return max(by_host.items(), key=lambda host: len(host[1]))

    def services(self, name: str, *, passing: bool = True) -> list[str]:
        """Ids of a service's instances in Consul: without what stands for them while there are none."""
        path = f"/v1/health/service/{name}{'?passing' if passing else ''}"
        answer = self.ask("GET", "ERATOS_CONSUL_PORT", path)
        answer.raise_for_status()
        ids = (entry["Service"]["ID"] for entry in answer.json())
        return sorted(service_id for service_id in ids if not service_id.startswith("eratos-app-"))

    def servers(self, balancer: int, backend: str) -> list[str]:
        """Names of a backend's servers that are up, by HAProxy's statistics."""
        answer = self.ask("GET", f"ERATOS_STATS{balancer}_PORT", "/stats;csv")
        answer.raise_for_status()
        rows = csv.DictReader(answer.text.lstrip("# ").splitlines())
        return sorted(
            row["svname"]
            for row in rows
            if row["pxname"] == backend and row["svname"] not in ("FRONTEND", "BACKEND") and row["status"].startswith("UP")
        )

    def at_rest(self, app: dict[str, Any], count: int) -> bool:
        """Assert tasks == containers == Consul services == servers of each balancer: no duplicate, no orphan."""
        app_id, name = app["id"], app["id"].strip("/").replace("/", "-")
        # One that is about to start or to go would end what a test takes for rest.
        tasks = self.states(app_id)
        assert Counter(tasks.values()) == Counter(TASK_RUNNING=count), f"{count} tasks should run, these are there: {tasks}"
        containers = set(self.containers(app_id))
        assert containers == tasks.keys(), f"containers differ from tasks: {containers ^ tasks.keys()}"
        services = self.services(name, passing=False)
        assert services == sorted(f"eratos-{task}" for task in tasks), f"services differ from tasks: {services}"
        assert self.services(name) == services, "a service is not passing"
        for balancer in (1, 2):
            servers = self.servers(balancer, name)
            assert servers == services, f"balancer {balancer} differs from Consul: {set(servers) ^ set(services)}"
        labels = app.get("labels", {})
        host, path = labels.get("HAPROXY_0_VHOST", ""), labels.get("HAPROXY_0_PATH", "")
        if count and (host or path):
            self.reached(app_id, host, path or "/")
        return True

    def reached(self, app_id: str, host: str = "", path: str = "/") -> bool:
        """Assert that each balancer leads a host name and a path to the app: whoever has them else answers until it does."""
        for balancer in self.balancers:
            for _ in range(CONNECTIONS):
                answer = requests.get(f"{balancer}{path}", headers={"Host": host} if host else {}, timeout=30)
                wrong = wrong_app(answer.headers.get("X-Instance", ""), app_id)
                assert not wrong, f"{balancer} {host}{path}: {answer.status_code}, {wrong}"
        return True

    def settle(self, app: dict[str, Any], count: int, within_s: float = SOON_S) -> None:
        """Wait until the app is at rest with ``count`` instances."""
        until(lambda: self.at_rest(app, count), within_s, f"{app['id']} is at rest with {count} instances", pace_s=0.2)

    def spread(self, url: str, requests_count: int, app_id: str) -> Counter[str]:
        """Send requests one after another and count the answers by instance; each must be a 200 of this app, also if awaited."""
        answers: Counter[str] = Counter()
        for _ in range(requests_count):
            # A connection for each: one that is kept may be closed by a reload just when the next request is sent.
            try:
                answer = requests.get(url, timeout=30)
            except requests.RequestException as error:
                pytest.fail(f"{url}: {error}")
            instance = answer.headers.get("X-Instance", "")
            if answer.status_code != 200 or wrong_app(instance, app_id):
                pytest.fail(f"{url}: {answer.status_code}, {wrong_app(instance, app_id)}: {answer.text[:200]}")
            answers[instance] += 1
        return answers

    def spreads_evenly(self, url: str, each: int, app: dict[str, Any], count: int) -> None:
        """Wait until requests, ``each`` for every instance, come out even: each reload begins the turns anew."""

        def even() -> bool:
            answers = self.spread(url, each * count, app["id"])
            assert answers == dict.fromkeys(self.tasks(app["id"]), each) and len(answers) == count, answers
            return True

        until(even, SOON_S, f"requests to {url} are spread evenly")

    # Faults

    def container_of(self, service: str) -> str:
        return docker(
            "ps", "-aq", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={self.project}",
            "--filter", f"label=com.docker.compose.service={service}",
            # Others made of the service's image have its labels as well, but for this one.
            "--filter", "label=com.docker.compose.config-hash",
        )  # fmt: skip

    def agent_ip(self, agent: str) -> str:
        """Return an agent's address as its master knows it."""
        found = self.master("GET", "/slaves").json()["slaves"]
        pid: str = next(a["pid"] for a in found if a["hostname"] == agent and a["active"])
        return pid.partition("@")[2].partition(":")[0]

    def power_off(self, agent: str) -> None:
        """Cut the power of a host: its agent, its Consul agent and all that ran on it are gone at once."""
        number = agent.removeprefix("agent")
        docker("kill", self.container_of(agent), self.container_of(f"consul-agent{number}"))

        def emptied() -> bool:
            # The executor may have had one of them removed just now, which Docker then refuses to do twice.
            if workers := self.all_worker_containers(agent=agent):
                docker("rm", "-f", "-v", *workers)
            return not self.all_worker_containers(agent=agent)

        until(emptied, SOON_S, f"nothing is left on {agent}")

    def power_on(self, agent: str) -> None:
        number = agent.removeprefix("agent")
        docker("start", self.container_of(agent))
        docker("start", self.container_of(f"consul-agent{number}"))


def whole(settings: Settings) -> bool:
    """Assert that every part of a cluster runs, answers, and is known to those that work with it."""
    lacking = ground.missing(settings)
    assert not lacking, lacking
    return True


def dev(*words: str, **environment: str) -> str:
    """Run ./dev and return what it prints; AssertionError with all of it where it fails."""
    command, env = [str(ROOT / "dev"), *words], {**os.environ, **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _kind(variable: str) -> str:
    """Return what kind of port a variable moves: ERATOS_API1_PORT -> API."""
    return re.sub(r"^ERATOS_([A-Z]+)\d*_PORT$", r"\1", variable)


def _prefix(app_id: str) -> str:
    return app_id.strip("/").replace("/", "_") + ".instance-"
