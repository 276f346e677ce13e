"""Apps whose instances have ordinals (``eratos.ordinals``): who holds which, who starts next, and who goes. Pure.

Ordinals are 0 up to one less than the app's instances. An instance has its own from when it is made, and whatever replaces it
has the same: its next task, the one of the next version, the one on another host. Nobody else has it before the end of the last
holder is known. So an instance out of reach keeps it, and a replacement is in place: the old one stops before its successor
starts, the highest first, as far as ``minimumHealthCapacity`` lets go of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eratos.common import names
from eratos.marathon.app import App

from . import rollout
from .instances import Instance
from .mesos_types import TaskState
from .reasons import Waiting
from .rollout import Steps
from .state import State


class Lacking(NamedTuple):
    """An ordinal whose instance is not ready, and why."""

    ordinal: int
    reason: str  #: a word for programs
    message: str


def next_steps(state: State, app: App, before: App | None, limit: int | None) -> tuple[Steps, list[int]]:
    """Return the next steps of an app, and the ordinals for what starts: new ones first, then those of the version before.

    ``limit``: how many of the new version there may be while a deployment is paused; ``before``: what the others are.
    """
    fleet, checked = state.fleet(app.id), app.checked
    taken = {instance.ordinal for instance in fleet.instances.values()}
    stop: list[Instance] = []
    leaving: list[Instance] = []
    current = ready = 0
    for instance in fleet.instances.values():
        if instance.stopping:
            continue
        if instance.ordinal is None or instance.ordinal >= app.instances:
            stop.append(instance)
            continue
        ready += instance.ready(checked)
        if rollout.is_current(app, instance):
            current += 1
        elif instance.state is not TaskState.UNREACHABLE:  # where it is back it is looked at again
            leaving.append(instance)
    # What is not ready serves nobody and may go at once; the ready ones go as far as enough stay.
    spare = ready - rollout.bounds(app)[0]
    most = len(leaving) if limit is None else max(0, limit - current)
    for instance in sorted(leaving, key=lambda i: (i.ready(checked), -(i.ordinal or 0))):
        stays = limit is not None and (before is None or rollout.is_current(before, instance))
        if (stays and most <= 0) or (instance.ready(checked) and spare <= 0):
            continue
        spare -= instance.ready(checked)
        most -= stays
        stop.append(instance)
    stop.sort(key=lambda instance: -(instance.ordinal or 0))
    free = [ordinal for ordinal in range(app.instances) if ordinal not in taken]
    if free and unrecorded(state, app):
        state.held_by_unrecorded.add(app.id)
        free = []
    else:
        state.held_by_unrecorded.discard(app.id)
    start = len(free) if limit is None else min(len(free), max(0, limit - current))
    return Steps(start, tuple(stop), len(free) - start if before is not None else 0), free


def unrecorded(state: State, app: App) -> bool:
    """Return whether a task of the app is about to be killed, as no record stands for it: nobody knows its ordinal."""
    of_app = names.instance_id(app.id, "")
    return any(task_id.startswith(of_app) for task_id in itertools.chain(state.unknown, state.returned))


def _first_missing(state: State, app: App) -> bool:
    """Return whether the others have to wait, as the instance with ordinal 0 is not ready."""
    if not app.first_alone:
        return False
    checked = app.checked
    return not any(instance.ordinal == 0 and instance.ready(checked) for instance in state.instances_of(app.id))


def may_start(state: State, app: App, waiting: Iterable[Instance]) -> list[Instance]:
    """Return which of the waiting instances may start now: the first one alone, and the others while it is ready."""
    found = list(waiting)
    if not _first_missing(state, app):
        return found
    return [instance for instance in found if not instance.ordinal]


def wait_for_first(state: State, app: App) -> bool:
    """Return whether all that waits of an app waits for its first instance."""
    return app.first_alone and not may_start(state, app, state.fleet(app.id).waiting.values())


def lacking(state: State, app: App) -> Iterator[Lacking]:
    """Yield each ordinal whose instance is not ready, and what that waits for. For people."""
    holders = {instance.ordinal: instance for instance in state.instances_of(app.id)}
    first_missing, other = _first_missing(state, app), unrecorded(state, app)
    for ordinal in range(app.instances):
        instance = holders.get(ordinal)
        if instance is not None and instance.ready(app.checked):
            continue
        yield Lacking(ordinal, *_why(app, instance, first_missing=first_missing, unrecorded=other))


def _why(app: App, instance: Instance | None, *, first_missing: bool, unrecorded: bool) -> tuple[str, str]:
    if instance is None:
        if unrecorded:
            return "Unrecorded", "a task of the app that no record stands for may hold it, and has to end first"
        return "Free", "an instance is about to be made for it"
    if instance.waiting and instance.ordinal and first_missing:
        return Waiting.FIRST.value, "it starts once the instance with ordinal 0 is ready"
    if instance.waiting:
        return "Waiting", "it is to start as soon as it can"
    if instance.state is TaskState.UNREACHABLE:
        strategy = app.unreachable_strategy
        until = "Mesos says that the agent is gone" if strategy is None else "inactiveAfterSeconds are over"
        return "Unreachable", f"agent {instance.hostname} cannot be reached: it keeps its ordinal until it is back, or {until}"
    if instance.stopping:
        return "Stopping", f"it stops on {instance.hostname}, and another one follows in its place"
    return "NotReady", f"it is on {instance.hostname}, and not ready yet"
