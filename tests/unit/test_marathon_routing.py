"""How an app's labels become what balancers read in Consul, and what is refused before it could spoil a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.routing import Routing

DOCKER = {"docker": {"image": "x"}}


def app(*, ports: int = 2, **labels: str) -> App:
    definitions: list[dict[str, Any]] = [{"port": 0} for _ in range(ports)]
    return App.parse({"id": "/shop/cart", "container": DOCKER, "portDefinitions": definitions, "labels": labels})


def problems(**labels: str) -> dict[str, str]:
    with pytest.raises(InvalidApp) as invalid:
        app(**labels)
    return {problem.path.removeprefix("/labels/"): problem.message for problem in invalid.value.problems}


def test_routing_is_read_per_port_with_defaults() -> None:
    made = app(
        HAPROXY_GROUP="internal", HAPROXY_1_VHOST="a.example,b.example", HAPROXY_1_PATH="/cart", HAPROXY_1_BALANCE="leastconn"
    )
    assert made.routing(0) == Routing(group="internal", mode="http")
    assert made.routing(1) == Routing("internal", "http", vhost="a.example,b.example", path="/cart", balance="leastconn")
    assert app().routing(0) == Routing(group="external", mode="http")


def test_a_port_may_have_a_group_of_its_own_or_none() -> None:
    made = app(HAPROXY_GROUP="external", HAPROXY_1_GROUP="internal", HAPROXY_0_ENABLED="false")
    assert [made.routing(index).group for index in (0, 1)] == ["external", "internal"]
    assert [made.routing(index).enabled for index in (0, 1)] == ["false", ""]


def test_consul_gets_the_keys_that_say_something() -> None:
    made = app(HAPROXY_0_MODE="tcp", HAPROXY_0_PORT="5432")
    assert made.routing(0).meta() == {"haproxy-group": "external", "haproxy-mode": "tcp", "haproxy-port": "5432"}


def test_a_tcp_service_is_offered_on_its_service_port() -> None:
    tcp = {"HAPROXY_0_MODE": "tcp"}
    mapping = {"containerPort": 5432, "servicePort": 10001}
    bridged = {"id": "/db", "container": DOCKER | {"portMappings": [mapping]}, "networks": [{"mode": "container/bridge"}]}
    assert App.parse(bridged | {"labels": tcp}).routing(0).port == "10001"
    assert App.parse(bridged | {"labels": tcp | {"HAPROXY_0_PORT": "5432"}}).routing(0).port == "5432"
    on_host = {"id": "/db", "container": DOCKER, "portDefinitions": [{"port": 10002}]}
    assert App.parse(on_host | {"labels": tcp}).routing(0).port == "10002"
    # In mode http a service port has no meaning, and Marathon's own definitions are full of them.
    assert App.parse(on_host).routing(0).port == ""


def test_a_udp_port_is_not_balanced() -> None:
    udp = {"id": "/dns", "container": DOCKER, "portDefinitions": [{"port": 53, "protocol": "udp"}]}
    assert App.parse(udp).routing(0).enabled == "false"
    with pytest.raises(InvalidApp, match="a UDP port"):
        App.parse(udp | {"labels": {"HAPROXY_0_MODE": "tcp"}})


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("HAPROXY_0_MODE", "htp", "http or tcp"),
        ("HAPROXY_2_MODE", "http", "ports 0 to 1"),
        ("HAPROXY_0_PORT", "0", "from 1 to 65535"),
        ("HAPROXY_0_PORT", "65536", "from 1 to 65535"),
        ("HAPROXY_0_PORT", "080", "from 1 to 65535"),
        ("HAPROXY_0_VHOST", "shop example", "host name"),
        ("HAPROXY_0_VHOST", "a.example\n  server evil", "host name"),
        ("HAPROXY_0_VHOST", "a.example\n", "host name"),
        ("HAPROXY_0_VHOST", "a" * 600, "512"),
        ("HAPROXY_0_PATH", "cart", "path"),
        ("HAPROXY_0_PATH", "/a b", "path"),
        ("HAPROXY_0_PATH", "/a\n", "path"),
        ("HAPROXY_0_PATH", "//", "path"),
        ("HAPROXY_0_PATH", "", "path"),
        ("HAPROXY_0_BALANCE", "uri whole", "leastconn"),
        ("HAPROXY_0_ENABLED", "yes", "true or false"),
        ("HAPROXY_GROUP", "a b", "group"),
        ("HAPROXY_0_GROUP", "a,", "group"),
        ("HAPROXY_0_USE_HSTS", "true", "HAPROXY_n_VHOST"),
        ("HAPROXY_0_VHOSTS", "x", "HAPROXY_n_VHOST"),
        ("HAPROXY_VHOST", "x", "HAPROXY_n_VHOST"),
    ],
)
def test_what_a_balancer_could_not_take_is_refused(label: str, value: str, words: str) -> None:
    assert words in problems(**{label: value})[label]


def test_a_label_for_a_port_of_an_app_without_ports_is_refused() -> None:
    with pytest.raises(InvalidApp, match="no ports"):
        app(ports=0, HAPROXY_0_MODE="http")


def test_labels_that_contradict_each_other_are_refused_with_the_way_out() -> None:
    found = problems(HAPROXY_0_MODE="tcp", HAPROXY_0_PORT="5432", HAPROXY_0_VHOST="db.example", HAPROXY_1_PORT="80")
    assert found == {
        "HAPROXY_0_VHOST": "is for mode http only: remove it, or set HAPROXY_0_MODE to http",
        "HAPROXY_1_PORT": "is for mode tcp only: remove it, or set HAPROXY_1_MODE to tcp",
    }


def test_a_wrong_label_brings_no_false_alarm() -> None:
    assert set(problems(HAPROXY_0_MODE="tpc", HAPROXY_0_PORT="5432")) == {"HAPROXY_0_MODE"}
    assert set(problems(HAPROXY_0_PORT="0")) == {"HAPROXY_0_PORT"}


def test_a_tcp_service_without_a_service_port_is_refused() -> None:
    (message,) = problems(HAPROXY_0_MODE="tcp").values()
    assert "set HAPROXY_0_PORT" in message
