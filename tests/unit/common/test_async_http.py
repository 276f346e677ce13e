"""The small asynchronous HTTP client against a server that sends the bytes a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eratos.common import async_http


def against(answer: bytes, use: Callable[[int], Any], *, tail: bytes = b"") -> tuple[Any, bytes]:
    """Serve one answer, ``tail`` in a second packet, and return what ``use(port)`` gives, and the request."""
    asked: list[bytes] = []
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
            writer.write(tail)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()  # a client that has read enough
        finally:
            served.set()

    async def main() -> Any:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            try:
                return await use(server.sockets[0].getsockname()[1])
            finally:
                await served.wait()

    return asyncio.run(main()), b"".join(asked)


async def whole(port: int, **options: Any) -> tuple[int, list[bytes]]:
    async with async_http.ask("127.0.0.1", port, "/x", **options) as answer:
        return answer.status, [piece async for piece in answer.pieces()]


@pytest.mark.parametrize(
    ("head", "body", "pieces"),
    [
        ("Content-Length: 5", b"hello", b"hello"),
        ("Transfer-Encoding: chunked", b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n", b"hello"),
        ("Other: 1", b"hello", b"hello"),
        ("content-length: 0", b"", b""),
    ],
)
def test_a_body_is_read_whatever_ends_it(head: str, body: bytes, pieces: bytes) -> None:
    (status, found), _ = against(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body[:2], whole, tail=body[2:])
    assert (status, b"".join(found)) == (200, pieces)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_an_answer_that_is_cut_short_or_no_http_is_a_failure(answer: bytes) -> None:
    with pytest.raises(async_http.Failure):
        against(answer, whole)


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content")])
def test_an_answer_without_a_body_is_not_waited_for(method: str, status: str) -> None:
    found, _ = against(f"HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n".encode(), lambda port: whole(port, method=method))
    assert found[1] == []


def test_a_long_body_comes_in_pieces_and_a_short_answer_is_cut() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000
    (_, found), _ = against(answer, whole)
    assert max(map(len, found)) <= async_http.PIECE_MAX
    assert sum(map(len, found)) == 300_000
    response, _ = against(answer, lambda port: async_http.request("127.0.0.1", port, "/"))
    assert len(response.body) == async_http.BODY_MAX


def test_headers_given_win_over_the_clients_own() -> None:
    _, asked = against(b"HTTP/1.1 200 OK\r\n\r\n", lambda port: whole(port, headers={"Accept": "text/plain", "X-Mine": "1"}))
    lines = asked.lower().splitlines()
    assert [line for line in lines if line.startswith((b"accept", b"x-"))] == [b"accept: text/plain", b"x-mine: 1"]


def test_a_line_break_in_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        against(b"HTTP/1.1 200 OK\r\n\r\n", lambda port: async_http.request("127.0.0.1", port, "/a\r\nEvil: 1"))


def test_a_socket_in_the_file_system_is_asked(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()

    async def main() -> bytes:
        async with await asyncio.start_unix_server(serve, path), async_http.ask("docker", 0, "/", unix=path) as answer:
            return await answer.body()

    assert asyncio.run(main()) == b"hello"
