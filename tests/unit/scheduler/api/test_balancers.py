"""What companions say of their balancers, as the API hands it on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app
from support.controller import FakeController

from eratos.common import keys
from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.api.discretion import APP
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps

STATUS = {
    **{"reloads": 3, "updates": 9, "refusals": 0, "last_reason": "", "held": [], "old_processes": 1},
    "left_out": ["bank-vault: no host name", "frontend.cfg: bad line"],
    "backends": {"shop-cart": ["s1"], "bank-vault": []},
    "servers": {
        "shop-cart/s1": {
            **{"address": "10.0.0.1:80", "status": "UP", "zone": "a"},
            **{"requests": 2, "weight": 1, "rate": 7, "failed": 0},
        }
    },
    **{"zone": "b", "zone_policy": "prefer"},
}


class Companion:
    """Answers as a balancer's companion, and remembers what it was shown."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps(STATUS)
        self.tokens: list[str | None] = []
        companion = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                companion.tokens.append(self.headers.get("Authorization"))
                self.send_response(companion.status)
                self.end_headers()
                self.wfile.write(companion.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@pytest.fixture
def companion() -> Iterator[Companion]:
    made = Companion()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def an_api(companion: Companion, access: Access | None = None, trouble: str = "") -> ApiClient:
    controller = FakeController()
    controller.registered = [Balancer("b1", "127.0.0.1", companion.port, trouble)]
    controller.submit(PutApps((an_app("/shop/cart"), an_app("/bank/vault"))))
    access = access or Access(BrowserGuard.of([".test"]))
    return ApiClient(create_api(controller, access=access, companion_key=keys.companion_key("key", keys.SCHEDULER)))


def ask(api: ApiClient) -> dict[str, Any]:
    (found,) = api.get("/v2/balancers").json()["balancers"]
    return dict(found)


def test_services_are_shown_with_their_apps_and_what_is_left_out(companion: Companion) -> None:
    found = ask(an_api(companion))
    assert [(each["service"], each["app"], len(each["servers"])) for each in found["services"]] == [
        ("bank-vault", "/bank/vault", 0),
        ("shop-cart", "/shop/cart", 1),
    ]
    assert found["leftOut"] == STATUS["left_out"] and found["reloads"] == 3 and found["trouble"] == ""
    assert (found["zone"], found["zonePolicy"], found["services"][1]["servers"][0]["zone"]) == ("b", "prefer", "a")
    (shown,) = companion.tokens
    assert keys.unproven(shown or "", lambda who: keys.companion_key("key", who), "GET", "/status", b"", time.time()) == ""


def test_a_companion_of_the_version_before_knows_no_zones(companion: Companion) -> None:
    companion.body = json.dumps({name: value for name, value in STATUS.items() if not name.startswith("zone")})
    assert {name: ask(an_api(companion))[name] for name in ("zone", "zonePolicy")} == {"zone": "", "zonePolicy": "ignore"}


def test_who_sees_one_app_sees_its_service_alone(companion: Companion, tmp_path: Any) -> None:
    token, file = credentials.new_token(), tmp_path / "credentials"
    file.write_text(credentials.line("anna", "token", credentials.token_entry(token), (Grant.parse("view:/shop"),)))
    file.chmod(0o600)
    access = Access(BrowserGuard.of([".test"]), Authenticator(CredentialsFile(file)))

    def ask_as_her() -> dict[str, Any]:
        api = an_api(companion, access)
        api.headers["Authorization"] = f"Bearer {token}"
        return ask(api)

    found = ask_as_her()
    assert [each["service"] for each in found["services"]] == ["shop-cart"] and found["leftOut"] == []
    named = {
        "left_out": ["shop-cart: bank-vault already answers on shop.test/", "bank-vault: no host name"],
        "held": ["eratos-bank_vault.instance-1._app.1-0", "eratos-shop_cart.instance-1._app.1-0"],
        "last_reason": "backend bank-vault is new",
    }
    companion.body = json.dumps(STATUS | named)
    found = ask_as_her()
    assert found["leftOut"] == [f"shop-cart: {APP} already answers on shop.test/"]
    assert (found["held"], found["lastReason"]) == (["eratos-shop_cart.instance-1._app.1-0"], f"backend {APP} is new")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, '{"reason": "only executors"}', "answers 401: only executors"),
        (200, "<html>", "answers no JSON"),
        (200, "[]", "answers no JSON"),
        (503, '{"reason": "HAProxy is away"}', "HAProxy is away"),
    ],
)
def test_a_companion_that_cannot_say_is_named_with_the_reason(companion: Companion, status: int, body: str, said: str) -> None:
    companion.status, companion.body = status, body
    found = ask(an_api(companion, trouble="Serf Health Status: agent not live"))
    assert said in found["trouble"] and found["trouble"].startswith("Serf Health") and found["services"] == []


def test_who_names_apps_gets_what_is_served_of_them_and_what_is_not_yet(companion: Companion) -> None:
    api = an_api(companion)
    found = api.get("/v2/balancers?app=/bank/vault").json()
    assert [each["service"] for each in found["balancers"][0]["services"]] == ["bank-vault"] and found["rotation"] == []
    assert "rotation" not in api.get("/v2/balancers").json()
    many = "&".join(["app=/a"] * 501)
    assert api.get(f"/v2/balancers?{many}").status_code == 422


def test_a_companion_that_is_away_is_named(companion: Companion) -> None:
    companion.server.server_close()
    assert "does not answer" in ask(an_api(companion))["trouble"]


def test_who_asks_at_the_same_time_costs_one_question(companion: Companion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.scheduler.api.balancers.PERIOD_S", 3600.0)  # on a slow machine the same time takes seconds
    api = an_api(companion)
    ask(api), ask(api)
    assert len(companion.tokens) == 1
