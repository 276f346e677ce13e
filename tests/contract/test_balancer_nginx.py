"""The nginx variant keeps the same contract with Consul, as far as nginx goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from support.balancer import NGINX_IMAGE, SNIPPETS, STATE, Rig, a_rig, ask
from support.waiting import until

PORTS = (9000, 9001, 9002, 9003)


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    with a_rig(NGINX_IMAGE) as rig:
        until(lambda: rig.services("consul") is not None, 30, "Consul answers")
        yield rig


@pytest.fixture
def rig(shared: Rig) -> Rig:
    """Four instances of one app in rotation."""
    shared.register(*PORTS)
    await_ports(shared, "/", *PORTS)
    return shared


def await_ports(rig: Rig, path: str, *ports: int, host: str = "") -> None:
    def answering() -> set[int]:
        return {rig.get(path, host).port for _ in range(2 * len(ports) + 2)}

    until(lambda: answering() == set(ports), 15, f"{host}{path} is answered by {ports}")


def test_without_an_app_the_answer_is_503_in_words() -> None:
    with a_rig(NGINX_IMAGE) as rig:
        answer = until(lambda: "application answers" in (found := rig.get()).body and found, 30, "the first rendering is served")
        assert (answer.status, answer.body) == (503, "no application answers here\n")


def test_before_consul_has_ever_answered_the_answer_is_503_in_words() -> None:
    with a_rig(NGINX_IMAGE, ERATOS_CONSUL="http://127.0.0.1:1") as rig:
        answer = until(lambda: rig.get(), 10, "nginx answers")
        assert (answer.status, answer.body) == (503, "no application is known yet\n")


def test_hosts_and_paths_lead_to_their_apps(rig: Rig) -> None:
    rig.register(9020, app="cart", meta={"haproxy-path": "/cart"})
    rig.register(9021, app="deep", meta={"haproxy-path": "/cart/deep/"})
    rig.register(9022, app="shop", meta={"haproxy-vhost": "Shop.example, www.shop.example"})
    rig.register(9024, app="wild", meta={"haproxy-vhost": "*.example"})
    rig.register(9023, app="shop-api", meta={"haproxy-vhost": "shop.example", "haproxy-path": "/a+b.c"})
    await_ports(rig, "/a+b.c/x", 9023, host="shop.example")
    await_ports(rig, "/", 9024, host="other.example")
    expected = {
        ("", "/cart"): 9020,
        ("", "/cart/x?y"): 9020,
        ("", "/cart/deep/x"): 9021,
        ("shop.example", "/"): 9022,
        ("SHOP.example:8000", "/cart"): 9022,
        ("www.shop.example", "/a+b.c/x"): 9022,
        ("shop.example", "/a+b.c?/cart/"): 9023,
        ("shop.example", "/a+bxc"): 9022,
        ("other.example", "/cart"): 9024,
    }
    assert {(host, path): rig.get(path, host).port for host, path in expected} == expected
    assert rig.get("/carton").port in PORTS


def test_a_worker_learns_who_asked(rig: Rig) -> None:
    _, client, protocol = rig.get().body.split()
    assert client.count(".") == 3
    assert protocol == "None"
    # A balancer without certificates knows of TLS only from whoever ends it in front.
    assert rig.get("/", **{"X-Forwarded-Proto": "https"}).body.split()[2] == "https"
    # Whoever is in front of the balancer stays first in the list.
    assert rig.get("/", **{"X-Forwarded-For": "192.0.2.1"}).body.split()[1] == "192.0.2.1,"


def test_weights_are_shares(rig: Rig) -> None:
    rig.register(9030, app="weighted", meta={"haproxy-path": "/weighted", "haproxy-balance": "roundrobin"})
    rig.register(
        9031,
        app="weighted",
        meta={"haproxy-path": "/weighted", "haproxy-balance": "roundrobin", "haproxy-server-weight": "25"},
    )
    await_ports(rig, "/weighted", 9030, 9031)
    # Two processes, each of which counts for itself.
    assert Counter(rig.get("/weighted").port for _ in range(100))[9031] == pytest.approx(20, abs=3)


def test_a_known_app_without_a_ready_instance_answers_503(rig: Rig) -> None:
    rig.register(9040, app="sick", meta={"haproxy-path": "/sick"}, check={"TTL": "600s", "Status": "critical"})
    answer = until(lambda: (found := rig.get("/sick")).status != 200 and found, 15, "the app is known")
    assert (answer.status, answer.body) == (503, "no instance of sick is ready\n")


def test_a_dead_instance_costs_no_request(rig: Rig) -> None:
    meta = {"haproxy-path": "/dying"}
    rig.register(9050, 9051, 9052, app="dying", meta=meta)
    await_ports(rig, "/dying", 9050, 9051, 9052)
    assert rig.get("/kill?port=9050", "").status == 200
    assert {rig.get("/dying").port for _ in range(20)} == {9051, 9052}


def test_instances_leave_under_load_without_a_lost_request(rig: Rig) -> None:
    meta = {"haproxy-path": "/scaled"}
    rig.register(9060, 9061, 9062, app="scaled", meta=meta)
    await_ports(rig, "/scaled", 9060, 9061, 9062)
    slow_ports = {rig.get("/scaled").port for _ in range(6)}
    assert slow_ports == {9060, 9061, 9062}
    # A connection for each request: one that is kept may be closed by nginx's reload just when it is used again.
    with rig.load(path="/scaled?s=0.05", keep_alive=False, app="scaled") as load:
        rig.deregister(9061, 9062, app="scaled")
        await_ports(rig, "/scaled", 9060)
    assert load.failures == []
    assert load.requests


def test_a_refused_candidate_leaves_the_last_good_configuration(rig: Rig) -> None:
    master = rig.pid("nginx: master")
    rig.shell("s6-svc -wd -d /opt/eratos/services/consul-template")
    good = rig.shell(f"cat {STATE}/live.conf")
    for name, text in (("http", "nonsense"), ("unheard-of", ""), ("server", "location /laid { return 200 laid; }")):
        rig.shell(f"echo '{text}' > {SNIPPETS}/{name}.conf", root=True)
        rig.shell("/opt/eratos/bin/apply")
        if name == "server":
            until(lambda: rig.get("/laid").body == "laid", 10, "an administrator's own lines are served")
        else:
            assert rig.shell(f"cat {STATE}/live.conf") == good
        rig.shell(f"rm {SNIPPETS}/{name}.conf", root=True)
    for broken in ("", "{"):
        rig.shell(f"cd {STATE}; cp facts.json facts; echo '{broken}' > facts.json; /opt/eratos/bin/apply; cp facts facts.json")
    assert "location /laid" in rig.shell(f"cat {STATE}/live.conf")
    assert rig.get().port in PORTS
    # Also over a restart of nginx.
    rig.shell(f"kill -9 {master}")
    until(lambda: rig.pid("nginx: master") not in (0, master), 10, "nginx runs again")
    until(lambda: rig.get().port in PORTS, 10, "requests are answered")
    rig.shell("s6-svc -u /opt/eratos/services/consul-template")
    rig.register(9004)
    await_ports(rig, "/", *PORTS, 9004)
    rig.deregister(9004)
    await_ports(rig, "/", *PORTS)


def test_what_nginx_does_not_do_is_named_and_the_rest_goes_on(rig: Rig) -> None:
    rig.register(9070, app="db", meta={"haproxy-mode": "tcp", "haproxy-port": "5432"})
    rig.register(9074, app="injected", meta={"haproxy-path": '/x" "y'})
    # Consul lists both and answers for either with the instances of both; nginx would take two such names for one.
    rig.register(9071, app="Twice", meta={"haproxy-path": "/twice"})
    rig.register(9072, app="twice", meta={"haproxy-path": "/twice"})
    rig.register(9073, app="sticky", meta={"haproxy-path": "/sticky", "haproxy-sticky": "true"})
    await_ports(rig, "/sticky", 9073)
    await_ports(rig, "/twice", 9071, 9072)
    refused = [line for line in rig.shell(f"cat {STATE}/live.conf").splitlines() if line.startswith("# refused ")]
    assert {"# refused injected", "# refused db", "# refused sticky"} <= {line.split(":")[0] for line in refused}
    assert rig.get().port in PORTS


def test_there_are_pages_for_health_and_figures(rig: Rig) -> None:
    assert ask(rig.balancer.ports[9090], "GET", "/health").status == 200
    assert "Active connections" in ask(rig.balancer.ports[9090], "GET", "/stats").body


def test_the_access_log_names_the_instance_of_each_request(rig: Rig) -> None:
    port = rig.get("/for-the-log").port
    (line,) = [line for line in rig.balancer.logs().splitlines() if "GET /for-the-log " in line]
    assert f" {rig.workers_address}:{port} " in line
    assert " prime-" in line
