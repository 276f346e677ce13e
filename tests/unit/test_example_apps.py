"""The definitions in marathon/apps: plain Marathon JSON, accepted by eratos, and true of the sample apps they start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.worker_process import WorkerProcess

from eratos.marathon.app import App
from eratos.marathon.group import Group

FOLDER = Path(__file__).parents[2] / "marathon" / "apps"
APPS = ("prime.json", "hello.json")
PROGRAMS = {"eratos/prime": "prime", "eratos/hello": "hello"}

# Fields of Marathon 1.11, of its RAML types App, GroupUpdate, Container, DockerContainer, Network, PortDefinition,
# AppHealthCheck and UpgradeStrategy, as far as the examples use them. A real Marathon refuses others.
FIELDS = {
    "app": {
        "id", "instances", "cpus", "mem", "container", "networks", "portDefinitions", "requirePorts", "env",
        "healthChecks", "upgradeStrategy", "taskKillGracePeriodSeconds", "labels", "dependencies",
    },
    "group": {"id", "apps", "groups", "dependencies"},
    "container": {"type", "docker"},
    "docker": {"image"},
    "networks": {"mode"},
    "portDefinitions": {"port", "name", "protocol"},
    "healthChecks": {
        "protocol", "path", "portIndex", "gracePeriodSeconds", "intervalSeconds", "timeoutSeconds", "maxConsecutiveFailures",
    },
    "upgradeStrategy": {"minimumHealthCapacity", "maximumOverCapacity"},
}  # fmt: skip


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def apps_below(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert group.keys() <= FIELDS["group"]
    yield from group.get("apps", [])
    for below in group.get("groups", []):
        yield from apps_below(below)


def every_app() -> list[dict[str, Any]]:
    return [*map(read, APPS), *apps_below(read("shop.json"))]


def test_every_example_is_covered_here() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {*APPS, "shop.json"}


@pytest.mark.parametrize("app", every_app(), ids=lambda app: app["id"])
def test_examples_use_fields_of_marathon_alone(app: dict[str, Any]) -> None:
    assert app.keys() <= FIELDS["app"]
    assert app["container"].keys() <= FIELDS["container"]
    assert app["container"]["docker"].keys() <= FIELDS["docker"]
    assert app.get("upgradeStrategy", {}).keys() <= FIELDS["upgradeStrategy"]
    for field in ("networks", "portDefinitions", "healthChecks"):
        assert all(item.keys() <= FIELDS[field] for item in app[field])
    for field in ("env", "labels"):
        assert all(isinstance(value, str) for value in app[field].values())


@pytest.mark.parametrize("name", APPS)
def test_eratos_accepts_the_app(name: str) -> None:
    app = App.parse(read(name))
    assert app.id == read(name)["id"]
    assert App.parse(app.to_json()) == app


def test_eratos_accepts_the_group_and_its_order() -> None:
    apps = {app.id: app for app in Group.parse(read("shop.json")).apps()}
    assert apps.keys() == {"/shop/backend/numbers", "/shop/frontend/pages"}
    assert apps["/shop/frontend/pages"].dependencies == ("/shop/backend",)
    assert apps["/shop/backend/numbers"].dependencies == ()


@pytest.mark.parametrize("app", every_app(), ids=lambda app: app["id"])
def test_sample_app_runs_with_the_settings_and_serves_what_is_routed_to_it(app: dict[str, Any]) -> None:
    program = PROGRAMS[app["container"]["docker"]["image"]]
    with WorkerProcess(program, **app["env"]) as worker:
        for check in app["healthChecks"]:
            assert worker.get(check["path"]).status == 200
        assert worker.get(app["labels"].get("HAPROXY_0_PATH", "/")).status == 200
