"""The stand-in for http-parser: the original's behaviour where pymesos relies on it, and pymesos' own reader on top."""

from __future__ import annotations

import importlib
import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eratos.mesos.http_parser import HTTP_REQUEST, HttpParser

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: 7\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def fed(*pieces: bytes) -> HttpParser:
    parser = HttpParser()
    for piece in pieces:
        assert parser.execute(piece, len(piece)) == len(piece)
    return parser


def test_head_is_told_once_it_is_complete() -> None:
    parser = HttpParser()
    assert not parser.is_message_begin()
    for piece in (HEAD[:20], HEAD[20:-1]):
        assert parser.execute(piece, len(piece)) == len(piece)
        assert not parser.is_headers_complete()
    assert parser.execute(HEAD[-1:], 1) == 1
    assert parser.is_message_begin()
    assert parser.is_headers_complete()
    assert parser.get_status_code() == 200
    assert parser.is_chunked()
    assert not parser.is_partial_body()
    assert not parser.is_message_complete()


def test_header_names_keep_their_case_and_match_in_any() -> None:
    headers = fed(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: //m:5050\r\nX: 1\r\nx: \xe9\r\n\r\n").get_headers()
    assert headers["LOCATION"] == headers["location"] == "//m:5050"
    assert headers.get("nothing") is None
    assert dict(headers.items()) == {"Location": "//m:5050", "x": "1,\xe9"}


def test_stream_is_handed_out_piece_by_piece_until_its_last_chunk() -> None:
    parser = fed(HEAD, chunk(b"one")[:-4])
    assert parser.is_partial_body()
    assert parser.recv_body() == b"o"
    assert not parser.is_partial_body()
    assert parser.recv_body() == b""
    rest = chunk(b"one")[-4:] + chunk(b"two") + b"0\r\n\r\n"
    assert parser.execute(rest, len(rest)) == len(rest)
    assert parser.recv_body() == b"netwo"
    assert parser.is_message_complete()
    assert parser.get_errno() == 0


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_cuts_between_reads_do_not_matter(chunks: list[bytes], sizes: list[int]) -> None:
    stream = HEAD + b"".join(map(chunk, chunks)) + b"0\r\n\r\n"
    parser = HttpParser()
    body = b""
    position = step = 0
    while position < len(stream):
        piece = stream[position : position + sizes[step % len(sizes)]]
        assert parser.execute(piece, len(piece)) == len(piece)
        body += parser.recv_body()
        position, step = position + len(piece), step + 1
    assert body == b"".join(chunks)
    assert parser.is_message_complete()


def test_only_the_given_length_is_parsed() -> None:
    parser = fed(HEAD)
    data = chunk(b"one") + b"garbage"
    assert parser.execute(data, len(data) - 7) == len(data) - 7
    assert parser.recv_body() == b"one"


def test_body_with_a_length_is_complete_with_its_last_byte() -> None:
    parser = fed(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nwro")
    assert not parser.is_message_complete()
    assert not parser.is_chunked()
    assert parser.execute(b"ng", 2) == 2
    assert parser.is_message_complete()
    assert (parser.get_status_code(), parser.recv_body()) == (400, b"wrong")


def test_body_without_a_length_is_complete_with_the_connections_end() -> None:
    parser = fed(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno leader")
    assert not parser.is_message_complete()
    assert parser.execute(b"", 0) == 0
    assert parser.is_message_complete()
    assert parser.recv_body() == b"no leader"


@pytest.mark.parametrize("cut_off", [b"HTTP/1.1 20", HEAD, HEAD + b"5\r\nab", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na"])
def test_connection_that_ends_in_the_middle_is_an_error(cut_off: bytes) -> None:
    parser = fed(cut_off)
    assert parser.execute(b"", 0) != 0
    assert parser.get_errno() != 0
    assert "ended in the middle" in parser.get_error()


def test_connection_that_ends_before_or_after_a_message_is_none() -> None:
    assert HttpParser().execute(b"", 0) == 0
    assert fed(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").execute(b"", 0) == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        HEAD + b"nonsense\r\n",
    ],
)
def test_bad_input_is_reported_and_never_raises(bad: bytes) -> None:
    parser = HttpParser()
    assert parser.get_errno() == 0
    assert parser.execute(bad, len(bad)) < len(bad)
    assert parser.get_errno() != 0
    assert parser.get_error()
    assert parser.execute(HEAD, len(HEAD)) != len(HEAD), "a parser that failed stays failed"


def test_no_attribute_makes_pymesos_take_it_for_the_pure_python_variant() -> None:
    assert not hasattr(HttpParser(), "errno")


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="responses only"):
        HttpParser(HTTP_REQUEST)
    with pytest.raises(ValueError, match="decompress"):
        HttpParser(decompress=True)


def test_body_that_nobody_takes_is_kept_without_copying_it_again() -> None:
    parser = fed(HEAD)
    pieces = 2_000
    data = chunk(b"x" * 4096)
    for _ in range(pieces):
        parser.execute(data, len(data))
    # Each piece stays an object of its own until the one join: joining on the way would be quadratic.
    assert len(parser._message.body) == pieces
    assert parser.recv_body() == b"x" * 4096 * pieces


class Callback:
    """Stands for pymesos' Process: takes the events of a connection."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.stream_id = ""
        self.master = ""

    def gen_request(self) -> bytes:
        return b"POST /api/v1/scheduler HTTP/1.1\r\n\r\n"

    def process_event(self, event: Any) -> None:
        self.events.append(event)

    def change_master(self, master: str) -> None:
        self.master = master

    def on_close(self) -> None:
        pass


class Stream:
    """pymesos' reader of one connection, and the other end of it."""

    def __init__(self, module: Any, server: socket.socket) -> None:
        self.callback = Callback()
        self.connection = module.Connection(f"127.0.0.1:{server.getsockname()[1]}", self.callback)
        self.peer, _ = server.accept()

    def read(self, data: bytes) -> bool:
        """Let the connection read these bytes, in as many reads as it takes; False once it wants to be closed."""
        self.connection._sock.setblocking(True)
        for start in range(0, len(data), 4096):
            self.peer.sendall(data[start : start + 4096])
            if not self.connection.read():
                return False
        return True


@pytest.fixture
def stream() -> Iterator[Stream]:
    before = signal.getsignal(signal.SIGINT)
    module = importlib.import_module("eratos.mesos.pymesos.process")  # takes SIGINT for itself
    signal.signal(signal.SIGINT, before)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = Stream(module, server)
        yield stream
        stream.peer.close()
        stream.connection.close()


def test_pymesos_reads_an_event_stream(stream: Stream) -> None:
    events = [{"type": "SUBSCRIBED"}, {"type": "HEARTBEAT"}, {"type": "OFFERS", "offers": "x" * 10_000}]
    records = b"".join(b"%d\n%s" % (len(text), text) for text in (json.dumps(event).encode() for event in events))
    assert stream.read(HEAD)
    assert stream.callback.stream_id == "7"
    assert stream.read(chunk(records[:30]) + chunk(records[30:]))
    assert stream.callback.events == events
    assert not stream.read(b"0\r\n\r\n")


def test_pymesos_follows_a_redirect(stream: Stream) -> None:
    assert not stream.read(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: //master2:5050\r\nContent-Length: 0\r\n\r\n")
    assert stream.callback.master == "master2:5050"


def test_pymesos_reports_a_refusal_with_its_reason(stream: Stream) -> None:
    with pytest.raises(RuntimeError, match=r"Failed with HTTP 400.*no such framework"):
        stream.read(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\nno such framework")


def test_pymesos_gives_up_what_is_not_http(stream: Stream) -> None:
    with pytest.raises(RuntimeError, match="Failed to parse, code:1"):
        stream.read(b"SSH-2.0-OpenSSH_9.2\r\n")
