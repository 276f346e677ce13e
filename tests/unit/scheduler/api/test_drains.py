"""``/v2/drains``: begins and ends drains, and says what is left."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.core.events import OffersReceived, PutApps, PutJob, StartRun, Tick

HOST = "host-a1"


@pytest.fixture
def task(controller: FakeController) -> str:
    controller.submit(PutApps((an_app("/shop", 1),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    return task


def test_a_drain_says_what_is_left_until_it_is_ended(api: ApiClient, task: str) -> None:
    found = api.put(f"/v2/drains/{HOST}", json={"deadlineSeconds": 600})
    assert found.status_code == 200
    body = found.json()
    assert body["left"] == [{"task": task, "app": "/shop", "state": "moving"}] and body["empty"] is False
    (waits,) = body["waits"]
    assert waits["app"] == "/shop" and waits["message"]
    assert body["since"] < body["deadline"]
    assert api.get(f"/v2/drains/{HOST}").json() == body and api.get("/v2/drains").json() == {"drains": [body]}
    (agent,) = api.get("/v2/overview").json()["agents"]
    assert agent["drain"] == {"since": body["since"], "by": body["by"], "deadline": body["deadline"]}
    (reason,) = [one for one in api.get("/v2/explain/shop").json()["reasons"] if one["reason"] == "Moving"]
    assert f"{HOST} is drained" in reason["message"] and reason["until"] == body["deadline"]
    assert "maintenance" not in agent, "the master has scheduled none"
    assert api.delete(f"/v2/drains/{HOST}").status_code == 200
    assert api.get("/v2/drains").json() == {"drains": []}
    assert "drain" not in api.get("/v2/overview").json()["agents"][0]


def test_what_is_left_at_the_deadline_is_stopping_and_then_the_host_is_empty(
    api: ApiClient, controller: FakeController, task: str
) -> None:
    api.put(f"/v2/drains/{HOST}", json={"deadlineSeconds": 5})
    controller.now += 5
    controller.handle(Tick())
    assert [left["state"] for left in api.get(f"/v2/drains/{HOST}").json()["left"]] == ["stopping"]
    controller.update(task, "KILLED")
    body = api.get(f"/v2/drains/{HOST}").json()
    assert (body["left"], body["empty"], body["waits"]) == ([], True, [])


def test_a_run_stays_and_may_be_out_of_reach(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutJob(a_job("nightly"), create_only=True))
    controller.submit(StartRun("nightly"))
    (task,) = controller.launch(an_offer())
    body = api.put(f"/v2/drains/{HOST}", json={}).json()
    assert [left["state"] for left in body["left"]] == ["staying"]
    controller.update(task, "UNREACHABLE")
    assert [left["state"] for left in api.get(f"/v2/drains/{HOST}").json()["left"]] == ["unreachable"]


def test_what_follows_with_its_volumes_is_left_until_they_are_copied(api: ApiClient, controller: FakeController) -> None:
    kept = [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]
    container = {"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": kept}
    controller.submit(PutApps((an_app("/db", container=container, eratos={"follow": "copy"}),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")

    def left() -> list[str]:
        body = api.get(f"/v2/drains/{HOST}").json()
        assert body["empty"] is not bool(body["left"])
        return [item["state"] for item in body["left"]]

    api.put(f"/v2/drains/{HOST}", json={})
    assert left() == ["moving"]
    (move,) = api.get("/v2/moves").json()["moves"]
    assert (move["cause"], move["to"], move["phase"]) == ("maintenance", None, "host")
    refused = api.delete("/v2/moves/db")
    assert refused.status_code == 409 and f"{HOST} is emptied" in refused.text
    controller.handle(OffersReceived((an_offer("a2"),)))
    assert left() == ["stopping"]
    controller.update(task, "KILLED")
    assert left() == ["copying"]
    (waits,) = api.get(f"/v2/drains/{HOST}").json()["waits"]
    assert waits["app"] == "/db" and "its volumes are copied with the next offer of host-a2" in waits["message"]
    assert api.get("/metrics").json()["gauges"]["eratos_drain_instances_left"]["value"] == 1
    api.delete(f"/v2/drains/{HOST}")
    assert api.get("/v2/moves").json() == {"moves": []}


def test_a_deadline_stays_unless_another_or_none_is_asked_for(api: ApiClient, controller: FakeController, task: str) -> None:
    def deadline(body: dict[str, Any]) -> object:
        return api.put(f"/v2/drains/{HOST}", json=body).json().get("deadline")

    first = deadline({"deadlineSeconds": 600})
    controller.now += 60
    assert first and deadline({}) == first
    assert deadline({"deadlineSeconds": 600}) not in (None, first)
    assert deadline({"deadlineSeconds": None}) is None


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_host_that_is_not_drained_is_not_found(api: ApiClient, task: str, method: str) -> None:
    answer = api.request(method.upper(), f"/v2/drains/{HOST}")
    assert (answer.status_code, answer.json()["message"]) == (404, f"Host '{HOST}' is not drained")


def test_a_host_that_nobody_knows_is_not_found(api: ApiClient) -> None:
    assert api.put("/v2/drains/nosuch", json={}).status_code == 404


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "must be an object"),
        ({"deadline": 5}, "/deadline"),
        ({"deadlineSeconds": 0}, "from 1 to"),
        ({"deadlineSeconds": True}, "from 1 to"),
        ({"deadlineSeconds": "10"}, "from 1 to"),
        ({"deadlineSeconds": 10**9}, "from 1 to"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_with_the_field(api: ApiClient, task: str, body: Any, told: str) -> None:
    answer = api.put(f"/v2/drains/{HOST}", json=body)
    assert answer.status_code == 422 and told in answer.text
