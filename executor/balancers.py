"""The executor's side of the confirmed drain: announces a planned removal to live balancers and asks them until they let go.

What a dead executor left is announced as well, and stays in Consul until no balancer says that it has nobody else.

Executors whose tasks go by the leaving instances without a balancer, because they require them, are asked in the same way.

Balancers are found through Consul (service ``eratos-balancer``); a companion answers for each. A balancer that is silent and
no longer passing in Consul is not waited for; one that passes there is waited for until the time is over, and named in the
result. Those of other data centers are asked where an app says that its instances stand in there. Where Consul has no word from
such a data center, nobody knows who passes: those last known are asked, and who is silent is not waited for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

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
#: Longest that a hold waits for who says nothing: a machine that is busy replacing its tasks takes its time.
SILENT_S = 3.0
POLL_FIRST_S = 0.05
POLL_MOST_S = 0.25
#: What is held goes on serving meanwhile, and whoever is to replace it needs the CPU.
HOLD_POLL_MOST_S = 1.0
#: How long a list of live balancers is believed.
LIVE_S = 1.0
#: Longest wait for the list of another data center, which may be cut off.
FAR_S = 1.0

_Failure = (*async_http.Failure, TemporaryError)


@dataclass(frozen=True, slots=True)
class Balancer:
    """Where a balancer's companion listens."""

    name: str
    host: str
    port: int
    executor: bool = False  #: no balancer, but an executor whose tasks go by servers that others run: it is asked alike
    passing: bool = field(default=True, compare=False)  #: False: Consul said so once, and has no word from its data center now


class _Source:
    """The live balancers of one data center, as Consul last said."""

    def __init__(self, find: Callable[[], list[Balancer]]) -> None:
        self._find = find
        self.known: list[Balancer] | None = None  #: None: Consul has never answered
        self.silent = False  #: the last question has no answer
        self._known_at = 0.0
        self._finding: asyncio.Task[None] | None = None

    async def live(self, patience_s: float | None = None) -> list[Balancer] | None:
        """Return who is live, as last known where Consul is away; None: never known.

        ``patience_s``: the longest wait, and none for what did not answer in time before; None: whatever it takes.
        """
        if self.known is None or time.monotonic() - self._known_at > LIVE_S:
            # One question for all drains under way.
            if new := self._finding is None or self._finding.done():
                self._finding = asyncio.create_task(self._look())
            if patience_s is None:
                await asyncio.shield(self._finding)
            elif new or not self.silent:
                answered, _ = await asyncio.wait({self._finding}, timeout=patience_s)
                self.silent = self.silent or not answered
        return self.known

    async def _look(self) -> None:
        try:
            self.known = await asyncio.get_running_loop().run_in_executor(None, self._find)
            self.silent = False
        except TemporaryError as error:
            self.silent = True
            log.warning("cannot look for balancers, going by the last list %s", fields(error=error))
        self._known_at = time.monotonic()


class _Word(NamedTuple):
    """What a balancer says of services that leave."""

    held: str = ""  #: why it still holds one of them; empty: it does not
    silent: bool = False  #: it says nothing


class Balancers:
    """Performs TellBalancers, AskBalancers and AbandonDrain."""

    def __init__(
        self,
        io: IoThread,
        find: Callable[[], list[Balancer]],
        emit: Callable[[on.Event], None],
        token: Callable[[], str] = str,
        peers: Callable[[], str] = str,
        elsewhere: Callable[[str], Callable[[], list[Balancer]]] = lambda _: list,
    ) -> None:
        """``find`` returns who passes in Consul, or raises TemporaryError; it may wait, on a thread of its own.

        ``elsewhere`` returns the like for another data center.

        ``token`` returns what this executor was given for companions, ``peers`` the key that executors share; an empty text for
        nothing.
        """
        self._token = token
        self._peers = peers
        self._io = io
        self._emit = emit
        self._drains: dict[str, Future[None]] = {}
        self._near = _Source(find)
        self._elsewhere = elsewhere
        self._far: dict[str, _Source] = {}  #: by data center

    def perform(self, action: do.TellBalancers | do.AskBalancers | do.AbandonDrain) -> None:
        """Carry out an action on the io thread."""
        match action:
            case do.TellBalancers(hold_s=0):
                self._io.submit(self._tell(action))
            case do.TellBalancers():
                self._remember(action.task_id, self._io.submit(self._hold(action)))
            case do.AskBalancers():
                self._remember(action.task_id, self._io.submit(self._ask(action)))
            case do.AbandonDrain():
                drain = self._drains.pop(action.task_id, None)
                if drain is not None:
                    drain.cancel()

    def _remember(self, task_id: str, drain: Future[None]) -> None:
        self._drains = {key: other for key, other in self._drains.items() if not other.done()} | {task_id: drain}

    async def _tell(self, action: do.TellBalancers) -> None:
        try:
            async with asyncio.timeout(TELL_S):
                # Each data center by itself: one that is cut off must not keep the others from hearing of it.
                lists = [self._near.live(), *(self._in(datacenter) for datacenter in action.datacenters)]
                await asyncio.gather(*(self._tell_all(live, action) for live in lists))
        except TimeoutError:
            log.warning("not every balancer heard of a planned removal %s", fields(task_id=action.task_id))
        self._emit(on.BalancersTold(action.task_id))

    async def _tell_all(self, live: Coroutine[Any, Any, list[Balancer] | None], action: do.TellBalancers) -> None:
        found = await live or []
        await asyncio.gather(*(self._tell_one(balancer, action) for balancer in found if not balancer.executor))

    async def _tell_one(self, balancer: Balancer, action: do.TellBalancers) -> None:
        try:
            await self._announce(balancer, action)
        except _Failure as error:
            log.warning("a balancer did not hear of a planned removal %s", fields(balancer=balancer.name, error=error))

    async def _announce(self, balancer: Balancer, action: do.TellBalancers) -> bool:
        """Announce a removal to one balancer, and return whether it took that. Raises one of _Failure."""
        body = json.dumps({"services": action.service_ids}).encode()
        headers = self._headers(balancer, "POST", "/confirm", body)
        answer = await async_http.request(balancer.host, balancer.port, "/confirm", method="POST", headers=headers, body=body)
        return answer.status == 200

    async def _hold(self, action: do.TellBalancers) -> None:
        """Announce a removal, and wait until no live balancer says that it has nobody else for an app.

        One that says nothing is asked again for a while, and then holds nothing up. Each is asked after the announcement: so it
        keeps one at least of all that go at the same time, in whatever order their announcements come.
        """
        began = time.monotonic()
        told: set[Balancer] = set()
        pause_s = POLL_FIRST_S
        while True:
            live = await self._live(action.datacenters)
            asked = [balancer for balancer in live or [] if not balancer.executor]
            last = await asyncio.gather(*(self._told_is_last(balancer, action, told) for balancer in asked))
            took_s = time.monotonic() - began
            unsaid = any(word is None for balancer, word in zip(asked, last, strict=True) if balancer.passing)
            patient = took_s < SILENT_S and (live is None or unsaid)
            if not (True in last or patient) or took_s + pause_s >= action.hold_s:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(HOLD_POLL_MOST_S, pause_s * 1.5)
        alone = [balancer.name for balancer, is_last in zip(asked, last, strict=True) if is_last]
        shown = fields(task_id=action.task_id, held_s=f"{took_s:.1f}", without=",".join(alone) or None)
        log.log(logging.WARNING if alone else logging.INFO, "what a dead executor left goes %s", shown)
        self._emit(on.BalancersTold(action.task_id))

    async def _told_is_last(self, balancer: Balancer, action: do.TellBalancers, told: set[Balancer]) -> bool | None:
        """Tell a balancer what is about to leave, unless it was, and return whether it has nobody else; None: it does not say."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if balancer not in told and not await self._announce(balancer, action):
                    return None
                told.add(balancer)
            for service_id in action.service_ids:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._server(balancer, service_id)
                if answer.status != 200:
                    return None
                # A companion of a version before has no such field.
                if json.loads(answer.body).get("last", False):
                    return True
        except (*_Failure, AttributeError):
            return None
        return False

    async def _ask(self, action: do.AskBalancers) -> None:
        deadline = time.monotonic() + action.timeout_s
        released: set[Balancer] = set()
        pause_s = POLL_FIRST_S
        told = ""
        while True:
            live = await self._live(action.datacenters)
            asked = [balancer for balancer in live or [] if balancer not in released]
            words = await asyncio.gather(*(self._held(balancer, action.service_ids) for balancer in asked))
            said = list(zip(asked, words, strict=True))
            released |= {balancer for balancer, word in said if not word.held}
            held = [
                f"{balancer.name} {word.held}" for balancer, word in said if word.held and (balancer.passing or not word.silent)
            ]
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

    async def _held(self, balancer: Balancer, service_ids: tuple[str, ...]) -> _Word:
        """Return why a balancer still holds one of the services, if it does."""
        for service_id in service_ids:
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._server(balancer, service_id)
                if answer.status != 200:
                    return _Word(f"answers with HTTP status {answer.status}")
                found = json.loads(answer.body)
                if found["used"]:
                    how = "a task there requires it" if balancer.executor else f"{found.get('requests', 0)} requests"
                    return _Word(f"still uses {service_id} ({how})")
            except (*_Failure, KeyError, TypeError) as error:
                return _Word(f"does not answer ({async_http.reason(error)})", silent=True)
        return _Word()

    async def _server(self, balancer: Balancer, service_id: str) -> async_http.Response:
        path = f"/servers/{urllib.parse.quote(service_id, safe='')}"
        return await async_http.request(balancer.host, balancer.port, path, headers=self._headers(balancer, "GET", path))

    def _headers(self, balancer: Balancer, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        agent_id, _, key = ("", "", self._peers()) if balancer.executor else self._token().rpartition(".")
        return keys.headers(key, method, target, body, time.time(), agent_id)

    async def _live(self, datacenters: Iterable[str]) -> list[Balancer] | None:
        """Return who is live here and in other data centers; None: nobody knows who is here."""
        near, *far = await asyncio.gather(self._near.live(), *map(self._in, datacenters))
        if near is None:
            return None
        # The own data center is among those that stand in for each other, by its name.
        at = {(balancer.host, balancer.port): balancer for found in (*far, near) for balancer in found or ()}
        return list(at.values())

    async def _in(self, datacenter: str) -> list[Balancer]:
        """Return the balancers of another data center, as far as they are known."""
        if datacenter not in self._far:
            self._far[datacenter] = _Source(self._elsewhere(datacenter))
        source = self._far[datacenter]
        found = await source.live(FAR_S) or []
        return [replace(one, name=f"{one.name} in {datacenter}", passing=not source.silent) for one in found]
