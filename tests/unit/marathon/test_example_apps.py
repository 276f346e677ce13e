"""The definitions in marathon/apps: plain Marathon JSON, accepted by eratos, and true of the sample apps they start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.folders import EXAMPLE_APPS, ROOT
from support.worker_process import WorkerProcess

from eratos.common import names
from eratos.marathon import definition, job
from eratos.marathon.group import Group

APPS = ("prime.json", "hello.json")
GROUPS = ("shop.json", "stages.json", "page.json")
BLOG = ROOT / "examples" / "blog"
PROGRAMS = {"eratos/prime": "prime", "eratos/hello": "hello", "eratos/front": "front"}

# Fields of Marathon 1.11, of its RAML types App, GroupUpdate, Container, DockerContainer, Network, PortDefinition,
# AppHealthCheck and UpgradeStrategy, as far as the examples use them, and our own, which a real Marathon leaves alone.
FIELDS = {
    "app": {
        "id", "instances", "cpus", "mem", "container", "networks", "portDefinitions", "requirePorts", "env",
        "healthChecks", "upgradeStrategy", "taskKillGracePeriodSeconds", "labels", "dependencies", "eratos",
    },
    "group": {"id", "apps", "groups", "dependencies"},
    "container": {"type", "docker"},
    "docker": {"image"},
    "networks": {"mode"},
    "portDefinitions": {"port", "name", "protocol", "labels"},
    "healthChecks": {
        "protocol", "path", "portIndex", "gracePeriodSeconds", "intervalSeconds", "timeoutSeconds", "maxConsecutiveFailures",
    },
    "upgradeStrategy": {"minimumHealthCapacity", "maximumOverCapacity"},
}  # fmt: skip


def test_the_node_exporter_is_one_on_each_host():
    raw = json.loads((ROOT / "examples" / "node-exporter" / "app.json").read_text())
    app = definition.parse(raw)
    assert app.per_host and app.ports[0].labels["METRICS"].startswith("/")
    assert f"ops-{app.id.rpartition('/')[2]}" == app.service_names[0]


def test_shippers_follow_the_archive_that_they_require():
    folder = ROOT / "examples" / "logs"
    apps = {app.id: app for app in Group.parse(json.loads((folder / "logs.json").read_text())).apps()}
    wanted = apps["/logs/ship"].eratos.requires["archive"]
    assert apps["/logs/ship"].per_host and wanted.app == "/logs/archive" and wanted.port == apps["/logs/archive"].ports[0].name
    assert definition.parse(json.loads((folder / "hello.json").read_text())).labels == {"ENVIRONMENT": "staging"}


def test_redis_finds_its_primary_by_the_ordinal():
    app = definition.parse(json.loads((ROOT / "examples" / "redis" / "app.json").read_text()))
    assert app.first_alone and app.eratos.requires["primary"].attributes == {names.META_ORDINAL: "^0$"}
    assert {wanted.app for wanted in app.eratos.requires.values()} == {app.id}


@pytest.mark.parametrize("path", ["afternoon/afternoon.json", "deploy-walk/web.json"])
def test_the_walks_app_is_one_that_a_marathon_takes(path: str) -> None:
    raw = json.loads((ROOT / "examples" / path).read_text())
    assert raw.keys() <= FIELDS["app"] - {"eratos"}
    assert definition.parse(raw).id == raw["id"]


def test_the_blog_starts_with_its_database_which_waits_for_nobody() -> None:
    apps = {app.id: app for app in Group.parse(json.loads((BLOG / "blog.json").read_text())).apps()}
    assert {app.id: app.awaited for app in apps.values()} == {
        "/blog/db": (),
        "/blog/replica": ("/blog/db",),
        "/blog/web": ("/blog/db",),
    }
    assert [app.id for app in apps.values() if app.resident] == ["/blog/db", "/blog/replica"]
    # What its scripts and its configuration go by.
    assert {name for app in apps.values() for name in app.eratos.requires} == {"main", "replica", "database"}
    assert apps["/blog/db"].service_names == ("blog-db",)


def test_the_blogs_jobs_know_its_database_and_share_a_folder() -> None:
    backup, restore = map(job.parse, json.loads((BLOG / "jobs.json").read_text()))
    assert (backup.id, restore.id) == ("blog.backup", "blog.restore")
    assert [schedule.id for schedule in backup.schedules] == ["nightly"] and not restore.schedules
    ours = [run.run.volumes[0]["hostPath"] for run in (backup, restore)]
    assert ours[0] == ours[1]


def read(name: str) -> Any:
    return json.loads((EXAMPLE_APPS / name).read_text())


def apps_below(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert group.keys() <= FIELDS["group"]
    yield from group.get("apps", [])
    for below in group.get("groups", []):
        yield from apps_below(below)


def every_app() -> list[dict[str, Any]]:
    return [*map(read, APPS), *(app for name in GROUPS for app in apps_below(read(name)))]


def test_every_example_is_covered_here() -> None:
    assert {path.name for path in EXAMPLE_APPS.glob("*.json")} == {*APPS, *GROUPS}


@pytest.mark.parametrize("app", every_app(), ids=lambda app: app["id"])
def test_examples_use_fields_of_marathon_alone(app: dict[str, Any]) -> None:
    assert app.keys() <= FIELDS["app"]
    assert app["container"].keys() <= FIELDS["container"]
    assert app["container"]["docker"].keys() <= FIELDS["docker"]
    assert app.get("upgradeStrategy", {}).keys() <= FIELDS["upgradeStrategy"]
    for field in ("networks", "portDefinitions", "healthChecks"):
        assert all(item.keys() <= FIELDS[field] for item in app[field])
    for field in ("env", "labels"):
        assert all(isinstance(value, str) for value in app.get(field, {}).values())


@pytest.mark.parametrize("name", APPS)
def test_eratos_accepts_the_app(name: str) -> None:
    app = definition.parse(read(name))
    assert app.id == read(name)["id"]
    assert definition.parse(app.to_json()) == app


def test_eratos_accepts_the_group_in_which_one_app_requires_the_other() -> None:
    apps = {app.id: app for app in Group.parse(read("page.json")).apps()}
    assert apps["/page/front"].awaited == ("/page/source",)


def test_eratos_accepts_the_group_and_its_order() -> None:
    group = Group.parse(read("shop.json"))
    assert {app.id for app in group.apps()} == {"/shop/backend/numbers", "/shop/frontend/pages"}
    assert {one.id: one.dependencies for one in group.all() if one.dependencies} == {"/shop/frontend": ("/shop/backend",)}


def test_the_stages_of_an_app_are_told_apart_by_tag_and_by_host_name() -> None:
    apps = list(Group.parse(read("stages.json")).apps())
    assert {app.labels["CONSUL_TAGS"] for app in apps} == {"dev", "staging", "prod"}
    assert len({app.labels["HAPROXY_0_VHOST"] for app in apps}) == len(apps) == 3


@pytest.mark.parametrize("app", every_app(), ids=lambda app: app["id"])
def test_sample_app_runs_with_the_settings_and_serves_what_is_routed_to_it(app: dict[str, Any]) -> None:
    program = PROGRAMS[app["container"]["docker"]["image"]]
    required = {name: WorkerProcess("hello") for name in app.get("eratos", {}).get("requires", ())}
    told = {f"REQUIRE_{name.upper()}": f"127.0.0.1:{worker.port}" for name, worker in required.items()}
    with ExitStack() as running:
        for provider in required.values():
            running.enter_context(provider)
        worker = running.enter_context(WorkerProcess(program, **app.get("env", {}), **told))
        for check in app["healthChecks"]:
            assert worker.get(check["path"]).status == 200
        assert worker.get(app.get("labels", {}).get("HAPROXY_0_PATH", "/")).status == 200
