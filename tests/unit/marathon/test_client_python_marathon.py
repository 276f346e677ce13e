"""PyPI's ``marathon`` 0.13.0, pinned, against a running API: each of its calls that Marathon 1.11 answers.

Not asked: event subscriptions, which Marathon has not had since 1.5, ``list_queue``, ``get_group`` and their like, whose answers
of Marathon 1.9 and later the client refuses for fields that it does not know, and rollbacks, which eratos has not.
"""

from __future__ import annotations

import collections
import collections.abc
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.builders import an_offer
from support.controller import FakeController

from eratos.common.resources import Resources
from eratos.scheduler import about
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.config import Config
from eratos.scheduler.process import core_settings

# The client's own fault on Python 3.10 and later.
for _name in ("Iterable", "Mapping", "MutableMapping"):
    if not hasattr(collections, _name):
        setattr(collections, _name, getattr(collections.abc, _name))

# PyPI's: a folder of ours is called alike, and no test may import that.
marathon, models, event_models = map(importlib.import_module, ("marathon", "marathon.models", "marathon.models.events"))


class Informed(FakeController):
    """Says of itself what a scheduler does."""

    def info(self) -> dict[str, Any]:
        config = Config(master="zk://m:2181/mesos", zk="zk://m:2181/eratos")
        standing = about.Standing(True, "http://s1:8080", "f-1", "m1:5050")
        return about.info(config, core_settings(config, "", Resources()), standing)


@pytest.fixture
def controller() -> Informed:
    return Informed()


@pytest.fixture
def client(controller: Informed) -> Iterator[Any]:
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    try:
        yield marathon.MarathonClient(f"http://127.0.0.1:{server.port}", timeout=20)
    finally:
        controller.events.close()
        server.stop()


def app(**fields: Any) -> Any:
    made = {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 2, "labels": {"tier": "web"}}
    check = models.MarathonHealthCheck(path="/", protocol="HTTP", port_index=0)
    ports = [{"port": 10001, "protocol": "tcp", "name": "http"}]
    return models.MarathonApp(**made | {"health_checks": [check], "port_definitions": ports} | fields)


def running(controller: Informed, client: Any, app_id: str = "/shop/cart", **fields: Any) -> list[str]:
    client.create_app(app_id, app(**fields))
    tasks = controller.launch(an_offer())
    for task in tasks:
        controller.update(task, "RUNNING", healthy=True, addresses=("10.0.0.1",))
    return tasks


def test_it_looks_at_the_process(client: Any, controller: Informed) -> None:
    info = client.get_info()
    assert (info.name, info.elected, info.framework_id) == ("eratos", True, "f-1")
    assert info.marathon_config.mesos_leader_ui_url == "http://m1:5050/"
    assert info.zookeeper_config.zk_max_versions == 50
    assert client.get_leader() == {"leader": "leader.test:8080"}
    assert client.ping() == b'"pong"'  # it asks for JSON
    assert "eratos_leader" in client.get_metrics()["gauges"]
    client.delete_leader()
    assert controller.abdicated


def test_it_makes_changes_finds_and_deletes_apps(client: Any, controller: Informed) -> None:
    running(controller, client)
    with pytest.raises(marathon.MarathonHttpError, match="already exists"):
        client.create_app("/shop/cart", app())
    for filters in ({"cmd": "SLEEP"}, {"app_id": "cart"}, {"label": "tier==web"}, {"label": "tier in (web, db)"}):
        assert [found.id for found in client.list_apps(**filters)] == ["/shop/cart"]
    assert client.list_apps(label="tier notin (web)") == []
    embeds = {f"embed_{name}": True for name in ("tasks", "counts", "deployments", "readiness", "last_task_failure", "failures")}
    (found,) = client.list_apps(**embeds, embed_task_stats=True)
    assert (found.tasks_running, len(found.tasks)) == (2, 2)
    shown = client.get_app("/shop/cart", embed_task_stats=True)
    assert shown.task_stats.total_summary.stats.counts.running == 2
    client.update_app("/shop/cart", shown)
    client.scale_app("/shop/cart", instances=3)
    client.scale_app("/shop/cart", delta=1)
    assert client.get_app("/shop/cart").instances == 4
    client.update_apps([app(id="/shop/cart", cpus=0.2)])
    client.restart_app("/shop/cart")
    assert client.list_deployments()[0].affected_apps == ["/shop/cart"]
    versions = client.list_versions("/shop/cart")
    assert len(versions) == 3  # as created, changed and restarted
    assert client.get_version("/shop/cart", max(versions)).cpus == 0.2
    assert client.get_version("/shop/cart", min(versions)).cpus != 0.2
    client.reset_delay("/shop/cart")
    client.delete_app("/shop/cart")
    with pytest.raises(marathon.NotFoundError):
        client.get_app("/shop/cart")


def test_it_lists_and_kills_tasks(client: Any, controller: Informed) -> None:
    tasks = running(controller, client)
    assert sorted(task.id for task in client.list_tasks()) == tasks
    (first, second) = client.list_tasks("/shop/cart")
    assert (first.service_ports, first.host) == ([10001], "host-a1")
    assert first.health_check_results[0].alive
    endpoints = client.list_endpoints()
    assert {endpoint.service_port for endpoint in endpoints} == {10001}
    client.kill_given_tasks([first.id])
    client.kill_task("/shop/cart", second.id, scale=True)
    assert client.get_app("/shop/cart").instances == 1
    assert len(client.kill_tasks("/shop/cart", host="host-a1")) == 2


def test_it_makes_scales_and_deletes_groups(client: Any, controller: Informed) -> None:
    client.create_group(models.MarathonGroup(id="/shop", apps=[app(id="/shop/cart")]))
    client.scale_group("/shop", 2)
    assert controller.machine.state.apps["/shop/cart"].instances == 4
    client.delete_group("/shop")
    assert not controller.machine.state.apps


def test_it_follows_events(client: Any, controller: Informed) -> None:
    # What it can read: at "scheduler_registered_event" it raises, and at plans without groups, as they are since Marathon 1.7.
    plans = {"deployment_info", "deployment_step_success", "deployment_step_failure"}
    stream = client.event_stream(event_types=sorted(event_models.EventFactory.event_to_class.keys() - plans))
    first = next(stream)
    assert (first.event_type, first.remote_address) == ("event_stream_attached", "127.0.0.1")
    tasks = running(controller, client, instances=1)
    found: dict[str, Any] = {}
    for event in stream:
        found.setdefault(event.event_type, event)
        if event.event_type == "deployment_success":
            break
    assert found["api_post_event"].app_definition["id"] == "/shop/cart"
    assert found["health_status_changed_event"].alive
    assert found["status_update_event"].task_id == tasks[0]
