"""What apps claim of the balancers, host names, paths and service ports, and who has it already. Pure.

Balancers themselves leave out whoever comes second, so that nothing stated behind the API's back can harm; but a user
who asks for what is taken should hear it at once, with both names. Only what labels state is a claim: an app without
vhost and path answers on ``/`` where nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from eratos.marathon.app import App
from eratos.marathon.errors import Problem
from eratos.marathon.routing import label


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
        if (self.what, self.weight) != (other.what, other.weight) or self.groups.isdisjoint(other.groups):
            return False
        return not (self.tags and other.tags and self.tags.isdisjoint(other.tags))


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
    """Yield what an app's labels claim."""
    for index, routing in enumerate(app.routings):
        if routing.enabled == "false":
            continue
        groups, tags = frozenset(routing.groups), frozenset(app.consul_tags)
        if routing.mode == "tcp":
            yield Claim(app.id, index, groups, tags, f"port {routing.port}", 0, _port_place(app, index))
        elif place := label(app.labels, index, "PATH") or label(app.labels, index, "VHOST"):
            for host in routing.hosts or ("",):
                what = f"{host}{routing.path.rstrip('/')}" or "/"
                yield Claim(app.id, index, groups, tags, what, routing.weight, f"/labels/{place}")


def _port_place(app: App, index: int) -> str:
    if key := label(app.labels, index, "PORT"):
        return f"/labels/{key}"
    return f"/portDefinitions({index})/port" if app.network == "host" else f"/container/portMappings({index})/servicePort"


def _problem(claim: Claim, holder: Claim) -> Problem:
    of = holder.app_id if holder.app_id != claim.app_id else f"its own port {holder.index}"
    instead = "choose another, or another group" if claim.what.startswith("port ") else "choose another, another group or weight"
    return Problem(claim.place, f"claims {claim.what} for {claim.app_id}, and {of} has it already: {instead}")
