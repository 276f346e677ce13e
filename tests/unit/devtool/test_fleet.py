"""./dev towards a running cluster, which is a small HTTP fake: the API, the statistics, the health of each part."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from devtool import fleet, health, members, report, rotation, web
from devtool.cluster import Container
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
        self.servers = {"consul1.east", "consul2.east", "consul3.east", "consul4.west"}  #: of all data centers
        self.apart: set[str] = set()  #: those of them that others do not see
        self.leading = True
        self.forgetting: set[str] = set()  #: failed members, until they are made to leave
        self.catalogue_only: set[str] = set()  #: nodes that are no members any more
        self.left_out: list[str] = []  #: of every balancer, as `service: reason`
        self.metas: dict[str, list[dict[str, str]]] = {}  #: of a service's instances

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        if path.startswith("/v2"):
            return self._api(method, path, body)
        if path == "/stats;csv":
            return 200, self._statistics()
        if path == "/slaves":
            status = 307 if self.redirect_masters else 200
            return status, {"slaves": [{"hostname": name, "active": True} for name in self.agents]}
        if path.startswith("/v1/agent/force-leave/"):
            self.forgetting.discard(path.split("/")[-1].partition("?")[0])
            return 200, None
        if path == "/v1/catalog/deregister":
            self.catalogue_only.discard(body["Node"])
            return 200, True
        left_out = {f"eratos-left-out-{number}": reason for number, reason in enumerate(self.left_out)}
        service = path[len("/v1/health/service/") :]
        if service in self.metas:
            return 200, [{"Service": {"Meta": meta}} for meta in self.metas[service]]
        members = [{"Name": name, "Status": 1, "Addr": f"10.0.0.{n}"} for n, name in enumerate(self.members, 1)]
        failed = [{"Name": name, "Status": 4, "Addr": "10.0.0.99"} for name in ["gone", *sorted(self.forgetting)]]
        return 200, {
            "/ping": "pong",
            "/v1/status/leader": "10.0.0.2:8300" if self.leading else "",
            "/v1/agent/members": [*members, *failed],
            "/v1/agent/members?wan=1": [{"Name": name, "Status": 1} for name in self.servers - self.apart],
            "/v1/catalog/nodes": [{"Node": name} for name in [*self.members, *self.forgetting, *self.catalogue_only]],
            "/v1/health/service/eratos-balancer?passing": [
                {"Node": {"Node": name}, "Service": {"Meta": {"eratos-host": name, **left_out}}} for name in self.balancers
            ],
        }[path]

    def _api(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v2/info":
            return 200, {"elected": self.leading}
        if self.unavailable:
            self.unavailable -= 1
            return 503, {"message": "no leader"}
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
    consul = {f"ERATOS_CONSUL{number}_PORT": port for number in ("", 2, 3)}
    return Settings(variables={**variables, **consul})


def dead(settings: Settings, *names: str) -> Settings:
    """Return the settings with nobody behind some ports."""
    return Settings(variables={**settings.variables, **{f"ERATOS_{name}_PORT": "1" for name in names}})


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
    fake.members.remove("agent1")
    fake.balancers.remove("balancer1")
    fake.leading = False
    assert health.missing(settings) == {
        "Consul": "no server leads",
        "Mesos": "agent2 is not registered",
        "balancers": "balancer1 is not registered at Consul",
        "schedulers": "no scheduler leads",
    }
    fake.leading = True
    assert health.missing(settings)["Consul"] == "agent1 is no living member"


def test_what_is_missing_names_the_containers_to_blame(fake: FakeCluster, settings: Settings) -> None:
    fake.agents.remove("agent2")
    fake.members.remove("agent1")
    found = health.look(dead(settings, "API2", "CONSUL3"))
    blamed = {name: {service for lack in finding.lacks for service in lack.services} for name, finding in found.items()}
    assert blamed.pop("Consul") == {"consul3", "consul-agent1"}
    assert blamed == {"Mesos": {"agent2"}, "balancers": set(), "schedulers": {"scheduler2"}}


@pytest.mark.parametrize(
    ("name", "part", "serves", "silent"),
    [
        ("CONSUL", "Consul", "consul2 leads, 8 members", "consul1 does not answer"),
        ("CONSUL3", "Consul", "consul2 leads, 8 members", "consul3 does not answer"),
        ("MASTER1", "Mesos", "master2 leads, 3 agents", "master1 does not answer"),
        ("API1", "schedulers", "scheduler2 leads", "scheduler1 does not answer"),
        ("API2", "schedulers", "scheduler1 leads", "scheduler2 does not answer"),
        ("STATS1", "balancers", "1 serve", "balancer1 does not answer"),
    ],
)
def test_one_dead_hides_nothing_of_the_others(
    fake: FakeCluster, settings: Settings, capsys: pytest.CaptureFixture[str], name: str, part: str, serves: str, silent: str
) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 4, "tasksRunning": 4}
    settings = dead(settings, name)
    found = health.look(settings)
    assert found[part].serves == serves
    assert [lack.text.partition(" (")[0] for lack in found[part].lacks] == [silent]
    assert {other for other, finding in found.items() if finding.lacks} == {part}
    report.print_parts(settings)
    shown = capsys.readouterr().out
    assert f"{serves}\n" in shown and silent in shown
    counts = "? 4" if name == "STATS1" else "4 4"
    assert re.search(rf"/prime +4 +4 +{re.escape(counts)}\n", shown)


def test_masters_that_only_redirect_do_not_lead(fake: FakeCluster, settings: Settings) -> None:
    fake.redirect_masters = True
    assert "no master leads" in health.missing(settings)["Mesos"]


def test_a_part_that_does_not_answer_is_missing() -> None:
    names = ("CONSUL", "CONSUL2", "CONSUL3", "MASTER1", "MASTER2", "STATS1", "STATS2", "API1", "API2")
    found = health.look(dead(Settings(), *names))
    assert {name: finding.serves for name, finding in found.items()} == dict.fromkeys(found, "")
    assert set(health.missing(dead(Settings(), *names))) == {"Consul", "Mesos", "balancers", "schedulers"}


def test_the_api_is_asked_of_the_leader_first(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/prime"] = {"id": "/prime", "instances": 4}
    assert [app["id"] for app in fleet.apps(dead(settings, "API1"))] == ["/prime"]


@pytest.mark.parametrize(
    ("left_out", "metas", "shown"),
    [
        ([], [{"haproxy-path": "/shop"}], ["4", "4"]),
        (["shop: cart already answers on /shop/"], [{"haproxy-path": "/shop"}], ["-", "-"]),
        (["shop: cart answers on a.example/ with more weight"], [{"haproxy-vhost": "a.example"}], ["-", "-"]),
        (["shop: cart already answers on a.example/"], [{"haproxy-vhost": "A.example, b.example"}], ["4", "4"]),
        (["shop: cart already answers on port 5432"], [{"haproxy-mode": "tcp", "haproxy-port": "5432"}], ["-", "-"]),
        (["shop: no service port"], [{"haproxy-mode": "tcp"}], ["-", "-"]),
        (['shop: balance "odd"'], [{}], ["4", "4"]),
        (['shop: instance "x" at "y":1'], [{}], ["4", "4"]),
        (["shop-admin: shop already answers on /"], [{}], ["4", "4"]),
    ],
)
def test_instances_that_no_request_can_come_to_are_not_in_rotation(
    fake: FakeCluster, settings: Settings, left_out: list[str], metas: list[dict[str, str]], shown: list[str]
) -> None:
    fake.apps["/shop"] = {"id": "/shop", "instances": 4}
    fake.left_out, fake.metas["shop"] = left_out, metas
    assert [str(count) for count in rotation.look(settings).counts("/shop")] == shown


def test_an_app_that_all_balancers_leave_out_is_waited_for_by_its_tasks(fake: FakeCluster, settings: Settings) -> None:
    fake.apps["/shop"] = {"id": "/shop", "instances": 4, "tasksRunning": 3}
    fake.left_out, fake.metas["shop"] = ["shop: cart already answers on /"], [{}]
    with pytest.raises(Problem, match="3 of 4"):
        fleet.await_rotation(settings, "/shop", Step("wait"), timeout_s=0)
    fake.apps["/shop"]["tasksRunning"] = 4
    assert fleet.await_rotation(settings, "/shop", Step("wait"), timeout_s=0) == 4


@pytest.mark.parametrize(
    ("labels", "asks"),
    [
        ({}, False),
        ({"HAPROXY_GROUP": "external"}, True),
        ({"HAPROXY_GROUP": "internal"}, False),
        ({"HAPROXY_GROUP": "internal,external"}, True),
        ({"HAPROXY_GROUP": "internal", "HAPROXY_0_GROUP": "external"}, True),
        ({"HAPROXY_0_VHOST": "a.example"}, True),
        ({"team": "blue"}, False),
    ],
)
def test_only_apps_that_ask_for_these_balancers_are_waited_for_there(labels: dict[str, str], asks: bool) -> None:
    assert rotation.asks_for_balancers({"labels": labels}) is asks


def test_nodes_that_the_cluster_no_longer_has_are_forgotten(fake: FakeCluster, settings: Settings) -> None:
    fake.forgetting, fake.catalogue_only = {"balancer3", "agent4"}, {"agent9", "somebody-else"}
    members.forget_surplus(settings, Step("forget"))
    assert (fake.forgetting, fake.catalogue_only) == (set(), {"somebody-else"})


def test_a_consul_that_does_not_answer_once_is_asked_again(
    fake: FakeCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.forgetting = {"agent4"}
    ask, failures = health.consul_get, [web.Unanswered("timed out")]

    def once_slow(*words: Any) -> Any:
        if failures:
            raise failures.pop()
        return ask(*words)

    monkeypatch.setattr(health, "consul_get", once_slow)
    members.forget_surplus(settings, Step("forget"))
    assert not failures and fake.forgetting == set()


@pytest.fixture
def in_regions(fake: FakeCluster) -> Settings:
    """Two regions of a Consul server, a host and a balancer each."""
    fake.agents = ["agent1", "agent2"]
    found = Settings(agents=2, regions=2)
    found.variables = {variable: str(fake.port) for variable in found.published()}
    return found


def test_consul_is_well_where_each_data_center_has_its_nodes_and_sees_the_other(fake: FakeCluster, in_regions: Settings) -> None:
    fake.members = ["consul1", "consul2", "consul3", "consul4", "agent1", "agent2", "balancer1", "balancer2"]
    assert health.consul(in_regions) == health.Finding("consul2 leads, 8 members in east; consul2 leads, 8 members in west")
    fake.members.remove("agent2")
    fake.apart = {"consul4.west"}
    lacks = health.consul(in_regions).lacks
    assert [lack.text for lack in lacks] == ["consul4.west is out of sight of east", "agent2 is no living member"]
    assert lacks[1].services == ("consul-agent2",)


def test_the_sample_app_runs_in_every_region(fake: FakeCluster, in_regions: Settings) -> None:
    fleet.ensure_sample(in_regions, 2)
    [app] = fake.apps.values()
    assert app["constraints"] == [["@region", "LIKE", "east|west"]]
    assert app["labels"]["ERATOS_0_FAILOVER"] == "east,west" and app["labels"]["HAPROXY_0_PATH"] == "/"
    assert fleet.everywhere(Settings(), {"id": "/x"}) == {"id": "/x"}


def test_a_dead_host_is_forgotten_once_consul_has_noticed(fake: FakeCluster, settings: Settings) -> None:
    fake.members.remove("agent2")
    fake.forgetting = {"agent2"}
    members.forget_dead(settings, "agent2", Step("forget"))
    assert fake.forgetting == set()


def test_only_hosts_are_forgotten() -> None:
    names = ("agent1", "balancer12", "consul1", "scheduler1", "consul-agent1", "master1", "zookeeper")
    assert [name for name in names if members.is_host(name)] == ["agent1", "balancer12"]


def a_container(service: str, state: str = "running", restarts: int = 0) -> Container:
    return Container(f"eratos-{service}-1", service, state, "", 1, "", restarts, id=service)


def test_what_ended_or_keeps_crashing_is_found_by_what_happened_since() -> None:
    found = [a_container("agent1", "exited"), a_container("agent2", restarts=9), a_container("agent3", restarts=5)]
    before = {"agent2": 8, "agent3": 2}
    assert [one.service for one in health.crashing(found, before, set())] == ["agent1", "agent3"]


def test_what_crashes_again_after_it_was_made_anew_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "run", lambda *_args, **_options: "no space left\n")
    with pytest.raises(Problem, match="agent1 does not stay up") as caught:
        health.crashing([a_container("agent1", "exited")], {}, {"agent1"})
    assert "no space left" in str(caught.value) and "./dev logs agent1" in caught.value.fix


def test_what_does_not_come_up_is_made_anew_once(fake: FakeCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.agents.remove("agent2")
    ended = [a_container("agent2", "exited")]
    monkeypatch.setattr(health.cluster, "containers", lambda _project: ended)
    monkeypatch.setattr(health, "LOOK_S", 0)
    remade: list[set[str]] = []

    def remake(services: set[str]) -> None:
        remade.append(services)
        ended.clear()
        fake.agents.append("agent2")

    health.await_infrastructure(settings, Step("wait"), 30, 0, remake)
    assert remade == [{"agent2"}]
