"""Follows what tasks require in Consul: one blocking query for each thing that is required here, however many tasks do.

What was found last stays while Consul is silent: only an answer changes it.

Consul's ACL: the token needs ``service:read`` and ``node:read``, and ``key:read`` for keys that apps require.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import ssl
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from eratos.common import async_http
from eratos.common.backoff import exponential_s, jittered_s
from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.common.payload import Requirement

from ..core import actions as do
from ..core import events as on
from ..core.requirements import Found, Query, found, queries
from ..io_thread import IoThread

log = logging.getLogger(__name__)

#: How long Consul may keep a question; it adds up to a sixteenth.
WAIT_S: Final = 60
_ANSWER_S: Final = WAIT_S * 17 / 16 + 5
#: From one answer to the next question: a service that never rests costs no more than ten of them a second.
PAUSE_S: Final = 0.1
_BACKOFF_FIRST_S: Final = 0.2
_BACKOFF_MOST_S: Final = 5.0
#: A longer answer is none: 100,000 instances of a service take less.
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class ConsulQueries:
    """Blocking queries to a Consul agent."""

    def __init__(self, url: str, token: str = "", ca_file: str = "", cert_file: str = "") -> None:
        """As for :class:`..consul_agent.ConsulApi`."""
        parts = urllib.parse.urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (8501 if parts.scheme == "https" else 8500)
        self._headers = {"X-Consul-Token": token} if token else {}
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca_file or None)
            if cert_file:
                self._tls.load_cert_chain(cert_file)

    async def ask(self, query: Query, index: int) -> tuple[Any, int]:
        """Return a query's answer and its index, once that is another than ``index``, or after a minute. Raises TemporaryError.

        Of a service the instances that pass, as ``/v1/health/service`` has them; of a key its value, None where there is none.
        """
        given = {"index": str(index), "wait": f"{WAIT_S}s", "dc": query.datacenter}
        if query.key:
            path = f"/v1/kv/{urllib.parse.quote(query.key)}"
        else:
            path = f"/v1/health/service/{urllib.parse.quote(query.service, safe='')}"
            given |= {"passing": "true", "filter": query.filter}
        asked = f"{path}?{urllib.parse.urlencode({name: value for name, value in given.items() if value})}"
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                async_http.ask(self._host, self._port, asked, headers=self._headers, tls=self._tls) as answer,
            ):
                body = await answer.body(ANSWER_BYTES_MAX)
                status, new = answer.status, answer.header("x-consul-index")
            if query.key and status == 404:
                return None, int(new or 0)
            if status != 200:
                raise TemporaryError(f"HTTP status {status}: {body[:200].decode(errors='replace').strip()}")
            return self._value(query, body), int(new or 0)
        except (TimeoutError, *async_http.Failure, LookupError, TypeError) as error:
            raise TemporaryError(async_http.reason(error)) from error

    def _value(self, query: Query, body: bytes) -> Any:
        read = json.loads(body)
        if not query.key:
            return read
        return base64.b64decode(read[0]["Value"] or "").decode(errors="replace")


@dataclass(slots=True)
class _Asked:
    """A query under way."""

    work: asyncio.Task[None]
    answer: Any = None
    answered: bool = False
    tasks: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Watched:
    """A task's requirements with what was last told of each."""

    requirements: tuple[Requirement, ...]
    servers: frozenset[str] = frozenset()  #: that the task goes by
    told: dict[str, Found] = field(default_factory=dict)


class RequirementWatch:
    """Performs Follow and Unfollow: emits RequirementFound for each requirement of a followed task, and whenever that changes.

    Performs Using as well, which :meth:`used` returns.
    """

    def __init__(
        self,
        io: IoThread,
        consul: ConsulQueries,
        emit: Callable[[on.Event], None],
        consuming: Callable[[bool], object] = lambda consuming: None,
    ) -> None:
        """``consuming`` is told whether any task is followed that may go by servers, whenever that changes."""
        self._consuming = consuming
        self._consumes = False
        self._io = io
        self._consul = consul
        self._emit = emit
        self._asked: dict[Query, _Asked] = {}
        self._watched: dict[str, _Watched] = {}

    def perform(self, action: do.Follow | do.Unfollow | do.Using) -> None:
        """Carry out an action on the io thread."""
        self._io.submit(self._perform(action))

    def used(self, server: str) -> bool:
        """Return whether a task goes by a server. On the io thread."""
        return any(server in watched.servers for watched in self._watched.values())

    async def _perform(self, action: do.Follow | do.Unfollow | do.Using) -> None:
        match action:
            case do.Follow():
                self._follow(action)
            case do.Unfollow(task_id):
                self._unfollow(task_id)
            case do.Using(task_id, servers):
                if task_id in self._watched:
                    self._watched[task_id].servers = servers
        consumes = any(each.services for watched in self._watched.values() for each in watched.requirements)
        if consumes != self._consumes:
            self._consumes = consumes
            self._consuming(consumes)

    def _follow(self, action: do.Follow) -> None:
        task_id = action.task_id
        self._watched[task_id] = _Watched(action.requirements)
        for requirement in action.requirements:
            for query in queries(requirement):
                if query not in self._asked:
                    self._asked[query] = _Asked(asyncio.create_task(self._keep_asking(query)))
                self._asked[query].tasks.add(task_id)
        self._tell(task_id)

    def _unfollow(self, task_id: str) -> None:
        watched = self._watched.pop(task_id, None)
        for query in {query for each in (watched.requirements if watched else ()) for query in queries(each)}:
            asked = self._asked[query]
            asked.tasks.discard(task_id)
            if not asked.tasks:
                asked.work.cancel()
                del self._asked[query]

    async def _keep_asking(self, query: Query) -> None:
        index, failures = 0, 0
        while True:
            try:
                answer, new = await self._consul.ask(query, index)
                # An index that goes back begins anew (Consul's features/blocking.mdx).
                index, failures = (new if new >= index else 0), 0
                asked = self._asked[query]
                if not asked.answered or asked.answer != answer:
                    asked.answer, asked.answered = answer, True
                    for task_id in sorted(asked.tasks):
                        self._tell(task_id)
                await asyncio.sleep(PAUSE_S)
            except Exception as error:
                if not isinstance(error, TemporaryError):  # edge of the task: it goes on for all who rely on it
                    log.exception("a question to Consul broke, please report this as a bug %s", fields(of=query))
                elif failures == 0:
                    log.warning("what tasks require is not known anew %s", fields(of=query.key or query.service, error=error))
                index = 0
                delay_s = exponential_s(failures, first_s=_BACKOFF_FIRST_S, factor=2, most_s=_BACKOFF_MOST_S)
                failures += 1
                await asyncio.sleep(jittered_s(delay_s, random.random()))

    def _tell(self, task_id: str) -> None:
        """Emit what is found for a task, where all of Consul's answers to it are there and it is not what was told already."""
        watched = self._watched[task_id]
        for requirement in watched.requirements:
            asked = {query: self._asked[query] for query in queries(requirement)}
            if not asked or not all(each.answered for each in asked.values()):
                continue
            now_found = found(requirement, task_id, {query: each.answer for query, each in asked.items()})
            if watched.told.get(requirement.name) != now_found:
                watched.told[requirement.name] = now_found
                self._emit(on.RequirementFound(task_id, requirement.name, now_found))
