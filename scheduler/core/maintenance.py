"""Scheduled maintenance: hosts are emptied before their window begins, and the master gets a true answer about it.

A window is learnt from offers and from inverse offers (Mesos' docs/maintenance.md; rule 47). Some time before it begins the
agent takes no more instances, and those on it move: each is replaced elsewhere first and stopped then. An inverse offer is
accepted when nothing of ours is left on the agent and declined until then, so whoever reads the master's maintenance
status knows when the host can be switched off.

A host that is drained (:mod:`drains`) has a window of our own, which comes before the master's. An app whose error budget is
spent stays on it, unless the drain has a deadline, or the master schedules maintenance: then the host goes whatever is on it.
"""

from __future__ import annotations

from . import budgets, drains, move_status
from .actions import AnswerInverse
from .instances import Instance
from .mesos_types import InverseOffer, Window
from .state import State
from .step import Step
from .timers import Timer, TimerKind

#: How soon the master asks again after a "not yet", and after a "yes".
ASK_AGAIN_S = 5.0
ACCEPTED_S = 300.0


def schedule(step: Step, agent_id: str, window: Window | None) -> None:
    """Note an agent's maintenance by the master's word; None: it has none, or no longer."""
    before = step.state.scheduled.get(agent_id)
    if window is not None:
        step.state.scheduled[agent_id] = window
    else:
        step.state.scheduled.pop(agent_id, None)
    _put_in_force(step, agent_id)
    if before != window and drains.window(step.state, agent_id) is not None:
        due(step, agent_id)  # what waits for an error budget there waits no longer, or again


def review(step: Step, hostname: str) -> None:
    """Take in that a host is drained, or is no longer."""
    for agent_id in list(drains.agents(step.state, hostname)):
        before = step.state.windows.get(agent_id)
        _put_in_force(step, agent_id)
        if before is not None and step.state.windows.get(agent_id) == before:
            due(step, agent_id)  # its deadline may be another one, which decides what has to move


def left(step: Step, agent_id: str) -> None:
    """Take in that an agent left: the master sends its maintenance again once it is back. Its drain stays."""
    state = step.state
    state.scheduled.pop(agent_id, None)
    if drains.window(state, agent_id) is None:
        state.windows.pop(agent_id, None)


def _put_in_force(step: Step, agent_id: str) -> None:
    state = step.state
    window = drains.window(state, agent_id) or state.scheduled.get(agent_id)
    if state.windows.get(agent_id) == window:
        return
    state.hosts_changed += 1
    if window is None:
        state.windows.pop(agent_id, None)
        step.timers.clear(Timer(TimerKind.WINDOW, agent_id))
        move(step, agent_id, False)
    else:
        state.windows[agent_id] = window
        due(step, agent_id)


def due(step: Step, agent_id: str) -> None:
    """Do what the time demands of an agent with maintenance: wait for the time to empty it, empty it, forget the window."""
    window = step.state.windows.get(agent_id)
    if window is None:
        return
    begin = window.begin - step.settings.maintenance_lead_s
    if step.now >= window.end:
        schedule(step, agent_id, None)
        return
    step.timers.set(Timer(TimerKind.WINDOW, agent_id), begin if step.now < begin else window.end)
    step.state.hosts_changed += 1
    move(step, agent_id, step.now >= begin)


def move(step: Step, agent_id: str, moving: bool) -> None:
    """Have all instances on an agent replaced elsewhere, or let them stay."""
    for instance in list(step.state.on_agent.get(agent_id, {}).values()):
        # A run is not begun anew elsewhere: the host is empty once it has ended. Nor does what belongs to this host move; and
        # what has volumes there is moved with these (:mod:`following`), or stays.
        app = step.state.in_force(instance.app_id)
        stays = instance.app_id in step.state.runs or instance.slot or (app is not None and app.per_host)
        goes = moving and not held(step.state, instance)
        if instance.moving != goes and not instance.stopping and not stays:
            step.state.alter(instance, moving=goes)
            step.touch(instance.app_id)


def held(state: State, instance: Instance) -> str:
    """Say why an instance stays on a host that is drained though it could move; empty: it does not."""
    drain = state.drains.get(instance.hostname)
    if drain is None or drain.deadline or instance.agent_id in state.scheduled:
        return ""
    return budgets.holds(state, instance.app_id)


def held_or_freed(step: Step, app_id: str) -> None:
    """Take in that an app's error budget was spent, or is restored: it stays on drained hosts, or moves."""
    for agent_id in {instance.agent_id for instance in step.state.instances_of(app_id) if not instance.waiting}:
        if agent_id in step.state.windows:
            due(step, agent_id)


def asked(step: Step, offers: tuple[InverseOffer, ...]) -> None:
    """Take inverse offers in and answer them."""
    state = step.state
    free: list[str] = []
    later: dict[float, list[str]] = {}
    for offer in offers:
        schedule(step, offer.agent_id, offer.window)
        agent = state.agents.get(offer.agent_id)
        if offer.agent_id not in state.on_agent and not (agent is not None and move_status.still_there(state, agent.hostname)):
            free.append(offer.offer_id)
        else:
            wait_s = offer.window.begin - step.settings.maintenance_lead_s - step.now
            later.setdefault(min(max(ASK_AGAIN_S, wait_s), ACCEPTED_S), []).append(offer.offer_id)
    if free:
        step.call(AnswerInverse(tuple(free), True, ACCEPTED_S))
    for refuse_s, offer_ids in later.items():
        step.call(AnswerInverse(tuple(offer_ids), False, refuse_s))
