"""``/v2/drains``: begins and ends drains, and says what is left."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.core.events import PutApps

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
    assert body["since"] < body["deadline"]
    assert api.get(f"/v2/drains/{HOST}").json() == body and api.get("/v2/drains").json() == {"drains": [body]}
    (agent,) = api.get("/v2/overview").json()["agents"]
    assert agent["drain"] == {"since": body["since"], "by": body["by"], "deadline": body["deadline"]}
    (reason,) = [one for one in api.get("/v2/explain/shop").json()["reasons"] if one["reason"] == "Moving"]
    assert f"{HOST} is drained" in reason["message"]
    assert api.delete(f"/v2/drains/{HOST}").status_code == 200
    assert api.get("/v2/drains").json() == {"drains": []}
    assert "drain" not in api.get("/v2/overview").json()["agents"][0]


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
