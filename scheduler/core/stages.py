"""How much of a new version is wanted for now: as its canary's stage, its share of the traffic, or a pause says.

While a change is limited its app is wanted in two versions, and balancers weigh the servers of both.
"""

from __future__ import annotations

from eratos.marathon import labels
from eratos.marathon.app import App

from . import rollout, versions
from .records import ChangeRecord
from .state import State


def update(state: State, change: ChangeRecord, before: App) -> None:
    """Have an app wanted in two versions for as long as its change is limited, by a canary or while it is paused."""
    app = state.apps.get(change.app_id)
    if app is not None and before.version != app.version and limit(state, change.app_id) is not None:
        state.staged[change.app_id] = before
    else:
        state.staged.pop(change.app_id, None)


def limit(state: State, app_id: str) -> int | None:
    """Return how many instances of what is wanted an app may have for now; None: all of them."""
    change, app = state.changes.get(app_id), state.apps.get(app_id)
    if change is None or app is None or not change.begun:
        return None
    two = change.before not in ("", app.version)
    record = state.deployments[change.deployment_id].record
    most = change.limit if record.paused else None
    if most is None and two and not record.undoes:
        if beside(state, app_id):
            most = app.instances
        else:
            steps = labels.canary(app.labels, app.instances)
            most = steps[change.stage] if change.stage < len(steps) and steps[change.stage] < app.instances else None
    if most is None or not two or app_id in state.staged:
        return most
    # Without the version before there is nothing to keep the others at.
    return most if versions.definition(state, app_id, change.before) is not None else None


def beside(state: State, app_id: str) -> bool:
    """Return whether an app's new version comes whole beside the one before, and both are there for now."""
    return share(state, app_id) is not None


def share(state: State, app_id: str) -> int | None:
    """Return the share of the traffic, in percent, of a new version that is beside the whole one before; None: none is.

    Both versions ask for it: only then do balancers know which of them has the traffic before the new one is there.
    """
    change, app = state.changes.get(app_id), state.apps.get(app_id)
    shares = labels.blue_green(app.labels) if app is not None else ()
    if change is None or app is None or not change.begun or change.stage >= len(shares) or change.before in ("", app.version):
        return None
    if state.deployments[change.deployment_id].record.undoes:
        return None
    before = state.staged.get(app_id) or versions.definition(state, app_id, change.before)
    return shares[change.stage] if before is not None and labels.blue_green(before.labels) else None


def weights(state: State, app_id: str) -> dict[str, int]:
    """Return the weight of each server of an app by its version, others having none; empty: all are as good as each other.

    Of an app that asks for no share of the traffic at any time that is so. For any other the version with all of the traffic
    is named while nothing happens: a new version has to find it named.
    """
    app = state.in_force(app_id)
    if app is None or not labels.blue_green(app.labels):
        return {}
    part, before = share(state, app_id), state.staged.get(app_id)
    if part is not None and before is not None:
        new, old = rollout.weights(part, app.instances, before.instances)
        return {app.version: new, before.version: old}
    tally = state.fleet(app_id).tally
    alone = all(kind.version == app.version for kind in tally)
    return {app.version: 100} if alone or rollout.count(app, tally).settled >= app.instances else {}
