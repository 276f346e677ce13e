"""Followers in front of a leader that sends the bytes a test wants, or none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.controller import FakeController

from eratos.scheduler.api import proxy
from eratos.scheduler.api.manners import HEADERS
from eratos.scheduler.api.server import ApiServer, create_api


@contextmanager
def a_leader(serve: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """Play a leader: for each connection the request, body included, is read and given to ``serve``."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection:
            asked = b""
            while b"\r\n\r\n" not in asked and (piece := connection.recv(65536)):
                asked += piece
            length = next((int(line[15:]) for line in asked.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            while len(asked.partition(b"\r\n\r\n")[2]) < length and (piece := connection.recv(65536)):
                asked += piece
            serve(connection, asked)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@contextmanager
def a_follower(leader: str) -> Iterator[tuple[int, FakeController]]:
    controller = FakeController(is_leader=False, leader=leader)
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    try:
        yield server.port, controller
    finally:
        server.stop()


def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Return head and body of the answer, interim ones included in the head."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.rpartition(b"\r\n\r\n")
    return head, body


def names(head: bytes) -> list[str]:
    return sorted(line.partition(b":")[0].decode().lower() for line in head.split(b"\r\n")[1:])


def test_an_answer_has_each_header_once_and_none_of_the_other_connection() -> None:
    said: list[bytes] = []

    def serve(connection: socket.socket, asked: bytes) -> None:
        said.append(asked)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: other\r\nX-Marathon-Leader: http://x\r\n"
            b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
        )

    with a_leader(serve) as leader, a_follower(leader) as (port, _):
        head, body = ask(
            port,
            b"GET /v2/tasks HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nX-Sent: 1\r\n\r\n",
        )
    assert body == b"ok"
    found = names(head)
    assert found == sorted(set(found)), found
    manners = {"vary", *(name.lower() for name in HEADERS)}
    assert {"date", "server", "x-marathon-leader", "x-kept", "content-length", "connection"} == set(found) - manners
    assert f"x-marathon-leader: {leader}".encode() in head.lower()
    assert b"x-sent: 1" in said[0]
    assert b"x-forwarded-host: localhost" in said[0]
    assert b"x-mine" not in said[0]
    assert b"\r\nte:" not in said[0]


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2])
def test_a_request_that_expects_to_be_told_to_go_on_gets_the_final_answer(interim: bytes) -> None:
    body, said = b"x" * 1_200_000, []

    def serve(connection: socket.socket, asked: bytes) -> None:
        said.append(asked)
        connection.sendall(interim + b"HTTP/1.1 422 No\r\nContent-Length: 4\r\n\r\nwhy?")

    with a_leader(serve) as leader, a_follower(leader) as (port, _), socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(
            b"PUT /v2/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 422")
    assert answer.endswith(b"why?")
    assert b"expect" not in said[0].partition(b"\r\n\r\n")[0].lower()
    assert said[0].endswith(body)


@pytest.fixture
def frozen() -> Iterator[threading.Event]:
    """What a leader that is stopped in the midst waits for."""
    event = threading.Event()
    yield event
    event.set()


def test_a_reading_does_not_wait_for_a_frozen_leader(monkeypatch: pytest.MonkeyPatch, frozen: threading.Event) -> None:
    monkeypatch.setattr(proxy, "READ_S", 0.05)
    with a_leader(lambda *_: bool(frozen.wait(20)) and None) as leader, a_follower(leader) as (port, _):
        head, body = ask(port, b"GET /v2/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after" in head.lower()
    assert b"does not answer" in body


def test_a_change_may_take_longer_than_a_reading(monkeypatch: pytest.MonkeyPatch, frozen: threading.Event) -> None:
    monkeypatch.setattr(proxy, "READ_S", 0.0)

    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with a_leader(serve) as leader, a_follower(leader) as (port, _):
        assert ask(port, b"POST /v2/apps HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")[1] == b"ok"


def stalling(frozen: threading.Event) -> Callable[[socket.socket, bytes], None]:
    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        frozen.wait(20)

    return serve


def test_an_answer_that_stops_coming_is_cut_short(monkeypatch: pytest.MonkeyPatch, frozen: threading.Event) -> None:
    monkeypatch.setattr(proxy, "PIECE_S", 0.05)
    with a_leader(stalling(frozen)) as leader, a_follower(leader) as (port, _):
        head, body = ask(port, b"GET /v2/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"200" in head
    assert b"one" in body
    assert not body.endswith(b"0\r\n\r\n"), "a cut answer must not look whole"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_leader_that_ends_between_head_and_body_is_no_fault_of_the_follower(method: str) -> None:
    def serve(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n")

    with a_leader(serve) as leader, a_follower(leader) as (port, _):
        request = f"{method} /v2/apps/a HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        head, body = ask(port, request.encode())
    assert b" 503 " in head.partition(b"\r\n")[0]
    assert b"ended in the midst of its answer" in body


def test_a_followed_log_lasts_as_long_as_its_leader_leads(monkeypatch: pytest.MonkeyPatch, frozen: threading.Event) -> None:
    monkeypatch.setattr(proxy, "PIECE_S", 0.02)
    asked: list[str] = []
    with a_leader(stalling(frozen)) as leader, a_follower(leader) as (port, controller):

        def elected() -> str:
            asked.append(leader)
            return leader if len(asked) < 20 else "http://other:8080"

        monkeypatch.setattr(controller, "leader", elected)
        _, body = ask(port, b"GET /v2/tasks/a.instance-1/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert len(asked) >= 20
    assert b"one" in body
