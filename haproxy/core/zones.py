"""How much of its traffic a balancer sends to instances of its own zone, as weights of servers. Pure.

Every zone is taken to bring as many requests as any other. A zone with its fair share of an app's ready instances, or more, then
serves its own requests alone: none of its instances gets more than if nobody looked at zones. One with less serves what its
instances would get in that case, and what is beyond goes to the zones that have more than their share, to each by how much more.
So each gets its part of all requests, as long as zones do bring equally many. The rule has no steps: where an instance comes or
goes, a little traffic moves. docs/adr/0033-near-servers-by-weight.md has the reasons.

Instances count by the weights that they state. Those that say no zone count as one zone of their own. Where an app says how much
each of its versions gets, every balancer sends that much to each of them, and zones count within a version alone.

Data centers whose instances stand in for each other share out by the same rule, and then zones within the balancer's own
(docs/adr/0051-far-servers-stand-in.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Final

from .services import USUAL_WEIGHT, Backend, Model

#: The greatest weight that HAProxy and nginx have in common.
WEIGHT_MAX: Final = 256


def times(capacity: Mapping[str, int], own: str) -> dict[str, float]:
    """Return for each zone how many times as much an instance there gets of a balancer's requests as with zones ignored.

    ``capacity``: the ready instances of each zone, by their weights; zones without any do not count, but for ``own``, the
    balancer's. No value is above the number of zones.
    """
    ready = {zone: size for zone, size in capacity.items() if size > 0}
    zones, total, near = len(ready.keys() | {own}), sum(ready.values()), ready.get(own, 0)
    # The fair share is total / zones; in whole numbers, so that it is met or not.
    beyond = {zone: max(0, size * zones - total) for zone, size in ready.items()}
    lack = max(0, total - near * zones)
    away = lack / sum(beyond.values()) if lack else 0.0
    found = {zone: away * beyond[zone] / size for zone, size in ready.items()}
    return found | ({own: min(float(zones), total / near)} if near else {})


def weights(backend: Backend, dead: Set[str]) -> dict[str, str]:
    """Return the weight of each server of a backend that prefers a zone, or has others stand in; ``dead`` do not answer just now.

    It is 1 at least: where the last one of a zone dies, those elsewhere are there at once, before anybody has decided anew. Where
    a zone serves its own requests alone, and all state the same weight, that is one request in 256 for each other zone at most.
    It is 0 where the version's is: those wait for their turn, wherever they are.
    """
    by_version: dict[str, dict[str, int]] = {}
    for server in backend.servers:
        weight = int(backend.weights.get(server, USUAL_WEIGHT))
        by_version.setdefault(backend.versions.get(server, ""), {})[server] = weight
    wanted: dict[str, float] = {}
    for stated in by_version.values():
        wanted |= _within(stated, backend, dead)
    most = max(wanted.values())
    return {
        server: str(max(1, round(WEIGHT_MAX * weight / most)) if backend.weights.get(server) != "0" else 0)
        for server, weight in wanted.items()
    }


def _within(stated: Mapping[str, int], backend: Backend, dead: Set[str]) -> dict[str, float]:
    """Return how much each of some servers gets of what all of these get; ``stated`` are their weights, the sum of it all."""
    wanted = {server: float(weight) for server, weight in stated.items()}

    def share_out(among: Iterable[str], place_of: Mapping[str, str], own: str) -> None:
        """Have servers share what they get out by the places that they are in; ``own``: the balancer's."""
        weight_of = {server: stated[server] for server in among}
        capacity: Counter[str] = Counter()
        # All of them cannot be spared, whatever is wrong with them.
        for server in (weight_of.keys() - dead) or weight_of:
            capacity[place_of.get(server, "")] += weight_of[server]
        found = times(capacity, own)
        for server in weight_of:
            wanted[server] *= found.get(place_of.get(server, ""), 0.0)

    if backend.failover:
        share_out(stated, backend.datacenters, "")
    if backend.zone:
        share_out((server for server in stated if server not in backend.datacenters), backend.zones, backend.zone)
    return wanted


def weighed(model: Model, dead: Set[tuple[str, str]] = frozenset()) -> Model:
    """Return a model in which servers have weights by their zones and data centers. ``dead``: backend and server."""
    near = {
        name: replace(backend, shares=weights(backend, {server for of, server in dead if of == name}))
        for name, backend in model.backends.items()
        if (backend.zone or backend.failover) and backend.servers
    }
    return replace(model, backends=model.backends | near)
