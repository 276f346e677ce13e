"""What is swept out of Consul's catalogue: services of this framework, on dead nodes, without a task. Nothing else."""

from __future__ import annotations

import queue
from typing import Any

import consul
import pytest

from eratos.common.errors import TemporaryError
from eratos.scheduler import consul_catalog
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.catalogues import Catalogues
from eratos.scheduler.consul_catalog import ConsulCatalog, balancers, dead_nodes, left_out, orphans


def a_service(
    service_id: str = "eratos-t1", *, tags: tuple[str, ...] = ("eratos",), framework: str = "fw1", task: str = "t1"
) -> Any:
    return {"ID": service_id, "Tags": list(tags), "Meta": {"eratos-framework": framework, "eratos-task": task}}


def test_node_is_dead_only_when_its_agent_is():
    checks = [
        {"Node": "agent1", "CheckID": "service:eratos-t1"},
        {"Node": "agent2", "CheckID": "serfHealth"},
        {"Node": "agent2", "CheckID": "service:eratos-t2"},
    ]
    assert dead_nodes(checks) == {"agent2"}


def test_services_without_a_task_are_orphans():
    assert list(orphans([a_service()], "fw1", set())) == ["eratos-t1"]


def test_service_of_a_task_that_is_known_stays():
    assert not list(orphans([a_service()], "fw1", {"t1"}))


def test_what_is_not_ours_is_never_touched():
    others = [
        a_service(framework="fw2"),
        a_service(tags=("web",)),
        a_service("redis-1"),
        {"ID": "eratos-t1", "Tags": ["eratos"], "Meta": None},
    ]
    assert not list(orphans(others, "fw1", set()))
    assert not list(orphans([a_service(framework="")], "", set()))


def test_what_balancers_leave_out_is_found_by_service():
    balancers = [
        {"Node": {"Node": "n1"}, "Service": {"Meta": {"eratos-host": "b1", "eratos-left-out-0": "db: port 5432: taken"}}},
        {
            "Node": {"Node": "n2"},
            "Service": {"Meta": {"eratos-host": "b2", "eratos-left-out-0": "a: mode", "eratos-left-out-1": "db: taken"}},
        },
        {"Node": {"Node": "n3"}, "Service": {"Meta": None}},
        {"Node": {"Node": "n4"}, "Service": {"Meta": {"eratos-host": "b4", "eratos-left-out-0": "in another form"}}},
        # An app that has the balancers' name.
        {"Node": {"Node": "n5"}, "Service": {"Meta": {"eratos-host": "b", "eratos-task": "t", "eratos-left-out-0": "db: x"}}},
    ]
    assert left_out(balancers) == {"db": ["b1: port 5432: taken", "b2: taken"], "a": ["b2: mode"]}
    assert left_out(balancers[:1], "dc2") == {"db": ["b1@dc2: port 5432: taken"]}


def test_balancers_of_another_data_center_say_so_by_name():
    entry = {
        "Node": {"Node": "n1", "Address": "10.0.0.1"},
        "Checks": [],
        "Service": {"Port": 9100, "Meta": {"eratos-host": "b1"}},
    }
    assert balancers([entry]) == (Balancer("b1", "10.0.0.1", 9100, ""),)
    assert balancers([entry], "dc2") == (Balancer("b1@dc2", "10.0.0.1", 9100, "", "dc2"),)


class Keeper:
    """Stands for what asks Consul each time: ``away`` plays that none answers."""

    away = True

    def changed(self) -> bool:
        return True

    def keep(self, client: object, *, in_full: bool) -> None:
        if self.away:
            raise TemporaryError("connection refused")


def test_that_no_consul_answers_is_said_and_that_one_does_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consul_catalog, "CHANGES_S", 0.001)
    monkeypatch.setattr(consul_catalog, "PAUSE_S", 0.001)
    monkeypatch.setattr(ConsulCatalog, "_look", lambda self, client: None)
    told: queue.Queue[str] = queue.Queue()
    keeper = Keeper()
    made = ConsulCatalog(["http://c1", "http://c2"], lambda: ("f", ()), keeper, on_change=lambda: told.put(made.trouble))  # type: ignore[arg-type]
    made.start()
    try:
        assert told.get(timeout=30) == "no Consul answers the scheduler at c1, c2: TemporaryError"
        keeper.away = False
        assert told.get(timeout=30) == ""
    finally:
        made.stop()


def test_each_data_center_is_looked_after_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consul_catalog, "CHANGES_S", 0.001)
    monkeypatch.setattr(consul_catalog, "PAUSE_S", 0.001)

    def look(made: ConsulCatalog, client: consul.Consul) -> None:
        place = client.dc or ""
        made._balancers = (Balancer(f"b@{place}", "10.0.0.1", 9100, "", place),)
        made._left_out = {"a": [f"b@{place}: port"]}
        looked.put(place)

    monkeypatch.setattr(ConsulCatalog, "_look", look)
    looked: queue.Queue[str] = queue.Queue()
    told: queue.Queue[None] = queue.Queue()
    keepers = {place: Keeper() for place in ("", "dc2", "dc3")}
    for place in ("", "dc2"):
        keepers[place].away = False
    made = Catalogues(
        [
            ConsulCatalog(["http://c1"], lambda: ("f", ()), keeper, on_change=lambda: told.put(None), datacenter=place)  # type: ignore[arg-type]
            for place, keeper in keepers.items()
        ]
    )
    made.start()
    try:
        assert {looked.get(timeout=30), looked.get(timeout=30)} == {"", "dc2"}
        told.get(timeout=30)
        assert made.trouble == "Consul's data center dc3 does not answer the scheduler at c1: TemporaryError"
        assert [balancer.name for balancer in made.balancers] == ["b@", "b@dc2"]
        assert made.left_out == {"a": ["b@: port", "b@dc2: port"]}
        keepers["dc3"].away = False
        assert looked.get(timeout=30) == "dc3"
    finally:
        made.stop()
