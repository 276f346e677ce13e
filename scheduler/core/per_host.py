"""Apps with one instance on each host (``eratos.perHost``): which hosts are to have one, and the next steps towards that. Pure.

Hosts are learnt from offers and from what runs there: an agent counts from its first offer until the master calls it or its
tasks lost. Each instance belongs to one host from its first moment on, and to no other: it waits for that host's offer, its
task's successor goes there again, and where the host goes the instance is not wanted any more. As no host ever has two, an
old instance is stopped before its successor starts; ``minimumHealthCapacity`` says how many hosts may be without at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from eratos.common import names
from eratos.marathon.app import App

from . import constraints, rollout
from .instances import Instance
from .mesos_types import Agent, TaskState
from .reasons import Reason
from .rollout import Steps
from .state import State, WantedHosts
from .step import Step
from .timers import Timer, TimerKind

#: Hosts that can take something offer it within seconds of being asked; one that has not for so long has nothing to give.
SILENT_S = 15.0


class Lacking(NamedTuple):
    """A host without an instance, and why it has none."""

    host: str
    reason: str  #: a word for programs
    message: str


def hosts(state: State, app: App, now: float, lead_s: float) -> WantedHosts:
    """Return which hosts are to have an instance, whether there is room or not. It is remembered until hosts change."""
    known = state.wanted_on.get(app.id)
    if known is None or (known.version, known.hosts_changed) != (app.version, state.hosts_changed):
        seen = known.verdicts if known is not None and known.version == app.version else None
        verdicts = seen or constraints.Verdicts(math.inf)
        limits = constraints.Constraints(app, (), state.region, verdicts)
        open_, closed = set(), set()
        for agent in state.agents.values():
            if _closed(state, limits, agent, now, lead_s):
                closed.add(agent.hostname)
            elif agent.agent_id not in state.lost:
                open_.add(agent.hostname)
        known = WantedHosts(app.version, state.hosts_changed, frozenset(open_), frozenset(closed - open_), verdicts)
        state.wanted_on[app.id] = known
    return known


def _closed(state: State, limits: constraints.Constraints, agent: Agent, now: float, lead_s: float) -> bool:
    """Return whether a host is to have none though its agent is there."""
    window = state.windows.get(agent.agent_id)
    maintained = window is not None and window.begin - lead_s <= now < window.end
    return maintained or limits.violated(agent) is not None


def wanted(state: State, app: App) -> int:
    """Return how many instances an app is to have: what it says, or one on each host that has room for it."""
    if not app.per_host:
        return app.instances
    known = state.wanted_on.get(app.id)
    if known is None:
        return 0
    return len(known.hostnames) - sum(count for kind, count in state.fleet(app.id).tally.items() if kind.unfit)


def expected(state: State, app: App) -> int:
    """Return how many instances a definition would have on the hosts of now, whether it is the app's yet or not."""
    if not app.per_host or not app.instances:
        return app.instances
    limits = constraints.Constraints(app, (), state.region)
    there = (agent for agent in state.agents.values() if agent.agent_id not in state.lost | state.windows.keys())
    return len({agent.hostname for agent in there if limits.violated(agent) is None})


def next_steps(step: Step, app: App, before: App | None, limit: int | None) -> tuple[Steps, list[str]]:
    """Return the next steps of an app, and the hosts for what starts: new ones first, then those of the version before.

    ``limit``: how many of the new version there may be while a deployment is paused; ``before``: what the others are.
    """
    state, fleet = step.state, step.state.fleet(app.id)
    if not app.instances:
        state.wanted_on.pop(app.id, None)
        return Steps(stop=tuple(instance for instance in fleet.instances.values() if not instance.stopping)), []
    on = hosts(state, app, step.now, step.settings.maintenance_lead_s)
    by_host: dict[str, list[Instance]] = {}
    taken = _hosts_of_unknown(state, app)
    stop: list[Instance] = []
    for instance in fleet.instances.values():
        if not _gone(state, instance):
            taken.add(instance.place)
        if instance.stopping or instance.state is TaskState.UNREACHABLE:
            continue  # where its agent comes back it goes on, and is held against what is wanted then
        if instance.place in on.hostnames:
            by_host.setdefault(instance.place, []).append(instance)
        elif instance.waiting or instance.place in on.closed:
            stop.append(instance)
    current, leaving = _kept_and_leaving(app, by_host)
    checked = app.checked
    # What is not ready serves nobody and may go at once; the ready ones go as far as enough stay.
    ready = sum(instance.ready(checked) for found in by_host.values() for instance in found)
    spare = ready - bounds(state, app)[0]
    most = len(leaving) if limit is None else max(0, limit - current)
    for instance in leaving:
        doubled = len(by_host[instance.place]) > 1
        if most <= 0 and not doubled:
            continue
        if instance.ready(checked):
            if spare <= 0:
                continue
            spare -= 1
        by_host[instance.place].remove(instance)
        most -= not doubled
        stop.append(instance)
    free = sorted(on.hostnames - taken)
    start = len(free) if limit is None else min(len(free), max(0, limit - current))
    return Steps(start, tuple(stop), len(free) - start if before is not None else 0), free


def _gone(state: State, instance: Instance) -> bool:
    """Return whether an instance is out of reach together with its agent: should that be back, it is heard of first."""
    return instance.state is TaskState.UNREACHABLE and instance.agent_id in state.lost


def _kept_and_leaving(app: App, by_host: dict[str, list[Instance]]) -> tuple[int, list[Instance]]:
    """Count the hosts with one as it is wanted, and return the others: old ones, and what else is where one is enough."""
    current, leaving = 0, []
    for found in by_host.values():
        best = max(found, key=lambda i: (_is_current(app, i), not i.waiting, i.ready(app.checked), i.instance_id))
        current += _is_current(app, best)
        leaving += [i for i in found if i is not best or not _is_current(app, i)]
    return current, rollout.stop_order(app, leaving)


def _is_current(app: App, instance: Instance) -> bool:
    return instance.version == app.version and not instance.outdated


def bounds(state: State, app: App) -> tuple[int, int]:
    """Return (fewest ready, most existing) instances during a replacement; see :func:`rollout.bounds`.

    One host may always be without: as none ever has two, nothing could be replaced otherwise.
    """
    if not app.per_host:
        return rollout.bounds(app)
    most = wanted(state, app)
    return max(0, min(math.ceil(most * app.upgrade_strategy.minimum_health_capacity), most - 1)), most


def _hosts_of_unknown(state: State, app: App) -> set[str]:
    """Return the hosts where a task of the app is about to be killed, as no record stands for it."""
    of_app = names.instance_id(app.id, "")
    tasks = itertools.chain(state.unknown.items(), state.returned.items())
    agents = (state.agents.get(agent_id) for task_id, agent_id in tasks if task_id.startswith(of_app))
    return {agent.hostname for agent in agents if agent is not None}


def watch(step: Step, app_id: str) -> None:
    """Set the timer after which hosts that have offered nothing are taken for full, where instances wait for such."""
    silent = Timer(TimerKind.SILENT, app_id)
    waits = any(kind.state is None and not kind.unfit for kind in step.state.fleet(app_id).tally)
    if (waits or looking(step)) and silent not in step.timers:
        seen_by = step.subscribed_at + SILENT_S
        step.timers.set(silent, seen_by if step.now < seen_by else step.now + SILENT_S)


def due(step: Step, app_id: str) -> None:
    """Take hosts that have offered nothing for so long for full. Their next offer is looked at all the same."""
    state = step.state
    if app_id not in state.wanted_on:
        return
    asked = not looking(step) and state.launches_of(app_id).asked_for(step.now, SILENT_S)
    for instance in list(state.fleet(app_id).waiting.values()) if asked else ():
        if instance.host and not instance.unfit and instance.waiting_since <= step.now - SILENT_S:
            state.alter(instance, unfit=True)
    watch(step, app_id)
    step.touch(app_id)


def looking(step: Step) -> bool:
    """Return whether this leader is so new to its master that there may be hosts that have not offered anything yet."""
    return not step.state.connected or step.now < step.subscribed_at + SILENT_S


def lacking(state: State, app: App) -> Iterator[Lacking]:
    """Yield the known hosts that have no instance, and why."""
    known = state.wanted_on.get(app.id)
    if known is None:
        return
    there = {instance.place: instance for instance in state.instances_of(app.id) if not _gone(state, instance)}
    limits = constraints.Constraints(app, (), state.region, known.verdicts)
    launches = state.launches.get(app.id)
    told: set[str] = set()
    for agent in sorted(state.agents.values(), key=lambda agent: (agent.hostname, agent.agent_id in state.lost)):
        instance = there.get(agent.hostname)
        if agent.hostname in told or (instance is not None and not instance.waiting):
            continue
        told.add(agent.hostname)
        violated = limits.violated(agent)
        refusal = launches.refusals.get(agent.agent_id) if launches is not None else None
        if agent.hostname in known.closed and violated is not None:
            yield Lacking(agent.hostname, Reason.CONSTRAINT.value, limits.explain(violated, agent))
        elif agent.hostname in known.closed:
            yield Lacking(agent.hostname, Reason.MAINTENANCE.value, "it is in maintenance, or about to be")
        elif agent.agent_id in state.lost:
            yield Lacking(agent.hostname, "Lost", "its agent has left, or cannot be reached")
        elif instance is not None and instance.unfit and refusal is not None:
            yield Lacking(agent.hostname, refusal.reason.value, refusal.detail)
        elif instance is not None and instance.unfit:
            yield Lacking(agent.hostname, "NothingOffered", "its agent offers nothing: all that it has is in use")
        else:
            yield Lacking(agent.hostname, "Waiting", "one is to start there")
