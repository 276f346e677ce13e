"""What a new leader says about the store it takes over, before it begins to act on it. Called by ``process``.

A store can find by itself that parts of it are missing or altered. That it was put back as a whole to an earlier state shows
only in what Mesos still knows: tasks that were launched later. What to do about them is the core's part (its disaster brake).
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from eratos.common import names
from eratos.common.log import fields
from eratos.marathon import bounds, ids

from .access.policy import Policy
from .core import constraints
from .core.records import INSTANCES, Stored
from .store.errors import StoreUnusable

log = logging.getLogger(__name__)

#: Apps beyond the policy that are named, one line each; the others are counted.
BEYOND_NAMED_MOST = 100


def examine(stored: Stored, policy: Policy, roles: Collection[str] = ()) -> None:
    """Log what is unusual about a store. Raises StoreUnusable where its tasks would be abandoned (rule 2).

    ``roles``: for which there will be offers; empty: whichever apps state.
    """
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
    beyond_policy = {app.id: problem for app in stored.apps for problem in policy.problems(app)}
    for app_id, problem in list(beyond_policy.items())[:BEYOND_NAMED_MOST]:
        log.warning(
            "an app has what the policy refuses, and goes on until it is changed %s",
            fields(app=app_id, field=problem.path, reason=problem.message),
        )
    if len(beyond_policy) > BEYOND_NAMED_MOST:
        log.warning("%d more apps have what the policy refuses", len(beyond_policy) - BEYOND_NAMED_MOST)
    if roles and (roleless := sorted(app.id for app in stored.apps if app.role is not None and app.role not in roles)):
        log.warning(
            "these apps have a Mesos role that is not asked for, and go on in the default one: list it in --group-roles %s",
            fields(apps=", ".join(roleless)),
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
