"""``eratos deployment``, and the versions of apps that deployments lead to."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders import an_app, an_offer
from support.command_line import a_session, write
from support.controller import FakeController, running

from eratos.cli.main import run
from eratos.cli.session import Session
from eratos.scheduler.core.events import Cancel, PutApps
from eratos.scheduler.core.gates import Counted


def changed(controller: FakeController) -> str:
    """Have /a, at rest, changed, and return the deployment."""
    running(controller, an_app("/a"))
    controller.now += 60
    return controller.submit(PutApps((an_app("/a", cmd="new"),))).deployment_id


def test_a_locked_app_is_told_with_the_way_out(
    locking: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment, session = changed(locking), a_session(locking)
    file = write(tmp_path, "a.json", an_app("/a", 3).to_json())
    for command in (["app", "scale", "/a", "3"], ["app", "restart", "/a"], ["app", "rollback", "/a"], ["app", "apply", file]):
        assert run(command, session) == 1
        told = capsys.readouterr().err
        assert deployment in told and "--force" in told
        assert run([*command, "--force"], session) == 0
        capsys.readouterr()
        [deployment] = locking.machine.state.deployments or [changed(locking)]
    assert run(["app", "delete", "/a", "--yes"], session) == 0


def test_a_change_is_followed_to_its_end(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    deployment = changed(locking)

    def go_on(_: float) -> None:
        for instance in list(locking.machine.state.instances.values()):
            if instance.stopping:
                locking.update(instance.task_id, "KILLED")
        for task in locking.launch(an_offer()):
            locking.update(task, "RUNNING")

    session = a_session(locking, sleep=go_on)
    assert run(["deployment", "wait", deployment], session) == 0
    told = capsys.readouterr()
    assert f"{deployment}: step 1 of 1, " in told.err and "done" in told.out
    assert run(["deployment", "wait", "unknown"], session) == 1
    assert "unknown does not exist" in capsys.readouterr().err


def test_a_change_that_came_to_another_end_is_a_failure(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    deployment = changed(locking)
    session = a_session(locking, sleep=lambda _: locking.submit(Cancel(deployment)))
    assert run(["deployment", "wait", deployment], session) == 1
    assert f"eratos: {deployment}: cancelled" in capsys.readouterr().err


def test_a_wait_for_a_change_is_interrupted_with_the_way_to_wait_again(
    locking: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = changed(locking)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert run(["deployment", "wait", deployment], a_session(locking, sleep=interrupt)) == 130
    assert f"eratos deployment wait {deployment}" in capsys.readouterr().err


def test_versions_are_listed_with_what_each_changed_and_gone_back_to(
    locking: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    session = a_session(locking)
    running(locking, an_app("/a"))
    assert run(["app", "rollback", "/a"], session) == 1
    assert "no version but the present one" in capsys.readouterr().err
    first = locking.machine.state.apps["/a"].version
    locking.now += 60
    locking.submit(PutApps((an_app("/a", cmd="new", mem=64),)))
    second = locking.machine.state.apps["/a"].version
    assert run(["app", "versions", "/a"], session) == 0
    _, newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.split()[0] == second and "cmd, mem" in newest
    assert oldest.split()[0] == first and "cmd" not in oldest
    assert run(["app", "rollback", "/a", "--force"], session) == 0
    assert locking.machine.state.apps["/a"].version == first
    assert run(["app", "rollback", "/a", second, "--force"], session) == 0
    assert locking.machine.state.apps["/a"].version == second
    assert run(["app", "rollback", "/a", "2020-01-01T00:00:00.000Z", "--force"], session) == 1


def test_what_one_app_runs_is_promoted_to_another_one_which_keeps_all_else(
    session: Session, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    staging = an_app("/staging/shop", container={"docker": {"image": "shop:2"}}, env={"DB": "staging"}, instances=1)
    prod = an_app("/prod/shop", container={"docker": {"image": "shop:1"}}, cmd="old", env={"DB": "prod"}, instances=3)
    running(controller, staging, prod)
    controller.now += 60
    assert run(["app", "promote", "/staging/shop", "/prod/shop", "--force"], session) == 0
    assert "/prod/shop: promoted from /staging/shop" in capsys.readouterr().err
    found = controller.machine.state.apps["/prod/shop"]
    assert found.container is not None and found.container.docker is not None and found.container.docker.image == "shop:2"
    assert (found.cmd, found.env, found.instances) == (None, {"DB": "prod"}, 3)
    assert run(["app", "promote", "/staging/shop", "/nowhere"], session) == 1
    assert run(["app", "promote", "/nowhere", "/prod/shop"], session) == 1
    controller.submit(PutApps((an_app("/plain", cmd="sleep 1", container=None),)))
    assert run(["app", "promote", "/staging/shop", "/plain"], session) == 1
    assert "/plain has no Docker image" in capsys.readouterr().err


def test_a_deployment_is_shown_taken_back_and_cancelled(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    session, deployment = a_session(locking), changed(locking)
    assert run(["deployment", "list"], session) == 0
    assert "step 1 of 1, 2 instances left" in capsys.readouterr().out
    assert run(["deployment", "show", deployment], session) == 0
    told = capsys.readouterr().out
    assert "RestartApplication" in told and "2 left" in told and "unless it comes further" in told
    assert run(["deployment", "rollback", deployment], session) == 0
    assert locking.machine.state.apps["/a"].cmd is None
    assert run(["deployment", "list", "--ended"], session) == 0
    assert "rolled back: as deployment" in capsys.readouterr().out
    assert run(["deployment", "show", deployment], session) == 0
    assert "rolled back" in capsys.readouterr().out
    deployment = locking.submit(PutApps((an_app("/b", cpus=64),))).deployment_id
    assert run(["deployment", "cancel", deployment], session) == 0
    assert not locking.machine.state.changes
    assert run(["deployment", "cancel", deployment], session) == 1


def test_a_deployment_is_paused_goes_on_and_is_promoted(locking: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    session, canary = a_session(locking), {"ERATOS_CANARY": "1"}
    running(locking, an_app("/a", 2, labels=canary))
    locking.now += 60
    deployment = locking.submit(PutApps((an_app("/a", 2, cmd="new", labels=canary),))).deployment_id
    assert run(["deployment", "pause", deployment], session) == 0
    assert run(["deployment", "list"], session) == 0
    assert "paused, step 1 of 1" in capsys.readouterr().out
    assert run(["deployment", "resume", deployment], session) == 0
    assert run(["deployment", "promote", deployment], session) == 1
    new = [task for task in locking.launch(an_offer()) if locking.machine.state.instances[task[:-7]].launching]
    locking.update(new[0], "RUNNING")
    assert run(["deployment", "list"], session) == 0
    assert "at a gate: /a, step 1 of 1" in capsys.readouterr().out
    [found] = locking.machine.state.deployments.values()
    found.counted["/a"] = Counted(200, 3, 2400, "b2 says nothing")
    assert run(["deployment", "list"], session) == 0
    assert "at a gate: /a (3 of 200 requests failed, 12 ms; b2 says nothing), step" in capsys.readouterr().out
    found.counted.clear()
    assert run(["deployment", "promote", deployment], session) == 0
    assert locking.machine.state.changes["/a"].stage == 1
