"""How the sample apps speak HTTP: persistent connections, odd and hostile requests, slow clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.worker_process import WorkerProcess, load, read_to_end, wait_until

http1 = load("http1")
HOST = b"Host: test\r\n"


@pytest.fixture(scope="module")
def prime() -> Iterator[WorkerProcess]:
    with WorkerProcess(WORK_S="0") as worker:
        yield worker


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def read_answer(sock: socket.socket) -> bytes:
    """Read one response with a Content-Length from an open connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(1)
    length = int(received.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    while length:
        chunk = sock.recv(length)
        received, length = received + chunk, length - len(chunk)
    return received


def test_connection_serves_many_requests(prime: WorkerProcess) -> None:
    with prime.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            answer = read_answer(sock)
            assert status_of(answer) == 200
            assert b"Connection: keep-alive" in answer


def test_pipelined_requests_are_answered_in_order(prime: WorkerProcess) -> None:
    get = b"GET %s HTTP/1.1\r\n" + HOST + b"\r\n"
    last = b"GET /nowhere HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    answers = prime.raw(get % b"/" + get % b"/health" + get % b"/" + last)
    statuses = [status_of(b"HTTP/1.1" + part) for part in answers.split(b"HTTP/1.1")[1:]]
    assert statuses == [200, 200, 200, 404]
    assert answers.index(b"ok\n") < answers.index(b"404")


def test_request_in_many_pieces_is_put_together(prime: WorkerProcess) -> None:
    with prime.connect() as sock:
        for byte in b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n":
            sock.sendall(bytes([byte]))
        assert status_of(read_answer(sock)) == 200


def test_head_has_the_headers_of_get_and_no_body(prime: WorkerProcess) -> None:
    answer = prime.raw(b"HEAD /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    head, body = answer.split(b"\r\n\r\n")
    assert status_of(head) == 200
    assert b"Content-Length: 3" in head
    assert body == b""


def test_http_1_0_closes_unless_asked_to_keep_the_connection(prime: WorkerProcess) -> None:
    assert b"Connection: close" in prime.raw(b"GET /health HTTP/1.0\r\n\r\n")
    with prime.connect() as sock:
        sock.sendall(b"GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert b"Connection: keep-alive" in read_answer(sock)


def test_client_that_half_closes_gets_its_answer(prime: WorkerProcess) -> None:
    with prime.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert status_of(read_to_end(sock)) == 200


def test_query_and_absolute_target_reach_the_same_route(prime: WorkerProcess) -> None:
    assert prime.get("/health?verbose=1").status == 200
    assert status_of(prime.raw(b"GET http://test/health HTTP/1.0\r\n\r\n")) == 200


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"GET /\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\n\r\n"),
        (400, b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"Folded: a\r\n b\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (411, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 100_000),
        (414, b"GET /" + b"x" * 20_000),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 20_000),
        (501, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    ],
)
def test_bad_request_is_refused_and_its_connection_closed(prime: WorkerProcess, status: int, sent: bytes) -> None:
    # A second request in the same bytes must never be read: where it begins is unsure.
    answer = prime.raw(sent + b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    assert status_of(answer) == status
    assert answer.count(b"X-Instance: ") == 1
    assert b"Connection: close" in answer


def test_unknown_path_and_method_are_answered_and_the_connection_lives(prime: WorkerProcess) -> None:
    with prime.connect() as sock:
        sock.sendall(b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status_of(read_answer(sock)) == 404
        sock.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
        refused = read_answer(sock)
        assert status_of(refused) == 405
        assert b"Allow: GET, HEAD\r\n" in refused
        sock.sendall(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status_of(read_answer(sock)) == 200


def test_client_that_waits_for_continue_is_asked_to_go_on(prime: WorkerProcess) -> None:
    with prime.connect() as sock:
        sock.sendall(b"PUT /health HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        expected = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert sock.recv(len(expected)) == expected
        sock.sendall(b"bad")
        assert status_of(read_answer(sock)) == 405


def test_slow_request_is_given_up_with_408() -> None:
    with WorkerProcess(limits={"READ_S": 0.05, "IDLE_S": 60, "CHECK_S": 0.01}) as worker:
        assert status_of(worker.raw(b"GET / HTTP/1.1\r\nHost: sl")) == 408


def test_idle_connection_is_closed_without_a_word() -> None:
    with WorkerProcess(limits={"READ_S": 60, "IDLE_S": 0.05, "CHECK_S": 0.01}) as worker:
        assert worker.raw(b"") == b""


def test_connections_past_the_limit_are_served_once_others_end() -> None:
    with WorkerProcess(limits={"CONNECTIONS_MAX": 2}, WORK_S="0") as worker:
        first, second = worker.connect(), worker.connect()
        with worker.connect() as third:
            third.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            first.close()
            second.close()
            assert status_of(read_to_end(third)) == 200


def test_requests_are_counted_by_known_path_only() -> None:
    with WorkerProcess(WORK_S="0", LOG="1") as worker:
        worker.get("/", **{"X-Request-Id": "01a2213a-0536-7172-9390-a7928f894edc"})
        worker.get("/nowhere", **{"X-Request-Id": "<script>alert(1)"})
        worker.get("/elsewhere")
        body = worker.get("/metrics").body
        assert 'worker_requests_total{path="/",code="200"} 1\n' in body
        assert 'worker_requests_total{path="other",code="404"} 2\n' in body
        assert "nowhere" not in body
        assert "worker_requests_in_flight 1\n" in body
        wait_until(lambda: worker.in_flight() == 0, "nothing is in flight")
        worker.terminate()
        assert worker.output()[0].splitlines()[:2] == [
            "127.0.0.1 GET / 200 01a2213a-0536-7172-9390-a7928f894edc",
            "127.0.0.1 GET /nowhere 404 -",
        ]


@pytest.mark.parametrize(
    "value", ["", "a" * 65, "a" * 10_000, "<script>", "a b", "a\n127.0.0.1 GET / 200", "a\x1b[2J", "é", "one, two"]
)
def test_an_id_that_is_not_plain_is_not_logged(value: str) -> None:
    assert http1.Request("GET", "/", {"x-request-id": value}, True, 0).plain_id == "-"


PIECES = [b"GET ", b"/", b"http://", b" HTTP/1.1", b"\r\n", b"Host:", b"Content-Length:", b"1", b"a", b"\0", b"\xff"]


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_any_bytes_are_a_request_or_unfinished_or_refused(data: bytes) -> None:
    received = bytearray(data)
    try:
        request = http1.take_head(received)
    except http1.RefusedError as refusal:
        assert refusal.status in http1.REASONS
    else:
        assert request is not None or b"\r\n\r\n" not in received
