"""From a request's body to the apps that are wanted: full definitions, partial updates, groups. Pure."""

from __future__ import annotations

import difflib
import functools
import itertools
import json
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from eratos.common import names
from eratos.marathon import definition, ids
from eratos.marathon.app import App
from eratos.marathon.app_parts import Volume
from eratos.marathon.errors import PROBLEMS_MOST, InvalidApp, InvalidInItself, Problem
from eratos.marathon.group import NO_GROUPS, Group, dependency_cycle, restart_cycle, too_many_dependencies
from eratos.marathon.normalise import has_volumes
from eratos.marathon.pod import Pod
from eratos.marathon.pydantic_errors import kind
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.core.groups import around
from eratos.scheduler.core.records import RECORD_BYTES_MAX

from . import app_roles, claims
from .app_roles import Roles
from .errors import invalid

#: Fields that say the same in an older or another way: giving one replaces the others.
_RIVALS = (
    frozenset({"ports", "portDefinitions"}),
    frozenset({"cmd", "args"}),
)

SCALE_BY_MAX = 1_000_000
#: Of all apps at each change: there may be thousands.
_INSTANCES = operator.attrgetter("instances")
_SERVICE_NAMES = operator.attrgetter("service_names")
#: Ids that one which is none's is compared with, to say what may be meant.
_COMPARED_MOST = 100


def updated(existing: App | None, body: Any, app_id: str, *, partial: bool) -> App:
    """Return the app that a PUT asks for. ``partial``: fields that the body leaves out stay as they are. Raises InvalidApp."""
    if not isinstance(body, Mapping):
        raise invalid("/", f"must be an object with the app's fields, not {kind(body)}")
    _own_id(body, app_id)
    if isinstance(existing, Pod):
        raise invalid("/id", f"is {app_id}, which is a pod: choose another id, or change the pod at /v2/pods{app_id}")
    given = {key: value for key, value in body.items() if value is not None}
    if "version" in given and not given.keys() - {"id", "version"}:
        raise invalid("/version", f"goes alone, in a PUT to /v2/apps{app_id}")
    if existing is not None and given.get("version", existing.version) != existing.version:
        raise invalid(
            "/version", f"may only be combined with id, or be the present one, {existing.version}: leave it out, or all others"
        )
    if existing is None:
        return definition.parse({**given, "id": app_id})
    if not partial:
        return _as_many(existing, given, definition.parse({**given, "id": app_id}, before=existing))
    kept = _kept(existing, given)
    if "eratos" in given and "instances" not in given and existing.autoscale is not None:
        del kept["instances"]
    app = _as_many(existing, given, definition.parse({**kept, **given, "id": app_id}, before=existing))
    # Of fields without effect nothing was kept that could be sent back.
    left = [found for found in existing.dropped if found[0].split("/")[1].split("(")[0] not in given]
    return app.with_dropped((*left, *app.dropped)) if left else app


def _as_many(existing: App, given: Mapping[str, Any], app: App) -> App:
    """Return the app with the instances that its load has brought it to, where nothing is said of them."""
    if "instances" in given or existing.autoscale is None:
        return app
    if app.autoscale is None:
        return app.with_instances(existing.instances)
    return app.with_instances(app.autoscale.clamped(existing.instances) if existing.instances else 0)


def former(existing: App | None, body: Any, app_id: str) -> str:
    """Return the version that an app is to go back to, where a PUT asks for nothing else; else nothing. Raises InvalidApp."""
    given = {key for key, value in body.items() if value is not None} if isinstance(body, Mapping) else set()
    if isinstance(existing, Pod) or "version" not in given or given - {"id", "version"}:
        return ""
    _own_id(body, app_id)
    if not isinstance(body["version"], str):
        raise invalid("/version", f"must be a version such as 2026-01-31T12:00:00.123Z, not {kind(body['version'])}")
    return body["version"]


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
    if given.get("uris"):
        kept.pop("fetch", None)
    if existing.resident and not has_volumes({**kept, **given}, "persistent"):
        # They are what goes with the volumes that there are no more.
        kept.pop("residency", None)
        kept.pop("unreachableStrategy", None)
    if given.get("ipAddress") or (isinstance(docker, Mapping) and docker.get("network")):
        kept.pop("networks", None)
    if _mode(kept | dict(given)) != existing.network:
        # Another network has its ports in another place.
        kept.pop("portDefinitions", None)
        kept.get("container", {}).pop("portMappings", None)
    return kept


def _mode(app: Mapping[str, Any]) -> str:
    try:
        if "networks" in app:
            return "host" if str(app["networks"][0]["mode"]).lower() == "host" else "bridge"
        if app.get("ipAddress"):
            return "bridge"
        return "host" if str(app["container"]["docker"]["network"]).upper() == "HOST" else "bridge"
    except (LookupError, TypeError):
        return "host"


def check_instances(apps: Mapping[str, App], wanted: Iterable[App], most: int) -> None:
    """Refuse more instances than the scheduler may have, and numbers out of the bounds of autoscaling. Raises InvalidApp.

    What brings instances down is taken whatever they are. A group's ``scaleBy`` may come to any number.
    """
    wanted = tuple(wanted)
    faults = ((app, app.autoscale.fault(app.instances)) for app in wanted if app.autoscale is not None)
    if problems := [Problem("/instances", f"of {app.id} {fault}") for app, fault in faults if fault]:
        raise InvalidApp(problems)
    for app in wanted:
        if app.exclusive_volumes and app.instances > max(1, apps[app.id].instances if app.id in apps else 0):
            named = ", ".join(sorted(app.exclusive_volumes))
            message = f"of {app.id} would be {app.instances}, and one at a time may write to its volume {named}: leave it at 1"
            raise InvalidApp([Problem("/instances", message)])
    now = sum(map(_INSTANCES, apps.values()))
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


def check(
    apps: Mapping[str, App],
    wanted: Iterable[App],
    roles: Roles | None,
    groups: Mapping[str, tuple[str, ...]] = NO_GROUPS,
    known: Mapping[str, tuple[str, ...]] = NO_GROUPS,
    sees: Callable[[str], bool] = lambda app_id: True,
) -> None:
    """Hold apps that are wanted against all others there are. Raises InvalidApp.

    ``groups``: all groups there will be, but for those that come with their apps, and what each depends on; ``known``: those
    that are there now; ``roles``: that apps may have, None: any; ``sees``: which apps may be proposed to whoever asks. What is
    only scaled stays as it was accepted, whatever is refused since.
    """
    wanted = tuple(app for app in wanted if app.id not in apps or not apps[app.id].same_definition(app))
    after = {**apps, **{app.id: app for app in wanted}}
    problems: list[Problem] = []
    problems += _service_names(apps, {app.id: after[app.id] for app in wanted})
    problems += claims.problems(apps, wanted)
    problems += _same_id(apps, after, groups, groups.keys() - known.keys())
    proposed = functools.cache(lambda: [app_id for app_id in after if sees(app_id)])
    mounted = _mounted(after) if any(volume.external for app in wanted for volume in app.container.volumes) else {}
    for app in wanted:
        problems += _kind(apps.get(app.id), app)
        problems += app_roles.problems(apps.get(app.id), app, roles) if roles is not None else ()
        problems += _size(app)
        problems += _requires(after, app, proposed)
        problems += _volumes(mounted, app)
        if len(problems) > PROBLEMS_MOST:
            break
    problems += itertools.islice(_required(apps, wanted, after), PROBLEMS_MOST)
    if any(app.eratos.requires for app in wanted) and (cycle := restart_cycle(after)):
        message = f"restart each other in a circle, {' -> '.join(cycle)}: tell one by a command or a signal (onChange)"
        problems.append(Problem("/eratos/requires", message))
    if too_many := list(itertools.islice(too_many_dependencies(groups, known), PROBLEMS_MOST)):
        raise InvalidApp([*problems, *too_many])  # to look for circles among them would take too long
    waits = {group_id: needs for group_id, needs in groups.items() if needs}
    if _waits_anew(apps, wanted, waits, known) and (cycle := dependency_cycle(after, waits)):
        place = "/dependencies" if waits or any(app.dependencies for app in wanted) else "/eratos/requires"
        problems.append(Problem(place, f"wait for each other in a circle, {' -> '.join(cycle)}: remove one"))
    if problems:
        raise InvalidApp(problems)


def _waits_anew(
    apps: Mapping[str, App],
    wanted: Iterable[App],
    waits: Mapping[str, tuple[str, ...]],
    known: Mapping[str, tuple[str, ...]],
) -> bool:
    """Tell whether something waits that did not, or for something else: only then there may be a new circle."""
    if any(known.get(group_id) != needs for group_id, needs in waits.items()):
        return True
    changed = (app for app in wanted if app.id not in apps or apps[app.id].awaited != app.awaited)
    return any(app.awaited or not waits.keys().isdisjoint(around(app.id)) for app in changed)


def _same_id(
    apps: Mapping[str, App], after: Mapping[str, App], groups: Mapping[str, Iterable[str]], new_groups: Set[str]
) -> Iterator[Problem]:
    """Find what is new and has the id of an app as well as of a group. Both may be there from before this was refused."""
    new = after.keys() - apps.keys()
    above = {group_id for app_id in (*new, *new_groups) for group_id in around(app_id)}
    for both in sorted({*new} & (groups.keys() | above) | after.keys() & (new_groups | above)):
        yield Problem("/id", f"Groups and Applications may not have the same identifier: {both} would be both; choose another id")


def _requires(apps: Mapping[str, App], app: App, proposed: Callable[[], Collection[str]]) -> Iterator[Problem]:
    """Find required apps and ports that are not there."""
    for name, wanted in app.eratos.requires.items():
        if wanted.app is None:
            continue
        place, other = f"/eratos/requires/{name}", apps.get(wanted.app)
        if other is None:
            near = _near(wanted.app, proposed())
            instead = f"did you mean {near}?" if near else "apply it first, or with this one in a group"
            yield Problem(f"{place}/app", f"is {wanted.app}, and there is no such app: {instead}")
        elif not other.ports:
            yield Problem(f"{place}/app", f"is {wanted.app}, which has no port")
        elif wanted.port is not None and wanted.port not in (known := [port.name for port in other.ports if port.name]):
            named = ", ".join(known) or "none"
            yield Problem(f"{place}/port", f"is {wanted.port}, the named ports of {wanted.app} are {named}: correct it")


class _Mount(NamedTuple):
    """How a volume with a name is mounted, as far as that may be in the way of somebody else."""

    driver: str
    options: frozenset[tuple[str, object]]
    exclusive: bool
    read_only: bool

    @classmethod
    def of(cls, volume: Volume) -> _Mount:
        external = volume.external
        assert external is not None
        options = frozenset(external.driver_options.items())
        return cls(external.driver, options, bool(volume.exclusive), volume.read_only)


def _mounted(apps: Mapping[str, App]) -> dict[str, dict[_Mount, list[str]]]:
    """Return by the names of volumes how they are mounted, and two apps of those that do: no app asks for others than itself.

    However many apps have one volume, to look at it costs the ways in which they have it.
    """
    found: dict[str, dict[_Mount, list[str]]] = {}
    for app in apps.values():
        for volume in app.container.volumes:
            if volume.external is not None:
                who = found.setdefault(volume.external.name, {}).setdefault(_Mount.of(volume), [])
                if not who or (len(who) == 1 and who[0] != app.id):
                    who.append(app.id)
    return found


def _volumes(mounted: Mapping[str, Mapping[_Mount, list[str]]], app: App) -> Iterator[Problem]:
    """Find volumes by name that another app has, where that is another volume, or one that only one app may write to."""
    for index, volume in enumerate(app.container.volumes):
        if volume.external is None:
            continue
        name, own = volume.external.name, _Mount.of(volume)
        for theirs, who in mounted[name].items():
            other = next((app_id for app_id in who if app_id != app.id), None)
            if other is None:
                continue
            if (own.driver, own.options) != (theirs.driver, theirs.options):
                text = f"is {name}, which {other} has with another driver or options: choose another name, or write the same"
                yield Problem(f"/container/volumes({index})/external/name", text)
            elif (own.exclusive or theirs.exclusive) and not (own.read_only or theirs.read_only):
                text = f"is {name}, to which {other} writes: say shared in both if several may, or mount it with mode RO"
                yield Problem(f"/container/volumes({index})/external/name", text)


def _near(app_id: str, apps: Collection[str]) -> str:
    """Return an app that may be meant by the id of none, or nothing. Few are compared, as that takes longer than all else."""
    last, group = app_id.rpartition("/")[2], ids.parent(app_id)
    if same := next((other for other in apps if other.rpartition("/")[2] == last), ""):
        return same
    there = [other for other in apps if ids.parent(other) == group] or apps
    return next(iter(difflib.get_close_matches(app_id, itertools.islice(there, _COMPARED_MOST), 1)), "")


def _required(before: Mapping[str, App], wanted: Iterable[App], apps: Mapping[str, App]) -> Iterator[Problem]:
    """Find ports that are taken away from apps while others require them."""
    gone = {(app.id, port.name) for app in wanted if app.id in before for port in before[app.id].ports if port.name}
    gone -= {(app_id, port.name) for app_id in {app_id for app_id, _ in gone} for port in apps[app_id].ports}
    for other in apps.values() if gone else ():
        for name, required in other.eratos.requires.items():
            if (required.app, required.port) in gone and other.id != required.app:
                app = apps[str(required.app)]
                message = f"miss the port {required.port}, which {other.id} requires as {name}: change that first"
                yield Problem("/container/portMappings" if app.network == "bridge" else "/portDefinitions", message)


def check_policy(apps: Mapping[str, App], wanted: Iterable[App], policy: Policy) -> None:
    """Hold apps that are new or changed against the policy. Raises InvalidApp."""
    problems: list[Problem] = []
    for app in wanted:
        existing = apps.get(app.id)
        # What is there goes on as it is, and may be scaled.
        if existing is None or not existing.same_definition(app):
            problems += policy.problems(app)
    if problems:
        raise InvalidInItself(problems)


def _service_names(apps: Mapping[str, App], wanted: Mapping[str, App]) -> Iterator[Problem]:
    """Find Consul services that apps would give which are not theirs to give."""
    asked = {name for app in wanted.values() for name in app.service_names}
    owners: dict[str, str] = {}
    # Nearly always no other app has one of them, and that is seen at once.
    there = () if asked.isdisjoint(itertools.chain.from_iterable(map(_SERVICE_NAMES, apps.values()))) else apps.values()
    for app in there:
        if app.id not in wanted:
            for name in asked.intersection(app.service_names):
                owners.setdefault(name, app.id)
    for app in wanted.values():
        for name in app.service_names:
            if name in names.RESERVED_SERVICES and name not in _services(apps.get(app.id)):
                yield Problem("/id", f"gives the Consul service {name}, which is none of an app's: choose another id")
            if owners.setdefault(name, app.id) != app.id:
                message = f"gives the Consul service {name}, which {owners[name]} has already: choose another id or port name"
                yield Problem("/id", message)


def _services(app: App | None) -> tuple[str, ...]:
    return app.service_names if app is not None else ()


def _kind(existing: App | None, app: App) -> Iterator[Problem]:
    if existing is not None and isinstance(existing, Pod) != isinstance(app, Pod):
        what = "a pod" if isinstance(existing, Pod) else "an app"
        yield Problem("/id", f"is {app.id}, which is {what}: choose another id, or delete that one first")


def _size(app: App) -> Iterator[Problem]:
    # A record holds a little more than the definition: its schema and version.
    size, most = len(json.dumps([app.to_json(), app.dropped]).encode()), RECORD_BYTES_MAX - 1024
    if size > most:
        yield Problem("/", f"takes {size} bytes, and the store keeps {most}: move large values into files that the app reads")


def dropped(apps: Mapping[str, App], group: Group) -> Iterator[str]:
    """Yield the apps and pods that a PUT of a group removes: those in a list it gives, and not given again."""
    given = {group.id: group}
    kept: set[str] = set()
    waiting = [group]
    while waiting:
        one = waiting.pop()
        kept.update(app.id for app in one.own_apps)
        given.update((child.id, child) for child in one.groups)
        waiting += one.groups
    for app_id, app in apps.items():
        own = "pods" if isinstance(app, Pod) else "apps"
        # The nearest group that the document speaks of decides.
        place = ids.parent(app_id)
        direct = place in given
        while place not in given and place != "/":
            place = ids.parent(place)
        spoken_of = place in given and (own if direct else "groups") in given[place].given
        if spoken_of and app_id not in kept and (direct or app_id not in given):
            yield app_id


def dropped_groups(groups: Iterable[str], group: Group) -> Iterator[str]:
    """Yield the groups that a PUT of a group removes unless something is left in them: those of a list it gives, not given."""
    given = {one.id: one for one in group.all()}
    for group_id in groups:
        place = group_id
        while place not in given and place != "/":
            place = ids.parent(place)
        if place != group_id and place in given and "groups" in given[place].given:
            yield group_id


def scaled(apps: Iterable[App], factor: Any) -> tuple[App, ...]:
    """Return apps with their instances multiplied, as ``scaleBy`` asks; fractions count as whole instances.

    Of apps with one on each host the hosts are the number: 0 ends them, and nothing else changes them.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor <= SCALE_BY_MAX:
        given = kind(factor) if isinstance(factor, str | list | Mapping) else repr(factor)
        raise invalid("/scaleBy", f"must be a number from 0 to {SCALE_BY_MAX}, not {given}")
    return tuple(
        app.with_instances(min(app.instances, math.ceil(factor)) if app.per_host else math.ceil(app.instances * factor))
        for app in apps
    )
