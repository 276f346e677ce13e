"""Wanted against actual for one app: how many instances to start, and which to stop. Pure and level-triggered.

There is no plan to carry out and so none that can be stuck: each pass looks at what is there and takes the next safe step.
The arithmetic is Marathon's upgradeStrategy (docs/deployments.md, RestartStrategy in TaskReplaceActor.scala):
ceil(instances * minimumHealthCapacity) stay ready, at most instances + floor(instances * maximumOverCapacity) exist.

An instance that has to move, because its agent is going to be emptied, is treated as one of an old version: its
replacement is ready before it is stopped, for a single instance too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from eratos.marathon.app import App

from .state import Fleet, Instance, Kind


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do next for an app."""

    start: int = 0
    stop: tuple[Instance, ...] = ()


@dataclass(slots=True)
class Counts:
    """The instances of an app, counted for its present definition."""

    total: int = 0
    stopping: int = 0
    current: int = 0  #: active ones of the present version that stay where they are
    old: int = 0  #: active ones to be replaced
    ready: int = 0  #: active ones that may get traffic
    settled: int = 0  #: current and ready


def count(app: App, tally: Mapping[Kind, int]) -> Counts:
    """Sum up a fleet's tally."""
    checked = app.checked
    found = Counts()
    for kind, number in tally.items():
        found.total += number
        if kind.stopping:
            found.stopping += number
        elif not kind.inactive:
            ready = kind.ready(checked)
            found.ready += number * ready
            if is_current(app, kind):
                found.current += number
                found.settled += number * ready
            else:
                found.old += number
    return found


def is_current(app: App, instance: Kind | Instance) -> bool:
    """Tell whether an instance is as the app wants it: of the present version and free to stay."""
    return instance.version == app.version and not instance.moving


def bounds(app: App) -> tuple[int, int]:
    """Return (fewest ready, most existing) instances during a replacement."""
    strategy = app.upgrade_strategy
    fewest = math.ceil(app.instances * strategy.minimum_health_capacity)
    most = app.instances + math.floor(app.instances * strategy.maximum_over_capacity)
    if fewest >= most:
        # With all of them to stay ready and none in excess nothing could ever move: Marathon, too, allows one more then.
        most = fewest + 1
    return fewest, most


def next_steps(app: App | None, fleet: Fleet) -> Steps:
    """Return the next steps; ``app`` is None once it was deleted. Instances that stop already are not stopped again."""
    if app is None:
        return Steps(stop=tuple(instance for instance in fleet.instances.values() if not instance.stopping))
    counts = count(app, fleet.tally)
    surplus = counts.current - app.instances
    if not counts.old:
        return Steps(start=-surplus) if surplus <= 0 else Steps(stop=tuple(_surplus(app, fleet, surplus)))

    fewest, most = bounds(app)
    stop = _surplus(app, fleet, surplus) if surplus > 0 else []
    kept = counts.current - len(stop)
    # Those that stop still hold their resources, so they count against the maximum.
    start = max(0, min(app.instances - kept, most - kept - counts.old - counts.stopping))
    # What is not ready serves nobody and may go at once; the ready ones go as far as enough stay.
    checked = app.checked
    spare = counts.ready - sum(instance.ready(checked) for instance in stop) - fewest
    old = (i for i in fleet.instances.values() if not i.stopping and not i.inactive and not is_current(app, i))
    for instance in stop_order(app, old):
        if instance.ready(checked):
            if spare <= 0:
                break
            spare -= 1
        stop.append(instance)
    return Steps(start=start, stop=tuple(stop))


def at_rest(app: App | None, fleet: Fleet) -> bool:
    """Tell whether an app is as it was asked to be, with nothing on its way."""
    if app is None:
        return not fleet.instances
    counts = count(app, fleet.tally)
    return counts.total == counts.settled == app.instances


def stop_order(app: App, instances: Iterable[Instance]) -> list[Instance]:
    """Order instances by how little is lost with them: waiting, then launching, then unready, then by killSelection."""
    checked = app.checked

    def key(instance: Instance) -> tuple[int, float]:
        age = instance.launched_at or instance.waiting_since
        return _rank(instance, checked), age if app.kill_selection == "OLDEST_FIRST" else -age

    return sorted(instances, key=key)


def _rank(instance: Instance, checked: bool) -> int:
    return 0 if instance.waiting else 1 if instance.launching else 2 if not instance.ready(checked) else 3


def _surplus(app: App, fleet: Fleet, surplus: int) -> list[Instance]:
    """Choose current instances to stop: what serves nobody first, then where zones, then hosts, have more than their share.

    Scaled down by age alone, a fleet that was spread would end up lopsided.
    """
    checked = app.checked
    candidates = [i for i in fleet.instances.values() if not i.stopping and not i.inactive and is_current(app, i)]
    order = stop_order(app, candidates)
    idle = [instance for instance in order if _rank(instance, checked) < 3]
    chosen = idle[:surplus]
    serving = order[len(idle) :]
    by_zone: Callable[[Instance], str] = lambda instance: instance.agent.spread_zone  # noqa: E731
    by_host: Callable[[Instance], str] = lambda instance: instance.hostname  # noqa: E731
    for place in (by_zone, by_host):
        chosen += _above_share(serving, place, surplus - len(chosen), len(candidates) - surplus)
        taken = {instance.instance_id for instance in chosen}
        serving = [instance for instance in serving if instance.instance_id not in taken]
    return chosen + serving[: surplus - len(chosen)]


def _above_share(order: list[Instance], place: Callable[[Instance], str], most: int, left: int) -> list[Instance]:
    """Return up to ``most`` instances, in order, from places with more than an even share of the ``left`` that stay."""
    counts = Counter(map(place, order))
    share = math.ceil(left / max(len(counts), 1))
    chosen: list[Instance] = []
    for instance in order:
        if len(chosen) >= most:
            break
        if counts[place(instance)] > share:
            counts[place(instance)] -= 1
            chosen.append(instance)
    return chosen
