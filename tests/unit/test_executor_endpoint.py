"""The executor's HTTP endpoint over real sockets, in front of logs that tests write."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncGenerator, Iterator

import pytest
from support.executor import TASK
from support.fake_logs import FakeLogs
from support.waiting import until

from eratos.common import async_http
from eratos.common.errors import TemporaryError
from eratos.executor import docker_logs
from eratos.executor.endpoint import READERS_MAX, Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.logs import TAIL_MAX
from eratos.executor.readiness import ReadinessResults, Result


class Rig:
    def __init__(self, io: IoThread) -> None:
        self.io = io
        self.logs = FakeLogs()
        self.readiness = ReadinessResults()
        self.port = listening(Endpoint(io, [FakeLogs(), self.logs], self.readiness, "127.0.0.1", 0))

    def ask(self, path: str, method: str = "GET") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
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


def test_a_log_is_read_by_stream_and_number_of_lines(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n", b"two\n", b"three\n")
    rig.logs.write(TASK, b"oh\n", stream="stderr")
    assert rig.read() == b"one\ntwo\nthree\n"
    assert rig.read("?tail=2") == b"two\nthree\n"
    assert rig.read("?stream=stderr") == b"oh\n"


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


def test_more_readers_than_the_host_can_bear_are_refused(rig: Rig) -> None:
    rig.logs.write(TASK, b"one\n")
    answers = [rig.ask(f"/tasks/{TASK}/logs?follow=true") for _ in range(READERS_MAX)]
    assert rig.refused(f"/tasks/{TASK}/logs")[0] == 503
    answers.pop().close()
    until(lambda: rig.logs.readers < READERS_MAX, 10, "a reader is gone")
    assert rig.read() == b"one\n"
    for answer in answers:
        answer.close()


def test_what_is_no_get_request_is_hung_up_on(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as client:
        client.sendall(b"POST /tasks/t/logs HTTP/1.1\r\n\r\n")
        assert client.recv(1) == b""


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
        return b"".join([piece async for piece in docker_logs._payload(Cut(200, asyncio.StreamReader()), skip)])

    assert asyncio.run(read(0)) == b"hello " + b"world\n" * 50
    assert asyncio.run(read(1)) == b"world\n" * 50
    assert asyncio.run(read(3)) == b""
