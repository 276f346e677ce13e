"""Opens tunnels through eratos' API, for the command line and for users' own programs: see :mod:`eratos.common.tunnel`."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from eratos.common import tunnel
from eratos.common.tunnel import Kind, Tunnel

from .calls import CONNECT_S, Refused, Unreachable, without_password
from .client import MarathonClient

#: For the answer, which may wait for an executor, and that for a task.
_ANSWER_S: Final = 20.0


async def opened(client: MarathonClient, path: str, query: Mapping[str, str]) -> ClientConnection:
    """Open a tunnel through the first scheduler that answers. Raises Refused, and Unreachable where none does."""
    failures: list[Unreachable] = []
    for url in tuple(client.urls):
        try:
            connection = await _opened(client, url, f"{path}?{urlencode(query)}")
        except Unreachable as failure:
            failures.append(failure)
            continue
        client.urls.remove(url)
        client.urls.insert(0, url)
        return connection
    raise failures[0] if len(failures) == 1 else Unreachable("; ".join(dict.fromkeys(map(str, failures))))


async def _opened(client: MarathonClient, url: str, target: str) -> ClientConnection:
    where = without_password(url)
    headers = {"Authorization": client.login.header} if client.login.header else {}
    tls = _tls(client) if url.startswith("https:") else None
    try:
        return await connect(
            "ws" + url.removeprefix("http") + target,
            additional_headers=headers,
            ssl=tls,
            compression=None,
            max_size=tunnel.MESSAGE_MAX,
            open_timeout=CONNECT_S + _ANSWER_S,
        )
    except InvalidStatus as refused:
        status, message = refused.response.status_code, _message(refused.response.body)
        if not message:
            message = f"{where} answered HTTP {status} for {target.partition('?')[0]}: this is Marathon, or an older eratos"
        elif status in (429, 502, 503, 504):
            raise Unreachable(message) from None
        raise Refused(status, message) from None
    except (OSError, InvalidHandshake, ValueError) as failure:
        raise Unreachable(f"no answer from {where}: {_cause(failure)}") from failure


def end_of(connection: ClientConnection, told: Callable[[Kind, bytes], object]) -> Tunnel:
    """Return the client's end of a tunnel."""

    async def receive() -> bytes | None:
        try:
            return bytes(await connection.recv(decode=False))
        except ConnectionClosed:
            return None

    async def send(data: bytes) -> None:
        try:
            await connection.send(data)
        except ConnectionClosed as closed:
            raise tunnel.Gone("the scheduler closed the tunnel") from closed

    return Tunnel(send, receive, told)


def _tls(client: MarathonClient) -> ssl.SSLContext:
    """Return what a scheduler's certificate is checked with. Raises Refused."""
    try:
        context = ssl.create_default_context(cafile=client.login.ca_file or None)
        if client.login.cert_file:
            context.load_cert_chain(client.login.cert_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(0, f"the files for https cannot be used: {error}") from error
    return context


def _message(body: bytes | bytearray) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _cause(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "it took too long"
    return getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
