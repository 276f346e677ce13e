"""``eratos app apply``: make the API's apps what the files say. Only through the client, so with any Marathon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from eratos.marathon.client import MarathonClient, Refused
from eratos.marathon.errors import InvalidApp

from .files import Document

if TYPE_CHECKING:
    from eratos.marathon.app import App  # the models take longer to import than most commands to run

Json = dict[str, Any]


def apply(client: MarathonClient, document: Document, *, force: bool) -> Json:
    """Send one document and return the API's answer. Raises Refused, Unreachable."""
    keep_instances(client, document)
    if document.kind == "app":
        ((app_id, body),) = document.apps()
        return client.put_app(app_id, body, partial=False, force=force)
    if document.kind == "apps":
        return client.put_apps(document.body, partial=False, force=force)
    return client.put_group(document.body, force=force)


def keep_instances(client: MarathonClient, document: Document) -> None:
    """Have an app that says nothing of its instances keep those it has, instead of falling to Marathon's default of 1."""
    silent = [(app_id, app) for app_id, app in document.apps() if app.get("instances") is None]
    for app_id, app in silent:
        present = current(client, app_id)
        if present is not None:
            app["instances"] = present["instances"]


def current(client: MarathonClient, app_id: str) -> Json | None:
    try:
        return client.app(app_id)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise


def required(client: MarathonClient, app_id: str) -> Json:
    """Return an app that must be there: a change that only names its instances would create it otherwise."""
    return client.app(app_id)


def plan(client: MarathonClient, document: Document) -> Iterator[tuple[str, list[str]]]:
    """Yield each app with the changes that applying would make, as lines; none for no change. Raises InvalidApp."""
    keep_instances(client, document)
    for app in _parsed(document):
        present = current(client, app.id)
        yield app.id, ["new"] if present is None else list(_changes(present, app))


def _parsed(document: Document) -> Iterable[App]:
    from eratos.marathon.app import App
    from eratos.marathon.group import Group

    if document.kind == "group":
        return Group.parse(document.body).apps()
    items = document.body if document.kind == "apps" else [document.body]
    apps, problems = [], []
    for index, item in enumerate(items):
        try:
            apps.append(App.parse(item))
        except InvalidApp as error:
            problems += [p.below(f"({index})") if document.kind == "apps" else p for p in error.problems]
    if problems:
        raise InvalidApp(problems)
    return apps


def _changes(present: Json, app: App) -> Iterator[str]:
    """Compare in canonical form where that is possible, so that defaults written out are no change."""
    from eratos.marathon.app import App

    try:
        before: Json = App.parse(present).to_json()
    except InvalidApp:
        before = present
    after = app.to_json()
    for field in sorted((before.keys() | after.keys()) - {"version", "versionInfo"}):
        if before.get(field) != after.get(field):
            yield f"{field}: {before.get(field)} -> {after.get(field)}"
