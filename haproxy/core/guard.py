"""The render guard: which servers a new configuration may not simply lose. Pure.

Servers vanish from Consul for three reasons: somebody stopped them on purpose, they died, or Consul itself is unwell
and answers too little. The first is confirmed beforehand by the executor (:class:`Confirmations`), the second shows as
a refused connection, and what is left is held back for a while: a balancer must not drop servers that work because its
source of names does not (docs/adr/0005-render-guard.md).

Each Consul data center can be unwell alone, so losses are measured in each by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

from eratos.common.names import PREFIX

from .services import Backend, Claim, Model, contest

#: How long a confirmation counts: longer than any way from the executor through Consul to the candidate.
CONFIRMED_FOR_S = 60.0
#: Confirmations of one caller that count at a time, and callers: a caller gone wild displaces its own, and eats no memory.
CONFIRMED_MAX = 2_000
CALLERS_MAX = 500


class Confirmations:
    """Ids of servers whose removal was announced. Not thread-safe; its owner holds a lock."""

    def __init__(self) -> None:
        self._until_s: dict[str, dict[str, float]] = {}  #: caller -> id -> until when

    def add(self, ids: Iterable[str], caller: str, now_s: float) -> None:
        """Remember that these servers are about to be removed on purpose, as this caller says."""
        # A dict keeps the order of insertion: the oldest come first.
        said = self._until_s[caller] = self._until_s.pop(caller, {})
        for server in ids:
            said.pop(server, None)
            said[server] = now_s + CONFIRMED_FOR_S
        while len(said) > CONFIRMED_MAX:
            del said[next(iter(said))]
        while len(self._until_s) > CALLERS_MAX:
            del self._until_s[next(iter(self._until_s))]

    def current(self, now_s: float) -> frozenset[str]:
        """Return the ids whose announcement still counts."""
        left = {caller: {s: until_s for s, until_s in said.items() if until_s > now_s} for caller, said in self._until_s.items()}
        self._until_s = {caller: said for caller, said in left.items() if said}
        return frozenset(server for said in self._until_s.values() for server in said)


def by_datacenter(running: Mapping[str, Iterable[str]], live: Model, wanted: Model) -> dict[str, dict[str, set[str]]]:
    """Return data center -> backend -> servers that run; ``""`` is the balancer's own.

    Those of a data center that is not to stand in for a backend any more are left out: nobody has lost them.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for backend, servers in running.items():
        was, now = live.backends.get(backend, Backend()), wanted.backends.get(backend)
        stands_in = (now or was).failover.split(",")
        datacenters = was.datacenters | (now.datacenters if now else {})
        for server in servers:
            datacenter = datacenters.get(server, "")
            if not datacenter or datacenter in stands_in:
                found.setdefault(datacenter, {}).setdefault(backend, set()).add(server)
    return found


def sharp_losses(
    running: Mapping[str, Iterable[str]],
    wanted: Mapping[str, Iterable[str]],
    confirmed: Set[str],
    held: Mapping[str, Set[str]],
) -> dict[str, set[str]]:
    """Return backend -> servers whose removal needs a second look before it is made.

    A loss is sharp where, confirmed removals left aside, a pool is emptied or one of three or more loses over half. ``held``
    are the servers already held back: they stay so for as long as they are missing, but a loss is not measured with them, or
    one sharp loss would make each ordinary one after it sharp as well.
    """
    sharp: dict[str, set[str]] = {}
    for backend, servers in running.items():
        before = set(servers) - confirmed
        lost = before - set(wanted.get(backend, ()))
        known = lost & held.get(backend, frozenset())
        fresh_before, fresh_lost = len(before) - len(known), len(lost) - len(known)
        # New servers do not count: all servers of a pool replaced at once without a word is as odd as all of them gone.
        emptied = bool(before) and lost == before
        shrunken = fresh_before >= 3 and 2 * fresh_lost > fresh_before
        if looked_at := lost if emptied or shrunken else known:
            sharp[backend] = looked_at
    return sharp


def succeeded(running: Mapping[str, Mapping[str, str]], now_at: Mapping[str, Set[str]]) -> set[tuple[str, str]]:
    """Return backend and id of the servers at whose address Consul knows another instance by now: what accepts there is that one.

    ``now_at`` has the ids of the instances that pass, by address.
    """
    return {
        (backend, server)
        for backend, servers in running.items()
        for server, address in servers.items()
        if now_at.get(address, frozenset()) - {server}
    }


def wholesale(running: Mapping[str, Iterable[str]], lost: Mapping[str, Iterable[str]]) -> bool:
    """Return whether so many living servers are lost that most likely not their apps are unwell, but Consul has lost its data.

    That is over half of all, of several apps; of one app alone, every server that there is.
    """
    count = sum(len(set(servers)) for servers in running.values())
    missing = sum(len(set(servers)) for servers in lost.values())
    return missing > 0 and (2 * missing > count if len(lost) > 1 else missing == count)


def forgotten(lost: Mapping[str, Iterable[str]], known: Set[str]) -> set[str]:
    """Return the lost servers that executors registered and Consul does not know at all, not even as critical.

    Executors announce whatever they take out of rotation alive: so nobody has, and Consul's agents bring it back.
    """
    return {server for servers in lost.values() for server in servers if server.startswith(f"{PREFIX}-")} - known


class Holds:
    """Until when each server is held back. Not thread-safe; its owner holds a lock."""

    def __init__(self, hold_s: float, wholesale_s: float) -> None:
        """The longest time for a loss as registrars make it, and for one that Consul has made."""
        self._hold_s = hold_s
        self._wholesale_s = max(hold_s, wholesale_s)
        self._since_s: dict[tuple[str, str], float] = {}
        self._for_s: dict[tuple[str, str], float] = {}

    def known(self) -> dict[str, set[str]]:
        """Return backend -> the servers held back at the last look, those whose time was up included."""
        return _by_backend(self._since_s)

    def update(self, alive: Mapping[str, Iterable[str]], now_s: float, by_consul: Set[str] = frozenset()) -> dict[str, set[str]]:
        """Take the servers that are lost and yet alive; return those to hold back, without those held long enough.

        The time runs from the first loss: a stream of new candidates does not prolong it. Those that Consul has lost,
        ``by_consul`` (:func:`wholesale`, :func:`forgotten`), keep the longer time also when most of the others are back.
        """
        current = {(backend, server) for backend, servers in alive.items() for server in servers}
        self._since_s = {key: self._since_s.get(key, now_s) for key in current}
        self._for_s = {key: self._wholesale_s if key[1] in by_consul else self._for_s.get(key, self._hold_s) for key in current}
        return _by_backend(key for key, since_s in self._since_s.items() if now_s - since_s < self._for_s[key])


def with_held(wanted: Model, live: Model, held: Mapping[str, Mapping[str, str]]) -> Model:
    """Return a model with servers held back, backend -> server -> address, each with its weight and places as in ``live``.

    Where a whole service is lost although its servers live, so are others that are not asked for just now, and what stands for
    apps without instances. So all that ``wanted`` lacks comes back with the routes and ports that it had; of those who want the
    same now, a better claim gets it. Backends that neither model has are left out.
    """
    returning = live.backends.keys() - wanted.backends.keys() if held.keys() - wanted.backends.keys() else set[str]()
    emptied: dict[str, Any] = {"servers": {}, "weights": {}, "zones": {}, "versions": {}, "datacenters": {}}
    backends = wanted.backends | {name: replace(live.backends[name], **emptied) for name in returning}
    for name in held.keys() & backends.keys():
        backend, was = backends[name], live.backends.get(name, Backend())
        weights = backend.weights | {server: was.weights[server] for server in held[name] if server in was.weights}
        servers = dict(sorted({**backend.servers, **held[name]}.items()))
        zones = backend.zones | {server: was.zones[server] for server in held[name] if server in was.zones}
        versions = backend.versions | {server: was.versions[server] for server in held[name] if server in was.versions}
        datacenters = backend.datacenters | {s: was.datacenters[s] for s in held[name] if s in was.datacenters}
        kept: dict[str, Any] = {"weights": weights, "zones": zones, "versions": versions, "datacenters": datacenters}
        backends[name] = replace(backend, servers=servers, **kept)
    refused = list(wanted.refused)

    def merged(now: Mapping[str, Claim], before: Mapping[str, Claim], what: str) -> dict[str, Claim]:
        # Who had it comes first: a claim that is no better does not take it.
        claims = {key: claim for key, claim in before.items() if claim.name in returning}
        refused.extend(filter(None, [contest(claims, key, claim, what) for key, claim in now.items()]))
        return claims

    routes, ports = merged(wanted.routes, live.routes, ""), merged(wanted.ports, live.ports, "port ")
    return Model(dict(sorted(backends.items())), routes, ports, tuple(refused))


def _by_backend(keys: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    servers: dict[str, set[str]] = {}
    for backend, server in keys:
        servers.setdefault(backend, set()).add(server)
    return servers
