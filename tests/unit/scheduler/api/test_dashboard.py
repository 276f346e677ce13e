"""The dashboard's files: to everybody, at / and /ui/, from whichever scheduler is asked."""

from __future__ import annotations

import pytest
from support.api import ApiClient, an_api
from support.controller import FakeController

from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access.authenticator import Authenticator
from eratos.scheduler.api.dashboard import FILES
from eratos.scheduler.api.gate import Access

CLOSED = Access(BrowserGuard.of([".test"]), Authenticator(None, single="anna:secret"))


@pytest.mark.parametrize("leading", [True, False])
@pytest.mark.parametrize("path", ["/", "/ui", "/ui/", *(f"/ui/{name}" for name in FILES)])
def test_each_file_is_for_everybody_and_bound_to_this_origin(path: str, leading: bool) -> None:
    api = ApiClient(an_api(FakeController(is_leader=leading, leader=None), access=CLOSED))
    answer = api.get(path)
    assert answer.status_code == 200 and answer.content
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/ui/other.js", "/ui/..%2Fconfig.py", "/ui/built-from", "/ui/a/b"])
def test_nothing_else_is_served(path: str) -> None:
    open_to_all = Access(BrowserGuard.of([".test"]))
    assert ApiClient(an_api(FakeController(), access=open_to_all)).get(path).status_code == 404
    assert ApiClient(an_api(FakeController(), access=CLOSED)).get(path).status_code == 401


def test_what_the_dashboard_shows_is_for_those_who_may() -> None:
    api = ApiClient(an_api(FakeController(), access=CLOSED))
    assert {api.get(f"/v2/{name}").status_code for name in ("overview", "balancers", "whoami", "logs?task=a", "events")} == {401}
