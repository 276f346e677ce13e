"""What apps require: what an executor needs to know to follow it, and what is not there. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from eratos.common import names
from eratos.common.payload import OnChange, Requirement
from eratos.marathon import extras
from eratos.marathon.app import App

from .instances import Instance
from .mesos_types import Agent
from .state import State


def of_task(app: App, instance: Instance, apps: Mapping[str, App]) -> tuple[Requirement, ...]:
    """Return the requirements of an instance that has its agent, for its executor. An app's first one waits for no peer."""

    def waits(wanted: extras.Requirement) -> bool:
        return wanted.wait and not (wanted.app == app.id and instance.ordinal == 0)

    found = app.eratos.requires.items()
    return tuple(_of_task(name, wanted, instance.agent, apps, wait=waits(wanted)) for name, wanted in found)


def _of_task(name: str, wanted: extras.Requirement, agent: Agent, apps: Mapping[str, App], *, wait: bool) -> Requirement:
    service, _, datacenter = (wanted.service or "").partition("@")
    services = (service,) if service else _services(wanted, apps) if wanted.app is not None else ()
    return Requirement(
        name=name,
        variable=wanted.variable(name),
        services=services,
        datacenter=datacenter,
        app_id=wanted.app or "",
        port=wanted.port or "",
        tags=wanted.tags,
        attributes=wanted.attributes,
        zone=agent.spread_zone,
        zone_rule=wanted.zone,
        key=wanted.key or "",
        static=wanted.static or (),
        least=wanted.at_least,
        wait=wait,
        on_change=OnChange(wanted.on_change.kind, wanted.on_change.value, wanted.on_change.timeout_seconds),
    )


def _services(wanted: extras.Requirement, apps: Mapping[str, App]) -> tuple[str, ...]:
    """Return the Consul services that a port of an app may have: its first one has the app's own name.

    Its place among the app's ports may change while the task runs, so both are followed; the first is where it is now.
    """
    assert wanted.app is not None
    own = names.service_name(wanted.app)
    if wanted.port is None:
        return (own,)
    of_port = names.service_name(wanted.app, wanted.port)
    app = apps.get(wanted.app)
    first = app is not None and bool(app.ports) and app.ports[0].name == wanted.port
    return (own, of_port) if first else (of_port, own)


def lacking(state: State, app: App) -> str:
    """Say which app that this one requires has too few ready instances for another instance to start, or nothing."""
    for wanted in app.eratos.requires.values():
        if wanted.app is None or wanted.app == app.id or not wanted.wait:
            continue  # peers wait for each other at their executors, and the first one for none
        other = state.in_force(wanted.app)
        if other is None:
            return f"needs {_least(wanted)} of {wanted.source}, and there is no such app"
        ready = ready_of(state, other)
        if ready < wanted.at_least:
            return f"needs {_least(wanted)} of {wanted.source}, and has {ready}"
    return ""


def ready_of(state: State, app: App) -> int:
    """Count the instances of an app that may get traffic."""
    checked = app.checked
    return sum(number for kind, number in state.fleet(app.id).tally.items() if kind.ready(checked))


def _least(wanted: extras.Requirement) -> str:
    return "one ready instance" if wanted.at_least == 1 else f"{wanted.at_least} ready instances"
