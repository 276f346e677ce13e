"""What apps claim of the balancers, host names, paths and service ports, and who has it already. Pure.

Balancers themselves leave out the second one, so that nothing stated behind the API's back can harm; but a user
who asks for what is taken should hear it at once, with both names. What an app asks for and can do without is no claim: the
service port of one that is reached by host name or path, and ``/`` for one that states neither. A notice says who gets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from eratos.common.routing import Routing
from eratos.marathon.app import App
from eratos.marathon.errors import Problem
from eratos.marathon.routing import label

#: Ports that balancers have for themselves unless their settings say otherwise: traffic, TLS, statistics, companion, Consul.
BALANCER_PORTS = frozenset({"8000", "8443", "9090", "9100", "8500"})

#: Stand for a claim with any tags, and for one without.
_ANY, _NONE = ("any",), ("none",)


@dataclass(frozen=True, slots=True)
class Claim:
    """One host name with path, or one service port, for one port of an app."""

    app_id: str
    index: int
    groups: frozenset[str]  #: groups of balancers
    tags: frozenset[str]  #: in Consul, by which a balancer may choose among services of its group
    what: str  #: ``shop.example/cart``, ``port 5432``
    weight: int  #: of several claims to the same, the one with the greatest is served
    place: str  #: of the label or field that states it


class Holders:
    """The claims there are, found by what they claim: at the cost of one look, however many apps claim the same.

    A balancer may meet two claims if they have a group in common, and a tag, or one of them none: apps with tags that have none
    in common, such as ``staging`` and ``prod``, are meant for different balancers.
    """

    def __init__(self, claims: Iterable[Claim] = ()) -> None:
        #: The first claim of each of two apps, by what it is found by: no app asks for others than itself and one more.
        self._found: dict[tuple[object, ...], list[Claim]] = {}
        for claim in claims:
            self.add(claim)

    def add(self, claim: Claim) -> None:
        for group in claim.groups:
            for tag in (_ANY, *(claim.tags or (_NONE,))):
                for weight in (None, claim.weight):
                    there = self._found.setdefault((claim.what, weight, group, tag), [])
                    if not there or (len(there) == 1 and there[0].app_id != claim.app_id):
                        there.append(claim)

    def rival(self, claim: Claim) -> Claim | None:
        """Return a claim to the same with the same weight that a balancer which chooses well may still meet beside this one."""
        return next(self._meeting(claim, claim.weight), None)

    def other(self, claim: Claim) -> Claim | None:
        """Return another app's claim to the same, of any weight, that a balancer may meet."""
        return next((found for found in self._meeting(claim, None) if found.app_id != claim.app_id), None)

    def _meeting(self, claim: Claim, weight: int | None) -> Iterator[Claim]:
        for group in sorted(claim.groups):
            for tag in (_NONE, *sorted(claim.tags)) if claim.tags else (_ANY,):
                yield from self._found.get((claim.what, weight, group, tag), ())


def problems(apps: Mapping[str, App], wanted: Iterable[App]) -> Iterator[Problem]:
    """Find claims of wanted apps that another app, or another port, has already. ``apps`` are those there are."""
    wanted = tuple(wanted)
    # What an app has, it keeps: it must be possible to scale an app whose claim somebody else shares.
    kept = {claim for app in wanted if app.id in apps for claim in claims(apps[app.id])}
    asked = [claim for app in wanted for claim in claims(app)]
    if all(claim in kept for claim in asked):
        return
    whats = {claim.what for claim in asked}
    others = sorted(apps.keys() - {app.id for app in wanted})
    holders = Holders(_to(whats, (apps[app_id] for app_id in others)))
    for claim in asked:
        holder = holders.rival(claim)
        if holder and claim not in kept:
            yield _problem(claim, holder)
        holders.add(claim)


def claims(app: App) -> Iterator[Claim]:
    """Yield what an app claims."""
    for index, routing in enumerate(app.routings):
        groups, tags = frozenset(routing.groups), frozenset(app.service_tags[index])
        if routing.port and not _spares_port(app, index):
            yield Claim(app.id, index, groups, tags, f"port {routing.port}", 0, _port_place(app, index))
        if routing.routed and routing.stated:
            place = label(app.labels, index, "PATH") or label(app.labels, index, "VHOST")
            for host in routing.hosts or ("",):
                what = f"{host}{routing.path.rstrip('/')}" or "/"
                yield Claim(app.id, index, groups, tags, what, routing.weight(host), f"/labels/{place}")


def _spares_port(app: App, index: int) -> bool:
    """Return whether a port is reached in another way as well, and its service port was not stated for balancers."""
    return app.routings[index].stated and not label(app.labels, index, "PORT")


def holders(apps: Mapping[str, App], about: Iterable[App]) -> Holders:
    """Return the claims there are to whatever :func:`notices` of some apps may ask for."""
    whats = {what for app in about for what in _looked_for(app)}
    return Holders(_to(whats, apps.values()) if whats else ())


def _looked_for(app: App) -> Iterator[str]:
    for routing in app.routings:
        if routing.port:
            yield f"port {routing.port}"
        if routing.routed and not routing.stated:
            yield "/"


def _to(whats: Set[str], apps: Iterable[App]) -> Iterator[Claim]:
    """Yield what apps claim of some things. To make every claim of thousands of apps takes most of the time of a change."""
    for app in apps:
        if any(what in whats for routing in app.routings for what in _named(routing)):
            yield from (claim for claim in claims(app) if claim.what in whats)


def _named(routing: Routing) -> Iterator[str]:
    if routing.port:
        yield f"port {routing.port}"
    if routing.routed and routing.stated:
        path = routing.path.rstrip("/")
        yield from (f"{host}{path}" or "/" for host in routing.hosts or ("",))


def notices(holders: Holders, app: App) -> Iterator[str]:
    """Yield, for each port of an app, what it gets from the balancers, and who has what it does not get."""
    for index, routing in enumerate(app.routings):
        yield f"port {index}: {'; '.join((routing.described(), *_lacks(app, index, routing, holders)))}"


def _lacks(app: App, index: int, routing: Routing, holders: Holders) -> Iterator[str]:
    groups, tags = frozenset(routing.groups), frozenset(app.service_tags[index])

    def holder(what: str) -> str:
        other = holders.other(Claim(app.id, index, groups, tags, what, 0, ""))
        return other.app_id if other else ""

    if routing.port in BALANCER_PORTS:
        yield f"balancers use port {routing.port} themselves unless their settings say otherwise"
    elif routing.port and (other := holder(f"port {routing.port}")):
        yield f"port {routing.port} is {other}'s"
    if routing.routed and not routing.stated and (other := holder("/")):
        yield f"/ is {other}'s: state HAPROXY_{index}_VHOST or HAPROXY_{index}_PATH"


def _port_place(app: App, index: int) -> str:
    if key := label(app.labels, index, "PORT"):
        return f"/labels/{key}"
    return f"/portDefinitions({index})/port" if app.network == "host" else f"/container/portMappings({index})/servicePort"


def _problem(claim: Claim, holder: Claim) -> Problem:
    of = holder.app_id if holder.app_id != claim.app_id else f"its own port {holder.index}"
    instead = "choose another, or another group" if claim.what.startswith("port ") else "choose another, another group or weight"
    return Problem(claim.place, f"claims {claim.what} for {claim.app_id}, and {of} has it already: {instead}")
