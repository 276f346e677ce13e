"""The groups there are, as paths above apps and as records: a group outlives its apps. Pure.

What a group depends on, each app in it waits for; it stands with the group, not with the apps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from eratos.marathon import ids

from .records import GROUPS, ChangeRecord, GroupRecord
from .state import State
from .step import Step
from .versions import VERSIONS_MOST

#: Where nothing is said of groups' roles.
NOTHING_ENFORCED: Final[Mapping[str, bool]] = {}

#: Of what a group depended on before this much is kept: a record has to fit the store, and dependencies are many at times.
FORMER_CHARACTERS: Final = 64 * 1024


def around(path: str) -> Iterator[str]:
    """Yield the groups that an app or a group lies in, the nearest one first, the root last."""
    while path != "/":
        path = ids.parent(path)
        yield path


def inherited(known: Mapping[str, GroupRecord], app_id: str) -> dict[str, tuple[str, ...]]:
    """Return the groups around an app that depend on something, and on what."""
    found = {group_id: known[group_id].dependencies for group_id in around(app_id) if group_id in known}
    return {group_id: needs for group_id, needs in found.items() if needs}


def changed(
    state: State,
    version: str,
    wanted: Mapping[str, tuple[str, ...]],
    app_ids: Iterable[str],
    remembered: Mapping[str, tuple[str, ...]],
    enforced: Mapping[str, bool] = NOTHING_ENFORCED,
) -> dict[str, GroupRecord]:
    """Return the groups that come or change: those ``wanted``, with what they depend on, and those that apps need.

    ``remembered``: what groups that come back with their apps depended on; ``enforced``: whether groups enforce their role, of
    those that come or are there.
    """
    found: dict[str, GroupRecord] = {}
    for group_id, needs in wanted.items():
        known = state.groups.get(group_id)
        if known is None:
            found[group_id] = GroupRecord(group_id, version, version, needs)
        elif known.dependencies != needs:
            found[group_id] = replace(known, changed=version, dependencies=needs, former=_former(known))
    for path in (*app_ids, *wanted):
        for group_id in around(path):
            if group_id == "/" or group_id in state.groups or group_id in found:
                continue  # the root is always there; that one group is does not say so of those around it while a leader loads
            found[group_id] = GroupRecord(group_id, version, version, remembered.get(group_id, ()))
    for group_id, yes in enforced.items():
        group = found.get(group_id) or state.groups.get(group_id)
        if group is not None and group.enforces != yes:
            found[group_id] = replace(group, enforces=yes)
    return found


def enforcing(state: State) -> list[str]:
    """Return the groups that enforce their role."""
    return [group_id for group_id, found in state.groups.items() if found.enforces]


def enforces(known: Mapping[str, GroupRecord], app_id: str) -> bool:
    """Return whether the top-level group of an app enforces its role."""
    group = known.get(f"/{ids.top(app_id)}")
    return group is not None and group.enforces


def _former(known: GroupRecord) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what is kept of what a group depended on once that changes: the latest, within both bounds."""
    kept: list[tuple[str, tuple[str, ...]]] = []
    room = FORMER_CHARACTERS
    for since, needs in reversed((*known.former, (known.changed, known.dependencies))):
        room -= sum(map(len, (since, *needs)))
        if room < 0 or len(kept) >= VERSIONS_MOST - 1:
            break
        kept.append((since, needs))
    return tuple(reversed(kept))


def needs_at(found: GroupRecord, moment: str) -> tuple[str, ...]:
    """Return what a group depended on at a moment, as a version; the earliest that is kept where that is later."""
    (_, earliest), *later = *found.former, (found.changed, found.dependencies)
    return next((needs for since, needs in reversed(later) if since <= moment), earliest)


def without(state: State, gone: Iterable[str], app_ids: Iterable[str]) -> tuple[str, ...]:
    """Return those of some groups that can go: they hold none of the apps that are left, and no group that stays."""
    doomed = {group_id for group_id in gone if group_id in state.groups}
    for path in (*app_ids, *(group_id for group_id in state.groups if group_id not in doomed)) if doomed else ():
        doomed.difference_update(around(path))
    return tuple(sorted(doomed, reverse=True))  # an interrupted write leaves those around, not those within


def restore(step: Step, version: str, change: ChangeRecord) -> None:
    """Have the groups around an app back that were deleted with it."""
    top = f"/{ids.top(change.app_id)}"
    back = {top: True} if change.enforced and top not in step.state.groups else NOTHING_ENFORCED
    for group_id, found in changed(step.state, version, {}, (change.app_id,), change.groups, back).items():
        keep(step, group_id, found)


def keep(step: Step, group_id: str, found: GroupRecord) -> None:
    step.state.groups[group_id] = found
    step.store(GROUPS + group_id, found)


def load(step: Step, records: Iterable[GroupRecord]) -> None:
    """Take over the stored groups once the apps are there.

    Of some a group around may be missing: of apps in a store of before, and of all where a write was interrupted.
    """
    state = step.state
    for found in records:
        state.groups[found.group_id] = found
        state.newest_version = max(state.newest_version, found.changed)
    versions = {app.id: app.version for app in state.apps.values()}
    versions |= {group_id: found.made for group_id, found in state.groups.items()}
    for path, version in versions.items():
        for group_id, found in changed(state, version, {}, (path,), {}).items():
            state.groups[group_id] = found
            if GROUPS + group_id not in state.spoilt:
                step.store(GROUPS + group_id, found)
