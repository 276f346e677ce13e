"""How an app whose instances have ordinals is shown and changed: over the API, and by the command line."""

from __future__ import annotations

from typing import Any

import pytest
from support import api as over_api
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.core.events import PutApps

PEERS = {"peers": {"app": "/shop/db", "onChange": "nothing"}}
DB = an_app("/shop/db", 2, healthChecks=[{"protocol": "TCP"}], eratos={"ordinals": True, "requires": PEERS})


@pytest.fixture
def first(controller: FakeController) -> str:
    """Return the task of the first instance, which runs alone: its check has not passed."""
    controller.submit(PutApps((DB,)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    return task


def a_session(controller: FakeController) -> Session:
    return Session(MarathonClient("http://api.test", session=over_api.session(an_api(controller))), Output())


def test_tasks_say_which_one_each_is(api: ApiClient, controller: FakeController, first: str) -> None:
    controller.submit(PutApps((an_app("/web"),)))
    controller.launch(an_offer())
    found = {task["appId"]: task.get("eratos") for task in api.get("/v2/tasks").json()["tasks"]}
    assert found == {"/shop/db": {"ordinal": 0, "name": "shop-db-0"}, "/web": None}
    (task,) = api.get("/v2/apps/shop/db").json()["app"]["tasks"]
    assert task["eratos"]["ordinal"] == 0


def test_explain_says_what_waits_for_the_first(api: ApiClient, first: str) -> None:
    found = api.get("/v2/apps/shop/db/explain").json()
    assert {item["ordinal"]: item["reason"] for item in found["ordinals"]["notReady"]} == {0: "NotReady", 1: "FirstInstance"}
    messages = {item["reason"]: item["message"] for item in found["reasons"]}
    assert "ordinal 0 is not ready" in messages["FirstInstance"]
    (queued,) = api.get("/v2/queue").json()["queue"]
    assert queued["waiting"]["reason"] == "FirstInstance" and "ordinal 0 is not ready" in queued["waiting"]["message"]


def test_explain_says_why_one_out_of_reach_is_not_replaced(api: ApiClient, controller: FakeController, first: str) -> None:
    controller.update(first, "UNREACHABLE")
    found = api.get("/v2/apps/shop/db/explain").json()
    assert "cannot be reached" in found["ordinals"]["notReady"][0]["message"]
    messages = {item["reason"]: item["message"] for item in found["reasons"]}
    assert "not replaced before Mesos says that it is gone" in messages["Unreachable"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("PUT", "/v2/apps/shop/db?force=true", {"eratos": {"requires": PEERS}}, 422, "eratos.ordinals, which has a first"),
        ("PUT", "/v2/apps/shop/db?force=true", {"eratos": {}}, 409, "scale it to 0 first"),
        ("DELETE", "/v2/apps/shop/db/tasks?scale=true", None, 409, "the highest goes"),
    ],
)
def test_what_cannot_be_is_refused(api: ApiClient, first: str, method: str, path: str, body: Any, status: int, said: str) -> None:
    answer = api.request(method, path, json=body)
    assert answer.status_code == status and said in answer.text, answer.text


def test_the_command_line_lists_ordinals(controller: FakeController, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["task", "list"], a_session(controller)) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert line[head.index("ORDINAL") :].startswith("0 ")
    assert run(["app", "explain", "/shop/db"], a_session(controller)) == 0
    out = capsys.readouterr().out
    assert "ORDINAL NOT READY" in out and "it starts once the instance with ordinal 0 is ready" in out


def test_without_ordinals_there_is_no_such_column(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    controller.submit(PutApps((an_app("/web"),)))
    controller.launch(an_offer())
    assert run(["task", "list"], a_session(controller)) == 0
    assert "ORDINAL" not in capsys.readouterr().out
