"""Evens out the spread of apps that are at rest, within a budget. Off by default.

Placement spreads what it starts; when hosts come back, or new ones join, nothing starts, and the fleet stays where it is.
So now and then the instances of crowded zones and hosts move: as with maintenance each is replaced first and then stopped,
and never more than the budget at the same time, over all apps (an SLA in Aurora's sense; Marathon's users ask for it in
#3220). An instance with volumes moves where its app has these follow (``eratos.follow``), with copies of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from eratos.marathon.app import App

from . import budgets, move_status, moves, rollout
from .instances import Instance
from .mesos_types import Agent
from .offers import packs
from .records import MoveCause
from .step import Step
from .timers import Timer, TimerKind

PERIOD_S = 30.0


def even_out(step: Step) -> None:
    """Begin as many moves as the budget has left, and look again later."""
    step.timers.set(Timer(TimerKind.REBALANCE), step.now + PERIOD_S)
    state = step.state
    if state.brake.engaged or not state.connected:
        return
    state.looking = True
    moving = sum(count for fleet in state.fleets.values() for kind, count in fleet.tally.items() if kind.moving)
    for slot, move in state.moves.items():
        with step.apart(move.app_id):
            moving += move_status.cause(state, slot) is MoveCause.REBALANCE
    left = step.settings.rebalance_budget - moving
    for app_id, app in sorted(state.apps.items()):
        if left <= 0:
            return
        if app.constraints or app.per_host or app.ordinals or (app.resident and not app.follows) or packs(step, app):
            continue  # their place was chosen by other rules, or is not worth that one stops before the next one starts
        if not rollout.at_rest(app, state.fleet(app_id)) or budgets.holds(state, app_id):
            continue
        found = _crowded(step, app)
        if found is None:
            continue
        instance, empty = found
        if app.resident:
            left -= _move(step, instance, empty)
        else:
            state.alter(instance, moving=True)
            step.touch(app_id)
            left -= 1


def _move(step: Step, instance: Instance, empty: list[Agent]) -> bool:
    """Have an instance move with its volumes to that of some agents which has most room; return whether it does."""
    state, failed = step.state, step.state.failed_moves.get(instance.slot)
    if failed is not None and step.now < failed.again_at + moves.AGAIN_MOST_S:
        return False  # it would be stopped for it again, with no need
    open_to = (agent for agent in empty if failed is None or agent.hostname not in failed.hosts)
    known = {agent.hostname: state.room[agent.agent_id].cpus_m for agent in open_to if agent.agent_id in state.room}
    others = any(move.app_id == instance.app_id for move in state.moves.values())
    if others or not known or not moves.may_move(state, instance):
        return False
    moves.ask(step, instance, MoveCause.REBALANCE, max(known, key=lambda name: (known[name], name)))
    return True


def _crowded(step: Step, app: App) -> tuple[Instance, list[Agent]] | None:
    """Return an instance of the app whose zone, or else host, has two more than another one has, and the agents of that."""
    state = step.state
    instances = list(state.instances_of(app.id))
    home = ("", state.region) if state.region else None
    open_agents = {
        a: agent for a, agent in state.agents.items() if a not in state.windows and (home is None or agent.region in home)
    }
    by_zone: Callable[[Agent], str] = lambda agent: agent.spread_zone  # noqa: E731
    by_host: Callable[[Agent], str] = lambda agent: agent.agent_id  # noqa: E731
    for place in (by_zone, by_host):
        counts = _counts(instances, open_agents, place)
        if counts and max(counts.values()) - min(counts.values()) >= 2:
            crowded = max(counts, key=lambda name: counts[name])
            there = [instance for instance in instances if place(instance.agent) == crowded]
            least = min(counts.values())
            return rollout.stop_order(app, there)[0], [a for a in open_agents.values() if counts[place(a)] == least]
    return None


def _counts(instances: list[Instance], agents: Mapping[str, Agent], place: Callable[[Agent], str]) -> Counter[str]:
    counts: Counter[str] = Counter({place(agent): 0 for agent in agents.values()})
    counts.update(place(instance.agent) for instance in instances)
    return counts
