"""``eratos who``: what is shown of a request, and of one that nobody knows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from support import api
from support.controller import FakeController

from eratos.cli import views
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.api import companions
from eratos.scheduler.api.controller import Balancer

TASK = "shop.instance-c1._app.1"
ROW: dict[str, Any] = {
    **{"at": "2026-11-28T08:16:20.278Z", "balancer": "b1", "service": "shop", "app": "/shop", "task": TASK, "host": "agent1"},
    **{"address": "10.0.0.1:31000", "status": 200, "totalMs": 34, "retries": 0},
}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, f"2026-11-28T08:16:20.278Z  /shop  {TASK}  agent1  10.0.0.1:31000  200  34 ms  -  b1"),
        (
            {"app": None, "task": None, "host": None, "address": None, "status": 503, "retries": 3},
            "2026-11-28T08:16:20.278Z  shop  no instance  -  -  503  34 ms  3  b1",
        ),
        ({"status": None}, f"2026-11-28T08:16:20.278Z  /shop  {TASK}  agent1  10.0.0.1:31000  no answer  34 ms  -  b1"),
    ],
)
def test_a_request_is_a_line(change: dict[str, Any], line: str) -> None:
    _, shown = views.requests([ROW | change], Output("wide")).lines(None)
    assert re.split("  +", shown.strip()) == line.split("  ")


def test_who_is_not_known_is_said_with_the_reasons_and_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask_all(balancers: Any, headers: Any, path: str) -> list[Any]:
        return [{"requests": [], "oldest": None, "request_id": "keep", "log_requests": "failed"}, "it is away"]

    monkeypatch.setattr(companions, "ask_all", ask_all)
    controller = FakeController()
    controller.registered = [Balancer("b1", "10.0.0.8", 9100, ""), Balancer("b2", "10.0.0.9", 9100, "")]
    session = Session(MarathonClient("http://api.test", session=api.session(api.an_api(controller))), Output("table"))
    assert run(["who", "my-own-request"], session) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == "eratos: no balancer knows of a request my-own-request"
    assert "what b2 knows cannot be said: it is away" in shown.err
    assert "ERATOS_0_LOG_REQUESTS=all" in shown.err
    session.out = Output("json")
    assert run(["who", "my-own-request"], session) == 1
    assert json.loads(capsys.readouterr().out)["requests"] == []
    assert run(["who", "<script>"], session) == 1
    assert "8 to 64 letters" in capsys.readouterr().err
