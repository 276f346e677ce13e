"""The client: addresses, parameters, and every kind of failure as an error that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from support import api
from support.controller import FakeController

from eratos.marathon.calls import CONNECT_S, READ_S
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
        "DELETE /v2/apps/a?force=true",
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
    with pytest.raises(Refused, match=r"^http://\S+ answered HTTP 500 Because for /v2/apps: is it Marathon's API\?$"):
        client.apps()


@pytest.mark.parametrize("message", ["URI not found: /v2/x", "Not Found", "HTTP 404 Not Found", "GET /v2/moves: Not Found", ""])
@pytest.mark.parametrize(
    ("ask", "path"),
    [
        (lambda client: client.volumes(), "/v2/volumes"),
        (lambda client: client.quotas(), "/v2/quotas"),
        (lambda client: client.moves(), "/v2/moves"),
        (lambda client: client.request("1"), "/v2/requests/1"),
        (lambda client: client.logs("t"), "/v2/tasks/t/logs"),
        (lambda client: client.steer("d", "pause"), "/v2/deployments/d/pause"),
        (lambda client: client.explain("/a/b"), "/v2/apps/a/b/explain"),
        (lambda client: client.jobs(), "/v1/jobs"),
    ],
)
def test_what_marathon_has_not_is_said_to_be_eratos_own(ask: Callable[[MarathonClient], Any], path: str, message: str) -> None:
    client, _ = a_client(404, {"message": message} if message else b"<html>")
    with pytest.raises(Refused, match=rf" has no {path}, which is eratos' own: this is Marathon, or an older eratos$"):
        ask(client)


def test_what_eratos_says_of_its_own_is_what_is_told() -> None:
    client, _ = a_client(404, {"message": "Volume 'x' does not exist"})
    with pytest.raises(Refused, match=r"^Volume 'x' does not exist$"):
        client.delete_volume("x")


@pytest.mark.parametrize("app_id", ["", "/", "//"])
def test_an_id_that_names_nothing_is_not_asked_about(app_id: str) -> None:
    client, _ = a_client(500, b"")
    with pytest.raises(Refused, match="names no app"):
        client.app(app_id)
    with pytest.raises(Refused, match="names no pod"):
        client.pod(app_id)


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


class Cluster(requests.adapters.BaseAdapter):
    """Several schedulers; each answers by what stands for it: a status with a message, or an error of requests'."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []
        self.timeouts: list[Any] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **more: Any) -> requests.Response:  # type: ignore[override]
        host = urlsplit(str(request.url)).hostname or ""
        self.asked.append(host)
        self.timeouts.append(more["timeout"])
        answer = self.answers[host]
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code, response.url, response.request = answer[0], str(request.url), request
        response._content = json.dumps(answer[1]).encode()
        return response

    def close(self) -> None:
        pass


def nobody_there() -> requests.ConnectionError:
    refused = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/", refused))  # type: ignore[arg-type]


def cut_off() -> requests.ConnectionError:
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))


FINE = (200, {"apps": [], "version": "v", "deploymentId": "d"})
NOT_MADE = {
    "refused": nobody_there(),
    "too slow to connect": requests.ConnectTimeout(),
    "no leader yet": (503, {"message": "there is no leader yet, an election is under way: try again"}),
    "leader changed": (503, {"message": "the leader just changed and this scheduler is not it: try again"}),
    "not the leader": (503, {"message": "this scheduler does not lead: ask the leader"}),
    "leader dead": (503, {"message": "the leader http://s does not answer ([Errno 111] Connect call failed ('::1', 1)): try"}),
    "leader unknown": (503, {"message": "the leader http://s:1 does not answer ([Errno -2] Name or service not known): try"}),
    "marathon": (503, {"message": "Could not determine the current leader"}),
}
IN_DOUBT = {
    "cut off": cut_off(),
    "too slow": requests.ReadTimeout(),
    "not stored": (503, {"message": "the change was not stored within 20 s and may still be made: is the store reachable?"}),
    "leader cut off": (503, {"message": "the leader http://s:1 does not answer (the connection was closed without an answer)"}),
    "leader reset": (503, {"message": "the leader http://s:1 does not answer ([Errno 104] Connection reset by peer): try again"}),
    "gateway": (502, {"message": "bad gateway"}),
}


def several(**answers: Any) -> tuple[MarathonClient, Cluster]:
    cluster = Cluster(**answers)
    session = requests.Session()
    session.mount("http://", cluster)
    return MarathonClient("http://a:8080, http://b:8080/,", session=session), cluster


@pytest.mark.parametrize("first", [*NOT_MADE.values(), *IN_DOUBT.values()], ids=[*NOT_MADE, *IN_DOUBT])
def test_a_question_goes_to_the_next_and_then_first_to_who_answered(first: Any) -> None:
    client, cluster = several(a=first, b=FINE)
    assert client.apps() == []
    assert client.apps() == []
    assert cluster.asked == ["a", "b", "b"]


@pytest.mark.parametrize("first", NOT_MADE.values(), ids=NOT_MADE)
def test_a_change_that_was_certainly_not_made_goes_to_the_next(first: Any) -> None:
    client, cluster = several(a=first, b=FINE)
    assert client.restart("/a")["deploymentId"] == "d"
    assert cluster.asked == ["a", "b"]


@pytest.mark.parametrize("first", IN_DOUBT.values(), ids=IN_DOUBT)
def test_a_change_in_doubt_is_made_once_and_the_doubt_is_said(first: Any) -> None:
    client, cluster = several(a=first, b=FINE)
    with pytest.raises(Unreachable, match=r"may (have been|still be) made") as caught:
        client.restart("/a")
    assert caught.value.perhaps_made
    assert cluster.asked == ["a"]


def test_a_refusal_is_an_answer_and_asked_for_once() -> None:
    client, cluster = several(a=(404, {"message": "no such app"}), b=FINE)
    with pytest.raises(Refused, match="no such app"):
        client.app("/a")
    assert cluster.asked == ["a"]


def test_nobody_at_all_names_everyone() -> None:
    client, _ = several(a=nobody_there(), b=NOT_MADE["no leader yet"])
    with pytest.raises(Unreachable, match=r"no answer from http://a:8080.*no leader yet") as caught:
        client.restart("/a")
    assert not caught.value.perhaps_made


def test_a_scheduler_that_stands_still_is_left_soon_where_there_is_another_one() -> None:
    client, cluster = several(a=requests.ReadTimeout(), b=FINE)
    client.apps()
    assert cluster.timeouts == [(CONNECT_S, READ_S), (30.0, 30.0)]


@pytest.mark.parametrize("url", ["", ",", "a:8080", "http://a:8080,b", "ftp://a", "http:///v2"])
def test_what_is_no_url_is_named_before_anything_is_asked(url: str) -> None:
    with pytest.raises(Refused, match="is no URL of an API"):
        MarathonClient(url)


def test_a_password_in_the_url_is_in_no_message() -> None:
    client = MarathonClient("http://me:hunter2@127.0.0.1:1")
    with pytest.raises(Unreachable) as caught:
        client.info()
    assert "hunter2" not in str(caught.value)
    assert "http://127.0.0.1:1" in str(caught.value)


def test_the_apis_own_words_tell_what_was_not_made() -> None:
    """What the client goes by are sentences: here they come from the API itself."""
    controller = FakeController(is_leader=False, leader=None)
    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))
    for leader in (None, "http://127.0.0.1:1", "http://nosuch.invalid:80"):
        controller._leader = leader
        with pytest.raises(Unreachable) as caught:
            client.restart("/a")
        assert not caught.value.perhaps_made, caught.value
    with pytest.raises(Unreachable, match="just changed") as caught:
        controller._leader = "http://leader.test"
        client._session.headers["X-Marathon-Via"] = "1.1 eratos"  # type: ignore[union-attr]
        client.restart("/a")
    assert not caught.value.perhaps_made
