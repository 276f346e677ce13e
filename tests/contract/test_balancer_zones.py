"""How a balancer that prefers its zone shares requests out, with a real HAProxy and a real Consul."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from support.balancer import Rig, a_balancer, server_id
from support.waiting import until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with a_balancer(ERATOS_ZONE="here", ERATOS_ZONE_POLICY="prefer") as rig:
        yield rig


def register(rig: Rig, app: str, here: tuple[int, ...] = (), there: tuple[int, ...] = (), **meta: str) -> None:
    for zone, ports in (("here", here), ("there", there)):
        rig.register(*ports, app=app, meta={"haproxy-path": f"/{app}", "eratos-zone": zone, **meta})


def weights(rig: Rig, app: str) -> dict[int, int]:
    """Return the weights that HAProxy itself says its servers have, by port."""
    servers = rig.status()["servers"].items()
    return {int(row["address"].rpartition(":")[2]): row["weight"] for name, row in servers if name.startswith(f"{app}/")}


def await_weights(rig: Rig, app: str, wanted: dict[int, int]) -> None:
    until(lambda: weights(rig, app) == wanted, 10, f"the weights are {wanted}", pace_s=0.01)


def shares(rig: Rig, app: str) -> dict[int, float]:
    got = Counter(rig.get(f"/{app}").port for _ in range(200))
    return {port: count / 200 for port, count in got.items()}


def test_requests_follow_the_zones_of_instances_that_come_and_go_without_a_reload(rig: Rig) -> None:
    register(rig, "moves", here=(9000, 9001), there=(9002, 9003))
    await_weights(rig, "moves", {9000: 256, 9001: 256, 9002: 1, 9003: 1})
    reloads = rig.status()["reloads"]
    assert sum(shares(rig, "moves").get(port, 0) for port in (9000, 9001)) >= 0.98
    assert {row.get("zone") for row in rig.status()["servers"].values()} == {"here", "there"}
    rig.deregister(9001, app="moves")
    register(rig, "moves", there=(9004,))
    # One of four is here: half of the requests, as every instance gets a quarter of all zones' together.
    await_weights(rig, "moves", {9000: 256, 9002: 85, 9003: 85, 9004: 85})
    assert shares(rig, "moves") == pytest.approx({9000: 0.5, 9002: 1 / 6, 9003: 1 / 6, 9004: 1 / 6}, abs=0.03)
    assert rig.status()["reloads"] == reloads


def test_where_the_last_near_one_dies_the_others_answer_at_once_and_without_a_loss(rig: Rig) -> None:
    register(rig, "last", here=(9010,), there=(9011,))
    rig.register(9012, app="killer", meta={"haproxy-path": "/kill"})
    rig.await_rotation(9012, backend="killer")
    await_weights(rig, "last", {9010: 256, 9011: 1})
    with rig.load(path="/last", app="last") as load:
        until(lambda: load.reaches(200), 30, "the load runs")
        # Consul goes on naming it: what follows is HAProxy's own doing and the companion's.
        rig.get("/kill?port=9010")
        elsewhere = load.answers[9011]
        until(lambda: load.answers[9011] > elsewhere + 200, 30, "the other one answers")
        await_weights(rig, "last", {9010: 1, 9011: 256})
    assert load.failures == []
    assert server_id(9010, "last") in rig.status()["backends"]["last"]
    # So it is in a new process.
    rig.reload(30)
    await_weights(rig, "last", {9010: 1, 9011: 256})
    assert [rig.get("/last").port for _ in range(3)] == [9011] * 3


def test_an_app_says_for_itself_what_a_zone_means(rig: Rig) -> None:
    register(rig, "everywhere", here=(9020,), there=(9021,), **{"haproxy-zone": "ignore"})
    register(rig, "near", here=(9022,), there=(9023,), **{"haproxy-zone": "require"})
    register(rig, "far", there=(9024,), **{"haproxy-zone": "require"})
    rig.await_rotation(9020, 9021, backend="everywhere")
    rig.await_rotation(9022, backend="near")
    assert shares(rig, "everywhere") == pytest.approx({9020: 0.5, 9021: 0.5}, abs=0.02)
    assert shares(rig, "near") == {9022: 1}
    until(lambda: rig.get("/far").status == 503, 10, "an app of other zones is refused")
    assert "far: zone require, and none of its 1 instances is in zone here" in rig.status()["left_out"]


def test_each_version_of_an_app_gets_what_its_entry_says_and_zones_count_within_one(rig: Rig) -> None:
    old, new = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"

    def say(said: str) -> None:
        stands_for_it = {"haproxy-path": "/both", "eratos-placeholder": "true", "eratos-weights": said}
        rig.register(9039, app="both", meta=stands_for_it, check={"TTL": "1h", "Status": "critical"})

    rig.register(9012, app="killer", meta={"haproxy-path": "/kill"})
    rig.await_rotation(9012, backend="killer")
    say(f"{old}=100")
    register(rig, "both", here=(9030,), there=(9031,), **{"eratos-version": old})
    register(rig, "both", here=(9032,), there=(9033, 9034), **{"eratos-version": new})
    waiting = {9030: 256, 9031: 1, 9032: 0, 9033: 0, 9034: 0}
    await_weights(rig, "both", waiting)
    reloads = rig.status()["reloads"]
    assert set(shares(rig, "both")) <= {9030, 9031}
    say(f"{old}=100,{new}=50")
    # The old ones are evenly spread, and that here has all of their 200; that of the new ones here has 100 of their 150.
    await_weights(rig, "both", {9030: 256, 9031: 1, 9032: 128, 9033: 32, 9034: 32})
    got = shares(rig, "both")
    assert sum(got.get(port, 0) for port in (9032, 9033, 9034)) == pytest.approx(192 / 449, abs=0.03)
    say(f"{old}=0,{new}=100")
    await_weights(rig, "both", {9030: 0, 9031: 0, 9032: 256, 9033: 64, 9034: 64})
    assert not {9030, 9031} & shares(rig, "both").keys()
    say(f"{old}=100,{new}=0")
    await_weights(rig, "both", waiting)
    assert rig.status()["reloads"] == reloads
    # One that waits for its turn and is dead has no weight in a new process either.
    rig.get("/kill?port=9033")
    until(lambda: _status(rig, 9033).startswith("DOWN"), 10, "it is found dead")
    rig.reload(31)
    await_weights(rig, "both", waiting)
    assert _status(rig, 9033).startswith("DOWN")


def _status(rig: Rig, port: int) -> str:
    [status] = [row["status"] for row in rig.status()["servers"].values() if row["address"].endswith(f":{port}")]
    return str(status)
