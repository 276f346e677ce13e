"""The app definition: what is refused, and how problems are told."""

from __future__ import annotations

from typing import Any

import pytest
from support.definitions import DOCKER, VOLUME, parse, problems, with_volume

from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp


def test_a_process_is_refused_what_only_a_container_can_do() -> None:
    assert set(problems(container=None, cmd="x", networks=[{"mode": "container/bridge"}])) == {"/networks"}
    assert set(problems(container=None, cmd="x", resourceLimits={"cpus": 2})) == {"/resourceLimits/cpus"}


@pytest.mark.parametrize(
    "written", ["", "/", "/Shop", "/shop_cart", "/-shop", "/shop-", "/a b", "/a..b", "..", "/" + "a" * 300, 5]
)
def test_other_ids_are_refused(written: Any) -> None:
    assert "/id" in problems(id=written)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"residency": {"taskLostBehavior": "WAIT_FOREVER"}}, "/residency"),
        ({"fetch": [{"uri": "hdfs://x/y"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/y", "destPath": "../y"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/y", "destPath": "/y"}]}, "/fetch(0)"),
        ({"fetch": [{"uri": "http://x/y"}, {"uri": "http://z/y"}]}, "/fetch(1)"),
        ({"fetch": [{"uri": "http://x/y"}], "uris": ["http://x/z"]}, "/uris"),
        ({"uris": "http://x/y"}, "/uris"),
        ({"check": {"exec": {"command": {"shell": "true"}}, "tcp": {}}}, "/check"),
        ({"check": {"exec": {"command": {"shell": "true", "argv": ["true"]}}}}, "/check/exec/command"),
        ({"check": {"tcp": {"port": 80, "portIndex": 0}}}, "/check/tcp"),
        ({"check": {"http": {"portIndex": 3}}}, "/check/http/portIndex"),
        ({"check": {"tcp": {}}, "portDefinitions": [{"protocol": "udp"}]}, "/check/tcp/portIndex"),
        ({"readinessChecks": [{}], "healthChecks": [{}]}, "/readinessChecks(0)/portName"),
        ({"readinessChecks": [{"portName": "default", "protocol": "TCP"}], "healthChecks": [{}]}, "/readinessChecks(0)/protocol"),
        ({"executor": "/opt/mine"}, "/executor"),
        ({"ipAddress": {}, "networks": [{"mode": "container"}]}, "/networks(0)/name"),
        ({"ipAddress": {"networkName": "x"}, "networks": [{"mode": "host"}]}, "/ipAddress"),
        ({"networks": [{"mode": "host", "name": "x"}]}, "/networks(0)/name"),
        ({"networks": [{"mode": "host"}, {"mode": "host"}]}, "/networks"),
        ({"networks": [{"mode": "host"}, {"name": "x"}]}, "/networks"),
        ({"networks": [{"name": "x"}, {"name": "x"}]}, "/networks(1)"),
        ({"container": {"docker": {"image": "x", "network": "NONE"}}}, "/container/docker/network"),
        ({"container": {"docker": {"image": "x", "network": "USER"}}}, "/networks(0)/name"),
        ({"container": {"type": "MESOS", "volumes": [VOLUME]}, "cmd": "x"}, "/container/volumes"),
        ({"container": {"type": "MESOS"}, "cmd": "x", "tty": True}, "/tty"),
        ({"container": {"type": "MESOS"}, "cmd": "x", "resourceLimits": {"mem": 512}}, "/resourceLimits/mem"),
        ({"mem": 512, "resourceLimits": {"mem": 256}}, "/resourceLimits/mem"),
        ({"container": {"type": "MESOS"}, "cmd": "x", "networks": [{"name": "x"}]}, "/networks"),
        (
            {"networks": [{"name": "x"}], "container": DOCKER | {"portMappings": [{"networkNames": ["y"]}]}},
            "/container/portMappings(0)/networkNames",
        ),
        ({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"unconfined": True}}}, "cmd": "x"}, "/container/linuxInfo"),
        ({"container": {"docker": {"image": "x", "pullConfig": {"secret": "s"}}}}, "/container/docker/pullConfig/secret"),
        ({"container": {"docker": {"image": "x", "credential": {"principal": "p"}}}}, "/container/docker/credential"),
        ({"container": DOCKER | {"volumes": [{"containerPath": "/a", "secret": "s"}]}}, "/container/volumes(0)/secret"),
        ({"container": with_volume(containerPath="a", secret="s"), "secrets": {"s": {"source": "x"}}}, "/container/volumes(0)"),
        ({"env": {"A": {"secret": "s"}}, "secrets": {"t": {"source": "x"}}}, "/env/A/secret"),
        ({"env": {"A": {"secret": "s", "b": 1}}, "secrets": {"s": {"source": "x"}}}, "/env/A"),
        ({"env": {"A": {"secret": 5}}}, "/env/A"),
        (
            {"container": {"docker": {"image": "x", "parameters": [{"key": "network", "value": "y"}]}}},
            "/container/docker/parameters(0)/key",
        ),
        ({"user": "www data"}, "/user"),
        ({"user": "root\n"}, "/user"),
        (
            {"container": with_volume(containerPath="d", mode="RW", persistent={"size": 9, "type": "mount"})},
            "/container/volumes(0)/persistent/type",
        ),
        (
            {"container": with_volume(containerPath="d", mode="RW", external={"provider": "csi", "options": {"capability": {}}})},
            "/container/volumes(0)/external/provider",
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
        ({"cpu_s": 1}, "/cpu_s", "did you mean cpus?"),
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
        ({"container": DOCKER | {"type": "RKT"}}, "/container/type", "'MESOS'"),
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
        ({"healthChecks": [{"portIndex": 1}]}, "/healthChecks(0)/portIndex", "port 0"),
        ({"healthChecks": [{}], "portDefinitions": []}, "/healthChecks(0)/portIndex", "no ports"),
        ({"healthChecks": [{"protocol": "COMMAND"}]}, "/healthChecks(0)", "command"),
        ({"healthChecks": [{"intervalSeconds": 0}]}, "/healthChecks(0)/intervalSeconds", "at least 1"),
        ({"healthChecks": [{"protocol": "GRPC"}]}, "/healthChecks(0)/protocol", "TCP"),
        ({"container": with_volume(hostPath="../b", mode="RW")}, "/container/volumes(0)", "in the sandbox"),
        ({"container": with_volume(mode="RW")}, "/container/volumes(0)", "exactly one"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_place_and_the_way_out(fields: dict[str, Any], path: str, words: str) -> None:
    found = problems(**fields)
    assert set(found) == {path}
    assert words in found[path]


def test_all_problems_are_told_at_once_and_none_that_only_follows_from_another() -> None:
    found = problems(
        id="/Shop", cpus="x", residency={"a": 1}, ports=["x"], cmd="a", args=["b"],
        labels={"HAPROXY_7_MODE": "http", "ERATOS_X": "1"}, healthChecks=[{"portIndex": 9}],
    )  # fmt: skip
    # Ports could not be read, so nothing is said about port 7 or index 9.
    assert set(found) == {"/id", "/cpus", "/residency", "/ports(0)", "/args"}


@pytest.mark.parametrize(
    "junk", [None, [], "x", 5, {}, {"id": []}, {"id": {}, "container": 5, "env": 5, "networks": 5, "labels": 5}]
)
def test_junk_is_refused_and_never_crashes(junk: Any) -> None:
    with pytest.raises(InvalidApp):
        definition.parse(junk)


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


def test_the_options_that_docker_parameters_may_be_are_listed_once() -> None:
    container = {"docker": {"image": "x", "parameters": [{"key": "link", "value": "y"}, {"key": "volumes-from", "value": "y"}]}}
    with pytest.raises(InvalidApp) as invalid:
        parse(container=container)
    first, second = (problem.message for problem in invalid.value.problems)
    assert "known are" in first
    assert second == "is refused, 'volumes-from': remove it"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ulimit", "nofile"),
        ("ulimit", "nofile=many"),
        ("shm-size", "64 MB"),
        ("init", "perhaps"),
        ("sysctl", "x"),
        ("pids-limit", ""),
    ],
)
def test_a_docker_parameter_that_would_fail_on_every_agent_is_refused_and_a_stored_one_read(key: str, value: str) -> None:
    container = {"docker": {"image": "x", "parameters": [{"key": "env", "value": "A=b"}, {"key": key, "value": value}]}}
    with pytest.raises(InvalidApp) as invalid:
        parse(container=container)
    assert [problem.path for problem in invalid.value.problems] == ["/container/docker/parameters(1)/value"]
    definition.restore({"id": "/shop/cart", "container": container})


def test_what_goes_before_the_fields_of_a_record_cannot_be_given_as_a_field() -> None:
    app = parse(balancedUnasked=True, notHeeded=[["/x", "y"]])
    assert not app.unasked
    assert {place for place, _ in app.dropped} == {"/balancedUnasked", "/notHeeded"}
    assert "/assignedServicePorts" in problems(assignedServicePorts=[0])


def test_more_unknown_fields_than_anybody_has_are_refused() -> None:
    assert "remove it" in problems(**{f"q{number}zz": 1 for number in range(101)})["/q0zz"]


@pytest.mark.parametrize(
    ("linux", "path"),
    [
        ({"seccomp": {"profileName": "p"}}, "/seccomp"),
        ({"seccomp": {"unconfined": "yes"}}, "/seccomp"),
        ({"seccomp": {"other": 1}}, "/seccomp"),
        ({"ipcInfo": {"mode": "OTHER"}}, "/ipcInfo"),
        ({"ipcInfo": {"shmSize": 5}}, "/ipcInfo"),
        ({"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 5}}, "/ipcInfo"),
        ({"ipcInfo": {"mode": "PRIVATE", "shmSize": 0}}, "/ipcInfo"),
        ({"ipcInfo": {"mode": "PRIVATE", "shmSize": True}}, "/ipcInfo"),
        ({"ipcInfo": []}, "/ipcInfo"),
        ({"other": {}}, "/other"),
        (5, ""),
    ],
)
def test_linux_info_that_means_nothing_to_docker_is_refused(linux: Any, path: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        definition.parse({"id": "/a", "container": DOCKER | {"linuxInfo": linux}})
    assert [problem.path for problem in invalid.value.problems] == [f"/container/linuxInfo{path}"]
