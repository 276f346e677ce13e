"""Keeps the services of ready tasks registered at the Consul agent of this host.

The loop says what is wanted (Register, Deregister) and never waits; one thread here makes it so. Each change is tried at once,
and the whole is compared now and then and after every failure: what is wanted against what the agent holds
(core/registration.py takes the difference). An agent that is away or restarts without its state delays nothing else, and is
set right once it answers. What it refuses of one service is tried again, and holds up no other.

Consul's ACL: the token needs ``service:write`` for the apps' names and ``service:read``, ``node:read`` for finding balancers.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import consul
import requests

from eratos.common import names
from eratos.common.backoff import exponential_s, jittered_s
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .balancers import Balancer
from .core import actions as do
from .core import events as on
from .core.host import Host
from .core.registration import difference, kept_checks, kept_datacenters, kept_ports, predecessors

log = logging.getLogger(__name__)

#: Longest wait for the host's own agent, which answers from memory.
ANSWER_S = 3.0
SYNC_S = 10.0
_BACKOFF_FIRST_S = 0.2
_BACKOFF_MOST_S = 5.0

_Failure = (requests.RequestException, OSError, ValueError)
Body = Mapping[str, Any]


class Refused(TemporaryError):
    """The agent answers, and does not do this one thing; others it may."""


class ServiceApi(Protocol):
    """What the sync needs of a Consul agent; each call raises TemporaryError, Refused where the agent answers."""

    def services(self) -> dict[str, dict[str, Any]]: ...

    def checks(self) -> Collection[str]: ...

    def register(self, body: Body) -> None: ...

    def deregister(self, service_id: str) -> None: ...

    def keep(self, check_id: str) -> None:
        """Say that a check with a time to live passes; TemporaryError as well where there is no such check."""


class ConsulApi:
    """The seven calls in use, over py-consul. Not for several threads at once; each raises TemporaryError or Refused."""

    def __init__(self, url: str, token: str = "", ca_file: str = "", cert_file: str = "") -> None:
        """``ca_file`` has the authorities of the agent's certificate, ``cert_file`` what it is shown; empty: none is needed."""
        parts = urllib.parse.urlsplit(url)
        self._url = url
        self._consul = consul.Consul(
            parts.hostname,
            parts.port or (8501 if parts.scheme == "https" else 8500),
            token=token or None,
            scheme=parts.scheme,
            verify=ca_file or True,
            cert=cert_file or None,
            connections_timeout=ANSWER_S,
        )
        # The host's own agent is never behind a proxy; looking for one in the environment costs more than the call.
        self._consul.http.session.trust_env = False

    def close(self) -> None:
        self._consul.http.session.close()

    def services(self) -> dict[str, dict[str, Any]]:
        """Return the agent's services by id."""
        return dict(self._call(self._consul.agent.services))

    def checks(self) -> Collection[str]:
        """Return the ids of the agent's checks."""
        return frozenset(self._call(self._consul.agent.checks))

    def register(self, body: Body) -> None:
        """Register a service, in place of one with the same id."""
        self._call(
            self._consul.agent.service.register,
            body["Name"],
            service_id=body["ID"],
            port=body["Port"],
            tags=body["Tags"],
            meta=body["Meta"],
            check=body.get("Check"),
            replace_existing_checks=True,
        )

    def deregister(self, service_id: str) -> None:
        """Deregister a service; one that is not there is fine."""
        self._answer(self._consul.agent.service.deregister, service_id)

    def keep(self, check_id: str) -> None:
        """Say that a check with a time to live passes; TemporaryError as well where there is no such check."""
        self._call(self._consul.agent.check.ttl_pass, check_id)

    def balancers(self, datacenter: str = "") -> list[Balancer]:
        """Return the balancers whose health check passes, known by their mark: an app may have the service's name.

        ``datacenter``: another one of Consul's than the agent's own.
        """
        _, found = self._call(self._consul.health.service, names.BALANCER_SERVICE, passing=True, dc=datacenter or None)
        return [
            Balancer(entry["Node"]["Node"], entry["Service"]["Address"] or entry["Node"]["Address"], entry["Service"]["Port"])
            for entry in found
            if names.is_balancer(entry["Service"])
        ]

    def consumers(self, framework_id: str) -> list[Balancer]:
        """Return the framework's executors whose tasks require others."""
        _, found = self._call(self._consul.health.service, names.CONSUMER_SERVICE, passing=True)
        return [
            Balancer(
                entry["Node"]["Node"], entry["Service"]["Address"] or entry["Node"]["Address"], entry["Service"]["Port"], True
            )
            for entry in found
            if (entry["Service"].get("Meta") or {}).get(names.META_FRAMEWORK) == framework_id
        ]

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return what a call brings that has to be known to the agent."""
        found = self._answer(function, *args, **options)
        if found is None or found is False or (isinstance(found, tuple) and found[1] is None):
            raise Refused(f"the Consul agent at {self._url} does not know what it is asked for: {function.__name__}")
        return found

    def _answer(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return what a call brings; for HTTP status 404 py-consul raises nothing and returns False or None."""
        try:
            return function(*args, **options)
        except consul.ConsulException as error:
            raise Refused(f"the Consul agent at {self._url} does not do as asked: {error}") from error
        except _Failure as error:
            raise TemporaryError(f"the Consul agent at {self._url} does not do as asked: {error}") from error


class ConsulAgent:
    """Wanted services, and the thread that keeps the agent in step with them."""

    def __init__(
        self,
        api: ServiceApi,
        host: Host,
        emit: Callable[[on.Event], None],
        alive: Callable[[str], bool],
        *,
        sync_s: float = SYNC_S,
    ) -> None:
        """``alive`` returns whether another executor of this agent is; ``sync_s`` is the pause between two full comparisons."""
        self._api = api
        self._alive = alive
        self._sync_s = sync_s
        self._host = host
        self._emit = emit
        self._changed = threading.Condition()
        self._wanted: dict[str, tuple[Body, ...]] = {}  #: by task id
        self._edges: dict[str, tuple[Body, ...]] = {}  #: tasks to act on now, with what they had before
        self._forgotten: set[str] = set()  #: deregistered tasks whose services may still be there
        self._kept: frozenset[str] | None = None  #: as in :class:`.actions.KeepServices`; None: not known yet
        self._present: dict[str, dict[str, Any]] = {}  #: what the agent held at the last comparison
        self._stopped = False
        self._sync_at = time.monotonic()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="consul", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Change nothing more; returns once a call under way has ended."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(ANSWER_S)

    def perform(self, action: do.Register | do.Deregister | do.KeepServices) -> None:
        """Take note of what is wanted; never waits. A Deregister is answered by Deregistered once it is true."""
        with self._changed:
            if isinstance(action, do.KeepServices):
                self._kept = action.task_ids
                self._sync_at = time.monotonic()
                self._changed.notify()
                return
            had = self._wanted.pop(action.task_id, ())
            if isinstance(action, do.Register):
                self._wanted[action.task_id] = action.services
                self._forgotten.discard(action.task_id)
            else:
                self._forgotten.add(action.task_id)
                if not had and action.task_id not in self._edges:
                    # A dead executor's task: only the full comparison finds its services.
                    self._sync_at = time.monotonic()
            self._edges[action.task_id] = had or self._edges.get(action.task_id, ())
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and not self._edges and (left_s := self._sync_at - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                if self._stopped:
                    return
                edges, self._edges = self._edges, {}
            try:
                self._round(edges)
            except TemporaryError as error:
                self._retry(error)
            except Exception:  # thread edge: the next comparison sets right what this one left
                log.exception("the Consul sync broke, please report this as a bug")
                self._retry(None)

    def _round(self, edges: Mapping[str, tuple[Body, ...]]) -> None:
        """Make changes, and compare in full when it is time. Raises TemporaryError; Refused once everything else is done."""
        refused: list[Refused] = []
        for task_id, had in edges.items():
            with _going_on(refused):
                self._apply(task_id, had)
        if time.monotonic() >= self._sync_at:
            with _going_on(refused):
                self._sync()
        if refused:
            raise refused[0]

    def _apply(self, task_id: str, had: tuple[Body, ...]) -> None:
        """Make one change at once. Raises TemporaryError, or Refused in the end; the full comparison then takes over."""
        refused: list[Refused] = []
        with self._changed:
            wanted = self._wanted.get(task_id, ())
        for service_id in sorted(predecessors(wanted, self._present, self._host)):
            # At once: until then requests for a dead task reach this one.
            with _going_on(refused, service_id):
                self._api.deregister(service_id)
                del self._present[service_id]
        for body in wanted:
            with _going_on(refused, body["ID"]):
                self._api.register(body)
        kept = {body["ID"] for body in wanted}
        for body in had:
            if body["ID"] not in kept:
                with _going_on(refused, body["ID"]):
                    self._api.deregister(body["ID"])
        if refused:
            raise refused[0]
        if had and not wanted:
            self._gone({task_id})

    def _sync(self) -> None:
        """Compare in full. Raises TemporaryError; Refused once everything else is done."""
        refused: list[Refused] = []
        with self._changed:
            wanted = [body for bodies in self._wanted.values() for body in bodies]
            forgotten, kept = frozenset(self._forgotten), self._kept
            # What changes from here on is in ``_edges`` and handled next.
            self._sync_at = time.monotonic() + self._sync_s
        self._present = self._api.services()
        missing, surplus = difference(wanted, self._present, self._api.checks(), self._host, self._alive, forgotten, kept)
        for body in missing:
            with _going_on(refused, body["ID"]):
                self._api.register(body)
        for service_id in surplus:
            with _going_on(refused, service_id):
                self._api.deregister(service_id)
                del self._present[service_id]
        self._keep(wanted, refused)
        if (missing or surplus) and not refused:
            log.info("Consul set right %s", fields(registered=len(missing), deregistered=len(surplus)))
        left = {key: self._present[key] for key in surplus if key in self._present}
        self._gone(forgotten - {(service.get("Meta") or {}).get(names.META_TASK) for service in left.values()})
        stays = {key: service for key, service in self._present.items() if key not in left}
        if kept and (ports := kept_ports(stays, self._host, kept)):
            self._emit(on.ServicesKept(ports, kept_datacenters(stays, ports)))
        if refused:
            raise refused[0]
        if self._failures:
            log.info("the Consul agent answers again")
        self._failures = 0

    def _keep(self, wanted: list[Body], refused: list[Refused]) -> None:
        """Repeat the executor's word for services that live by it. Raises TemporaryError; adds to ``refused``."""
        for check_id, body in kept_checks(wanted).items():
            with self._changed:
                if body not in self._wanted.get(body["Meta"][names.META_TASK], ()):
                    continue  # it has just been taken away
            try:
                self._api.keep(check_id)
            except TemporaryError:
                # The service may be there without its check, or with another one.
                with _going_on(refused, body["ID"]):
                    self._api.register(body)

    def _gone(self, task_ids: set[str] | frozenset[str]) -> None:
        with self._changed:
            gone = sorted(self._forgotten & task_ids)
            self._forgotten -= task_ids
        for task_id in gone:
            self._emit(on.Deregistered(task_id))

    def _retry(self, error: TemporaryError | None) -> None:
        if self._failures == 0 and error is not None:
            log.warning("Consul's agent was not told, trying again %s", fields(error=error))
        delay_s = exponential_s(self._failures, first_s=_BACKOFF_FIRST_S, factor=2, most_s=_BACKOFF_MOST_S)
        again_at = time.monotonic() + jittered_s(delay_s, random.random())
        # What is refused, however often, puts off no comparison: services live by the word that goes with it.
        self._sync_at = min(self._sync_at, again_at) if isinstance(error, Refused) else again_at
        self._failures += 1


@contextmanager
def _going_on(refused: list[Refused], service_id: str = "") -> Iterator[None]:
    """Add what the agent refuses to a list, with the service's id, and go on; another failure is none of one service."""
    try:
        yield
    except Refused as error:
        refused.append(Refused(f"service {service_id}: {error}") if service_id else error)
