"""The client: addresses, parameters, and every kind of failure as an error that says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.marathon.errors import Problem


class Recorder(requests.adapters.BaseAdapter):
    """Answers every request alike and keeps what was asked."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        super().__init__()
        self.asked: list[requests.PreparedRequest] = []
        self._answer = (status, body, headers)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:  # type: ignore[override]
        self.asked.append(request)
        response = requests.Response()
        response.status_code, response._content = self._answer[0], self._answer[1]
        response.headers.update(self._answer[2])
        response.reason, response.request, response.url = "Because", request, str(request.url)
        return response

    def close(self) -> None:
        pass


def a_client(status: int = 200, body: Any = None, **headers: str) -> tuple[MarathonClient, Recorder]:
    recorder = Recorder(status, body if isinstance(body, bytes) else json.dumps(body or {}).encode(), headers)
    session = requests.Session()
    session.mount("http://", recorder)
    return MarathonClient("http://marathon.test/", session=session), recorder


def test_calls_go_to_marathons_addresses() -> None:
    client, recorder = a_client(body={"apps": [], "app": {}, "tasks": [], "queue": [], "versions": [], "leader": "x"})
    client.apps(label="a==b")
    client.app("/shop/cart")
    client.create_app({"id": "/a"})
    client.put_app("/a", {}, partial=False, force=True)
    client.put_apps([{}])
    client.scale("/a", 3)
    client.delete_app("/a")
    client.restart("/a")
    client.versions("/a")
    client.tasks()
    client.tasks("/a")
    client.kill_tasks(["t"], scale=True)
    client.group()
    client.group("/shop")
    client.put_group({})
    client.delete_group("/shop")
    client.queue()
    client.info()
    client.leader()
    assert [f"{request.method} {request.path_url}" for request in recorder.asked] == [
        "GET /v2/apps?label=a%3D%3Db",
        "GET /v2/apps/shop/cart",
        "POST /v2/apps",
        "PUT /v2/apps/a?partialUpdate=false&force=true",
        "PUT /v2/apps?partialUpdate=true&force=false",
        "PUT /v2/apps/a?partialUpdate=true&force=false",
        "DELETE /v2/apps/a?force=false",
        "POST /v2/apps/a/restart?force=false",
        "GET /v2/apps/a/versions",
        "GET /v2/tasks",
        "GET /v2/apps/a/tasks",
        "POST /v2/tasks/delete?scale=true",
        "GET /v2/groups",
        "GET /v2/groups/shop",
        "PUT /v2/groups?force=false",
        "DELETE /v2/groups/shop?force=false",
        "GET /v2/queue",
        "GET /v2/info",
        "GET /v2/leader",
    ]
    assert json.loads(recorder.asked[5].body or b"") == {"instances": 3}


def test_a_refusal_carries_its_details() -> None:
    body = {"message": "Object is not valid", "details": [{"path": "/cpus", "errors": ["is wrong", "is odd"]}]}
    client, _ = a_client(422, body)
    with pytest.raises(Refused, match="Object is not valid") as refused:
        client.create_app({})
    assert refused.value.status == 422
    assert refused.value.problems == (Problem("/cpus", "is wrong"), Problem("/cpus", "is odd"))


def test_an_error_without_json_names_the_status() -> None:
    client, _ = a_client(500, b"<html>")
    with pytest.raises(Refused, match="HTTP 500 Because"):
        client.apps()


def test_not_now_is_a_temporary_error_with_the_time_to_wait() -> None:
    client, _ = a_client(503, {"message": "no leader"}, **{"Retry-After": "3"})
    with pytest.raises(Unreachable, match="no leader") as unreachable:
        client.apps()
    assert unreachable.value.retry_after_s == 3


@pytest.mark.parametrize("body", [b"hello", b"[]"])
def test_an_answer_that_is_not_marathons_is_named(body: bytes) -> None:
    client, _ = a_client(200, body)
    with pytest.raises(Refused, match="is it Marathon's API"):
        client.info()


def test_no_answer_at_all_is_temporary_and_says_why() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1: Connection refused"):
        MarathonClient("http://127.0.0.1:1").info()


def test_ids_that_end_in_a_reserved_name_are_addressed_without_doubt() -> None:
    client, recorder = a_client(body={"app": {}, "tasks": []})
    client.app("/shop/tasks")
    client.delete_app("/shop/restart")
    client.tasks("/shop/tasks")
    client.explain("/shop/tasks")
    client.app("/tasks/shop")
    assert [request.path_url.partition("?")[0] for request in recorder.asked] == [
        "/v2/apps/%2Fshop%2Ftasks",
        "/v2/apps/%2Fshop%2Frestart",
        "/v2/apps/%2Fshop%2Ftasks/tasks",
        "/v2/explain/shop/tasks",
        "/v2/apps/tasks/shop",
    ]


def test_a_scheduler_of_before_explains_at_the_address_of_before() -> None:
    client, recorder = a_client(404, {"message": "GET /v2/explain/shop: Not Found"})
    with pytest.raises(Refused):
        client.explain("/shop")
    assert [request.path_url for request in recorder.asked] == ["/v2/explain/shop", "/v2/apps/shop/explain"]
