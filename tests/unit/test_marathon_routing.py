"""How an app's labels become what balancers read in Consul, and what is refused before it could spoil a configuration."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.routing import Routing

DOCKER = {"docker": {"image": "x"}}
TEMPLATE = Path(__file__).parents[2] / "haproxy/contract.ctmpl"


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
    assert made.routings[0] == Routing(group="internal", mode="http")
    assert made.routings[1] == Routing("internal", "http", vhost="a.example,b.example", path="/cart", balance="leastconn")
    assert app().routings[0] == Routing(group="external", mode="http")


def test_a_port_may_have_a_group_of_its_own_or_none() -> None:
    made = app(HAPROXY_GROUP="external", HAPROXY_1_GROUP="internal", HAPROXY_0_ENABLED="false")
    assert [made.routings[index].group for index in (0, 1)] == ["external", "internal"]
    assert [made.routings[index].enabled for index in (0, 1)] == ["false", ""]


def test_consul_gets_the_keys_that_say_something() -> None:
    made = app(HAPROXY_0_MODE="tcp", HAPROXY_0_PORT="5432")
    assert made.routings[0].meta() == {"haproxy-group": "external", "haproxy-mode": "tcp", "haproxy-port": "5432"}


EVERY = {
    "GROUP": "internal",
    "ENABLED": "true",
    "VHOST": "a.example",
    "PATH": "/a",
    "BACKEND_WEIGHT": "7",
    "REDIRECT_TO_HTTPS": "true",
    "STICKY": "true",
    "BALANCE": "leastconn",
    "SERVER_WEIGHT": "10",
    "MAXCONN": "4",
    "TIMEOUT_S": "5",
}


@pytest.mark.parametrize("prefix", ["HAPROXY_", "ERATOS_"])
def test_both_vocabularies_say_the_same(prefix: str) -> None:
    routing = app(**{f"{prefix}1_{name}": value for name, value in EVERY.items()}).routings[1]
    assert routing == Routing(mode="http", **{name.lower(): value for name, value in EVERY.items()})
    assert app(**{f"{prefix}GROUP": "internal"}).routings[1].group == "internal"
    tcp = app(**{f"{prefix}0_MODE": "tcp", f"{prefix}0_PORT": "5432"}).routings[0]
    assert (tcp.mode, tcp.port) == ("tcp", "5432")


def test_both_vocabularies_go_together_unless_they_differ() -> None:
    assert app(HAPROXY_0_PATH="/a", ERATOS_0_PATH="/a", ERATOS_0_VHOST="b.example").routings[0].path == "/a"
    assert problems(HAPROXY_0_PATH="/a", ERATOS_0_PATH="/b", HAPROXY_GROUP="x", ERATOS_GROUP="y") == {
        "ERATOS_0_PATH": "is '/b', and HAPROXY_0_PATH is '/a': keep one of the two",
        "ERATOS_GROUP": "is 'y', and HAPROXY_GROUP is 'x': keep one of the two",
    }


def test_a_path_of_a_host_weighs_more_than_the_host_unless_stated_otherwise() -> None:
    host, path = {"HAPROXY_0_VHOST": "a.example"}, {"HAPROXY_0_PATH": "/a"}
    given = (host, path, host | path, host | path | {"HAPROXY_0_BACKEND_WEIGHT": "0"}, host | {"HAPROXY_0_BACKEND_WEIGHT": "5"})
    assert [app(**labels).routings[0].weight for labels in given] == [0, 0, 1, 0, 5]


def test_a_tcp_service_is_offered_on_its_service_port() -> None:
    tcp = {"HAPROXY_0_MODE": "tcp"}
    mapping = {"containerPort": 5432, "servicePort": 10001}
    bridged = {"id": "/db", "container": DOCKER | {"portMappings": [mapping]}, "networks": [{"mode": "container/bridge"}]}
    assert App.parse(bridged | {"labels": tcp}).routings[0].port == "10001"
    assert App.parse(bridged | {"labels": tcp | {"HAPROXY_0_PORT": "5432"}}).routings[0].port == "5432"
    on_host = {"id": "/db", "container": DOCKER, "portDefinitions": [{"port": 10002}]}
    assert App.parse(on_host | {"labels": tcp}).routings[0].port == "10002"
    # In mode http a service port has no meaning, and Marathon's own definitions are full of them.
    assert App.parse(on_host).routings[0].port == ""


def test_a_udp_port_is_not_balanced() -> None:
    udp = {"id": "/dns", "container": DOCKER, "portDefinitions": [{"port": 53, "protocol": "udp"}]}
    assert App.parse(udp).routings[0].enabled == "false"
    with pytest.raises(InvalidApp, match="a UDP port"):
        App.parse(udp | {"labels": {"HAPROXY_0_MODE": "tcp"}})


#: The longest, greatest and oddest that the API lets through.
LIMITS = {
    "MODE": ("http", "tcp"),
    "PORT": ("1", "9999", "10000", "59999", "60000", "64999", "65499", "65529", "65535"),
    "PATH": ("/", "/a", "/a/b/", "/" + "a" * 128, "/_~%20+@:,=-", "/a" * 16),
    "BACKEND_WEIGHT": ("0", "9999"),
    "REDIRECT_TO_HTTPS": ("true", "false"),
    "STICKY": ("true", "false"),
    "BALANCE": ("roundrobin", "leastconn", "random", "source"),
    "SERVER_WEIGHT": ("1", "99", "100", "199", "249", "256"),
    "MAXCONN": ("1", "1000000"),
    "TIMEOUT_S": ("1", "86400"),
}


def test_the_balancers_template_takes_whatever_the_api_lets_through() -> None:
    patterns = dict(re.findall(r'^  "([a-z-]+)" "(\^.+\$)"', TEMPLATE.read_text(), re.MULTILINE))
    assert set(patterns) == {name.lower().replace("_", "-") for name in LIMITS}
    assert set(patterns) | {"vhost", "group", "enabled"} == {field.name.replace("_", "-") for field in fields(Routing)}
    for name, values in LIMITS.items():
        mode = "tcp" if name == "PORT" else "http"
        for value in values:
            labels = {"HAPROXY_0_MODE": mode, "HAPROXY_0_PORT": "1"} if mode == "tcp" else {}
            app(**labels | ({f"HAPROXY_0_{name}": value} if name != "MODE" else {}))
            assert re.search(patterns[name.lower().replace("_", "-")], value), (name, value)


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
        ("HAPROXY_0_STICKY", "1", "true or false"),
        ("ERATOS_0_SERVER_WEIGHT", "257", "from 1 to 256"),
        ("ERATOS_0_TIMEOUT_S", "0", "from 1 to 86400"),
        ("ERATOS_0_MAXCONN", "0", "from 1 to"),
        ("HAPROXY_0_BACKEND_WEIGHT", "-1", "from 0 to 9999"),
        ("HAPROXY_GROUP", "a b", "group"),
        ("HAPROXY_0_GROUP", "a,", "group"),
        ("HAPROXY_0_USE_HSTS", "true", "HAPROXY_n_VHOST"),
        ("HAPROXY_0_VHOSTS", "x", "HAPROXY_n_VHOST"),
        ("HAPROXY_VHOST", "x", "HAPROXY_n_VHOST"),
        ("ERATOS_0_VHOSTS", "x", "ERATOS_n_VHOST"),
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
