"""Hosts that somebody has eratos drain (``eratos agent drain``): who asked for it, until when, and what their deadlines do.

A drain is a record of eratos' own (ADR 44), which the next leader goes on with. What it means for the host's instances is what
maintenance that has begun means (:mod:`maintenance`): nothing is launched there, and what can move is replaced elsewhere first
and stopped then. At the deadline, if there is one, what is still there is stopped, replaced or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import move_status, status_updates
from .actions import Notice, Refusal
from .events import DeleteDrain, PutDrain
from .instances import Instance
from .mesos_types import Window
from .records import DRAINS, DrainRecord
from .refusals import Refused
from .state import State
from .step import Step
from .timers import Timer, TimerKind

#: How soon it is tried again to stop what is left after the deadline.
AGAIN_S = 5.0


def load(step: Step, records: Iterable[DrainRecord]) -> None:
    """Go on with what the store held."""
    for record in records:
        step.state.drains[record.hostname] = record
        _watch(step, record)


def carry_out(step: Step, command: PutDrain | DeleteDrain) -> str:
    """Note that a host is drained, or is no longer; return its name. Raises Refused where it is not known, or is not drained."""
    if isinstance(command, PutDrain):
        _put(step, command)
    else:
        _delete(step, command)
    return command.hostname


def _put(step: Step, command: PutDrain) -> None:
    state, hostname = step.state, command.hostname
    before = state.drains.get(hostname)
    if before is not None and command.deadline_s is None:
        return
    if before is None and not any(True for _ in agents(state, hostname)):
        state.looking = True
        known = "GET /v2/overview lists those that are; offers were asked for, so one that only idled is known in some seconds"
        raise Refused(Refusal.NOT_FOUND, f"Host '{hostname}' is not known: {known}")
    deadline = step.now + command.deadline_s if command.deadline_s else 0.0
    record = DrainRecord(hostname, before.since if before is not None else step.now, deadline, command.by)
    state.drains[hostname] = record
    step.store(DRAINS + hostname, record)
    _watch(step, record)
    step.notice(Notice("info", "a host is drained", {"host": hostname, "by": command.by, "deadline_s": command.deadline_s or 0}))


def _delete(step: Step, command: DeleteDrain) -> None:
    if step.state.drains.pop(command.hostname, None) is None:
        raise Refused(Refusal.NOT_FOUND, f"Host '{command.hostname}' is not drained")
    step.forget(DRAINS + command.hostname)
    step.offering.fresh = True  # what was declined there meanwhile is to be offered anew
    step.notice(Notice("info", "a host is drained no longer", {"host": command.hostname, "by": command.by}))


def due(step: Step, hostname: str) -> None:
    """Stop what is left on a host after its deadline, not while nothing can be stopped or the brake is engaged."""
    state = step.state
    record = state.drains.get(hostname)
    if record is None or not record.deadline:
        return
    left = list(instances(state, hostname))
    if step.now >= record.deadline and state.connected and not state.brake.engaged:
        status_updates.stop_all(step, left)
    if left:
        step.timers.set(Timer(TimerKind.DRAIN, hostname), max(record.deadline, step.now + AGAIN_S))


def agents(state: State, hostname: str) -> Iterator[str]:
    """Yield the ids of a host's agents."""
    return (agent.agent_id for agent in state.agents_on(hostname))


def instances(state: State, hostname: str) -> Iterator[Instance]:
    """Yield what has a task on a host."""
    return (instance for agent_id in agents(state, hostname) for instance in state.on_agent.get(agent_id, {}).values())


def not_gone(state: State, hostname: str, now: float) -> list[tuple[Instance, bool]]:
    """Return what has no task on a host any more, and its volumes there that are to go first; with each, whether they do already.

    The host need not wait for them beyond its deadline: the old volumes count until the copies are whole.
    """
    record = state.drains[hostname]
    return [] if record.deadline and now >= record.deadline else move_status.still_there(state, hostname)


def left(state: State, hostname: str, now: float) -> int:
    """Count what is still to go from a host."""
    return sum(1 for _ in instances(state, hostname)) + len(not_gone(state, hostname, now))


def window(state: State, agent_id: str) -> Window | None:
    """Return what an agent's drain is to those who ask for its maintenance: a window that has begun and does not end."""
    agent = state.agents.get(agent_id)
    record = state.drains.get(agent.hostname) if agent is not None else None
    return Window(record.since) if record is not None else None


def _watch(step: Step, record: DrainRecord) -> None:
    if record.deadline:
        step.timers.set(Timer(TimerKind.DRAIN, record.hostname), record.deadline)
