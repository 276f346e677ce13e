"""What a new leader says about the store it takes over, before and soon after it begins to act on it. Called by ``process``.

A store can tell by itself that parts of it are missing or altered. That it was put back as a whole to an earlier state shows
only in what Mesos still knows: tasks that were launched later. What to do about them is the core's part (its disaster brake).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from eratos.common import names
from eratos.common.log import fields
from eratos.marathon import bounds, ids

from .core import constraints, events
from .core.mesos import TaskState, TaskStatus
from .core.records import INSTANCES, Stored
from .core.state import State
from .store.errors import StoreUnusable

log = logging.getLogger(__name__)


def examine(stored: Stored) -> None:
    """Tell what is unusual about a store. Raises StoreUnusable where its tasks would be abandoned (rule 2)."""
    for key, why in stored.spoilt.items():
        log.error("a record cannot be read and is left as it is; its tasks are not touched %s", fields(key=key, error=why))
    for app in stored.apps:
        for refused in constraints.refusals(app):
            log.warning(
                "an app has a constraint that this version refuses: what runs goes on, nothing is placed until it is mended %s",
                fields(app=app.id, constraint=refused),
            )
        if ids.reserved(app.id):
            log.warning(
                "an app has a last name that the API now reserves: %s; rename it, and until then reach it at /v2/apps/%s",
                app.id,
                app.id.replace("/", "%2F"),
            )
        elif beyond := next(bounds.problems(app.to_json()), None):
            log.warning(
                "an app is larger than one may be now, and is kept until it is changed there: %s %s %s",
                app.id,
                beyond.path,
                beyond.message,
            )
    if unasked := sorted(app.id for app in stored.apps if app.unasked):
        log.warning(
            "these apps are served by balancers by the rules of an earlier version, until they are changed: state HAPROXY_GROUP, "
            "and HAPROXY_n_VHOST, HAPROXY_n_PATH or HAPROXY_n_MODE, where that is meant to stay so %s",
            fields(apps=",".join(unasked)),
        )
    if taken := sorted(app.id for app in stored.apps if names.RESERVED_SERVICES.intersection(app.service_names)):
        log.warning(
            "these apps have Consul services of names that are none of an app's, which holds up whoever looks for the true ones: "
            "move them to other ids %s",
            fields(apps=",".join(taken)),
        )
    if stored.framework_id:
        return
    instances = len(stored.instances) + sum(key.startswith(INSTANCES) for key in stored.spoilt)
    if instances:
        raise StoreUnusable(
            f"the store holds {instances} instances but no framework id, and their tasks would be abandoned under a new one: "
            "write the id that the Mesos master lists into the record framework_id, restore a backup, or name another store "
            "to begin as a new framework"
        )
    log.warning(
        "the store holds no framework, a new one begins: if this cluster had one, stop every scheduler and restore a backup"
    )


class UnrecordedTasks:
    """Listens for tasks that Mesos runs for this framework and that no record stands for.

    A launch is stored before it is sent (rule 6), so there should be none but those given up while their agent was away.
    """

    def __init__(self, read: Callable[[Callable[[State], bool]], bool]) -> None:
        """``read`` runs a function on the scheduler's state."""
        self._read = read
        self._found = 0

    def look(self, event: events.Event) -> None:
        """Look at an event from Mesos before the core does."""
        # Only answers to a reconciliation can speak of tasks from before this term that the store does not know.
        if not isinstance(event, events.StatusChanged) or event.status.reason != "REASON_RECONCILIATION":
            return
        if not _lives(event.status) or self._read(lambda state: _is_recorded(state, event.status.task_id)):
            return
        self._found += 1
        if self._found in (1, 10, 100, 1000, 10_000, 100_000):
            log.error(
                "Mesos runs tasks that the store has no record of: one now and then was given up while its agent was away, many "
                "mean that the store was put back to an earlier state; see `eratos brake show` %s",
                fields(so_far=self._found, task_id=event.status.task_id),
            )


def _lives(status: TaskStatus) -> bool:
    return not status.state.terminal and status.state not in (TaskState.UNREACHABLE, TaskState.UNKNOWN)


def _is_recorded(state: State, task_id: str) -> bool:
    parsed = names.parse_task_id(task_id)
    if parsed is None:
        return False
    instance = state.instances.get(parsed[0])
    launched = instance is not None and not instance.waiting and instance.task_id == task_id
    return launched or INSTANCES + parsed[0] in state.spoilt
