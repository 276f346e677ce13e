"""``eratos agent drain`` and ``undrain`` against the real API and core."""

from __future__ import annotations

import pytest
from support import api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli import drains, views
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.core.events import OffersReceived, PutApps

HOST = "host-a1"


@pytest.fixture
def controller() -> FakeController:
    made = FakeController()
    made.submit(PutApps((an_app("/shop", 1),)))
    for task in made.launch(an_offer()):
        made.update(task, "RUNNING")
    return made


@pytest.fixture
def session(controller: FakeController) -> Session:
    """Return a session for whom the cluster goes on with each wait: another host joins, then what moves has ended."""

    def sleep(_: float) -> None:
        left = controller.machine.state
        for instance in list(left.instances.values()):
            if instance.stopping:
                controller.update(instance.task_id, "KILLED")
            elif instance.launching:
                controller.update(instance.task_id, "RUNNING")
        controller.handle(OffersReceived((an_offer("a2"),)))
        controller.now += 1

    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))
    return Session(client, Output("table"), clock=lambda: controller.now, sleep=sleep)


def test_drain_waits_until_nothing_is_left_and_says_what_is(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["agent", "drain", HOST], session) == 0
    said = capsys.readouterr().err
    assert f"{HOST}: 1 left (1 moving) of /shop" in said and said.rstrip().endswith(f"{HOST}: empty")
    assert {instance.hostname for instance in controller.machine.state.instances.values()} == {"host-a2"}
    assert run(["agent", "undrain", HOST], session) == 0
    assert controller.machine.state.drains == {}


def test_a_drain_that_takes_too_long_goes_on_and_says_so(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["agent", "drain", HOST, "--timeout", "0", "--deadline", "600"], session) != 0
    said = capsys.readouterr().err
    assert "the drain goes on" in said and "stopped at" in said
    found = controller.machine.state.drains[HOST]
    assert found.deadline == found.since + 600
    assert run(["agent", "drain", HOST, "--no-wait"], session) == 0
    assert controller.machine.state.drains[HOST] == found, "waiting again changes nothing"
    assert run(["agent", "drain", HOST, "--no-wait", "--deadline", "0"], session) == 0
    assert controller.machine.state.drains[HOST].deadline == 0


def test_what_stays_and_what_waits_is_said() -> None:
    left = [{"task": "t1", "app": "/db", "state": "staying"}, {"task": "t2", "app": "/shop", "state": "moving"}]
    said = drains.progress({"host": "h1", "left": left, "waits": [{"app": "/shop", "message": "no offer fits"}]})
    assert said == (
        "h1: 2 left (1 moving, 1 staying) of /db, /shop; what stays does so until it ends, or until a --deadline; "
        "/shop waits: no offer fits"
    )


def test_no_wait_shows_what_is_left(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent", "drain", HOST, "--no-wait"], session) == 0
    assert "moving" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["drain", "nosuch"], ["undrain", HOST]])
def test_what_cannot_be_done_is_said(session: Session, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent", *words], session) == 1
    assert f"Host '{words[1]}' is not" in capsys.readouterr().err


def test_the_list_of_agents_says_who_drained_one() -> None:
    begin, end = "2026-11-28T00:00:00.000Z", "2026-11-28T01:00:00.000Z"
    agent = {"id": "a1", "host": "h1", "drain": {"since": begin, "by": "ann", "deadline": end}}
    (row,) = views.agents({"apps": [], "agents": [agent]}).rows
    assert row[5] == f"drained since {begin} by ann, what is left is stopped at {end}"
