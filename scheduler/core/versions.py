"""The versions of each app: what is kept of former definitions, and how a new version is named. Pure.

The newest ``VERSIONS_MOST`` of each app are kept, by when the app last came to them; those of a deleted app until the
deployment that deletes it has ended, which may be taken back as long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from eratos.marathon import stored
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp

from .records import GroupRecord, VersionRecord
from .state import State
from .step import Step

#: Returns to one version that are remembered.
RETURNS_MOST: Final = 20

#: Kept of each app, the present one included; as many as Marathon keeps (--zk_max_versions).
VERSIONS_MOST: Final = 50


def new_version(step: Step) -> str:
    """Return the version of a change that is made now."""
    return next_version(step.state, step.now)


def next_version(state: State, now: float) -> str:
    """Return a Marathon version: the time, made unique and growing, as ``2026-01-31T12:00:00.123Z``."""
    now_ms = int(now * 1000)
    if state.newest_version:
        now_ms = max(now_ms, _milliseconds(state.newest_version) + 1)
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ms % 1000:03d}Z"


def _milliseconds(version: str) -> int:
    moment = datetime.fromisoformat(version.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def record(app: App, known: VersionRecord | None, version: str, present: str = "") -> VersionRecord:
    """Return what is kept of an app's version; ``version`` is the change's own, ``present`` the app's version before it."""
    definition = json.dumps(stored.to_record(app), separators=(",", ":")).encode()
    if known is None:
        return VersionRecord(app.id, app.version, definition)
    came_back = app.version != present
    return VersionRecord(
        app.id,
        app.version,
        definition,
        came_back=(*known.came_back, version)[-RETURNS_MOST:] if came_back else known.came_back,
        scaled_at=known.scaled_at if came_back else version,
    )


def definition(state: State, app_id: str, version: str) -> App | None:
    """Return an app as it was in a version, with the instances that were wanted of it last.

    None where that is not kept, or cannot be read, as what a version of long ago took may be refused by now.
    """
    found = state.versions.get(app_id, {}).get(version)
    try:
        return None if found is None else read(found)
    except (InvalidApp, ValueError):
        return None


def read(found: VersionRecord) -> App:
    """Return the app that a version's record holds. Raises InvalidApp, ValueError."""
    return stored.from_record(raw(found))


def raw(found: VersionRecord) -> dict[str, Any]:
    """Return what a version's record holds, as it was stored. Raises ValueError."""
    return dict(json.loads(found.definition))


def keep(step: Step, records: Iterable[VersionRecord]) -> None:
    """Have versions stored, and the oldest ones of their apps forgotten."""
    for found in records:
        of_app = step.state.versions.setdefault(found.app_id, {})
        of_app[found.version] = found
        step.store(found.key, found)
        if len(of_app) > VERSIONS_MOST:
            for old in surplus(of_app, _needed(step.state, found.app_id)):
                del of_app[old.version]
                step.forget(old.key)


def surplus(of_app: Mapping[str, VersionRecord], needed: Iterable[str]) -> list[VersionRecord]:
    """Return the versions of an app to forget: the oldest ones beyond the bound, none of those that are needed."""
    spared = set(needed)
    oldest = sorted((found for found in of_app.values() if found.version not in spared), key=lambda found: found.last_change)
    return oldest[: max(0, len(of_app) - VERSIONS_MOST)]


def _needed(state: State, app_id: str) -> Iterable[str]:
    if app_id in state.apps:
        yield state.apps[app_id].version
    if app_id in state.changes:
        yield state.changes[app_id].before


def forget_all(step: Step, app_id: str) -> None:
    """Have all versions of an app forgotten."""
    for found in step.state.versions.pop(app_id, {}).values():
        step.forget(found.key)


def load(step: Step, records: Iterable[VersionRecord]) -> None:
    """Take over the stored versions once the apps are there; of a store of before, each app has its present one."""
    state = step.state
    for found in records:
        state.versions.setdefault(found.app_id, {})[found.version] = found
    for app in state.apps.values():
        of_app = state.versions.setdefault(app.id, {})
        if app.version not in of_app:
            made = of_app[app.version] = record(app, None, app.version)
            if made.key not in state.spoilt:
                step.store(made.key, made)
    names = (version for of_app in state.versions.values() for found in of_app.values() for version in _times(found))
    state.newest_version = max(names, default="")


def _times(found: VersionRecord) -> tuple[str, ...]:
    return found.version, *found.came_back, found.scaled_at


def of_group(state: State, app_ids: Iterable[str], groups: Iterable[GroupRecord] = ()) -> list[str]:
    """Return the versions of a group that holds these apps and groups, the newest one first: when one of them changed."""
    kept = (found for app_id in app_ids for found in state.versions.get(app_id, {}).values())
    moments = {moment for found in kept for moment in (found.version, *found.came_back)}
    moments |= {moment for group in groups for moment in (group.made, group.changed, *(since for since, _ in group.former))}
    return sorted(moments - {""}, reverse=True)[:VERSIONS_MOST]


def at(of_app: Mapping[str, VersionRecord], moment: str) -> VersionRecord | None:
    """Return the version that an app had at a moment; None: none that is kept."""
    came = [(time, found) for found in of_app.values() for time in (found.version, *found.came_back) if time <= moment]
    return max(came, key=lambda pair: pair[0])[1] if came else None


def newest_first(of_app: Mapping[str, VersionRecord]) -> list[VersionRecord]:
    """Return the versions of an app, the present one first."""
    return sorted(of_app.values(), key=lambda found: found.last_change, reverse=True)
