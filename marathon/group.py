"""Groups: a tree of apps in one document, with ids relative to the group that holds them.

What a group depends on, each app in it waits for.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import bounds, definition, ids, near, pod_definition, strict_json
from .app import App
from .errors import PROBLEMS_MOST, InvalidApp, InvalidInItself, Problem
from .pydantic_errors import kind

_FIELDS: Final = ("id", "apps", "groups", "dependencies", "pods", "version", "enforceRole", "scaleBy")
#: Whoever writes one of these has an app in mind, which would come to nothing.
_OF_APPS: Final = frozenset({"cmd", "args", "container", "containers", "instances", "cpus", "mem", "uris", "fetch"})
#: Where no group depends on anything.
NO_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {}
#: A longer name is no misspelling of these.
_FIELD_CHARACTERS_MAX: Final = 64
_REFUSED: Final[Mapping[str, str]] = {
    "scaleBy": "it goes alone, in a PUT to the group's own address, without apps and groups",
}


@dataclass(frozen=True, slots=True)
class Group:
    """A group and what is in it, pods among the apps. ``given`` says which of apps, pods and groups the document spoke of."""

    id: str
    own_apps: tuple[App, ...] = ()
    groups: tuple[Group, ...] = ()
    given: frozenset[str] = frozenset()
    dependencies: tuple[str, ...] | None = None  #: None: the document does not say
    enforce_role: bool | None = None  #: whether its name is the role of apps that come to it; None: the document does not say
    dropped: tuple[tuple[str, str], ...] = ()  #: fields that have no effect, of this group alone: place and reason

    @classmethod
    def parse(cls, data: Any, base: str = "/") -> Group:
        """Read a group below the group ``base``. Raises InvalidApp with the problems of every app in it."""
        strict_json.check(data)
        bounds.check_documents(data, "apps and groups", _count(data))
        problems: list[Problem] = []
        group = _parse(data, base, problems)
        everything = group.apps() if not problems else ()
        problems += _repeated(everything)
        waits = {one.id: one.dependencies for one in group.all() if one.dependencies}
        problems += too_many_dependencies(waits, NO_GROUPS, bounds.ENTRIES_MOST)
        problems += _cyclic(everything, waits) if not problems else ()
        if problems:
            raise InvalidInItself(problems)
        return group

    def all(self) -> Iterator[Group]:
        """Yield this group and all below it."""
        yield self
        for group in self.groups:
            yield from group.all()

    def all_dropped(self) -> Iterator[tuple[str, str]]:
        """Yield the fields without effect of this group and of all groups below it."""
        for group in self.all():
            for place, reason in group.dropped:
                yield f"{group.id} {place}", reason

    def apps(self) -> tuple[App, ...]:
        """Return the apps of this group and of all groups below it."""
        return self.own_apps + tuple(app for group in self.groups for app in group.apps())


def _parse(data: Any, base: str, problems: list[Problem]) -> Group:
    if not isinstance(data, Mapping):
        problems.append(Problem("/", f"must be an object with id, apps and groups, not {kind(data)}"))
        return Group(base)
    problems += _fields(data)
    group_id = _id(data.get("id", ""), base, "/id", problems)
    stated = [*_items(data, "dependencies", problems)]
    if len(stated) > bounds.ENTRIES_MOST:
        problems.append(Problem("/dependencies", f"are {len(stated)}: {bounds.ENTRIES_MOST} are the most"))
        return Group(group_id)
    dependencies = tuple(_id(item, group_id, f"/dependencies({i})", problems) for i, item in stated)
    for needed in dependencies:
        if ids.within(needed, group_id) or ids.within(group_id, needed):
            message = f"hold {needed}, by which apps in {group_id} would wait for each other in a circle: remove it"
            problems.append(Problem("/dependencies", message))
    apps: list[App] = []
    listed: list[tuple[str, Callable[[Any, str], App], int, Any]]
    listed = [("apps", definition.parse, *pair) for pair in _items(data, "apps", problems)]
    listed += [("pods", pod_definition.parse, *pair) for pair in _items(data, "pods", problems)]
    for field, read, index, item in listed:
        if len(problems) >= PROBLEMS_MOST:
            break
        try:
            app = read(item, group_id)
            if not ids.within(app.id, group_id):
                raise InvalidInItself(
                    [Problem("/id", f"is {app.id}, outside of the group {group_id}: move it, or shorten the id")]
                )
            apps.append(app)
        except InvalidApp as error:
            problems += [problem.below(f"/{field}({index})") for problem in error.problems]
    groups: list[Group] = []
    for index, item in _items(data, "groups", problems):
        if len(problems) >= PROBLEMS_MOST:
            break
        below: list[Problem] = []
        if isinstance(item, Mapping) and not item.get("id"):
            below.append(Problem("/id", "is missing: name the group, such as shop"))
        group = _parse(item, group_id, below)
        if not below and (group.id == group_id or not ids.within(group.id, group_id)):
            below.append(Problem("/id", f"is {group.id}, outside of the group {group_id}: move it, or shorten the id"))
        if not below and any(other.id == group.id for other in groups):
            below.append(Problem("/id", f"is {group.id}, which is there twice: keep one, with all that is in both"))
        groups.append(group)
        problems += [problem.below(f"/groups({index})") for problem in below]
    given = frozenset(field for field in ("apps", "pods", "groups") if data.get(field) is not None)
    said = tuple(dict.fromkeys(dependencies)) if data.get("dependencies") is not None else None
    return Group(group_id, tuple(apps), tuple(groups), given, said, _enforces(data, group_id, problems), tuple(_dropped(data)))


def _enforces(data: Mapping[str, Any], group_id: str, problems: list[Problem]) -> bool | None:
    value = data.get("enforceRole")
    if value is not None and not isinstance(value, bool):
        problems.append(Problem("/enforceRole", f"must be true or false, not {kind(value)}"))
        return None
    if value and (group_id == "/" or ids.parent(group_id) != "/"):
        message = f"can only be set for top-level groups, and {group_id} is not top-level: remove it"
        problems.append(Problem("/enforceRole", message))
    return value if ids.parent(group_id) == "/" and group_id != "/" else None


def _count(data: Any) -> int:
    """Count what a document lists as apps and groups, whatever it is."""
    if not isinstance(data, Mapping):
        return 0
    groups = data.get("groups")
    own = sum(len(found) for found in (data.get("apps"), data.get("pods")) if isinstance(found, list))
    return own + sum(1 + _count(group) for group in groups) if isinstance(groups, list) else own


def _fields(data: Mapping[str, Any]) -> Iterator[Problem]:
    for field, value in itertools.islice(data.items(), PROBLEMS_MOST):
        if field in _OF_APPS:
            yield Problem(f"/{field}", "is a field of an app, not of a group: send an app to /v2/apps, or list it in apps")
        elif field not in _FIELDS and (meant := _near(field)):
            yield Problem(f"/{field}", f"is no field of a group: did you mean {meant}?")
        elif value and field in _REFUSED:
            yield Problem(f"/{field}", f"is refused: {_REFUSED[field]}")


def _near(field: str) -> str:
    """Return the field of a group that was meant by another name, or nothing."""
    if len(field) > _FIELD_CHARACTERS_MAX or near.for_people(field):
        return ""
    return next(iter(difflib.get_close_matches(field.lower(), _FIELDS, 1)), "")


def _dropped(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in itertools.islice((field for field in data if field not in _FIELDS), PROBLEMS_MOST):
        yield f"/{strict_json.shortened(field)}", "no field of a group that eratos knows, nor Marathon"


def _id(value: Any, base: str, path: str, problems: list[Problem]) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError(f"must be text such as /shop, not {kind(value)}")
        whole = ids.absolute(value, base)
        if path == "/id" and (message := ids.reserved(whole)):
            raise ValueError(message)
        return whole
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return base


def _items(data: Mapping[str, Any], field: str, problems: list[Problem]) -> Iterable[tuple[int, Any]]:
    value = data.get(field)
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(Problem(f"/{field}", f"must be a list, not {kind(value)}"))
        return ()
    return enumerate(value)


def _repeated(apps: Iterable[App]) -> Iterator[Problem]:
    seen: set[str] = set()
    for app in apps:
        if app.id in seen:
            yield Problem("/", f"holds the app {app.id} twice: remove one")
        seen.add(app.id)


def too_many_dependencies(
    groups: Mapping[str, tuple[str, ...]], before: Mapping[str, tuple[str, ...]], most: int = bounds.GROUP_DEPENDENCIES_MOST
) -> Iterator[Problem]:
    """Find groups that depend, with those around them, on more than ``most`` and than ``before``: each app in them does."""
    changed = {group_id for group_id, needs in groups.items() if before.get(group_id, ()) != needs}
    for group_id in groups if changed else ():
        around = [group_id]
        while around[-1] != "/":
            around.append(ids.parent(around[-1]))
        count = sum(len(groups.get(place, ())) for place in around)
        allowed = max(most, sum(len(before.get(place, ())) for place in around))
        if count > allowed and not changed.isdisjoint(around):
            message = (
                f"of {group_id} and the groups around it are {count}: {most} are the most; name groups instead of their apps"
            )
            yield Problem("/dependencies", message)


def _cyclic(apps: Iterable[App], groups: Mapping[str, Iterable[str]]) -> Iterator[Problem]:
    if cycle := dependency_cycle({app.id: app for app in apps}, groups):
        yield Problem("/dependencies", f"wait for each other in a circle, {' -> '.join(cycle)}: remove one")


def dependency_cycle(apps: Mapping[str, App], groups: Mapping[str, Iterable[str]] = NO_GROUPS) -> tuple[str, ...]:
    """Return apps that depend on each other in a circle, or nothing. A dependency may name a group: all apps in it.

    ``groups``: group -> what it depends on.
    """
    inside = _inside(apps) if groups or any(app.awaited for app in apps.values()) else {}
    done: set[str] = set()
    for start in apps:
        trail: dict[str, None] = {}  # an app, or a group behind a blank; in order
        stack: list[Iterator[str]] = []
        visit = start
        while visit:
            if visit in trail:
                trail_apps = [*trail]
                circle = [step for step in trail_apps[trail_apps.index(visit) :] if step in apps]
                return (*circle, circle[0])
            if visit not in done:
                trail[visit] = None
                stack.append(iter(inside[visit] if visit.startswith(" ") else [f" {d}" for d in _awaited(apps[visit], groups)]))
            visit = ""
            while stack and not visit:
                visit = next((step for step in stack[-1] if step in apps or step in inside), "")
                if not visit:
                    stack.pop()
                    done.add(trail.popitem()[0])
    return ()


def _awaited(app: App, groups: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield what an app waits for: what it depends on itself, and what the groups around it do."""
    yield from app.awaited
    group = app.id if groups else "/"
    while group != "/":
        group = ids.parent(group)
        yield from groups.get(group, ())


def restart_cycle(apps: Mapping[str, App]) -> tuple[str, ...]:
    """Return apps that require each other in a circle and restart whenever that changes, or nothing."""
    restarts: dict[str, list[str]] = {}
    for app_id, app in apps.items():
        followed = (wanted.app for wanted in app.eratos.requires.values() if wanted.on_change.kind == "restart")
        restarts[app_id] = [other for other in followed if other is not None and other in apps and other != app_id]
    done: set[str] = set()
    for start in restarts:
        trail: dict[str, None] = {}  # in order
        stack = [iter((start,))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                if trail:
                    done.add(trail.popitem()[0])
            elif step in trail:
                circle = [*trail]
                return (*circle[circle.index(step) :], step)
            elif step not in done:
                trail[step] = None
                stack.append(iter(restarts.get(step, ())))
    return ()


def _inside(apps: Mapping[str, App]) -> dict[str, list[str]]:
    """Return what lies directly in each group, apps and groups, by the group's id behind a blank.

    So a dependency on a group costs one step, however many apps are in it. An app is a group of itself and what lies below.
    """
    inside: dict[str, list[str]] = {}
    for app_id in apps:
        inside.setdefault(f" {app_id}", []).append(app_id)
        below = app_id
        while below != "/":
            group = ids.parent(below)
            known = f" {group}" in inside
            inside.setdefault(f" {group}", []).append(f" {below}")
            if known:
                break
            below = group
    return inside
