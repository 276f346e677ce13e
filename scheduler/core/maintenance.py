"""Scheduled maintenance: hosts are emptied before their window begins, and the master is told the truth about it.

A window is learnt from offers and from inverse offers (Mesos' docs/maintenance.md; rule 47). Some time before it begins the
agent takes no more instances, and those on it move: each is replaced elsewhere first and stopped then. An inverse offer is
accepted when nothing of ours is left on the agent and declined until then, so whoever reads the master's maintenance
status knows when the host can be switched off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .actions import AnswerInverse
from .mesos import InverseOffer, Window

if TYPE_CHECKING:
    from .machine import Machine

WINDOW = "window"  #: kind of the timers here; with the agent's id
#: How soon the master asks again after a "not yet", and after a "yes".
ASK_AGAIN_S = 5.0
ACCEPTED_S = 300.0


def schedule(machine: Machine, agent_id: str, window: Window | None, now: float) -> None:
    """Note an agent's maintenance; None: it has none, or no longer."""
    state = machine.state
    if state.windows.get(agent_id) == window:
        return
    if window is None:
        state.windows.pop(agent_id, None)
        machine.timers.clear((WINDOW, agent_id))
        move(machine, agent_id, False)
    else:
        state.windows[agent_id] = window
        due(machine, agent_id, now)


def due(machine: Machine, agent_id: str, now: float) -> None:
    """Do what the time demands of an agent with maintenance: wait for the time to empty it, empty it, forget the window."""
    window = machine.state.windows.get(agent_id)
    if window is None:
        return
    begin = window.begin - machine.settings.maintenance_lead_s
    if now >= window.end:
        schedule(machine, agent_id, None, now)
        return
    machine.timers.set((WINDOW, agent_id), begin if now < begin else window.end)
    move(machine, agent_id, now >= begin)


def move(machine: Machine, agent_id: str, moving: bool) -> None:
    """Have all instances on an agent replaced elsewhere, or let them stay."""
    for instance in list(machine.state.on_agent.get(agent_id, {}).values()):
        if instance.moving != moving and not instance.stopping:
            machine.state.alter(instance, moving=moving)
            machine.touch(instance.app_id)


def asked(machine: Machine, offers: tuple[InverseOffer, ...], now: float) -> None:
    """Take inverse offers in and answer them."""
    state = machine.state
    free: list[str] = []
    later: dict[float, list[str]] = {}
    for offer in offers:
        schedule(machine, offer.agent_id, offer.window, now)
        if offer.agent_id not in state.on_agent:
            free.append(offer.offer_id)
        else:
            wait_s = offer.window.begin - machine.settings.maintenance_lead_s - now
            later.setdefault(min(max(ASK_AGAIN_S, wait_s), ACCEPTED_S), []).append(offer.offer_id)
    if free:
        machine.call(AnswerInverse(tuple(free), True, ACCEPTED_S))
    for refuse_s, offer_ids in later.items():
        machine.call(AnswerInverse(tuple(offer_ids), False, refuse_s))
