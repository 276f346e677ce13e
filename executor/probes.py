"""Probes a task once by HTTP, HTTPS, TCP or a command in its container, and reports the answer as an event.

Called by the loop with the machine's Probe actions. When to probe and what an answer means is the machine's business
(core/health.py).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import cache

from eratos.common import async_http
from eratos.common.errors import TemporaryError
from eratos.common.payload import CheckKind, ReadinessCheck

from .commands import CommandRunner
from .core import actions as do
from .core import events as on
from .io_thread import IoThread
from .readiness import BODY_MAX, ReadinessResults, Response, Result

#: Marathon's verdict on HTTP: 200 to 399 are good (docs/health-checks.md).
_GOOD = range(200, 400)


class Prober:
    """Performs probes on the io thread, any number at once."""

    def __init__(
        self, io: IoThread, commands: CommandRunner, readiness: ReadinessResults, emit: Callable[[on.Event], None]
    ) -> None:
        """What readiness checks are answered goes into ``readiness``, for people."""
        self._readiness = readiness
        self._io = io
        self._commands = commands
        self._emit = emit
        #: How each kind of check is asked.
        self._askers: dict[str, Callable[[do.Probe], Awaitable[tuple[bool | None, str, int | None]]]] = {
            CheckKind.HTTP: self._get,
            CheckKind.HTTPS: self._get,
            CheckKind.TCP: self._connect,
            CheckKind.COMMAND: self._run,
        }

    def perform(self, probe: do.Probe) -> None:
        """Begin a probe; its ProbeDone comes after ``timeout_s`` at the latest."""
        self._io.submit(self._probe(probe))

    async def _probe(self, probe: do.Probe) -> None:
        passed: bool | None
        code = None
        try:
            async with asyncio.timeout(probe.timeout_s):
                passed, detail, code = await self._ask(probe)
        except TimeoutError:
            passed, detail = False, f"no answer within {probe.timeout_s:g} s"
        except (*async_http.Failure, TemporaryError) as error:
            passed, detail = False, async_http.reason(error)
        self._emit(on.ProbeDone(probe.task_id, probe.index, passed, detail, code))

    async def _ask(self, probe: do.Probe) -> tuple[bool | None, str, int | None]:
        asker = self._askers.get(probe.protocol)
        if asker is None:
            return False, f"protocol {probe.protocol!r} is unknown: use http, https, tcp or command", None
        return await asker(probe)

    async def _connect(self, probe: do.Probe) -> tuple[bool, str, None]:
        _, writer = await asyncio.open_connection(probe.host, probe.port)
        writer.close()
        return True, "the port accepts connections", None

    async def _get(self, probe: do.Probe) -> tuple[bool | None, str, int]:
        tls = _no_questions() if probe.protocol == CheckKind.HTTPS else None
        if probe.readiness is not None:
            return await self._ask_readiness(probe, probe.readiness, tls)
        answer = await async_http.request(probe.host, probe.port, probe.path, tls=tls, with_body=False)
        passed = None if probe.ignore_1xx and answer.status < 200 else answer.status in _GOOD
        return passed, f"HTTP status {answer.status}", answer.status

    async def _ask_readiness(self, probe: do.Probe, check: ReadinessCheck, tls: ssl.SSLContext | None) -> tuple[bool, str, int]:
        async with async_http.ask(probe.host, probe.port, probe.path, tls=tls) as answer:
            ready = answer.status in check.statuses
            response = None
            if check.keep_response:
                body = await answer.body(BODY_MAX)
                kind = answer.header("content-type")
                response = Response(answer.status, kind, body.decode(errors="replace"))
        self._readiness.put(probe.task_id, Result(check.name, ready, response))
        return ready, f"HTTP status {answer.status}", answer.status

    async def _run(self, probe: do.Probe) -> tuple[bool, str, int | None]:
        code = await self._commands.run((probe.task_id, probe.index), probe.command, probe.timeout_s, container=probe.container)
        return code == 0, f"exit code {code}", code


@cache
def _no_questions() -> ssl.SSLContext:
    """Return a context that takes any certificate: a probe asks whether the task answers, as Marathon's does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
