"""``--wait`` ends when balancers send to the app, as far as the API knows them."""

from __future__ import annotations

from typing import Any

import pytest
from support import api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli import wait
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.common import names
from eratos.marathon.client import MarathonClient, Refused
from eratos.scheduler.api import companions
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.core.events import PutApps

STATUS: dict[str, Any] = {"group": "external", "backends": {}, "servers": {}}


@pytest.fixture
def controller() -> FakeController:
    made = FakeController()
    made.registered = [Balancer("b1", "127.0.0.1", 1, "")]
    made.submit(PutApps((an_app("/a", labels={"HAPROXY_0_VHOST": "a.test"}),)))
    (task,) = made.launch(an_offer())
    made.update(task, "RUNNING")
    made.forget_deployments()
    return made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the companions say, one after the other; the last one stays."""
    coming: list[Any] = [STATUS]

    async def ask_all(balancers: Any, headers: Any) -> list[Any]:
        return [coming.pop(0) if len(coming) > 1 else coming[0] for _ in balancers]

    monkeypatch.setattr(companions, "ask_all", ask_all)
    monkeypatch.setattr("eratos.scheduler.api.balancers.PERIOD_S", 0.0)  # each question asks anew
    return coming


def a_session(controller: FakeController) -> Session:
    def sleep(seconds: float) -> None:
        controller.now += seconds

    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))
    return Session(client, Output("table"), clock=lambda: controller.now, sleep=sleep)


def serving(controller: FakeController) -> dict[str, Any]:
    (instance,) = controller.machine.state.instances.values()
    return STATUS | {"servers": {f"a/{names.service_id(instance.task_id)}": {"status": "UP"}}}


def waited(controller: FakeController, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    return run(["app", "wait", "/a", *arguments], a_session(controller)), capsys.readouterr().err


def test_an_app_is_waited_for_until_balancers_send_to_it(
    controller: FakeController, answers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers[:] = [STATUS, STATUS, serving(controller)]
    code, said = waited(controller, capsys)
    assert code == 0 and controller.now == 1002.0
    assert said.count("/a waiting, 1/1 running: b1 sends to 0 of 1 ready instances of a") == 1
    assert "/a ready, 1/1 running" in said


def test_that_takes_no_longer_than_the_wait_may(
    controller: FakeController, answers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = waited(controller, capsys, "--timeout", "5")
    assert code == 1 and controller.now == 1005.0
    assert "b1 sends to 0 of 1 ready instances" in said and "not ready after 5 s: /a" in said


@pytest.mark.parametrize("answer", ["its companion does not answer", STATUS | {"left_out": ["a: path / is taken"]}])
def test_a_balancer_that_waiting_does_not_help_is_named(
    controller: FakeController, answers: list[Any], capsys: pytest.CaptureFixture[str], answer: Any
) -> None:
    answers[:] = [answer]
    code, said = waited(controller, capsys)
    assert code == 0 and controller.now == 1000.0
    assert ("its companion does not answer" if isinstance(answer, str) else "b1 leaves out a: path / is taken") in said


def test_where_no_balancer_is_known_the_wait_says_so(
    controller: FakeController, answers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    controller.registered = []
    code, said = waited(controller, capsys)
    assert code == 0 and "/a: whether balancers send to it is not known: no balancer is registered in Consul" in said


@pytest.mark.parametrize(("status", "notes"), [(404, 0), (405, 0), (403, 1)])
def test_marathon_has_no_balancers_and_who_may_not_ask_hears_of_it(
    controller: FakeController,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    notes: int,
) -> None:
    session = a_session(controller)

    def refuse(_: Any) -> Any:
        raise Refused(status, "no")

    monkeypatch.setattr(session.client, "rotation", refuse)
    patience = session.patience(True, 5)
    assert patience is not None
    (found,) = wait.until_ready(session.client, ["/a"], patience)
    assert found.done and capsys.readouterr().err.count("is not known") == notes


def test_many_apps_are_asked_for_in_several_calls(controller: FakeController, answers: list[Any]) -> None:
    others = [f"/other{number}" for number in range(250)]
    found = a_session(controller).client.rotation([*others, "/a"])
    assert [item["app"] for item in found] == ["/a"]
