"""``eratos marathon``: what becomes of files for Marathon, and a running Marathon's apps copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eratos.common.errors import PermanentError
from eratos.marathon import ids
from eratos.marathon.client import MarathonClient, Refused

from . import files

if TYPE_CHECKING:
    from eratos.marathon.notes import Note, Verdict  # the models take longer to import than most commands to run

Json = dict[str, Any]

#: What of a folder is looked at.
_ENDINGS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Checked:
    """What becomes of one app, or what was found instead of one, or of a group where that is not as it was meant."""

    source: str
    app_id: str
    fields: tuple[Note, ...] = ()
    problem: str = ""  #: why there is no app to look at
    is_group: bool = False

    def has(self, verdict: Verdict) -> bool:
        return any(note.verdict is verdict for note in self.fields)


def checked(paths: list[str]) -> Iterator[Checked]:
    """Yield what becomes of each app in files and folders. Raises Unreadable for a folder without any."""
    for path in paths:
        found = sorted(item for item in Path(path).rglob("*") if item.suffix in _ENDINGS) if Path(path).is_dir() else [Path(path)]
        if not found:
            raise files.Unreadable(f"{path} holds no file that ends in {', '.join(_ENDINGS)}")
        for file in found:
            yield from _checked_file("-" if path == "-" else str(file))


def _checked_file(path: str) -> Iterator[Checked]:
    from eratos.marathon.verdicts import verdicts

    try:
        documents = files.load(path)
    except PermanentError as error:
        yield Checked(path, "", problem=str(error))
        return
    for document in documents:
        for base, app in _apps(document.body, "/"):
            name = app.get("id") if isinstance(app, Mapping) else None
            yield Checked(document.source, _shown(name, base), tuple(verdicts(app, base)))
        if document.kind == "group" and (found := tuple(_of_groups(document.body))):
            yield Checked(document.source, _shown(document.body.get("id"), "/"), found, is_group=True)


def _of_groups(body: Mapping[str, Any]) -> Iterator[Note]:
    """Yield what becomes of the fields of a group and those below it that are not as they were meant, apps left aside."""
    from eratos.marathon.errors import InvalidApp
    from eratos.marathon.group import Group
    from eratos.marathon.notes import Note, Verdict

    try:
        group = Group.parse(_without_apps(body))
    except InvalidApp as error:
        yield from (Note(problem.path, Verdict.REFUSED, problem.message) for problem in error.problems)
    else:
        yield from (Note(place, Verdict.NOT_HEEDED, reason) for place, reason in group.all_dropped())


def _without_apps(group: Any) -> Any:
    if not isinstance(group, Mapping):
        return group
    left = {field: value for field, value in group.items() if field not in ("apps", "pods", "version")}
    return left | ({"groups": list(map(_without_apps, left["groups"]))} if isinstance(left.get("groups"), list) else {})


def _apps(body: Any, base: str) -> Iterator[tuple[str, Any]]:
    """Yield each app of a document, with the group that its id is relative to."""
    if isinstance(body, list):
        yield from ((base, item) for item in body)
    elif isinstance(body, Mapping) and body.keys() & {"apps", "pods", "groups"}:
        base = _shown(body.get("id") or "", base)
        for item in (*(body.get("apps") or ()), *(body.get("pods") or ())):
            yield base, item
        for group in body.get("groups") or ():
            yield from _apps({"apps": [], "groups": [], **group} if isinstance(group, Mapping) else group, base)
    else:
        yield base, body


def _shown(name: Any, base: str) -> str:
    try:
        return ids.absolute(name, base) if isinstance(name, str) else "?"
    except ValueError:
        return str(name)


def tally(results: list[Checked]) -> str:
    """Say how many apps can move, in one sentence."""
    from eratos.marathon.notes import Verdict

    ways: Counter[str] = Counter()
    apps = [result for result in results if not result.is_group]
    for result in apps:
        refused = result.problem or result.has(Verdict.REFUSED)
        differs = result.has(Verdict.TRANSLATED) or result.has(Verdict.NOT_HEEDED)
        ways["cannot be taken" if refused else "with differences" if differs else "as they are"] += 1
    parts = [f"{ways[way]} {way}" for way in ("as they are", "with differences", "cannot be taken")]
    groups = f"; and {len(results) - len(apps)} groups with differences" if len(apps) < len(results) else ""
    return f"{len(apps)} apps: {', '.join(parts)}{groups}"


@dataclass(frozen=True)
class Plan:
    """What an import would do."""

    apps: list[Json]  #: to send, as Marathon shows them but for what they depend on and how many they are
    instances: dict[str, int]  #: that they have there
    refused: dict[str, tuple[Note, ...]]
    there_already: list[str]
    pods: list[Json]  #: to send beside the apps
    groups: list[Json]  #: to send before them: those that depend on something, or have no app
    enforcing: list[Json]  #: to send after them: new groups that enforce their role, which apps of before need not have


def plan(source: MarathonClient, target: MarathonClient, group: str, *, start: bool) -> Plan:
    """Return how to copy a Marathon's apps, pods and groups below a group."""
    from eratos.marathon.notes import Verdict
    from eratos.marathon.verdicts import verdicts

    root = source.group()
    present = {str(item["id"]) for item in (*target.apps(), *target.pods())}
    here = {str(found["id"]) for found in tree(target.group())}
    made = Plan([], {}, {}, [], [], [], [])
    for found in tree(root):
        group_id, wanted = str(found.get("id")), list(found.get("dependencies") or ())
        if ids.within(group_id, group) and group_id not in here | {"/"} and (wanted or not _apps_of(found)):
            made.groups.append({"id": group_id, "dependencies": wanted})
        if ids.within(group_id, group) and group_id not in here and found.get("enforceRole") is True:
            made.enforcing.append({"id": group_id, "enforceRole": True})
    for app in (app for found in tree(root) for app in _apps_of(found)):
        app_id = str(app.get("id"))
        if not ids.within(app_id, group):
            continue
        if app_id in present:
            made.there_already.append(app_id)
            continue
        refused = tuple(note for note in verdicts(app) if note.verdict is Verdict.REFUSED)
        if refused:
            made.refused[app_id] = refused
            continue
        if files.is_pod(app):
            scaling = app.get("scaling") or {"kind": "fixed"}
            made.instances[app_id] = int(scaling.get("instances", 1))
            made.pods.append(app | {"scaling": scaling | ({} if start else {"instances": 0})})
            continue
        made.instances[app_id] = int(app.get("instances", 1))
        made.apps.append(app | ({} if start else {"instances": 0}))
    return made


def tree(group: Json) -> Iterator[Json]:
    """Yield a group and all below it. Raises Refused for what is no group."""
    if not isinstance(group.get("apps", []), list) or not isinstance(group.get("groups", []), list):
        raise Refused(200, "the Marathon shows its groups in another form than Marathon does: is it Marathon's API?")
    yield group
    for below in group.get("groups", ()):
        yield from tree(below)


def _apps_of(group: Json) -> list[Json]:
    return [*group.get("apps", ()), *(group.get("pods") or ())]
