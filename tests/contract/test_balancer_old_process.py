"""What clients that outlive a reload hold up: their own server, and those that they may still ask, and no other."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest
from support.balancer import FIRST_PORT, WEBSOCKET, Response, Rig, a_balancer, server_id
from support.http2 import Http2
from support.waiting import until

WEB = tuple(range(FIRST_PORT, FIRST_PORT + 4))
SHOP = tuple(range(FIRST_PORT + 10, FIRST_PORT + 13))
APPS = dict.fromkeys(WEB, "prime") | dict.fromkeys(SHOP, "shop")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        rig.register(*WEB)
        rig.register(*SHOP, app="shop", meta={"haproxy-path": "/shop"})
        rig.await_rotation(*WEB)
        rig.await_rotation(*SHOP, backend="shop")
        yield rig


class Held:
    """A GET whose answer waits for :func:`let_go`, in the background."""

    def __init__(self, rig: Rig) -> None:
        self.response: Response | None = None
        self._thread = threading.Thread(target=self._send, args=(rig,))
        self._thread.start()

    def _send(self, rig: Rig) -> None:
        self.response = rig.get("/hold")

    def result(self) -> Response:
        self._thread.join()
        assert self.response
        return self.response


def let_go(rig: Rig) -> None:
    assert rig.get("/go").status == 200


def used(rig: Rig, port: int) -> bool:
    # 503 while a process is just ending says nothing.
    return bool(rig.companion("GET", f"/servers/{server_id(port, APPS[port])}").get("used", True))


def busy(rig: Rig) -> int:
    """Return the one instance that has a request."""

    def found() -> list[str]:
        return [name for name, row in rig.status()["servers"].items() if row["requests"]]

    (name,) = until(lambda: len(names := found()) == 1 and names, 30, "one instance has a request", pace_s=0.01)
    return int(name.split("-")[-1].split(".")[0])


def become_old(rig: Rig) -> None:
    rig.reload(0)
    until(lambda: rig.status()["old_processes"] == 1, 10, "the process with the client is the only old one")


def drain(rig: Rig, *ports: int) -> None:
    rig.companion("POST", "/confirm", {"services": [server_id(port, APPS[port]) for port in ports]})
    for port in ports:
        rig.deregister(port, app=APPS[port])
    until(lambda: not any(configured(rig, port) for port in ports), 10, "the configuration lets go of them", pace_s=0.01)


def configured(rig: Rig, port: int) -> bool:
    return bool(rig.companion("GET", f"/servers/{server_id(port, APPS[port])}").get("configured", True))


def await_released(rig: Rig, *ports: int) -> None:
    until(lambda: not any(used(rig, port) for port in ports), 10, "the instances are released")
    assert rig.status()["old_processes"] == 1


def test_a_long_request_holds_up_no_other_instance_of_its_app_or_another_and_gets_its_answer(rig: Rig) -> None:
    held = Held(rig)
    port = busy(rig)
    become_old(rig)
    others = [other for other in APPS if other not in (port, WEB[-1] if port != WEB[-1] else WEB[0])]
    with rig.load() as load:
        drain(rig, port, *others)
        await_released(rig, *others)
        # And they end, as their executors end them then.
        for other in others:
            rig.get(f"/kill?port={other}")
        assert used(rig, port)
        assert held.response is None
        let_go(rig)
        assert held.result().port == port
    assert load.failures == []
    until(lambda: not used(rig, port), 10, "it is released, too")


def connect(rig: Rig, path: str, headers: str = "") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", rig.balancer.ports[8000]), timeout=10)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    return client


def read_until(client: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        data = client.recv(4096)
        assert data, received
        received += data
    return received


def test_a_websocket_holds_up_its_own_instance_alone(rig: Rig) -> None:
    with connect(rig, "/ws", WEBSOCKET) as client:
        read_until(client, b"90")
        port = busy(rig)
        become_old(rig)
        others = [other for other in APPS if other != port]
        drain(rig, *APPS)
        await_released(rig, *others)
        assert used(rig, port)
        client.sendall(b"still there")
        assert b"still there" in read_until(client, b"there")
    until(lambda: not used(rig, port), 10, "it is released with its client")


def test_a_stream_of_events_holds_up_its_own_instance_alone(rig: Rig) -> None:
    with connect(rig, "/begin?type=text/event-stream") as client:
        assert b"connection: close" in read_until(client, b"90").lower()
        port = busy(rig)
        become_old(rig)
        drain(rig, *APPS)
        await_released(rig, *(other for other in APPS if other != port))
        assert used(rig, port)


def test_a_client_whose_answer_had_begun_may_ask_again_and_is_answered(rig: Rig) -> None:
    client = http.client.HTTPConnection("127.0.0.1", rig.balancer.ports[8000], timeout=10)
    client.request("GET", "/begin")
    response = client.getresponse()
    assert response.getheader("connection") is None
    port = busy(rig)
    become_old(rig)
    drain(rig, *WEB)
    # Its connection stays open after the answer, so another request may follow to any instance that the old process knows.
    assert all(used(rig, other) for other in WEB)
    rig.register(WEB[0])
    rig.await_rotation(WEB[0])
    let_go(rig)
    assert response.read().decode().split() == [str(port)]
    client.request("GET", "/")
    again = client.getresponse()
    assert Response(again.status, again.read().decode()).port in WEB
    assert again.getheader("connection") == "close"
    client.close()
    until(lambda: not any(used(rig, other) for other in WEB[1:]), 10, "they are released with the client")


def test_an_http2_client_with_a_long_request_holds_up_its_own_instance_alone(rig: Rig) -> None:
    with Http2(rig.balancer.ports[8000]) as client:
        assert client.ok(client.get("/"))
        stream = client.get("/hold")
        port = busy(rig)
        become_old(rig)
        client.await_goaway()
        others = [other for other in APPS if other not in (port, WEB[-1] if port != WEB[-1] else WEB[0])]
        drain(rig, port, *others)
        await_released(rig, *others)
        assert used(rig, port)
        let_go(rig)
        assert client.ok(stream)


def test_an_http2_client_that_has_only_just_been_told_to_leave_is_still_answered(rig: Rig) -> None:
    with Http2(rig.balancer.ports[8000]) as client:
        assert client.ok(client.get("/"))
        become_old(rig)
        # It has not read it yet.
        assert client.ok(client.get("/"))


def test_an_idle_http2_client_holds_up_nothing_once_it_was_told_to_leave(rig: Rig) -> None:
    with Http2(rig.balancer.ports[8000]) as client:
        assert client.ok(client.get("/"))
        become_old(rig)
        drain(rig, *WEB)
        await_released(rig, *WEB)
        client.await_goaway()


def test_many_streams_of_one_client_do_not_hide_an_idle_client(rig: Rig) -> None:
    idle = http.client.HTTPConnection("127.0.0.1", rig.balancer.ports[8000], timeout=10)
    with Http2(rig.balancer.ports[8000]) as client:
        streams = [client.get("/hold") for _ in range(3)]
        until(lambda: sum(row["requests"] for row in rig.status()["servers"].values()) == 3, 30, "three requests are under way")
        idle.request("GET", "/")
        idle.getresponse().read()
        become_old(rig)
        drain(rig, *SHOP)
        # All of them, and not those with requests alone.
        assert all(used(rig, port) for port in SHOP)
        idle.request("GET", "/shop")
        response = idle.getresponse()
        assert Response(response.status, response.read().decode()).port in SHOP
        await_released(rig, *SHOP)
        let_go(rig)
        assert all(client.ok(stream) for stream in streams)
