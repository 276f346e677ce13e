"""Connections to the API: how many, and how long one may say nothing."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from support.controller import FakeController
from support.waiting import until

from eratos.scheduler.api import connections
from eratos.scheduler.api.server import ApiServer, create_api

PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def pongs(connection: socket.socket) -> bool:
    """Read an answer, however many pieces it comes in, and return whether it is the right one."""
    got = b""
    while b"pong" not in got:
        piece = connection.recv(65536)
        if not piece:
            return False
        got += piece
    return True


def pings(connection: socket.socket) -> bool:
    try:
        connection.sendall(PING)
        return pongs(connection)
    except OSError:
        return False


def test_no_more_connections_than_may_be() -> None:
    server = ApiServer(create_api(FakeController()), "127.0.0.1", 0, 3)
    server.start()
    try:
        held = [connect(server.port) for _ in range(3)]
        assert all(map(pings, held))
        with connect(server.port) as refused:
            assert not pings(refused)
        assert pings(held[0])
        held.pop().close()

        def room() -> bool:
            with connect(server.port) as other:
                return pings(other)

        until(room, 10, "the closed connection makes room")
        for connection in held:
            connection.close()
    finally:
        server.stop()


def test_one_address_does_not_take_the_last_connections() -> None:
    server = ApiServer(create_api(FakeController()), "127.0.0.1", 0, 20)
    server.start()
    try:
        # Those that have asked for something are closed sooner; they are let in, in this order, before the next one is.
        held = [connect(server.port) for _ in range(18)]
        with connect(server.port) as refused:
            assert not pings(refused)
        others = [socket.create_connection(("127.0.0.1", server.port), 10, ("127.0.0.2", 0)) for _ in range(2)]
        assert all(map(pings, others))
        with socket.create_connection(("127.0.0.1", server.port), 10, ("127.0.0.3", 0)) as refused:
            assert not pings(refused), "there are no more"
        for connection in (*held, *others):
            connection.close()
    finally:
        server.stop()


@pytest.mark.parametrize("before", [b"", b"GET /ping HTTP/1.1\r\nHost: loc", PING])
def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    bounded = connections.bounded
    monkeypatch.setattr("eratos.scheduler.api.server.bounded", lambda most, tls: bounded(most, 0.1, tls))
    server: Any = ApiServer(create_api(FakeController()), "127.0.0.1", 0)
    server.start()
    try:
        with connect(server.port) as connection:
            connection.sendall(before)
            if before == PING:
                assert pongs(connection)
                connection.sendall(b"GET /p")
            assert connection.recv(65536) == b""
    finally:
        server.stop()


@pytest.mark.parametrize("whole", [False, True], ids=["a stream", "an answer that is complete"])
def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """What nobody takes stays in memory: of a complete answer for ever, as a connection closes behind its data."""
    gone = threading.Event()
    lost = connections.Watched.connection_lost
    monkeypatch.setattr(connections.Watched, "write_s", 0.05)
    monkeypatch.setattr(connections.Watched, "connection_lost", lambda self, exc: (lost(self, exc), gone.set()))

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if whole:
            await send({"type": "http.response.body", "body": bytes(20_000_000)})
        while not whole and not gone.is_set():
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})

    server = ApiServer(endless, "127.0.0.1", 0)  # type: ignore[arg-type]
    server.start()
    try:
        with connect(server.port) as connection:
            connection.sendall(PING)
            assert gone.wait(60)
    finally:
        gone.set()
        server.stop()


def test_a_client_that_reads_slowly_is_waited_for() -> None:
    class Transport:
        aborted = False
        waiting = 100

        def get_write_buffer_size(self) -> int:
            return self.waiting

        def abort(self) -> None:
            self.aborted = True

    looks: list[int] = []
    slow: Any = object.__new__(connections.Watched)
    slow.transport = Transport()
    slow.loop = SimpleNamespace(call_later=lambda _, __, waited: looks.append(waited))
    slow._look(101)
    assert (looks, slow.transport.aborted) == ([100], False)
    slow.transport.waiting = 99
    slow._look(looks.pop())
    assert (looks, slow.transport.aborted) == ([99], False)
    slow._look(looks.pop())
    assert (looks, slow.transport.aborted) == ([], True)
