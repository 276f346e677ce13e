"""Addresses as clients write them: slashes at the end, encoded slashes, HEAD, OPTIONS, and methods that are not there."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.scheduler.api.connections import HEADERS_BYTES_MAX
from eratos.scheduler.api.server import ApiServer
from eratos.scheduler.core.events import PutApps

APP = {"id": "/shop/cart", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32}


@pytest.mark.parametrize(
    "path",
    [
        *("/v2/apps", "/v2/apps/shop/cart", "/v2/apps/shop/cart/tasks", "/v2/apps/shop/cart/versions", "/v2/tasks", "/v2/queue"),
        *("/v2/deployments", "/v2/info", "/v2/leader", "/v2/groups", "/v2/groups/shop", "/v2/brake", "/v2/explain/shop/cart"),
        *("/ping", "/metrics", "/metrics/prometheus", "/v2/plugins", "/openapi.json"),
    ],
)
@pytest.mark.parametrize("slashes", ["/", "//"])
def test_slashes_at_the_end_change_nothing(api: ApiClient, path: str, slashes: str) -> None:
    api.post("/v2/apps/", json=APP)
    expected, answer = api.get(path), api.get(path + slashes, follow_redirects=False)
    assert (expected.status_code, answer.status_code) == (200, 200)
    if path not in ("/metrics", "/metrics/prometheus"):
        assert answer.content == expected.content


def test_changes_keep_their_bodies_behind_a_slash(api: ApiClient, controller: FakeController) -> None:
    assert api.post("/v2/apps/", json=APP).status_code == 201
    assert api.put("/v2/apps/shop/cart/", json={"instances": 3}, follow_redirects=False).status_code == 200
    assert api.put("/v2/apps/", json=[{"id": "/shop/cart", "cpus": 0.2}], follow_redirects=False).status_code == 200
    assert (controller.machine.state.apps["/shop/cart"].instances, controller.machine.state.apps["/shop/cart"].cpus) == (3, 0.2)
    assert api.delete("/v2/apps/shop/cart/").status_code == 200


@pytest.mark.parametrize(
    "path", ["/ping", "/v2/apps", "/v2/info", "/metrics", "/v2/apps/shop/cart", "/v2/apps/nosuch", "/v2/apps/shop/cart/tasks"]
)
def test_head_is_get_without_the_body(api: ApiClient, path: str) -> None:
    api.post("/v2/apps", json=APP)
    whole, head = api.get(path), api.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/ping", {"GET"}),
        ("/v2/info", {"GET"}),
        ("/v2/apps", {"GET", "POST", "PUT", "PATCH"}),
        ("/v2/apps/shop/cart", {"GET", "PUT", "PATCH", "DELETE"}),
        ("/v2/apps/shop/cart/tasks", {"GET", "DELETE"}),
        ("/v2/apps/shop/cart/tasks/shop_cart.instance-1._app.1", {"DELETE"}),
        ("/v2/apps/shop/cart/restart", {"POST"}),
        ("/v2/apps/shop/cart/versions", {"GET"}),
        ("/v2/apps/shop/cart/versions/2026-01-01T00:00:00.000Z", {"GET"}),
        ("/v2/apps/shop/tasks/cart", {"GET", "PUT", "PATCH", "DELETE"}),
        ("/v2/tasks", {"GET"}),
        ("/v2/tasks/delete", {"POST"}),
        ("/v2/groups", {"GET", "POST", "PUT", "DELETE"}),
        ("/v2/groups/shop", {"GET", "POST", "PUT", "PATCH", "DELETE"}),
        ("/v2/queue", {"GET"}),
        ("/v2/queue/shop/delay", {"DELETE"}),
        ("/v2/brake", {"GET", "DELETE"}),
    ],
)
def test_options_and_a_405_tell_every_method(api: ApiClient, path: str, methods: set[str]) -> None:
    expected = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    answer = api.options(path)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (204, expected)
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
        refused = api.request(method, path, json={})
        assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (405, expected)
        assert "Method Not Allowed" in refused.json()["message"]


def test_what_is_nowhere_is_not_found_by_any_method(api: ApiClient) -> None:
    for method in ("GET", "PUT", "HEAD", "OPTIONS", "DELETE"):
        answer = api.request(method, "/v3/apps/")
        assert answer.status_code == 404
    assert "Not Found" in api.get("/v3/apps").json()["message"]


# Ids that end in a name with a meaning of its own


def of_before(app_id: str) -> App:
    """Return an app as the store gives it back, whatever its id."""
    return definition.restore(an_app().to_json() | {"id": app_id})


def with_reserved(controller: FakeController, *app_ids: str) -> None:
    """Have apps from a version that took such ids, each with one running task."""
    controller.submit(PutApps(tuple(map(of_before, app_ids))))
    for task in controller.launch(an_offer()):
        controller.update(task, "RUNNING")


@pytest.mark.parametrize("last", ["tasks", "versions", "restart"])
def test_an_id_must_not_end_in_a_name_with_a_meaning_of_its_own(api: ApiClient, last: str) -> None:
    for answer in (
        api.post("/v2/apps", json=APP | {"id": f"/shop/{last}"}),
        api.post("/v2/apps", json=APP | {"id": last}),
        api.put("/v2/apps", json=[APP | {"id": f"/shop/{last}"}]),
        api.put(f"/v2/apps/%2Fshop%2F{last}", json=APP | {"id": None}),
        api.put("/v2/groups", json={"id": "/shop", "apps": [APP | {"id": last}]}),
        api.put("/v2/groups", json={"id": f"/shop/{last}", "apps": [APP | {"id": "a"}]}),
        api.put("/v2/groups", json={"id": "/", "groups": [{"id": last, "apps": []}]}),
    ):
        assert answer.status_code == 422, answer.text
        assert f"must not end in '{last}'" in answer.text


def test_such_a_name_within_an_id_is_a_name_like_others(api: ApiClient, controller: FakeController) -> None:
    for app_id in ("/shop/tasks/cart", "/shop/versions/cart", "/shop/restart/cart", "/shop/explain"):
        assert api.post("/v2/apps", json=APP | {"id": app_id}).status_code == 201
        assert api.get(f"/v2/apps{app_id}").json()["app"]["id"] == app_id
        assert api.put(f"/v2/apps{app_id}", json={"instances": 2}).status_code == 200
        assert api.get(f"/v2/explain{app_id}").json()["app"] == app_id
        assert api.delete(f"/v2/apps{app_id}").status_code == 200
    assert not controller.machine.state.apps


def test_an_app_of_before_is_managed_with_its_slashes_encoded(api: ApiClient, controller: FakeController) -> None:
    with_reserved(controller, "/shop", "/shop/tasks")
    assert api.get("/v2/apps/%2Fshop%2Ftasks").json()["app"]["id"] == "/shop/tasks"
    assert [task["appId"] for task in api.get("/v2/apps/shop%2ftasks/tasks").json()["tasks"]] == ["/shop/tasks"]
    assert api.put("/v2/apps/%2Fshop%2Ftasks", json={"instances": 0}).status_code == 200
    assert controller.machine.state.apps["/shop/tasks"].instances == 0
    assert api.delete("/v2/apps/%2Fshop%2Ftasks").status_code == 200
    assert set(controller.machine.state.apps) == {"/shop"}
    assert [task["state"] for task in api.get("/v2/apps/shop/tasks").json()["tasks"]] == ["TASK_RUNNING"]


def test_no_change_is_made_where_two_apps_may_be_meant(api: ApiClient, controller: FakeController) -> None:
    with_reserved(controller, "/shop", "/shop/tasks", "/shop/restart")
    for method, path in (("DELETE", "/v2/apps/shop/tasks"), ("POST", "/v2/apps/shop/restart")):
        answer = api.request(method, path)
        assert answer.status_code == 409
        assert "%2Fshop%2F" in answer.json()["message"]
    assert not any(i.stopping for i in controller.machine.state.instances.values())
    assert api.delete("/v2/apps/%2Fshop/tasks").status_code == 200
    assert {i.app_id for i in controller.machine.state.instances.values() if i.stopping} == {"/shop"}


def test_the_way_to_an_app_of_before_is_named_where_its_plain_address_means_nothing(
    api: ApiClient, controller: FakeController
) -> None:
    with_reserved(controller, "/shop/tasks")
    for method in ("GET", "DELETE"):
        answer = api.request(method, "/v2/apps/shop/tasks")
        assert (answer.status_code, "/v2/apps/%2Fshop%2Ftasks" in answer.json()["message"]) == (404, True)


def test_the_old_address_of_explain_stays_for_ids_that_do_not_clash(api: ApiClient, controller: FakeController) -> None:
    with_reserved(controller, "/shop", "/shop/explain")
    assert api.get("/v2/explain/shop").json()["app"] == "/shop"
    assert api.get("/v2/explain/shop/explain").json()["app"] == "/shop/explain"
    assert api.get("/v2/apps/shop/explain").json()["app"]["id"] == "/shop/explain"
    assert api.get("/v2/apps/shop/explain/explain").json()["app"] == "/shop/explain"
    api.delete("/v2/apps/shop/explain")
    assert api.get("/v2/apps/shop/explain").json()["app"] == "/shop"
    assert api.get("/v2/apps/none/explain").status_code == 404


# On the wire


@pytest.fixture
def port(controller: FakeController) -> Iterator[int]:
    server = ApiServer(an_api(controller), "127.0.0.1", 0)
    server.start()
    yield server.port
    server.stop()


def say(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_request_without_host_is_answered(port: int) -> None:
    assert say(port, b"GET /v2/info HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert say(port, b"GET /v2/info HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("host", [b"[", b"a b", b"x:y:z", b"\xff", b""])
def test_a_strange_host_breaks_nothing(port: int, host: bytes) -> None:
    answer = say(port, b"GET /v2/nosuch?x=%ff HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n")
    assert answer.split()[1] in (b"400", b"403"), answer


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://localhost/ping", b"localhost", b"200"),
        (b"HTTP://127.0.0.1:8080/ping?x=http://evil.example/", b"localhost", b"200"),
        # The address that is asked for is what counts, whatever Host says (RFC 9112, 3.2.2).
        (b"http://localhost/ping", b"evil.example", b"200"),
        (b"http://evil.example/ping", b"localhost", b"403"),
        (b"http://evil.example/v2/apps", b"localhost", b"403"),
        (b"http://localhost@evil.example/ping", b"localhost", b"400"),
        (b"http:///ping", b"localhost", b"400"),
        (b"https://localhost/ping", b"localhost", b"421"),
        (b"http://localhost", b"localhost", b"200"),  # the dashboard
        (b"*", b"localhost", b"404"),
    ],
)
def test_a_request_may_name_the_whole_address(port: int, target: bytes, host: bytes, status: bytes) -> None:
    answer = say(port, b"GET " + target + b" HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n")
    assert answer.split()[1] == status, answer


def test_a_change_by_its_whole_address_is_held_against_that_host(port: int, controller: FakeController) -> None:
    body = json.dumps(APP).encode()
    of_json = b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    for target, origin, status in (
        (b"http://127.0.0.1/v2/apps", b"http://evil.example", b"403"),
        # A page whose name was rebound is of the same origin as the Host that its browser sends.
        (b"http://evil.example/v2/apps", b"http://evil.example", b"403"),
        (b"http://127.0.0.1/v2/apps", b"http://127.0.0.1", b"201"),
    ):
        head = b"POST " + target + b" HTTP/1.1\r\nHost: evil.example\r\nOrigin: " + origin + b"\r\n"
        answer = say(port, head + of_json)
        assert answer.split()[1] == status, answer
    assert len(controller.commands) == 1


GET_PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request_are_passed_over(port: int, empty: bytes) -> None:
    assert say(port, empty + GET_PING + b"Connection: close\r\n\r\n").split()[1] == b"200"
    body = b"POST /v2/nosuch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    answers = say(port, body + empty + GET_PING + b"\r\n" + empty + GET_PING + b"Connection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", answers) == [b"404", b"200", b"200"]


def test_an_empty_line_may_come_in_pieces(port: int) -> None:
    """Each answer says that what was sent before it was read by then."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        read = connection.makefile("rb")
        for piece in (b"", b"\r", b"\r\n\r"):
            connection.sendall(piece)
            with socket.create_connection(("127.0.0.1", port), 10) as other:
                other.sendall(GET_PING + b"\r\n")
                assert other.recv(12) == b"HTTP/1.1 200"
            connection.sendall((b"\n" if piece else b"") + GET_PING + b"\r\n")
            assert read.readline().startswith(b"HTTP/1.1 200")
            while read.readline() != b"\r\n":
                pass
            assert read.read(4) == b"pong"


@pytest.mark.parametrize("start", [b"\rGET /ping", b"\r\r\nGET /ping", b" GET /ping", b"\x00GET /ping"])
def test_what_is_no_empty_line_is_passed_over_by_nobody(port: int, start: bytes) -> None:
    assert say(port, start + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").split()[1] == b"400"


def test_head_on_the_wire_tells_the_length_and_sends_nothing(port: int) -> None:
    head, _, body = say(port, b"HEAD /ping/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")
    assert (head.split()[1], b"content-length: 4" in head.lower(), body) == (b"200", True, b"")


def test_headers_are_bounded(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: ")
        try:
            for _ in range(100):
                connection.sendall(b"x" * HEADERS_BYTES_MAX)
        except OSError:
            return  # the server ended it in the midst
        assert connection.recv(100).split()[1] == b"400"


def test_an_endless_path_is_refused_before_it_is_looked_at(api: ApiClient) -> None:
    assert api.get("/v2/apps/" + "x/tasks/" * 5000).status_code == 414
    assert api.get("/v2/apps", params={"label": "a," * 200}).status_code == 422


def test_metrics_are_json_for_who_asks_for_that(api: ApiClient, controller: FakeController) -> None:
    with_reserved(controller, "/shop")
    found = api.get("/metrics", headers={"Accept": "application/json"})
    assert found.json()["gauges"]["eratos_instances./shop.TASK_RUNNING"] == {"value": 1.0}
    assert b"eratos_leader 1.0" in api.get("/metrics/prometheus", headers={"Accept": "application/json"}).content
    json.dumps(found.json(), allow_nan=False)
