"""What stands in Consul for each balanced port of each app, whether it has instances or not. Pure.

Balancers make routes of what Consul knows. An app whose only instance has just died, or that is scaled to 0, has nothing there,
and its visitors would be answered by whoever has the path above or ``/``. So the leader keeps an entry in the catalogue for each
service: it has the routes, a check that is never well, and so no server.

All entries of a framework are on one node of their own, which no agent has: nothing but the leader changes it. They say since
when they are there, so that of two apps which claim the same with the same weight, the older one keeps it.

A framework may go for good, and nobody leads that would remove its entries. Mesos ends a framework whose scheduler stays away
for its failover timeout, and all its tasks. So the node says until when that cannot be, and later any leader may remove it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eratos.common import names
from eratos.marathon.app import App

NO_WEIGHTS: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One entry."""

    service: str
    app_id: str
    tags: tuple[str, ...]
    meta: tuple[tuple[str, str], ...]  #: without since when

    @property
    def service_id(self) -> str:
        return names.PLACEHOLDER + self.service


def node(framework_id: str) -> str:
    """Return the name of the node that a framework's entries are on."""
    return names.PLACEHOLDER_NODE + framework_id.lower()


def of_app(app: App, framework_id: str, weights: Mapping[str, int] = NO_WEIGHTS) -> tuple[Placeholder, ...]:
    """Return an app's entries, one for each balanced port. ``weights``: of the servers of each version, where they differ."""
    said = ",".join(f"{version}={weight}" for version, weight in sorted(weights.items()))
    shares = {names.META_WEIGHTS: said} if said else {}
    return tuple(
        Placeholder(
            service,
            app.id,
            (names.SERVICE_TAG, *tags),
            tuple(
                sorted(
                    {
                        **meta,
                        **shares,
                        names.META_FRAMEWORK: framework_id,
                        names.META_APP: app.id,
                        names.META_PLACEHOLDER: "true",
                    }.items()
                )
            ),
        )
        for service, tags, routing, meta in zip(app.service_names, app.service_tags, app.routings, app.routing_meta, strict=True)
        if routing.balanced
    )


def present(services: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Placeholder, str]]:
    """Read what is on the node: service id -> the entry, and since when it is there. What is no entry is left out."""
    found = {}
    for service in services:
        meta = dict(service.get("Meta") or {})
        since = meta.pop(names.META_SINCE, "")
        if str(service.get("ID", "")).startswith(names.PLACEHOLDER) and since:
            entry = Placeholder(
                str(service["Service"]),
                meta.get(names.META_APP, ""),
                tuple(service.get("Tags") or ()),
                tuple(sorted(meta.items())),
            )
            found[service["ID"]] = (entry, since)
    return found


def operations(
    wanted: Iterable[Placeholder], there: Mapping[str, tuple[Placeholder, str]], framework_id: str, since: str
) -> Iterator[list[dict[str, Any]]]:
    """Yield the operations of Consul's ``/v1/txn`` that make what is there what is wanted, those of one entry together.

    ``since``: what new entries say, a text that sorts by time.
    """
    on = node(framework_id)
    by_id = {entry.service_id: entry for entry in wanted}
    for service_id, entry in by_id.items():
        found, older = there.get(service_id, (None, since))
        if found == entry:
            continue
        # Another app's name, taken over: it is as new as any.
        at = older if found is not None and found.app_id == entry.app_id else since
        body = {
            "ID": service_id,
            "Service": entry.service,
            "Tags": list(entry.tags),
            "Meta": {**dict(entry.meta), names.META_SINCE: at},
        }
        check = {
            "Node": on,
            "CheckID": f"{service_id}-check",
            "Name": "stands for an app's instances, and is none",
            "Status": "critical",
            "ServiceID": service_id,
        }
        yield [{"Service": {"Verb": "set", "Node": on, "Service": body}}, {"Check": {"Verb": "set", "Check": check}}]
    for service_id in there.keys() - by_id.keys():
        body = {"ID": service_id, "Service": there[service_id][0].service}
        yield [{"Service": {"Verb": "delete", "Node": on, "Service": body}}]


def node_operation(framework_id: str, until: str) -> dict[str, Any]:
    """Return the operation that makes the node, or puts off its end. Its address leads nowhere: Consul wants one."""
    meta = {names.META_FRAMEWORK: framework_id, names.META_UNTIL: until}
    return {"Node": {"Verb": "set", "Node": {"Node": node(framework_id), "Address": "127.0.0.1", "Meta": meta}}}


def removal(framework_id: str) -> dict[str, Any]:
    """Return the operation that removes the node with all its entries."""
    return {"Node": {"Verb": "delete", "Node": {"Node": node(framework_id)}}}


def left(nodes: Iterable[Mapping[str, Any]], now: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the frameworks that are gone for good, and the operation that removes what is left of each, if that has not changed.

    ``nodes``: those that have a framework's entries; ``now``: a text that sorts by time.
    """
    for found in nodes:
        meta = found.get("Meta") or {}
        framework_id, until = meta.get(names.META_FRAMEWORK, ""), meta.get(names.META_UNTIL, "")
        if until and until < now and found["Node"] == node(framework_id):
            unchanged = {"Node": found["Node"], "ModifyIndex": found["ModifyIndex"]}
            yield framework_id, {"Node": {"Verb": "delete-cas", "Node": unchanged}}


def timestamp(at: float) -> str:
    """Return a time in seconds since the epoch as a text that sorts by time."""
    return f"{at * 1000:015.0f}"
