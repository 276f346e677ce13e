"""The executor's side of the confirmed drain: announces a planned removal to live balancers and asks them until they let go.

Executors whose tasks go by the leaving instances without a balancer, because they require them, are asked in the same way.

Balancers are found through Consul (service ``eratos-balancer``); a companion answers for each. A balancer that is silent and
no longer passing in Consul is not waited for; one that passes there is waited for until the time is over, and named in the
result.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from eratos.common import async_http, keys
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .core import actions as do
from .core import events as on
from .io_thread import IoThread

log = logging.getLogger(__name__)

#: Longest wait for one answer of a companion: it only looks into HAProxy's socket.
ANSWER_S = 1.0
#: A planned removal is announced in passing: a silent balancer must not eat up the drain's time.
TELL_S = 0.5
POLL_FIRST_S = 0.05
POLL_MOST_S = 0.25
#: How long a list of live balancers is believed.
LIVE_S = 1.0

_Failure = (*async_http.Failure, TemporaryError)


@dataclass(frozen=True, slots=True)
class Balancer:
    """Where a balancer's companion listens."""

    name: str
    host: str
    port: int
    executor: bool = False  #: no balancer, but an executor whose tasks go by servers that others run: it is asked alike


class Balancers:
    """Performs TellBalancers, AskBalancers and AbandonDrain."""

    def __init__(
        self,
        io: IoThread,
        find: Callable[[], list[Balancer]],
        emit: Callable[[on.Event], None],
        token: Callable[[], str] = str,
        peers: Callable[[], str] = str,
    ) -> None:
        """``find`` returns who passes in Consul, or raises TemporaryError; it may wait, on a thread of its own.

        ``token`` returns what this executor was given for companions, ``peers`` the key that executors share; an empty text for
        nothing.
        """
        self._token = token
        self._peers = peers
        self._io = io
        self._find = find
        self._emit = emit
        self._drains: dict[str, Future[None]] = {}
        self._known: list[Balancer] | None = None  #: None: Consul has never answered
        self._known_at = 0.0
        self._finding: asyncio.Task[None] | None = None

    def perform(self, action: do.TellBalancers | do.AskBalancers | do.AbandonDrain) -> None:
        """Carry out an action on the io thread."""
        match action:
            case do.TellBalancers():
                self._io.submit(self._tell(action))
            case do.AskBalancers():
                self._drains = {key: drain for key, drain in self._drains.items() if not drain.done()}
                self._drains[action.task_id] = self._io.submit(self._ask(action))
            case do.AbandonDrain():
                drain = self._drains.pop(action.task_id, None)
                if drain is not None:
                    drain.cancel()

    async def _tell(self, action: do.TellBalancers) -> None:
        body = json.dumps({"services": action.service_ids}).encode()
        try:
            async with asyncio.timeout(TELL_S):
                live = await self._live() or []
                await asyncio.gather(*(self._tell_one(balancer, body) for balancer in live if not balancer.executor))
        except TimeoutError:
            log.warning("not every balancer heard of a planned removal %s", fields(task_id=action.task_id))
        self._emit(on.BalancersTold(action.task_id))

    async def _tell_one(self, balancer: Balancer, body: bytes) -> None:
        try:
            headers = self._headers(balancer, "POST", "/confirm", body)
            await async_http.request(balancer.host, balancer.port, "/confirm", method="POST", headers=headers, body=body)
        except _Failure as error:
            log.warning("a balancer did not hear of a planned removal %s", fields(balancer=balancer.name, error=error))

    async def _ask(self, action: do.AskBalancers) -> None:
        deadline = time.monotonic() + action.timeout_s
        released: set[Balancer] = set()
        pause_s = POLL_FIRST_S
        told = ""
        while True:
            live = await self._live()
            asked = [balancer for balancer in live or [] if balancer not in released]
            answers = await asyncio.gather(*(self._held(balancer, action.service_ids) for balancer in asked))
            released |= {balancer for balancer, why in zip(asked, answers, strict=True) if not why}
            held = [f"{balancer.name} {why}" for balancer, why in zip(asked, answers, strict=True) if why]
            if live is None:
                held = ["no balancer could be asked: Consul does not answer"]
            if not held:
                self._emit(on.DrainDone(action.task_id, released=True))
                return
            holders = "; ".join(held)
            if time.monotonic() + pause_s >= deadline:
                detail = f"not drained within {action.timeout_s:.1f} s: {holders}"
                self._emit(on.DrainDone(action.task_id, released=False, detail=detail))
                return
            if holders != told:
                told = holders
                self._emit(on.DrainHeld(action.task_id, holders))
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_MOST_S, pause_s * 1.2)

    async def _held(self, balancer: Balancer, service_ids: tuple[str, ...]) -> str:
        """Return why a balancer still holds one of the services, or an empty text."""
        for service_id in service_ids:
            try:
                async with asyncio.timeout(ANSWER_S):
                    path = f"/servers/{urllib.parse.quote(service_id, safe='')}"
                    headers = self._headers(balancer, "GET", path)
                    answer = await async_http.request(balancer.host, balancer.port, path, headers=headers)
                if answer.status != 200:
                    return f"answers with HTTP status {answer.status}"
                found = json.loads(answer.body)
                if found["used"]:
                    how = "a task there requires it" if balancer.executor else f"{found.get('requests', 0)} requests"
                    return f"still uses {service_id} ({how})"
            except (*_Failure, KeyError, TypeError) as error:
                return f"does not answer ({str(error) or type(error).__name__})"
        return ""

    def _headers(self, balancer: Balancer, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        agent_id, _, key = ("", "", self._peers()) if balancer.executor else self._token().rpartition(".")
        return {"Authorization": keys.proof(key, method, target, body, time.time(), agent_id)} if key else {}

    async def _live(self) -> list[Balancer] | None:
        """Return the balancers that pass in Consul, as last known where Consul is away; None: never known."""
        if self._known is None or time.monotonic() - self._known_at > LIVE_S:
            # One question for all drains under way.
            if self._finding is None or self._finding.done():
                self._finding = asyncio.create_task(self._look())
            await asyncio.shield(self._finding)
        return self._known

    async def _look(self) -> None:
        try:
            self._known = await asyncio.get_running_loop().run_in_executor(None, self._find)
        except TemporaryError as error:
            log.warning("cannot look for balancers, going by the last list %s", fields(error=error))
        self._known_at = time.monotonic()
