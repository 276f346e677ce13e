"""How an app's tasks fare: what is measured of their starts and stops, and what counts as a restart."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.core import Core

from eratos.scheduler.core import events
from eratos.scheduler.core.lives import Lives, Total
from eratos.scheduler.core.mesos_types import RECONCILIATION

CHECKED: dict[str, Any] = {"healthChecks": [{"protocol": "MESOS_HTTP"}]}


def launched(**fields: Any) -> tuple[Core, str]:
    """Return a core with one task on its way."""
    core = Core()
    core.subscribe()
    core.put(an_app("/a", 1, **fields))
    (task,) = core.launch(an_offer())
    return core, task


def lives(core: Core) -> Lives:
    found = core.machine.state.lives_of("/a")
    assert found is not None
    return found


def test_without_checks_a_task_is_ready_as_soon_as_it_runs() -> None:
    core, task = launched()
    core.tick(2)
    core.status(task, "STARTING")
    core.tick(3)
    for _ in range(2):
        core.status(task, "RUNNING")
    assert lives(core) == Lives(start=Total(1, 5.0), ready=Total(1, 5.0))


def test_with_checks_a_task_is_ready_once_however_often_they_fail() -> None:
    core, task = launched(**CHECKED)
    core.tick(1)
    core.status(task, "RUNNING")
    for healthy in (False, True, False, True):
        core.tick(1)
        core.status(task, "RUNNING", healthy=healthy)
    assert lives(core) == Lives(start=Total(1, 1.0), ready=Total(1, 3.0))


def test_what_is_learnt_late_is_not_measured() -> None:
    core, task = launched()
    core.tick(60)
    core.status(task, "RUNNING", reason=RECONCILIATION)
    assert lives(core) == Lives()


@pytest.mark.parametrize("state", ["FAILED", "FINISHED", "LOST"])
def test_a_task_that_ends_unasked_is_a_restart(state: str) -> None:
    core, task = launched()
    core.status(task, state)
    assert lives(core) == Lives(restarts=1)


def test_a_launch_that_reached_nobody_is_none() -> None:
    core, task = launched()
    core.handle(events.NotLaunched((task,)))
    assert lives(core) == Lives()


def test_a_stop_is_measured_until_the_task_has_ended() -> None:
    core, task = launched()
    core.status(task, "RUNNING")
    core.scale("/a", 0)
    core.tick(4)
    core.status(task, "KILLED")
    assert (lives(core).restarts, lives(core).drain) == (0, Total(1, 4.0))


def test_nothing_is_kept_of_an_app_that_is_gone() -> None:
    core, task = launched()
    core.status(task, "RUNNING")
    core.command(events.DeleteApps(("/a",)))
    core.status(task, "KILLED")
    assert core.machine.state.lives == {}
