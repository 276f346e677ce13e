"""``eratos app apply``: what files may hold, what becomes of it, and what is shown before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.builders import an_app
from support.command_line import CONTAINER, write
from support.controller import FakeController, running

from eratos.cli.main import run
from eratos.cli.session import Session
from eratos.scheduler.core.events import PutApps


def test_apply_creates_an_app_from_json(session: Session, controller: FakeController, tmp_path: Path) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})], session) == 0
    assert controller.machine.state.apps["/a"].image == "x"


def test_apply_reads_yaml_with_several_documents(session: Session, controller: FakeController, tmp_path: Path) -> None:
    first = "id: /a\ncontainer: {docker: {image: x}}\nversion: 2026-01-01T00:00:00Z\n"
    text = first + "---\n- {id: /b, container: {docker: {image: y}}}\n"
    assert run(["app", "apply", write(tmp_path, "a.yaml", text)], session) == 0
    assert sorted(controller.machine.state.apps) == ["/a", "/b"]


def test_keys_of_yaml_are_the_text_that_stands_there(session: Session, controller: FakeController, tmp_path: Path) -> None:
    text = """
id: /a
container: {docker: {image: x}}
env: &env
  ON: "1"
  no: "2"
  8080: "3"
  2026-01-01: "4"
labels:
  <<: *env
  ON: "5"
"""
    assert run(["app", "apply", write(tmp_path, "a.yaml", text)], session) == 0
    app = controller.machine.state.apps["/a"]
    assert app.env == {"ON": "1", "no": "2", "8080": "3", "2026-01-01": "4"}
    assert app.labels == {"ON": "5", "no": "2", "8080": "3", "2026-01-01": "4"}


@pytest.mark.parametrize("text", ['{"id": "/a", "env": {"A": "1", "A": "2"}}', "id: /a\nenv:\n  A: '1'\n  A: '2'\n"])
def test_a_key_that_stands_twice_is_wrong_usage(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", text)], session) == 2
    assert "'A' stands twice" in capsys.readouterr().err


def test_apply_takes_a_group_for_what_it_is(session: Session, controller: FakeController, tmp_path: Path) -> None:
    group = {"id": "shop", "apps": [{"id": "cart", "container": CONTAINER}], "groups": [{"id": "x", "apps": []}]}
    assert run(["app", "apply", write(tmp_path, "g.json", group)], session) == 0
    assert sorted(controller.machine.state.apps) == ["/shop/cart"]


def test_apply_makes_the_app_what_the_file_says(session: Session, controller: FakeController, tmp_path: Path) -> None:
    controller.submit(PutApps((an_app("/a", env={"OLD": "1"}),)))
    run(["app", "apply", write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})], session)
    app = controller.machine.state.apps["/a"]
    assert (app.env, app.image) == ({}, "x")


@pytest.mark.parametrize("wrap", [lambda app: app, lambda app: [app], lambda app: {"id": "/", "apps": [app]}])
def test_apply_keeps_the_number_of_instances_that_a_file_leaves_out(
    session: Session, controller: FakeController, tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    controller.submit(PutApps((an_app("/a", 7),)))
    assert run(["app", "apply", write(tmp_path, "a.json", wrap({"id": "/a", "container": CONTAINER}))], session) == 0
    assert controller.machine.state.apps["/a"].instances == 7


@pytest.mark.parametrize(("there", "kept"), [(7, 5), (4, 4), (2, 3), (0, 0)])
@pytest.mark.parametrize("wrap", [lambda app: app, lambda app: {"id": "/", "apps": [app]}])
def test_apply_keeps_the_number_that_autoscaling_has_come_to_within_its_new_bounds(
    session: Session, controller: FakeController, tmp_path: Path, wrap: Callable[[Any], Any], there: int, kept: int
) -> None:
    policy = {"autoscale": {"min": 3, "max": 5, "target": {"requestsPerSecond": 9}}}
    routed = {"labels": {"HAPROXY_0_VHOST": "a.test"}}
    controller.submit(PutApps((an_app("/a", there, **routed),)))
    file = {**an_app("/a", **routed).to_json(), "eratos": policy}
    del file["instances"]
    assert run(["app", "apply", write(tmp_path, "a.json", wrap(file))], session) == 0
    assert controller.machine.state.apps["/a"].instances == kept


def test_a_refused_definition_is_shown_field_by_field(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"id": "/a", "container": CONTAINER, "cpu": 1, "residency": {"a": 1}, "mem": "lots"}
    assert run(["app", "apply", write(tmp_path, "a.json", bad)], session) == 1
    shown = capsys.readouterr().err
    assert "did you mean cpus?" in shown
    assert "/residency" in shown
    assert "/mem" in shown


@pytest.mark.parametrize("content", ["{", "", "5", '{"cpus": 1}', '{"id": "/A B"}', "a:\n\t- b"])
def test_a_file_without_a_definition_is_wrong_usage(session: Session, tmp_path: Path, content: str) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", content)], session) == 2


@pytest.mark.parametrize(("content", "what"), [("5", "a number"), ("// x\nhello", "text"), ("true", "a truth value")])
def test_what_a_file_holds_instead_is_told_in_words(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, what: str
) -> None:
    assert run(["app", "apply", write(tmp_path, "app.yaml", content)], session) == 2
    assert f"holds {what} instead of an app" in capsys.readouterr().err


def test_nothing_is_sent_while_one_file_cannot_be_read(session: Session, controller: FakeController, tmp_path: Path) -> None:
    good = write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})
    assert run(["app", "apply", good, str(tmp_path / "nosuch")], session) == 2
    assert not controller.machine.state.apps


def test_a_dry_run_shows_changes_and_makes_none(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.submit(PutApps((an_app("/a"), an_app("/same"))))
    same = controller.machine.state.apps["/same"].to_json()
    changed = an_app("/a", mem=64).to_json()
    path = write(tmp_path, "a.json", [changed, same, {"id": "/b", "container": CONTAINER}])
    assert run(["app", "apply", "--dry-run", path], session) == 0
    assert capsys.readouterr().out.splitlines() == ["/a: mem: 32.0 -> 64.0", "/same: no change", "/b: new"]
    assert sorted(controller.machine.state.apps) == ["/a", "/same"]


def test_an_app_that_was_shown_is_applied_again(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running(controller, an_app("/a"))
    shown = session.client.app("/a")
    controller.now += 60
    controller.submit(PutApps((an_app("/a", cmd="new"),)))
    assert run(["app", "apply", write(tmp_path, "a.json", shown)], session) == 0
    assert controller.machine.state.apps["/a"].cmd is None


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"id": "/a", "container": CONTAINER, "colour": "red"}, "/a/colour"),
        ([{"id": "/a", "container": CONTAINER, "labels": {"HAPROXY_0_USE_HSTS": "true"}}], "/a/labels/HAPROXY_0_USE_HSTS"),
        ({"id": "/g", "colour": "red", "apps": []}, "/g /colour"),
    ],
)
def test_strict_refuses_what_has_no_effect_and_without_it_is_told(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, place: str
) -> None:
    path = write(tmp_path, "a.json", document)
    assert run(["app", "apply", "--strict", path], session) == 1
    assert place in capsys.readouterr().err
    assert not controller.commands
    assert run(["app", "apply", path], session) == 0
    assert "not heeded" in capsys.readouterr().err


def test_a_file_that_is_no_utf8_is_named(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_bytes('{"id": "/a", "cmd": "caf\xe9"}'.encode("latin-1"))
    assert run(["app", "apply", str(tmp_path / "a.json")], session) == 2
    assert "is no text in UTF-8, by its byte 24" in capsys.readouterr().err
