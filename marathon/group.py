"""Groups: a tree of apps in one document, with ids relative to the group that holds them.

A group is a way to write apps down; what the scheduler keeps is the apps. A dependency of a group therefore becomes one
of each app in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import bounds, documents, ids
from .app import App
from .errors import PROBLEMS_MOST, InvalidApp, Problem
from .messages import kind

_FIELDS: Final = ("id", "apps", "groups", "dependencies", "pods", "version", "enforceRole", "scaleBy")
_REFUSED: Final[Mapping[str, str]] = {
    "pods": "eratos runs apps only: write each container as an app of its own",
    "enforceRole": "eratos offers its apps one role, a setting of the scheduler: remove it",
    "scaleBy": "it goes alone, in a PUT to the group's own address, without apps and groups",
}


@dataclass(frozen=True, slots=True)
class Group:
    """A group and what is in it. ``given`` tells which of apps and groups the document spoke of at all."""

    id: str
    own_apps: tuple[App, ...] = ()
    groups: tuple[Group, ...] = ()
    given: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, data: Any, base: str = "/") -> Group:
        """Read a group below the group ``base``. Raises InvalidApp with the problems of every app in it."""
        documents.check(data)
        bounds.check_count("/", "apps and groups", _count(data), bounds.APPS_MOST)
        problems: list[Problem] = []
        group = _parse(data, base, (), problems)
        everything = group.apps() if not problems else ()
        problems += _repeated(everything)
        problems += _cyclic(everything)
        if problems:
            raise InvalidApp(problems)
        return group

    def apps(self) -> tuple[App, ...]:
        """Return the apps of this group and of all groups below it."""
        return self.own_apps + tuple(app for group in self.groups for app in group.apps())


def _parse(data: Any, base: str, inherited: tuple[str, ...], problems: list[Problem]) -> Group:
    if not isinstance(data, Mapping):
        problems.append(Problem("/", f"must be an object with id, apps and groups, not {kind(data)}"))
        return Group(base)
    problems += _fields(data)
    group_id = _id(data.get("id", ""), base, "/id", problems)
    wanted = tuple(_id(item, group_id, f"/dependencies({i})", problems) for i, item in _items(data, "dependencies", problems))
    dependencies = inherited + wanted
    if len(dependencies) > bounds.ENTRIES_MOST:
        problems.append(
            Problem("/dependencies", f"are {len(dependencies)} with those of groups around: {bounds.ENTRIES_MOST} are the most")
        )
        return Group(group_id)
    apps: list[App] = []
    for index, item in _items(data, "apps", problems):
        if len(problems) >= PROBLEMS_MOST:
            break
        try:
            app = App.parse(item, group_id)
            if not ids.within(app.id, group_id):
                raise InvalidApp([Problem("/id", f"is {app.id}, outside of the group {group_id}: move it, or shorten the id")])
            apps.append(app.with_dependencies(dependencies))
        except InvalidApp as error:
            problems += [problem.below(f"/apps({index})") for problem in error.problems]
    groups: list[Group] = []
    for index, item in _items(data, "groups", problems):
        if len(problems) >= PROBLEMS_MOST:
            break
        below: list[Problem] = []
        groups.append(_parse(item, group_id, dependencies, below))
        problems += [problem.below(f"/groups({index})") for problem in below]
    given = frozenset(field for field in ("apps", "groups") if data.get(field) is not None)
    return Group(group_id, tuple(apps), tuple(groups), given)


def _count(data: Any) -> int:
    """Count what a document lists as apps and groups, whatever it is."""
    if not isinstance(data, Mapping):
        return 0
    apps, groups = data.get("apps"), data.get("groups")
    own = len(apps) if isinstance(apps, list) else 0
    return own + sum(1 + _count(group) for group in groups) if isinstance(groups, list) else own


def _fields(data: Mapping[str, Any]) -> Iterator[Problem]:
    for field, value in itertools.islice(data.items(), PROBLEMS_MOST):
        if field not in _FIELDS:
            yield Problem(f"/{documents.shortened(field)}", f"is no field of a group, as {', '.join(_FIELDS[:4])} are: remove it")
        elif value and field in _REFUSED:
            yield Problem(f"/{field}", f"is refused: {_REFUSED[field]}")


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


def _cyclic(apps: Iterable[App]) -> Iterator[Problem]:
    if cycle := dependency_cycle({app.id: app for app in apps}):
        yield Problem("/dependencies", f"wait for each other in a circle, {' -> '.join(cycle)}: remove one")


def dependency_cycle(apps: Mapping[str, App]) -> tuple[str, ...]:
    """Return apps that depend on each other in a circle, or nothing. A dependency may name a group: all apps in it."""
    inside = _inside(apps) if any(app.dependencies for app in apps.values()) else {}
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
                stack.append(iter(inside[visit] if visit.startswith(" ") else [f" {d}" for d in apps[visit].dependencies]))
            visit = ""
            while stack and not visit:
                visit = next((step for step in stack[-1] if step in apps or step in inside), "")
                if not visit:
                    stack.pop()
                    done.add(trail.popitem()[0])
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
