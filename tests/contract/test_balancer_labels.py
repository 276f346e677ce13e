"""What single labels do: weights, stickiness, limits. All of it holds for instances that come without a reload."""

from __future__ import annotations

import csv
import http.client
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from http.cookies import SimpleCookie
from urllib.parse import quote

import pytest
from support.balancer import Rig, a_balancer, ask, server_id
from support.waiting import until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        yield rig


def statistics(rig: Rig, backend: str) -> dict[str, dict[str, str]]:
    """Return HAProxy's own figures of a backend's servers."""
    text = ask(rig.balancer.ports[9090], "GET", "/stats;csv").body.lstrip("# ")
    rows = csv.DictReader(text.splitlines())
    return {row["svname"]: row for row in rows if row["pxname"] == backend and row["type"] == "2"}


def test_a_client_of_a_sticky_app_stays_with_its_instance_until_that_leaves(rig: Rig) -> None:
    meta = {"haproxy-path": "/sticky", "haproxy-sticky": "true"}
    rig.register(9000, 9001, 9002, app="sticky", meta=meta)
    rig.await_rotation(9000, 9001, 9002, backend="sticky")
    reloads = rig.status()["reloads"]
    rig.register(9003, app="sticky", meta=meta)
    rig.await_rotation(9000, 9001, 9002, 9003, backend="sticky")
    first = {(answer := rig.get("/sticky")).port: answer for _ in range(4)}
    assert set(first) == {9000, 9001, 9002, 9003}
    for port, answer in first.items():
        ((name, morsel),) = SimpleCookie(answer.headers["set-cookie"]).items()
        assert name == "eratos-sticky"
        assert morsel["httponly"]
        assert str(port) not in morsel.value
        answers = [rig.get("/sticky", Cookie=f"{name}={morsel.value}") for _ in range(4)]
        assert {again.port for again in answers} == {port}
        assert not any("set-cookie" in again.headers for again in answers)
    cookie = first[9003].headers["set-cookie"].partition(";")[0]
    rig.companion("POST", "/confirm", {"services": [server_id(9003, "sticky")]})
    rig.deregister(9003, app="sticky")
    rig.await_rotation(9000, 9001, 9002, backend="sticky")
    moved = rig.get("/sticky", Cookie=cookie)
    assert moved.port != 9003
    assert moved.headers["set-cookie"].startswith("eratos-sticky=")
    assert rig.status()["reloads"] == reloads


def test_of_several_routes_the_heaviest_is_taken(rig: Rig) -> None:
    rig.register(9010, app="blue", meta={"haproxy-vhost": "swap.example"})
    rig.register(9011, app="green", meta={"haproxy-vhost": "swap.example"})
    rig.register(9012, app="path", meta={"haproxy-vhost": "swap.example", "haproxy-path": "/x"})
    until(lambda: rig.in_rotation("path"), 10, "the last app is there")
    assert (rig.get("/", "swap.example").port, rig.get("/x", "swap.example").port) == (9010, 9012)
    assert "green: blue already answers on swap.example/" in rig.status()["left_out"]
    rig.register(9011, app="green", meta={"haproxy-vhost": "swap.example", "haproxy-backend-weight": "2"})
    # Heavier than the path's 1, it takes that over as well.
    until(lambda: rig.get("/x", "swap.example").port == 9011, 10, "the heavier route is there")
    assert rig.get("/", "swap.example").port == 9011
    assert "blue: green answers on swap.example/ with more weight" in rig.status()["left_out"]


def share(rig: Rig) -> float:
    return Counter(rig.get("/weighted").port for _ in range(100))[9021] / 100


def test_a_server_s_weight_is_its_share(rig: Rig) -> None:
    meta = {"haproxy-path": "/weighted"}
    rig.register(9020, app="weighted", meta=meta)
    rig.await_rotation(9020, backend="weighted")
    reloads = rig.status()["reloads"]
    rig.register(9021, app="weighted", meta=meta | {"haproxy-server-weight": "25"})
    rig.await_rotation(9020, 9021, backend="weighted")
    assert share(rig) == pytest.approx(0.2, abs=0.02)
    assert rig.status()["reloads"] == reloads
    # So it is after a reload, which reads the same from the file.
    rig.reload(20)
    rig.await_rotation(9020, 9021, backend="weighted")
    assert share(rig) == pytest.approx(0.2, abs=0.02)


def test_an_instance_gets_no_more_than_it_takes_at_a_time(rig: Rig) -> None:
    meta = {"haproxy-path": "/narrow", "haproxy-maxconn": "1"}
    rig.register(9030, app="narrow", meta=meta)
    rig.await_rotation(9030, backend="narrow")
    rig.register(9031, app="narrow", meta=meta)
    rig.await_rotation(9030, 9031, backend="narrow")
    assert {row["slim"] for row in statistics(rig, "narrow").values()} == {"1"}
    clients = [threading.Thread(target=rig.get, args=("/narrow?s=0.5",)) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    rows = statistics(rig, "narrow").values()
    assert {row["smax"] for row in rows} == {"1"}
    assert sum(int(row["stot"]) for row in rows) == 6


def test_the_companion_says_what_waits_and_what_came(rig: Rig) -> None:
    """Autoscaling goes by it: a request that waits for any server is the backend's, and counts as come where it gets to."""
    rig.register(9035, app="queueing", meta={"haproxy-path": "/queueing", "haproxy-maxconn": "1"})
    rig.await_rotation(9035, backend="queueing")
    server = f"queueing/{server_id(9035, 'queueing')}"

    def waiting() -> int:
        status = rig.status()
        return int(status["queued"]["queueing"]) + int(status["servers"][server]["queued"])

    assert waiting() == 0
    before = rig.status()["servers"][server]["came"]
    clients = [threading.Thread(target=rig.get, args=("/queueing?s=2",)) for _ in range(3)]
    for client in clients:
        client.start()
    until(lambda: waiting() == 2, 10, "two wait for the third")
    for client in clients:
        client.join()
    assert waiting() == 0
    assert rig.status()["servers"][server]["came"] == before + 3


def test_an_app_may_have_a_time_limit_of_its_own(rig: Rig) -> None:
    rig.register(9040, app="quick", meta={"haproxy-path": "/quick", "haproxy-timeout-s": "1"})
    rig.await_rotation(9040, backend="quick")
    assert rig.get("/quick").status == 200
    assert rig.get("/quick?s=20").status == 504


@pytest.mark.parametrize("balance", ["roundrobin", "leastconn", "random", "source"])
def test_instances_come_and_go_without_a_reload_whatever_the_balance(rig: Rig, balance: str) -> None:
    meta = {"haproxy-path": f"/{balance}", "haproxy-balance": balance}
    rig.register(9050, app=balance, meta=meta)
    rig.await_rotation(9050, backend=balance)
    reloads = rig.status()["reloads"]
    rig.register(9051, app=balance, meta=meta)
    rig.await_rotation(9050, 9051, backend=balance)
    rig.deregister(9050, app=balance)
    rig.await_rotation(9051, backend=balance)
    assert rig.get(f"/{balance}").port == 9051
    assert rig.status()["reloads"] == reloads


def test_where_instances_differ_the_newest_version_decides(rig: Rig) -> None:
    old = {"haproxy-path": "/old", "eratos-version": "2026-01-01T00:00:00.000Z"}
    rig.register(9060, app="update", meta=old)
    new = {"haproxy-path": "/new", "haproxy-sticky": "true", "eratos-version": "2026-01-02T00:00:00.000Z"}
    rig.register(9061, app="update", meta=new)
    rig.await_rotation(9060, 9061, backend="update")
    # Until the last old instance has gone, requests for either route are answered.
    for path in ("/old", "/new"):
        assert {(answer := rig.get(path)).port for _ in range(4)} == {9060, 9061}
        assert "set-cookie" in answer.headers
    rig.register(9062, app="update", meta={"haproxy-mode": "tcp", "haproxy-port": "10000", "eratos-version": "2025"})
    reason = "update: some instances are in mode tcp, the newest in mode http"
    until(lambda: reason in rig.status()["left_out"], 10, "the reason is there")


def test_values_that_make_no_sense_are_named_and_do_no_harm(rig: Rig) -> None:
    odd = {"sticky": "si", "server-weight": "0", "maxconn": "1\n  server x", "timeout-s": "1h", "backend-weight": "-7"}
    rig.register(9070, app="odd", meta={"haproxy-path": "/odd"} | {f"haproxy-{key}": value for key, value in odd.items()})
    until(lambda: rig.in_rotation("odd"), 10, "the app is there")
    assert rig.get("/odd").port == 9070
    reasons = "\n".join(reason for reason in rig.status()["left_out"] if reason.startswith("odd: "))
    for key in odd:
        assert f"odd: {key} " in reasons


OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


def test_of_an_app_that_is_there_twice_the_versions_have_the_traffic_that_its_entry_says(rig: Rig) -> None:
    meta = {"haproxy-path": "/twice"}

    def say(weights: str) -> None:
        stands_for_it = meta | {"eratos-placeholder": "true", "eratos-weights": weights}
        rig.register(9069, app="twice", meta=stands_for_it, check={"TTL": "1h", "Status": "critical"})

    def answering(count: int = 40) -> Counter[int]:
        return Counter(rig.get("/twice").port for _ in range(count))

    say(f"{OLD}=100")
    rig.register(9060, 9061, app="twice", meta=meta | {"eratos-version": OLD})
    rig.await_rotation(9060, 9061, backend="twice")
    reloads = rig.status()["reloads"]
    with rig.load(path="/twice", app="twice") as load:
        rig.register(9062, 9063, app="twice", meta=meta | {"eratos-version": NEW})
        rig.await_rotation(9060, 9061, 9062, 9063, backend="twice")
        assert set(answering()) == {9060, 9061}
        assert not {9062, 9063} & load.answers.keys()  # not one, also before the entry names them
        say(f"{OLD}=100,{NEW}=25")
        until(lambda: {9062, 9063} <= answering().keys(), 10, "the new ones have some traffic")
        found = answering(500)
        # Servers are drawn by lot: six times the deviation of so many draws.
        assert (found[9062] + found[9063]) / 500 == pytest.approx(0.2, abs=0.11)
        say(f"{OLD}=0,{NEW}=100")
        until(lambda: set(answering()) == {9062, 9063}, 10, "the new ones have it all")
        say(f"{OLD}=100,{NEW}=0")
        until(lambda: set(answering()) == {9060, 9061}, 10, "the old ones have it back")
        before = load.requests
        until(lambda: load.reaches(before + 50), 10, "the load goes on")
        # Nobody of those with the traffic is left: rather the others than nobody.
        rig.companion("POST", "/confirm", {"services": [server_id(port, "twice") for port in (9060, 9061)]})
        rig.deregister(9060, 9061, app="twice")
        until(lambda: set(answering()) == {9062, 9063}, 10, "those that are left serve")
    assert not load.failures
    assert rig.status()["reloads"] == reloads
    counted = {name.partition("/")[2]: found for name, found in rig.status()["servers"].items() if name.startswith("twice/")}
    assert all(found["answered"] > 0 and found["broken"] == 0 for found in counted.values())


def test_traffic_is_switched_between_two_versions_without_a_moment_in_which_none_has_it(rig: Rig) -> None:
    """HAProxy is told of one server after the other, and those of the old version come first by name."""
    meta = {"haproxy-path": "/switched"}
    old, new = range(9080, 9084), range(9084, 9088)

    def say(weights: str) -> None:
        stands_for_it = meta | {"eratos-placeholder": "true", "eratos-weights": weights}
        rig.register(9089, app="switched", meta=stands_for_it, check={"TTL": "1h", "Status": "critical"})

    say(f"{OLD}=100,{NEW}=0")
    rig.register(*old, app="switched", meta=meta | {"eratos-version": OLD})
    rig.register(*new, app="switched", meta=meta | {"eratos-version": NEW})
    rig.await_rotation(*old, *new, backend="switched")
    with rig.load(path="/switched", app="switched") as one, rig.load(path="/switched", app="switched") as other:
        for _ in range(20):
            for weights, having in ((f"{OLD}=0,{NEW}=100", new), (f"{OLD}=100,{NEW}=0", old)):
                say(weights)
                until(lambda having=having: {rig.get("/switched").port for _ in range(8)} <= {*having}, 10, weights)
    assert not one.failures
    assert not other.failures


def test_what_clients_got_is_counted_once_for_each_request_whatever_became_of_it_on_its_way(rig: Rig) -> None:
    host, nobody = "counted.test", "nobody.test"
    rig.register(9090, 9091, app="counted", meta={"haproxy-vhost": host})
    entry = {"haproxy-vhost": nobody, "eratos-placeholder": "true"}
    rig.register(9092, app="nobody", meta=entry, check={"TTL": "1h", "Status": "critical"})
    rig.await_rotation(9090, 9091, backend="counted")
    until(lambda: {"counted", "nobody"} <= rig.status()["answers"].keys(), 10, "both are served")

    def since(before: dict[str, dict[str, int]], service: str) -> tuple[int, ...]:
        now = rig.status()["answers"][service]
        return tuple(now[name] - before[service][name] for name in ("answered", "failed", "cut"))

    before = rig.status()["answers"]
    for _ in range(6):
        assert rig.get("/", host).status == 200
    for _ in range(3):
        assert rig.get("/?status=500", host).status == 500
    for _ in range(4):
        assert rig.get("/drop?port=9090", host).port == 9091  # where the other one hung up, it is asked again here
    for _ in range(2):
        with pytest.raises(http.client.IncompleteRead):
            rig.get("/cut", host)
    for _ in range(5):
        assert rig.get("/", nobody).status == 503  # there is nobody who could answer
    # HAProxy counts a request once it is over, which may be a moment after its client has the answer.
    until(lambda: since(before, "counted") == (15, 3, 2), 10, "each request is counted once")
    until(lambda: since(before, "nobody") == (5, 5, 0), 10, "so is each that nobody could answer")


HASHED = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


def test_clients_give_a_password_where_the_app_asks_for_one(rig: Rig) -> None:
    rig.register(9040, app="guarded", meta={"haproxy-path": "/guarded", "haproxy-auth": f"The shop:joe:{HASHED}"})
    rig.register(9041, app="closed", meta={"haproxy-path": "/closed", "haproxy-auth": "r:joe:password"})
    rig.register(9042, app="odd-guard", meta={"haproxy-vhost": "odd.example", "haproxy-auth": "joe"})
    rig.await_rotation(9040, backend="guarded")
    rig.await_rotation(9041, backend="closed")
    joe, other = (f"Basic {b64encode(f'joe:{word}'.encode()).decode()}" for word in ("password", "secret"))
    asked = rig.get("/guarded")
    assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="The shop"')
    assert rig.get("/guarded", Authorization=other).status == 401
    assert rig.get("/guarded", Authorization=joe).port == 9040
    # A password that is none by crypt(3) is nobody's.
    assert {rig.get("/closed", Authorization=who).status for who in (joe, other)} == {401}
    until(lambda: 'odd-guard: auth "joe"' in rig.status()["left_out"], 10, "the reason is there")
    assert not rig.get("/", "odd.example", Authorization=joe).body.startswith("9042")


def test_clients_of_other_networks_are_kept_out(rig: Rig) -> None:
    rig.register(9047, app="everybodys", meta={"haproxy-path": "/everybodys"})
    rig.await_rotation(9047, backend="everybodys")
    mine = rig.get("/everybodys").body.split()[1]
    rig.register(9043, app="mine", meta={"haproxy-path": "/mine", "haproxy-backend-network-allowed-acl": f"192.0.2.0/24, {mine}"})
    rig.register(9044, app="theirs", meta={"haproxy-path": "/theirs", "haproxy-backend-network-allowed-acl": "192.0.2.0/24"})
    rig.await_rotation(9043, backend="mine")
    rig.await_rotation(9044, backend="theirs")
    assert rig.get("/mine").port == 9043
    assert rig.get("/theirs").status == 403


def test_requests_and_answers_are_rewritten_as_by_marathon_lb(rig: Rig) -> None:
    meta = {"haproxy-vhost": "a.example,*.b.example", "haproxy-http-backend-redir": "/shop/home"}
    meta |= {"haproxy-http-backend-proxypass-path": "/shop", "haproxy-http-backend-revproxy-path": "/shop"}
    rig.register(9045, app="rewritten", meta=meta)
    rig.await_rotation(9045, backend="rewritten")
    root = rig.get("/?a=b", "a.example")
    assert (root.status, root.headers["location"]) == (301, "/shop/home")

    def seen(path: str) -> tuple[str, str]:
        answer = rig.get(path, "x.b.example")
        return answer.headers["x-seen-host"], answer.headers["x-seen-target"]

    assert [seen(path) for path in ("/shop", "/shop/", "/shop/cart?x=/shop/", "/shopping", "/x/shop/y")] == [
        ("a.example", target) for target in ("/", "/", "/cart?x=/shop/", "/shopping", "/x/shop/y")
    ]
    for given, location in (
        ("/login", "/shop/login"),
        ("http://a.example/x", "/shop/x"),
        ("https://y.b.example:8443/x?z=1", "/shop/x?z=1"),
        ("http://other.example/x", "http://other.example/x"),
        ("//other.example/x", "//other.example/x"),
    ):
        assert rig.get(f"/x?location={quote(given, safe='')}", "a.example").headers["location"] == location
