"""``--wait`` and ``eratos app wait``: until when, what is said meanwhile, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.command_line import CONTAINER, a_session, write
from support.controller import FakeController, running

from eratos.cli import wait
from eratos.cli.main import run
from eratos.cli.session import Session
from eratos.scheduler.core.events import PutApps, Tick


def test_apply_waits_until_the_instances_are_healthy_and_says_why_not_yet(
    controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[Callable[[], Any]] = [
        lambda: controller.launch(an_offer(cpus=0.5)),
        lambda: controller.launch(an_offer(cpus=4)),
        lambda: [controller.update(task, "RUNNING") for task in tasks()],
        lambda: [controller.update(task, "RUNNING", healthy=True, uuid="u") for task in tasks()],
    ]

    def tasks() -> list[str]:
        return [i.task_id for i in controller.machine.state.instances.values() if not i.waiting]

    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    app = {"id": "/a", "instances": 2, "cpus": 1, "container": CONTAINER, "healthChecks": [{"protocol": "TCP"}]}
    assert run(["app", "apply", "--wait", write(tmp_path, "a.json", app)], session) == 0
    assert not steps
    lines = capsys.readouterr().err
    assert "no connection to a Mesos master" in lines
    assert "InsufficientCpus" in lines
    assert "2/2 running, 0 healthy" in lines
    assert "/a ready, 2/2 running, 2 healthy" in lines


def test_waiting_ends_with_a_failure_when_the_time_is_over(
    controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.submit(PutApps((an_app("/a"),)))

    def sleep(seconds: float) -> None:
        controller.now += seconds

    assert run(["app", "scale", "/a", "3", "--wait", "--timeout", "5"], a_session(controller, sleep=sleep)) == 1
    assert "not ready after 5 s: /a" in capsys.readouterr().err


def test_waiting_for_a_stop_says_what_holds_it_up(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    steps: list[Callable[[], Any]] = [
        lambda: controller.update(task, "KILLING", message="drained for 10 s at most: balancer1 still uses it"),
        lambda: controller.update(task, "KILLED", uuid="u"),
    ]
    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    assert run(["app", "scale", "/a", "0", "--wait"], session) == 0
    assert "balancer1 still uses it" in capsys.readouterr().err


def test_a_countdown_is_told_once(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    controller.update(task, "FAILED")

    def sleep(seconds: float) -> None:
        controller.now += seconds

    assert run(["app", "scale", "/a", "1", "--wait", "--timeout", "5"], a_session(controller, sleep=sleep)) == 1
    assert capsys.readouterr().err.count("next launch in") == 1


def test_waiting_outlives_a_change_of_leaders(controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a"))
    steps = [lambda: setattr(controller, "down", "no leader"), lambda: setattr(controller, "down", "")]
    steps.append(lambda: [controller.update(t, "RUNNING") for t in controller.launch(an_offer()) if t != task])
    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 0


def test_a_new_leader_that_knows_no_deployment_does_not_end_the_wait(controller: FakeController) -> None:
    """In the midst of a rolling restart the counts may be right; only the old instances tell that it goes on."""
    controller.submit(PutApps((an_app("/a", 2),)))
    for task in controller.launch(an_offer()):
        controller.update(task, "RUNNING")
    old = set(controller.machine.state.instances)
    left = 100

    def sleep(seconds: float) -> None:
        nonlocal left
        left -= 1
        assert left, "it never ends"
        controller.now += 10
        controller.forget_deployments()  # as of a leader elected since
        controller.launch(an_offer())
        for instance in list(controller.machine.state.instances.values()):
            if instance.stopping:
                controller.update(instance.task_id, "KILLED", uuid="k")
            elif not instance.waiting:
                controller.update(instance.task_id, "RUNNING", uuid=f"r{left}")

    assert run(["app", "restart", "/a", "--wait"], a_session(controller, sleep=sleep)) == 0
    assert not old & set(controller.machine.state.instances), "it was done while old instances ran"


def test_a_change_is_made_once_somebody_leads(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))
    controller.is_leader, controller._leader = False, None
    steps: list[Callable[[], Any]] = [
        lambda: None,
        lambda: setattr(controller, "is_leader", True),
        lambda: [controller.update(t, "RUNNING") for t in controller.launch(an_offer()) if t != task],
    ]
    session = a_session(controller, sleep=lambda _: steps.pop(0)())
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 0
    assert not steps
    assert capsys.readouterr().err.count("still waiting: there is no leader yet") == 1


def test_a_change_without_wait_says_at_once_that_nobody_leads(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.is_leader, controller._leader = False, None
    assert run(["app", "restart", "/a"], session) == 1
    told = capsys.readouterr().err
    assert "there is no leader yet" in told
    assert "may have been made" not in told


def test_a_change_in_doubt_is_not_made_twice(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    running(controller, an_app("/a"))
    session = a_session(controller)  # which nobody waits with
    session.client.app = lambda app_id: {}  # type: ignore[method-assign]
    controller.down = "the change was not stored within 20 s and may still be made: is the store reachable?"
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 1
    assert "may still be made" in capsys.readouterr().err


def test_an_app_deleted_meanwhile_is_not_ready(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    session = a_session(controller, sleep=lambda _: controller.machine.state.apps.clear())
    assert run(["app", "scale", "/a", "2", "--wait"], session) == 1
    assert "/a is not there: it never was, or it was deleted meanwhile" in capsys.readouterr().err


def test_an_interrupted_wait_says_how_to_go_on(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = running(controller, an_app("/a"))

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert run(["app", "scale", "/a", "2", "--wait"], a_session(controller, sleep=interrupt)) == 130
    assert "the change goes on; wait again with: eratos app wait /a" in capsys.readouterr().err
    steps = [lambda: [controller.update(t, "RUNNING") for t in controller.launch(an_offer()) if t != task]]
    assert run(["app", "wait", "/a"], a_session(controller, sleep=lambda _: steps.pop(0)())) == 0
    assert run(["app", "wait", "/no"], a_session(controller)) == 1


def test_waiting_goes_on_while_an_instance_is_of_an_earlier_version(session: Session, controller: FakeController) -> None:
    running(controller, an_app("/a"))
    assert wait.progress(session.client, ["/a"])[0].done
    controller.submit(PutApps((an_app("/a", cpus=0.2),)))
    controller.forget_deployments()  # as after a failover in the version before
    [found] = wait.progress(session.client, ["/a"])
    assert (found.running, found.wanted, found.done) == (1, 1, False)


def test_waiting_for_a_change_ends_when_it_failed(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    def sleep(seconds: float) -> None:
        locking.now += 60
        locking.handle(Tick())

    running(locking, an_app("/a"))
    session = a_session(locking, sleep=sleep)
    locking.submit(PutApps((an_app("/a", labels={"ERATOS_DEPLOYMENT_DEADLINE_S": "60"}, cpus=64),)))
    assert run(["app", "restart", "/a", "--force", "--wait"], session) == 1
    assert "failed: it came no further for 60 s" in capsys.readouterr().err
