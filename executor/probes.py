"""Probes a task once by HTTP, HTTPS, TCP or a command in its container, and reports the answer as an event.

Called by the loop with the machine's Probe actions. When to probe and what an answer means is the machine's business
(core/health.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from typing import Protocol

from eratos.common import async_http
from eratos.common.errors import TemporaryError
from eratos.common.payload import ReadinessCheck

from .core import actions as do
from .core import events as on
from .io_thread import IoThread
from .readiness import BODY_MAX, ReadinessResults, Response, Result

#: Marathon's verdict on HTTP: 200 to 399 are good (docs/health-checks.md).
_GOOD = range(200, 400)
_COMMAND_POLL_S = 0.05


class Commands(Protocol):
    """Runs commands in a task's container; see :class:`.runtimes.Runtime`."""

    def command_start(self, task_id: str, command: str) -> str: ...

    def command_result(self, command_id: str) -> int | None: ...

    def command_stop(self, command_id: str) -> None: ...


class Prober:
    """Performs probes on the io thread, any number at once."""

    def __init__(self, io: IoThread, commands: Commands, readiness: ReadinessResults, emit: Callable[[on.Event], None]) -> None:
        """What readiness checks are answered goes into ``readiness``, for people."""
        self._readiness = readiness
        self._io = io
        self._commands = commands
        self._emit = emit

    def perform(self, probe: do.Probe) -> None:
        """Begin a probe; its ProbeDone comes after ``timeout_s`` at the latest."""
        self._io.submit(self._probe(probe))

    async def _probe(self, probe: do.Probe) -> None:
        try:
            async with asyncio.timeout(probe.timeout_s):
                passed, detail = await self._ask(probe)
        except TimeoutError:
            passed, detail = False, f"no answer within {probe.timeout_s:g} s"
        except (*async_http.Failure, TemporaryError) as error:
            passed, detail = False, str(error) or type(error).__name__
        self._emit(on.ProbeDone(probe.task_id, probe.index, passed, detail))

    async def _ask(self, probe: do.Probe) -> tuple[bool, str]:
        if probe.protocol == "tcp":
            _, writer = await asyncio.open_connection(probe.host, probe.port)
            writer.close()
            return True, "the port accepts connections"
        if probe.protocol == "command":
            return await self._run(probe)
        if probe.protocol not in ("http", "https"):
            return False, f"protocol {probe.protocol!r} is unknown: use http, https, tcp or command"
        tls = _no_questions() if probe.protocol == "https" else None
        if probe.readiness is not None:
            return await self._ask_readiness(probe, probe.readiness, tls)
        answer = await async_http.request(probe.host, probe.port, probe.path, tls=tls, with_body=False)
        return answer.status in _GOOD, f"HTTP status {answer.status}"

    async def _ask_readiness(self, probe: do.Probe, check: ReadinessCheck, tls: ssl.SSLContext | None) -> tuple[bool, str]:
        async with async_http.ask(probe.host, probe.port, probe.path, tls=tls) as answer:
            ready = answer.status in check.statuses
            response = None
            if check.keep_response:
                body = await answer.body(BODY_MAX)
                kind = answer.header("content-type")
                response = Response(answer.status, kind, body.decode(errors="replace"))
        self._readiness.put(probe.task_id, Result(check.name, ready, response))
        return ready, f"HTTP status {answer.status}"

    async def _run(self, probe: do.Probe) -> tuple[bool, str]:
        loop = asyncio.get_running_loop()
        command_id = await loop.run_in_executor(None, self._commands.command_start, probe.task_id, probe.command)
        code: int | None = None
        try:
            while (code := await loop.run_in_executor(None, self._commands.command_result, command_id)) is None:
                await asyncio.sleep(_COMMAND_POLL_S)
        finally:
            if code is None:
                loop.run_in_executor(None, self._commands.command_stop, command_id)
        return code == 0, f"exit code {code}"


@cache
def _no_questions() -> ssl.SSLContext:
    """Return a context that takes any certificate: a probe asks whether the task answers, as Marathon's does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
