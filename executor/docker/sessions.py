"""Commands in containers with input, output and terminal: ``docker exec``, over asyncio as Docker's logs are.

Docker hands over the connection on which a command is started (docs.docker.com/engine/api, ExecStart and ContainerAttach).
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from eratos.common import async_http, names
from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.common.tunnel import Command, Kind

from ..sessions import NoTask
from .client import DockerClient, DockerFailure
from .commands import MARK, DockerCommands

log = logging.getLogger(__name__)

_ANSWER_S: Final = 10.0
_INSPECT_MAX: Final = 1024 * 1024
_PIECE: Final = 32 * 1024
#: Of a frame: whether it is standard error, and its length.
_FRAME_HEADER: Final = 8
_KINDS: Final = {1: Kind.DATA, 2: Kind.ERRORS}
#: After its output has ended, a command ends within this time, or its output was closed by itself and it is ended.
_END_S: Final = 10.0
_PAUSE_S: Final = 0.05
_ATTEMPTS: Final = 5


class DockerSessions:
    """Commands in the containers of this framework's executors."""

    def __init__(self, client: DockerClient, framework_id: str) -> None:
        self._client = client
        self._framework_id = framework_id
        self._commands = DockerCommands(client)
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, task_id: str, container: str, command: Command) -> AsyncIterator[DockerSession]:
        name, mark = names.container_name(task_id, container), uuid.uuid4().hex
        async with asyncio.timeout(_ANSWER_S):
            version = await self._version()
            await self._check(version, name)
            exec_id = await self._create(version, name, mark, command)
        session = DockerSession(self._client, version, exec_id, command)
        body = {"Detach": False, "Tty": command.terminal}
        if command.terminal:
            body["ConsoleSize"] = [command.rows, command.columns]  # type: ignore[assignment]  # of newer daemons
        path, sent = f"/v{version}/exec/{exec_id}/start", json.dumps(body).encode()
        started = self._client.ask(path, method="POST", headers=_JSON, body=sent, upgrade="tcp")
        try:
            async with asyncio.timeout(_ANSWER_S) as answering, started as answer:
                if answer.status != 101 or answer.writer is None:
                    raise await _refusal(answer)
                answering.reschedule(None)
                session.reader, session.writer = answer.reader, answer.writer
                await session.resize(command.rows, command.columns)
                yield session
        finally:
            if session.code is None:
                self._end(f"{exec_id} {mark} {name}")

    async def _check(self, version: str, name: str) -> None:
        """Raise NoTask unless a container is there, runs and is this framework's."""
        async with self._client.ask(f"/v{version}/containers/{quote(name, safe='')}/json") as answer:
            if answer.status not in (200, 404):
                raise await _refusal(answer)
            found = json.loads(await answer.body(_INSPECT_MAX)) if answer.status == 200 else {}
        if not found or (found["Config"]["Labels"] or {}).get(names.LABEL_FRAMEWORK) != self._framework_id:
            raise NoTask(f"no container {name} is on this host: it has not been started yet, or it has ended")
        if not found["State"]["Running"]:
            raise NoTask(f"the container {name} does not run any more")

    async def _create(self, version: str, name: str, mark: str, command: Command) -> str:
        wanted = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": command.terminal,
            "Cmd": list(command.arguments),
            "Env": [f"{MARK}={mark}"],
        }
        path, body = f"/v{version}/containers/{quote(name, safe='')}/exec", json.dumps(wanted).encode()
        async with self._client.ask(path, method="POST", headers=_JSON, body=body) as answer:
            if answer.status in (404, 409):
                raise NoTask(await answer.message(f"the container {name} does not run any more"))
            if answer.status != 201:
                raise await _refusal(answer)
            return str(json.loads(await answer.body())["Id"])

    def _end(self, command_id: str) -> None:
        """See to it that a command is ended whose client left."""
        task = asyncio.create_task(self._ended(command_id))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _ended(self, command_id: str) -> None:
        problem = "it still runs"
        for attempt in range(_ATTEMPTS):
            try:
                if await asyncio.to_thread(self._commands.end, command_id):
                    return
            except TemporaryError as error:
                problem = str(error)
            await asyncio.sleep(attempt)
        log.warning("a command cannot be ended, it ends with its container %s", fields(problem=problem))

    async def _version(self) -> str:
        try:
            return str(await asyncio.to_thread(lambda: self._client.api.api_version))
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error


class DockerSession:
    """One command that runs, as Docker's connection has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, client: DockerClient, version: str, exec_id: str, command: Command) -> None:
        self._client = client
        self._path = f"/v{version}/exec/{exec_id}"
        self._command = command
        self.code: int | None = None

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def end_input(self) -> None:
        if not self.writer.can_write_eof():
            raise TemporaryError("a Docker daemon over https cannot be told the end of input: use its socket for --docker-host")
        self.writer.write_eof()

    async def resize(self, rows: int, columns: int) -> None:
        if not self._command.terminal:
            return
        try:
            async with asyncio.timeout(_ANSWER_S):
                async with self._client.ask(f"{self._path}/resize?h={rows}&w={columns}", method="POST") as answer:
                    log.debug("resized %s", fields(status=answer.status))
        except async_http.Failure as error:
            log.debug("a terminal keeps its size %s", fields(error=error))

    async def output(self) -> AsyncGenerator[tuple[Kind, bytes], None]:
        if self._command.terminal:
            while piece := await self.reader.read(_PIECE):
                yield Kind.DATA, piece
            return
        while True:
            try:
                header = await self.reader.readexactly(_FRAME_HEADER)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                return
            kind, left = _KINDS.get(header[0], Kind.DATA), int.from_bytes(header[4:], "big")
            while left:
                piece = await self.reader.read(min(left, _PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield kind, piece

    async def exit_code(self) -> int:
        try:
            async with asyncio.timeout(_END_S):
                while (found := await self._inspect())["Running"] or found["ExitCode"] is None:
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise TemporaryError("the command closed its output and did not end: it was ended") from None
        except async_http.Failure as error:
            raise TemporaryError(f"Docker does not say how the command ended: {error}") from error
        self.code = int(found["ExitCode"])
        return self.code

    async def _inspect(self) -> Mapping[str, Any]:
        async with self._client.ask(f"{self._path}/json") as answer:
            if answer.status == 404:
                raise TemporaryError("the task has ended, and the command with it")
            if answer.status != 200:
                raise await _refusal(answer)
            return dict(json.loads(await answer.body(_INSPECT_MAX)))


_JSON: Final = {"Content-Type": "application/json"}


async def _refusal(answer: async_http.Answer) -> TemporaryError:
    return TemporaryError(await answer.message(f"Docker answers with HTTP status {answer.status}"))
