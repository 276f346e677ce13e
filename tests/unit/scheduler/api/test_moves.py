"""``/v2/moves``: what is asked for, what is refused, and what is shown meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_offer
from support.controller import FakeController

from eratos.scheduler.core.events import OffersReceived

from .test_volumes import running


def test_a_move_is_shown_from_its_beginning_to_its_end(api: ApiClient, controller: FakeController) -> None:
    task, volume = running(api, controller)
    controller.handle(OffersReceived((an_offer("a2"),)))
    (shown,) = api.post("/v2/moves", json={"app": "shop/db", "to": "host-a2", "wipe": True}).json()["moves"]
    assert (shown["app"], shown["from"], shown["to"], shown["phase"], shown["wipe"]) == (
        *("/shop/db", "host-a1", "host-a2", "host", True),
    )
    assert shown["volumes"] == [volume["id"]] and shown["instance"] == task.rpartition("._app.")[0]
    controller.handle(OffersReceived((an_offer("a2"),)))
    assert api.get("/v2/moves").json()["moves"][0]["phase"] == "stop"
    controller.update(task, "KILLED")
    controller.handle(OffersReceived((an_offer("a2"),)))
    (shown,) = api.get("/v2/moves").json()["moves"]
    assert shown["phase"] == "copy"
    listed = {found["use"]: found for found in api.get("/v2/volumes").json()["volumes"]}
    assert listed["copying"]["copyOf"] == volume["id"] and listed["waiting"]["message"] == shown["message"]
    assert [found["app"] for found in api.delete("/v2/moves/shop/db").json()["moves"]] == ["/shop/db"]
    assert api.get("/v2/moves").json() == {"moves": []}
    listed = {found["use"]: found for found in api.get("/v2/volumes").json()["volumes"]}
    assert "it was cancelled" in listed["waiting"]["message"] and set(listed) == {"waiting", "deleting"}


def test_an_instance_is_named_by_its_id_or_by_its_tasks(api: ApiClient, controller: FakeController) -> None:
    task, _ = running(api, controller)
    for name in (task, task.rpartition("._app.")[0]):
        (shown,) = api.post("/v2/moves", json={"instance": name}).json()["moves"]
        assert (shown["app"], shown["to"]) == ("/shop/db", None)
        api.delete("/v2/moves/shop%2Fdb")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ([], 422, "must be an object such as"),
        ({}, 422, "by either app or instance"),
        ({"app": "/shop/db", "instance": "x"}, 422, "by either app or instance"),
        ({"app": "/shop/db", "host": "a"}, 422, "is no field of a move: use app, instance, to, wipe"),
        ({"app": "/shop/db", "to": " "}, 422, "must be a text that is not empty"),
        ({"app": 3}, 422, "must be a text that is not empty"),
        ({"app": "/shop/db", "wipe": "yes"}, 422, "must be true or false"),
        ({"app": "/none"}, 404, "App '/none' does not exist"),
        ({"instance": "none"}, 404, "instance: 'none' does not exist"),
        ({"app": "/shop/db", "to": "nowhere"}, 404, "to: host 'nowhere' is not known"),
        ({"app": "/shop/db", "to": "host-a1"}, 409, "to: "),
    ],
)
def test_what_cannot_be_meant_is_refused(api: ApiClient, controller: FakeController, body: Any, status: int, words: str) -> None:
    running(api, controller)
    answer = api.post("/v2/moves", json=body)
    assert answer.status_code == status and words in answer.text
    assert api.delete("/v2/moves/shop/db").status_code == 404
