"""From what is wanted to all that a change of it means, made whole before any of it is done. Changes nothing.

A change of the wanted state is a :class:`Plan`; :mod:`deployments` carries it out, the API shows it where it is asked what
would happen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.pod import Pod

from . import groups, versions
from .actions import Refusal
from .records import ChangeRecord, DeploymentRecord, GroupRecord, VersionRecord
from .refusals import Refused
from .state import State

#: Where no groups are spoken of.
NO_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {}
#: Characters of what the groups around an app depend on: they stand in the record of its change, which has to fit the store.
#: Groups that a version before stored may have more.
GROUPS_CHARACTERS_MOST: Final = 256 * 1024
#: What the record needs beside the characters of each name: quotes, a comma, a space.
_BESIDE: Final = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment to be, and what begins with it."""

    record: DeploymentRecord
    apps: tuple[App, ...]  #: new and changed ones, each with its version
    dropped: tuple[str, ...]
    renewed: frozenset[str]  #: those with another definition than before
    versions: tuple[VersionRecord, ...]
    changes: dict[str, ChangeRecord]
    groups: dict[str, GroupRecord]  #: new ones, and those that depend on something else than before
    dropped_groups: tuple[str, ...]

    @property
    def newest(self) -> str:
        """The newest version that an app of it has now, or its own where there is none."""
        return max((app.version for app in self.apps), default=self.record.version)


def plan(
    state: State,
    record: DeploymentRecord,
    wanted: Iterable[App],
    dropped: Iterable[str] = (),
    wanted_groups: Mapping[str, tuple[str, ...]] = NO_GROUPS,
    dropped_groups: Iterable[str] = (),
    enforced: Mapping[str, bool] = groups.NOTHING_ENFORCED,
) -> Plan:
    """Return what it means to want these apps, whatever versions they bear, and to want others no longer; groups likewise.

    An app that is only scaled, or is to be by other rules, keeps its version: the instances that run are as good as new
    ones. One that is as it is asked to be is no part of it. Raises Refused, as all that make plans do, where :func:`excess` is.
    """
    apps: list[App] = []
    renewed: set[str] = set()
    for app in wanted:
        present = state.apps.get(app.id)
        same = present is not None and present.same_definition(app)
        if present is not None and same and _number(present) == _number(app):
            continue
        apps.append(app.with_version(present.version if present is not None and same else record.version))
        if not same:
            renewed.add(app.id)
    dropped = tuple(dict.fromkeys(dropped))
    return _plan(state, record, apps, dropped, renewed, wanted_groups, dropped_groups, enforced=enforced)


def _number(app: App) -> tuple[object, ...]:
    """Return what an app says that is no part of what its tasks are, how many there are to be above all."""
    return app.instances, app.dropped, app.autoscale, app.error_budget, app.eratos.follow


def restart(state: State, record: DeploymentRecord, app: App) -> Plan:
    """Return what it means to have every instance of an app replaced."""
    return _plan(state, record, [app.with_version(record.version)], (), {app.id})


def back(state: State, record: DeploymentRecord, app: App) -> Plan:
    """Return what it means to have an app as in an earlier version, whose instances that still run are as good as new ones."""
    return _plan(state, record, _moved(state, [app]), (), {app.id})


def undo(state: State, record: DeploymentRecord, changes: Iterable[ChangeRecord], made: str = "") -> Plan:
    """Return what it means to take changes back. Raises LookupError where the version before is not kept.

    Groups that were deleted come back with their apps; those ``made`` by a deployment of that version go, if they are empty.
    """
    apps, dropped = [], []
    remembered: dict[str, tuple[str, ...]] = {}
    enforced: dict[str, bool] = {}
    for change in changes:
        remembered |= change.groups
        if change.enforced and f"/{ids.top(change.app_id)}" not in state.groups:
            enforced[f"/{ids.top(change.app_id)}"] = True
        before = _before(state, change)
        if before is not None:
            apps.append(before)
        elif change.app_id in state.apps:
            dropped.append(change.app_id)
    moved = _moved(state, apps)
    renewed = {app.id for app in moved if app.id not in state.apps or state.apps[app.id].version != app.version}
    newer = [group_id for group_id, found in state.groups.items() if found.made == made]
    return _plan(state, record, moved, tuple(dropped), renewed, dropped_groups=newer, remembered=remembered, enforced=enforced)


def _before(state: State, change: ChangeRecord) -> App | None:
    if not change.before:
        return None
    found = versions.definition(state, change.app_id, change.before)
    if found is None:
        raise LookupError(f"version {change.before} of {change.app_id} is not kept")
    return found.with_instances(change.instances_before)


def _moved(state: State, apps: Iterable[App]) -> list[App]:
    return [app for app in apps if state.apps.get(app.id) != app]


def _plan(
    state: State,
    record: DeploymentRecord,
    apps: list[App],
    dropped: tuple[str, ...],
    renewed: set[str],
    wanted_groups: Mapping[str, tuple[str, ...]] = NO_GROUPS,
    dropped_groups: Iterable[str] = (),
    remembered: Mapping[str, tuple[str, ...]] = NO_GROUPS,
    enforced: Mapping[str, bool] = groups.NOTHING_ENFORCED,
) -> Plan:
    kept = []
    for app in apps:
        known = state.versions.get(app.id, {}).get(app.version)
        present = state.apps.get(app.id)
        kept.append(versions.record(app, known, record.version, present.version if present is not None else ""))
    app_ids = [app.id for app in apps]
    coming = groups.changed(state, record.version, wanted_groups, app_ids, remembered, enforced)
    left = (app_id for app_id in (*state.apps, *app_ids) if app_id not in dropped)
    going = groups.without(state, dropped_groups, itertools.chain(left, coming))
    there = state.groups | coming if coming else state.groups
    changes = {app.id: _change(state, record, app.id, app, there) for app in apps}
    changes |= {app_id: _change(state, record, app_id, state.apps.get(app_id), state.groups) for app_id in dropped}
    for app_id, change in changes.items():
        if too_much := excess(app_id, change.groups):
            raise Refused(Refusal.NOT_POSSIBLE, too_much)
    return Plan(record, tuple(apps), dropped, frozenset(renewed), tuple(kept), changes, coming, going)


def excess(app_id: str, around: Mapping[str, tuple[str, ...]]) -> str:
    """Say that the groups around an app depend on so much that no change of it could be stored; empty: they do not."""
    taken = {group_id: sum(map(len, needs)) + _BESIDE * len(needs) for group_id, needs in around.items()}
    if sum(taken.values()) <= GROUPS_CHARACTERS_MOST:
        return ""
    largest = max(taken, key=lambda group_id: taken[group_id])
    return (
        f"{app_id} cannot be changed, as the group {largest} depends on too much ({len(around[largest])} apps and groups) for "
        "a change to be stored: put the group with fewer dependencies first"
    )


def _change(
    state: State, record: DeploymentRecord, app_id: str, app: App | None, known: Mapping[str, GroupRecord]
) -> ChangeRecord:
    before, pod = state.standing(app_id), isinstance(app, Pod)
    around, enforced = groups.inherited(known, app_id), groups.enforces(known, app_id)
    if before is None or (app_id in state.held and not state.changes[app_id].before):
        return ChangeRecord(app_id, record.deployment_id, pod=pod, groups=around, enforced=enforced)
    checked = before.checked
    ran = any(kind.version == before.version and kind.ready(checked) for kind in state.fleet(app_id).tally)
    deployment, version = record.deployment_id, before.version
    return ChangeRecord(app_id, deployment, version, before.instances, ran, pod=pod, groups=around, enforced=enforced)
