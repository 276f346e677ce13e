"""What apps claim of the balancers, host names, paths and service ports, and who has it already. Pure.

Balancers themselves leave out whoever comes second, so that nothing stated behind the API's back can harm; but a user
who asks for what is taken should hear it at once, with both names. What an app asks for and can do without is no claim: the
service port of one that is reached by host name or path, and ``/`` for one that states neither. Who gets it is told as a notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from eratos.marathon.app import App
from eratos.marathon.errors import Problem
from eratos.marathon.routing import Routing, label

#: Ports that balancers have for themselves unless their settings say otherwise: traffic, TLS, statistics, companion, Consul.
BALANCER_PORTS = frozenset({"8000", "8443", "9090", "9100", "8500"})


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

    def rivals(self, other: Claim) -> bool:
        """Tell whether a balancer that chooses well may still meet both claims.

        Apps with tags that have none in common, such as ``staging`` and ``prod``, are meant for different balancers.
        """
        return (self.what, self.weight) == (other.what, other.weight) and self.meets(other)

    def meets(self, other: Claim) -> bool:
        """Tell whether a balancer may meet both at all."""
        tagged_apart = self.tags and other.tags and self.tags.isdisjoint(other.tags)
        return not self.groups.isdisjoint(other.groups) and not tagged_apart


def problems(apps: Mapping[str, App], wanted: Iterable[App]) -> Iterator[Problem]:
    """Find claims of wanted apps that another app, or another port, has already. ``apps`` are those there are."""
    wanted = tuple(wanted)
    # What an app has, it keeps: it must be possible to scale an app whose claim somebody else shares.
    kept = {claim for app in wanted if app.id in apps for claim in claims(apps[app.id])}
    asked = [claim for app in wanted for claim in claims(app)]
    if all(claim in kept for claim in asked):
        return
    taken: dict[str, list[Claim]] = {}
    for app_id in sorted(apps.keys() - {app.id for app in wanted}):
        for claim in claims(apps[app_id]):
            taken.setdefault(claim.what, []).append(claim)
    for claim in asked:
        holders = taken.setdefault(claim.what, [])
        holder = next(filter(claim.rivals, holders), None)
        if holder and claim not in kept:
            yield _problem(claim, holder)
        holders.append(claim)


def claims(app: App) -> Iterator[Claim]:
    """Yield what an app claims."""
    for index, routing in enumerate(app.routings):
        groups, tags = frozenset(routing.groups), frozenset(app.consul_tags)
        if routing.port and not _spares_port(app, index):
            yield Claim(app.id, index, groups, tags, f"port {routing.port}", 0, _port_place(app, index))
        if routing.routed and routing.stated:
            place = label(app.labels, index, "PATH") or label(app.labels, index, "VHOST")
            for host in routing.hosts or ("",):
                what = f"{host}{routing.path.rstrip('/')}" or "/"
                yield Claim(app.id, index, groups, tags, what, routing.weight, f"/labels/{place}")


def _spares_port(app: App, index: int) -> bool:
    """Tell whether a port is reached in another way as well, and its service port was not stated for balancers."""
    return app.routings[index].stated and not label(app.labels, index, "PORT")


def notices(apps: Mapping[str, App], app: App) -> Iterator[str]:
    """Yield, for each port of an app, what it gets from the balancers, and who has what it does not get."""
    taken = [claim for other in apps.values() if other.id != app.id for claim in claims(other)]
    for index, routing in enumerate(app.routings):
        yield f"port {index}: {'; '.join((routing.described(), *_lacks(app, index, routing, taken)))}"


def of_changed(apps: Mapping[str, App], wanted: Iterable[App]) -> Iterator[str]:
    """Yield the notices of the apps among several that are new or changed, each with its app."""
    for app in wanted:
        if app.id not in apps or not apps[app.id].same_definition(app):
            for notice in notices(apps, app):
                yield f"{app.id} {notice}"


def _lacks(app: App, index: int, routing: Routing, taken: Iterable[Claim]) -> Iterator[str]:
    groups, tags = frozenset(routing.groups), frozenset(app.consul_tags)

    def holder(what: str) -> str:
        own = Claim(app.id, index, groups, tags, what, 0, "")
        return next((claim.app_id for claim in taken if claim.what == what and claim.meets(own)), "")

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
