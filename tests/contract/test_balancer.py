"""The balancer as its users see it: real HAProxy, consul-template, companion and Consul agent in containers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from support.balancer import FIRST_PORT, Rig, a_balancer, ask, server_id
from support.containers import docker
from support.waiting import until

PORTS = tuple(range(FIRST_PORT, FIRST_PORT + 20))
CRITICAL = {"TTL": "600s", "Status": "critical"}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        yield rig


@pytest.fixture
def fleet(rig: Rig) -> Rig:
    """Twenty instances of one app in rotation."""
    rig.register(*PORTS)
    rig.await_rotation(*PORTS)
    return rig


def test_without_an_app_the_answer_is_503_in_words() -> None:
    with a_balancer() as rig:
        answer = rig.get()
        assert (answer.status, answer.body) == (503, "no application answers here\n")
        assert "no such file" not in rig.balancer.logs()


def test_every_instance_gets_exactly_its_share(fleet: Rig) -> None:
    answered = Counter(fleet.get().port for _ in range(200))
    assert answered == Counter(dict.fromkeys(PORTS, 10))


def test_instances_come_and_go_without_a_reload(fleet: Rig) -> None:
    reloads = fleet.status()["reloads"]
    fleet.companion("POST", "/confirm", {"services": [server_id(port) for port in PORTS[5:]]})
    fleet.deregister(*PORTS[5:])
    fleet.await_rotation(*PORTS[:5])
    assert {fleet.get().port for _ in range(20)} == set(PORTS[:5])
    fleet.register(*PORTS[5:])
    fleet.await_rotation(*PORTS)
    assert fleet.status()["reloads"] == reloads


def test_a_worker_learns_who_asked(fleet: Rig) -> None:
    _, client, protocol = fleet.get().body.split()
    assert client.count(".") == 3
    assert protocol == "None"
    # A balancer without certificates knows of TLS only from whoever ends it in front.
    assert fleet.get("/", **{"X-Forwarded-Proto": "https"}).body.split()[2] == "https"


def logged(rig: Rig, path: str) -> list[str]:
    """The access log's lines of a path."""
    return [line for line in rig.shell("cat /var/log/eratos-balancer/current").splitlines() if f"GET {path} " in line]


def test_the_access_log_names_the_instance_of_each_failed_request(fleet: Rig) -> None:
    assert fleet.get("/went-well").status == 200
    assert fleet.get("/?status=500").status == 500
    (line,) = until(lambda: logged(fleet, "/?status=500"), 10, "the request is in the log")
    assert any(f" prime/{server_id(port)} " in line for port in PORTS)
    assert not logged(fleet, "/went-well")


def test_the_access_log_names_the_instance_of_each_request_on_demand() -> None:
    with a_balancer(ERATOS_LOG_REQUESTS="all") as rig:
        rig.register(FIRST_PORT)
        rig.await_rotation(FIRST_PORT)
        rig.get("/went-well")
        (line,) = until(lambda: logged(rig, "/went-well"), 10, "the request is in the log")
        assert f" prime/{server_id(FIRST_PORT)} " in line
        assert "GET /went-well " not in docker("logs", rig.balancer.id)


def test_hosts_and_paths_lead_to_their_apps(fleet: Rig) -> None:
    fleet.register(9020, app="cart", meta={"haproxy-path": "/cart"})
    fleet.register(9021, app="deep", meta={"haproxy-path": "/cart/deep/"})
    fleet.register(9022, app="shop", meta={"haproxy-vhost": "Shop.example, www.shop.example"})
    fleet.register(9023, app="shop-api", meta={"haproxy-vhost": "shop.example", "haproxy-path": "/api"})
    until(lambda: fleet.in_rotation("shop-api"), 10, "the last app is there")
    expected = {
        ("", "/cart"): 9020,
        ("", "/cart/x?y"): 9020,
        ("", "/cart/deep/x"): 9021,
        ("shop.example", "/"): 9022,
        ("SHOP.example:8000", "/cart"): 9022,
        ("www.shop.example", "/api/x"): 9022,
        ("shop.example", "/api"): 9023,
        ("shop.example", "/api/x"): 9023,
        ("shop.example", "/apiary"): 9022,
    }
    assert {(host, path): fleet.get(path, host).port for host, path in expected} == expected
    assert fleet.get("/carton").port in PORTS
    assert fleet.get("/", "other.example").port in PORTS


def test_a_known_app_without_a_ready_instance_answers_503_instead_of_another_app(fleet: Rig) -> None:
    fleet.register(9030, app="sick", meta={"haproxy-path": "/sick"}, check=CRITICAL)
    until(lambda: fleet.get("/sick").status != 200, 10, "the app is known")
    answer = fleet.get("/sick")
    assert (answer.status, answer.body) == (503, "no instance of sick is ready\n")


def test_what_cannot_be_balanced_is_left_out_with_a_reason_and_the_rest_goes_on(fleet: Rig) -> None:
    fleet.register(9040, app="injected", meta={"haproxy-path": "/x }\n  http-request deny"})
    fleet.register(9041, app="bad host", meta={"haproxy-vhost": "a b"})
    fleet.register(9042, app="bad-host", meta={"haproxy-vhost": 'a"b'})
    fleet.register(9043, app="bad-address", meta={"haproxy-path": "/bad-address"}, address="no.such.host")
    fleet.register(9044, app="tcp", meta={"haproxy-mode": "tcp"})
    fleet.register(9045, app="second-default")
    fleet.register(9046, app="odd-balance", meta={"haproxy-path": "/odd", "haproxy-balance": "magic"})
    until(lambda: fleet.in_rotation("odd-balance"), 10, "the last app is there")
    until(lambda: len(fleet.status()["left_out"]) >= 6, 10, "all reasons are there")
    reasons = "\n".join(fleet.status()["left_out"])
    for name in ("injected", "bad host", "bad-host", "bad-address", "tcp", "second-default"):
        assert name in reasons
    assert "prime already answers on /" in reasons
    assert fleet.get("/odd").port == 9046
    assert fleet.get("/bad-address").status == 503
    assert fleet.get().port in PORTS


def test_services_of_others_are_not_balanced(fleet: Rig) -> None:
    fleet.register(9050, app="untagged", meta={"haproxy-path": "/untagged"}, tags=[])
    fleet.register(9051, app="internal", meta={"haproxy-path": "/internal", "haproxy-group": "internal"})
    fleet.register(9052, app="witness", meta={"haproxy-path": "/witness"})
    until(lambda: fleet.in_rotation("witness"), 10, "a later app is there")
    assert not {"untagged", "internal", "consul", "eratos-balancer"} & fleet.status()["backends"].keys()


def test_a_group_has_balancers_of_its_own() -> None:
    with a_balancer(ERATOS_HAPROXY_GROUP="internal") as rig:
        rig.register(9000, app="public")
        rig.register(9001, app="internal", meta={"haproxy-group": "internal"})
        rig.await_rotation(9001, backend="internal")
        assert rig.get().port == 9001
        assert "public" not in rig.status()["backends"]


def test_versions_side_by_side_are_told_apart_by_their_tag() -> None:
    with a_balancer(ERATOS_HAPROXY_TAG="staging") as rig:
        shop = {"haproxy-vhost": "shop.example"}
        rig.register(9000, app="prod-shop", meta=shop, tags=["eratos", "prod"])
        rig.register(9001, app="staging-shop", meta=shop, tags=["eratos", "staging"])
        # Half-way through an update that adds the tag.
        rig.register(9002, app="tagging", meta={"haproxy-path": "/tagging"})
        rig.register(9003, app="tagging", meta={"haproxy-path": "/tagging"}, tags=["staging", "eratos"])
        rig.await_rotation(9001, backend="staging-shop")
        rig.await_rotation(9003, backend="tagging")
        assert rig.get("/", "shop.example").port == 9001
        assert set(rig.status()["backends"]) == {"eratos:none", "staging-shop", "tagging"}
        assert rig.status()["left_out"] == []


def test_a_framework_has_balancers_of_its_own() -> None:
    """A service of another framework, or of nobody's, is not served, whatever it claims."""
    with a_balancer(ERATOS_FRAMEWORK="ours-0001") as rig:
        shop = {"haproxy-vhost": "shop.example", "eratos-version": "2026-01-01T00:00:00.000Z"}
        rig.register(9000, app="theirs", meta={**shop, "eratos-framework": "theirs-0001"})
        rig.register(9001, app="shop", meta={**shop, "eratos-framework": "ours-0001"})
        # In the midst of a service of ours, alike in all else.
        rig.register(9002, app="shop", meta=shop)
        rig.await_rotation(9001, backend="shop")
        assert {rig.get("/", "shop.example").port for _ in range(10)} == {9001}
        assert set(rig.status()["backends"]) == {"eratos:none", "shop"}


def test_apps_of_two_frameworks_with_one_name_answer_each_for_its_own() -> None:
    with a_balancer() as rig:
        rig.register(9000, app="shop", meta={"haproxy-vhost": "one.example", "eratos-framework": "f-0001"})
        rig.register(9001, app="shop", meta={"haproxy-vhost": "two.example", "eratos-framework": "f-0002"})
        for backend in ("shop_f-0001", "shop_f-0002"):
            until(lambda backend=backend: rig.in_rotation(backend), 30, f"{backend} is there")
        assert {rig.get("/", "one.example").port for _ in range(10)} == {9000}
        assert {rig.get("/", "two.example").port for _ in range(10)} == {9001}


def test_the_balancer_is_found_in_consul_with_a_health_page(rig: Rig) -> None:
    (service,) = rig.services("eratos-balancer")
    assert service["Service"]["Port"] == 9100
    assert service["Service"]["Meta"]["eratos-host"]
    assert ask(rig.balancer.ports[9090], "GET", "/health").status == 200
    statistics = ask(rig.balancer.ports[9090], "GET", "/stats;csv")
    assert statistics.body.startswith("# pxname,svname")
    metrics = ask(rig.balancer.ports[9090], "GET", "/metrics")
    assert "haproxy_process_uptime_seconds" in metrics.body


def test_a_registration_that_consul_lost_is_made_again(rig: Rig) -> None:
    (service,) = rig.services("eratos-balancer")
    path = f"/v1/agent/service/deregister/{service['Service']['ID']}"
    assert ask(rig.balancer.ports[8500], "PUT", path).status == 200
    until(lambda: rig.services("eratos-balancer"), 15, "the balancer is registered again")


def test_a_stopped_balancer_leaves_consul_and_ends_by_itself() -> None:
    with a_balancer() as rig:
        docker("stop", "-t", "20", rig.balancer.id)
        state = json.loads(docker("inspect", "-f", "{{json .State}}", rig.balancer.id))
        assert state["ExitCode"] == 0
        logs = rig.balancer.logs()
        assert "companion stopped" in logs
        assert "could not deregister" not in logs
