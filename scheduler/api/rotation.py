"""Which ready instances balancers do not send requests to yet, by what their companions say. Pure.

An app is ready before the balancers have heard of it: its executor registers it in Consul, Consul notifies the balancers, and
these change HAProxy. Who waits for an app waits for that too. Balancers that say nothing, or why they leave the app out, are
named and not waited for.

A balancer hears of instances in its own Consul data center, and in others where the app says so. Which one an instance is in
nobody has said but the balancers: what none in a data center has, and some in another one have, is not waited for in the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.core.state import State

Document = Mapping[str, Any]

_SERVES = ("UP", "no check")
#: All balancers are in the scheduler's own data center.
NO_PLACES: Final[Mapping[str, str]] = {}


class Wanted(NamedTuple):
    """What balancers of some groups ought to serve of one port of an app."""

    app_id: str
    service: str  #: its name in Consul, and of the backend
    groups: tuple[str, ...]
    zone: str  #: the policy that the app states; empty: each balancer's
    servers: tuple[str, ...]  #: of the ready instances, one at least


class Found(NamedTuple):
    """How one app is served."""

    app_id: str
    message: str
    awaited: bool  #: False: it cannot be known, or does not come by waiting


def wanted(state: State, app_ids: Iterable[str]) -> list[Wanted]:
    """Return what balancers ought to serve of apps now; ports that nobody asked to balance are left out."""
    return [found for app_id in app_ids if app_id in state.apps for found in _of_app(state, state.apps[app_id])]


def _of_app(state: State, app: App) -> Iterator[Wanted]:
    ready = [instance.task_id for instance in state.instances_of(app.id) if instance.ready(app.checked)]
    for index, (service, routing) in enumerate(zip(app.service_names, app.routings, strict=True)):
        if ready and routing.balanced:
            yield Wanted(app.id, service, routing.groups, routing.zone, tuple(names.service_id(task, index) for task in ready))


def compare(
    wanted: Sequence[Wanted],
    statuses: Sequence[tuple[str, Document | str]],
    trouble: str = "",
    places: Mapping[str, str] = NO_PLACES,
) -> Iterator[Found]:
    """Yield where balancers, by name, differ from what they ought to serve. ``trouble``: why others may be there; ``places``: the
    data center of each.
    """
    for port in wanted:
        expected = _expected(port, statuses, places)
        if not statuses:
            why = trouble or "no balancer is registered in Consul"
            yield Found(port.app_id, f"whether balancers send to it is not known: {why}", awaited=False)
        for name, status in statuses:
            if isinstance(status, str):
                yield Found(port.app_id, f"whether {name} sends to it is not known: {status}", awaited=False)
            elif _concerned(port, status):
                yield from _at(port._replace(servers=expected[places.get(name, "")]), name, status)


def _expected(
    port: Wanted, statuses: Sequence[tuple[str, Document | str]], places: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return data center -> the servers that balancers there ought to have."""
    has: dict[str, set[str]] = {}
    for name, status in statuses:
        known = has.setdefault(places.get(name, ""), set())
        if not isinstance(status, str) and _concerned(port, status):
            known |= {server for server in port.servers if f"{port.service}/{server}" in (status.get("servers") or {})}
    somewhere = set().union(*has.values())
    return {place: tuple(s for s in port.servers if s in known or s not in somewhere) for place, known in has.items()}


def _concerned(port: Wanted, status: Document) -> bool:
    """Return whether a balancer is to serve a port. One of the version before does not say its group, but what it has."""
    group = status.get("group")
    return port.service in (status.get("backends") or ()) if group is None else group == "*" or group in port.groups


def _at(port: Wanted, name: str, status: Document) -> Iterator[Found]:
    servers = status.get("servers") or {}
    said = [str(servers.get(f"{port.service}/{server}", {}).get("status", "")) for server in port.servers]
    serving = sum(text.startswith(_SERVES) for text in said)
    # It takes those of its zone alone, and who has none there says so.
    enough = 1 if (port.zone or status.get("zone_policy")) == "require" else len(said)
    if serving >= enough:
        return
    left_out = [str(text) for text in status.get("left_out") or () if str(text).startswith(f"{port.service}: ")]
    if left_out:
        yield Found(port.app_id, f"{name} leaves out {'; '.join(left_out)}", awaited=False)
        return
    others = sorted({text for text in said if text and not text.startswith(_SERVES)})
    more = f" ({', '.join(others)})" if others else ""
    yield Found(port.app_id, f"{name} sends to {serving} of {len(said)} ready instances of {port.service}{more}", awaited=True)
