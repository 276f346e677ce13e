"""The field ``eratos`` of an app: what it takes, what it refuses and how, and that it reads back unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app

from eratos.marathon import definition
from eratos.marathon.errors import InvalidApp
from eratos.marathon.group import restart_cycle


def problems(**extras: Any) -> dict[str, str]:
    with pytest.raises(InvalidApp) as refused:
        an_app("/blog/web", eratos=extras)
    return {problem.path: problem.message for problem in refused.value.problems}


def requires(**fields: Any) -> dict[str, Any]:
    return {"requires": {"db": fields}}


@pytest.mark.parametrize(
    "stated",
    [
        {"app": "/blog/db"},
        {"app": "/blog/db", "port": "sql", "tags": ["main"], "zone": "prefer", "atLeast": 2, "wait": False},
        {"app": "/blog/db", "onChange": {"command": "/reload", "timeoutSeconds": 5}},
        {"app": "/blog/db", "onChange": {"signal": "SIGHUP"}},
        {"service": "pg@west", "attributes": {"role": "^main$"}, "onChange": "nothing"},
        {"static": ["10.0.0.7:3306", "[fd00::1]:3306", "db.example:1"]},
        {"key": "shop/limits", "prefix": "SETTING_"},
    ],
)
def test_what_is_stated_reads_back_unchanged(stated: dict[str, Any]) -> None:
    app = an_app("/blog/web", eratos={"requires": {"db": stated}, "attributes": {"role": "web"}})
    assert app.to_json()["eratos"] == {"requires": {"db": stated}, "attributes": {"role": "web"}}
    assert definition.restore(app.to_json()).eratos == app.eratos


@pytest.mark.parametrize("empty", [None, {}, {"requires": {}}])
def test_an_app_that_states_nothing_shows_nothing(empty: Any) -> None:
    assert "eratos" not in an_app(eratos=empty).to_json()


def test_a_relative_app_is_taken_below_the_group() -> None:
    app = definition.parse({"id": "web", "cmd": "x", "eratos": requires(app="db")}, "/blog")
    assert app.eratos.requires["db"].app == "/blog/db"
    assert app.awaited == ("/blog/db",)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({}, "", "needs exactly one of app, service, static and key, and has none"),
        ({"app": "/a", "key": "k"}, "", "and has app and key"),
        ({"app": "/A"}, "/app", "'A' is no valid name"),
        ({"app": "/"}, "/app", "must name an app"),
        ({"app": "/blog/web"}, "/app", 'is the app itself, so that none could be the first: add "wait": false'),
        ({"app": "/blog/web", "wait": False}, "/onChange", "must be a command, a signal or nothing"),
        ({"service": "a@"}, "/service", "must be the name of a Consul service"),
        ({"service": "a", "port": "sql"}, "", "has port, which goes with app only"),
        ({"static": ["10.0.0.7"]}, "/static(0)", "must be host:port such as"),
        ({"static": [7]}, "/static(0)", "must be text: put quotes around it"),
        ({"app": "/a", "attributes": {"role": 7}}, "/attributes/role", "must be text: put quotes around it"),
        ({"static": ["10.0.0.7:70000"]}, "/static(0)", "must be host:port such as"),
        ({"static": ["a:1"], "wait": True}, "", "has wait, which goes with"),
        ({"key": "/a"}, "/key", "must be a key such as shop/settings"),
        ({"key": "a", "zone": "prefer"}, "", "has zone, which goes with app or service only"),
        ({"app": "/a", "zone": "near"}, "/zone", "must be 'any', 'prefer' or 'require', not 'near'"),
        ({"app": "/a", "atLeast": 0}, "/atLeast", "must be at least 1"),
        ({"app": "/a", "onChange": "reload"}, "/onChange", 'must be "restart", "nothing"'),
        ({"app": "/a", "onChange": {}}, "/onChange", 'must be "restart", "nothing"'),
        ({"app": "/a", "onChange": {"otherwise": "restart"}}, "/onChange", 'must be "restart", "nothing"'),
        ({"app": "/a", "onChange": {"signal": "SIGKILL"}}, "/onChange/signal", "must be 'SIGHUP'"),
        ({"app": "/a", "onChange": {"signal": "SIGHUP", "timeoutSeconds": 5}}, "/onChange", "goes with a command only"),
        ({"app": "/a", "onChange": {"comand": "x"}}, "/onChange/comand", "did you mean command?"),
        ({"app": "/a", "attributes": {"role": "(["}}, "/attributes/role", "is no regular expression that Consul takes"),
        ({"app": "/a", "attributes": {"a b": "x"}}, "/attributes/a b/[key]", "must be letters, digits, dashes"),
        ({"app": "/a", "attributes": {"role": "a`b"}}, "/attributes/role", "holds a backtick"),
        ({"app": "/a", "tags": ["a`b"]}, "/tags(0)", "must be visible ASCII characters"),
        ({"app": "/a", "tags": ["a b"]}, "/tags(0)", "must be visible ASCII characters"),
        ({"app": "/a", "prefix": "require_"}, "/prefix", "must be capital letters"),
        ({"ap": "/a"}, "/ap", "did you mean app?"),
    ],
)
def test_what_is_refused_names_the_field_and_the_fix(fields: dict[str, Any], path: str, message: str) -> None:
    found = problems(**requires(**fields))
    assert message in found[f"/eratos/requires/db{path}"]


def test_a_field_that_nobody_knows_is_refused_where_everything_is_our_own() -> None:
    assert problems(foo=1) == {"/eratos/foo": "is no field that eratos knows: remove it"}


def test_two_requirements_may_not_share_a_variable() -> None:
    found = problems(requires={"a": {"key": "x"}, "a-host": {"key": "y"}})
    assert found == {"/eratos": "has requires a and a-host, which both give the variable REQUIRE_A_HOST: rename one"}


@pytest.mark.parametrize("key", ["eratos-app", "haproxy-vhost"])
def test_attributes_leave_our_own_alone(key: str) -> None:
    assert "are eratos' own" in problems(attributes={key: "x"})["/eratos"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("consul-a", "x", "such names are Consul's own"), ("a", "é" * 257, "is 514 bytes long, and Consul takes 512 at most")],
)
def test_an_attribute_that_consul_would_refuse_is_none_and_a_stored_app_with_one_is_read(
    key: str, value: str, message: str
) -> None:
    assert message in problems(attributes={key: value})[f"/eratos/attributes/{key}"]
    stored = an_app("/x").to_json() | {"eratos": {"attributes": {key: value}}, "version": "v1"}
    assert definition.restore(stored).eratos.attributes == {key: value}
    assert an_app("/x", eratos={"attributes": {"consul_a": "é" * 256}})


def test_a_circle_of_restarts_is_found_and_one_with_a_signal_is_none() -> None:
    def app(name: str, other: str, change: Any) -> Any:
        return an_app(name, eratos=requires(app=other, wait=False, onChange=change))

    circle = {"/a": app("/a", "/b", "restart"), "/b": app("/b", "/c", "restart"), "/c": app("/c", "/a", "restart")}
    assert restart_cycle(circle) == ("/a", "/b", "/c", "/a")
    assert restart_cycle(circle | {"/c": app("/c", "/a", {"signal": "SIGHUP"})}) == ()
    assert restart_cycle(circle | {"/c": app("/c", "/elsewhere", "restart")}) == ()


# One on each host


@pytest.mark.parametrize("instances", [0, 1])
def test_one_on_each_host_reads_back_unchanged(instances: int) -> None:
    app = an_app("/logs", instances, eratos={"perHost": True})
    assert app.per_host and app.to_json()["eratos"] == {"perHost": True}
    assert definition.restore(app.to_json()) == app
    assert "eratos" not in an_app("/logs", eratos={"perHost": False}).to_json()


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"instances": 3}, "/instances", "is 3: with eratos.perHost it must be 1, for one on each host, or 0 for none"),
        ({"upgradeStrategy": {"maximumOverCapacity": 0.5}}, "/upgradeStrategy/maximumOverCapacity", "no host ever has two"),
        ({"constraints": [["rack", "GROUP_BY"]]}, "/constraints(0)", "looks at other instances"),
        ({"constraints": [["rack", "LIKE", "a"], ["rack", "UNIQUE"]]}, "/constraints(1)", "use LIKE, UNLIKE, IS"),
        ({"constraints": [["rack", "CLUSTER"]]}, "/constraints(0)", "looks at other instances"),
        ({"labels": {"ERATOS_CANARY": "1"}}, "/labels/ERATOS_CANARY", "remove it"),
        ({"labels": {"ERATOS_BLUE_GREEN": "50%", "ERATOS_ROLLBACK": "true"}}, "/labels/ERATOS_BLUE_GREEN", "remove it"),
        ({"labels": {"ERATOS_PLACEMENT": "pack"}}, "/labels/ERATOS_PLACEMENT", "remove it"),
        ({"eratos": {"perHost": "yes"}}, "/eratos/perHost", ""),
    ],
)
def test_what_does_not_go_with_one_on_each_host_is_refused(fields: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(InvalidApp) as refused:
        an_app("/logs", fields.pop("instances", 1), **({"eratos": {"perHost": True}} | fields))
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert found.keys() == {path} and said in found[path]


def test_what_speaks_of_a_host_alone_goes_with_one_on_each() -> None:
    constraints = [["hostname", "UNIQUE"], ["rack", "UNLIKE", "r2"], ["@zone", "CLUSTER", "b"], ["disk", "IS", "ssd"]]
    assert an_app("/logs", constraints=constraints, eratos={"perHost": True}).per_host


# Ordinals


@pytest.mark.parametrize(
    ("given", "shown", "first_alone"),
    [
        (True, True, True),
        ({"firstAlone": False}, {"firstAlone": False}, False),
        ({"firstAlone": True}, True, True),
        ({}, True, True),
    ],
)
def test_ordinals_read_back_unchanged(given: Any, shown: Any, first_alone: bool) -> None:
    app = an_app("/db", 3, eratos={"ordinals": given})
    assert app.ordinals and app.first_alone is first_alone and app.to_json()["eratos"] == {"ordinals": shown}
    assert definition.restore(app.to_json()) == app == definition.parse(app.to_json())
    none = an_app("/db", 3, eratos={"ordinals": False})
    assert not none.ordinals and not none.first_alone and "eratos" not in none.to_json()


def test_with_ordinals_nobody_out_of_reach_is_replaced_unless_the_app_says_when() -> None:
    assert an_app("/db", eratos={"ordinals": True}).unreachable_strategy is None
    assert an_app("/db", eratos={"ordinals": False}).unreachable_strategy is not None
    strategy = {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 60}
    found = an_app("/db", eratos={"ordinals": True}, unreachableStrategy=strategy).unreachable_strategy
    assert found is not None and found.expunge_after_seconds == 60


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"eratos": {"ordinals": True, "perHost": True}}, "/eratos/ordinals", "goes without perHost"),
        ({"upgradeStrategy": {"maximumOverCapacity": 0.5}}, "/upgradeStrategy/maximumOverCapacity", "no ordinal is held twice"),
        ({"unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}}, "/unreachableStrategy", '"disabled"'),
        ({"unreachableStrategy": {"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2}}, "/unreachableStrategy", "same value"),
        ({"killSelection": "OLDEST_FIRST"}, "/killSelection", "the highest goes first"),
        ({"labels": {"ERATOS_CANARY": "1"}}, "/labels/ERATOS_CANARY", "remove it"),
        ({"labels": {"ERATOS_BLUE_GREEN": "50%", "ERATOS_ROLLBACK": "true"}}, "/labels/ERATOS_BLUE_GREEN", "remove it"),
        ({"eratos": {"ordinals": "yes"}}, "/eratos/ordinals", 'true, false or {"firstAlone": false}'),
        ({"eratos": {"ordinals": {"first": 1}}}, "/eratos/ordinals/first", ""),
    ],
)
def test_what_does_not_go_with_ordinals_is_refused(fields: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(InvalidApp) as refused:
        an_app("/db", **({"eratos": {"ordinals": True}} | fields))
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert found.keys() == {path} and said in found[path]


def test_an_app_with_ordinals_may_require_itself_and_waits_for_no_deployment_of_its_own() -> None:
    peers = {"peers": {"app": "/db", "onChange": {"signal": "SIGHUP"}}}
    app = an_app("/db", 3, eratos={"ordinals": True, "requires": peers})
    assert app.awaited == () and restart_cycle({"/db": app}) == ()
    with pytest.raises(InvalidApp, match=r"eratos\.ordinals, which has a first"):
        an_app("/db", 3, eratos={"requires": peers})
    with pytest.raises(InvalidApp, match="without end"):
        an_app("/db", 3, eratos={"ordinals": True, "requires": {"peers": {"app": "/db"}}})
