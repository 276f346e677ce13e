"""/v2/apps: Marathon's verbs, forms and status codes."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.marathon.errors import InvalidApp
from eratos.scheduler.api import definitions
from eratos.scheduler.core.events import PutApps
from eratos.scheduler.core.records import RECORD_BYTES_MAX


def definition(app_id: str = "/shop/cart", **fields: Any) -> dict[str, Any]:
    return {"id": app_id, "cpus": 0.1, "mem": 32, "container": {"docker": {"image": "shop/cart"}}} | fields


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"] == "Object is not valid"
    return {detail["path"]: detail["errors"] for detail in answer.json()["details"]}


def test_a_created_app_is_answered_with_201_its_address_and_its_deployment(api: ApiClient) -> None:
    answer = api.post("/v2/apps", json=definition())
    assert answer.status_code == 201
    assert answer.headers["location"] == "/shop/cart"
    shown = answer.json()
    assert shown["id"] == "/shop/cart"
    assert shown["version"].endswith("Z")
    assert shown["deployments"] == [{"id": answer.headers["marathon-deployment-id"]}]


def test_creating_an_app_twice_is_a_conflict(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition())
    answer = api.post("/v2/apps", json=definition())
    assert (answer.status_code, answer.json()) == (409, {"message": "An app with id [/shop/cart] already exists."})


def test_every_problem_of_a_definition_is_answered_at_once_with_its_place(api: ApiClient) -> None:
    answer = api.post("/v2/apps", json=definition(cpus="many", instances=-1, residency={"taskLostBehavior": "WAIT_FOREVER"}))
    assert set(errors(answer)) == {"/cpus", "/instances", "/residency"}


def test_malformed_json_is_a_bad_request(api: ApiClient) -> None:
    answer = api.post("/v2/apps", content=b"{'id': 1}")
    assert answer.status_code == 400
    assert answer.json()["message"] == "Invalid JSON"
    assert "no valid JSON" in answer.json()["details"][0]["errors"][0]


@pytest.mark.parametrize("depth", [100, 900, 100_000])
@pytest.mark.parametrize("path", ["/v2/apps", "/v2/groups"])
def test_a_bottomless_body_is_refused(api: ApiClient, path: str, depth: int) -> None:
    answer = api.post(path, content=b'{"groups":[' * depth + b"]}" * depth)
    assert answer.status_code in (400, 422), answer.text


def test_a_body_without_end_is_refused(api: ApiClient) -> None:
    assert api.post("/v2/apps", content=b" " * (5 * 1024 * 1024)).status_code == 413


def test_a_definition_too_large_for_the_store_is_refused(api: ApiClient) -> None:
    answer = api.post("/v2/apps", json=definition(env={f"TEXT_{n}": "x" * (RECORD_BYTES_MAX // 5) for n in range(5)}))
    assert "the store keeps" in errors(answer)["/"][0]


def test_a_shown_app_counts_its_tasks_and_lists_them(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition(instances=2, healthChecks=[{"protocol": "TCP"}]))
    first, second = controller.launch(an_offer())
    controller.update(first, "RUNNING", healthy=True)
    shown = api.get("/v2/apps/shop/cart").json()["app"]
    assert [shown[f"tasks{kind}"] for kind in ("Staged", "Running", "Healthy", "Unhealthy")] == [1, 1, 1, 0]
    assert {task["id"]: task["state"] for task in shown["tasks"]} == {first: "TASK_RUNNING", second: "TASK_STAGING"}
    assert shown["tasks"][0]["host"] == "host-a1"
    assert len(shown["tasks"][0]["ports"]) == 1


def test_a_shown_app_can_be_sent_back_unchanged(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition())
    shown = api.get("/v2/apps/shop/cart").json()["app"]
    assert api.put("/v2/apps/shop/cart", json=shown).status_code == 200
    assert api.get("/v2/apps/shop/cart").json()["app"]["version"] == shown["version"]


@pytest.mark.parametrize(
    "address", ["/v2/apps/shop/cart", "/v2/apps//shop/cart", "/v2/apps/%2Fshop%2Fcart", "/v2/apps/shop/cart/"]
)
def test_an_app_is_found_under_every_way_to_write_its_address(api: ApiClient, address: str) -> None:
    api.post("/v2/apps", json=definition())
    assert api.get(address).json()["app"]["id"] == "/shop/cart"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
@pytest.mark.parametrize("app_id", ["nosuch", "No Such"])
def test_an_unknown_app_is_not_found(api: ApiClient, method: str, app_id: str) -> None:
    answer = api.request(method, f"/v2/apps/{app_id}", json={} if method == "PATCH" else None)
    assert answer.status_code in (404, 422)
    if app_id == "nosuch":
        assert (answer.status_code, answer.json()) == (404, {"message": "App '/nosuch' does not exist"})


def test_the_list_filters_by_id_command_and_label(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition("/a", cmd="serve", labels={"tier": "web"}))
    api.post("/v2/apps", json=definition("/b", labels={"tier": "db"}))

    def found(**query: str) -> list[str]:
        return [app["id"] for app in api.get("/v2/apps", params=query).json()["apps"]]

    assert found() == ["/a", "/b"]
    assert found(id="b") == ["/b"]
    assert found(cmd="serv") == ["/a"]
    assert found(label="tier==web") == ["/a"]
    assert found(label="tier!=web") == ["/b"]
    assert found(label="tier") == ["/a", "/b"]
    assert found(unheard="of") == ["/a", "/b"]


def test_a_selector_beyond_the_known_grammar_is_refused(api: ApiClient) -> None:
    assert "/label" in errors(api.get("/v2/apps", params={"label": "tier in web"}))


def test_the_apps_of_a_group_are_listed_under_a_star(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition("/shop/cart"))
    api.post("/v2/apps", json=definition("/shopping"))
    assert [app["id"] for app in api.get("/v2/apps/shop/*").json()["*"]] == ["/shop/cart"]


def test_a_put_changes_only_what_it_names(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition(env={"A": "1"}))
    assert api.put("/v2/apps/shop/cart", json={"mem": 64}).status_code == 200
    app = controller.machine.state.apps["/shop/cart"]
    assert (app.mem, app.env, app.image) == (64, {"A": "1"}, "shop/cart")


def test_a_put_without_partial_update_replaces_the_whole(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition(env={"A": "1"}))
    answer = api.put("/v2/apps/shop/cart?partialUpdate=false", json={"container": {"docker": {"image": "new"}}})
    assert answer.status_code == 200
    app = controller.machine.state.apps["/shop/cart"]
    assert (app.image, app.env, app.cpus) == ("new", {}, 1)


def test_a_put_of_a_new_id_creates_the_app(api: ApiClient) -> None:
    answer = api.put("/v2/apps/new", json={"container": {"docker": {"image": "new"}}})
    assert answer.status_code == 201
    assert api.get("/v2/apps/new").status_code == 200


def test_a_put_with_another_id_in_its_body_is_refused(api: ApiClient) -> None:
    assert "/id" in errors(api.put("/v2/apps/shop/cart", json=definition("/shop/basket")))
    assert api.put("/v2/apps/shop/cart", json=definition("cart")).status_code == 201


def test_scaling_is_no_new_version(api: ApiClient, controller: FakeController) -> None:
    version = api.post("/v2/apps", json=definition()).json()["version"]
    assert api.put("/v2/apps/shop/cart", json={"instances": 7}).status_code == 200
    app = controller.machine.state.apps["/shop/cart"]
    assert (app.instances, app.version) == (7, version)


def test_a_put_may_move_an_app_to_another_network(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition(portDefinitions=[{"port": 0, "name": "http"}]))
    bridged = {"docker": {"image": "shop/cart", "network": "BRIDGE"}, "portMappings": [{"containerPort": 80}]}
    assert api.put("/v2/apps/shop/cart", json={"container": bridged}).status_code == 200
    app = controller.machine.state.apps["/shop/cart"]
    assert (app.network, [port.container_port for port in app.ports]) == ("bridge", [80])
    assert api.put("/v2/apps/shop/cart", json={"networks": [{"mode": "host"}]}).status_code == 200
    assert controller.machine.state.apps["/shop/cart"].network == "host"


def test_a_put_may_replace_the_command_by_arguments(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition(cmd="serve"))
    assert api.put("/v2/apps/shop/cart", json={"args": ["serve", "-v"]}).status_code == 200
    assert controller.machine.state.apps["/shop/cart"].command_args == ("serve", "-v")


def test_many_apps_are_put_as_one_command(api: ApiClient, controller: FakeController) -> None:
    assert api.put("/v2/apps", json=[definition("/a"), definition("/b")]).status_code == 200
    assert isinstance(controller.commands[-1], PutApps)
    assert sorted(controller.machine.state.apps) == ["/a", "/b"]


def test_one_bad_app_among_many_changes_nothing(api: ApiClient, controller: FakeController) -> None:
    answer = api.put("/v2/apps", json=[definition("/a"), definition("/b", mem=-1), {"id": 5}])
    assert {"(1)/mem", "(2)/id"} <= set(errors(answer))
    assert not controller.machine.state.apps


def test_an_app_given_twice_is_refused(api: ApiClient) -> None:
    assert "/" in errors(api.put("/v2/apps", json=[definition("/a"), definition("a")]))


def test_two_apps_cannot_share_a_consul_service(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition("/shop/cart"))
    assert "shop-cart" in errors(api.post("/v2/apps", json=definition("/shop-cart")))["/id"][0]


def test_apps_that_share_a_consul_service_since_before_keep_no_others_from_being_changed() -> None:
    known = {app_id: an_app(app_id) for app_id in ("/shop/cart", "/shop-cart", "/blog")}
    definitions.check(known, (an_app("/blog", cmd="another"),), None)
    with pytest.raises(InvalidApp, match="shop-cart, which /shop/cart has already"):
        definitions.check(known, (an_app("/shop-cart", cmd="another"),), None)


def test_a_consul_service_may_go_from_one_app_to_another_at_once() -> None:
    named = [{"port": 0, "name": "web"}, {"port": 0, "name": "db"}]
    known = {"/shop": an_app("/shop", portDefinitions=named)}
    assert known["/shop"].service_names == ("shop", "shop-db")
    definitions.check(known, (an_app("/shop-db"), an_app("/shop")), None)
    with pytest.raises(InvalidApp, match="shop-db, which /shop has already"):
        definitions.check(known, (an_app("/shop-db"),), None)


def test_two_new_apps_cannot_share_a_consul_service() -> None:
    with pytest.raises(InvalidApp, match="shop-cart, which /shop/cart has already"):
        definitions.check({}, (an_app("/shop/cart"), an_app("/shop-cart")), None)


def test_apps_cannot_wait_for_each_other_in_a_circle(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition("/a", dependencies=["/b"]))
    assert "/dependencies" in errors(api.post("/v2/apps", json=definition("/b", dependencies=["/a"])))


def test_a_role_the_scheduler_has_not_is_refused(api: ApiClient) -> None:
    answer = api.post("/v2/apps", json=definition(role="web", acceptedResourceRoles=["web"]))
    assert set(errors(answer)) == {"/role", "/acceptedResourceRoles"}
    assert api.post("/v2/apps", json=definition(role="*", acceptedResourceRoles=["*"])).status_code == 201


@pytest.mark.parametrize("roles", [["*"], ["web"], ["*", "web"], []])
def test_resources_of_the_schedulers_role_of_others_or_of_either_may_be_accepted(
    controller: FakeController, roles: list[str]
) -> None:
    api = ApiClient(an_api(controller, role="web"))  # type: ignore[arg-type]
    assert api.post("/v2/apps", json=definition(acceptedResourceRoles=roles)).status_code == 201
    assert api.get("/v2/apps/shop/cart").json()["app"].get("acceptedResourceRoles", []) == roles


def test_a_deleted_app_is_gone(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition())
    assert set(api.delete("/v2/apps/shop/cart").json()) == {"version", "deploymentId"}
    assert api.get("/v2/apps/shop/cart").status_code == 404


def test_the_last_failure_is_shown(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition())
    (task,) = controller.launch(an_offer())
    controller.update(task, "FAILED", message="exit status 1")
    failure = api.get("/v2/apps/shop/cart").json()["app"]["lastTaskFailure"]
    assert (failure["taskId"], failure["state"], failure["message"]) == (task, "TASK_FAILED", "exit status 1")


def test_a_parameter_of_the_wrong_type_is_answered_in_marathons_form(api: ApiClient) -> None:
    assert "/force" in errors(api.delete("/v2/apps/shop/cart?force=perhaps"))


BRIDGE = {"type": "DOCKER", "docker": {"image": "x", "network": "BRIDGE"}}


@pytest.mark.parametrize("way", ["PUT", "PATCH", "PUT of a list", "PATCH of a list"])
def test_a_process_may_be_given_a_container_with_another_network(api: ApiClient, way: str) -> None:
    api.post("/v2/apps", json={"id": "/mv", "cmd": "sleep 1000"})
    method, _, many = way.partition(" of ")

    def change(**fields: Any) -> Any:
        if many:
            return api.request(method, "/v2/apps", json=[{"id": "/mv", **fields}])
        return api.request(method, "/v2/apps/mv", json=fields)

    assert "/networks" in str(errors(change(networks=[{"mode": "container/bridge"}])))
    assert change(container=BRIDGE).status_code == 200
    shown = api.get("/v2/apps/mv").json()["app"]
    assert shown["networks"] == [{"mode": "container/bridge"}]
    assert "portDefinitions" not in shown
    assert change(networks=[{"mode": "host"}]).status_code == 200
    assert "portMappings" not in api.get("/v2/apps/mv").json()["app"]["container"]


def test_a_label_without_a_name_states_nothing(api: ApiClient) -> None:
    assert api.post("/v2/apps", json=definition(labels={"": "tcp"})).status_code == 201


def test_a_field_without_effect_is_told_and_remembered_and_makes_no_new_version(api: ApiClient) -> None:
    said = "/colour not heeded: no field that eratos knows, nor Marathon"
    assert said in api.post("/v2/apps", json=definition(colour="red")).headers["Eratos-Notice"]
    version = api.get("/v2/apps/shop/cart").json()["app"]["version"]
    assert "colour" not in api.get("/v2/apps/shop/cart").json()["app"]
    api.put("/v2/apps/shop/cart", json={"instances": 3})
    api.put("/v2/apps", json=[{"id": "/shop/cart", "instances": 2, "flavour": "sour"}])
    explained = api.get("/v2/apps/shop/cart/explain").json()["definition"]
    assert [item["path"] for item in explained] == ["/colour", "/flavour"]
    assert api.get("/v2/apps/shop/cart").json()["app"]["version"] == version
    api.put("/v2/apps/shop/cart?partialUpdate=false", json=definition())
    assert api.get("/v2/apps/shop/cart/explain").json()["definition"] == []


def test_notices_can_be_told_apart(api: ApiClient) -> None:
    network = {"networks": [{"mode": "container", "name": "calico"}], "portDefinitions": None}
    notices = api.post("/v2/apps", json=definition(**network)).headers["Eratos-Notice"].split("; ")
    of_network = "the Docker network calico, ports are published on the agent's host as well, where balancers find them"
    assert [notice for notice in notices if not notice.startswith("port ")] == [f"/networks(0) translated: {of_network}"]


def test_fields_without_effect_of_a_group_are_told(api: ApiClient) -> None:
    group = {"id": "/shop", "colour": "red", "apps": [definition("cart", flavour="sour")]}
    for answer in (api.post("/v2/groups", json=group), api.put("/v2/groups/shop", json=group)):
        assert answer.headers["Eratos-Notice"].startswith("/shop /colour not heeded")
    assert (
        "/shop/cart /flavour not heeded"
        in api.put("/v2/groups", json={"apps": [definition("/b"), definition("/shop/cart", cpus=1, flavour="x")]}).headers[
            "Eratos-Notice"
        ]
    )


def test_a_task_shows_what_its_apps_check_was_answered_last(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=definition(check={"tcp": {"portIndex": 0}}))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    assert "checkResult" not in api.get("/v2/tasks").json()["tasks"][0]
    controller.update(task, "RUNNING", check={"tcp": {"succeeded": True}})
    controller.update(task, "RUNNING", healthy=True)
    assert api.get("/v2/tasks").json()["tasks"][0]["checkResult"] == {"tcp": {"succeeded": True}}


@pytest.mark.parametrize("name", ["\u00e4\u00f6", "\U0002a9ec", "a\r\nX-Evil: 1", "\x7f\x00b"])
def test_a_notice_names_a_field_whatever_its_letters(api: ApiClient, name: str) -> None:
    answer = api.post("/v2/apps", json=definition() | {f"{name}-of-nobody": 1})
    if "\x00" in name:
        assert answer.status_code == 422
        return
    assert answer.status_code == 201
    assert "of-nobody" in answer.headers["Eratos-Notice"]
    assert answer.headers["Eratos-Notice"].isprintable() and answer.headers["Eratos-Notice"].isascii()
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        *((f"PUT /v2/apps/shop/cart?{name}=true", "dryRun") for name in ("dryrun", "DryRun", "dry_run", "dry-run", "dryRunn")),
        ("PUT /v2/apps/shop/cart?partialupdate=false", "partialUpdate"),
        *((f"PATCH /v2/apps/shop/cart?{name}=true", "force") for name in ("Force", "forse", "forced")),
        ("POST /v2/apps?dryrun=true", "dryRun"),
        ("PUT /v2/apps?dryrun=true", "dryRun"),
        ("PUT /v2/groups/shop?dryrun=true", "dryRun"),
        ("PUT /v2/pods/pod?dryrun=true", "dryRun"),
        ("DELETE /v2/apps/shop/cart/tasks?hosts=a", "host"),
        ("DELETE /v2/apps/shop/cart?Wipe=true", "wipe"),
        ("POST /v2/tasks/delete?scaled=true", "scale"),
        ("DELETE /v2/leader?back_up=file", "backup"),
    ],
)
def test_a_change_with_a_misspelt_parameter_is_not_made(
    api: ApiClient, controller: FakeController, asked: str, meant: str
) -> None:
    api.post("/v2/apps", json=definition())
    before = len(controller.commands)
    method, address = asked.split()
    answer = api.request(method, address, json=definition(instances=5))
    assert answer.status_code == 422, answer.text
    assert any(f"did you mean {meant}?" in message for messages in errors(answer).values() for message in messages)
    assert (len(controller.commands), controller.abdicated) == (before, False)


@pytest.mark.parametrize("parameters", ["_=17", "pretty", "callback=x", "x" * 5000 + "=1", "force=true&_=1", ""])
def test_other_parameters_are_left_alone_as_in_marathon(api: ApiClient, parameters: str) -> None:
    api.post("/v2/apps", json=definition())
    assert api.put(f"/v2/apps/shop/cart?{parameters}", json={"instances": 2}).status_code == 200
    assert api.get(f"/v2/apps?labels=x&{parameters}").status_code == 200
