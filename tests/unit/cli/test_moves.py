"""``eratos move`` against the real API and core."""

from __future__ import annotations

import pytest
from support import api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.core.events import OffersReceived, PutApps
from eratos.scheduler.core.records import VolumeState

DATA = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
CONTAINER = {"type": "DOCKER", "docker": {"image": "db:1"}, "volumes": [DATA]}


@pytest.fixture
def controller() -> FakeController:
    made = FakeController()
    made.submit(PutApps((an_app("/db", 1, container=CONTAINER),)))
    for task in made.launch(an_offer()):
        made.update(task, "RUNNING")
    made.handle(OffersReceived((an_offer("a2"),)))
    return made


def a_session(controller: FakeController, copy_ends: str = "FINISHED") -> Session:
    """Return a session for whom the cluster goes on with each wait: what is stopped ends, what is launched runs."""

    def sleep(_: float) -> None:
        state = controller.machine.state
        for record in list(state.volumes.values()):
            if record.state is VolumeState.COPYING:
                controller.update(record.task_id, "RUNNING", agent="a2", message="10 bytes of data were copied", uuid="")
                if controller.now % 2:
                    controller.update(record.task_id, copy_ends, agent="a2", message="no space left on device")
        for instance in list(state.instances.values()):
            if instance.stopping:
                controller.update(instance.task_id, "KILLED", agent=instance.agent_id)
            elif instance.launching:
                controller.update(instance.task_id, "RUNNING", agent=instance.agent_id)
        controller.handle(OffersReceived((an_offer("a1"), an_offer("a2"))))
        controller.now += 1

    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))
    return Session(client, Output("table"), clock=lambda: controller.now, sleep=sleep)


def test_move_waits_until_the_instance_is_there_and_says_how_far_it_is(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["move", "/db", "--to", "host-a2"], a_session(controller)) == 0
    said = capsys.readouterr().err
    for words in ("runs on until host-a2", "its task is stopped", "10 bytes of data were copied", "/db: moved from host-a1"):
        assert words in said
    assert {instance.hostname for instance in controller.machine.state.instances.values()} == {"host-a2"}


def test_a_move_that_comes_to_nothing_says_why(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["move", "/db", "--to", "host-a2"], a_session(controller, "FAILED")) == 1
    said = capsys.readouterr().err
    assert "came to nothing, and it is on host-a1 as before: its copy on host-a2 failed: no space left on device" in said


def test_a_move_is_cancelled_and_what_contradicts_itself_is_refused(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    session = a_session(controller)
    assert run(["move", "/db", "--no-wait"], session) == 0
    assert controller.machine.state.moves
    assert run(["move", "/db", "--cancel"], session) == 0
    assert not controller.machine.state.moves
    assert run(["move", "/db", "--cancel", "--to", "host-a2"], session) == 2
    assert run(["move", "/db", "--to", "host-a1"], session) == 1
    assert "is on host-a1 already: name another host" in capsys.readouterr().err
