"""RecordIO and HTTP framing, in whatever pieces it arrives."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eratos.mesos import recordio
from eratos.mesos.httpwire import Body, End, Endpoint, Head, HttpError, ResponseParser, request, request_head
from eratos.mesos.recordio import RecordDecoder, RecordError


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(at)]


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(0, 5000)))
def test_records_come_out_as_they_went_in_however_they_are_cut(records, cuts):
    decoder = RecordDecoder()
    data = b"".join(map(recordio.encode, records))
    assert [record for piece in pieces(data, cuts) for record in decoder.feed(piece)] == records


@pytest.mark.parametrize("data", [b"x\n", b"\n", b"0\n", b"-1\nx", b"+1\nx", b" 1\nx", b"1" * 21, b"12345\n"])
def test_broken_frames_are_told(data):
    decoder = RecordDecoder(record_bytes_max=10_000)
    with pytest.raises(RecordError):
        list(decoder.feed(data))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([200, 202, 400, 503]), st.binary(max_size=100), st.sampled_from(["length", "chunked"]))),
    st.lists(st.integers(0, 3000)),
)
def test_pipelined_responses_come_out_as_they_went_in_however_they_are_cut(responses, cuts):
    data = b""
    for status, body, kind in responses:
        head = b"HTTP/1.1 %d Whatever\r\nX-Some: thing\r\n" % status
        if kind == "length":
            data += head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            chunks = b"".join(b"%X;ext=1\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part)
            data += (
                b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nT: 1\r\n\r\n"
            )
    parser = ResponseParser()
    seen: list[tuple[int, bytes]] = []
    current: tuple[int, bytes] = (0, b"")
    for piece in pieces(data, cuts):
        for part in parser.feed(piece):
            if isinstance(part, Head):
                assert part.headers["x-some"] == "thing"
                current = (part.status, b"")
            elif isinstance(part, Body):
                current = (current[0], current[1] + part.data)
            else:
                seen.append(current)
    assert seen == [(status, body) for status, body, _ in responses]


def test_body_without_a_length_lasts_until_the_connection_closes():
    parser = ResponseParser()
    assert list(parser.feed(b"HTTP/1.0 200 OK\r\n\r\nsome")) == [Head(200, {}), Body(b"some")]
    assert list(parser.feed(b" more")) == [Body(b" more")]


def test_response_without_body_is_complete_at_once():
    assert list(ResponseParser().feed(b"HTTP/1.1 204 No Content\r\n\r\n")) == [Head(204, {}), End()]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    ],
)
def test_what_is_not_http_is_told(data):
    with pytest.raises(HttpError):
        list(ResponseParser().feed(data))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("master", Endpoint("master", 5050)),
        ("master:80", Endpoint("master", 80)),
        ("10.0.0.1:5050", Endpoint("10.0.0.1", 5050)),
        ("[::1]:81", Endpoint("::1", 81)),
        ("[::1]", Endpoint("::1", 5050)),
        ("http://master:80/api", Endpoint("master", 80)),
        ("//master:80/api/v1/scheduler", Endpoint("master", 80)),
        ("https://[fe80::1]:443/x", Endpoint("fe80::1", 443, tls=True)),
    ],
)
def test_addresses_are_read(text, endpoint):
    assert Endpoint.parse(text, 5050) == endpoint
    assert Endpoint.parse(str(endpoint), 1) == Endpoint(endpoint.host, endpoint.port)


@pytest.mark.parametrize("text", ["", "::1", "host:port", "host:0", "host:70000", "[::1", "[::1]x", "ftp://host", ":80"])
def test_wrong_addresses_are_told(text):
    with pytest.raises(ValueError, match="not an address"):
        Endpoint.parse(text, 5050)


def test_request_has_the_length_of_its_body_and_no_smuggled_line():
    head = request_head("/api", Endpoint("::1", 80), {"Mesos-Stream-Id": "s"})
    assert request(head, b"{}") == (
        b"POST /api HTTP/1.1\r\nHost: [::1]:80\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        b"Mesos-Stream-Id: s\r\nContent-Length: 2\r\n\r\n{}"
    )
    with pytest.raises(ValueError, match="line break"):
        request_head("/api", Endpoint("h", 80), {"Mesos-Stream-Id": "s\r\nX: y"})
