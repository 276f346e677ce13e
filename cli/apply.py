"""``eratos app apply``: make the API's apps what the files say. Only through the client, so with any Marathon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from eratos.marathon.autoscale_bounds import stated_bounds
from eratos.marathon.client import MarathonClient, Refused
from eratos.marathon.errors import InvalidApp

from . import files
from .files import Document

if TYPE_CHECKING:
    from eratos.marathon.app import App  # the models take longer to import than most commands to run

Json = dict[str, Any]


def apply(client: MarathonClient, document: Document, *, force: bool, dry_run: bool = False) -> Json:
    """Send one document and return the API's answer. Raises Refused, Unreachable.

    ``dry_run``: have it change nothing, and say what it would do; for eratos alone.
    """
    keep_instances(client, document)
    for _, shown in document.apps():
        if shown.keys() - {"id", "version"}:
            shown.pop("version", None)  # of an app that was shown and is sent back; alone it asks for a former version
    if document.kind == "group" and document.body.keys() - {"id", "version"}:
        _drop_versions(document.body)
    if document.kind == "pod":
        ((pod_id, body),) = document.apps()
        return client.put_pod(pod_id, body, force=force, dry_run=dry_run)
    if document.kind == "app":
        ((app_id, body),) = document.apps()
        return client.put_app(app_id, body, partial=False, force=force, dry_run=dry_run)
    if document.kind == "apps":
        return client.put_apps(document.body, partial=False, force=force, dry_run=dry_run)
    return client.put_group(document.body, force=force, dry_run=dry_run)


def _drop_versions(group: Json) -> None:
    group.pop("version", None)
    for below in group.get("groups") or ():
        if isinstance(below, dict):
            _drop_versions(below)


def keep_instances(client: MarathonClient, document: Document) -> None:
    """Have an app that says nothing of its instances keep those it has, instead of falling to Marathon's default of 1."""
    for app_id, app in document.apps():
        if files.is_pod(app):
            if app.get("scaling") is None and (pod := current(client.pod, app_id)) is not None:
                app["scaling"] = pod.get("scaling")
        elif app.get("instances") is None and (present := current(client.app, app_id)) is not None:
            app["instances"] = _within_bounds(app, present["instances"])


def _within_bounds(app: Json, instances: int) -> int:
    """Return the number of instances that an app keeps: within the bounds that its autoscaling has from now on."""
    least, most = stated_bounds(app)
    if not instances or least is None or most is None:
        return instances
    return min(max(instances, least), most)


def current(read: Callable[[str], Json], name: str) -> Json | None:
    """Return an app or a pod as it is, None where there is none; ``read`` is the client's way to it."""
    try:
        return read(name)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise


def required(client: MarathonClient, app_id: str) -> Json:
    """Return an app that must be there: a change that only names its instances would create it otherwise."""
    return client.app(app_id)


#: Beside the image: what runs, as against how much of it, where, for whom and with which settings.
_RUNS = ("cmd", "args", "fetch")


def promote(client: MarathonClient, source_id: str, target_id: str, *, force: bool) -> Json:
    """Have an app run what another one runs, and return the API's answer. Raises Refused, Unreachable."""
    source, target = required(client, source_id), required(client, target_id)
    image, own = _docker(source), _docker(target)
    if bool(image) != bool(own):
        without = target_id if image else source_id
        raise Refused(0, f"{without} has no Docker image and the other one has: change it by hand first")
    if image:
        own["image"] = image["image"]
    for field in _RUNS:
        target.pop(field, None)
        if source.get(field) is not None:
            target[field] = source[field]
    target.pop("version", None)
    return client.put_app(target_id, target, partial=False, force=force)


def _docker(app: Json) -> Json:
    found: Json = (app.get("container") or {}).get("docker") or {}
    return found


def plan(client: MarathonClient, document: Document) -> Iterator[tuple[str, list[str]]]:
    """Yield each app with the changes that applying would make, as lines; none for no change. Raises InvalidApp."""
    keep_instances(client, document)
    for app in _parsed(document):
        present = current(client.pod if files.is_pod(app.to_json()) else client.app, app.id)
        yield app.id, ["new"] if present is None else list(_changes(present, app))


def rehearse(client: MarathonClient, documents: Iterable[Document]) -> list[Json]:
    """Return what the API says that sending documents would do; nothing is changed. Raises Refused, Unreachable."""
    client.require_eratos("a plan")  # Marathon would carry it out
    return [apply(client, document, force=False, dry_run=True) for document in documents]


def check_strictly(document: Document) -> None:
    """Refuse a document with fields that have no effect. Raises InvalidApp."""
    from eratos.marathon.errors import Problem
    from eratos.marathon.notes import Verdict, notes

    found = [
        Problem(f"{app.id}{note.path}", f"has no effect: {note.text}")
        for app in _parsed(document)
        for note in notes(app)
        if note.verdict is Verdict.NOT_HEEDED
    ]
    found += [Problem(place, f"has no effect: {reason}") for place, reason in _dropped(document)]
    if found:
        raise InvalidApp(found)


def _dropped(document: Document) -> Iterable[tuple[str, str]]:
    from eratos.marathon.group import Group

    return Group.parse(document.body).all_dropped() if document.kind == "group" else ()


def _parsed(document: Document) -> Iterable[App]:
    from eratos.marathon import definition, pod_definition
    from eratos.marathon.group import Group

    if document.kind == "group":
        return Group.parse(document.body).apps()
    if document.kind == "pod":
        return [pod_definition.parse(document.body)]
    items = document.body if document.kind == "apps" else [document.body]
    apps, problems = [], []
    for index, item in enumerate(items):
        try:
            apps.append(definition.parse(item))
        except InvalidApp as error:
            problems += [p.below(f"({index})") if document.kind == "apps" else p for p in error.problems]
    if problems:
        raise InvalidApp(problems)
    return apps


def _changes(present: Json, app: App) -> Iterator[str]:
    """Compare in canonical form where that is possible, so that defaults written out are no change."""
    from eratos.marathon import definition, pod_definition

    try:
        before: Json = (pod_definition if files.is_pod(present) else definition).parse(present).to_json()
    except InvalidApp:
        before = present
    after = app.to_json()
    # A role that the file does not state stays as it is: every app shows one.
    unsaid = {"version", "versionInfo"} | ({"role"} - after.keys())
    for field in sorted((before.keys() | after.keys()) - unsaid):
        if before.get(field) != after.get(field):
            yield f"{field}: {before.get(field)} -> {after.get(field)}"
