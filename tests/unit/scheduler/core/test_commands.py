"""A command that fails for a fault of ours changed nothing: it is neither in the memory nor, later, in the store."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from support.builders import a_machine, a_status, an_app, an_offer

from eratos.marathon.app import App
from eratos.scheduler.core import commands, events
from eratos.scheduler.core.machine import Machine

#: The version that both apps began with.
FIRST = "1970-01-01T00:16:41.000Z"

COMMANDS: dict[str, Callable[[str], events.Command]] = {
    "create": lambda _: events.PutApps((an_app("/new"), an_app("/newer"))),
    "change": lambda _: events.PutApps((an_app("/prime", cmd="other"), an_app("/other", 5)), force=True),
    "scale": lambda _: events.PutApps((an_app("/prime", 9),), force=True),
    "restart": lambda _: events.RestartApp("/prime", force=True),
    "delete": lambda _: events.DeleteApps(("/prime", "/other"), force=True),
    "kill": lambda instance: events.KillInstances((instance,)),
    "kill and scale": lambda instance: events.KillInstances((instance,), scale=True, force=True),
    "put a version": lambda _: events.PutVersion("/prime", FIRST, force=True),
    "roll back": lambda _: events.RollBack("i9"),
}


def running() -> Machine:
    machine = a_machine()
    machine.handle(events.Subscribed("fw1", "m:5050"), 1000.0)
    machine.handle(events.CommandReceived(1, events.PutApps((an_app("/prime", 2), an_app("/other")))), 1001.0)
    machine.handle(events.OffersReceived((an_offer(),)), 1002.0)
    for instance in list(machine.state.instances.values()):
        machine.handle(events.StatusChanged(a_status(instance.task_id, "RUNNING")), 1003.0)
    # A change under way, which each of the commands cuts short.
    ids = iter(("i9", *(f"n{number}" for number in range(100))))
    machine.step.new_id = lambda: next(ids)
    machine.handle(events.CommandReceived(2, events.PutApps((an_app("/prime", 2, cmd="changed"),))), 1004.0)
    # A delay is what a new definition resets.
    machine.state.launches_of("/prime").delay_s = 5.0
    return machine


def knowledge(machine: Machine) -> dict[str, Any]:
    state = machine.state
    return copy.deepcopy(
        {
            "apps": state.apps,
            "deployments": {key: found.record for key, found in state.deployments.items()},
            "changes": state.changes,
            "versions": {app_id: sorted(of_app) for app_id, of_app in state.versions.items()},
            "ended": list(state.ended),
            "delays": {app_id: launches.delay_s for app_id, launches in state.launches.items()},
            "instances": {key: (instance.kind, instance.version) for key, instance in state.instances.items()},
            "dirty": machine.step.dirty,
            "out": list(machine.step.out),
        }
    )


@pytest.mark.parametrize("call", [1, 2])  # the second is that of the second app, when the first was looked at already
@pytest.mark.parametrize("broken", ["new_id", "new_version", "with_version", "with_instances"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_raises_changed_nothing(name: str, broken: str, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = running()
    prime = next(instance for instance in machine.state.instances.values() if instance.app_id == "/prime")
    command = COMMANDS[name](prime.instance_id)
    before = knowledge(machine)
    calls = 0

    def failing(sound: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise RuntimeError("a bug")
            return sound(*args)

        return maybe

    match broken:
        case "new_id":
            machine.step.new_id = failing(machine.step.new_id)
        case "new_version":
            monkeypatch.setattr(commands, "new_version", failing(commands.new_version))
        case _:
            monkeypatch.setattr(App, broken, failing(getattr(App, broken)))
    try:
        machine.take(events.CommandReceived(7, command), 1010.0)
    except RuntimeError:
        assert knowledge(machine) == before
    else:
        assert calls < call
    if broken in ("new_id", "new_version") and name != "kill":  # which is no deployment
        assert calls >= 1, "no command goes without it"


def test_an_app_named_twice_is_deleted_once() -> None:
    machine = running()
    machine.handle(events.CommandReceived(7, events.DeleteApps(("/prime", "/prime"), force=True)), 1010.0)
    assert set(machine.state.apps) == {"/other"}
