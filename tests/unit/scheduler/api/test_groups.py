"""Groups are kept as Marathon keeps them: without apps, and with what they themselves depend on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app as parsed
from support.builders import an_offer
from support.controller import FakeController

from eratos.scheduler.api import render
from eratos.scheduler.core.records import GroupRecord


def an_app(app_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": app_id, "cmd": "sleep 1000", "instances": 1, "portDefinitions": [], **fields}


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in found]


def test_a_group_without_apps_is_kept_and_shown(api: ApiClient) -> None:
    made = api.post("/v2/groups", json={"id": "/shop", "groups": [{"id": "data"}]})
    assert (made.status_code, made.headers["Location"]) == (201, "/shop")
    shown = api.get("/v2/groups/shop").json()
    assert (shown["version"], ids(shown["groups"])) == (made.json()["version"], ["/shop/data"])
    assert ids(api.get("/v2/groups").json()["groups"]) == ["/shop"]
    assert api.get("/v2/groups/shop?embed=group.apps").json()["groups"] == []
    assert api.get("/v2/groups/shop/versions").json() == [made.json()["version"]]
    assert api.get("/v2/apps/shop/*").json() == {"*": []}
    again = api.post("/v2/groups", json={"id": "/shop"})
    assert (again.status_code, again.json()["message"]) == (
        409, "Group /shop is already created. Use PUT to change this group.",
    )  # fmt: skip


def test_groups_come_with_their_apps_and_outlive_them(api: ApiClient) -> None:
    api.post("/v2/apps", json=an_app("/shop/data/db"))
    assert api.delete("/v2/apps/shop/data/db").status_code == 200
    shown = api.get("/v2/groups/shop").json()
    assert [(group["id"], group["apps"]) for group in shown["groups"]] == [("/shop/data", [])]
    assert api.delete("/v2/groups/shop/data").status_code == 200
    assert api.get("/v2/groups/shop/data").status_code == 404
    assert api.get("/v2/groups/shop").json()["groups"] == []
    assert api.delete("/v2/groups/shop").status_code == 200
    assert api.delete("/v2/groups/shop").json() == {"message": "Group '/shop' does not exist"}


def test_what_a_group_depends_on_is_shown_and_stays_until_it_is_said_anew(api: ApiClient) -> None:
    api.put("/v2/groups/shop", json={"dependencies": ["/auth", "../queue", "/auth"], "apps": [an_app("cart")]})
    assert api.get("/v2/groups/shop").json()["dependencies"] == ["/auth", "/queue"]
    assert "dependencies" not in api.get("/v2/apps/shop/cart").json()["app"]
    before = api.get("/v2/groups/shop").json()["version"]
    # Alone it is a change as well, and no other one.
    assert api.put("/v2/groups/shop", json={"dependencies": ["/db"]}).status_code == 200
    shown = api.get("/v2/groups/shop").json()
    assert (shown["dependencies"], ids(shown["apps"])) == (["/db"], ["/shop/cart"])
    assert shown["version"] > before
    api.put("/v2/groups/shop", json={"apps": [an_app("cart")]})
    assert api.get("/v2/groups/shop").json()["dependencies"] == ["/db"]
    api.put("/v2/groups/shop", json={"dependencies": []})
    assert api.get("/v2/groups/shop").json()["dependencies"] == []


def test_a_list_of_groups_is_the_whole_of_them(api: ApiClient) -> None:
    tree = {"groups": [{"id": "a", "groups": [{"id": "in"}]}, {"id": "b", "apps": [an_app("x")]}, {"id": "c"}]}
    assert api.put("/v2/groups/shop", json=tree).status_code == 200
    assert ids(api.get("/v2/groups/shop").json()["groups"]) == ["/shop/a", "/shop/b", "/shop/c"]
    api.put("/v2/groups/shop", json={"apps": []})  # says nothing of groups
    assert len(api.get("/v2/groups/shop").json()["groups"]) == 3
    api.put("/v2/groups/shop", json={"groups": [{"id": "a"}]})  # says nothing of what is in a
    shown = api.get("/v2/groups/shop").json()
    assert (ids(shown["groups"]), ids(shown["groups"][0]["groups"])) == (["/shop/a"], ["/shop/a/in"])
    assert api.get("/v2/apps").json()["apps"] == []


def test_a_dry_run_keeps_no_group(api: ApiClient, controller: FakeController) -> None:
    api.put("/v2/groups/shop?dryRun=true", json={"dependencies": ["/db"], "apps": [an_app("cart")]})
    assert not controller.machine.state.groups


def test_apps_of_a_group_wait_for_what_it_depends_on(api: ApiClient) -> None:
    api.put("/v2/groups", json={"groups": [{"id": "db", "apps": [an_app("main")]}]})
    body = {"groups": [
        {"id": "db", "apps": [an_app("main", cmd="new")]},
        {"id": "shop", "dependencies": ["/db"], "groups": [{"id": "web", "apps": [an_app("cart")]}]},
    ]}  # fmt: skip
    steps = api.put("/v2/groups?dryRun=true", json=body).json()["steps"]
    planned = [[action["app"] for action in step["actions"]] for step in steps]
    assert planned == [["/shop/web/cart"], ["/db/main"], ["/shop/web/cart"]]  # it is registered, then comes its turn
    deployment = api.put("/v2/groups", json=body).json()["deploymentId"]
    (found,) = [one for one in api.get("/v2/deployments?embed=eratos").json() if one["id"] == deployment]
    assert [[action["app"] for action in step["actions"]] for step in found["steps"]] == planned
    assert found["eratos"]["waiting"] == {"/shop/web/cart": ["/db/main"]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v2/groups/shop", {"dependencies": ["/db"]}),
        ("PUT", "/v2/groups/shop", {"dependencies": ["/shop/cart"]}),
        ("POST", "/v2/apps", an_app("/db/other", dependencies=["/shop"])),
        ("POST", "/v2/groups", {"id": "/new", "dependencies": ["/new"], "apps": [an_app("x")]}),
    ],
)
def test_a_circle_by_way_of_a_group_is_refused(api: ApiClient, method: str, path: str, body: Any) -> None:
    api.put("/v2/groups", json={"groups": [{"id": "shop", "apps": [an_app("cart")]}, {"id": "db", "apps": [an_app("main")]}]})
    api.put("/v2/apps/db/main", json={"dependencies": ["/shop"]})
    if method == "POST":
        api.put("/v2/apps/db/main", json={"dependencies": []})
        api.put("/v2/groups/shop", json={"dependencies": ["/db"]})
    answer = api.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    assert "wait for each other in a circle" in answer.json()["details"][0]["errors"][0]


def test_a_deployment_that_is_taken_back_takes_its_groups_along(api: ApiClient, controller: FakeController) -> None:
    made = api.post("/v2/groups", json={"id": "/shop", "apps": [an_app("cart")], "groups": [{"id": "empty"}]}).json()
    assert api.delete(f"/v2/deployments/{made['deploymentId']}").status_code == 200
    assert api.get("/v2/groups/shop").status_code == 404
    api.put("/v2/groups/bank", json={"dependencies": ["/db"], "apps": [an_app("vault")]})
    controller.launch(an_offer())
    gone = api.delete("/v2/groups/bank?force=true").json()
    assert api.get("/v2/groups/bank").status_code == 404
    assert api.delete(f"/v2/deployments/{gone['deploymentId']}").status_code == 200
    shown = api.get("/v2/groups/bank").json()
    assert (shown["dependencies"], ids(shown["apps"])) == (["/db"], ["/bank/vault"])


def test_a_change_of_groups_alone_is_told(api: ApiClient, controller: FakeController) -> None:
    made = api.post("/v2/groups", json={"id": "/shop"}).json()
    gone = api.delete("/v2/groups/shop").json()
    entries = controller.events.read(0, 1 << 20).entries
    told = [json.loads(entry.document) for entry in entries if entry.kind == "group_change_success"]
    assert [(fields["groupId"], fields["version"]) for fields in told] == [
        ("/shop", made["version"]), ("/shop", gone["version"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/apps", an_app("/shop")),
        ("PUT", "/v2/apps/shop", an_app("/shop")),
        ("POST", "/v2/apps", an_app("/shop/cart/below")),
        ("POST", "/v2/groups", {"id": "/shop/cart/below"}),
        ("PUT", "/v2/groups/shop/cart", {"apps": []}),
        ("PUT", "/v2/groups", {"groups": [{"id": "new", "apps": [an_app("x"), an_app("x/y")]}]}),
        ("POST", "/v2/apps", an_app("/empty")),
    ],
)
def test_an_app_and_a_group_have_not_the_same_id(api: ApiClient, method: str, path: str, body: Any) -> None:
    api.post("/v2/apps", json=an_app("/shop/cart"))
    api.post("/v2/groups", json={"id": "/empty"})
    answer = api.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    (detail,) = answer.json()["details"]
    assert detail["path"] == "/id"
    assert detail["errors"][0].startswith("Groups and Applications may not have the same identifier")


def test_an_app_that_came_with_its_group_while_groups_were_looked_at_breaks_no_answer() -> None:
    looks = [render.Look(parsed(app_id).with_version("v"), {}, "", [], None, None) for app_id in ("/old/a", "/new/b")]
    view = render.View("*", 0.0, lambda app: app.to_json())
    groups = [GroupRecord("/", "", ""), GroupRecord("/old", "u", "u")]
    shown = render.group(looks, groups, "/", frozenset(), render.GROUP_PARTS, view)
    assert [(group["id"], ids(group["apps"])) for group in shown["groups"]] == [("/old", ["/old/a"])]


def test_a_version_shows_what_the_group_depended_on_then_and_brings_it_back(api: ApiClient, controller: FakeController) -> None:
    seen = []
    for needs in ([], ["/auth"], ["/db", "/auth"]):
        controller.now += 1
        body = {"dependencies": needs, "apps": [an_app("cart", cmd=f"sleep {len(needs) + 1}")], "groups": [{"id": "in"}]}
        assert api.put("/v2/groups/shop", json=body).status_code == 200
        seen.append(api.get("/v2/groups/shop").json()["version"])
    assert api.get("/v2/groups/shop/versions").json() == seen[::-1]
    for version, needs in zip(seen, ([], ["/auth"], ["/db", "/auth"]), strict=True):
        assert api.get(f"/v2/groups/shop/versions/{version}").json()["dependencies"] == needs
    controller.now += 1
    assert api.put("/v2/groups/shop", json={"version": seen[1]}).status_code == 200
    shown = api.get("/v2/groups/shop").json()
    assert (shown["dependencies"], shown["apps"][0]["cmd"]) == (["/auth"], "sleep 2")
    assert api.get(f"/v2/groups/shop/versions/{seen[2]}").json()["dependencies"] == ["/db", "/auth"]
