"""What every tunnel through a scheduler has in common: how many there are, how one is answered, how it reaches an executor, and
how messages are handed on until one side leaves or nobody uses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from eratos.common import async_http, keys, tunnel
from eratos.common.log import fields
from eratos.common.tunnel import Kind
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core.refusals import CommandRefused, Unavailable

from .caller import SCOPE, Caller
from .context import Context
from .errors import ApiError, error
from .gate import audit

#: For the executor's first word; it may have to wait for a task to accept.
ANSWER_S: Final = 10.0
#: What a WebSocket is closed with: all is said; what came was no tunnel's (RFC 6455, 7.4.1).
DONE: Final = 1000
WRONG: Final = 1002
#: What clients send beside a command, which comes first.
_OF_CLIENTS: Final = frozenset({Kind.DATA, Kind.END, Kind.MORE, Kind.SIZE})
_USE: Final = frozenset({Kind.DATA, Kind.ERRORS, Kind.SIZE})
_STRANGER: Final = "its answer is no executor's: does another program listen there?"
#: How an executor begins that knows no tunnels.
_EARLIER: Final = "there is no /tasks/"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a tunnel leads."""

    app_id: str
    task_id: str
    agent_id: str
    hostname: str
    container: str = ""  #: of a pod

    def shown(self) -> dict[str, str]:
        return {"app": self.app_id, "task": self.task_id, "host": self.hostname}


class Places:
    """So many tunnels of a kind at a time."""

    def __init__(self, what: str, most: int, setting: str) -> None:
        self._what = what
        self._most = most
        self._setting = setting
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place. Raises ApiError where there is none."""
        if self._taken >= self._most:
            raise ApiError(429, f"{self._most} {self._what} are open already: close one, or see {self._setting}")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Opening:
    """One WebSocket that is asked for."""

    def __init__(self, websocket: WebSocket, what: str) -> None:
        self.websocket = websocket
        self.caller: Caller = websocket.scope[SCOPE]
        self._what = what

    def parameter(self, name: str) -> str:
        return self.websocket.query_params.get(name, "")

    @asynccontextmanager
    async def answered(self, role: Role) -> AsyncIterator[None]:
        """Report to the client what is raised inside: before the upgrade as any refusal, after it in the tunnel."""
        try:
            self.caller.hold(role)
            yield
        except (ApiError, CommandRefused, Unavailable) as failure:
            status = failure.status if isinstance(failure, ApiError) else 503
            if self.websocket.application_state is not WebSocketState.CONNECTING:
                await self.fail(str(failure))
                return
            self.note(status=status)
            await error(status, str(failure))(self.websocket.scope, self.websocket.receive, self.websocket.send)

    async def accept(self, target: Target) -> None:
        headers = {tunnel.TASK: target.task_id, tunnel.HOST: target.hostname}
        await self.websocket.accept(headers=[(name.encode(), value.encode()) for name, value in headers.items()])

    async def fail(self, reason: str, code: int = DONE) -> None:
        """Say why the tunnel ends, and end it."""
        failure = tunnel.message(Kind.FAILURE, reason.encode()[: tunnel.MESSAGE_MAX - 1])
        with suppress(WebSocketDisconnect, RuntimeError):
            await self.websocket.send_bytes(failure)
            await self.websocket.close(code)

    def note(self, **more: Any) -> None:
        """Write a line into the log, which says later who was where."""
        caller = self.caller
        audit.info(
            "%s",
            fields(
                who=caller.identity.name,
                address=caller.address,
                method=self._what.upper(),
                path=caller.uri[:500],
                apps=",".join(caller.touched) or None,
                **more,
            ),
        )


@dataclass(frozen=True, slots=True)
class Executor:
    """A connection to an executor, upgraded."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(tunnel.behind_length(data))
        await self.writer.drain()


async def connect(ctx: Context, target: Target, what: str, query: str, stack: AsyncExitStack) -> Executor:
    """Open a tunnel to the executor of a task, until the stack ends. Raises ApiError."""
    path = f"/tasks/{quote(target.task_id, safe='')}/{what}" + (f"?{query}" if query else "")
    where = f"{target.hostname}:{ctx.executor_port}"
    headers = ctx.headers(target.agent_id, path)
    asked = async_http.ask(target.hostname, ctx.executor_port, path, headers=headers, upgrade=tunnel.PROTOCOL)
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await stack.enter_async_context(asked)
            if answer.status == 101 and answer.writer is not None:
                async_http.end_soon(answer.writer)
                found = Executor(answer.reader, answer.writer)
                key = ctx.agent_key(target.agent_id)
                nonce = answer.header(tunnel.NONCE)
                proof = keys.proof(key, "TUNNEL", nonce, b"", ctx.clock()) if key else ""
                await found.send(tunnel.message(Kind.PROOF, proof.encode("latin-1")))
                return found
            refused = await answer.message(_STRANGER)
    except async_http.Failure as failure:
        reason = str(failure) or type(failure).__name__
        raise ApiError(503, f"the executor at {where} does not answer: {reason}; see --executor-http-port") from failure
    if answer.status == 404 and refused.startswith(_EARLIER):
        raise ApiError(503, f"the executor on {target.hostname} is of an earlier version, which has no tunnels")
    if answer.status == 401:
        ports = "two frameworks on one host need different --executor-http-port"
        raise ApiError(
            503, f"the executor on {target.hostname} does not take this scheduler for one of its own ({ports}): {refused}"
        )
    status = answer.status if answer.status in (404, 502, 503) else 502
    raise ApiError(status, f"task '{target.task_id}' on {target.hostname}: {refused}")


@dataclass
class Relay:
    """Hands messages on between a client and an executor."""

    opening: Opening
    executor: Executor
    hostname: str
    idle_s: float
    code: int | None = None  #: with which the command ended
    failure: str = ""  #: why the tunnel ended before its time
    _ended: bool = field(default=False, init=False)
    _used_at: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Hand on until one side leaves, or nothing has gone through for ``idle_s``."""
        self._used_at = asyncio.get_running_loop().time()
        left = asyncio.create_task(self._from_client())
        ended = asyncio.create_task(self._from_executor())
        idle = asyncio.create_task(self._idle())
        try:
            done, _ = await asyncio.wait((left, ended, idle), return_when=asyncio.FIRST_COMPLETED)
            if ended in done:
                self._end(ended, f"the connection to the executor on {self.hostname} was lost")
                if not self.failure and self.code is None and not self._ended:
                    self.failure = f"the connection to the executor on {self.hostname} was lost"
                    await self.opening.fail(self.failure)
            elif left in done:
                self._end(left, f"the executor on {self.hostname} takes nothing more")
                self.failure = self.failure or ("" if self._ended else "the client left")
                await self.opening.fail(self.failure, WRONG)
            else:
                self.failure = f"nothing came or went for {self.idle_s:g} s: see --tunnel-idle-s"
                await self.opening.fail(self.failure)
            with suppress(WebSocketDisconnect, RuntimeError):
                await self.opening.websocket.close(DONE)
        finally:
            await tunnel.stopped(left, ended, idle)
            self.executor.writer.transport.abort()

    def _end(self, task: asyncio.Task[None], otherwise: str) -> None:
        """Take note of how a direction broke off, if it did."""
        try:
            task.result()
        except WebSocketDisconnect:
            self.failure = "the client left"
        except ValueError as failure:
            self.failure = f"what came is no tunnel's: {failure}"
        except OSError:
            self.failure = otherwise

    async def _from_client(self) -> None:
        while (found := await self.opening.websocket.receive())["type"] != "websocket.disconnect":
            data = found.get("bytes") or b""
            kind, _ = tunnel.parsed(data)
            if kind not in _OF_CLIENTS:
                raise ValueError(f"a client sends no {kind.name}")
            self._use(kind)
            await self.executor.send(data)

    async def _from_executor(self) -> None:
        while (data := await tunnel.next_message(self.executor.reader)) is not None:
            kind, payload = tunnel.parsed(data)
            self._use(kind)
            match kind:
                case Kind.EXIT:
                    self.code = int(payload)
                case Kind.FAILURE:
                    self.failure = payload.decode(errors="replace")
                case Kind.END:
                    self._ended = True
            await self.opening.websocket.send_bytes(data)

    def _use(self, kind: Kind) -> None:
        if kind in _USE:
            self._used_at = asyncio.get_running_loop().time()

    async def _idle(self) -> None:
        now = asyncio.get_running_loop().time
        while (left_s := self._used_at + self.idle_s - now()) > 0:
            await asyncio.sleep(left_s)
