"""The executor's HTTP endpoint over real sockets, in front of logs that tests write."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
from support.executor import TASK
from support.fake_logs import FakeLogs
from support.waiting import until

from eratos.common import async_http, keys
from eratos.common.errors import TemporaryError
from eratos.executor.docker import logs as docker_logs
from eratos.executor.endpoint import FOLLOWERS_MAX, READERS_MAX, STRANGERS_MAX, Access, Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.logs import TAIL_MAX
from eratos.executor.readiness import ReadinessResults, Result


class Rig:
    def __init__(self, io: IoThread) -> None:
        self.io = io
        self.logs = FakeLogs()
        self.readiness = ReadinessResults()
        counted = lambda: b"eratos_executor_launches_total 3\n"  # noqa: E731
        taken = lambda: {TASK: {"cpus": 0.5}}  # noqa: E731
        sources = [FakeLogs(), self.logs]
        self.port = listening(Endpoint(io, sources, self.readiness, "127.0.0.1", 0, metrics=counted, usage=taken))

    def ask(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path)
        return connection.getresponse()

    def read(self, query: str = "", task: str = TASK) -> bytes:
        with self.ask(f"/tasks/{task}/logs{query}") as answer:
            assert answer.status == 200
            return answer.read()

    def refused(self, path: str) -> tuple[int, str]:
        with self.ask(path) as answer:
            return answer.status, json.loads(answer.read())["message"]


def listening(server: Endpoint) -> int:
    server.start()
    return until(lambda: server.port, 10, "logs are served")


@pytest.fixture
def rig() -> Iterator[Rig]:
    io = IoThread()
    io.start()
    yield Rig(io)
    io.stop()


@pytest.mark.parametrize("what", ["exec", "connect"])
def test_an_executor_without_a_key_carries_no_tunnel(rig: Rig, what: str) -> None:
    assert rig.refused(f"/tasks/{TASK}/{what}") == (
        503,
        "this executor was started without a key, by an earlier version: it carries no tunnels",
    )


def test_a_log_is_read_by_stream_and_number_of_lines(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n", b"two\n", b"three\n")
    rig.logs.write(TASK, b"oh\n", stream="stderr")
    assert rig.read() == b"one\ntwo\nthree\n"
    assert rig.read("?tail=2") == b"two\nthree\n"
    assert rig.read("?stream=stderr") == b"oh\n"


def test_a_log_is_gone_on_with_from_the_position_of_a_line(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n", b"two\n", b"three\n")
    with rig.ask(f"/tasks/{TASK}/logs?positions=true&tail=2") as answer:
        assert (answer.headers["Eratos-Log-Positions"], answer.read()) == ("true", b"1 two\n2 three\n")
    with rig.ask(f"/tasks/{TASK}/logs?from=1") as answer:
        assert (answer.headers["Eratos-Log-Positions"], answer.read()) == ("true", b"1 two\n2 three\n")
    with rig.ask(f"/tasks/{TASK}/logs") as answer:
        assert "Eratos-Log-Positions" not in answer.headers


def test_a_followed_log_comes_as_it_is_written_and_ends_with_the_task(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n")
    with rig.ask(f"/tasks/{TASK}/logs?follow=true") as answer:
        assert answer.readline() == b"one\n"
        rig.logs.write(TASK, b"two\n")
        assert answer.readline() == b"two\n"
        rig.logs.end(TASK)
        assert answer.read() == b""


def test_a_reader_that_hangs_up_is_let_go_though_nothing_is_written(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n")
    answer = rig.ask(f"/tasks/{TASK}/logs?follow=true")
    assert (answer.readline(), rig.logs.readers) == (b"one\n", 1)
    answer.close()
    until(lambda: rig.logs.readers == 0, 10, "the reader is gone")


def test_a_slow_reader_is_waited_for_and_not_written_into_memory_for(rig: Rig) -> None:
    rig.logs.write(TASK, *[b"x" * 65536] * 1000)
    with socket.create_connection(("127.0.0.1", rig.port)) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(f"GET /tasks/{TASK}/logs?tail=1000 HTTP/1.1\r\n\r\n".encode())
        until(lambda: rig.logs.given, 10, "the log is read")
        assert len(rig.read("?tail=1000")) == 65_536_000  # others are served meanwhile
        assert rig.logs.given < 1900, "64 MB went somewhere"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/tasks/nobody/logs", 404, "no log of nobody"),
        ("/other", 404, "/tasks/<task id>/logs"),
        (f"/tasks/{TASK}/logs?stream=both", 422, "stdout or stderr"),
        (f"/tasks/{TASK}/logs?tail=all", 422, f"0 to {TAIL_MAX}"),
        (f"/tasks/{TASK}/logs?tail={TAIL_MAX + 1}", 422, f"0 to {TAIL_MAX}"),
        (f"/tasks/{TASK}/logs?follow=yes", 422, "true or false"),
        (f"/tasks/{TASK}/logs?positions=1", 422, "positions must be true or false"),
        (f"/tasks/{TASK}/logs?from=0&tail=9", 422, "from and tail exclude each other"),
        (f"/tasks/{TASK}/logs?from=x%0a", 422, "must be a position that came before a line"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(rig: Rig, path: str, status: int, words: str) -> None:
    found = rig.refused(path)
    assert (found[0], words in found[1]) == (status, True)


@pytest.mark.parametrize("fault", [TemporaryError("Docker is away"), ConnectionRefusedError("Docker is away")])
def test_a_runtime_that_is_away_is_told(rig: Rig, fault: Exception) -> None:
    rig.logs.fault = fault
    status, message = rig.refused(f"/tasks/{TASK}/logs")
    assert (status, "Docker is away" in message) == (503, True)


def test_followers_take_places_of_their_own(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n")
    answers = [rig.ask(f"/tasks/{TASK}/logs?follow=true") for _ in range(FOLLOWERS_MAX)]
    assert "followed" in rig.refused(f"/tasks/{TASK}/logs?follow=true")[1]
    assert rig.read() == b"one\n"
    with rig.ask(f"/tasks/{TASK}/readiness") as answer:
        assert answer.status == 200
    answers.pop().close()
    until(lambda: rig.logs.readers < FOLLOWERS_MAX, 10, "a reader is gone")
    answers.append(rig.ask(f"/tasks/{TASK}/logs?follow=true"))
    assert answers[-1].status == 200
    for answer in answers:
        answer.close()


def slow_reader(rig: Rig) -> socket.socket:
    """One that asks for a log and takes nothing of it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", rig.port))
    reader.settimeout(10)
    reader.sendall(f"GET /tasks/{TASK}/logs?tail=1000 HTTP/1.1\r\n\r\n".encode())
    return reader


def test_readers_that_take_nothing_give_way_to_the_newest(rig: Rig) -> None:
    rig.logs.write(TASK, *[b"x" * 65536] * 20)
    readers = [slow_reader(rig) for _ in range(READERS_MAX)]
    until(lambda: rig.logs.readers == READERS_MAX, 10, "all of them read")
    assert len(rig.read("?tail=1000")) == 20 * 65536
    until(lambda: rig.logs.readers == READERS_MAX - 1, 10, "the oldest has given way")
    assert ended(readers[0])
    for reader in readers:
        reader.close()


def ended(client: socket.socket) -> bool:
    """Read to the end, which comes only where the connection was given up."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_a_slow_readers_short_log_is_its_own_and_in_no_memory_but_the_kernels(rig: Rig) -> None:
    """What has been handed over is no reason to hold anything: a place is kept until then."""
    rig.logs.write(TASK, b"x" * 1_000_000)
    with slow_reader(rig):
        until(lambda: rig.logs.given == 1, 10, "it is read")
        with rig.ask(f"/tasks/{TASK}/readiness") as answer:
            assert answer.status == 200
        assert rig.logs.readers == 1


def test_connections_that_say_nothing_give_way_to_the_newest(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n")
    silent = [socket.create_connection(("127.0.0.1", rig.port), timeout=60) for _ in range(STRANGERS_MAX + 3)]
    silent[4].sendall(b"GET /tasks/")  # nor has this one said all
    for _ in range(3):
        assert rig.read() == b"one\n"
    assert [client.recv(1) for client in silent[:3]] == [b"", b"", b""]
    silent[-1].sendall(f"GET /tasks/{TASK}/logs HTTP/1.1\r\n\r\n".encode())
    assert silent[-1].recv(12) == b"HTTP/1.1 200"
    for client in silent:
        client.close()


def test_a_connection_that_says_nothing_for_long_is_hung_up_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.executor.endpoint._HEAD_S", 0.05)
    with socket.create_connection(("127.0.0.1", rig.port), timeout=60) as client:
        assert client.recv(1) == b""


def test_a_line_without_end_is_hung_up_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.executor.endpoint._HEAD_S", 60)
    with socket.create_connection(("127.0.0.1", rig.port), timeout=60) as client:
        client.sendall(b"GET /" + b"x" * 20_000)
        assert ended(client)


def test_what_is_no_get_request_is_hung_up_on(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.port), timeout=60) as client:
        client.sendall(b"POST /tasks/t/logs HTTP/1.1\r\n\r\n")
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (f"http://agent1:5052/tasks/{TASK}/logs", "evil.example", b"200"),
        (f"http://evil.example/tasks/{TASK}/logs", "agent1", b"403"),
        (f"http://agent1@evil.example/tasks/{TASK}/logs", "agent1", b""),
        (f"https://agent1/tasks/{TASK}/logs", "agent1", b""),
    ],
)
def test_a_request_may_name_the_whole_address_and_begin_with_an_empty_line(
    rig: Rig, target: str, host: str, status: bytes
) -> None:
    port, _ = guarded(rig.io, Access(("agent1",), "secret"))
    proof = shown("secret")("logs")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(f"\r\n\nGET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {proof}\r\n\r\n".encode())
        assert client.makefile("rb").readline().split()[1:2] == ([status] if status else [])


def test_a_taken_port_is_tried_for_until_it_is_free(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.executor.endpoint._BIND_AGAIN_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        second = Endpoint(rig.io, [rig.logs], ReadinessResults(), "127.0.0.1", port)
        second.start()
        rig.logs.write(TASK, b"one\n")
        assert rig.read() == b"one\n"  # the io thread goes on meanwhile
        assert second.port == 0
    assert until(lambda: second.port, 10, "the port was taken over") == port


def test_a_task_id_is_read_out_of_its_escapes(rig: Rig) -> None:
    rig.logs.write("a b/c", b"one\n")
    assert rig.read(task="a%20b%2Fc") == b"one\n"
    assert rig.refused("/tasks/a/b/logs")[0] == 404


def test_readiness_is_told_as_last_answered(rig: Rig) -> None:
    rig.readiness.put(TASK, Result("warm", ready=False))
    with rig.ask(f"/tasks/{TASK}/readiness") as answer:
        assert json.loads(answer.read()) == {"results": [{"name": "warm", "taskId": TASK, "ready": False}]}
    with rig.ask("/tasks/nobody/readiness") as answer:
        assert json.loads(answer.read()) == {"results": []}


# Docker's frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 8, 13, 1000])
def test_dockers_frames_are_taken_apart_wherever_the_transport_cuts_them(size: int) -> None:
    def frame(text: bytes) -> bytes:
        return b"\x01\x00\x00\x00" + len(text).to_bytes(4, "big") + text

    raw = frame(b"hello ") + frame(b"") + frame(b"world\n" * 50)

    class Cut(async_http.Answer):
        async def pieces(self) -> AsyncGenerator[bytes, None]:
            for start in range(0, len(raw), size):
                yield raw[start : start + size]

    async def read(skip: int) -> bytes:
        return b"".join(
            [piece async for piece in docker_logs._payload(docker_logs._frames(Cut(200, asyncio.StreamReader()), skip))]
        )

    assert asyncio.run(read(0)) == b"hello " + b"world\n" * 50
    assert asyncio.run(read(1)) == b"world\n" * 50
    assert asyncio.run(read(3)) == b""


def guarded(io: IoThread, access: Access | None) -> tuple[int, FakeLogs]:
    logs = FakeLogs()
    logs.write(TASK, b"one\n")
    return listening(Endpoint(io, [logs], ReadinessResults(), "127.0.0.1", 0, lambda: access)), logs


def shown(key: str, target: str = "", apart_s: float = 0.0) -> Callable[[str], str]:
    """Return what a request shows of a key, once it is known what is asked for."""
    return lambda what: keys.proof(key, "GET", target or f"/tasks/{TASK}/{what}", b"", time.time() + apart_s)


def of(headers: dict[str, Any], what: str) -> dict[str, str]:
    return {name: value(what) if callable(value) else value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("key", "headers", "status"),
    [
        ("secret", {"Authorization": shown("secret")}, 200),
        ("secret", {"authorization": shown("secret", apart_s=-250)}, 200),
        ("secret", {}, 401),
        ("secret", {"Authorization": shown("wrong")}, 401),
        ("secret", {"Authorization": shown("")}, 401),
        ("secret", {"Authorization": shown("secret", apart_s=-900)}, 401),
        ("secret", {"Authorization": shown("secret", apart_s=900)}, 401),
        ("secret", {"Authorization": shown("secret", target=f"/tasks/{TASK}/logs?tail=10000")}, 401),
        ("secret", {"Authorization": shown("secret", target="/tasks/another/logs")}, 401),
        ("secret", {"Authorization": "Bearer secret"}, 401),  # a key is not for the wire
        ("secret", {"Authorization": "secretx"}, 401),
        ("", {}, 200),  # started by a scheduler that has no keys
        ("", {"Authorization": "Bearer anything"}, 200),
        ("", {"Host": "agent1:5052"}, 200),
        ("", {"Host": "evil.example:5052"}, 403),
        ("secret", {"Host": "evil.example:5052", "Authorization": shown("secret")}, 403),
        ("", {"Origin": "http://evil.example"}, 403),
    ],
)
@pytest.mark.parametrize("what", ["logs", "readiness"])
def test_only_schedulers_of_the_framework_are_answered(
    rig: Rig, key: str, headers: dict[str, Any], status: int, what: str
) -> None:
    port, _ = guarded(rig.io, Access(("agent1",), key))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/tasks/{TASK}/{what}", headers=of(headers, what))
    answer = connection.getresponse()
    assert answer.status == status
    assert (b"one\n" in answer.read()) == (status == 200 and what == "logs")
    connection.close()


def test_nobody_is_answered_before_it_is_known_whom_to(rig: Rig) -> None:
    port, _ = guarded(rig.io, None)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/tasks/{TASK}/logs")
    answer = connection.getresponse()
    assert (answer.status, b"ask again" in answer.read()) == (503, True)
    connection.close()


def test_a_key_is_not_shown() -> None:
    assert "hunter2" not in repr(Access((), "hunter2"))


def test_other_executors_learn_which_servers_are_in_use(rig: Rig) -> None:
    ports: list[int] = []
    access = Access((), "schedulers'", "executors'")
    endpoint = Endpoint(
        rig.io,
        [],
        rig.readiness,
        "127.0.0.1",
        0,
        lambda: access,
        used=lambda server: server == "eratos-db.1",
        listening=ports.append,
    )
    port = listening(endpoint)
    assert ports == [port]

    def ask(path: str, key: str) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        proof = keys.proof(key, "GET", path, b"", time.time())
        connection.request("GET", path, headers={"Authorization": proof})
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())

    assert ask("/servers/eratos-db.1", "executors'") == (200, {"used": True})
    assert ask("/servers/eratos-db.2", "executors'") == (200, {"used": False})
    assert ask("/servers/eratos-db.1", "schedulers'")[0] == 401
    assert ask(f"/tasks/{TASK}/readiness", "executors'")[0] == 401


def test_what_it_counts_is_there_for_a_scrape(rig: Rig) -> None:
    with rig.ask("/metrics") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert answer.read() == b"eratos_executor_launches_total 3\n"


def test_what_tasks_take_is_there_for_the_scheduler(rig: Rig) -> None:
    with rig.ask("/usage") as answer:
        assert (answer.status, json.loads(answer.read())) == (200, {"tasks": {TASK: {"cpus": 0.5}}})
