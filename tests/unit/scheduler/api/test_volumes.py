"""``/v2/volumes``, ``localVolumes`` of tasks, and ``wipe``."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_offer
from support.controller import FakeController

from eratos.scheduler.core.events import AgentLost, OffersReceived, Subscribed, VolumeDestroyed
from eratos.scheduler.events.standing import VOLUME

DATA = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
APP: dict[str, Any] = {
    "id": "/shop/db",
    "cpus": 0.1,
    "mem": 32,
    "container": {"type": "DOCKER", "docker": {"image": "db:1"}, "volumes": [DATA]},
}


def running(api: ApiClient, controller: FakeController) -> tuple[str, dict[str, Any]]:
    assert api.post("/v2/apps", json=APP).status_code == 201
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    return task, only(api)


def only(api: ApiClient) -> dict[str, Any]:
    (found,) = api.get("/v2/volumes").json()["volumes"]
    return dict(found)


def test_a_volume_is_listed_with_its_host_its_size_and_who_uses_it(api: ApiClient, controller: FakeController) -> None:
    task, shown = running(api, controller)
    assert (shown["appId"], shown["containerPath"], shown["size"], shown["host"]) == ("/shop/db", "data", 10, "host-a1")
    assert (shown["use"], shown["taskId"], shown["away"]) == ("used", task, False)
    assert api.get(f"/v2/volumes/{shown['id']}").json() == shown
    local = [{"runSpecId": "/shop/db", "containerPath": "data", "persistenceId": shown["id"]}]
    assert api.get("/v2/apps/shop/db").json()["app"]["tasks"][0]["localVolumes"] == local
    assert api.get("/v2/apps/shop/db/tasks").json()["tasks"][0]["localVolumes"] == local
    assert api.get("/v2/apps/shop/db").json()["app"]["residency"]["taskLostBehavior"] == "WAIT_FOREVER"


def test_what_changes_of_volumes_is_told_and_not_whose(api: ApiClient, controller: FakeController) -> None:
    def told() -> list[bytes]:
        return [entry.document for entry in controller.events.read(0, 10_000_000).entries if entry.kind == VOLUME]

    task, _ = running(api, controller)
    assert told()
    before = len(told())
    api.delete("/v2/apps/shop/db")
    controller.update(task, "KILLED")
    after = len(told())
    assert after > before
    controller.handle(VolumeDestroyed(only(api)["id"], "busy"))
    assert not any(b"shop" in document for document in told())
    assert api.put("/v2/apps/plain", json={"id": "/plain", "cmd": "sleep 1", "cpus": 0.1, "mem": 32}).status_code == 201
    assert len(told()) == after


def test_what_is_in_use_is_not_deleted(api: ApiClient, controller: FakeController) -> None:
    task, shown = running(api, controller)
    refused = api.delete(f"/v2/volumes/{shown['id']}")
    assert refused.status_code == 409 and task in refused.json()["message"]
    assert api.delete("/v2/volumes/none").status_code == 404


def test_a_deleted_apps_volume_stays_until_it_is_deleted_itself(api: ApiClient, controller: FakeController) -> None:
    task, shown = running(api, controller)
    api.delete("/v2/apps/shop/db")
    controller.update(task, "KILLED")
    assert only(api)["use"] == "unused" and only(api)["unusedSince"]
    answer = api.delete(f"/v2/volumes/{shown['id']}").json()
    assert answer["use"] == "deleting"
    controller.handle(VolumeDestroyed(shown["id"], "busy"))
    assert only(api)["message"] == "busy"
    controller.handle(VolumeDestroyed(shown["id"]))
    assert api.get("/v2/volumes").json() == {"volumes": []}


def test_a_volume_on_a_host_that_is_gone_is_forgotten_by_force_alone(api: ApiClient, controller: FakeController) -> None:
    task, shown = running(api, controller)
    controller.update(task, "GONE")
    controller.handle(AgentLost("a1"))
    assert (only(api)["use"], only(api)["away"]) == ("waiting", True)
    assert "host is away" in api.delete(f"/v2/volumes/{shown['id']}").json()["message"]
    assert api.delete(f"/v2/volumes/{shown['id']}?force=true").json()["use"] == "destroyed"
    assert api.get("/v2/volumes").json() == {"volumes": []}


@pytest.mark.parametrize("wipe", [True, False])
def test_wipe_destroys_what_an_app_had(api: ApiClient, controller: FakeController, wipe: bool) -> None:
    task, _ = running(api, controller)
    api.delete(f"/v2/apps/shop/db?wipe={str(wipe).lower()}")
    controller.update(task, "KILLED")
    assert only(api)["use"] == ("deleting" if wipe else "unused")


@pytest.mark.parametrize(
    "ask",
    [
        lambda api, task: api.delete("/v2/apps/shop/db/tasks?wipe=true"),
        lambda api, task: api.delete(f"/v2/apps/shop/db/tasks/{task}?wipe=true"),
        lambda api, task: api.post("/v2/tasks/delete?wipe=true", json={"ids": [task]}),
    ],
)
@pytest.mark.parametrize("waits", [True, False])
def test_a_kill_with_wipe_destroys_what_the_task_had_while_it_waits_too(
    api: ApiClient, controller: FakeController, ask: Any, waits: bool
) -> None:
    task, _shown = running(api, controller)
    if waits:
        controller.update(task, "FAILED")
    assert ask(api, task).status_code == 200
    if not waits:
        controller.update(task, "KILLED")
    assert only(api)["use"] == "deleting"
    controller.now += 60
    controller.handle(Subscribed("framework-1", "master:5050"))
    controller.handle(OffersReceived((an_offer("a2"),)))
    uses = {found["host"]: found["use"] for found in api.get("/v2/volumes").json()["volumes"]}
    assert uses == {"host-a1": "deleting", "host-a2": "used"}
