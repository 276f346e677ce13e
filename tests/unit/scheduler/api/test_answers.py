"""The JSON of apps is made once for each definition, and never shown once it is old."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app
from support.controller import FakeController

from eratos.marathon.app import App
from eratos.scheduler.api.answers import Definitions


def test_a_definition_is_written_once_and_anew_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    to_json = App.to_json

    def counted(app: App) -> dict[str, Any]:
        made.append(app.version)
        return to_json(app)

    monkeypatch.setattr(App, "to_json", counted)
    definitions = Definitions()
    first, second = an_app("/a").with_version("1"), an_app("/a", cpus=0.2).with_version("2")
    assert [definitions.json(app)["version"] for app in (first, first, second, second, first)] == ["1", "1", "2", "2", "1"]
    assert made == ["1", "2", "1"]


def test_what_is_no_more_is_forgotten() -> None:
    definitions = Definitions()
    apps = {app.id: app for app in map(an_app, ("/a", "/b", "/c"))}
    for app in apps.values():
        definitions.json(app)
    definitions.forget({"/b": apps["/b"]})
    assert set(definitions._kept) == {"/b"}


def test_an_answer_shows_each_change_and_no_answer_changes_another() -> None:
    controller = FakeController()
    api = ApiClient(an_api(controller))
    api.post("/v2/apps", json=an_app("/a").to_json())
    plain = api.get("/v2/apps").json()["apps"][0]
    api.get("/v2/apps?embed=apps.tasks&embed=apps.taskStats&embed=apps.readiness")
    assert api.get("/v2/apps").json()["apps"][0] == plain
    for instances in (2, 3):
        api.put("/v2/apps/a", json={"instances": instances})
        assert api.get("/v2/apps").json()["apps"][0]["instances"] == instances
        assert api.get("/v2/queue").json()["queue"][0]["app"]["instances"] == instances
    api.delete("/v2/apps/a")
    assert api.get("/v2/apps").json() == {"apps": []}
