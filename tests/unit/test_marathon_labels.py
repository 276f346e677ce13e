"""Labels that eratos acts on: what reaches Consul and the balancers, and what is refused before it could."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.labels import Routing


def app(*, ports: int = 2, **labels: str) -> App:
    definitions: list[dict[str, Any]] = [{"port": 0} for _ in range(ports)]
    return App.parse(
        {"id": "/shop/cart", "container": {"docker": {"image": "x"}}, "portDefinitions": definitions, "labels": labels}
    )


def test_routing_is_read_per_port_with_defaults() -> None:
    made = app(
        HAPROXY_GROUP="internal", HAPROXY_1_VHOST="a.example,b.example", HAPROXY_1_PATH="/cart", HAPROXY_1_BALANCE="leastconn"
    )
    assert made.routing(0) == Routing(group="internal", mode="http")
    assert made.routing(1) == Routing("internal", "http", "a.example,b.example", "/cart", "leastconn")
    assert app().routing(0) == Routing(group="external", mode="http")


def test_consul_tags_are_split_and_trimmed() -> None:
    assert app(CONSUL_TAGS="a, b=c ,,d").consul_tags == ("a", "b=c", "d")
    assert app().consul_tags == ()


def test_the_time_to_drain_is_a_label() -> None:
    assert app().drain_s == 10
    assert app(ERATOS_DRAIN_SECONDS="2.5").drain_s == 2.5


def test_services_are_named_after_the_app_and_the_port() -> None:
    definitions = [{"port": 0}, {"port": 0, "name": "admin"}, {"port": 0}]
    made = App.parse({"id": "/shop/cart", "container": {"docker": {"image": "x"}}, "portDefinitions": definitions})
    assert made.service_names == ("shop-cart", "shop-cart-admin", "shop-cart-2")


def test_labels_of_others_are_left_alone() -> None:
    assert app(team="carts", DCOS_PACKAGE_NAME="x").labels == {"team": "carts", "DCOS_PACKAGE_NAME": "x"}


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("HAPROXY_0_MODE", "htp", "http or tcp"),
        ("HAPROXY_2_MODE", "http", "ports 0 to 1"),
        ("HAPROXY_0_VHOST", "shop example", "host name"),
        ("HAPROXY_0_VHOST", "a.example\n  server evil", "host name"),
        ("HAPROXY_0_VHOST", "a" * 600, "512"),
        ("HAPROXY_0_PATH", "cart", "path"),
        ("HAPROXY_0_PATH", "/a b", "path"),
        ("HAPROXY_0_PATH", "//", "path"),
        ("HAPROXY_0_PATH", "", "path"),
        ("HAPROXY_0_BALANCE", "uri whole", "leastconn"),
        ("HAPROXY_GROUP", "a b", "group"),
        ("HAPROXY_0_STICKY", "true", "HAPROXY_n_VHOST"),
        ("HAPROXY_0_VHOSTS", "x", "HAPROXY_n_VHOST"),
        ("HAPROXY_VHOST", "x", "HAPROXY_n_VHOST"),
        ("CONSUL_TAGS", "a b", "'a b'"),
        ("ERATOS_DRAIN_SECONDS", "soon", "seconds"),
        ("ERATOS_DRAIN_SECONDS", "9999999", "3600"),
        ("ERATOS_DRAIN", "5", "ERATOS_DRAIN_SECONDS"),
    ],
)
def test_what_a_balancer_or_consul_could_not_take_is_refused(label: str, value: str, words: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        app(**{label: value})
    (problem,) = invalid.value.problems
    assert problem.path == f"/labels/{label}"
    assert words in problem.message


def test_a_label_for_a_port_of_an_app_without_ports_is_refused() -> None:
    with pytest.raises(InvalidApp, match="no ports"):
        app(ports=0, HAPROXY_0_MODE="http")
