"""``eratos pod``, and pods among what ``eratos app apply``, ``logs`` and ``queue`` work on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import api
from support.builders import an_offer
from support.controller import FakeController

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.marathon.pod import Pod
from eratos.scheduler.core.events import Tick

POD: dict[str, Any] = {
    "id": "/shop/cart",
    "scaling": {"kind": "fixed", "instances": 2},
    "containers": [
        {
            "name": "web",
            "image": {"kind": "DOCKER", "id": "shop/web:1"},
            "resources": {"cpus": 0.2, "mem": 64},
            "endpoints": [{"name": "http", "hostPort": 0}],
        },
        {"name": "log", "image": {"kind": "DOCKER", "id": "shop/log:1"}, "resources": {"cpus": 0.1, "mem": 32}},
    ],
}


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def session(controller: FakeController) -> Session:
    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))

    def sleep(_: float) -> None:
        """Whoever waits has the pod start meanwhile."""
        for task in controller.launch(an_offer()):
            controller.update(task, "RUNNING")
        controller.now += 1
        controller.handle(Tick())

    return Session(client, Output(), clock=lambda: controller.now, sleep=sleep)


def write(folder: Path, content: Any) -> str:
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return str(path)


def pod(controller: FakeController) -> Pod:
    found = controller.machine.state.apps["/shop/cart"]
    assert isinstance(found, Pod)
    return found


def test_a_pod_is_applied_and_waited_for(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["app", "apply", "--wait", write(tmp_path, POD)], session) == 0
    assert pod(controller).instances == 2
    assert "/shop/cart ready, 2/2 running" in capsys.readouterr().err


def test_a_file_without_instances_keeps_their_number(session: Session, controller: FakeController, tmp_path: Path) -> None:
    run(["app", "apply", write(tmp_path, POD)], session)
    assert run(["app", "apply", write(tmp_path, {**POD, "scaling": None, "labels": {"a": "b"}})], session) == 0
    assert (pod(controller).instances, pod(controller).labels) == (2, {"a": "b"})


def test_a_plan_shows_what_would_change(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "apply", "--dry-run", write(tmp_path, POD)], session) == 0
    assert "/shop/cart: new" in capsys.readouterr().out
    run(["app", "apply", write(tmp_path, POD)], session)
    assert run(["app", "apply", "--dry-run", write(tmp_path, POD | {"labels": {"a": "b"}})], session) == 0
    assert "labels: None -> {'a': 'b'}" in capsys.readouterr().out


def test_strictly_what_has_no_effect_is_refused(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, POD | {"legacySharedCgroups": True})
    assert run(["app", "apply", "--strict", path], session) == 1
    assert "/legacySharedCgroups" in capsys.readouterr().err


def test_pods_are_listed_and_shown(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["app", "apply", "--wait", write(tmp_path, POD)], session)
    capsys.readouterr()
    assert run(["pod", "list"], session) == 0
    listed = capsys.readouterr().out
    assert [word in listed for word in ("/shop/cart", "2/2", "stable", "web, log")] == [True] * 4
    assert run(["pod", "show", "/shop/cart"], session) == 0
    shown = capsys.readouterr().out
    assert [word in shown for word in ("shop/web:1, 0.2 CPUs, 64 MiB", "http:31", "host-a1")] == [True] * 3
    assert run(["queue"], session) == 0


def test_pods_are_scaled_taken_back_killed_and_deleted(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["app", "apply", "--wait", write(tmp_path, POD)], session)
    first = pod(controller).version
    run(["app", "apply", write(tmp_path, POD | {"labels": {"a": "b"}})], session)
    assert run(["pod", "scale", "/shop/cart", "3"], session) == 0
    assert pod(controller).instances == 3
    capsys.readouterr()
    assert run(["pod", "versions", "/shop/cart"], session) == 0
    assert capsys.readouterr().out.split()[-1] == first
    assert run(["pod", "rollback", "/shop/cart", first], session) == 0
    assert (pod(controller).labels, pod(controller).instances) == ({}, 3)
    instance = next(i.instance_id for i in controller.machine.state.instances.values() if not i.waiting)
    assert run(["pod", "kill", "/shop/cart", instance], session) == 0
    assert controller.machine.state.instances[instance].stopping
    assert run(["pod", "delete", "--yes", "/shop/cart"], session) == 0
    assert "/shop/cart" not in controller.machine.state.apps


def test_what_is_not_there_is_said(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["show", "/no"], ["scale", "/no", "1"], ["delete", "--yes", "/no"], ["versions", "/no"]):
        assert run(["pod", *command], session) == 1
        assert "Pod '/no' does not exist" in capsys.readouterr().err
