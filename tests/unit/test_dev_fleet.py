"""./dev towards a running cluster, which is a small HTTP fake: the API, the statistics, the health of each part."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from devtool import fleet, health
from devtool.settings import Settings
from devtool.terminal import Problem, Step


class FakeCluster:
    """Everything that a cluster publishes, behind one port. Balancers have a server for each instance at once."""

    def __init__(self) -> None:
        self.port = 0
        self.apps: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.unavailable = 0  #: that many API calls are answered with 503
        self.conflicts = 0  #: that many changes are answered with 409 unless they are forced
        self.down_servers = 0
        self.redirect_masters = False
        self.agents = ["agent1", "agent2", "agent3"]
        self.members = ["consul1", "consul2", "consul3", "agent1", "agent2", "agent3", "balancer1", "balancer2"]
        self.balancers = ["balancer1", "balancer2"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        if path.startswith("/v2"):
            return self._api(method, path, body)
        if path == "/stats;csv":
            return 200, self._statistics()
        if path == "/slaves":
            status = 307 if self.redirect_masters else 200
            return status, {"slaves": [{"hostname": name, "active": True} for name in self.agents]}
        return 200, {
            "/ping": "pong",
            "/v1/status/leader": "10.0.0.1:8300",
            "/v1/agent/members": [{"Name": name, "Status": 1} for name in self.members] + [{"Name": "gone", "Status": 4}],
            "/v1/health/service/eratos-balancer?passing": [{"Node": {"Node": name}} for name in self.balancers],
        }[path]

    def _api(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self.unavailable:
            self.unavailable -= 1
            return 503, {"message": "no leader"}
        if path == "/v2/leader":
            return 200, {"leader": "scheduler1:8080"}
        if path == "/v2/queue":
            return 200, {"queue": self.queue}
        app_id = path.partition("?")[0][len("/v2/apps") :]
        if not app_id:
            return 200, {"apps": list(self.apps.values())}
        if method == "PUT":
            if self.conflicts and "force=true" not in path:
                self.conflicts -= 1
                return 409, {"message": "App is locked by one or more deployments."}
            self.apps[app_id] = {**self.apps.get(app_id, {}), **body, "id": app_id}
            return 201, {}
        return (200, {"app": self.apps[app_id]}) if app_id in self.apps else (404, {"message": "no such app"})

    def _statistics(self) -> str:
        rows = ["# pxname,svname,status"]
        for app_id, app in self.apps.items():
            backend = app_id.strip("/").replace("/", "-")
            up = app["instances"] - self.down_servers
            rows += [f"{backend},server{n},{'UP' if n < up else 'DOWN'}" for n in range(app["instances"])]
        return "\n".join(rows) + "\n"

    def changes(self) -> list[tuple[str, Any]]:
        return [(path, body) for method, path, body in self.asked if method == "PUT"]


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    cluster = FakeCluster()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, answer = cluster.answer(self.command, self.path, json.loads(self.rfile.read(length)) if length else None)
            data = (answer if isinstance(answer, str) and self.path == "/stats;csv" else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = _handle  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        cluster.port = server.server_address[1]
        yield cluster
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(fake: FakeCluster) -> Settings:
    port = str(fake.port)
    kinds = ("BALANCER", "STATS", "API", "MASTER")
    variables = {f"ERATOS_{kind}{number}_PORT": port for kind in kinds for number in (1, 2)}
    return Settings(variables={**variables, "ERATOS_CONSUL_PORT": port})


def test_the_sample_app_is_created_with_twenty_instances(fake: FakeCluster, settings: Settings) -> None:
    assert fleet.ensure_sample(settings, None) == "/prime"
    ((path, body),) = fake.changes()
    assert path == "/v2/apps/prime"
    assert body["instances"] == 20
    assert body["container"]["docker"]["image"] == "eratos/prime"


def test_an_app_that_is_there_stays_as_the_user_scaled_it(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 7}
    fleet.ensure_sample(settings, None)
    fleet.ensure_sample(settings, 7)
    assert fake.changes() == []


def test_only_the_number_changes_when_another_one_is_asked_for(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 7}
    fleet.ensure_sample(settings, 3)
    assert fake.changes() == [("/v2/apps/prime", {"instances": 3})]


def test_scaling_wins_over_a_deployment_under_way(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/shop/cart"] = {"id": "/shop/cart", "instances": 1}
    fake.conflicts = 1
    fleet.scale(settings, "/shop/cart", 4)
    assert fake.apps["/shop/cart"]["instances"] == 4
    assert fake.changes()[-1][0] == "/v2/apps/shop/cart?force=true"


def test_scaling_an_unknown_app_names_the_known_ones(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 7}
    with pytest.raises(Problem, match="no app /nothing") as caught:
        fleet.scale(settings, "/nothing", 4)
    assert "/prime" in caught.value.fix


def test_rotation_is_complete_when_every_balancer_has_every_instance(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/shop/cart"] = {"id": "/shop/cart", "instances": 4}
    assert fleet.await_rotation(settings, "/shop/cart", Step("wait"), timeout_s=0) == 4


def test_an_incomplete_rotation_is_told_with_the_schedulers_reason(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 4}
    fake.down_servers = 1
    summary = [
        {"reason": "InsufficientCpus", "declined": 3, "processed": 3},
        {"reason": "InsufficientMemory", "declined": 0, "processed": 0},
    ]
    fake.queue = [{"app": {"id": "/prime"}, "processedOffersSummary": {"rejectSummaryLastOffers": summary}}]
    with pytest.raises(Problem) as caught:
        fleet.await_rotation(settings, "/prime", Step("wait"), timeout_s=0)
    assert "3 and 3 of 4 instances of /prime are in rotation" in str(caught.value)
    assert "no offer fits: InsufficientCpus (3 of 3 offers)" in str(caught.value)


def test_an_election_under_way_is_waited_for(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 4}
    fake.unavailable = 3
    assert fleet.await_rotation(settings, "/prime", Step("wait"), timeout_s=30) == 4


def test_no_answering_scheduler_is_told(fake: FakeCluster, settings: Settings) -> None:
    fake.unavailable = 2
    with pytest.raises(fleet.NoScheduler, match="no leader"):
        fleet.apps(settings)


def test_a_whole_cluster_lacks_nothing(fake: FakeCluster, settings: Settings) -> None:
    assert health.missing(settings) == {}


def test_each_part_says_what_it_lacks(fake: FakeCluster, settings: Settings) -> None:
    fake.agents.remove("agent2")
    fake.members.remove("balancer1")
    fake.balancers.remove("balancer1")
    fake.unavailable = 1
    assert health.missing(settings) == {
        "Consul": "not yet there: balancer1",
        "Mesos": "not yet registered: agent2",
        "balancers": "1 not yet registered at Consul",
        "schedulers": "no leader yet",
    }


def test_masters_that_only_redirect_do_not_lead(fake: FakeCluster, settings: Settings) -> None:
    fake.redirect_masters = True
    assert "no master leads" in health.missing(settings)["Mesos"]


def test_a_part_that_does_not_answer_is_missing() -> None:
    unused = {f"ERATOS_{name}_PORT": "1" for name in ("CONSUL", "MASTER1", "MASTER2", "STATS1", "API1", "API2")}
    assert set(health.missing(Settings(variables=unused))) == {"Consul", "Mesos", "balancers", "schedulers"}
