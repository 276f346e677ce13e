"""Keeps an entry in Consul's catalogue for each balanced service of each app: what :mod:`placeholders` decides.

Called by the catalogue.

Level-triggered: what is there is read now and then in full, so that a Consul that lost its data has everything back, and in
between only what the scheduler changed is written.

Needs of Consul's ACL: ``node:write`` for the framework's own node, and ``service:write``; for the nodes of all frameworks, where
what is left of those that are gone for good is to be removed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import consul
from consul.callback import CB

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.marathon.app import App

from . import placeholders
from .placeholders import Placeholder, timestamp

log = logging.getLogger(__name__)

#: Consul takes 64 operations in a transaction, or 128; each entry needs two, and the node one.
ENTRIES_AT_ONCE = 30
#: An app that is gone keeps its entries for so long: a delete and a create may be one change.
GONE_S = 10.0
#: The node is written again when this share of its time is over, so that few changes reach Consul.
RENEW_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the scheduler has: its framework's id, its apps, and the ids of apps that still have instances."""

    framework_id: str
    apps: Mapping[str, App]
    with_instances: Collection[str]
    weights: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  #: app -> of its servers by version, where they differ


class PlaceholderKeeper:
    """The entries of one framework. For one thread."""

    def __init__(self, fleet: Callable[[], Fleet], failover_timeout_s: float, clock: Callable[[], float] = time.time) -> None:
        """``failover_timeout_s``: how long Mesos keeps the framework while no scheduler is there."""
        self._fleet = fleet
        self._failover_timeout_s = failover_timeout_s
        self._clock = clock
        self._until = ""
        self._told: set[str] = set()
        self._seen: Fleet | None = None
        self._by_app: dict[str, tuple[App, Mapping[str, int], tuple[Placeholder, ...]]] = {}
        self._there: dict[str, tuple[Placeholder, str]] = {}
        self._gone_at: dict[str, float] = {}

    def changed(self) -> bool:
        """Return whether the scheduler has other apps than at the last :meth:`keep`, or some that go have gone."""
        return self._gone_at != {} or self._fleet() != self._seen

    def keep(self, client: consul.Consul, *, in_full: bool) -> None:
        """Make the entries what they should be; ``in_full``: look at what is there first.

        Raises TemporaryError and the errors of Consul's library.
        """
        fleet = self._fleet()
        if not fleet.framework_id:
            return
        if in_full:
            answer = client.catalog.node(placeholders.node(fleet.framework_id))[1] or {}
            self._there = placeholders.present((answer.get("Services") or {}).values())
            self._until = ((answer.get("Node") or {}).get("Meta") or {}).get(names.META_UNTIL, "")
        wanted = [*self._of_apps(fleet), *self._of_gone(fleet)]
        now = self._clock()
        since = timestamp(now)
        changes = list(placeholders.operations(wanted, self._there, fleet.framework_id, since))
        until = timestamp(now + self._failover_timeout_s)
        if wanted and not changes and self._until < timestamp(now + (1 - RENEW_SHARE) * self._failover_timeout_s):
            changes = [[]]
        for begin in range(0, len(changes), ENTRIES_AT_ONCE):
            part = [operation for change in changes[begin : begin + ENTRIES_AT_ONCE] for operation in change]
            carry_out(client, [placeholders.node_operation(fleet.framework_id, until), *part])
            self._until = until
        if any(changes):
            log.info("the catalogue's entries of apps were changed %s", fields(changes=len(changes), entries=len(wanted)))
            there = {entry.service_id: entry for entry in wanted}
            self._there = {key: (entry, self._since(key, entry, since)) for key, entry in there.items()}
        self._seen = fleet

    def remove(self, client: consul.Consul) -> None:
        """Remove the entries of this framework, which is gone for good. Raises the errors of :meth:`keep`."""
        framework_id = self._fleet().framework_id
        if framework_id:
            carry_out(client, [placeholders.removal(framework_id)])
            log.info("the catalogue's entries of this framework's apps were removed %s", fields(framework_id=framework_id))

    def sweep(self, client: consul.Consul) -> None:
        """Remove the entries of frameworks that are gone for good. Raises the errors of :meth:`keep`."""
        nodes = client.catalog.nodes(filter_expr=f'Node matches "^{names.PLACEHOLDER_NODE}"')[1]
        own = self._fleet().framework_id
        for framework_id, removal in placeholders.left(nodes, timestamp(self._clock())):
            if framework_id == own:
                continue
            try:
                carry_out(client, [removal])
                log.info("removed what a framework that is gone for good left in Consul %s", fields(framework_id=framework_id))
            except consul.ConsulException as error:
                if framework_id not in self._told:
                    log.warning(
                        "what a framework that is gone for good left in Consul holds its routes and cannot be removed: "
                        "does the token have node:write for it? %s",
                        fields(node=placeholders.node(framework_id), error=error),
                    )
                self._told.add(framework_id)

    def _since(self, key: str, entry: Placeholder, new: str) -> str:
        found, since = self._there.get(key, (None, new))
        return since if found is not None and found.app_id == entry.app_id else new

    def _of_apps(self, fleet: Fleet) -> list[Placeholder]:
        """Return the entries of the apps that there are; worked out anew for those that have changed only."""
        by_app = {}
        for app_id, app in fleet.apps.items():
            known, weights = self._by_app.get(app_id), fleet.weights.get(app_id, placeholders.NO_WEIGHTS)
            if known and known[0] is app and known[1] == weights:
                by_app[app_id] = known
            else:
                by_app[app_id] = app, weights, placeholders.of_app(app, fleet.framework_id, weights)
        self._by_app = by_app
        return [entry for _, _, entries in by_app.values() for entry in entries]

    def _of_gone(self, fleet: Fleet) -> list[Placeholder]:
        """Return the entries of apps that are gone, while they have instances and for a while afterwards."""
        now = self._clock()
        gone = [entry for entry, _ in self._there.values() if entry.app_id not in fleet.apps]
        taken = {service for app in fleet.apps.values() for service in app.service_names}
        kept = []
        gone_at = {}
        for entry in gone:
            at = now if entry.app_id in fleet.with_instances else self._gone_at.get(entry.service_id, now)
            # Never in the way of an app that has the name now.
            if now - at < GONE_S and entry.service not in taken:
                gone_at[entry.service_id] = at
                kept.append(entry)
        self._gone_at = gone_at
        return kept


def carry_out(client: consul.Consul, operations: list[dict[str, Any]]) -> None:
    """Change the catalogue, whole or not at all. Raises TemporaryError and the errors of Consul's library.

    The library's own calls that change the catalogue say the token in their body as well, which Consul refuses.
    """
    params = [("dc", client.dc)] if client.dc else None
    done = client.http.put(CB.boolean(), "/v1/txn", params=params, headers=client.prepare_headers(), data=json.dumps(operations))
    if not done:
        raise TemporaryError("Consul did not carry out a transaction on its catalogue")
