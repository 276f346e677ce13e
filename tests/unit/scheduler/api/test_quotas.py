"""``/v2/quotas``, and how changes that a quota does not allow are answered."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import a_job
from support.controller import FakeController

from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api.gate import Access


def an_app(app_id: str, instances: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": app_id, "cmd": "sleep 1000", "instances": instances, "cpus": 0.5, "mem": 64, "portDefinitions": [], **fields}


POD = {
    "id": "/shop/pod",
    "scaling": {"kind": "fixed", "instances": 2},
    "containers": [
        {"name": name, "resources": {"cpus": 0.5, "mem": 32}, "image": {"kind": "DOCKER", "id": "eratos/hello"}} for name in "ab"
    ],
}


def test_a_quota_is_set_shown_with_what_is_used_and_deleted(api: ApiClient) -> None:
    api.post("/v2/apps", json=an_app("/shop/cart", 3))
    made = api.put("/v2/quotas/shop", json={"instances": 5, "cpus": 2.5, "mem": 1024})
    shown = {
        **{"group": "/shop", "instances": 5, "cpus": 2.5, "mem": 1024, "disk": None},
        "used": {"instances": 3, "cpus": 1.5, "mem": 192, "disk": 0},
        "left": {"instances": 2, "cpus": 1.0, "mem": 832},
    }
    apps = {"apps": {"/shop/cart": {"instances": 3, "cpus": 1.5, "mem": 192, "disk": 0}}}
    assert (made.status_code, made.json(), "Eratos-Notice" in made.headers) == (200, shown | apps, False)
    assert api.get("/v2/quotas").json() == {"quotas": [shown]}
    assert api.get("/v2/quotas/shop").json() == shown | apps
    assert api.get("/v2/explain/shop/cart").json()["quotas"] == [shown]
    assert api.put("/v2/quotas/shop", json=shown | apps | {"instances": 6}).json()["instances"] == 6  # what was shown, sent back
    assert api.delete("/v2/quotas/shop").json()["group"] == "/shop"
    for method in (api.get, api.delete):
        assert (method("/v2/quotas/shop").status_code, method("/v2/quotas/shop").json()["message"]) == (
            404, "Group '/shop' has no quota",
        )  # fmt: skip


def test_the_quota_of_everything_is_that_of_the_root(api: ApiClient) -> None:
    assert api.put("/v2/quotas/%2F", json={"instances": 1}).json()["group"] == "/"
    assert api.get("/v2/quotas/%2F").json()["instances"] == 1
    assert api.post("/v2/apps", json=an_app("/a", 2)).status_code == 422


CHANGES: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "/v2/apps", an_app("/shop/web", 3)),
    "update": ("PUT", "/v2/apps/shop/cart", {"mem": 2048}),
    "scale": ("PUT", "/v2/apps/shop/cart", {"instances": 6}),
    "patch": ("PATCH", "/v2/apps", [{"id": "/shop/cart", "instances": 6}]),
    "group": ("PUT", "/v2/groups/shop", {"apps": [an_app("cart", 3), an_app("web", 3)]}),
    "scaled group": ("PUT", "/v2/groups/shop", {"scaleBy": 2}),
    "pod": ("POST", "/v2/pods", {**POD, "scaling": {"kind": "fixed", "instances": 3}}),
    "dry run": ("PUT", "/v2/apps/shop/cart?dryRun=true", {"instances": 6}),
    "dry run of a group": ("PUT", "/v2/groups/shop?dryRun=true", {"apps": [an_app("cart", 6)]}),
    "run": ("POST", "/v1/jobs/shop.job/runs", None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_that_would_exceed_it_is_refused_with_who_uses_what(
    api: ApiClient, controller: FakeController, name: str
) -> None:
    api.post("/v2/apps", json=an_app("/shop/cart", 3))
    api.post("/v1/jobs", json={**a_job("shop.job").to_json(), "run": {"cmd": "x", "cpus": 1, "mem": 2048}})
    api.put("/v2/quotas/shop", json={"instances": 5, "mem": 2048})
    before = dict(controller.machine.state.apps)
    method, path, body = CHANGES[name]
    answer = api.request(method, path, json=body)
    assert answer.status_code == 422
    message = answer.json()["message"]
    assert message.startswith("the quota of /shop allows ")
    assert message.endswith("; used by /shop/cart (3 instances, 192 MiB of memory)")
    assert controller.machine.state.apps == before


def test_what_fits_is_done_pods_included(api: ApiClient) -> None:
    api.put("/v2/quotas/shop", json={"instances": 5, "cpus": 3.5})
    assert api.post("/v2/pods", json=POD).status_code == 201
    assert api.post("/v2/apps", json=an_app("/shop/cart", 3)).status_code == 201
    assert api.get("/v2/quotas/shop").json()["left"] == {"instances": 0, "cpus": 0.0}


def test_less_than_is_in_use_is_taken_and_said(api: ApiClient) -> None:
    api.post("/v2/apps", json=an_app("/shop/cart", 3))
    answer = api.put("/v2/quotas/shop", json={"instances": 2, "cpus": 1, "mem": 192})
    assert (answer.status_code, answer.json()["left"]) == (200, {"instances": -1, "cpus": -0.5, "mem": 0})
    assert answer.headers["Eratos-Notice"] == (
        "less than is in use of instances, cpus: nothing is stopped, and what asks for more is refused"
    )
    assert api.get("/v2/apps/shop/cart").json()["app"]["instances"] == 3
    assert api.put("/v2/apps/shop/cart", json={"cmd": "other"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        ([], "/", "must be an object"),
        ({}, "/", "must bound one of instances, cpus, mem, disk; DELETE has no quota at all"),
        ({"instances": None}, "/", "must bound one of"),
        ({"instance": 3, "mem": 1}, "/instance", "is no field of a quota: did you mean instances?"),
        ({"colour": 3, "mem": 1}, "/colour", "is no field of a quota: use instances, cpus, mem, disk"),
        ({"instances": -1}, "/instances", "must be a whole number from 0 to 2147483647, or null for any"),
        ({"instances": 1.5}, "/instances", "must be a whole number"),
        ({"instances": True}, "/instances", "must be a whole number"),
        ({"cpus": "2"}, "/cpus", "must be a number of CPUs from 0"),
        ({"mem": 2**31}, "/mem", "must be a whole number of MiB from 0"),
        ({"disk": 1, "group": "/other"}, "/group", "is not /shop, which the address names: leave it out"),
        ({"disk": 1, "group": [1]}, "/group", "is not /shop"),
    ],
)
def test_a_bad_quota_is_refused_by_field(api: ApiClient, body: Any, path: str, said: str) -> None:
    answer = api.put("/v2/quotas/shop", json=body)
    assert answer.status_code == 422
    [problem] = answer.json()["details"]
    assert problem["path"] == path
    assert problem["errors"][0].startswith(said)
    assert api.get("/v2/quotas").json() == {"quotas": []}


def test_users_are_named_the_greatest_share_first_and_no_more_than_five(api: ApiClient) -> None:
    for name, mem in zip("abcdefg", (10, 70, 30, 20, 60, 50, 40), strict=True):
        api.post("/v2/apps", json=an_app(f"/shop/{name}", 1, mem=mem))
    api.put("/v2/quotas/shop", json={"instances": 100, "mem": 300})
    message = api.put("/v2/apps/shop/a", json={"mem": 100}).json()["message"]
    used = message.partition("; used by ")[2]
    assert used == ", ".join(
        [f"/shop/{name} (1 instances, {mem} MiB of memory)" for name, mem in zip("befgc", (70, 60, 50, 40, 30), strict=True)]
        + ["2 more"]
    )


# Who may

PEOPLE = {"operator": "operate:/", "shop": "operate:/shop", "cart": "deploy:/shop/cart", "bank": "view:/bank"}
TOKENS = {name: credentials.new_token() for name in PEOPLE}


def as_(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}


@pytest.fixture
def guarded(tmp_path: Any) -> ApiClient:
    path = tmp_path / "credentials"
    lines = [
        credentials.line(name, "token", credentials.token_entry(TOKENS[name]), (Grant.parse(role),))
        for name, role in PEOPLE.items()
    ]
    path.write_text("".join(lines))
    path.chmod(0o600)
    access = Access(BrowserGuard.of([".test"]), Authenticator(CredentialsFile(path)))
    return ApiClient(an_api(FakeController(), access=access))


def test_a_dry_run_says_what_would_be_left_and_sets_nothing(guarded: ApiClient) -> None:
    guarded.post("/v2/apps", json=an_app("/shop/cart", 2), headers=as_("operator"))
    planned = guarded.put("/v2/quotas/shop?dryRun=true", json={"instances": 1}, headers=as_("operator"))
    assert (planned.status_code, planned.json()["left"]) == (200, {"instances": -1})
    assert "less than is in use of instances" in planned.headers["Eratos-Notice"]
    assert guarded.put("/v2/quotas/shop?dryRun=true", json={"instances": 9}, headers=as_("shop")).status_code == 403
    assert guarded.put("/v2/quotas/shop?dryRun=true", json={"cpu": 9}, headers=as_("operator")).status_code == 422
    assert guarded.get("/v2/quotas", headers=as_("operator")).json() == {"quotas": []}


def test_whom_a_quota_bounds_cannot_lift_it(guarded: ApiClient) -> None:
    assert guarded.put("/v2/quotas/shop", json={"instances": 3}, headers=as_("operator")).status_code == 200
    assert guarded.put("/v2/quotas/shop", json={"instances": 9}, headers=as_("shop")).status_code == 403
    assert guarded.delete("/v2/quotas/shop", headers=as_("shop")).status_code == 403
    assert guarded.put("/v2/quotas/shop/cart", json={"instances": 1}, headers=as_("shop")).status_code == 200
    assert guarded.put("/v2/quotas/shop/cart", json={"instances": 9}, headers=as_("cart")).status_code == 403
    assert guarded.delete("/v2/groups/shop", headers=as_("shop")).status_code == 404  # no group is needed for it
    assert guarded.get("/v2/quotas/shop", headers=as_("operator")).json()["instances"] == 3


def test_of_other_apps_one_learns_only_how_much_they_use_together(guarded: ApiClient) -> None:
    for app_id in ("/shop/cart", "/shop/hidden"):
        guarded.post("/v2/apps", json=an_app(app_id), headers=as_("operator"))
    guarded.put("/v2/quotas/shop", json={"instances": 3}, headers=as_("operator"))
    shown = guarded.get("/v2/quotas/shop", headers=as_("cart")).json()
    assert (list(shown["apps"]), shown["used"]["instances"]) == (["/shop/cart"], 2)
    answer = guarded.put("/v2/apps/shop/cart", json={"instances": 9}, headers=as_("cart"))
    assert answer.status_code == 422
    assert answer.json()["message"].endswith("and 1 are left; used by /shop/cart (1 instances)")
    assert guarded.get("/v2/quotas/shop", headers=as_("bank")).status_code == 403
    assert guarded.get("/v2/quotas", headers=as_("bank")).json() == {"quotas": []}
