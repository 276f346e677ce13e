"""How an app's labels become what balancers read in Consul, and what is refused before it could spoil a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.common.routing import RULES, Routing, read
from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp

DOCKER = {"docker": {"image": "x"}}


def app(*, ports: int = 2, **labels: str) -> App:
    definitions: list[dict[str, Any]] = [{"port": 0} for _ in range(ports)]
    return definition.parse({"id": "/shop/cart", "container": DOCKER, "portDefinitions": definitions, "labels": labels})


def problems(**labels: str) -> dict[str, str]:
    with pytest.raises(InvalidApp) as invalid:
        app(**labels)
    return {problem.path.removeprefix("/labels/"): problem.message for problem in invalid.value.problems}


def test_routing_is_read_per_port_with_defaults() -> None:
    made = app(
        HAPROXY_GROUP="internal", HAPROXY_1_VHOST="a.example, b.example", HAPROXY_1_PATH="/cart", HAPROXY_1_BALANCE="leastconn"
    )
    assert made.routings[1] == Routing("internal", "http", vhost="a.example,b.example", path="/cart", balance="leastconn")
    assert app(HAPROXY_0_PATH="/").routings[0] == Routing(group="external", mode="http", path="/")


def http(path: str = "/", **fields: Any) -> dict[str, Any]:
    return {"protocol": "MESOS_HTTP", "path": path, **fields}


@pytest.mark.parametrize(
    ("labels", "service_port", "checks", "what"),
    [
        ({}, 0, [], "not balanced: nothing asks"),
        ({}, 10000, [http()], "not balanced: nothing asks"),
        ({"HAPROXY_0_STICKY": "true"}, 0, [http()], "not balanced: nothing asks"),
        ({"HAPROXY_GROUP": ""}, 0, [http()], "not balanced: nothing asks"),
        ({"HAPROXY_GROUP": "external", "HAPROXY_0_ENABLED": "false"}, 0, [http()], "not balanced: HAPROXY_0_ENABLED is false"),
        ({"HAPROXY_GROUP": "external"}, 0, [http()], "http on / unless another app claims it of group external"),
        ({"HAPROXY_GROUP": "external"}, 10000, [http()], "http on port 10000 of group external"),
        ({"HAPROXY_GROUP": "external"}, 10000, [], "tcp on port 10000 of group external"),
        ({"HAPROXY_GROUP": "external"}, 10000, [{"protocol": "TCP"}], "tcp on port 10000 of group external"),
        ({"HAPROXY_GROUP": "external"}, 10000, [http(portIndex=1)], "tcp on port 10000 of group external"),
        (
            {"HAPROXY_GROUP": "external"},
            0,
            [],
            "not balanced: without a VHOST, a PATH or an HTTP health check it is a TCP service",
        ),
        ({"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "http"}, 0, [], "http on / unless another app claims it"),
        ({"HAPROXY_GROUP": "a,b", "HAPROXY_0_VHOST": "a.example"}, 0, [], "http on a.example/ of group a,b"),
        ({"HAPROXY_0_VHOST": "a.example,b.example"}, 10000, [], "http on a.example/, b.example/, port 10000 of group external"),
        ({"HAPROXY_0_PATH": "/cart"}, 0, [], "http on /cart of group external"),
        ({"HAPROXY_0_PORT": "5432"}, 0, [], "tcp on port 5432 of group external"),
        ({"HAPROXY_0_PORT": "81", "HAPROXY_0_VHOST": "a.example"}, 0, [], "http on a.example/, port 81 of group external"),
        ({"HAPROXY_0_MODE": "tcp"}, 5432, [http()], "tcp on port 5432 of group external"),
        ({"HAPROXY_0_ENABLED": "true"}, 5432, [], "tcp on port 5432 of group external"),
        ({"HAPROXY_GROUP": "external", "HAPROXY_0_STICKY": "true"}, 0, [], "http on / unless another app claims it"),
        (
            {
                "HAPROXY_0_VHOST": "a.example",
                "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8",
                "HAPROXY_0_AUTH": "r:joe:$6$a$bcdefghi",
            },
            0,
            [],
            "http on a.example/ of group external, from 10.0.0.0/8 alone, for joe with a password",
        ),
        (
            {"HAPROXY_0_VHOST": "a.example", "HAPROXY_0_AUTH": "r:joe:secret"},
            0,
            [],
            "http on a.example/ of group external, for nobody, as the password in AUTH is none by crypt(3)",
        ),
    ],
)
def test_what_a_port_gets(labels: dict[str, str], service_port: int, checks: list[Any], what: str) -> None:
    definitions = [{"port": service_port}, {"port": 0}]
    made = definition.parse(
        {"id": "/x", "container": DOCKER, "portDefinitions": definitions, "labels": labels, "healthChecks": checks}
    )
    assert made.routings[0].described().startswith(what)
    assert (made.routing_meta[0] == {"haproxy-enabled": "false"}) is what.startswith("not balanced")


@pytest.mark.parametrize(
    "bad", [{"HAPROXY_0_AUTH": "joe:secret"}, {"HAPROXY_0_USE_HSTS": "maybe"}, {"ERATOS_7_HTTP_BACKEND_REDIR": "/a"}]
)
def test_a_stored_app_is_read_whatever_its_labels_of_which_versions_before_took_no_notice(bad: dict[str, str]) -> None:
    labels = {"HAPROXY_0_VHOST": "a.example"}
    made = definition.restore(app(ports=1).to_json() | {"labels": labels | bad, "version": "v1"})
    assert made.routing_meta[0] == {"haproxy-group": "external", "haproxy-mode": "http", "haproxy-vhost": "a.example"}
    with pytest.raises(InvalidApp) as caught:
        app(ports=1, **labels, **bad)
    assert [problem.path for problem in caught.value.problems] == [f"/labels/{key}" for key in bad]


def test_a_stored_app_has_no_value_that_is_longer_than_consul_takes() -> None:
    labels = {"HAPROXY_0_VHOST": "a.example", "HAPROXY_0_HTTP_BACKEND_REDIR": f"/{'a' * 128}" * 4, "HAPROXY_0_USE_HSTS": "true"}
    made = definition.restore(app(ports=1).to_json() | {"labels": labels, "version": "v1"})
    assert made.routing_meta[0].keys() == {"haproxy-group", "haproxy-mode", "haproxy-vhost", "haproxy-use-hsts"}


def test_a_check_by_its_port_counts_for_that_port() -> None:
    mappings = {"portMappings": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 31081}]}
    made = definition.parse(
        {
            "id": "/x",
            "container": DOCKER | mappings,
            "networks": [{"mode": "container/bridge"}],
            "healthChecks": [http(port=81)],
            "labels": {"HAPROXY_GROUP": "external"},
        }
    )
    assert [routing.mode for routing in made.routings] == ["", "http"]


def test_an_app_of_a_version_that_did_not_wait_to_be_asked_keeps_what_it_had() -> None:
    made = app(ports=1).with_unasked(True)
    assert made.routing_meta == ({"haproxy-group": "external", "haproxy-mode": "http"},)
    assert made.to_json() == app(ports=1).to_json()
    assert made.with_instances(7).with_version("v").unasked
    assert not made.same_definition(app(ports=1))
    assert not app(ports=1).unasked
    assert not definition.parse({"id": "/x", "cmd": "x", "unasked": True}).unasked


def test_a_port_may_have_a_group_of_its_own_or_none() -> None:
    made = app(HAPROXY_GROUP="external", HAPROXY_1_GROUP="internal", HAPROXY_0_ENABLED="false", HAPROXY_1_PATH="/")
    assert [made.routings[index].group for index in (0, 1)] == ["", "internal"]


def test_consul_gets_the_keys_that_say_something() -> None:
    made = app(HAPROXY_0_MODE="tcp", HAPROXY_0_PORT="5432")
    assert made.routings[0].meta() == {"haproxy-group": "external", "haproxy-mode": "tcp", "haproxy-port": "5432"}


AUTH = "My realm:joe:$6$saltsalt$" + "a" * 86
EVERY = {
    "GROUP": "internal",
    "ENABLED": "true",
    "VHOST": "a.example",
    "PATH": "/a",
    "BACKEND_WEIGHT": "7",
    "REDIRECT_TO_HTTPS": "true",
    "USE_HSTS": "true",
    "AUTH": AUTH,
    "BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8 192.0.2.7",
    "HTTP_BACKEND_PROXYPASS_PATH": "/a",
    "HTTP_BACKEND_REVPROXY_PATH": "/a",
    "HTTP_BACKEND_REDIR": "/a/home",
    "STICKY": "true",
    "BALANCE": "leastconn",
    "SERVER_WEIGHT": "10",
    "MAXCONN": "4",
    "TIMEOUT_S": "5",
}


@pytest.mark.parametrize("prefix", ["HAPROXY_", "ERATOS_"])
def test_both_vocabularies_say_the_same(prefix: str) -> None:
    routing = app(**{f"{prefix}1_{name}": value for name, value in EVERY.items()}).routings[1]
    assert routing == Routing(mode="http", **{name.lower(): value for name, value in EVERY.items() if name != "ENABLED"})
    assert app(**{f"{prefix}GROUP": "internal", f"{prefix}1_PATH": "/"}).routings[1].group == "internal"
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
    assert [(routing := app(**labels).routings[0]).weight((*routing.hosts, "")[0]) for labels in given] == [0, 0, 1, 0, 5]


def test_a_tcp_service_is_offered_on_its_service_port() -> None:
    tcp = {"HAPROXY_0_MODE": "tcp"}
    mapping = {"containerPort": 5432, "servicePort": 10001}
    bridged = {"id": "/db", "container": DOCKER | {"portMappings": [mapping]}, "networks": [{"mode": "container/bridge"}]}
    assert definition.parse(bridged | {"labels": tcp}).routings[0].port == "10001"
    assert definition.parse(bridged | {"labels": tcp | {"HAPROXY_0_PORT": "5432"}}).routings[0].port == "5432"
    on_host = {"id": "/db", "container": DOCKER, "portDefinitions": [{"port": 10002}]}
    assert definition.parse(on_host | {"labels": tcp}).routings[0].port == "10002"


def test_a_udp_port_is_not_balanced() -> None:
    udp = {"id": "/dns", "container": DOCKER, "portDefinitions": [{"port": 53, "protocol": "udp"}]}
    assert (
        definition.parse(udp | {"labels": {"HAPROXY_GROUP": "external"}})
        .routings[0]
        .described()
        .startswith("not balanced: a UDP port")
    )
    with pytest.raises(InvalidApp, match="a UDP port"):
        definition.parse(udp | {"labels": {"HAPROXY_0_MODE": "tcp"}})


#: The longest, greatest and oddest that the API lets through.
LIMITS = {
    "MODE": ("http", "tcp"),
    "PORT": ("1", "9999", "10000", "59999", "60000", "64999", "65499", "65529", "65535"),
    "PATH": ("/", "/a", "/a/b/", "/" + "a" * 128, "/_~%20+@:,=-", "/a" * 16),
    "BACKEND_WEIGHT": ("-1", "0", "9999"),
    "REDIRECT_TO_HTTPS": ("true", "false"),
    "USE_HSTS": ("true", "false"),
    "AUTH": (AUTH, "r:u:x", "realm:username:encryptedpassword", "a b:j@x.y:$2y$10$" + "a" * 53, "r:u:$y$j9T$abc/.$" + "z" * 43),
    "BACKEND_NETWORK_ALLOWED_ACL": ("10.0.0.0/8", "127.0.0.1/8, 10.1.55.43", "192.0.2.7 2001:db8::/32", "0.0.0.0/0"),
    "HTTP_BACKEND_PROXYPASS_PATH": ("/a", "/path/to/redirect/", "/a.b-c_d~e", "/a" * 16),
    "HTTP_BACKEND_REVPROXY_PATH": ("/my/content",),
    "HTTP_BACKEND_REDIR": ("/my/content",),
    "STICKY": ("true", "false"),
    "BALANCE": ("roundrobin", "leastconn", "random", "source"),
    "SERVER_WEIGHT": ("1", "99", "100", "199", "249", "256"),
    "MAXCONN": ("1", "1000000"),
    "TIMEOUT_S": ("1", "86400"),
    "ZONE": ("ignore", "prefer", "require"),
    "FAILOVER": ("dc2", "dc1,dc2", "eu_west-1", ",".join(f"dc{n}" for n in range(10))),
    "LOG_REQUESTS": ("all", "failed", "0.001%", "0.5%", "1%", "10%", "99.999%", "100%"),
}


def test_balancers_read_whatever_the_api_lets_through() -> None:
    assert {name for name, _ in _stated()} | {"GROUP", "VHOST", "ENABLED"} == set(RULES)
    for name, value in _stated():
        labels = {"HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "1"} if name in ("PORT", "MODE") else {"HAPROXY_0_MODE": "http"}
        made = app(HAPROXY_GROUP="external", **labels | {f"HAPROXY_0_{name}": value}).routings[0]
        assert read(made.meta()) == (made, {}), (name, value)


def _stated() -> list[tuple[str, str]]:
    return [(name, value) for name, values in LIMITS.items() for value in values if (name, value) != ("MODE", "http")]


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("HAPROXY_0_MODE", "htp", "http or tcp"),
        ("HAPROXY_2_MODE", "http", "ports 0 to 1"),
        ("ERATOS_0_ZONE", "near", "ignore, prefer or require"),
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
        ("HAPROXY_0_BALANCE", "uri whole", "leastconn"),
        ("HAPROXY_0_ENABLED", "on", "true or false"),
        ("HAPROXY_0_STICKY", "1", "true or false"),
        ("HAPROXY_0_AUTH", "joe:secret", "realm:user:password"),
        ("HAPROXY_0_AUTH", 'r:u:x"\n  server evil', "realm:user:password"),
        ("HAPROXY_0_AUTH", "r:u x:x", "realm:user:password"),
        ("HAPROXY_0_AUTH", "r:u:a#b", "realm:user:password"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/33", "addresses or networks"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "office", "addresses or networks"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", ",", "addresses or networks"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "fe80::1%eth0", "addresses or networks"),
        ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/", "a path of its requests"),
        ("HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", "/a(b", "a path for its answers"),
        ("HAPROXY_0_HTTP_BACKEND_REDIR", "https://a.example/", "a path to go to"),
        ("ERATOS_0_SERVER_WEIGHT", "257", "from 1 to 256"),
        ("ERATOS_0_TIMEOUT_S", "0", "from 1 to 86400"),
        ("ERATOS_0_FAILOVER", "DC2", "a Consul data center such as dc2"),
        ("ERATOS_0_FAILOVER", "dc2, dc3", "a Consul data center such as dc2"),
        ("ERATOS_0_FAILOVER", "dc2,", "a Consul data center such as dc2"),
        ("ERATOS_0_FAILOVER", ",".join(f"dc{n}" for n in range(11)), "up to ten"),
        ("ERATOS_0_LOG_REQUESTS", "none", "all, failed, or a share"),
        ("ERATOS_0_LOG_REQUESTS", "0%", "all, failed, or a share"),
        ("ERATOS_0_LOG_REQUESTS", "0.000%", "all, failed, or a share"),
        ("ERATOS_0_LOG_REQUESTS", "101%", "all, failed, or a share"),
        ("ERATOS_0_LOG_REQUESTS", "5", "all, failed, or a share"),
        ("ERATOS_0_LOG_REQUESTS", "5%\n  server evil", "all, failed, or a share"),
        ("ERATOS_0_MAXCONN", "0", "from 1 to"),
        ("HAPROXY_0_BACKEND_WEIGHT", "-2", "from -1 to 9999"),
        ("HAPROXY_GROUP", "a b", "group"),
        ("HAPROXY_0_GROUP", "a,", "group"),
        ("HAPROXY_0_VHOSTS", "x", "HAPROXY_n_VHOST"),
        ("HAPROXY_VHOST", "x", "HAPROXY_n_VHOST"),
        ("HAPROXY_00_VHOST", "a.example", "HAPROXY_n_VHOST"),
        ("ERATOS_0_VHOSTS", "x", "ERATOS_n_VHOST"),
    ],
)
def test_what_a_balancer_could_not_take_is_refused(label: str, value: str, words: str) -> None:
    assert words in problems(**{label: value})[label]


@pytest.mark.parametrize(
    ("label", "value", "field", "read_as"),
    [
        ("HAPROXY_0_MODE", "HTTP", "mode", "http"),
        ("HAPROXY_0_STICKY", "True", "sticky", "true"),
        ("HAPROXY_0_STICKY", "no", "sticky", "false"),
        ("HAPROXY_0_REDIRECT_TO_HTTPS", "yes", "redirect_to_https", "true"),
        ("HAPROXY_0_PORT", " 81 ", "port", "81"),
        ("HAPROXY_0_VHOST", " a.example ", "vhost", "a.example"),
        ("HAPROXY_GROUP", "internal ", "group", "internal"),
    ],
)
def test_a_label_is_read_as_marathon_lb_reads_it(label: str, value: str, field: str, read_as: str) -> None:
    made = app(**{"HAPROXY_GROUP": "internal", "HAPROXY_0_PATH": "/a", label: value})
    assert getattr(made.routings[0], field) == read_as
    assert read(made.routings[0].meta()) == (made.routings[0], {})


def test_modes_contradict_labels_in_whatever_case() -> None:
    assert set(problems(HAPROXY_0_MODE="TCP", HAPROXY_0_PORT="5432", HAPROXY_0_VHOST="db.example")) == {"HAPROXY_0_VHOST"}


def test_no_balancing_may_be_asked_for_a_port_that_none_could_have() -> None:
    ports = [{"port": 0}, {"port": 53, "protocol": "udp"}]
    labels = {"HAPROXY_1_ENABLED": "false", "HAPROXY_2_ENABLED": "False"}
    made = definition.parse({"id": "/dns", "container": DOCKER, "portDefinitions": ports, "labels": labels})
    assert made.routings[1].described() == "not balanced: HAPROXY_1_ENABLED is false"


def test_a_label_for_a_port_of_an_app_without_ports_is_refused() -> None:
    with pytest.raises(InvalidApp, match="no ports"):
        app(ports=0, HAPROXY_0_MODE="http")


def test_labels_that_contradict_each_other_are_refused_with_the_way_out() -> None:
    found = problems(HAPROXY_0_MODE="tcp", HAPROXY_0_PORT="5432", HAPROXY_0_VHOST="db.example")
    assert found == {"HAPROXY_0_VHOST": "is for mode http only: remove it, or set HAPROXY_0_MODE to http"}


def test_an_empty_label_states_nothing() -> None:
    assert app(HAPROXY_GROUP="", HAPROXY_0_VHOST="", ERATOS_0_PATH="/a", HAPROXY_0_PATH="").routings[0].path == "/a"


def test_a_wrong_label_brings_no_false_alarm() -> None:
    assert set(problems(HAPROXY_0_MODE="tpc", HAPROXY_0_PORT="5432")) == {"HAPROXY_0_MODE"}
    assert set(problems(HAPROXY_0_PORT="0")) == {"HAPROXY_0_PORT"}


def test_a_tcp_service_without_a_service_port_is_not_balanced_until_it_gets_one() -> None:
    app = definition.parse({"id": "/x", "cmd": "x", "ports": [0], "labels": {"HAPROXY_0_MODE": "tcp"}})
    assert "HAPROXY_0_PORT" in app.routings[0].why_not
    assert app.with_service_ports((10004,), {0}).routings[0].described() == "tcp on port 10004 of group external"


def test_a_service_port_that_nobody_stated_is_offered_over_tcp_alone() -> None:
    labels = {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.example"}
    app = definition.parse({"id": "/x", "cmd": "x", "ports": [0], "labels": labels})
    assert app.with_service_ports((10004,), {0}).routings[0].described() == "http on shop.example/ of group external"
    assert app.with_service_ports((10004,), ()).routings[0].described() == "http on shop.example/, port 10004 of group external"
