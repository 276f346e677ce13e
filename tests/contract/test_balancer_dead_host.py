"""A host without power: nothing comes from it any more, not even the end of a connection."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from support.balancer import FIRST_PORT, IMAGE, TCP_PORTS, WEBSOCKET, WORKERS, Response, Rig, a_balancer, ask
from support.containers import Container, docker, run_container
from support.waiting import until

HERE, THERE = FIRST_PORT, FIRST_PORT + 1
#: What clients are promised, and well below everything that ends such a connection otherwise: `timeout server` is 60 s.
PROMISED_S = 7.0
#: Lets an instance answer all that is held, and will be.
GO = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{}/go').read()"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        yield rig


@pytest.fixture
def host(rig: Rig) -> Iterator[Container]:
    """The host of one of two instances; the other has none that dies."""
    with run_container(IMAGE, "-c", WORKERS, options=["--entrypoint", "python3"]) as host:
        address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", host.id)
        rig.register(THERE, address=address)
        rig.await_rotation(THERE)
        yield host


class Asked:
    """A request whose answer no living instance gives before somebody asks for it, in the background."""

    def __init__(self, rig: Rig, method: str, port: int = 8000) -> None:
        self.response: Response | None = None
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._send, args=(rig, method, port), daemon=True)
        self._thread.start()

    def _send(self, rig: Rig, method: str, port: int) -> None:
        began = time.monotonic()
        try:
            self.response = ask(rig.balancer.ports[port], method, "/hold")
        except OSError as error:
            self.response = Response(0, repr(error))
        self.seconds = time.monotonic() - began

    def result(self) -> Response:
        self._thread.join(30)
        assert self.response, "no answer"
        return self.response


def cut(host: Container) -> None:
    docker("network", "disconnect", "bridge", host.id)


def await_requests(rig: Rig, count: int) -> None:
    until(lambda: sum(row["requests"] for row in rig.status()["servers"].values()) == count, 30, "all are under way")


def test_gets_are_repeated_elsewhere_and_posts_fail_soon(rig: Rig, host: Container) -> None:
    reloads = rig.status()["reloads"]
    rig.register(HERE)
    rig.await_rotation(HERE, THERE)
    # Servers still come and go without a reload.
    assert rig.status()["reloads"] == reloads
    # The living instance answers /hold from now on.
    docker("exec", rig.workers.id, "python3", "-c", GO.format(HERE))
    gets, posts = [Asked(rig, "GET") for _ in range(6)], [Asked(rig, "POST") for _ in range(6)]
    until(lambda: sum(asked.response is not None for asked in (*gets, *posts)) == 6, 30, "the living one has answered its half")
    await_requests(rig, 6)
    cut(host)
    assert {get.result().port for get in gets} == {HERE}
    # Six of the twelve were on the dead one; which of them, was HAProxy's turn.
    statuses = Counter(post.result().status for post in posts)
    assert set(statuses) == {200, 502}
    assert rig.get().port == HERE


def test_a_request_over_a_connection_that_was_kept_is_repeated(rig: Rig, host: Container) -> None:
    # Connections are there to reuse; what is sent over them is never acknowledged.
    assert {rig.get().status for _ in range(8)} == {200}
    rig.register(HERE)
    rig.await_rotation(HERE, THERE)
    cut(host)
    assert [rig.get().port for _ in range(8)] == [HERE] * 8


def test_websockets_and_connections_of_tcp_services_end(rig: Rig, host: Container) -> None:
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", host.id)
    rig.register(FIRST_PORT + 2, app="db", address=address, meta={"haproxy-mode": "tcp", "haproxy-port": str(TCP_PORTS[0])})
    rig.await_rotation(FIRST_PORT + 2, backend="db")
    with (
        socket.create_connection(("127.0.0.1", rig.balancer.ports[8000]), timeout=30) as web,
        socket.create_connection(("127.0.0.1", rig.balancer.ports[TCP_PORTS[0]]), timeout=30) as db,
    ):
        for client in (web, db):
            client.sendall(f"GET /ws HTTP/1.1\r\nHost: x\r\n{WEBSOCKET}\r\n".encode())
            received = b""
            while b"\n90" not in received:
                received += client.recv(4096)
        cut(host)
        for client in (web, db):
            try:
                assert client.recv(1) in (b"", b"\n")
                assert client.recv(1) == b""
            except ConnectionResetError:
                pass


def test_a_host_that_lives_keeps_its_requests_however_silent_its_instance_is(rig: Rig, host: Container) -> None:
    get, post = Asked(rig, "GET"), Asked(rig, "POST")
    await_requests(rig, 2)
    rig.register(HERE)
    rig.await_rotation(HERE, THERE)
    # Stopped, it does nothing at all, and its kernel answers for it: longer than a dead host's connections last.
    host.pause()
    began = time.monotonic()
    until(lambda: time.monotonic() - began > PROMISED_S, 20, "a dead host's connections would have ended")
    assert (get.response, post.response) == (None, None)
    host.unpause()
    docker("exec", host.id, "python3", "-c", GO.format(THERE))
    assert (get.result().port, post.result().port) == (THERE, THERE)
