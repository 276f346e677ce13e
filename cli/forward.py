"""Listens on this machine, and carries each connection over the API to an instance that is ready then."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from eratos.common import tunnel
from eratos.common.errors import EratosError
from eratos.common.tunnel import Kind
from eratos.marathon.client import MarathonClient, Refused
from eratos.marathon.tunnels import end_of, opened

PATH = "/v2/tunnels/forward"
LOOPBACK = "127.0.0.1"
_MAPPING = re.compile(r"(?P<local>\d{1,5}):(?P<app>/?[^:\s]+)(:(?P<port>[^:\s]+))?")
#: Has the system signal to the other side of a connection that it was broken off.
_BROKEN = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Mapping:
    """One local port, and where it leads."""

    local: int  #: 0: any that is free
    app_id: str
    port: str = ""  #: its name, or its number among the app's; empty: the first

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3306:/blog/db:mysql``. Raises ValueError that says what is wrong."""
        found = _MAPPING.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no LOCAL:APP[:PORTNAME]: write it like 3306:/blog/db:mysql")
        if int(found["local"]) > 65535:
            raise ValueError(f"{text!r}: {found['local']} is no port, give one from 1 to 65535, or 0 for any")
        return cls(int(found["local"]), "/" + found["app"].strip("/"), found["port"] or "")

    def __str__(self) -> str:
        return self.app_id + (f":{self.port}" if self.port else "")


def run(client: MarathonClient, mappings: Sequence[Mapping], say: Callable[[str], object]) -> None:
    """Listen until the user leaves. Raises Refused for an app that is not there or not the caller's, and a taken port."""
    for mapping in mappings:
        try:
            client.tunnel_to(mapping.app_id)
        except Refused as refused:
            if refused.status != 409:
                raise
            say(f"{mapping.local}: {refused}")  # there may be one by the time somebody connects
    with contextlib.suppress(KeyboardInterrupt):  # how people leave it
        asyncio.run(_run(client, mappings, say))


async def _run(client: MarathonClient, mappings: Sequence[Mapping], say: Callable[[str], object]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for mapping in mappings:
            server = await _listen(client, mapping, say)
            await stack.enter_async_context(server)
            say(f"{LOOPBACK}:{server.sockets[0].getsockname()[1]} leads to {mapping}")
        await asyncio.Event().wait()


async def _listen(client: MarathonClient, mapping: Mapping, say: Callable[[str], object]) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _carry(client, mapping, reader, writer)
        except EratosError as error:
            say(f"{mapping.local}: {error}")
        except (OSError, ValueError) as error:
            say(f"{mapping.local}: the connection was cut: {error or type(error).__name__}")
        else:
            writer.close()
            return
        # The client sees that it was no good end.
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BROKEN)
        writer.transport.abort()

    try:
        return await asyncio.start_server(connected, LOOPBACK, mapping.local)
    except OSError as error:
        raise Refused(0, f"{LOOPBACK}:{mapping.local} cannot be listened on: {error.strerror}: give another port") from error


async def _carry(client: MarathonClient, mapping: Mapping, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    failures: list[str] = []

    def told(kind: Kind, payload: bytes) -> None:
        if kind is Kind.FAILURE:
            failures.append(payload.decode(errors="replace"))

    connection = await opened(client, PATH, {"app": mapping.app_id, "port": mapping.port})
    async with connection:
        try:
            await tunnel.carry(end_of(connection, told), reader, writer)
        except OSError as error:
            raise Refused(0, failures[0]) if failures else error from error
