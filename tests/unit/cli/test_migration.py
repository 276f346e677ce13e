"""``eratos marathon``: files are checked, and a running Marathon's apps copied."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import api
from support.builders import an_app
from support.controller import FakeController

from eratos.cli import migration
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps

GOOD = {"id": "/a", "cmd": "x"}


def a_session(controller: FakeController, *, as_json: bool = False, source: Any = None) -> Session:
    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))
    return Session(client, Output("json" if as_json else "table"), source=source)


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


def write(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_folder_is_checked_field_by_field_and_asks_no_api(
    controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.json", GOOD)
    write(
        tmp_path / "below" / "g.yaml",
        "id: /g\napps: [{id: b, cmd: x, colour: red}]\ngroups: [{id: h, apps: [{id: c, cpu: 1}]}]\n",
    )
    write(tmp_path / "package.json", {"name": "no app"})
    write(tmp_path / "README.md", "no JSON")
    controller.down = "nobody may ask"
    assert run(["marathon", "check", str(tmp_path)], a_session(controller)) == 1
    out = capsys.readouterr().out
    for words in ("/g/b", "/colour", "not heeded", "/g/h/c", "did you mean cpus", "package.json: no app", "holds no id"):
        assert words in out
    assert "4 apps: 1 as they are, 1 with differences, 2 cannot be taken" in out


def test_a_file_that_is_taken_ends_well_but_strictly_only_if_all_of_it_has_an_effect(
    controller: FakeController, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.json", {**GOOD, "colour": "red"})
    assert run(["marathon", "check", path], a_session(controller)) == 0
    assert run(["marathon", "check", "--strict", path], a_session(controller)) == 1


def test_a_folder_without_files_is_wrong_usage(controller: FakeController, tmp_path: Path) -> None:
    assert run(["marathon", "check", str(tmp_path)], a_session(controller)) == 2


def test_what_is_wrong_with_a_group_itself_is_told_too(
    controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = {"id": "/g", "version": "2019-01-01T00:00:00.000Z", "apps": [{"id": "b", "cmd": "x", "colour": "red"}]}
    path = write(tmp_path / "g.json", group)
    assert run(["marathon", "check", path], a_session(controller)) == 0
    assert "groups" not in capsys.readouterr().out
    path = write(tmp_path / "g.json", {**group, "groups": [{"id": "h", "dependancies": ["/a"], "apps": [{"nonsense": 1}]}]})
    assert run(["marathon", "check", path], a_session(controller)) == 1
    out = capsys.readouterr().out
    assert "/groups(0)/dependancies" in out and "did you mean dependencies?" in out
    assert "2 apps: 0 as they are, 1 with differences, 1 cannot be taken; and 1 groups with differences" in out


def test_a_check_as_json(controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "marathon", "check", write(tmp_path / "a.json", GOOD)], a_session(controller, as_json=True)) == 0
    [app] = json.loads(capsys.readouterr().out)
    assert (app["id"], app["problem"]) == ("/a", "")
    assert app["fields"][0] == {"path": "/id", "verdict": "same", "message": ""}


POD = {
    "scaling": {"kind": "fixed", "instances": 2},
    "containers": [{"name": "web", "image": {"id": "shop/web"}, "resources": {"cpus": 0.1, "mem": 32}}],
}


def test_a_pod_is_checked_field_by_field(controller: FakeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.json", POD | {"id": "/pod", "legacySharedCgroups": True})
    assert run(["marathon", "check", path], a_session(controller)) == 0
    out = capsys.readouterr().out
    assert "/containers(0)/image/id" in out and "not heeded" in out
    assert "1 apps: 0 as they are, 1 with differences, 0 cannot be taken" in out


@pytest.fixture
def there() -> FakeController:
    """A running Marathon: eratos' own API plays it."""
    return FakeController()


def copied(controller: FakeController, there: FakeController, *arguments: str) -> Callable[[], int]:
    marathon = api.session(create_api(there, clock=lambda: there.now, access=api.OPEN))  # type: ignore[arg-type]
    return lambda: run(["marathon", "import", "http://api.test", *arguments], a_session(controller, source=marathon))


def test_apps_are_copied_without_instances_and_what_is_next_is_said(
    controller: FakeController, there: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    there.submit(PutApps((an_app("/shop/web", 3, dependencies=["/shop/db"]), an_app("/shop/db", 1), an_app("/other", 0))))
    assert copied(controller, there)() == 0
    apps = controller.machine.state.apps
    assert {app_id: app.instances for app_id, app in apps.items()} == {"/shop/web": 0, "/shop/db": 0, "/other": 0}
    assert apps["/shop/web"].dependencies == ("/shop/db",)
    out = capsys.readouterr().out
    assert "3 apps copied" in out
    assert "eratos app scale /shop/web 3 --wait" in out and "/other 0" not in out
    assert {app.instances for app in there.machine.state.apps.values()} == {3, 1, 0}
    assert copied(controller, there)() == 0
    assert "left as it is here: /shop/web" in capsys.readouterr().out


def test_apps_may_be_started_at_once_or_only_looked_at_and_only_those_of_a_group(
    controller: FakeController, there: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    there.submit(PutApps((an_app("/shop/web", 3), an_app("/other", 2))))
    assert copied(controller, there, "--dry-run")() == 0
    assert "2 apps would be copied" in capsys.readouterr().out
    assert not controller.machine.state.apps
    assert copied(controller, there, "--start", "--group", "/shop")() == 0
    assert {app_id: app.instances for app_id, app in controller.machine.state.apps.items()} == {"/shop/web": 3}


def test_where_one_app_cannot_be_taken_nothing_is_copied_unless_asked_for(
    controller: FakeController, there: FakeController, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"id": "/bad", "cmd": "x", "residency": {"taskLostBehavior": "WAIT_FOREVER"}}
    tree = {
        "id": "/",
        "apps": [bad],
        "groups": [{"id": "/g", "dependencies": ["/a"], "apps": [GOOD | {"id": "/g/b"}], "groups": [{"id": "/g/empty"}]}],
        "pods": [POD | {"id": "/pod"}, POD | {"id": "/old", "containers": [{"name": "a", "resources": {}}]}],
    }
    trees = itertools.cycle([tree, {"id": "/", "groups": []}])  # there, and here
    monkeypatch.setattr(MarathonClient, "group", lambda self: next(trees))
    assert copied(controller, there)() == 1
    assert "/bad/residency" in capsys.readouterr().err
    assert not controller.machine.state.apps
    assert copied(controller, there, "--partly")() == 0
    out = capsys.readouterr().out
    assert "not copied: /bad/residency" in out and "not copied: /old/containers(0)/image" in out
    assert "1 apps and 1 pods copied" in out and "eratos pod scale /pod 2 --wait" in out
    assert controller.machine.state.apps["/pod"].instances == 0
    assert controller.machine.state.apps["/g/b"].dependencies == ()
    groups = controller.machine.state.groups
    assert {group_id: group.dependencies for group_id, group in groups.items()} == {"/g": ("/a",), "/g/empty": ()}
    assert "groups copied: /g, /g/empty" in out


class Shown:
    """A Marathon of which only what it shows matters."""

    def __init__(self, *groups: dict[str, Any]) -> None:
        self.shown = {"id": "/", "groups": list(groups)}

    def group(self) -> dict[str, Any]:
        return self.shown

    def apps(self) -> list[Any]:
        return []

    pods = apps


def test_groups_that_enforce_their_role_do_so_once_their_apps_are_there() -> None:
    old = GOOD | {"id": "/dev/old", "role": "slave_public"}
    there = Shown(
        {"id": "/dev", "enforceRole": True, "apps": [old]},
        {"id": "/ops", "enforceRole": False},
        {"id": "/here", "enforceRole": True},
    )
    plan = migration.plan(there, Shown({"id": "/here"}), "/", start=False)  # type: ignore[arg-type]
    assert (plan.groups, plan.enforcing) == ([{"id": "/ops", "dependencies": []}], [{"id": "/dev", "enforceRole": True}])
    assert [app["role"] for app in plan.apps] == ["slave_public"]
    assert migration.plan(there, Shown(), "/shop", start=False).enforcing == []  # type: ignore[arg-type]
