"""What the state says of moves of instances with volumes: why, how far, whose, and in words for people. Pure.

:mod:`moves` decides; this changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import volumes
from .instances import Instance
from .mesos_types import Window
from .records import MoveCause, VolumeRecord, VolumeState
from .state import MovePhase, State
from .step import Step


def cause(state: State, slot: str) -> MoveCause:
    """Return why a slot is being moved."""
    return records(state, slot)[0].move_cause


def phase(state: State, app_id: str, slot: str) -> MovePhase:
    """Return how far a slot's move is."""
    found = volumes.of_slot(state, app_id, slot)
    if not any(record.move_begun for record in found):
        return MovePhase.HOST
    if any(record.task_id for record in found):
        return MovePhase.STOP
    return MovePhase.COPY if copies(state, app_id, slot) else MovePhase.ROOM


def records(state: State, slot: str) -> list[VolumeRecord]:
    """Return the volumes of a slot that are being moved."""
    return [record for record in state.slots[state.moves[slot].app_id][slot].values() if record.move_since]


def copies(state: State, app_id: str, slot: str) -> list[VolumeRecord]:
    return [record for record in state.slots[app_id][slot].values() if record.state is VolumeState.COPYING]


def holder(state: State, app_id: str, slot: str) -> Instance | None:
    """Return the instance that has a slot."""
    found = (volumes.holder(state, record) for record in volumes.of_slot(state, app_id, slot))
    return next((instance for instance in found if instance is not None), None)


def emptied(step: Step, hostname: str) -> bool:
    """Return whether a host is to be emptied: it is drained, or maintenance is near."""
    lead_s = step.settings.maintenance_lead_s
    near = any(window.begin - lead_s <= step.now < window.end for window in _maintenance(step.state, hostname))
    return near or hostname in step.state.drains


def _maintenance(state: State, hostname: str) -> Iterator[Window]:
    return (state.windows[agent.agent_id] for agent in state.agents_on(hostname) if agent.agent_id in state.windows)


def still_there(state: State, hostname: str) -> list[tuple[Instance, bool]]:
    """Return what has no task on a host and its volumes there that go elsewhere, and of each whether they are on their way."""
    found = []
    for app_id in state.in_need:
        app = state.in_force(app_id)
        if app is None or not app.resident:
            continue
        for instance in state.fleet(app_id).waiting.values():
            if instance.slot and instance.host == hostname:
                going = instance.slot in state.moves and phase(state, app_id, instance.slot) is not MovePhase.HOST
                if going or app.follows:
                    found.append((instance, going))
    return found


def of_app(state: State, app_id: str) -> dict[str, list[Instance]]:
    """Return the slots of an app that are being moved, and the instance of each, if there is one just now."""
    found = {slot: holder(state, app_id, slot) for slot in state.slots.get(app_id, ()) if slot in state.moves}
    return {slot: [instance] if instance is not None else [] for slot, instance in found.items()}


# For people ----------------------------------------------------------------------------------------------------------------


def message(state: State, slot: str) -> str:
    """Say what a slot's move waits for or does."""
    move = state.moves[slot]
    record = records(state, slot)[0]
    source, to = record.hostname, record.move_to
    way = f"moves from {source} to {to}" if to else f"moves away from {source}"
    if record.move_cause is MoveCause.MAINTENANCE:
        way += f", as {source} is drained" if source in state.drains else f", as {source} is in maintenance"
    elif record.move_cause is MoveCause.REBALANCE:
        way += ", to even out where its app's instances are"
    lacks = f"; {move.lacks}" if move.lacks else ""
    match move.phase:
        case MovePhase.STOP:
            return f"{way}: its task is stopped, and its volumes are copied then"
        case MovePhase.ROOM:
            return f"{way}: stopped, its volumes are copied with the next offer of {to} that has room{lacks}"
        case MovePhase.COPY:
            return f"{way}: stopped, its volumes are being copied{f': {move.said}' if move.said else ''}"
        case _:
            instance = holder(state, move.app_id, slot)
            does = "runs on" if instance is not None and not instance.waiting else "waits"
            before = f"; {record.message}" if record.message else ""
            return f"{way}: {does} until {to or 'another host'} offers room for it{lacks}{before}"


def until(state: State, slot: str) -> float | None:
    """Return when a slot's move is given up, or its instance stopped whatever becomes of it; None: never."""
    drain = state.drains.get(records(state, slot)[0].hostname)
    ends = (state.moves[slot].until, drain.deadline if drain is not None else 0.0)
    return min((at for at in ends if at), default=None)


def failures(state: State, app_id: str) -> dict[str, float | None]:
    """Say of an app's volumes why the last move of each slot came to nothing, and when it is tried again; None: it is not."""
    found: dict[str, float | None] = {}
    for slot in state.slots.get(app_id, ()):
        failed = state.failed_moves.get(slot)
        for record in volumes.of_slot(state, app_id, slot):
            if record.message and not record.move_since:
                again = failed is not None and (record.hostname in state.drains or any(_maintenance(state, record.hostname)))
                found[record.message] = failed.again_at if failed is not None and again else None
    return found
