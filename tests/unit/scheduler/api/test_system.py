"""What a scheduler says of itself, and the manners of every answer: contract tests written from Marathon 1.11's RAML."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.api import ApiClient, an_api
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController
from support.waiting import until

from eratos.common.resources import Resources
from eratos.scheduler import about
from eratos.scheduler.api.accept import preferred
from eratos.scheduler.config import Config, read
from eratos.scheduler.core.events import PutApps, PutJob, StartRun
from eratos.scheduler.process import Process, core_settings

#: Prometheus 2.42's and go-marathon's.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,"
    "*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("header", "offered", "expected"),
    [
        (None, ("a/b", "a/c"), "a/b"),
        ("", ("a/b", "a/c"), "a/b"),
        ("*/*", ("a/b", "a/c"), "a/b"),
        ("a/c", ("a/b", "a/c"), "a/c"),
        ("A/C ; Q=0.5", ("a/b", "a/c"), "a/c"),
        ("a/c;q=0.5, a/b;q=0.4", ("a/b", "a/c"), "a/c"),
        ("a/*;q=0.5, a/c;q=0.1", ("a/c", "a/b"), "a/b"),
        ("*/*;q=0.1, a/c", ("a/b", "a/c"), "a/c"),
        ("a/b;q=0, */*", ("a/b", "a/c"), "a/c"),
        ("a/b;q=0", ("a/b",), None),
        ("a/b;q=nonsense", ("a/b",), None),
        ("x/y", ("a/b", "a/c"), None),
        (PROMETHEUS, ("application/json", "text/plain"), "text/plain"),
        (",,;", ("a/b",), None),
    ],
)
def test_the_form_a_client_likes_best(header: str | None, offered: tuple[str, ...], expected: str | None) -> None:
    assert preferred(header, offered) == expected


@pytest.mark.parametrize(
    ("accept", "status", "kind", "body"),
    [
        ("*/*", 200, "text/plain; charset=utf-8", b"pong"),
        ("text/*", 200, "text/plain; charset=utf-8", b"pong"),
        ("text/html", 200, "text/html; charset=utf-8", b"pong"),
        ("application/json", 200, "application/json", b'"pong"'),
        ("image/png", 204, None, b""),
    ],
)
def test_a_ping_is_answered_as_the_client_likes(api: ApiClient, accept: str, status: int, kind: str | None, body: bytes) -> None:
    answer = api.get("/ping", headers={"Accept": accept})
    assert (answer.status_code, answer.headers.get("content-type"), answer.content) == (status, kind, body)


# Leader


def test_the_leader_is_named_by_host_and_port(api: ApiClient) -> None:
    assert api.get("/v2/leader").json() == {"leader": "leader.test:8080"}


def test_without_a_leader_nobody_is_named() -> None:
    answer = ApiClient(an_api(FakeController(leader=None))).get("/v2/leader")
    assert (answer.status_code, answer.json()) == (404, {"message": "There is no leader"})


def test_the_leader_abdicates_on_request(api: ApiClient, controller: FakeController) -> None:
    answer = api.delete("/v2/leader")
    assert (answer.status_code, answer.json()) == (200, {"message": "Leadership abdicated"})
    assert controller.abdicated


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_backups_are_the_command_lines(api: ApiClient, controller: FakeController, name: str) -> None:
    answer = api.delete(f"/v2/leader?{name}=file:///tmp/x")
    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == f"/{name}"
    assert not controller.abdicated


# Info, settings, plugins

CONFIG_FIELDS = {
    *("access_control_allow_origin", "checkpoint", "decline_offer_duration", "default_network_name", "env_vars_prefix"),
    *("executor", "failover_timeout", "features", "framework_name", "ha", "hostname", "launch_token"),
    *("launch_token_refresh_interval", "leader_proxy_connection_timeout_ms", "leader_proxy_read_timeout_ms", "local_port_max"),
    *("local_port_min", "maintenance_mode", "master", "max_instances_per_offer", "mesos_bridge_name"),
    *("mesos_heartbeat_failure_threshold", "mesos_heartbeat_interval", "mesos_leader_ui_url", "mesos_role", "mesos_user"),
    *("min_revive_offers_interval", "new_group_enforce_role", "offer_matching_timeout", "on_elected_prepare_timeout"),
    *("reconciliation_initial_delay", "reconciliation_interval", "scale_apps_initial_delay", "scale_apps_interval"),
    *("store_cache", "task_launch_confirm_timeout", "task_launch_timeout", "task_lost_expunge_initial_delay"),
    *("task_lost_expunge_interval", "task_reservation_timeout", "webui_url"),
}
ZOOKEEPER_FIELDS = {
    *("zk", "zk_compression", "zk_compression_threshold", "zk_connection_timeout", "zk_max_node_size", "zk_max_versions"),
    *("zk_session_timeout", "zk_timeout"),
}
REQUIRED = ("zk", "zk_connection_timeout", "zk_max_versions", "zk_session_timeout", "zk_timeout")


def config(**settings: str) -> Config:
    given = {"master": "zk://user:hush@zk1:2181/mesos", "zk": "zk://user:hush@zk1:2181/eratos", "http_host": "127.0.0.1"}
    given["zk_clear"] = "true"
    flags = [word for name, value in (given | settings).items() for word in (f"--{name.replace('_', '-')}", value)]
    return read(flags, {}).config


def test_info_has_marathons_fields_and_no_others() -> None:
    made = config()
    standing = about.Standing(True, "http://s1:8080", "f-1", "m1:5050")
    shown = about.info(made, core_settings(made, "", Resources()), standing)
    assert set(shown) == {
        *("name", "version", "buildref", "elected", "leader", "frameworkId", "marathon_config", "zookeeper_config", "http_config")
    }
    assert set(shown["marathon_config"]) == CONFIG_FIELDS
    assert set(shown["zookeeper_config"]) == ZOOKEEPER_FIELDS
    assert set(shown["http_config"]) == {"http_port", "https_port"}
    assert (shown["elected"], shown["leader"], shown["frameworkId"]) == (True, "s1:8080", "f-1")
    assert shown["marathon_config"]["mesos_leader_ui_url"] == "http://m1:5050/"
    assert shown["marathon_config"]["failover_timeout"] == 604800
    assert shown["marathon_config"]["task_launch_timeout"] == 1_800_000
    assert all(shown["zookeeper_config"][field] is not None for field in REQUIRED)
    assert "hush" not in str(shown)


def test_the_settings_are_shown_without_secrets(tmp_path: Any) -> None:
    shown = about.settings(config(http_credentials="root:hush"))["eratos"]
    assert "hush" not in str(shown)
    assert "http_credentials" not in shown
    assert (shown["zk"], shown["http_port"]) == ("zk://zk1:2181/eratos", 8080)
    assert Process(config()).settings() == about.settings(config())


def test_there_are_no_plugins(api: ApiClient) -> None:
    assert api.get("/v2/plugins").json() == {"plugins": []}
    assert api.get("/config").json() == {"eratos": {"http_port": 8080}}


# Logging


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("eratos.test.levels")
    yield made
    made.setLevel(logging.NOTSET)


def test_levels_of_the_log_are_shown_and_changed(api: ApiClient, logger: logging.Logger) -> None:
    shown = api.get("/logging").json()
    assert shown["ROOT"] in ("DEBUG", "INFO", "WARN", "ERROR")
    assert shown[logger.name].endswith(" (inherited)")
    change = {"logger": logger.name, "level": "error"}
    answer = api.post("/logging", json=change)
    assert (answer.status_code, answer.json()) == (200, change)
    assert api.get("/logging").json()[logger.name] == "ERROR"


def test_a_level_with_a_duration_goes_back(api: ApiClient, logger: logging.Logger) -> None:
    logger.setLevel(logging.WARNING)
    api.post("/logging", json={"logger": logger.name, "level": "error", "durationSeconds": 3600})
    api.post("/logging", json={"logger": logger.name, "level": "debug", "durationSeconds": 1})
    assert logger.level == logging.DEBUG
    until(lambda: logger.level == logging.WARNING, 10, "the level before the first change is back")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "/"),
        ({"logger": "eratos"}, "/level"),
        ({"logger": "eratos", "level": "loud"}, "/level"),
        ({"logger": "eratos", "level": 3}, "/level"),
        ({"level": "info"}, "/logger"),
        ({"logger": "", "level": "info"}, "/logger"),
        ({"logger": "eratos.scheduler.lop", "level": "info"}, "/logger"),  # nothing would ever come of it
        # What libraries say at DEBUG may hold secrets.
        ({"logger": "kazoo.client", "level": "debug"}, "/logger"),
        ({"logger": "ROOT", "level": "debug"}, "/logger"),
        ({"logger": "eratos", "level": "info", "durationSeconds": 0}, "/durationSeconds"),
        ({"logger": "eratos", "level": "info", "durationSeconds": True}, "/durationSeconds"),
        ({"logger": "eratos", "level": "info", "durationSeconds": 2**31}, "/durationSeconds"),
        ({"logger": "eratos.x", "level": "info", "seconds": 5}, "/seconds"),
    ],
)
def test_a_change_of_the_log_is_checked(api: ApiClient, body: Any, path: str) -> None:
    answer = api.post("/logging", json=body)
    assert answer.status_code == 422
    assert [detail["path"] for detail in answer.json()["details"]] == [path]


# Metrics


def test_metrics_are_marathons_json_unless_text_is_asked_for(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    for accept in ("*/*", "application/json", "image/png"):
        shown = api.get("/metrics", headers={"Accept": accept}).json()
        assert set(shown) == {"version", "gauges", "counters", "histograms", "meters", "timers"}
        assert shown["gauges"]["eratos_apps"] == {"value": 1.0}
        assert set(shown["counters"]["process_cpu_seconds_total"]) == {"count"}


@pytest.mark.parametrize("path", ["/metrics", "/metrics/prometheus"])
@pytest.mark.parametrize("accept", [PROMETHEUS, "text/plain"])
def test_prometheus_gets_its_own_form(api: ApiClient, path: str, accept: str) -> None:
    answer = api.get(path, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "eratos_leader" in {family.name for family in text_string_to_metric_families(answer.text)}


def test_what_waits_is_counted_by_app_and_reason(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/huge", 2, cpus=640), an_app("/small", 1))))
    controller.submit(PutJob(a_job("shop.backup", cpus=640), create_only=True))
    for _ in range(2):
        controller.submit(StartRun("shop.backup"))

    def waits() -> list[str]:
        return [
            line for line in api.get("/metrics/prometheus").text.splitlines() if line.startswith("eratos_app_instances_waiting{")
        ]

    name = "eratos_app_instances_waiting"
    controller.launch(an_offer())
    assert waits() == [
        f'{name}{{app="/huge",reason="NoFittingOffer"}} 2.0',
        f'{name}{{app="/shop/backup",reason="NoFittingOffer"}} 2.0',
    ]


def test_how_tasks_of_an_app_fare_is_counted_by_app(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a", 1),)))
    lives = controller.machine.state.lives_of("/a")
    assert lives is not None
    lives.restarts = 2
    lives.drain.add(1.5)
    text = api.get("/metrics/prometheus").text
    assert [
        line for line in text.splitlines() if line.startswith("eratos_app_") and "/a" in line and "instances" not in line
    ] == [
        'eratos_app_restarts_total{app="/a"} 2.0',
        'eratos_app_start_seconds_count{app="/a"} 0.0',
        'eratos_app_start_seconds_sum{app="/a"} 0.0',
        'eratos_app_ready_seconds_count{app="/a"} 0.0',
        'eratos_app_ready_seconds_sum{app="/a"} 0.0',
        'eratos_app_drain_seconds_count{app="/a"} 1.0',
        'eratos_app_drain_seconds_sum{app="/a"} 1.5',
    ]


def test_the_prometheus_address_knows_no_other_form(api: ApiClient) -> None:
    assert api.get("/metrics/prometheus", headers={"Accept": "application/json"}).text.startswith("# HELP")


# Manners


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/ping"), ("GET", "/v2/apps"), ("GET", "/v2/nosuch"), ("PUT", "/v2/info"), ("POST", "/v2/apps")]
)
def test_no_answer_may_be_kept(api: ApiClient, method: str, path: str) -> None:
    headers = api.request(method, path).headers
    assert headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert (headers["pragma"], headers["expires"], headers["x-frame-options"]) == ("no-cache", "0", "DENY")


def test_a_refusal_of_the_gate_may_not_be_kept_either(api: ApiClient) -> None:
    answer = api.get("/v2/apps", headers={"Host": "evil.example"})
    assert answer.status_code != 200
    assert answer.headers["cache-control"].startswith("no-cache")


def test_large_answers_are_compressed_for_who_takes_that(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps(tuple(an_app(f"/a{number}") for number in range(20))))
    controller.launch(an_offer())
    with api.stream("GET", "/v2/apps", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert (answer.headers["content-encoding"], int(answer.headers["content-length"])) == ("gzip", len(packed))
    plain = api.get("/v2/apps", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < len(plain.content) / 5
    assert "Accept-Encoding" in answer.headers["vary"]
