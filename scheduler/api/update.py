"""From a request's body to the apps that are wanted: full definitions, partial updates, groups. Pure."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from eratos.common import names
from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp, Problem
from eratos.marathon.group import Group, dependency_cycle
from eratos.marathon.messages import kind
from eratos.scheduler.core.records import RECORD_BYTES_MAX

from . import claims
from .errors import invalid

#: Fields that say the same in an older or another way: giving one replaces the others.
_RIVALS = (
    frozenset({"ports", "portDefinitions"}),
    frozenset({"cmd", "args"}),
)

SCALE_BY_MAX = 1_000_000


def updated(existing: App | None, body: Any, app_id: str, *, partial: bool) -> App:
    """Return the app that a PUT asks for. ``partial``: fields that the body leaves out stay as they are. Raises InvalidApp."""
    if not isinstance(body, Mapping):
        raise invalid("/", f"must be an object with the app's fields, not {kind(body)}")
    _own_id(body, app_id)
    given = {key: value for key, value in body.items() if value is not None}
    if "version" in given and not given.keys() - {"id", "version"}:
        raise invalid("/version", "is refused: eratos keeps no former versions; apply the former definition instead")
    if existing is None or not partial:
        return App.parse({**given, "id": app_id}, before=existing)
    return App.parse({**_kept(existing, given), **given, "id": app_id}, before=existing)


def _own_id(body: Mapping[str, Any], app_id: str) -> None:
    own = body.get("id")
    if own is None or (isinstance(own, str) and app_id in _readings(own, app_id)):
        return
    raise invalid("/id", f"is {own!r}, the request's address says {app_id}: correct one of them")


def _readings(own: str, app_id: str) -> Iterator[str]:
    for base in ("/", ids.parent(app_id)):
        try:
            yield ids.absolute(own, base)
        except ValueError:
            continue


def _kept(existing: App, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the present definition that the update does not speak of in any way."""
    kept = existing.to_json()
    for rivals in _RIVALS:
        if rivals & given.keys():
            for field in rivals:
                kept.pop(field, None)
    container = given.get("container")
    docker = container.get("docker") if isinstance(container, Mapping) else None
    if isinstance(docker, Mapping) and docker.get("network"):
        kept.pop("networks", None)
    if _mode(kept | dict(given)) != existing.network:
        # Another network has its ports in another place.
        kept.pop("portDefinitions", None)
        kept.get("container", {}).pop("portMappings", None)
    return kept


def _mode(app: Mapping[str, Any]) -> str:
    try:
        if "networks" in app:
            return "host" if app["networks"][0]["mode"] == "host" else "bridge"
        return "host" if app["container"]["docker"]["network"] == "HOST" else "bridge"
    except (LookupError, TypeError):
        return "host"


def check_instances(apps: Mapping[str, App], wanted: Iterable[App], most: int) -> None:
    """Refuse more instances than the scheduler may have; what brings them down is taken whatever they are. Raises InvalidApp."""
    wanted = tuple(wanted)
    now = sum(app.instances for app in apps.values())
    after = now + sum(app.instances - (apps[app.id].instances if app.id in apps else 0) for app in wanted)
    if after > max(now, most):
        message = (
            f"would make {after} instances of all apps together, and this scheduler has {most} at most: ask for fewer, "
            "or raise its setting --instances-limit"
        )
        place = f"of {wanted[0].id} and {len(wanted) - 1} more " if len(wanted) > 1 else ""
        raise InvalidApp([Problem("/instances", place + message)])


def keeping(apps: Mapping[str, App], wanted: Iterable[App]) -> tuple[App, ...]:
    """Return apps that are wanted, each that is not changed by the rules for balancing that it has."""
    return tuple(_keeping(apps.get(app.id), app) for app in wanted)


def _keeping(existing: App | None, app: App) -> App:
    if existing is None or not existing.unasked:
        return app
    as_before = app.with_unasked(True)
    return as_before if as_before.same_definition(existing) else app


def check(apps: Mapping[str, App], wanted: Iterable[App], role: str | None) -> None:
    """Hold apps that are wanted against all others there are. Raises InvalidApp."""
    wanted = tuple(wanted)
    after = {**apps, **{app.id: app for app in wanted}}
    problems: list[Problem] = []
    owners: dict[str, str] = {}
    new = dict.fromkeys(app.id for app in wanted)
    there = (app for app_id, app in apps.items() if app_id not in new)
    for app in itertools.chain(there, (after[app_id] for app_id in new)):
        for name in app.service_names:
            if name in names.RESERVED_SERVICES and app.id in new and name not in _services(apps.get(app.id)):
                problems.append(Problem("/id", f"gives the Consul service {name}, which is none of an app's: choose another id"))
            if owners.setdefault(name, app.id) != app.id:
                message = f"gives the Consul service {name}, which {owners[name]} has already: choose another id or port name"
                problems.append(Problem("/id", message))
    problems += claims.problems(apps, wanted)
    for app in wanted:
        problems += _role(app, role)
        problems += _size(app)
    if any(app.dependencies for app in wanted) and (cycle := dependency_cycle(after)):
        problems.append(Problem("/dependencies", f"wait for each other in a circle, {' -> '.join(cycle)}: remove one"))
    if problems:
        raise InvalidApp(problems)


def _services(app: App | None) -> tuple[str, ...]:
    return app.service_names if app is not None else ()


def _role(app: App, role: str | None) -> Iterator[Problem]:
    if role is None:
        return
    if app.role not in (None, role):
        yield Problem("/role", f"must be {role}, the scheduler's own role, or be left out")
    if app.accepted_resource_roles and set(app.accepted_resource_roles) != {"*", role}:
        both = " and ".join(sorted({"*", role}))
        yield Problem("/acceptedResourceRoles", f"is refused: eratos takes whatever is offered to it, roles {both}: remove it")


def _size(app: App) -> Iterator[Problem]:
    # A record holds a little more than the definition: its schema and version.
    size, most = len(json.dumps(app.to_json()).encode()), RECORD_BYTES_MAX - 1024
    if size > most:
        yield Problem("/", f"takes {size} bytes, and the store keeps {most}: move large values into files that the app reads")


def dropped(apps: Iterable[str], group: Group) -> Iterator[str]:
    """Yield the apps that a PUT of a group removes: those in a list it gives, and not given again."""
    given = {group.id: group}
    kept: set[str] = set()
    waiting = [group]
    while waiting:
        one = waiting.pop()
        kept.update(app.id for app in one.own_apps)
        given.update((child.id, child) for child in one.groups)
        waiting += one.groups
    for app_id in apps:
        # The nearest group that the document speaks of decides.
        place = ids.parent(app_id)
        direct = place in given
        while place not in given and place != "/":
            place = ids.parent(place)
        spoken_of = place in given and ("apps" if direct else "groups") in given[place].given
        if spoken_of and app_id not in kept and (direct or app_id not in given):
            yield app_id


def scaled(apps: Iterable[App], factor: Any) -> tuple[App, ...]:
    """Return apps with their instances multiplied, as ``scaleBy`` asks; fractions count as whole instances."""
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor <= SCALE_BY_MAX:
        given = kind(factor) if isinstance(factor, str | list | Mapping) else repr(factor)
        raise invalid("/scaleBy", f"must be a number from 0 to {SCALE_BY_MAX}, not {given}")
    return tuple(app.with_instances(math.ceil(app.instances * factor)) for app in apps)
