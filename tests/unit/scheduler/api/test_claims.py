"""Two apps that claim one host name, path or service port: refused with both names."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app

from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.scheduler.api import claims
from eratos.scheduler.api.definitions import check


def app(app_id: str, /, **labels: str) -> App:
    return an_app(app_id, labels=labels)


def problems(there: tuple[App, ...], *wanted: App) -> dict[str, str]:
    try:
        check({app.id: app for app in there}, wanted, None)
    except InvalidApp as invalid:
        return {problem.path: problem.message for problem in invalid.problems}
    return {}


def test_a_claim_that_another_app_has_is_refused_with_both_names_and_the_label() -> None:
    shop = app("/shop", HAPROXY_0_VHOST="shop.example,www.shop.example", HAPROXY_0_PATH="/cart/")
    second = app("/cart", HAPROXY_0_VHOST="Shop.Example", HAPROXY_0_PATH="/cart")
    message = "claims shop.example/cart for /cart, and /shop has it already: choose another, another group or weight"
    assert problems((shop,), second) == {"/labels/HAPROXY_0_PATH": message}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"HAPROXY_0_VHOST": "a.example"}, {"HAPROXY_0_VHOST": "b.example"}),
        ({"HAPROXY_0_VHOST": "a.example"}, {"HAPROXY_0_VHOST": "a.example", "HAPROXY_0_PATH": "/deeper"}),
        ({"HAPROXY_0_PATH": "/a"}, {"HAPROXY_0_PATH": "/ab"}),
        ({"HAPROXY_0_PATH": "/a"}, {"HAPROXY_0_PATH": "/a", "HAPROXY_GROUP": "internal"}),
        ({"HAPROXY_0_PATH": "/a"}, {"HAPROXY_0_PATH": "/a", "HAPROXY_0_GROUP": "internal"}),
        ({"HAPROXY_0_PATH": "/a"}, {"HAPROXY_0_PATH": "/a", "HAPROXY_0_ENABLED": "false"}),
        # Of two weights the greater one is served: this is how a route is handed over.
        ({"HAPROXY_0_PATH": "/a"}, {"HAPROXY_0_PATH": "/a", "HAPROXY_0_BACKEND_WEIGHT": "1"}),
        ({"HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "5432"}, {"HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "5433"}),
        ({"HAPROXY_0_PATH": "/a", "CONSUL_TAGS": "prod"}, {"HAPROXY_0_PATH": "/a", "CONSUL_TAGS": "staging,new"}),
        # The default route is no claim: most apps have no labels at all.
        ({}, {}),
        ({}, {"HAPROXY_0_PATH": "/"}),
    ],
)
def test_what_differs_goes_together(one: dict[str, str], other: dict[str, str]) -> None:
    assert problems((app("/one", **one),), app("/other", **other)) == {}


def test_both_vocabularies_claim_the_same_and_a_weight_by_default_is_a_weight() -> None:
    one = app("/one", HAPROXY_0_VHOST="a.example", HAPROXY_0_PATH="/a")
    other = app("/other", ERATOS_0_VHOST="a.example", ERATOS_0_PATH="/a", ERATOS_0_BACKEND_WEIGHT="1")
    assert set(problems((one,), other)) == {"/labels/ERATOS_0_PATH"}


def test_groups_that_overlap_are_one_group() -> None:
    one, other = app("/one", HAPROXY_0_PATH="/a", HAPROXY_GROUP="x,y"), app("/other", HAPROXY_0_PATH="/a", HAPROXY_GROUP="y,z")
    assert set(problems((one,), other)) == {"/labels/HAPROXY_0_PATH"}


@pytest.mark.parametrize("tags", ["", "prod", "new,prod"])
def test_tags_that_do_not_tell_two_apps_apart_change_nothing(tags: str) -> None:
    one = app("/one", HAPROXY_0_PATH="/a", CONSUL_TAGS="prod")
    other = app("/other", HAPROXY_0_PATH="/a", **({"CONSUL_TAGS": tags} if tags else {}))
    assert set(problems((one,), other)) == {"/labels/HAPROXY_0_PATH"}


def test_a_service_port_is_claimed_by_label_or_field() -> None:
    tcp = {"HAPROXY_0_MODE": "tcp"}
    there = (app("/db", HAPROXY_0_PORT="10001", **tcp),)
    host: dict[str, Any] = {"portDefinitions": [{"port": 10001}]}
    container = {"docker": {"image": "x"}, "portMappings": [{"containerPort": 1, "servicePort": 10001}]}
    bridge: dict[str, Any] = {"container": container, "networks": [{"mode": "container/bridge"}], "portDefinitions": []}
    assert set(problems(there, app("/other", HAPROXY_0_PORT="10001", **tcp))) == {"/labels/HAPROXY_0_PORT"}
    assert set(problems(there, an_app("/other", labels=tcp, **host))) == {"/portDefinitions(0)/port"}
    assert set(problems(there, an_app("/other", labels=tcp, **bridge))) == {"/container/portMappings(0)/servicePort"}


def test_apps_of_one_request_and_ports_of_one_app_are_held_against_each_other() -> None:
    found = problems((), app("/one", HAPROXY_0_PATH="/a"), app("/other", HAPROXY_0_PATH="/a"))
    assert "for /other, and /one has it" in found["/labels/HAPROXY_0_PATH"]
    ports = [{"port": 0, "name": "http"}, {"port": 0, "name": "admin"}]
    twice = an_app("/one", portDefinitions=ports, labels={"HAPROXY_0_PATH": "/a", "HAPROXY_1_PATH": "/a"})
    assert "its own port 0" in problems((), twice)["/labels/HAPROXY_1_PATH"]


def test_a_claim_can_be_kept_taken_over_and_exchanged() -> None:
    one, other = app("/one", HAPROXY_0_PATH="/a"), app("/other", HAPROXY_0_PATH="/a")
    # Both are there, from before the rule or around it: what exists goes on.
    assert problems((one, other), other.with_instances(5)) == {}
    assert problems((one,), one) == {}
    swapped = app("/one", HAPROXY_0_PATH="/b"), app("/other", HAPROXY_0_PATH="/a")
    assert problems((one, app("/other", HAPROXY_0_PATH="/b")), *swapped) == {}


# What an app gets, told at once -------------------------------------------------------------------------------------------------


def web(app_id: str, service_port: int = 0, **labels: str) -> App:
    check = {"protocol": "MESOS_HTTP", "path": "/"}
    return definition.parse(
        {"id": app_id, "cmd": "x", "portDefinitions": [{"port": service_port}], "healthChecks": [check], "labels": labels}
    )


def notices(app: App, *others: App) -> str:
    (notice,) = claims.notices(claims.holders({other.id: other for other in (*others, app)}, (app,)), app)
    return notice


def test_an_app_that_asks_for_nothing_hears_that_it_is_not_balanced():
    assert notices(web("/a")).startswith("port 0: not balanced: nothing asks for it: state HAPROXY_GROUP")


def test_an_unstated_claim_hears_who_has_the_root():
    root = web("/root", HAPROXY_0_PATH="/")
    assert notices(web("/a", HAPROXY_GROUP="external"), root).endswith("/ is /root's: state HAPROXY_0_VHOST or HAPROXY_0_PATH")
    assert "/root" not in notices(web("/a", HAPROXY_GROUP="internal"), root)
    assert "/root" not in notices(web("/a", HAPROXY_0_VHOST="a.test"), root)


def test_an_app_that_can_do_without_its_service_port_hears_who_has_it():
    other = web("/b", 10000, HAPROXY_0_VHOST="b.test", HAPROXY_0_PORT="10000")
    assert notices(web("/a", 10000, HAPROXY_0_VHOST="a.test"), other).endswith("port 10000 is /b's")
    # One that has no other way is refused instead.
    (problem,) = claims.problems({"/b": other}, [web("/a", 10000, HAPROXY_GROUP="external")])
    assert "claims port 10000" in problem.message


def test_a_port_of_the_balancers_own_is_named():
    assert "balancers use port 8000 themselves" in notices(web("/a", 8000, HAPROXY_GROUP="external"))


@pytest.mark.parametrize("own", [("/a", "/me", "/z"), ("/me", "/other"), ("/a", "/me")])
def test_another_apps_claim_is_found_behind_the_apps_own(own: tuple[str, ...]) -> None:
    holders = claims.Holders(claim for app_id in own for claim in claims.claims(app(app_id, HAPROXY_0_PATH="/")))
    (mine,) = claims.claims(app("/me", HAPROXY_0_PATH="/", HAPROXY_0_BACKEND_WEIGHT="3"))
    found = holders.other(mine)
    assert found is not None
    assert found.app_id in {"/a", "/other"}
    assert holders.rival(mine) is None  # another weight


def test_of_thousands_of_apps_only_those_that_claim_the_same_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change among 2,000 apps took ten times as long while every claim of theirs was made for it."""
    others = {f"/a{i}": an_app(f"/a{i}", labels={"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": f"a{i}.x"}) for i in range(50)}
    looked_at: list[str] = []
    whole = claims.claims
    monkeypatch.setattr(claims, "claims", lambda app: looked_at.append(app.id) or whole(app))
    app = an_app("/b", labels={"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a7.x"})
    assert [problem.path for problem in claims.problems(others, (app,))] == ["/labels/HAPROXY_0_VHOST"]
    list(claims.notices(claims.holders(others | {"/b": app}, (app,)), app))
    assert set(looked_at) == {"/a7", "/b"}
