"""Service ports for the ports that state none: each its own, and the same for as long as the app is there. Pure.

As in Marathon (AssignDynamicServiceLogic): what an app had before goes to its ports that state none, in order; then comes
what no app has. Where to look first follows from the app's id, so that an app that is deleted and made again gets its old
ports, and what one app left behind is not handed to the next. Apps that nobody changes keep what they have, which is nothing
where a version stored them that assigned none.
"""

from __future__ import annotations

import itertools
import operator
import zlib
from collections.abc import Iterable, Mapping

from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp, Problem
from eratos.marathon.pod import Pod

#: Marathon's from --local_port_min to --local_port_max.
DEFAULT = range(10_000, 20_001)
#: Of all apps at each change: there may be thousands.
_TAKEN = operator.attrgetter("taken_ports")


def assigned(apps: Mapping[str, App], wanted: Iterable[App], ports: range) -> tuple[App, ...]:
    """Return apps that are wanted, each port with a service port. ``apps`` are those there are. Raises InvalidApp."""
    kept = [_as_before(apps, app, ports) for app in wanted]
    lacking = [index for index, app in enumerate(kept) if _lacks(apps.get(app.id), app)]
    if not lacking:
        return tuple(kept)
    taken = set(itertools.chain.from_iterable(map(_TAKEN, itertools.chain(apps.values(), kept))))
    for index in lacking:
        kept[index] = _filled(kept[index], ports, taken)
    return tuple(kept)


def _as_before(apps: Mapping[str, App], app: App, ports: range) -> App:
    """Give an app what it had: the service ports where it states none, and which of them were chosen."""
    existing = apps.get(app.id)
    if existing is None or not app.ports:
        return app
    stated = [port.service_port for port in app.ports]
    chosen = {port.service_port for port in existing.ports if port.assigned}
    free = [port.service_port for port in existing.ports if port.service_port in ports and port.service_port not in stated]
    if 0 in stated and not chosen.issuperset(free):
        # What it stated, others may have stated as well.
        others = set[int]().union(*(other.taken_ports for other in apps.values() if other.id != app.id))
        free = [port for port in free if port in chosen or port not in others]
    found: list[int] = []
    indexes: set[int] = set()
    for index, port in enumerate(app.ports):
        own = existing.ports[index].service_port if index < len(existing.ports) else 0
        number = port.service_port
        if not number and _may_be_given(app, index) and free:
            number = own if own in free else free[0]
            free.remove(number)
            indexes.add(index)
        elif number in chosen:
            indexes.add(index)  # it was read, and is sent back
        found.append(number)
    return app.with_service_ports(found, indexes) if indexes else app


def _lacks(existing: App | None, app: App) -> bool:
    if not any(not port.service_port and _may_be_given(app, index) for index, port in enumerate(app.ports)):
        return False
    return existing is None or not existing.same_definition(app)


def _may_be_given(app: App, index: int) -> bool:
    """Return whether a service port may be chosen: not of pods, and with requirePorts agents would have to offer it."""
    return not isinstance(app, Pod) and not (app.network == "host" and app.require_ports)


def _filled(app: App, ports: range, taken: set[int]) -> App:
    found, indexes = [], set(app.assigned)
    for index, port in enumerate(app.ports):
        number = port.service_port
        if not number and _may_be_given(app, index):
            number = _free(app.id, ports, taken)
            indexes.add(index)
        found.append(number)
    return app.with_service_ports(found, indexes)


def _free(app_id: str, ports: range, taken: set[int]) -> int:
    start = zlib.crc32(app_id.encode()) % len(ports)
    for step in range(len(ports)):
        number = ports[(start + step) % len(ports)]
        if number not in taken:
            taken.add(number)
            return number
    message = f"finds no service port from {ports[0]} to {ports[-1]} that no app has: raise the scheduler's --local-port-max"
    raise InvalidApp([Problem("/", f"{message}, or state one")])
