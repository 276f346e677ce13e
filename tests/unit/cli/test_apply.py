"""``eratos app apply``: what files may hold, what becomes of it, and what is shown before."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.builders import an_app
from support.command_line import CONTAINER, a_session, write
from support.controller import FakeController, running
from support.played_parts import a_pod

from eratos.cli import files
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


#: Nine times nine, seven times over: 40 million texts.
BOMB = "\n".join(
    ["a: &a [x]", *(f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]" for before, one in itertools.pairwise("abcdefgh"))]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id: /a\nargs: &a [*a]\n", "its aliases repeat themselves"),
        (f"{BOMB}\nid: /a\n", "its aliases repeat themselves"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 5000 + "x", "nested too deeply"),
        ("id: /a\ncpus: .inf\n", "inf is no number of JSON"),
        ('{"id": "/a", "cpus": NaN}', "nan is no number of JSON"),
        ('{"id": "/a", "cpus": 1e999}', "inf is no number of JSON"),
        ('{"id": "/a", "instances": %s}' % ("9" * 5000), "a number has 5000 digits"),
        ("id: /a\nenv: {A: !!binary aGk=}\n", "holds bytes, which no JSON can"),
        ("id: /a\nenv: !!set {A, B}\n", "holds set, which no JSON can"),
    ],
    ids=["circle", "bomb", "deep JSON", "deep YAML", "infinite", "NaN", "too large", "digits", "bytes", "set"],
)
def test_what_no_api_could_be_sent_is_wrong_usage(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setattr(files, "VALUES_MOST", 1000)
    for command in ("apply", "diff"):
        assert run(["app", command, write(tmp_path, "a.json", text)], session) == 2
        assert words in capsys.readouterr().err


def test_apply_takes_a_group_for_what_it_is(session: Session, controller: FakeController, tmp_path: Path) -> None:
    group = {"id": "shop", "apps": [{"id": "cart", "container": CONTAINER}], "groups": [{"id": "x", "apps": []}]}
    assert run(["app", "apply", write(tmp_path, "g.json", group)], session) == 0
    assert sorted(controller.machine.state.apps) == ["/shop/cart"]


@pytest.mark.parametrize("wrap", [lambda app: {"apps": [app]}, lambda app: {"app": app}, lambda app: {"*": [app]}])
def test_an_answer_that_was_kept_in_a_file_is_the_apps_in_it_and_deletes_no_other(
    session: Session, controller: FakeController, tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    controller.submit(PutApps((an_app("/a"), an_app("/other"))))
    answer = wrap({"id": "/a", "container": CONTAINER, "tasksRunning": 1, "version": "2020-01-01T00:00:00.000Z"})
    assert run(["app", "apply", write(tmp_path, "a.json", answer)], session) == 0
    assert (sorted(controller.machine.state.apps), controller.machine.state.apps["/a"].image) == (["/a", "/other"], "x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": "prod.report", "run": {"cmd": "x"}}', "holds a job, and no app: eratos job apply"),
        ('{"name": "job", "command": "x", "schedule": "R/2014-01-01T00:00:00Z/PT24H"}', "holds a job, and no app"),
        ('// made by hand\n{"id": "/a", "cmd": "x"}', "begins with a comment, and JSON has none"),
    ],
)
def test_what_is_no_definition_of_an_app_is_told_for_what_it_is(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    assert run(["app", "apply", write(tmp_path, "a.json", content)], session) == 2
    assert said in capsys.readouterr().err


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


@pytest.mark.parametrize("text", ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{HEBREW LETTER SHIN}"])
@pytest.mark.parametrize("piped", [False, True])
def test_files_are_utf_8_whatever_the_locale_and_whatever_mark_they_begin_with(
    session: Session, controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, piped: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"id": "/a", "container": CONTAINER, "env": {"NAME": text}}, ensure_ascii=False), "utf-8-sig")
    # A terminal of another locale reads its bytes otherwise; io.open is what Path.read_text goes by.
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes()), "latin-1"))
    assert run(["app", "apply", "-" if piped else str(path)], session) == 0
    assert controller.machine.state.apps["/a"].env == {"NAME": text}


@pytest.mark.parametrize("piped", [False, True])
def test_a_file_that_is_no_utf_8_is_wrong_usage(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], piped: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"id": "/a\xe9"}')
    # In the C locale Python smuggles such bytes through (PEP 538), and they would fail once they are sent.
    stdin = io.TextIOWrapper(io.BytesIO(path.read_bytes()), "utf-8", errors="surrogateescape")
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(["app", "apply", "-" if piped else str(path)], session) == 2
    assert "is no text in UTF-8, by its byte 10" in capsys.readouterr().err


def test_nothing_is_sent_while_one_file_cannot_be_read(session: Session, controller: FakeController, tmp_path: Path) -> None:
    good = write(tmp_path, "a.json", {"id": "/a", "container": CONTAINER})
    assert run(["app", "apply", good, str(tmp_path / "nosuch")], session) == 2
    assert not controller.machine.state.apps


def test_a_plan_says_what_would_start_stop_and_stay_and_changes_nothing(
    locking: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running(locking, an_app("/a", 2), an_app("/b", 3))
    session, group = a_session(locking), {"id": "/", "apps": [an_app("/a", 2, cmd="new").to_json(), an_app("/b", 4).to_json()]}
    before = len(locking.commands)
    assert run(["app", "plan", write(tmp_path, "g.json", group)], session) == 0
    shown = capsys.readouterr().out
    names, first, second = shown.splitlines()
    assert (names.split(), first.split(), second.split()) == (
        ["APP", "START", "STOP", "STAY"],
        ["/a", "2", "2", "0"],
        ["/b", "1", "0", "3"],
    )
    assert len(locking.commands) == before
    deployment = locking.submit(PutApps((an_app("/a", 2, mem=64),))).deployment_id
    assert run(["app", "plan", write(tmp_path, "g.json", group)], session) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"/a is in deployment {deployment}: refused without --force"
    before = len(locking.commands)
    for kind in ([an_app("/a", 1).to_json()], an_app("/new").to_json(), a_pod(2).to_json()):
        assert run(["app", "plan", write(tmp_path, "x.json", kind)], session) == 0
        assert len(capsys.readouterr().out.splitlines()) >= 2
    assert len(locking.commands) == before


def test_a_marathon_that_would_carry_a_plan_out_is_not_asked_for_one(
    session: Session,
    controller: FakeController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(controller, "info", lambda: {"name": "marathon", "version": "1.11.0"})
    assert run(["app", "plan", write(tmp_path, "a.json", an_app("/a").to_json())], session) == 1
    assert "a plan needs eratos, and here answers marathon" in capsys.readouterr().err
    assert controller.commands == []


def test_a_difference_is_shown_with_any_marathon(
    session: Session, controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller.submit(PutApps((an_app("/a", mem=32),)))
    before = len(controller.commands)
    assert run(["app", "diff", write(tmp_path, "a.json", an_app("/a", mem=64).to_json())], session) == 0
    assert "/a: mem: 32.0 -> 64.0" in capsys.readouterr().out
    assert len(controller.commands) == before


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
        ([{"id": "/a", "container": CONTAINER, "labels": {"HAPROXY_0_SSL_CERT": "true"}}], "/a/labels/HAPROXY_0_SSL_CERT"),
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
