"""Whatever the API says to somebody names no app that they may not view, also where another app is the reason."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.common.browser_guard import BrowserGuard
from eratos.marathon.app import App
from eratos.marathon.job import parse as a_job
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.access.roles import Grant, Identity
from eratos.scheduler.api.caller import Caller
from eratos.scheduler.api.discretion import APP, GROUP, Discretion, Hide
from eratos.scheduler.api.gate import Access
from eratos.scheduler.core.events import DeleteApps, PutApps, PutJob, StartRun
from eratos.scheduler.core.launches import Trouble
from eratos.scheduler.core.records import VolumeRecord

TOKEN = credentials.new_token()
SHOP = Identity("shop", (Grant.parse("deploy:/shop"),))
VAULT = "/bank/vault"
LABELS = {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "vault.test", "HAPROXY_0_PORT": "9443"}


def with_volume(app_id: str, options: Any = None, **fields: Any) -> dict[str, Any]:
    external = {"name": "ledger", "provider": "dvdi", "options": options or {"dvdi/driver": "rexray"}}
    docker = {"image": "x"}
    volumes = [{"containerPath": "/data", "mode": "RW", "external": external}]
    return an_app(app_id, container={"type": "DOCKER", "docker": docker, "volumes": volumes}, **fields).to_json()


def requiring(app_id: str, of: str, **fields: Any) -> App:
    return an_app(app_id, eratos={"requires": {"db": {"app": of, "port": "http", **fields}}})


@pytest.fixture
def controller() -> FakeController:
    controller = FakeController()
    vault = an_app(VAULT, container=with_volume(VAULT)["container"], labels=LABELS)
    controller.submit(PutApps((an_app("/shop/db"), an_app("/shop/web"), an_app("/shop-front"))))
    controller.submit(PutApps((vault, requiring("/bank/till", "/shop/db", wait=False))))
    return controller


@pytest.fixture
def api(controller: FakeController, tmp_path: Any) -> ApiClient:
    return as_shop(controller, tmp_path)


def as_shop(controller: FakeController, tmp_path: Any, **settings: Any) -> ApiClient:
    file = tmp_path / "credentials"
    file.write_text(credentials.line("shop", "token", credentials.token_entry(TOKEN), SHOP.grants))
    file.chmod(0o600)
    access = Access(BrowserGuard.of([".test"]), Authenticator(CredentialsFile(file)))
    client = ApiClient(an_api(controller, access=access, **settings))
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


def claiming(**labels: str) -> dict[str, Any]:
    return an_app("/shop/new", labels={"HAPROXY_GROUP": "external", **labels}).to_json()


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/v2/apps", claiming(HAPROXY_0_VHOST="vault.test"), f"claims vault.test for /shop/new, and {APP} has it"),
        ("POST", "/v2/apps", claiming(HAPROXY_0_PORT="9443"), f"claims port 9443 for /shop/new, and {APP} has it already"),
        ("POST", "/v2/apps", with_volume("/shop/new"), f"is ledger, to which {APP} writes"),
        ("POST", "/v2/apps", with_volume("/shop/new", {"dvdi/driver": "pxd"}), f"is ledger, which {APP} has with another driver"),
        ("POST", "/v2/apps", an_app("/shop/front").to_json(), f"gives the Consul service shop-front, which {APP} has already"),
        ("POST", "/v2/apps", requiring("/shop/new", "/zzz/vault").to_json(), "there is no such app: apply it first"),
        ("POST", "/v2/apps", requiring("/shop/new", "/shop/we").to_json(), "did you mean /shop/web?"),
        ("PUT", "/v2/apps//shop/db", {"portDefinitions": []}, f"miss the port http, which {APP} requires as db"),
        ("GET", "/v2/deployments/{of_vault}", None, "has not the role view for an app that it may not view"),
        ("DELETE", "/v2/deployments/{of_vault}", None, "has not the role deploy for an app that it may not view"),
        ("POST", "/v2/deployments/{of_vault}/pause", None, "has not the role deploy for an app that it may not view"),
        ("GET", "/v2/volumes/eratos-x", None, "has not the role view for an app that it may not view"),
        ("PUT", "/v2/groups", {"id": "/", "apps": []}, "shop has not the role deploy for an app that it may not view"),
    ],
)
def test_a_refusal_names_no_other_app(
    api: ApiClient, controller: FakeController, method: str, path: str, body: Any, said: str
) -> None:
    state = controller.machine.state
    controller.submit(PutApps((an_app(VAULT, cpus=0.2, container=with_volume(VAULT)["container"], labels=LABELS),)))
    state.keep_volume(VolumeRecord("eratos-x", VAULT, "s1", "data", 10, "a1", "host-a1", 1.0))
    path = path.format(of_vault=state.changes[VAULT].deployment_id)
    answer = api.request(method, path, json=body)
    assert answer.status_code in (403, 422), answer.text
    assert said in answer.text, answer.text
    assert "bank" not in answer.text.replace(str(body), "") and "/shop-front" not in answer.text


def test_a_circle_is_shown_without_the_apps_of_others(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/bank/till", dependencies=["/bank/teller"]), an_app("/bank/teller"))))
    controller.submit(PutApps((an_app("/bank/teller", dependencies=["/shop/web"]),)))
    answer = api.put("/v2/apps//shop/web", json={"dependencies": ["/bank/till"]})
    assert answer.status_code == 422
    assert "/shop/web" in answer.text and APP in answer.text
    assert "teller" not in answer.text


def mounting(*places: str) -> dict[str, Any]:
    volumes = [{"hostPath": "/data", "containerPath": place, "mode": "RO"} for place in places]
    container = {"type": "DOCKER", "docker": {"image": "x"}, "volumes": volumes}
    return {"id": "/shop/new", "instances": 1, "container": container}


def test_what_a_definition_says_itself_is_named_whatever_apps_there_are(controller: FakeController, tmp_path: Any) -> None:
    """To hide a path of somebody's own would tell that an app is called so."""
    api = as_shop(controller, tmp_path, policy=Policy(strict=True))
    controller.submit(PutApps((an_app("/data"),)))
    refused = "/data is refused by the strict policy: --allow-host-paths allows it"
    assert api.post("/v2/apps", json=mounting("/in")).json()["details"][0]["errors"] == [refused]
    run = {"cpus": 0.1, "mem": 32, "docker": {"image": "x"}, "volumes": mounting("/in")["container"]["volumes"]}
    answer = api.post("/v1/jobs", json={"id": "shop.nightly", "run": run})
    assert answer.json()["details"][0]["errors"] == [refused], answer.text
    unknown = {"id": "/shop/new", "cmd": "x", "constraints": [["@hostname", "/data"]]}
    for method, path, body in (
        ("POST", "/v2/apps", unknown),
        ("PUT", "/v2/apps", [unknown]),
        ("PUT", "/v2/groups//shop", {"apps": [unknown]}),
    ):
        answer = api.request(method, path, json=body)
        assert answer.status_code == 422 and "operator '/data' is unknown" in answer.text, answer.text


def test_the_one_app_that_a_group_names_is_named_in_its_refusal(api: ApiClient) -> None:
    answer = api.put("/v2/groups//bank", json={"id": "/bank", "apps": [{"id": "app", "cmd": "x"}]})
    assert answer.status_code == 403 and "for an app that it may not view" in answer.text  # others would be deleted
    answer = api.put("/v2/groups//mine", json={"apps": [{"id": "app", "cmd": "x"}]})
    assert (answer.status_code, answer.json()["message"]) == (403, "shop has not the role deploy for /mine/app")


def test_the_one_app_that_a_group_is_found_to_have_is_not(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/mine/secret"),)))
    answer = api.put("/v2/groups//mine", json={"scaleBy": 2})
    message = "shop has not the role deploy for an app that it may not view"
    assert (answer.status_code, answer.json()["message"]) == (403, message)


def told(api: ApiClient, app_id: str = "/shop/ledger") -> list[str]:
    """Return what explain, the queue and the overview say of why an app waits."""
    explained = "; ".join(reason["message"] for reason in api.get(f"/v2/explain{app_id}").json()["reasons"])
    queued = [item for item in api.get("/v2/queue?embed=lastUnusedOffers").json()["queue"] if item["app"]["id"] == app_id]
    seen = [app for app in api.get("/v2/overview").json()["apps"] if app["id"] == app_id]
    offers = "; ".join(offer["detail"] for offer in queued[0]["lastUnusedOffers"])
    return [explained, f"{queued[0]['waiting']['message']} {offers}", seen[0]["why"]]


def test_who_waits_for_a_volume_is_not_told_whose_task_has_it(api: ApiClient, controller: FakeController) -> None:
    controller.launch(an_offer())
    controller.submit(DeleteApps((VAULT,)))  # which leaves its task for now
    assert api.post("/v2/apps", json=with_volume("/shop/ledger")).status_code == 201
    controller.launch(an_offer("a2"))
    for sentence in told(api):
        assert f"task {APP} on host-a1 may still write to its volume ledger" in sentence
        assert "bank" not in sentence


def test_what_an_app_states_itself_is_named_to_who_sees_the_app(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((requiring("/shop/ledger", VAULT),)))
    controller.launch(an_offer())
    for sentence in told(api):
        assert f"needs one ready instance of {VAULT}" in sentence


def test_starts_of_others_that_failed_on_a_host_are_not_named(api: ApiClient, controller: FakeController) -> None:
    controller.machine.state.troubles["host-a1"] = Trouble(until=controller.now + 60, against=(VAULT,))
    controller.submit(PutApps((an_app("/shop/ledger"),)))
    controller.launch(an_offer("a1"))
    for sentence in told(api):
        assert f"starts of {APP} failed there" in sentence and "bank" not in sentence


def test_how_a_deployment_ended_names_those_of_its_apps_that_may_be_seen(api: ApiClient, controller: FakeController) -> None:
    labels = {"ERATOS_DEPLOYMENT_RETRIES": "0"}
    controller.submit(PutApps((an_app("/bank/new", labels=labels), an_app("/shop/ledger"))))
    for task in controller.launch(an_offer()):
        if task.startswith("bank_new"):
            controller.update(task, "FAILED")
    assert [over.reason for over in controller.machine.state.ended if "/bank/new" in over.reason]
    ended = [found for found in api.get("/v2/deployments?ended=true").json() if "/shop/ledger" in found["affectedApps"]]
    [reason] = [found["eratos"]["reason"] for found in ended if found["eratos"]["outcome"] == "failed"]
    assert reason.startswith(f"instances of {APP} ended by themselves")
    shown = api.get(f"/v2/deployments/{ended[0]['id']}").json()
    assert shown["eratos"]["reason"] == reason
    explained = api.get("/v2/explain/shop/ledger").text
    assert "DeploymentFailed" in explained and "bank" not in explained
    # It is another one's that is gone, which is remembered for as long as the deployment is.
    controller.submit(DeleteApps(("/bank/new",)))
    assert "bank" not in api.get(f"/v2/deployments/{ended[0]['id']}").text


def test_what_a_balancer_leaves_out_for_another_ones_sake(api: ApiClient, controller: FakeController) -> None:
    controller.unbalanced = {"shop-web": ["b1: bank-vault already answers on vault.test/"]}
    controller.launch(an_offer())
    [reason] = [r["message"] for r in api.get("/v2/explain/shop/web").json()["reasons"] if r["reason"] == "NotBalanced"]
    assert reason == f"service shop-web is left out by b1: {APP} already answers on vault.test/"
    [shown] = [app["notBalanced"] for app in api.get("/v2/overview").json()["apps"] if app["id"] == "/shop/web"]
    assert shown == reason


def test_a_run_of_a_job_that_waits_for_a_volume(api: ApiClient, controller: FakeController) -> None:
    controller.launch(an_offer())
    controller.submit(DeleteApps((VAULT,)))
    run = {"cmd": "x", "docker": {"image": "x"}, "cpus": 0.1, "mem": 32}
    controller.submit(PutJob(a_job({"id": "shop.count", "run": run}), create_only=True))
    controller.submit(StartRun("shop.count"))
    [active] = controller.machine.state.runs_of("shop.count")
    launches = controller.machine.state.launches_of(active.record.path)
    controller.machine.state.troubles["host-a2"] = Trouble(until=controller.now + 60, against=(VAULT,))
    controller.launch(an_offer("a2"))
    assert VAULT in str(launches.refusals)
    for path in ("/v1/jobs/shop.count/runs", "/v1/jobs/shop.count?embed=activeRuns", "/v1/jobs?embed=activeRuns"):
        answer = api.get(path)
        assert APP in answer.text and "bank" not in answer.text, path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("is /bank/vault's: choose another", f"is {APP}'s: choose another"),
        ("/bank/vault, /shop/web.", f"{APP}, /shop/web."),
        ("task bank_vault.instance-1-2._app.3 ends", f"task {APP} ends"),
        ("eratos-shop_web.instance-1-2._app.3-0 and eratos-bank_vault.instance-1-2._app.3-0", None),
        ("/bank -> /shop -> /bank", f"{GROUP} -> /shop -> {GROUP}"),
        ("/var/lib/x and shop.test/bank/vault and bank-vault", "/var/lib/x and shop.test/bank/vault and bank-vault"),
    ],
)
def test_a_sentence(controller: FakeController, text: str, shown: str | None) -> None:
    hide = Discretion(controller).of(Caller(SHOP))
    expected = shown if shown is not None else f"eratos-shop_web.instance-1-2._app.3-0 and {APP}"
    assert hide(text) == expected
    assert hide.messages([{"message": text, "labels": text}]) == [{"message": expected, "labels": text}]
    everybody = Hide(Identity("all", (Grant.parse("view:/"),)))
    assert (everybody(text), everybody.messages({"message": text})) == (text, {"message": text})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "service app is left out by b1: host already answers on x/",
            f"service {APP} is left out by b1: {APP} already answers on x/",
        ),
        ("the app is on a host that left, bank-vault is not", f"the app is on a host that left, {APP} is not"),
        (
            "HAProxy could not start with it: backend 'app' has no server",
            f"HAProxy could not start with it: backend '{APP}' has no server",
        ),
        ("app", APP),
    ],
)
def test_a_service_that_is_called_like_a_plain_word(controller: FakeController, text: str, shown: str) -> None:
    controller.submit(PutApps((an_app("/app"), an_app("/host"))))
    assert Discretion(controller).of(Caller(SHOP), services=True)(text) == shown


def test_where_nobody_can_tell_what_there_is_nothing_is_named(controller: FakeController) -> None:
    controller.down = "no leader"
    hide = Discretion(controller).of(Caller(SHOP))
    assert hide("/bank/vault and /shop/web") == f"{APP} and /shop/web"
