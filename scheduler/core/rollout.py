"""Wanted against actual for one app: how many instances to start, and which to stop. Pure and level-triggered.

There is no plan to carry out and so none that can be stuck: each pass looks at what is there and takes the next safe step.
The arithmetic is Marathon's upgradeStrategy (docs/deployments.md, RestartStrategy in TaskReplaceActor.scala):
ceil(instances * minimumHealthCapacity) stay ready, at most instances + floor(instances * maximumOverCapacity) exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from eratos.marathon.app import App

from .state import Instance


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do next for an app."""

    start: int = 0
    stop: tuple[Instance, ...] = ()


def bounds(app: App) -> tuple[int, int]:
    """Return (fewest ready, most existing) instances during a replacement."""
    strategy = app.upgrade_strategy
    fewest = math.ceil(app.instances * strategy.minimum_health_capacity)
    most = app.instances + math.floor(app.instances * strategy.maximum_over_capacity)
    if fewest >= most:
        # With all of them to stay ready and none in excess nothing could ever move: Marathon, too, allows one more then.
        most = fewest + 1
    return fewest, most


def next_steps(app: App | None, instances: Iterable[Instance]) -> Steps:
    """Return the next steps; ``app`` is None once it was deleted. Instances that stop already are not stopped again."""
    instances = list(instances)
    live = [instance for instance in instances if not instance.stopping]
    if app is None:
        return Steps(stop=tuple(live))
    checked = bool(app.health_checks)
    active = [instance for instance in live if not instance.inactive]
    current = [instance for instance in active if instance.version == app.version]
    old = [instance for instance in active if instance.version != app.version]
    if not old:
        surplus = len(current) - app.instances
        if surplus <= 0:
            return Steps(start=-surplus)
        return Steps(stop=tuple(_stop_order(app, current, checked)[:surplus]))

    fewest, most = bounds(app)
    surplus = max(0, len(current) - app.instances)
    stop = _stop_order(app, current, checked)[:surplus]
    kept = len(current) - surplus
    # Those that stop still hold their resources, so they count against the maximum.
    stopping = len(instances) - len(live)
    start = max(0, min(app.instances - kept, most - kept - len(old) - stopping))
    # What is not ready serves nobody and may go at once; the ready ones go as far as enough stay.
    spare = sum(instance.ready(checked) for instance in active if instance not in stop) - fewest
    for instance in _stop_order(app, old, checked):
        if instance.ready(checked):
            if spare <= 0:
                break
            spare -= 1
        stop.append(instance)
    return Steps(start=start, stop=tuple(stop))


def at_rest(app: App | None, instances: Iterable[Instance]) -> bool:
    """Tell whether an app is as it was asked to be, with nothing on its way."""
    instances = list(instances)
    if app is None:
        return not instances
    checked = bool(app.health_checks)
    return len(instances) == app.instances and all(
        instance.version == app.version and instance.ready(checked) for instance in instances
    )


def _stop_order(app: App, instances: list[Instance], checked: bool) -> list[Instance]:
    """Order instances by how little is lost with them: waiting, then launching, then unready, then by killSelection."""

    def key(instance: Instance) -> tuple[int, float]:
        rank = 0 if instance.waiting else 1 if instance.launching else 2 if not instance.ready(checked) else 3
        age = instance.launched_at or instance.waiting_since
        return rank, age if app.kill_selection == "OLDEST_FIRST" else -age

    return sorted(instances, key=key)
