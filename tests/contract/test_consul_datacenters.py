"""The leader keeps the catalogues of all data centers: two real Consuls joined over WAN."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import NamedTuple

import consul
import pytest
from consul.callback import CB
from support.balancer import AGENT, JOINED, another_datacenter, join
from support.containers import Container, run_container
from support.waiting import until

from eratos.executor.consul_agent import ConsulApi
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.scheduler.catalogues import Catalogues
from eratos.scheduler.consul_catalog import ConsulCatalog
from eratos.scheduler.placeholder_keeper import Fleet, PlaceholderKeeper
from eratos.scheduler.query_keeper import QueryKeeper

FRAMEWORK = "fw-1"


class Joined(NamedTuple):
    near: Container
    far: Container

    def client(self, at: Container) -> consul.Consul:
        return ConsulApi(f"http://127.0.0.1:{at.ports[8500]}")._consul


@pytest.fixture(scope="module")
def joined() -> Iterator[Joined]:
    options = ["--entrypoint", "consul"]
    here = run_container("eratos/consul", *AGENT, *JOINED, ports=[8500], options=options)
    with here as near, another_datacenter(near, "dc2") as far:
        yield Joined(near, far)


class Leader:
    """What looks after the catalogues, by the Consul of dc1 alone."""

    def __init__(self, joined: Joined, *datacenters: str) -> None:
        self.apps = {"/shop": self.app("/shop")}
        self.changed = threading.Event()
        url = f"http://127.0.0.1:{joined.near.ports[8500]}"
        self.catalogues = Catalogues(
            [
                ConsulCatalog(
                    [url],
                    lambda: (FRAMEWORK, ("lives",)),
                    PlaceholderKeeper(lambda: Fleet(FRAMEWORK, dict(self.apps), ()), 3600.0),
                    on_change=self.changed.set,
                    datacenter=datacenter,
                )
                for datacenter in ("", *datacenters)
            ]
        )

    def app(self, app_id: str) -> App:
        labels = {"HAPROXY_0_PATH": "/x", "ERATOS_0_FAILOVER": "dc1,dc2"}
        return definition.parse({"id": app_id, "cmd": "x", "portDefinitions": [{}], "labels": labels})


def entries(client: consul.Consul, service: str = "shop") -> list[str]:
    return [entry["Service"]["ID"] for entry in client.health.service(service)[1]]


def lost_host(client: consul.Consul) -> None:
    """Have the catalogue say what a host that lost its power leaves there."""
    check = {"CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "critical", "Node": "lost"}
    client.catalog.register("lost", "10.0.0.99", check=check)
    for task, framework in (("gone", FRAMEWORK), ("lives", FRAMEWORK), ("others", "fw-2")):
        meta = {"eratos-framework": framework, "eratos-task": task}
        service = {"Service": "web", "ID": f"eratos-{task}", "Tags": ["eratos"], "Port": 80, "Meta": meta}
        client.catalog.register("lost", "10.0.0.99", service=service)


def left_there(client: consul.Consul) -> set[str]:
    return set((client.catalog.node("lost")[1] or {}).get("Services", {}))


def test_entries_of_apps_and_what_lost_hosts_left_are_kept_in_each_data_center(joined: Joined) -> None:
    near, far = joined.client(joined.near), joined.client(joined.far)
    lost_host(far)
    body = {"eratos-host": "west"}
    far.agent.service.register("eratos-balancer", service_id="b", address="10.0.0.9", port=9100, meta=body)
    leader = Leader(joined, "dc2", "nowhere")
    leader.catalogues.start()
    try:
        for client in (near, far):
            until(lambda client=client: entries(client) == ["eratos-app-shop"], 60, "the app's entry is there")
        until(lambda: left_there(far) == {"eratos-lives", "eratos-others"}, 60, "what the lost host left is gone")
        assert left_there(near) == set()
        until(lambda: [found.name for found in leader.catalogues.balancers] == ["west@dc2"], 60, "its balancers are known")
        until(lambda: "data center nowhere does not answer" in leader.catalogues.trouble, 60, "what is not there is told")
        # One that falls silent holds up nothing, and is made good when it is back.
        joined.far.pause()
        try:
            leader.apps["/more"] = leader.app("/more")
            until(lambda: entries(near, "more") == ["eratos-app-more"], 60, "a new app's entry is here")
            until(lambda: "data center dc2 does not answer" in leader.catalogues.trouble, 120, "the silent one is told")
            assert [found.name for found in leader.catalogues.balancers] == ["west@dc2"]
        finally:
            joined.far.unpause()
        join(joined.near, joined.far)
        until(lambda: entries(far, "more") == ["eratos-app-more"], 120, "a new app's entry is there")
    finally:
        leader.catalogues.stop()
    leader.catalogues.remove_entries()
    assert (entries(near), entries(far)) == ([], [])


def named(client: consul.Consul, service: str) -> list[str]:
    """Return the instances that a name under query.consul is answered by."""
    return [node["Service"]["ID"] for node in client.query.execute(service)["Nodes"]]


def test_a_name_is_answered_by_the_nearest_living(joined: Joined) -> None:
    near, far = joined.client(joined.near), joined.client(joined.far)

    def register(client: consul.Consul, service_id: str, *tags: str) -> None:
        client.agent.service.register("named", service_id=service_id, address="10.0.0.1", port=80, tags=["eratos", *tags])

    def query(client: consul.Consul, dc: str, nearest: int, framework: str = FRAMEWORK) -> None:
        client.dc = dc
        QueryKeeper(lambda: framework, nearest).keep(client)

    leader = joined.client(joined.near)
    for dc in ("", "dc2"):
        query(leader, dc, 1)
    (made,) = near.query.list()
    assert (made["Token"], made["Name"]) == ("", "")
    for dc in ("", "dc2", "", "dc2"):  # once
        query(leader, dc, 1)
    assert near.query.list() == [made]
    register(near, "here")
    register(far, "there")
    near.agent.service.register("foreign", service_id="foreign", address="10.0.0.1", port=80)
    until(lambda: named(near, "named") == ["here"] and named(far, "named") == ["there"], 60, "each is answered by its own")
    assert named(near, "foreign") == []
    near.agent.service.deregister("here")
    until(lambda: named(near, "named") == ["there"], 60, "the other data center's is the nearest that lives")
    register(near, "here")
    until(lambda: named(near, "named") == ["here"], 60, "it is back")
    # Another number, what somebody changed, and another framework's.
    query(leader, "", 2)
    assert [found["Service"]["Failover"]["NearestN"] for found in near.query.list()] == [2]
    query(leader, "", 3, "fw-2")
    query(leader, "", 0, "fw-2")
    assert [found["Service"]["Failover"]["NearestN"] for found in near.query.list()] == [2]
    for dc in ("", "dc2"):
        query(leader, dc, 0)
    assert (near.query.list(), far.query.list()) == ([], [])
    # Somebody else's is left alone.
    body = {"Name": "", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${name.full}"}}
    near.http.post(CB.json(), "/v1/query", data=json.dumps(body))
    (foreign,) = near.query.list()
    query(leader, "", 1)
    query(leader, "", 0)
    QueryKeeper(lambda: FRAMEWORK, 1).remove(leader)
    assert near.query.list() == [foreign]
    near.http.delete(CB.boolean(), f"/v1/query/{foreign['ID']}")
