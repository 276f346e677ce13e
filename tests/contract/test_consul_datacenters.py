"""The leader keeps the catalogues of all data centers: two real Consuls joined over WAN."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import consul
import pytest
from support.balancer import AGENT, JOINED, another_datacenter, join
from support.containers import Container, run_container
from support.waiting import until

from eratos.executor.consul_agent import ConsulApi
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.scheduler.catalogues import Catalogues
from eratos.scheduler.consul_catalog import ConsulCatalog
from eratos.scheduler.placeholder_keeper import Fleet, PlaceholderKeeper

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
