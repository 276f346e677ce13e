"""Blocking queries to a real Consul: what its filters choose, when its answers come, and keys."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from support.containers import run_container
from support.executor import TASK, Events
from support.waiting import until

from eratos.common.payload import Requirement
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.io_thread import IoThread
from eratos.executor.requirements.watch import ConsulQueries, RequirementWatch


@pytest.fixture(scope="module")
def consul() -> Iterator[str]:
    options = ["--entrypoint", "consul"]
    with run_container("eratos/consul", "agent", "-dev", "-client", "0.0.0.0", ports=[8500], options=options) as container:
        url = f"http://127.0.0.1:{container.ports[8500]}"
        until(lambda: _leads(url), 30, "Consul leads")
        yield url


def _leads(url: str) -> bool:
    try:
        return bool(call(url, "GET", "/v1/status/leader"))
    except (OSError, ValueError):
        return False


def call(url: str, method: str, path: str, body: Any = None) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url + path, data, method=method), timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def register(url: str, service_id: str, *, tags: list[str] | None = None, status: str = "passing", **meta: str) -> None:
    body = {"ID": service_id, "Name": "db", "Port": 3306, "Address": "10.0.0.1", "Tags": tags or [], "Meta": meta}
    body["Check"] = {"CheckID": f"{service_id}-check", "TTL": "600s", "Status": status}
    call(url, "PUT", "/v1/agent/service/register", body)


class Rig:
    def __init__(self, io: IoThread, url: str) -> None:
        self.url = url
        self.events = Events()
        self.watch = RequirementWatch(io, ConsulQueries(url), self.events.emit)

    def follow(self, **fields: Any) -> None:
        self.watch.perform(do.Follow(TASK, (Requirement("db", "REQUIRE_DB", **fields),)))

    def until_found(self, *servers: str) -> None:
        while set(self.events.until(on.RequirementFound).found.servers) != set(servers):
            pass


@pytest.fixture
def rig(consul: str) -> Iterator[Rig]:
    io = IoThread()
    io.start()
    yield Rig(io, consul)
    io.stop()
    for service in call(consul, "GET", "/v1/agent/services"):
        call(consul, "PUT", f"/v1/agent/service/deregister/{service}")


def test_instances_come_fail_and_go(rig: Rig) -> None:
    rig.follow(services=("db",))
    rig.until_found()
    register(rig.url, "a")
    rig.until_found("a")
    register(rig.url, "b", status="critical")
    call(rig.url, "PUT", "/v1/agent/check/pass/b-check")
    rig.until_found("a", "b")
    call(rig.url, "PUT", "/v1/agent/check/fail/a-check")
    rig.until_found("b")
    call(rig.url, "PUT", "/v1/agent/service/deregister/b")
    rig.until_found()


def test_tags_and_attributes_choose(rig: Rig) -> None:
    register(rig.url, "main", tags=["main", 'odd"tag'], zone="us-1a")
    register(rig.url, "replica", tags=["replica"], zone="us-1b")
    register(rig.url, "bare", tags=["main"])
    rig.follow(services=("db",), tags=("main", 'odd"tag'), attributes={"zone": r"^us-.*a$"})
    rig.until_found("main")


@pytest.mark.parametrize(("like", "servers"), [(r"^us-\d[ab]$", {"a", "b"}), ("1b", {"b"}), ('"', set()), ("", {"a", "b"})])
def test_attributes_are_expressions_and_who_lacks_one_does_not_match(rig: Rig, like: str, servers: set[str]) -> None:
    register(rig.url, "a", zone="us-1a")
    register(rig.url, "b", zone="us-1b")
    register(rig.url, "c")
    rig.follow(services=("db",), attributes={"zone": like})
    rig.until_found(*servers)


def test_a_key_comes_changes_and_goes(rig: Rig) -> None:
    rig.follow(key="shop/limits")
    assert rig.events.until(on.RequirementFound).found.value is None
    for value in ("10", "größer\n", ""):
        call(rig.url, "PUT", "/v1/kv/shop/limits", value.encode())
        assert rig.events.until(on.RequirementFound).found.value == value
    call(rig.url, "DELETE", "/v1/kv/shop/limits")
    assert rig.events.until(on.RequirementFound).found.value is None


def test_a_data_center_that_is_none_is_asked_for_again_and_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.follow(services=("db",), datacenter="nowhere")
    until(lambda: "nowhere" in caplog.text or "No path to datacenter" in caplog.text, 20, "it is said")
    assert not rig.events.seen
