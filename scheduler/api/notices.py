"""What a user should know of an app that was taken: what balancers give it, and which of its fields do something else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from eratos.marathon.app import App
from eratos.marathon.group import Group
from eratos.marathon.notes import Verdict, notes

from . import claims


def of_app(seen: Mapping[str, App], app: App) -> Iterator[str]:
    """Yield the notices of an app. ``seen``: the apps that they may name."""
    yield from _of(claims.holders(seen, (app,)), app)


def of_changed(apps: Mapping[str, App], wanted: Iterable[App], seen: Mapping[str, App]) -> Iterator[str]:
    """Yield the notices of the apps among several that are new or changed, each with its app."""
    changed = [app for app in wanted if app.id not in apps or not apps[app.id].same_definition(app)]
    if changed:
        holders = claims.holders(seen, changed)
        for app in changed:
            for notice in _of(holders, app):
                yield f"{app.id} {notice}"


def of_group(group: Group) -> Iterator[str]:
    """Yield the fields of a group's document that have no effect; its apps' are returned with these."""
    for place, reason in group.all_dropped():
        yield f"{place} {Verdict.NOT_HEEDED}: {reason}"


def _of(holders: claims.Holders, app: App) -> Iterator[str]:
    yield from claims.notices(holders, app)
    yield from map(str, notes(app))
