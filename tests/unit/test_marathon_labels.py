"""Labels that eratos acts on, but for routing: test_marathon_routing.py."""

from __future__ import annotations

import pytest

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp


def app(**labels: str) -> App:
    return App.parse({"id": "/shop/cart", "container": {"docker": {"image": "x"}}, "labels": labels})


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
        ("CONSUL_TAGS", "a b", "'a b'"),
        ("ERATOS_DRAIN_SECONDS", "soon", "seconds"),
        ("ERATOS_DRAIN_SECONDS", "9999999", "3600"),
        ("ERATOS_DRAIN", "5", "ERATOS_DRAIN_SECONDS"),
    ],
)
def test_what_makes_no_sense_is_refused(label: str, value: str, words: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        app(**{label: value})
    (problem,) = invalid.value.problems
    assert problem.path == f"/labels/{label}"
    assert words in problem.message
