"""What apps require, over the API: what is refused, what explain says, and who requires whom."""

from __future__ import annotations

from typing import Any

import pytest
from support import api as over_api
from support.api import ApiClient
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient

BASE: dict[str, Any] = {"cmd": "x", "cpus": 0.1, "mem": 32}
PORTS = [{"port": 0, "name": "admin"}, {"port": 0, "name": "sql"}]


def web(app_id: str = "/blog/web", **fields: Any) -> dict[str, Any]:
    return {"id": app_id, **BASE, "eratos": {"requires": {"db": {"app": "/blog/db", "port": "sql"} | fields}}}


@pytest.fixture
def db(api: ApiClient) -> dict[str, Any]:
    app = {"id": "/blog/db", **BASE, "portDefinitions": PORTS}
    assert api.post("/v2/apps", json=app).status_code == 201
    return app


def refused(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {item["path"]: item["errors"][0] for item in answer.json()["details"]}


def test_an_app_that_is_not_there_cannot_be_required(api: ApiClient, db: dict[str, Any]) -> None:
    found = refused(api.post("/v2/apps", json=web(app="/blog/dbb", port="sql")))
    assert found["/eratos/requires/db/app"] == "is /blog/dbb, and there is no such app: did you mean /blog/db?"
    assert "did you mean" not in refused(api.post("/v2/apps", json=web(app="/xyz")))["/eratos/requires/db/app"]


def test_a_port_that_is_not_there_cannot_be_required(api: ApiClient, db: dict[str, Any]) -> None:
    found = refused(api.post("/v2/apps", json=web(port="mysql")))
    assert found["/eratos/requires/db/port"] == "is mysql, the named ports of /blog/db are admin, sql: correct it"
    api.put("/v2/apps/blog/none?force=true", json=BASE | {"portDefinitions": []})
    none = {"requires": {"db": {"app": "/blog/none"}}}
    assert refused(api.post("/v2/apps", json={"id": "/a", **BASE, "eratos": none}))["/eratos/requires/db/app"].endswith(
        "has no port"
    )


def test_both_may_come_in_one_group(api: ApiClient) -> None:
    group = {"id": "/blog", "apps": [web("web", app="db"), {"id": "db", **BASE, "portDefinitions": PORTS}]}
    assert api.put("/v2/groups", json=group).status_code in (200, 201)


def test_a_port_that_others_require_stays(api: ApiClient, db: dict[str, Any]) -> None:
    assert api.post("/v2/apps", json=web()).status_code == 201
    found = refused(api.put("/v2/apps/blog/db?force=true", json=db | {"portDefinitions": PORTS[:1]}))
    assert found["/portDefinitions"] == "miss the port sql, which /blog/web requires as db: change that first"
    assert api.put("/v2/apps/blog/db?force=true", json=db | {"portDefinitions": PORTS[::-1]}).status_code == 200


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        ({"wait": True}, {"wait": True}, "wait for each other in a circle"),
        ({"wait": False}, {"wait": False}, "restart each other in a circle"),
        ({"wait": False}, {"wait": False, "onChange": "nothing"}, ""),
        ({"wait": True}, {"wait": False, "onChange": "nothing"}, ""),
    ],
)
def test_circles(api: ApiClient, here: dict[str, Any], there: dict[str, Any], message: str) -> None:
    def app(name: str, other: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {"id": name, **BASE, "eratos": {"requires": {"other": {"app": other} | fields}}}

    answer = api.put("/v2/groups", json={"id": "/", "apps": [app("a", "/b", here), app("b", "/a", there)]})
    if message:
        assert message in answer.text, answer.text
    else:
        assert answer.status_code in (200, 201), answer.text


def test_a_circle_may_not_be_closed_over_dependencies(api: ApiClient, db: dict[str, Any]) -> None:
    assert api.post("/v2/apps", json=web()).status_code == 201
    found = refused(api.put("/v2/apps/blog/db?force=true", json=db | {"dependencies": ["/blog/web"]}))
    assert "wait for each other in a circle" in found["/dependencies"]


def test_explain_says_what_a_start_waits_for(api: ApiClient, db: dict[str, Any], controller: FakeController) -> None:
    api.post("/v2/apps", json=web(atLeast=2))
    controller.launch(an_offer())
    (reason,) = [r for r in api.get("/v2/explain/blog/web").json()["reasons"] if r["reason"] == "Requirement"]
    assert reason["message"] == "needs 2 ready instances of /blog/db:sql, and has 0"


def test_explain_names_who_is_outdated(api: ApiClient, controller: FakeController) -> None:
    api.post("/v2/apps", json=an_app("/a").to_json())
    (task,) = controller.launch(an_offer("a1"))
    controller.update(task, "RUNNING", agent="a1", outdated="required db has changed")
    (reason,) = [r for r in api.get("/v2/explain/a").json()["reasons"] if r["reason"] == "Outdated"]
    assert reason["message"].endswith("; required db has changed")


def test_who_requires_whom(
    api: ApiClient, db: dict[str, Any], controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    api.post("/v2/apps", json=web(wait=False, onChange="nothing"))
    api.post("/v2/apps", json={"id": "/c", **BASE, "eratos": {"requires": {"x": {"key": "a/b"}}}})
    found = api.get("/v2/needs").json()["needs"]
    assert found[0] == {
        "app": "/blog/web",
        "name": "db",
        "of": "/blog/db:sql",
        "kind": "app",
        "variable": "REQUIRE_DB",
        "atLeast": 1,
        "wait": False,
        "onChange": "nothing",
        "outdated": 0,
        "ready": 0,
    }
    assert [need["app"] for need in found] == ["/blog/web", "/c"]
    assert "ready" not in found[1]
    session = Session(MarathonClient("http://api.test", session=over_api.session(over_api.an_api(controller))), Output())
    assert run(["app", "needs"], session) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["APP", "REQUIRES", "OF", "READY", "WAITS", "ON", "CHANGE", "OUTDATED"],
        ["/blog/web", "db", "/blog/db:sql", "0", "of", "1", "no", "nothing", "-"],
        ["/c", "x", "key", "a/b", "-", "yes", "restart", "-"],
    ]
    assert run(["app", "needs", "/blog/db"], session) == 0
    assert "/blog/web" in (out := capsys.readouterr().out) and "/c" not in out
    assert run(["app", "needs", "/nobody"], session) == 1
