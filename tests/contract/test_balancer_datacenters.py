"""Instances of another data center stand in: two real Consuls joined over WAN, consul-template and HAProxy, or nginx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from support.balancer import JOINED, NGINX_IMAGE, Rig, a_balancer, a_rig, another_datacenter, ask, join, server_id
from support.containers import Container
from support.waiting import until

from eratos.executor.consul_agent import ConsulApi

#: What the app says of the data centers that stand in for each other, in whichever of them an instance is.
FAILOVER = {"haproxy-failover": "dc1,dc2"}


class Joined(NamedTuple):
    """A balancer in dc1, and the Consul of dc2. It is to know a data center as well that there never was."""

    rig: Rig
    far: Container

    def here(self, app: str, *ports: int, **meta: str) -> None:
        self.rig.register(*ports, app=app, meta=FAILOVER | self._route(app) | meta)

    def there(self, app: str, *ports: int, **meta: str) -> None:
        self.rig.register(*ports, app=app, meta=FAILOVER | self._route(app) | meta, at=self.far)

    def _route(self, app: str) -> dict[str, str]:
        return {} if app == "prime" else {"haproxy-path": f"/{app}"}

    def await_weights(self, app: str, wanted: dict[int, int]) -> None:
        def found() -> dict[int, int]:
            rows = self.rig.status()["servers"].items()
            return {int(row["address"].rpartition(":")[2]): row["weight"] for name, row in rows if name.startswith(f"{app}/")}

        # Where a line was cut, Consul's servers wait for answers of before for a minute at most.
        until(lambda: found() == wanted, 180, f"the weights of {app} are {wanted}")

    def left_out(self) -> str:
        """Return what the balancer reports, nothing while it is not well."""
        return "\n".join(text for found in self.rig.services("eratos-balancer") for text in found["Service"]["Meta"].values())

    def reports(self, *silent: str) -> bool:
        """Return whether it reports these data centers, and none of the others."""
        found = self.left_out()
        return all(f"facts-{name}.json: data center {name} " in found for name in silent) and found.count("facts-") == len(silent)


@pytest.fixture(scope="module")
def joined() -> Iterator[Joined]:
    with a_balancer(*JOINED, ERATOS_DATACENTERS="dc2,nowhere") as rig, another_datacenter(rig.balancer, "dc2") as far:
        yield Joined(rig, far)


def test_traffic_goes_elsewhere_when_those_here_die_and_comes_back_with_what_is_under_way(joined: Joined) -> None:
    rig = joined.rig
    joined.here("prime", 9000, 9001)
    joined.there("prime", 9002, 9003)
    joined.await_weights("prime", {9000: 256, 9001: 256, 9002: 1, 9003: 1})
    rows = rig.status()["servers"]
    assert {row.get("datacenter", "") for row in rows.values()} == {"", "dc2"}
    reloads = rig.status()["reloads"]
    with ThreadPoolExecutor() as pool, rig.load() as load:
        until(lambda: load.reaches(200), 60, "the load runs")
        # Consul goes on naming them: what follows is HAProxy's own doing and the companion's.
        for port in (9000, 9001):
            rig.get(f"/kill?port={port}")
        elsewhere = load.answers[9002] + load.answers[9003]
        until(lambda: load.answers[9002] + load.answers[9003] > elsewhere + 200, 60, "the others answer")
        joined.await_weights("prime", {9000: 1, 9001: 1, 9002: 256, 9003: 256})
        open_there = pool.submit(rig.get, "/hold")
        until(lambda: requests_open(rig, 9002) + requests_open(rig, 9003) >= 1, 60, "a request is open elsewhere")
        rig.deregister(9000, 9001)
        joined.here("prime", 9004, 9005)
        joined.await_weights("prime", {9004: 256, 9005: 256, 9002: 1, 9003: 1})
        here = load.answers[9004] + load.answers[9005]
        until(lambda: load.answers[9004] + load.answers[9005] > here + 200, 60, "new ones here answer")
        assert not open_there.done()
        rig.get("/go")
        assert open_there.result(60).port in (9002, 9003)
    assert load.failures == []
    assert rig.status()["reloads"] == reloads
    # Too few are here: the last one is not left with all of it.
    rig.companion("POST", "/confirm", {"services": [server_id(9005)]})
    rig.deregister(9005)
    joined.there("prime", 9006)
    joined.await_weights("prime", {9004: 256, 9002: 85, 9003: 85, 9006: 85})


def requests_open(rig: Rig, port: int) -> int:
    """Return how many requests a server holds open; those of the load are over at once."""
    found = rig.companion("GET", f"/servers/{server_id(port)}")
    return int(found["requests"])


def test_only_apps_that_say_so_are_followed_elsewhere(joined: Joined) -> None:
    joined.here("own", 9020, **{"haproxy-failover": ""})
    joined.there("own", 9021)
    joined.here("both", 9022)
    joined.there("both", 9023)
    joined.await_weights("both", {9022: 256, 9023: 1})
    assert joined.rig.in_rotation("own") == {server_id(9020, "own")}
    found = json.loads(joined.rig.shell("cat /var/lib/eratos-balancer/facts-dc2.json"))
    assert "own" not in found["services"]


def test_an_app_that_is_nowhere_here_is_served_from_elsewhere(joined: Joined) -> None:
    entry = {**FAILOVER, "haproxy-path": "/only", "eratos-placeholder": "true"}
    joined.rig.register(9030, app="only", meta=entry, check={"TTL": "1h", "Status": "critical"})
    joined.there("only", 9031)
    joined.rig.await_rotation(9031, backend="only", within_s=60)
    assert joined.rig.get("/only").port == 9031


def test_executors_find_balancers_of_another_data_center(joined: Joined) -> None:
    body = {"ID": "b", "Name": "eratos-balancer", "Port": 9100, "Address": "10.0.0.9", "Meta": {"eratos-host": "far"}}
    assert ask(joined.far.ports[8500], "PUT", "/v1/agent/service/register", body).status == 200
    api = ConsulApi(f"http://127.0.0.1:{joined.rig.balancer.ports[8500]}")
    (found,) = until(lambda: api.balancers("dc2"), 60, "the other catalogue knows the balancer")
    assert (found.host, found.port) == ("10.0.0.9", 9100)
    assert (found.host, found.port) not in [(one.host, one.port) for one in api.balancers()]


def test_a_data_center_that_is_silent_or_dead_keeps_what_it_had_and_stands_in_nobodys_way(joined: Joined) -> None:
    rig, far = joined.rig, joined.far
    until(lambda: joined.reports("nowhere"), 60, "what is not there is named")
    joined.here("stays", 9040)
    joined.there("stays", 9050)
    joined.await_weights("stays", {9040: 256, 9050: 1})
    far.pause()
    try:
        joined.here("stays", 9041)
        joined.await_weights("stays", {9040: 256, 9041: 256, 9050: 1})
        until(lambda: joined.reports("nowhere", "dc2"), 120, "the silent one is named")
        # Whoever starts meanwhile goes by what was known last.
        rig.kill("consul-template")
        rig.kill("python3 -P -c import sys")
        until(lambda: rig.pid("python3 -P -c import sys") and rig.pid("consul-template"), 60, "both run again")
        until(lambda: _answers(rig), 60, "the companion answers")
        rig.deregister(9041, app="stays")
        joined.here("stays", 9042)
        joined.await_weights("stays", {9040: 256, 9042: 256, 9050: 1})
    finally:
        far.unpause()
    join(rig.balancer, far)
    joined.there("stays", 9051)
    joined.await_weights("stays", {9040: 256, 9042: 256, 9050: 1, 9051: 1})
    until(lambda: joined.reports("nowhere"), 120, "it is no news any more")
    # A Consul that comes back without its data is not believed at once.
    far.kill()
    joined.here("stays", 9043)
    joined.await_weights("stays", {9040: 256, 9042: 256, 9043: 256, 9050: 1, 9051: 1})
    far.start()
    join(rig.balancer, far)
    joined.there("stays", 9052)
    joined.await_weights("stays", {9040: 256, 9042: 256, 9043: 256, 9050: 1, 9051: 1, 9052: 1})
    assert rig.get("/stays").port in (9040, 9042, 9043, 9050, 9051, 9052)


def _answers(rig: Rig) -> bool:
    try:
        return bool(rig.status())
    except (OSError, AssertionError):
        return False


def test_nginx_has_those_elsewhere_too() -> None:
    with a_rig(NGINX_IMAGE, *JOINED, ERATOS_DATACENTERS="nowhere,dc2") as rig, another_datacenter(rig.balancer, "dc2") as far:
        entry = {**FAILOVER, "eratos-placeholder": "true"}
        rig.register(9060, meta=entry, check={"TTL": "1h", "Status": "critical"})
        rig.register(9061, meta=FAILOVER, at=far)
        until(lambda: rig.get().status == 200, 60, "the one elsewhere answers")
        assert rig.get().port == 9061
        rig.register(9062, meta=FAILOVER)
        until(lambda: rig.get().port == 9062, 60, "the one here answers")
