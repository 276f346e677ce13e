"""Scheduled maintenance: hosts are emptied before their window begins, and the master gets a true answer about it.

A window is learnt from offers and from inverse offers (Mesos' docs/maintenance.md; rule 47). Some time before it begins the
agent takes no more instances, and those on it move: each is replaced elsewhere first and stopped then. An inverse offer is
accepted when nothing of ours is left on the agent and declined until then, so whoever reads the master's maintenance
status knows when the host can be switched off.

A host that somebody has eratos drain (``eratos agent drain``) is one whose window began then and ends when they say so. The
master, and other frameworks, know nothing of it (ADR 44).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from . import status_updates
from .actions import AnswerInverse, Refusal
from .events import DeleteDrain, PutDrain
from .mesos_types import InverseOffer, Offer, Window
from .records import DRAINS, DrainRecord
from .refusals import Refused
from .state import State
from .step import Step
from .timers import Timer, TimerKind

#: How soon the master asks again after a "not yet", and after a "yes".
ASK_AGAIN_S = 5.0
ACCEPTED_S = 300.0


def schedule(step: Step, agent_id: str, window: Window | None) -> None:
    """Note an agent's maintenance, by the master's word; None: it has none, or no longer."""
    state = step.state
    drain = _drain_of(state, agent_id)
    if drain is not None:
        window = _window(drain)
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
    drain = _drain_of(step.state, agent_id)
    if drain is not None and drain.deadline:
        _by_deadline(step, agent_id, drain.deadline)
    else:
        step.timers.set(Timer(TimerKind.WINDOW, agent_id), begin if step.now < begin else window.end)
    step.state.hosts_changed += 1
    move(step, agent_id, step.now >= begin)


def move(step: Step, agent_id: str, moving: bool) -> None:
    """Have all instances on an agent replaced elsewhere, or let them stay."""
    for instance in list(step.state.on_agent.get(agent_id, {}).values()):
        # A run is not begun anew elsewhere: the host is empty once it has ended. Nor does what belongs to this host move.
        app = step.state.in_force(instance.app_id)
        stays = instance.app_id in step.state.runs or instance.slot or (app is not None and app.per_host)
        if instance.moving != moving and not instance.stopping and not stays:
            step.state.alter(instance, moving=moving)
            step.touch(instance.app_id)


def asked(step: Step, offers: tuple[InverseOffer, ...]) -> None:
    """Take inverse offers in and answer them."""
    state = step.state
    free: list[str] = []
    later: dict[float, list[str]] = {}
    for offer in offers:
        schedule(step, offer.agent_id, offer.window)
        if offer.agent_id not in state.on_agent:
            free.append(offer.offer_id)
        else:
            wait_s = offer.window.begin - step.settings.maintenance_lead_s - step.now
            later.setdefault(min(max(ASK_AGAIN_S, wait_s), ACCEPTED_S), []).append(offer.offer_id)
    if free:
        step.call(AnswerInverse(tuple(free), True, ACCEPTED_S))
    for refuse_s, offer_ids in later.items():
        step.call(AnswerInverse(tuple(offer_ids), False, refuse_s))


def carry_out(step: Step, command: PutDrain | DeleteDrain) -> None:
    """Have a host drained, or no longer. Raises Refused for one that is not known, or is not drained."""
    state = step.state
    if isinstance(command, PutDrain):
        hostname = command.drain.hostname
        before = state.drains.get(hostname)
        if before is None and not any(agent.hostname == hostname for agent in state.agents.values()):
            raise Refused(Refusal.NOT_FOUND, f"Host '{hostname}' is not known: GET /v2/overview lists those that are")
        state.drains[hostname] = drain = replace(command.drain, since=before.since if before is not None else command.drain.since)
        step.store(DRAINS + hostname, drain)
    else:
        hostname = command.hostname
        if state.drains.pop(hostname, None) is None:
            raise Refused(Refusal.NOT_FOUND, f"Host '{hostname}' is not drained")
        step.forget(DRAINS + hostname)
        # What was refused there meanwhile is to be offered anew.
        step.offering.fresh = True
    for agent in [found for found in state.agents.values() if found.hostname == hostname]:
        # If the master has maintenance for it as well, the next offer says so again.
        schedule(step, agent.agent_id, None)
        due(step, agent.agent_id)
    for offer in [found for found in state.offers.values() if found.hostname == hostname]:
        state.offers[offer.offer_id] = of_drained(state, replace(offer, window=None))


def load(step: Step, drains: Iterable[DrainRecord]) -> None:
    """Go on with the drains of a leader before."""
    step.state.drains.update((drain.hostname, drain) for drain in drains)
    for agent in [found for found in step.state.agents.values() if found.hostname in step.state.drains]:
        schedule(step, agent.agent_id, None)


def of_drained(state: State, offer: Offer) -> Offer:
    """Return an offer as it is taken: one of a host that is drained has that for its maintenance."""
    drain = state.drains.get(offer.hostname)
    return replace(offer, window=_window(drain)) if drain is not None else offer


def _drain_of(state: State, agent_id: str) -> DrainRecord | None:
    agent = state.agents.get(agent_id)
    return state.drains.get(agent.hostname) if agent is not None else None


def _window(drain: DrainRecord) -> Window:
    return Window(drain.since, drained=True)


def _by_deadline(step: Step, agent_id: str, deadline: float) -> None:
    """Wait for the deadline of a drain, and then stop what is left; not while the brake is engaged."""
    timer = Timer(TimerKind.WINDOW, agent_id)
    if step.now < deadline:
        step.timers.set(timer, deadline)
    elif step.state.brake.engaged:
        step.timers.set(timer, step.now + ASK_AGAIN_S)
    else:
        left = list(step.state.on_agent.get(agent_id, {}).values())
        status_updates.stop_all(step, [instance for instance in left if not instance.waiting])
        for instance in left:
            step.touch(instance.app_id)
        # What was on its way to the host comes to be known there only now.
        step.timers.set(timer, step.now + ASK_AGAIN_S) if left else step.timers.clear(timer)
