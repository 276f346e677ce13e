"""Registration at a Consul agent: the real one and the tests' fake give the same answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import consul
import pytest
import requests
from support.balancer import IMAGE as BALANCER
from support.containers import Container, docker, run_container
from support.executor import HOST, Events, a_payload
from support.fake_consul import FakeConsul
from support.folders import ROOT
from support.waiting import until

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.payload import HealthCheck, Service
from eratos.executor.consul_agent import ConsulAgent, ConsulApi
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.registration import difference, registrations
from eratos.haproxy import consul_template
from eratos.haproxy.consul_agent import ConsulAgent as BalancersConsulAgent
from eratos.marathon import definition
from eratos.scheduler.consul_catalog import ConsulCatalog
from eratos.scheduler.placeholder_keeper import GONE_S, Fleet, PlaceholderKeeper, carry_out

TASK = "shop.instance-1._app.1"


@pytest.fixture(scope="module")
def consul_container() -> Iterator[Container]:
    options = ["--entrypoint", "consul"]
    # -dev keeps everything in memory: a restart forgets all, as after the loss of its disk.
    with run_container("eratos/consul", "agent", "-dev", "-client", "0.0.0.0", ports=[8500], options=options) as container:
        yield container


class Rig:
    """One agent, empty at the start, and how to take it away and bring it back without its memory."""

    def __init__(self, container: Container | None) -> None:
        self.container = container
        self._fake = FakeConsul()
        self.api = self._connect()
        until(self.answers, 30, "Consul answers")
        for service_id in self.api.services():
            self.api.deregister(service_id)
        self.events = Events()
        # A client of its own: py-consul's is not for two threads.
        self._agents_api = self._connect()
        self.agent = ConsulAgent(self._agents_api, HOST, self.events.emit, self.alive, sync_s=0.3)

    def alive(self, executor_id: str) -> bool:
        return executor_id == "beside"

    def _connect(self) -> Any:
        if self.container is None:
            return self._fake
        return ConsulApi(f"http://127.0.0.1:{self.container.ports[8500]}")

    def close(self) -> None:
        self.agent.stop()
        self.api.close()
        self._agents_api.close()

    def answers(self) -> bool:
        try:
            self.api.services()
        except TemporaryError:
            return False
        return True

    def take_away(self) -> None:
        if self.container is None:
            self._fake.away = True
        else:
            self.container.kill()

    def bring_back(self) -> None:
        if self.container is None:
            self._fake.present.clear()
            self._fake.away = False
        else:
            self.container.start()

    def ids(self) -> set[str]:
        try:
            return set(self.api.services())
        except TemporaryError:
            return set()


@pytest.fixture(params=["fake", "consul"])
def quiet_rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Return a rig whose agent is not kept in step: it would deregister at once what a test registers by itself."""
    rig = Rig(None if request.param == "fake" else request.getfixturevalue("consul_container"))
    yield rig
    rig.close()


@pytest.fixture
def rig(quiet_rig: Rig) -> Rig:
    quiet_rig.agent.start()
    return quiet_rig


def register(rig: Rig, task_id: str = TASK, ports: int = 1, **changes: Any) -> None:
    rig.agent.perform(do.Register(task_id, registrations(a_payload(task_id, ports=ports, **changes), HOST, "")))


def test_what_is_registered_reads_back_as_wanted(quiet_rig: Rig) -> None:
    check = HealthCheck("http", "/health?deep=1", 31000, interval_s=0.2, timeout_s=0.1)
    service = Service(names.service_id(TASK), "shop", 31000, ("eratos", "blue"), {"haproxy-path": "/shop"})
    wanted = registrations(a_payload(TASK, health_checks=(check,), services=(service,)), HOST, "")
    quiet_rig.api.register(wanted[0])
    assert difference(wanted, quiet_rig.api.services(), quiet_rig.api.checks(), HOST, quiet_rig.alive) == ([], [])


def test_deregistering_what_is_not_there_is_fine(quiet_rig: Rig) -> None:
    quiet_rig.api.deregister("eratos-nobody")


def test_a_ready_task_is_registered_once_per_port(rig: Rig) -> None:
    register(rig, ports=2)
    until(lambda: rig.ids() == {names.service_id(TASK), names.service_id(TASK, 1)}, 10, "both ports are registered")


def test_a_deregistration_is_confirmed_when_it_is_true(rig: Rig) -> None:
    register(rig, ports=2)
    until(lambda: len(rig.ids()) == 2, 10, "both ports are registered")
    rig.agent.perform(do.Deregister(TASK))
    rig.events.until(on.Deregistered, task_id=TASK)
    assert rig.ids() == set()


def test_deregistering_an_unknown_task_is_confirmed(rig: Rig) -> None:
    rig.agent.perform(do.Deregister("shop.instance-9._app.1"))
    rig.events.until(on.Deregistered, task_id="shop.instance-9._app.1")


def test_services_of_a_dead_executor_go_and_others_stay(rig: Rig) -> None:
    stale = registrations(a_payload("shop.instance-0._app.1"), HOST, "")[0]
    foreign = registrations(a_payload("shop.instance-5._app.1"), replace(HOST, framework_id="fw2"), "")[0]
    unmarked = {"ID": "someone-else", "Name": "db", "Port": 5432, "Tags": [], "Meta": {}}
    for body in (stale, foreign, unmarked):
        rig.api.register(body)
    rig.agent.perform(do.KeepServices(frozenset()))
    until(lambda: stale["ID"] not in rig.ids(), 10, "the stale service is gone")
    assert rig.ids() == {foreign["ID"], "someone-else"}


def test_services_of_what_a_dead_executor_left_running_stay_until_they_are_deregistered(rig: Rig) -> None:
    left, ended = "shop.instance-0._app.1", "shop.instance-3._app.1"
    for task_id in (left, ended):
        rig.api.register(registrations(a_payload(task_id), HOST, "")[0])
    register(rig, services=(Service(names.service_id(TASK), "shop", 31002),))
    until(lambda: names.service_id(TASK) in rig.ids(), 10, "it was compared, and nothing is known of what runs")
    assert {names.service_id(left), names.service_id(ended)} < rig.ids()
    rig.agent.perform(do.KeepServices(frozenset({left})))
    assert rig.events.until(on.ServicesKept).ports == {left: frozenset({31000})}
    assert rig.ids() == {names.service_id(left), names.service_id(TASK)}
    rig.agent.perform(do.Deregister(left))
    rig.events.until(on.Deregistered, task_id=left)
    assert rig.ids() == {names.service_id(TASK)}


def test_services_of_another_executor_of_the_agent_stay_while_it_lives(rig: Rig) -> None:
    for executor_id in ("beside", "dead"):
        (body,) = registrations(a_payload(executor_id), replace(HOST, executor_id=executor_id), "")
        rig.api.register(body)
    rig.agent.perform(do.KeepServices(frozenset()))
    until(lambda: names.service_id("dead") not in rig.ids(), 20, "the dead one's service is gone")
    assert names.service_id("beside") in rig.ids()


def test_services_of_an_earlier_agent_id_go_once_their_task_is_swept(rig: Rig) -> None:
    old = registrations(a_payload("shop.instance-0._app.1"), replace(HOST, agent_id="agent0"), "")[0]
    rig.api.register(old)
    rig.agent.perform(do.Deregister("shop.instance-0._app.1"))
    rig.events.until(on.Deregistered, task_id="shop.instance-0._app.1")
    assert rig.ids() == set()


def test_services_of_an_earlier_agent_id_go_once_another_task_has_their_port(rig: Rig) -> None:
    old = registrations(a_payload("shop.instance-0._app.1"), replace(HOST, agent_id="agent0"), "")[0]
    rig.api.register(old)
    register(rig)
    until(lambda: rig.ids() == {names.service_id(TASK)}, 10, "only the task that lives is registered")


def test_an_agent_that_lost_its_memory_is_set_right(rig: Rig) -> None:
    register(rig)
    until(lambda: len(rig.ids()) == 1, 10, "the task is registered")
    rig.take_away()
    rig.bring_back()
    until(lambda: rig.ids() == {names.service_id(TASK)}, 30, "the task is registered again")


def test_changes_made_while_consul_is_away_arrive_later(rig: Rig) -> None:
    register(rig)
    until(lambda: len(rig.ids()) == 1, 10, "the task is registered")
    rig.take_away()
    rig.agent.perform(do.Deregister(TASK))
    register(rig, "shop.instance-2._app.1")
    rig.bring_back()
    rig.events.until(on.Deregistered, within_s=30, task_id=TASK)
    until(lambda: rig.ids() == {names.service_id("shop.instance-2._app.1")}, 30, "the other task is registered")


def test_only_passing_balancers_are_live(consul_container: Container) -> None:
    rig = Rig(consul_container)
    mark = {names.META_HOST: "b"}
    # The last two are an app of the balancers' name, and somebody's service.
    for number, (status, meta) in enumerate(
        [("passing", mark), ("critical", mark), ("passing", mark | {names.META_TASK: TASK}), ("passing", {})]
    ):
        check = {"TTL": "1h", "Status": status}
        body = {
            "ID": f"b{number}",
            "Name": names.BALANCER_SERVICE,
            "Port": 9100 + number,
            "Tags": [],
            "Meta": meta,
            "Check": check,
        }
        rig.api.register(body)
    found = until(rig.api.balancers, 20, "Consul's catalogue knows the balancer")
    assert [(balancer.host, balancer.port) for balancer in found] == [("127.0.0.1", 9100)]
    rig.close()


def test_the_services_first_status_is_passing(consul_container: Container) -> None:
    rig = Rig(consul_container)
    check = HealthCheck("tcp", port=9, interval_s=60)
    for body in registrations(a_payload(TASK, health_checks=(check,)), HOST, ""):
        rig.api.register(body)
    checks = rig.api._consul.agent.checks()
    assert [found["Status"] for found in checks.values() if found["ServiceID"] == names.service_id(TASK)] == ["passing"]
    rig.close()


def test_an_agent_behind_tls_that_asks_for_certificate_and_token_is_used(tmp_path: Path) -> None:
    secured = tmp_path / "all.pem"
    # One certificate is authority, server's and client's.
    request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=consul -addext subjectAltName=IP:127.0.0.1"
    made = docker("run", "--rm", "--entrypoint", "sh", BALANCER, "-c", f"openssl {request} -keyout - -out - 2>/dev/null")
    secured.write_text(made)
    settings = """
        ports { http = -1  https = 8501 }
        tls { https { ca_file = "/all.pem"  cert_file = "/all.pem"  key_file = "/all.pem"  verify_incoming = true } }
        acl { enabled = true  default_policy = "deny"  tokens { initial_management = "00000000-0000-0000-0000-00000000ca5e" } }
    """
    options = ["--entrypoint", "consul", "-v", f"{secured}:/all.pem:ro"]
    command = ("agent", "-dev", "-client", "0.0.0.0", "-hcl", settings)
    with run_container("eratos/consul", *command, ports=[8501], options=options) as container:
        url, token = f"https://127.0.0.1:{container.ports[8501]}", "00000000-0000-0000-0000-00000000ca5e"
        api = ConsulApi(url, token, str(secured), str(secured))

        def registered() -> bool:
            try:
                api.register({"ID": "eratos-a", "Name": "a", "Port": 1, "Tags": [], "Meta": {}})
            except TemporaryError:
                return False  # it is still starting
            return True

        until(registered, 30, "the agent takes a service")
        assert set(api.services()) == {"eratos-a"}
        for bad in (ConsulApi(url, token, str(secured)), ConsulApi(url, token), ConsulApi(url, "", str(secured), str(secured))):
            with pytest.raises(TemporaryError):
                bad.register({"ID": "eratos-b", "Name": "b", "Port": 1, "Tags": [], "Meta": {}})
        assert set(api.services()) == {"eratos-a"}
        meta = {"eratos-host": "b1", "eratos-left-out-0": "a: no service port"}
        api.register({"ID": "b1", "Name": names.BALANCER_SERVICE, "Port": 9100, "Tags": [], "Meta": meta})
        app = definition.parse({"id": "/web", "cmd": "x", "portDefinitions": [{}], "labels": {"HAPROXY_0_PATH": "/web"}})
        keeper = PlaceholderKeeper(lambda: Fleet("framework", {"/web": app}, ()), 3600.0)
        meta = {names.META_FRAMEWORK: "framework", names.META_TASK: "gone"}
        left = {"ID": "eratos-gone", "Service": "gone", "Tags": [names.SERVICE_TAG], "Meta": meta}
        lost = {"Node": "lost", "CheckID": "serfHealth", "Name": "the host's agent", "Status": "critical"}
        carry_out(
            api._consul,
            [
                {"Node": {"Verb": "set", "Node": {"Node": "lost", "Address": "127.0.0.9"}}},
                {"Check": {"Verb": "set", "Check": lost}},
                {"Service": {"Verb": "set", "Node": "lost", "Service": left}},
            ],
        )
        catalogue = ConsulCatalog([url], lambda: ("framework", ()), keeper, token, ca_file=str(secured), cert_file=str(secured))
        catalogue.start()
        until(lambda: catalogue.left_out, 30, "the scheduler reads it, too")
        catalogue.stop()
        assert api._consul.catalog.node("lost")[1]["Services"] == {}, "what a lost host left is gone"
        kept = api._consul.health.service("web")[1]
        assert [entry["Service"]["ID"] for entry in kept] == ["eratos-app-web"]


def test_what_stands_for_apps_is_kept_in_the_catalogue(consul_container: Container) -> None:
    client = Rig(consul_container).api._consul
    apps = {
        f"/app{number}": definition.parse(
            {"id": f"/app{number}", "cmd": "x", "portDefinitions": [{}], "labels": {"HAPROXY_0_PATH": f"/{number}"}}
        )
        for number in range(70)
    }
    now = [1000.0]
    keeper = PlaceholderKeeper(lambda: Fleet("fw-1", dict(apps), ()), 3600.0, lambda: now[0])
    keeper.keep(client, in_full=True)

    def entries(name: str) -> list[tuple[str, str]]:
        found = client.health.service(name)[1]
        return [(entry["Node"]["Node"], check["Status"]) for entry in found for check in entry["Checks"]]

    assert entries("app0") == entries("app69") == [("eratos-apps-fw-1", "critical")]
    assert client.health.service("app0", passing=True)[1] == []
    del apps["/app0"]
    keeper.keep(client, in_full=True)
    assert entries("app0"), "it may be made anew at once"
    now[0] += GONE_S
    keeper.keep(client, in_full=True)
    assert entries("app0") == []
    assert entries("app1")


def test_what_a_framework_that_is_gone_for_good_left_is_removed_by_another(consul_container: Container) -> None:
    client = Rig(consul_container).api._consul
    now = [5000.0]

    def leader(framework_id: str) -> PlaceholderKeeper:
        app = definition.parse(
            {"id": f"/{framework_id.lower()}", "cmd": "x", "portDefinitions": [{}], "labels": {"HAPROXY_0_PATH": "/x"}}
        )
        return PlaceholderKeeper(lambda: Fleet(framework_id, {app.id: app}, ()), 3600.0, lambda: now[0])

    def there() -> list[str]:
        return [name for name in ("Fw-gone", "fw-here", "fw-torn") if client.health.service(name.lower())[1]]

    gone, here, torn = map(leader, ("Fw-gone", "fw-here", "fw-torn"))
    for keeper in (gone, here, torn):
        keeper.keep(client, in_full=True)
    here.sweep(client)
    assert there() == ["Fw-gone", "fw-here", "fw-torn"]
    torn.remove(client)
    assert there() == ["Fw-gone", "fw-here"], "its master removed it"
    now[0] += 3000.0
    gone.keep(client, in_full=True)
    here.keep(client, in_full=True)
    now[0] += 3000.0
    here.sweep(client)
    assert there() == ["Fw-gone", "fw-here"], "its leader has been there since"
    now[0] += 601.0
    here.sweep(client)
    assert there() == ["fw-here"]
    nodes = [node["Node"] for node in client.catalog.nodes()[1]]
    assert [node for node in nodes if node.startswith("eratos-apps-fw")] == ["eratos-apps-fw-here"]


def test_the_command_for_operators_removes_what_a_framework_left(consul_container: Container) -> None:
    """As docs/consul.md has it, for those who do not want to wait, and for frameworks of versions that said no end."""
    client = Rig(consul_container).api._consul
    app = definition.parse({"id": "/by-hand", "cmd": "x", "portDefinitions": [{}], "labels": {"HAPROXY_0_PATH": "/x"}})
    PlaceholderKeeper(lambda: Fleet("fw-by-hand", {app.id: app}, ()), 3600.0).keep(client, in_full=True)
    assert client.health.service("by-hand")[1]
    (command,) = re.findall(r"^curl .*catalog/deregister$", (ROOT / "docs" / "consul.md").read_text(), re.MULTILINE)
    _, _, verb, _, body, url = shlex.split(command)
    where = urlsplit(url)._replace(netloc=f"127.0.0.1:{consul_container.ports[8500]}").geturl()
    requests.request(verb, where, data=body.replace("<framework id>", "fw-by-hand"), timeout=10).raise_for_status()
    assert not client.health.service("by-hand")[1]


def test_a_token_that_may_not_remove_what_others_left_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    root, token = "00000000-0000-0000-0000-00000000ca5e", "00000000-0000-0000-0000-00000000beef"
    settings = f'acl {{ enabled = true  default_policy = "deny"  tokens {{ initial_management = "{root}" }} }}'
    command = ("agent", "-dev", "-client", "0.0.0.0", "-hcl", settings)
    with run_container("eratos/consul", *command, ports=[8500], options=["--entrypoint", "consul"]) as container:
        url = f"http://127.0.0.1:{container.ports[8500]}"
        client, poor = ConsulApi(url, root)._consul, ConsulApi(url, token)._consul
        app = definition.parse({"id": "/web", "cmd": "x", "portDefinitions": [{}], "labels": {"HAPROXY_0_PATH": "/web"}})
        now = [5000.0]
        gone = PlaceholderKeeper(lambda: Fleet("gone", {"/web": app}, ()), 60.0, lambda: now[0])
        here = PlaceholderKeeper(lambda: Fleet("here", {"/web": app}, ()), 60.0, lambda: now[0])

        def made() -> bool:
            try:
                gone.keep(client, in_full=True)
            except (consul.ConsulException, OSError):
                return False  # it is still starting
            return True

        until(made, 30, "Consul takes the entries")
        write = '{ policy = "write" }'
        rules = f'node_prefix "" {{ policy = "read" }} node "eratos-apps-here" {write} service_prefix "" {write}'
        agent = BalancersConsulAgent(url, root)
        agent.put("/v1/acl/policy", {"Name": "poor", "Rules": rules})
        agent.put("/v1/acl/token", {"SecretID": token, "Policies": [{"Name": "poor"}]})
        here.keep(poor, in_full=True)
        now[0] += 61.0
        for _ in range(2):
            here.sweep(poor)
        [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert "node:write" in said and "eratos-apps-gone" in said
        here.sweep(client)
        assert [entry["Node"]["Node"] for entry in client.health.service("web")[1]] == ["eratos-apps-here"]


def test_a_service_that_lives_by_the_executors_word_is_well_while_that_is_given(consul_container: Container) -> None:
    rig = Rig(consul_container)
    rig.agent.start()
    command = HealthCheck("command", command="true")
    register(rig, health_checks=(command,))
    checks = rig.api._consul.agent.checks
    check_id = f"{names.service_id(TASK)}-check"
    until(lambda: checks().get(check_id, {}).get("Status") == "passing", 10, "it is registered")
    # Whatever happened to it, the next word sets it right.
    rig.api._consul.agent.check.ttl_fail(check_id)
    until(lambda: checks()[check_id]["Status"] == "passing", 10, "the executor has said that it lives")
    rig.agent.stop()
    rig.api._consul.agent.check.ttl_fail(check_id)
    assert checks()[check_id]["Status"] == "critical"
    rig.close()


@pytest.mark.parametrize("check", [HealthCheck("command", command="true"), HealthCheck("tcp", port=31000, interval_s=60)])
def test_a_check_that_the_agent_lost_comes_back(consul_container: Container, check: HealthCheck) -> None:
    rig = Rig(consul_container)
    rig.agent.start()
    register(rig, health_checks=(check,))
    check_id = f"{names.service_id(TASK)}-check"
    until(lambda: check_id in rig.api.checks(), 10, "it is registered")
    rig.api._consul.agent.check.deregister(check_id)
    until(lambda: check_id in rig.api.checks(), 10, "it is registered again")
    rig.close()


def test_no_answer_about_a_check_that_is_not_there_is_taken_for_yes(quiet_rig: Rig) -> None:
    with pytest.raises(TemporaryError):
        quiet_rig.api.keep("eratos-nobody-check")


def test_a_balancer_reports_that_its_agent_takes_too_few_connections() -> None:
    limits = ["-hcl", "limits { http_max_conns_per_client = 10 }"]
    with run_container(
        "eratos/consul", "agent", "-dev", "-client", "0.0.0.0", *limits, ports=[8500], options=["--entrypoint", "consul"]
    ) as container:
        agent = BalancersConsulAgent(f"http://127.0.0.1:{container.ports[8500]}", "")

        def add(number: int) -> bool:
            agent.put("/v1/agent/service/register", {"Name": f"app-{number}", "Tags": [names.SERVICE_TAG]})
            return True

        def known(count: int) -> bool:
            return len(agent.get("/v1/catalog/services")) == count + 1  # and Consul's own

        until(lambda: no_temporary_error(lambda: add(0)), 30, "Consul answers")
        for number in range(1, 9):
            add(number)
        until(lambda: known(9), 30, "Consul knows nine services")
        assert consul_template.Connections(agent).scarce() == ()
        add(9)
        until(lambda: known(10), 30, "Consul knows ten services")
        (line,) = consul_template.Connections(agent).scarce()
        assert line.startswith("facts.ctmpl: 10 services take a connection each to Consul's agent, which allows a client 10;")


def no_temporary_error(call: Callable[[], bool]) -> bool:
    try:
        return call()
    except TemporaryError:
        return False
