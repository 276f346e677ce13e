"""Wanted against actual for one app: how many instances to start, and which to stop. Pure and level-triggered.

There is no plan to carry out and so none that can be stuck: each pass looks at what is there and takes the next safe step.
The arithmetic is Marathon's upgradeStrategy (docs/deployments.md, RestartStrategy in TaskReplaceActor.scala):
ceil(instances * minimumHealthCapacity) stay ready, at most instances + floor(instances * maximumOverCapacity) exist.

An instance that has to move, because its agent is going to be emptied, is treated as one of an old version: its
replacement is ready before it is stopped, for a single instance too. So is one that could not be told of a change of
what it requires.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from eratos.marathon.app import App

from .instances import Fleet, Instance, Kind
from .mesos_types import TaskState


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do next for an app."""

    start: int = 0
    stop: tuple[Instance, ...] = ()
    start_before: int = 0  #: of the version before, where both are wanted


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
    """Return whether an instance is as the app wants it: of the present version, free to stay, told of all it requires."""
    return instance.version == app.version and not instance.moving and not instance.outdated


def bounds(app: App) -> tuple[int, int]:
    """Return (fewest ready, most existing) instances during a replacement.

    With ordinals one may always be away: as none is held twice, nothing could be replaced otherwise.

    Of an app with volumes one may always be without: its successor has its volumes, and so comes after it
    (TaskReplaceActor.scala).
    """
    strategy = app.upgrade_strategy
    fewest = math.ceil(app.instances * strategy.minimum_health_capacity)
    if app.ordinals:
        return max(0, min(fewest, app.instances - 1)), app.instances
    most = app.instances + math.floor(app.instances * strategy.maximum_over_capacity)
    if fewest >= most and app.alone:
        fewest = max(0, most - 1)
    elif fewest >= most:
        # With all of them to stay ready and none in excess nothing could ever move: Marathon, too, allows one more then.
        most = fewest + 1
    return fewest, most


def next_steps(app: App | None, fleet: Fleet) -> Steps:
    """Return the next steps; ``app`` is None once it was deleted. Instances that stop already are not stopped again."""
    if app is None:
        return Steps(stop=tuple(instance for instance in fleet.instances.values() if not instance.stopping))
    counts = count(app, fleet.tally)
    if counts.old:
        return staged_steps(app, app, app.instances, fleet)
    missing = app.instances - counts.current
    # With volumes what is on its way out has still to leave them to its successor.
    start = min(missing, app.instances - counts.total) if app.resident else missing
    return Steps(start=max(0, start), stop=tuple(_surplus(app, fleet, -missing)))


def staged_steps(app: App, before: App, limit: int, fleet: Fleet) -> Steps:
    """Return the next steps of an app of which at most ``limit`` instances may be new; the version before has the others.

    The bounds are those of a whole replacement, and what crashes comes back in its own version.
    """
    counts = count(app, fleet.tally)
    new = min(limit, app.instances)
    old = app.instances - new
    fewest, most = bounds(app)
    # What stops holds its resources for a while, so it counts against the maximum.
    room = max(0, most - counts.current - counts.old - counts.stopping)
    start = min(max(0, new - counts.current), room)
    there = sum(number for kind, number in fleet.tally.items() if _is_active(kind) and is_current(before, kind))
    start_before = min(max(0, old - there), room - start)
    checked = app.checked
    surplus = _surplus(app, fleet, counts.current - new)
    # Those of yet another version, and those that move, go first.
    leaving = [i for i in fleet.instances.values() if _is_active(i) and not is_current(app, i)]
    leaving = sorted(stop_order(app, leaving), key=lambda instance: is_current(before, instance))
    stop: list[Instance] = []
    # What is not ready serves nobody and may go at once; the ready ones go as far as enough stay.
    spare = counts.ready - fewest
    for candidates, most_stopped in ((surplus, len(surplus)), (leaving, counts.old - old)):
        for instance in candidates:
            if most_stopped <= 0:
                break
            if instance.ready(checked):
                if spare <= 0:
                    continue
                spare -= 1
            most_stopped -= 1
            stop.append(instance)
    return Steps(start, tuple(stop), start_before)


def beside_steps(app: App, before: App, limit: int, fleet: Fleet) -> Steps:
    """Return the next steps of an app that is wanted twice: in its version before, whole, and beside it up to ``limit`` new ones.

    Each of the two is kept as an app of its own would be.
    """
    new, old = Fleet(), Fleet()
    for instance_id, instance in fleet.instances.items():
        part = new if instance.version == app.version else old
        part.instances[instance_id] = instance
        part.count(instance.kind, 1)
    coming, staying = next_steps(app.with_instances(min(limit, app.instances)), new), next_steps(before, old)
    return Steps(coming.start, coming.stop + staying.stop, staying.start)


def weights(share: int, new: int, old: int) -> tuple[int, int]:
    """Return the weights of new and old servers, of which there are so many, with which the new ones get a share of the traffic.

    ``share``: in percent. 100 is the usual weight; none that is to get anything has less than 1.
    """
    if share in (0, 100) or not new or not old:
        return (100, 0) if share == 100 or (share and not old) else (0, 100)
    ratio = share * old / ((100 - share) * new)
    return (100, max(1, round(100 / ratio))) if ratio >= 1 else (max(1, round(100 * ratio)), 100)


def launched(app: App, fleet: Fleet) -> int:
    """Count the instances that are as the app wants them and have a task."""
    kinds = fleet.tally.items()
    return sum(number for kind, number in kinds if kind.state is not None and _is_active(kind) and is_current(app, kind))


def _is_active(instance: Kind | Instance) -> bool:
    return not instance.stopping and not instance.inactive


def at_rest(app: App | None, fleet: Fleet) -> bool:
    """Return whether an app is as it was asked to be, with nothing on its way."""
    return not distance(app, fleet)


def distance(app: App | None, fleet: Fleet) -> int:
    """Return how many instances an app is away from rest: those that are not ready yet, and those that are still to go."""
    if app is None:
        return len(fleet.instances) - _kept_for_volumes(fleet)
    if app.per_host:
        return sum(number for kind, number in fleet.tally.items() if not _at_rest_on_host(app, kind))
    counts = count(app, fleet.tally)
    missing = max(0, app.instances - counts.settled)
    return missing + counts.total - counts.current + max(0, counts.current - app.instances)


def _kept_for_volumes(fleet: Fleet) -> int:
    """Count what is out of reach and may still write to a volume: without an app it is known for that alone, and for long."""
    if all(kind.state is not TaskState.UNREACHABLE for kind in fleet.tally):
        return 0
    return sum(bool(i.holds) and i.state is TaskState.UNREACHABLE for i in fleet.instances.values())


def _at_rest_on_host(app: App, kind: Kind) -> bool:
    """Return whether there is nothing to wait for on an instance's host: it is as it should be, has no room, or is away."""
    if not app.instances or kind.stopping:
        return False
    away = kind.state is TaskState.UNREACHABLE or kind.inactive
    return away or kind.unfit or (is_current(app, kind) and kind.ready(app.checked))


def stop_order(app: App, instances: Iterable[Instance]) -> list[Instance]:
    """Order instances by how little is lost with them: waiting, then launching, then unready, then by killSelection."""
    checked = app.checked

    def key(instance: Instance) -> tuple[bool, bool, bool, float]:
        age = instance.launched_at or instance.waiting_since
        old_first = age if app.kill_selection == "OLDEST_FIRST" else -age
        return not instance.waiting, not instance.launching, instance.ready(checked), old_first

    return sorted(instances, key=key)


def _surplus(app: App, fleet: Fleet, surplus: int) -> list[Instance]:
    """Choose current instances to stop: what serves nobody first, then one after another from the fullest zone and host.

    Scaled down by age alone, a fleet that was spread would end up lopsided.
    """
    if surplus <= 0:
        return []
    checked = app.checked
    order = stop_order(app, [i for i in fleet.instances.values() if _is_active(i) and is_current(app, i)])
    idle = [instance for instance in order if not instance.ready(checked)]
    serving = order[len(idle) :]
    # Hosts first, as zones come before them: where zones are as full, the order by hosts stays.
    serving = _fullest_first(serving, lambda instance: instance.hostname)
    serving = _fullest_first(serving, lambda instance: instance.agent.spread_zone)
    return [*idle, *serving][:surplus]


def _fullest_first(order: list[Instance], place: Callable[[Instance], str]) -> list[Instance]:
    """Return instances so that each is of a place that has the most of it and those behind it; else in the order given."""
    behind: Counter[str] = Counter()
    ranked = []
    for instance in reversed(order):
        behind[place(instance)] += 1
        ranked.append((behind[place(instance)], instance))
    ranked.sort(key=lambda pair: pair[0])
    return [instance for _, instance in reversed(ranked)]
