"""Looks after Consul's catalogue beside the loop while this process leads: removes what a lost host left there, keeps what
stands for apps without instances (:mod:`placeholder_keeper`) and the prepared query (:mod:`query_keeper`), and reads what
balancers leave out.

A Consul agent that is gone cannot deregister its services, and Consul itself keeps them for 72 hours. So every few seconds
the leader looks at the nodes whose agent is dead, and deregisters there the services of its own framework whose tasks it
has given up. A living agent's services are its executor's business: here they would come back by anti-entropy.

Balancers say in the meta of their own service which services they cannot serve, and why.

One of these looks after one data center of Consul (:mod:`catalogues`).

Needs of Consul's ACL: ``node:read``, ``service:read``, and ``service:write`` with ``node:write`` for the deregistration.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import consul
import requests

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .api.controller import Balancer
from .placeholder_keeper import PlaceholderKeeper, carry_out
from .query_keeper import QueryKeeper

log = logging.getLogger(__name__)

PERIOD_S = 5.0
#: How soon a change of the apps is seen.
CHANGES_S = 0.25
#: Between two rounds of asking while no Consul answers.
PAUSE_S = 1.0
_ANSWER_S = 5.0
_Failure = (consul.ConsulException, requests.RequestException, OSError, ValueError, TemporaryError)


class ConsulCatalog:
    """One thread that looks until stopped. ``live_tasks`` returns the framework's id and the ids of the tasks it knows."""

    def __init__(
        self,
        urls: Sequence[str],
        live_tasks: Callable[[], tuple[str, Collection[str]]],
        placeholders: PlaceholderKeeper,
        token: str = "",
        *,
        ca_file: str = "",
        cert_file: str = "",
        on_change: Callable[[], None] = lambda: None,
        datacenter: str = "",
        query: QueryKeeper | None = None,
    ) -> None:
        """``urls``: Consul agents or servers, asked in turn: losing one must not blind the scheduler. ``ca_file`` has the
        authorities of their certificates, ``cert_file`` what they are shown; empty: neither is needed. ``on_change``: the
        balancers, or what they leave out, are others than before. ``datacenter``: another one of Consul's, which those agents
        ask; empty: their own. ``query`` keeps the prepared query there.
        """
        self._clients = [_client(url, token, ca_file, cert_file, datacenter) for url in urls]
        places = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in urls)
        self._who = f"no Consul answers the scheduler at {places}"
        if datacenter:
            self._who = f"Consul's data center {datacenter} does not answer the scheduler at {places}"
        self._datacenter = datacenter
        self._query = query
        self._live_tasks = live_tasks
        self._placeholders = placeholders
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._trouble = ""
        self._left_out: Mapping[str, Sequence[str]] = {}
        self._balancers: tuple[Balancer, ...] = ()
        self._on_change = on_change

    @property
    def trouble(self) -> str:
        """Why what is said here may be old: no Consul answers. Empty: one does."""
        return self._trouble

    @property
    def left_out(self) -> Mapping[str, Sequence[str]]:
        """What balancers leave out: Consul service -> each balancer's reason, as of the last look."""
        return self._left_out

    @property
    def balancers(self) -> Sequence[Balancer]:
        """The balancers that are registered, as of the last look."""
        return self._balancers

    def start(self) -> None:
        self._thread.start()

    def halt(self) -> None:
        """Have the thread stop, and do not wait for it."""
        self._stopping.set()

    def stop(self) -> None:
        self.halt()
        self._thread.join(_ANSWER_S)

    def remove_entries(self) -> None:
        """Remove what stands for the apps of this framework, which is gone for good; after :meth:`stop`."""
        for client in self._clients:
            try:
                self._placeholders.remove(client)
                if self._query is not None:
                    self._query.remove(client)
                return
            except _Failure as error:
                failure = error
        shown = fields(datacenter=self._datacenter or None, error=repr(failure))
        log.warning("what stands for apps stays in Consul until its time is over %s", shown)

    def _run(self) -> None:
        looked_at = -PERIOD_S
        while not self._stopping.wait(CHANGES_S):
            in_full = time.monotonic() - looked_at >= PERIOD_S
            if not in_full and not self._placeholders.changed():
                continue
            for _ in self._clients:
                try:
                    self._placeholders.keep(self._clients[0], in_full=in_full)
                    if in_full:
                        self._look(self._clients[0])
                        looked_at = time.monotonic()
                    self._say("")
                    break
                except _Failure as error:
                    self._clients.append(self._clients.pop(0))
                    failure = error
            else:
                if not self._trouble:
                    shown = fields(datacenter=self._datacenter or None, error=repr(failure))
                    log.warning("no Consul answers, what lost hosts left stays until one does %s", shown)
                self._say(f"{self._who}: {type(failure).__name__}")
                self._stopping.wait(PAUSE_S)

    def _say(self, trouble: str) -> None:
        begins_or_ends = bool(trouble) != bool(self._trouble)
        self._trouble = trouble
        if begins_or_ends:
            self._on_change()

    def _look(self, client: consul.Consul) -> None:
        self._sweep(client)
        self._placeholders.sweep(client)
        if self._query is not None:
            self._query.keep(client)
        entries = client.health.service(names.BALANCER_SERVICE)[1]
        left = left_out((entry for entry in entries if _passes(entry)), self._datacenter)
        found = balancers(entries, self._datacenter)
        changed = (left, found) != (self._left_out, self._balancers)
        self._left_out, self._balancers = left, found
        if changed:
            self._on_change()

    def _sweep(self, client: consul.Consul) -> None:
        for node in sorted(dead_nodes(client.health.state("critical")[1])):
            answer = client.catalog.node(node)[1]
            framework_id, tasks = self._live_tasks()
            services = (answer or {}).get("Services", {})
            for service_id in orphans(services.values(), framework_id, tasks):
                left = {"ID": service_id, "Service": services[service_id]["Service"]}
                carry_out(client, [{"Service": {"Verb": "delete", "Node": node, "Service": left}}])
                log.info("deregistered what a lost host left %s", fields(node=node, service_id=service_id))


def dead_nodes(critical_checks: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the nodes whose Consul agent is gone, out of all critical checks."""
    return {check["Node"] for check in critical_checks if check["CheckID"] == "serfHealth"}


def orphans(services: Iterable[Mapping[str, Any]], framework_id: str, tasks: Collection[str]) -> Iterator[str]:
    """Yield the ids of services that belong to the framework and to none of its tasks."""
    for service in services:
        meta = service.get("Meta") or {}
        ours = names.SERVICE_TAG in service.get("Tags", ()) and framework_id and meta.get(names.META_FRAMEWORK) == framework_id
        if ours and service["ID"].startswith(f"{names.PREFIX}-") and meta.get(names.META_TASK) not in tasks:
            yield service["ID"]


def _passes(entry: Mapping[str, Any]) -> bool:
    return all(check["Status"] == "passing" for check in entry["Checks"])


def _name(entry: Mapping[str, Any], datacenter: str) -> str:
    """Return a balancer's name; one of another data center may have that of one here."""
    name = (entry["Service"].get("Meta") or {}).get(names.META_HOST) or entry["Node"]["Node"]
    return f"{name}@{datacenter}" if datacenter else str(name)


def balancers(entries: Iterable[Mapping[str, Any]], datacenter: str = "") -> tuple[Balancer, ...]:
    """Return the balancers in Consul's answer about their service, by name; ``datacenter``: another one than the own."""
    found = []
    for entry in entries:
        service = entry["Service"]
        if names.is_balancer(service):
            trouble = "; ".join(
                f"{check['Name']}: {check['Output'][:200].strip()}" for check in entry["Checks"] if check["Status"] != "passing"
            )
            address = service.get("Address") or entry["Node"]["Address"]
            found.append(Balancer(_name(entry, datacenter), address, service["Port"], trouble, datacenter))
    return tuple(sorted(found))


def left_out(balancers: Iterable[Mapping[str, Any]], datacenter: str = "") -> dict[str, list[str]]:
    """Return service -> ``balancer: reason`` of each balancer that leaves it out, out of Consul's answer about balancers."""
    found: dict[str, list[str]] = {}
    for entry in balancers:
        if not names.is_balancer(entry["Service"]):
            continue
        meta = entry["Service"].get("Meta") or {}
        for key, text in sorted(meta.items()):
            service, _, reason = text.partition(": ")
            if key.startswith(names.META_LEFT_OUT) and reason:
                found.setdefault(service, []).append(f"{_name(entry, datacenter)}: {reason}")
    return found


def _client(url: str, token: str, ca_file: str, cert_file: str, datacenter: str) -> consul.Consul:
    parts = urlsplit(url)
    default_port = 443 if parts.scheme == "https" else 8500
    return consul.Consul(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or default_port,
        scheme=parts.scheme or "http",
        token=token or None,
        dc=datacenter or None,
        verify=ca_file or True,
        cert=cert_file or None,
        connections_timeout=_ANSWER_S,
    )
