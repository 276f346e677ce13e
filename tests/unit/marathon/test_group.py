"""Groups: relative ids, what they depend on, problems with the place in the whole document."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon.errors import InvalidApp
from eratos.marathon.group import Group, dependency_cycle


def app(app_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": app_id, "container": {"docker": {"image": "x"}}} | fields


def problems(group: Any) -> dict[str, str]:
    with pytest.raises(InvalidApp) as invalid:
        Group.parse(group)
    return {problem.path: problem.message for problem in invalid.value.problems}


def test_ids_are_resolved_down_the_tree() -> None:
    group = Group.parse(
        {"id": "shop", "apps": [app("cart"), app("/shop/auth")], "groups": [{"id": "data", "apps": [app("db")], "groups": []}]}
    )
    assert [made.id for made in group.apps()] == ["/shop/cart", "/shop/auth", "/shop/data/db"]
    assert [made.id for made in group.own_apps] == ["/shop/cart", "/shop/auth"]


def test_what_a_group_depends_on_stands_with_the_group() -> None:
    group = Group.parse(
        {
            "id": "/shop",
            "dependencies": ["/auth"],
            "apps": [app("cart", dependencies=["data/db"])],
            "groups": [{"id": "data", "dependencies": ["../queue"], "apps": [app("db")]}, {"id": "more"}],
        }
    )
    assert {made.id: made.dependencies for made in group.apps()} == {"/shop/cart": ("/shop/data/db",), "/shop/data/db": ()}
    assert {one.id: one.dependencies for one in group.all()} == {
        "/shop": ("/auth",),
        "/shop/data": ("/shop/queue",),
        "/shop/more": None,
    }


def test_problems_name_the_place_in_the_whole_document() -> None:
    bad = {
        "id": "/shop",
        "apps": [app("cart"), app("pay", mem="x")],
        "groups": [{"id": "Data", "apps": [5]}],
        "pods": [{}],
        "dependancies": [],
    }
    of_pods = {"/pods(0)/id", "/pods(0)/containers"}
    assert set(problems(bad)) == {"/apps(1)/mem", "/groups(0)/id", "/groups(0)/apps(0)", "/dependancies"} | of_pods


@pytest.mark.parametrize(
    "junk", [None, [], 5, {"id": 5}, {"apps": {}}, {"groups": "x"}, {"groups": [None]}, {"dependencies": [5]}]
)
def test_junk_is_refused(junk: Any) -> None:
    assert problems(junk)


def test_an_app_outside_of_its_group_is_refused() -> None:
    assert "outside" in problems({"id": "/shop", "apps": [app("/other/cart")]})["/apps(0)/id"]


def test_an_app_given_twice_is_refused() -> None:
    assert "twice" in problems({"id": "/shop", "apps": [app("cart"), app("/shop/cart")]})["/"]


def test_apps_that_wait_for_each_other_are_refused() -> None:
    found = problems(
        {"id": "/s", "apps": [app("a", dependencies=["b"]), app("b", dependencies=["c"]), app("c", dependencies=["a"])]}
    )
    assert "/s/a -> /s/b -> /s/c -> /s/a" in found["/dependencies"]


def test_a_dependency_on_a_group_is_one_on_each_app_in_it() -> None:
    whole = Group.parse(
        {"id": "/", "apps": [app("a", dependencies=["/g"])], "groups": [{"id": "g", "apps": [app("x"), app("y")]}]}
    )
    apps = {made.id: made for made in whole.apps()}
    assert dependency_cycle(apps) == ()
    apps["/g/y"] = apps["/g/y"].model_copy(update={"dependencies": ("/a",)})
    assert dependency_cycle(apps) == ("/a", "/g/y", "/a")


def test_fields_of_groups_that_nobody_knows_are_told() -> None:
    group = Group.parse({"id": "/shop", "colour": "red", "groups": [{"id": "a", "x" * 90: 1}]})
    assert [place for place, _ in group.all_dropped()] == ["/shop /colour", f"/shop/a /{'x' * 60}…"]


@pytest.mark.parametrize("field", ["_apps", "$group", "comment", "// apps"])
def test_a_remark_in_a_group_is_no_misspelling(field: str) -> None:
    assert [reason for _, reason in Group.parse({"id": "/shop", field: "x"}).all_dropped()] == [
        "no field of a group that eratos knows, nor Marathon"
    ]


@pytest.mark.parametrize("document", [{"id": "/shop", "cmd": "x"}, {"id": "/", "groups": [{"id": "shop", "instances": 1}]}])
def test_an_app_sent_as_a_group_does_not_come_to_nothing(document: Any) -> None:
    with pytest.raises(InvalidApp) as caught:
        Group.parse(document)
    [problem] = caught.value.problems
    assert problem.message.startswith("is a field of an app, not of a group") and problem.path.endswith(("/cmd", "/instances"))


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"groups": [{"id": "/other"}]}, "/groups(0)/id", "is /other, outside of the group /shop"),
        ({"groups": [{"id": "a"}, {"id": ".."}]}, "/groups(1)/id", "is /, outside of the group /shop"),
        ({"groups": [{"id": "/shop"}]}, "/groups(0)/id", "is /shop, outside of the group /shop"),
        ({"groups": [{"apps": []}]}, "/groups(0)/id", "is missing"),
        ({"groups": [{"id": "a"}, {"id": "/shop/a", "dependencies": ["/db"]}]}, "/groups(1)/id", "which is there twice"),
        ({"groups": [{"id": "a", "groups": [{"id": "/shop/b"}]}]}, "/groups(0)/groups(0)/id", "outside of the group /shop/a"),
        ({"dependencies": ["/db", "/shop"]}, "/dependencies", "hold /shop, by which"),
        ({"dependencies": ["a"], "groups": [{"id": "a"}]}, "/dependencies", "hold /shop/a, by which"),
        ({"dependencies": ["/"]}, "/dependencies", "hold /, by which"),
    ],
)
def test_a_group_that_means_nothing_is_refused(fields: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidApp) as caught:
        Group.parse({"id": "/shop", **fields})
    [problem] = caught.value.problems
    assert (problem.path, words in problem.message) == (path, True), problem
