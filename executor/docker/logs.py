"""Reads the logs of containers as a stream: Docker's ``GET /containers/{id}/logs``. Called by the log endpoint.

Over asyncio instead of the Docker library, whose streams each hold a thread and cannot be given up while nothing is written.
Docker sends both outputs in frames (docs.docker.com/engine/api, ContainerAttach, "Stream format"), and the one of a terminal
as it is.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime

from eratos.common import async_http, names
from eratos.common.errors import TemporaryError

from ..logs import LINE_BYTES, LogRequest, NoLog
from .client import DockerClient, DockerFailure

#: For Docker's answer, not for the log.
_ANSWER_S = 10.0
_INSPECT_MAX = 1024 * 1024
_FRAME_HEADER = 8
#: First byte of a frame.
_KINDS = {"stdout": 1, "stderr": 2}
#: Output, whether a frame begins here, content.
Frame = tuple[int, bool, bytes]
#: How much further back to look where the wanted output has too few of the last lines.
_SEARCH_FACTOR = 20


class DockerLogs:
    """Logs of the containers that this framework's executors started with this daemon, ended ones included."""

    def __init__(self, client: DockerClient, framework_id: str) -> None:
        self._client = client
        self._framework_id = framework_id

    @asynccontextmanager
    async def read(self, request: LogRequest) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        name = names.container_name(request.task_id, request.container)
        async with asyncio.timeout(_ANSWER_S):
            version = await self._version()
            terminal = await self._owned_terminal(version, name)
            since, first = _begin(request.begin) if request.begin else ("", (b"", 0))
            if since:
                tail, surplus = "all", 0
            else:
                tail, surplus = (str(request.tail), 0) if terminal else await self._window(version, name, request)
        wanted = {request.stream: "true", "tail": tail, "follow": "true" if request.follow else "false"}
        if request.positions:
            wanted |= {"timestamps": "true"} | ({"since": since} if since else {})
        async with self._log(version, name, wanted) as answer, AsyncExitStack() as stack:
            # A terminal has one output, which Docker sends as it is.
            frames = await stack.enter_async_context(aclosing(_whole(answer) if terminal else _frames(answer, surplus)))
            pieces = _positioned(frames, *first) if request.positions else _payload(frames)
            yield await stack.enter_async_context(aclosing(pieces))

    async def _window(self, version: str, name: str, request: LogRequest) -> tuple[str, int]:
        """Return the ``tail`` to ask Docker for, and how many lines of the wanted output are too many then.

        Docker counts the lines of both outputs and only then leaves one of them out (moby, jsonfilelog/read.go).
        """
        both = {"stdout": "true", "stderr": "true", "follow": "false"}
        for most in (request.tail, request.tail * _SEARCH_FACTOR, None):
            tail = "all" if most is None else str(most)
            async with self._log(version, name, both | {"tail": tail}) as answer:
                kinds = Counter([kind async for kind in _kinds(answer)])
            found = kinds[_KINDS[request.stream]]
            if found >= request.tail or most is None or kinds.total() < most:
                break
        return tail, max(0, found - request.tail)

    @asynccontextmanager
    async def _log(self, version: str, name: str, query: Mapping[str, str]) -> AsyncIterator[async_http.Answer]:
        path = f"/containers/{urllib.parse.quote(name, safe='')}/logs?{urllib.parse.urlencode(query)}"
        async with self._ask(version, path) as answer:
            if answer.status != 200:
                raise await _refusal(answer)
            yield answer

    async def _owned_terminal(self, version: str, name: str) -> bool:
        """Return whether a container has a terminal. Raises NoLog unless it is there and this framework's."""
        async with self._ask(version, f"/containers/{urllib.parse.quote(name, safe='')}/json") as answer:
            if answer.status == 200:
                config = json.loads(await answer.body(_INSPECT_MAX))["Config"]
                if (config["Labels"] or {}).get(names.LABEL_FRAMEWORK) == self._framework_id:
                    return bool(config.get("Tty"))
            elif answer.status != 404:
                raise await _refusal(answer)
        raise NoLog(f"no container {name} is on this host: it has not been started yet, or it has ended and was removed")

    async def _version(self) -> str:
        """Return the version of Docker's API in use, which only the Docker library's client knows. Raises TemporaryError."""
        try:
            return str(await asyncio.get_running_loop().run_in_executor(None, lambda: self._client.api.api_version))
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error

    def _ask(self, version: str, path: str) -> AbstractAsyncContextManager[async_http.Answer]:
        return self._client.ask(f"/v{version}{path}")


async def _refusal(answer: async_http.Answer) -> TemporaryError:
    return TemporaryError(await answer.message(f"Docker answers with HTTP status {answer.status}"))


async def _kinds(answer: async_http.Answer) -> AsyncGenerator[int, None]:
    """Yield the output that each frame belongs to; a frame is a line, or 16 KiB of a longer one."""
    async with aclosing(_frames(answer)) as frames:
        async for kind, begins, _ in frames:
            if begins:
                yield kind


async def _payload(frames: AsyncIterator[Frame]) -> AsyncGenerator[bytes, None]:
    async for _, _, piece in frames:
        if piece:
            yield piece


async def _whole(answer: async_http.Answer) -> AsyncGenerator[Frame, None]:
    """Yield what a terminal's log holds, which has no frames."""
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            yield 0, False, piece


async def _positioned(frames: AsyncIterator[Frame], begin: bytes, skip: int) -> AsyncGenerator[bytes, None]:
    """Yield lines, each after its position: Docker's time of it, and of several with the same one the number from the second on.

    Of the time ``begin`` the first ``skip`` are left out. Docker puts a time before each frame, also before those that go on with
    a line of more than 16 KiB.
    """
    line, head, last, count = b"", b"", b"", 0
    goes_on = False
    async for _, begins, piece in frames:
        if begins and line:
            goes_on, head = True, b""
        if goes_on:
            head += piece
            if b" " not in head:
                continue
            piece, goes_on = head.partition(b" ")[2], False
        *whole, line = (line + piece).split(b"\n")
        if len(line) > LINE_BYTES:
            at = line.partition(b" ")[0]
            whole, line = [*whole, line], at + b" "
        for each in whole:
            at, _, text = each.partition(b" ")
            count = count + 1 if at == last else 0
            last = at
            if at != begin or count >= skip:
                yield b"%b%b %b\n" % (at, b"+%d" % count if count else b"", text)
    if line:
        yield line


def _begin(position: str) -> tuple[str, tuple[bytes, int]]:
    """Return a position's time in seconds since the epoch, as Docker asks for it, as it writes it, and how many more have it.

    Raises NoLog.
    """
    moment, _, number = position.partition("+")
    whole, _, part = moment.removesuffix("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
        return f"{seconds}.{part or '0':0<9}", (moment.encode(), int(number or 0))
    except ValueError:
        raise NoLog(f"{position} is no position in a container's log") from None


async def _frames(answer: async_http.Answer, skip: int = 0) -> AsyncGenerator[Frame, None]:
    """Yield what the frames after the first ``skip`` hold; the transport's pieces may cut a frame anywhere."""
    header, kind, left, count = b"", 0, 0, 0
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            while piece:
                if left:
                    content, piece = piece[:left], piece[left:]
                    left -= len(content)
                    if count > skip:
                        yield kind, False, content
                    continue
                missing = _FRAME_HEADER - len(header)
                header, piece = header + piece[:missing], piece[missing:]
                if len(header) == _FRAME_HEADER:
                    kind, left, header = header[0], int.from_bytes(header[4:], "big"), b""
                    count += 1
                    if count > skip:
                        yield kind, True, b""
