"""The app definition: what is read, what it becomes, what is refused, and how problems are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eratos.common.resources import Resources
from eratos.executor.core.parameters import _PARAMETERS
from eratos.marathon.app import App, AppPort, Constraint
from eratos.marathon.errors import InvalidApp
from eratos.marathon.rules import DOCKER_PARAMETERS

DOCKER = {"docker": {"image": "shop/cart:1"}}


def parse(**fields: Any) -> App:
    return App.parse({"id": "/shop/cart", "container": DOCKER} | fields)


def with_volume(**fields: Any) -> dict[str, Any]:
    return DOCKER | {"volumes": [{"containerPath": "/a"} | fields]}


def problems(**fields: Any) -> dict[str, str]:
    """Return the problems of a definition by path; there must be some."""
    with pytest.raises(InvalidApp) as invalid:
        parse(**fields)
    found: dict[str, str] = {}
    for problem in invalid.value.problems:
        found[problem.path] = f"{found.get(problem.path, '')} {problem.message}".strip()
    return found


# What is read


def test_a_minimal_app_has_marathons_defaults() -> None:
    app = parse()
    assert app.resources == Resources(cpus_m=1000, mem_mib=128, disk_mib=0)
    assert (app.instances, app.network, app.image, app.command_args) == (1, "host", "shop/cart:1", None)
    assert app.ports == (AppPort(0, 0, "tcp", "default", {}, 0),)
    assert (app.backoff_seconds, app.backoff_factor, app.max_launch_delay_seconds) == (1, 1.15, 300)
    assert (app.upgrade_strategy.minimum_health_capacity, app.upgrade_strategy.maximum_over_capacity) == (1, 1)
    assert app.unreachable_strategy is not None
    assert (app.unreachable_strategy.inactive_after_seconds, app.unreachable_strategy.expunge_after_seconds) == (0, 0)
    assert (app.kill_selection, app.task_kill_grace_period_seconds, app.version) == ("YOUNGEST_FIRST", None, "")


def test_a_health_check_has_marathons_defaults() -> None:
    (check,) = parse(healthChecks=[{}]).health_checks
    assert (check.protocol, check.port_index, check.port, check.path) == ("http", 0, None, None)
    assert (check.grace_period_seconds, check.interval_seconds, check.timeout_seconds) == (300, 60, 20)
    assert check.max_consecutive_failures == 3


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTP", "http"),
        ("MESOS_HTTP", "http"),
        ("HTTPS", "https"),
        ("MESOS_HTTPS", "https"),
        ("TCP", "tcp"),
        ("MESOS_TCP", "tcp"),
    ],
)
def test_marathons_and_mesos_health_checks_mean_the_same_and_read_back_as_written(written: str, meant: str) -> None:
    app = parse(healthChecks=[{"protocol": written}])
    assert app.health_checks[0].protocol == meant
    assert app.to_json()["healthChecks"][0]["protocol"] == written


def test_resources_become_whole_numbers_rounded_up() -> None:
    assert parse(cpus=0.1, mem=32.5, disk=0.2).resources == Resources(cpus_m=100, mem_mib=33, disk_mib=1)
    assert parse(cpus=0.001, mem=6).resources == Resources(cpus_m=1, mem_mib=6)


def test_a_command_runs_in_a_shell_and_arguments_as_they_are() -> None:
    assert parse(cmd="serve $PORT0").command_args == ("/bin/sh", "-c", "serve $PORT0")
    assert parse(args=["serve", "-v"]).command_args == ("serve", "-v")


@pytest.mark.parametrize("command", [{"cmd": "serve $PORT"}, {"args": ["serve", "-v"]}])
def test_an_app_without_a_container_is_a_process_with_host_networking(command: dict[str, Any]) -> None:
    app = App.parse({"id": "/clock"} | command)
    assert (app.image, app.network, [port.name for port in app.ports]) == ("", "host", ["default"])
    assert "container" not in app.to_json()
    assert App.parse(app.to_json()) == app


def test_a_process_is_refused_what_only_a_container_can_do() -> None:
    assert set(problems(container=None, cmd="x", networks=[{"mode": "container/bridge"}])) == {"/networks"}
    assert set(problems(container=None, cmd="x", resourceLimits={"cpus": 2})) == {"/resourceLimits/cpus"}


def test_constraints_are_read_whatever_the_case_of_their_operator() -> None:
    app = parse(constraints=[["hostname", "unique"], ["rack", "GROUP_BY", "3"], ["@zone", "IS", "a"], ["x", "UNIQUE", ""]])
    assert app.constraints == (
        Constraint("hostname", "UNIQUE"),
        Constraint("rack", "GROUP_BY", "3"),
        Constraint("@zone", "IS", "a"),
        Constraint("x", "UNIQUE"),
    )
    assert app.to_json()["constraints"][:2] == [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "3"]]


def test_host_ports_are_fixed_only_with_require_ports() -> None:
    definitions = [{"port": 8080, "name": "http"}, {"port": 0, "name": "admin"}]
    assert [port.host_port for port in parse(portDefinitions=definitions).ports] == [0, 0]
    assert [port.host_port for port in parse(portDefinitions=definitions, requirePorts=True).ports] == [8080, 0]


def test_bridged_ports_come_from_the_mappings() -> None:
    container = DOCKER | {
        "portMappings": [{"containerPort": 80, "hostPort": 31000, "servicePort": 10000, "name": "web", "protocol": "udp,tcp"}]
    }
    app = parse(container=container, networks=[{"mode": "container/bridge"}], requirePorts=True)
    assert app.network == "bridge"
    assert app.ports == (AppPort(31000, 80, "udp,tcp", "web", {}, 10000),)
    assert "portDefinitions" not in app.to_json()


def test_an_app_without_ports_says_so_with_an_empty_list() -> None:
    assert parse(portDefinitions=[]).ports == ()
    assert parse(container=DOCKER | {"portMappings": []}, networks=[{"mode": "container/bridge"}]).ports == ()


def test_volumes_are_host_paths_or_docker_volumes() -> None:
    local = {"name": "carts", "provider": "dvdi", "options": {"dvdi/driver": "local"}}
    volumes = [
        {"containerPath": "/a", "hostPath": "/srv/a", "mode": "RO"},
        {"containerPath": "/b", "external": local, "mode": "RW"},
    ]
    a, b = parse(container=DOCKER | {"volumes": volumes}).container.volumes
    assert (a.source, a.named, a.read_only) == ("/srv/a", False, True)
    assert (b.source, b.named, b.read_only) == ("carts", True, False)


def test_disabled_unreachable_strategy_waits_without_end() -> None:
    app = parse(unreachableStrategy="disabled")
    assert app.unreachable_strategy is None
    assert app.to_json()["unreachableStrategy"] == "disabled"


def test_a_cpu_limit_is_a_number_or_unlimited() -> None:
    assert parse().cpus_limit_m == 0
    assert parse(resourceLimits={"cpus": "unlimited"}).cpus_limit_m == 0
    assert parse(resourceLimits={"cpus": 1.5}).cpus_limit_m == 1500
    assert "/resourceLimits/cpus" in problems(resourceLimits={"cpus": 0.5})


def test_a_single_instance_app_stops_before_it_starts() -> None:
    label = {"MARATHON_SINGLE_INSTANCE_APP": "true"}
    app = parse(labels=label)
    assert (app.upgrade_strategy.minimum_health_capacity, app.upgrade_strategy.maximum_over_capacity) == (0, 0)
    assert app.single_instance
    assert {"/instances", "/upgradeStrategy"} == set(
        problems(labels=label, instances=2, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0})
    )


# Ids


@pytest.mark.parametrize(
    ("written", "base", "absolute"),
    [
        ("/shop/cart", "/", "/shop/cart"),
        ("cart", "/shop", "/shop/cart"),
        ("cart", "/", "/cart"),
        ("../cart", "/shop/data", "/shop/cart"),
        ("/a/../b", "/", "/b"),
        ("/a.b/c-d.9", "/", "/a.b/c-d.9"),
        ("/shop/cart/", "/", "/shop/cart"),
    ],
)
def test_ids_are_resolved_below_their_group(written: str, base: str, absolute: str) -> None:
    assert App.parse({"id": written, "container": DOCKER}, base).id == absolute


@pytest.mark.parametrize(
    "written", ["", "/", "/Shop", "/shop_cart", "/-shop", "/shop-", "/a b", "/a..b", "..", "/" + "a" * 300, 5]
)
def test_other_ids_are_refused(written: Any) -> None:
    assert "/id" in problems(id=written)


def test_dependencies_are_resolved_below_the_group_too() -> None:
    app = App.parse({"id": "cart", "container": DOCKER, "dependencies": ["db", "/auth"]}, "/shop")
    assert app.dependencies == ("/shop/db", "/auth")
    assert "/dependencies(0)" in problems(dependencies=["/shop/cart"])


# Legacy forms


def test_ports_become_port_definitions() -> None:
    assert parse(ports=[0, 8080]).to_json()["portDefinitions"] == [
        {"port": 0, "protocol": "tcp", "labels": {}},
        {"port": 8080, "protocol": "tcp", "labels": {}},
    ]
    assert parse(ports=[80], portDefinitions=[{"port": 80, "name": "web"}]).ports[0].name == "web"
    assert "/ports" in problems(ports=[80], portDefinitions=[{"port": 81}])
    assert "/ports(0)" in problems(ports=["80"])


def test_docker_networks_and_mappings_move_to_their_new_places() -> None:
    container = {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}
    app = parse(container=container)
    shown = app.to_json()
    assert shown["networks"] == [{"mode": "container/bridge"}]
    assert shown["container"]["portMappings"][0]["containerPort"] == 80
    assert parse(container={"docker": {"image": "x", "network": "HOST"}}).network == "host"
    assert "/container/docker/network" in problems(container={"docker": {"image": "x", "network": "NONE"}})
    assert "/container/docker/network" in problems(container=container, networks=[{"mode": "host"}])


def test_service_ports_beside_mappings_as_marathon_1_4_shows_them_are_one_port_each() -> None:
    container = {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}
    app = parse(container=container, ports=[10001, 10002], portDefinitions=[{"port": 10001}, {"port": 10002}])
    assert [port.container_port for port in app.ports] == [80, 0]


# What Marathon shows


def test_what_is_written_reads_back_equal() -> None:
    app = parse(
        cmd="serve",
        env={"A": "1"},
        user="nobody",
        instances=3,
        constraints=[["rack", "MAX_PER", "2"]],
        healthChecks=[{"path": "/h"}, {"protocol": "COMMAND", "command": {"value": "true"}}],
        labels={"HAPROXY_0_VHOST": "shop.example"},
        unreachableStrategy={"inactiveAfterSeconds": 60, "expungeAfterSeconds": 600},
        upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2},
        resourceLimits={"cpus": 2},
        taskKillGracePeriodSeconds=30,
        killSelection="OLDEST_FIRST",
        acceptedResourceRoles=["*"],
        dependencies=["/db"],
    ).with_version("2026-01-31T12:00:00.123Z")
    shown = json.loads(json.dumps(app.to_json()))
    assert App.restore(shown) == app
    assert App.parse(shown) == app.with_version("")


def test_what_marathon_adds_to_a_shown_app_is_accepted_and_dropped() -> None:
    shown = parse().to_json() | {
        "tasksRunning": 1,
        "tasksStaged": 0,
        "tasksHealthy": 1,
        "tasksUnhealthy": 0,
        "deployments": [],
        "tasks": [{"id": "x"}],
        "lastTaskFailure": {"message": "x"},
        "version": "2026-01-31T12:00:00.123Z",
        "versionInfo": {"lastScalingAt": "x"},
        "executor": "",
        "user": None,
        "ipAddress": None,
        "residency": None,
        "uris": [],
        "fetch": [],
        "storeUrls": [],
        "readinessChecks": [],
        "secrets": {},
        "gpus": 0,
        "ports": [0],
        "tty": False,
    }
    shown["healthChecks"] = [{"protocol": "HTTP", "delaySeconds": 15, "ipProtocol": "IPv4", "ignoreHttp1xx": False}]
    assert App.parse(shown) == parse(healthChecks=[{"protocol": "HTTP"}])


def test_readiness_checks_have_marathons_defaults_and_read_back() -> None:
    app = parse(healthChecks=[{}], readinessChecks=[{"portName": "default"}])
    (check,) = app.readiness_checks
    assert (check.name, check.protocol, check.path) == ("readinessCheck", "HTTP", "/")
    assert (check.interval_seconds, check.timeout_seconds) == (30, 10)
    assert (check.http_status_codes_for_ready, check.preserve_last_response) == ((200,), False)
    assert App.parse(app.to_json()) == app


def test_files_to_fetch_are_named_after_their_uri_and_the_older_uris_mean_the_same() -> None:
    uris = ["http://x/a%20b.tgz?token=1", "file:///etc/motd", "/srv/c"]
    app = parse(uris=uris)
    assert [file.path for file in app.fetch] == ["a b.tgz", "motd", "c"]
    assert all(file.extract and not file.executable for file in app.fetch)
    assert app == parse(fetch=[{"uri": uri, "cache": False} for uri in uris])
    assert app == App.parse(app.to_json() | {"uris": uris})
    assert parse(fetch=[{"uri": "http://x/a", "destPath": "in/b"}]).fetch[0].path == "in/b"


def test_scaling_is_no_other_definition_and_anything_else_is() -> None:
    app = parse(env={"A": "1"})
    assert app.same_definition(app.with_instances(9).with_version("2026-01-31T12:00:00.123Z"))
    assert not app.same_definition(parse(env={"A": "2"}))


def test_the_input_is_left_as_it_was() -> None:
    given = {"id": "/a", "ports": [0], "container": {"docker": {"image": "x", "network": "BRIDGE"}}, "env": {"A": "1"}}
    before = json.dumps(given)
    App.parse(given)
    assert json.dumps(given) == before


# What is refused


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"residency": {"taskLostBehavior": "WAIT_FOREVER"}}, "/residency"),
        ({"gpus": 1}, "/gpus"),
        ({"secrets": {"s": {"source": "x"}}}, "/secrets"),
        ({"env": {"PASSWORD": {"secret": "s"}}}, "/env/PASSWORD"),
        ({"fetch": [{"uri": "http://x/y", "cache": True}]}, "/fetch(0)/cache"),
        ({"fetch": [{"uri": "hdfs://x/y"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/y", "destPath": "../y"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/y", "destPath": "/y"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/y"}, {"uri": "http://z/y"}]}, "/fetch(1)"),
        ({"fetch": [{"uri": "http://x/y"}], "uris": ["http://x/z"]}, "/uris"),
        ({"uris": "http://x/y"}, "/uris"),
        ({"check": {"exec": {"command": {"shell": "true"}}}}, "/check"),
        ({"readinessChecks": [{}], "healthChecks": [{}]}, "/readinessChecks(0)/portName"),
        ({"readinessChecks": [{"portName": "default", "protocol": "TCP"}], "healthChecks": [{}]}, "/readinessChecks(0)/protocol"),
        ({"executor": "/opt/mine"}, "/executor"),
        ({"executorResources": {"cpus": 1}}, "/executorResources"),
        ({"ipAddress": {"networkName": "x"}}, "/ipAddress"),
        ({"networks": [{"mode": "container", "name": "x"}]}, "/networks(0)/mode"),
        ({"networks": [{"name": "x"}]}, "/networks(0)/mode"),
        ({"networks": [{"mode": "host"}, {"mode": "host"}]}, "/networks"),
        ({"networks": [{"mode": "container/bridge", "labels": {"a": "b"}}]}, "/networks(0)/labels"),
        ({"tty": True}, "/tty"),
        ({"resourceLimits": {"mem": 512}}, "/resourceLimits/mem"),
        ({"container": DOCKER | {"type": "MESOS"}}, "/container/type"),
        ({"container": DOCKER | {"linuxInfo": {"seccomp": {}}}}, "/container/linuxInfo"),
        ({"container": {"docker": {"image": "x", "pullConfig": {"secret": "s"}}}}, "/container/docker/pullConfig"),
        ({"container": {"docker": {"image": "x", "credential": {"principal": "p"}}}}, "/container/docker/credential"),
        (
            {"container": DOCKER | {"volumes": [{"containerPath": "a", "persistent": {"size": 1}, "mode": "RW"}]}},
            "/container/volumes(0)/persistent",
        ),
        ({"container": DOCKER | {"volumes": [{"containerPath": "a", "secret": "s"}]}}, "/container/volumes(0)/secret"),
        ({"healthChecks": [{"ipProtocol": "IPv6"}]}, "/healthChecks(0)/ipProtocol"),
        ({"healthChecks": [{"delaySeconds": 40}]}, "/healthChecks(0)/delaySeconds"),
        ({"healthChecks": [{"ignoreHttp1xx": True}]}, "/healthChecks(0)/ignoreHttp1xx"),
        (
            {"container": {"docker": {"image": "x", "parameters": [{"key": "network", "value": "y"}]}}},
            "/container/docker/parameters(0)/key",
        ),
    ],
)
def test_what_eratos_cannot_do_is_refused_with_a_reason(fields: dict[str, Any], path: str) -> None:
    found = problems(**fields)
    assert set(found) == {path}
    assert len(found[path]) > 25, "the reason is a sentence"


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"cpu": 1}, "/cpu", "did you mean cpus?"),
        ({"healthchecks": []}, "/healthchecks", "did you mean healthChecks?"),
        ({"nonsense": 1}, "/nonsense", "remove it"),
        ({"cpus": 0}, "/cpus", "at least 0.001"),
        ({"cpus": "1"}, "/cpus", "must be a number, not '1'"),
        ({"mem": 4}, "/mem", "at least 6"),
        ({"instances": 1.5}, "/instances", "whole number"),
        ({"instances": True}, "/instances", "whole number"),
        ({"instances": -1}, "/instances", "at least 0"),
        ({"env": {"A": 1}}, "/env/A", "quotes"),
        ({"env": ["A"]}, "/env", "must be an object"),
        ({"cmd": "a", "args": ["b"]}, "/args", "one of the two"),
        ({"cmd": ""}, "/cmd", "empty"),
        ({"container": None}, "/container", "Docker"),
        ({"container": {"docker": {}}}, "/container/docker/image", "missing"),
        ({"container": {"type": "DOCKER"}, "cmd": "x"}, "/container/docker", "leave container out"),
        ({"container": {"type": "MESOS"}, "cmd": "x"}, "/container/type", "leave container out"),
        ({"container": {"docker": {"image": "a b"}}}, "/container/docker/image", "a b"),
        ({"killSelection": "ANY"}, "/killSelection", "OLDEST_FIRST"),
        ({"backoffFactor": 0.5}, "/backoffFactor", "at least 1"),
        ({"upgradeStrategy": {"minimumHealthCapacity": 2}}, "/upgradeStrategy/minimumHealthCapacity", "at most 1"),
        ({"unreachableStrategy": {"inactiveAfterSeconds": 9}}, "/unreachableStrategy", "must not be more"),
        ({"unreachableStrategy": "never"}, "/unreachableStrategy", "disabled"),
        ({"constraints": [["hostname"]]}, "/constraints(0)", "2 or 3"),
        ({"constraints": [["hostname", "LIKE", "("]]}, "/constraints(0)", "regular expression"),
        ({"constraints": [["hostname", "NEAR"]]}, "/constraints(0)", "GROUP_BY"),
        ({"constraints": [["a", "UNIQUE"], ["a", "UNIQUE"]]}, "/constraints(1)", "twice"),
        ({"portDefinitions": [{"port": 70000}]}, "/portDefinitions(0)/port", "at most 65535"),
        ({"portDefinitions": [{"name": "a"}, {"name": "a"}]}, "/portDefinitions", "2 times"),
        ({"portDefinitions": [{"port": 80}, {"port": 80}]}, "/portDefinitions", "2 times"),
        ({"container": DOCKER | {"portMappings": [{"containerPort": 80}]}}, "/container/portMappings", "container/bridge"),
        ({"healthChecks": [{"portIndex": 1}]}, "/healthChecks(0)/portIndex", "port 0"),
        ({"healthChecks": [{}], "portDefinitions": []}, "/healthChecks(0)/portIndex", "no ports"),
        ({"healthChecks": [{"protocol": "COMMAND"}]}, "/healthChecks(0)", "command"),
        ({"healthChecks": [{"protocol": "TCP", "path": "/x"}]}, "/healthChecks(0)", "path"),
        ({"healthChecks": [{"intervalSeconds": 0}]}, "/healthChecks(0)/intervalSeconds", "at least 1"),
        ({"healthChecks": [{"protocol": "GRPC"}]}, "/healthChecks(0)/protocol", "TCP"),
        ({"container": with_volume(hostPath="b", mode="RW")}, "/container/volumes(0)/hostPath", "absolute path"),
        ({"container": with_volume(mode="RW")}, "/container/volumes(0)", "exactly one"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_place_and_the_way_out(fields: dict[str, Any], path: str, words: str) -> None:
    found = problems(**fields)
    assert set(found) == {path}
    assert words in found[path]


def test_all_problems_are_told_at_once_and_none_that_only_follows_from_another() -> None:
    found = problems(
        id="/Shop", cpus="x", gpus=1, ports=["x"], cmd="a", args=["b"],
        labels={"HAPROXY_7_MODE": "http", "ERATOS_X": "1"}, healthChecks=[{"portIndex": 9}],
    )  # fmt: skip
    # Ports could not be read, so nothing is said about port 7 or index 9.
    assert set(found) == {"/id", "/cpus", "/gpus", "/ports(0)", "/args"}


@pytest.mark.parametrize(
    "junk", [None, [], "x", 5, {}, {"id": []}, {"id": {}, "container": 5, "env": 5, "networks": 5, "labels": 5}]
)
def test_junk_is_refused_and_never_crashes(junk: Any) -> None:
    with pytest.raises(InvalidApp):
        App.parse(junk)


def test_a_bottomless_definition_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"a": deep}
    assert "nested" in problems(labels=deep)["/"]


@pytest.mark.parametrize("field", [*App.model_json_schema()["properties"], "ports", "uris", "ipAddress"])
@pytest.mark.parametrize("value", [5, "x", [5], [[]], {"a": {"b": []}}, [{"a": 1}], True, float("nan"), "\ud800"])
def test_any_junk_in_any_field_is_refused_or_read_and_never_crashes(field: str, value: Any) -> None:
    try:
        parse(**{field: value})
    except InvalidApp as invalid:
        assert invalid.problems


def test_the_docker_parameters_are_those_that_the_executor_translates() -> None:
    assert set(_PARAMETERS) == DOCKER_PARAMETERS
    kept = parse(container={"docker": {"image": "x", "parameters": [{"key": "ulimit", "value": "nofile=1024"}]}})
    assert [(p.key, p.value) for p in kept.container.docker.parameters] == [("ulimit", "nofile=1024")]
