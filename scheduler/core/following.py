"""Instances whose volumes follow them (``eratos.follow``): they leave hosts that are emptied, as others do. Pure.

A host is emptied while it is drained, or maintenance of it is near (:mod:`maintenance`). Then a move is asked for of each such
instance that has its volumes there; all that becomes of it is the matter of :mod:`moves`, as of one that a user asked for. A loss
asks for nothing: what is out of reach cannot be copied, and waits for its host.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eratos.common.times import timestamp

from . import maintenance, move_status, moves, volumes
from .instances import Instance
from .records import MoveCause, VolumeState
from .state import Move, MovePhase, State
from .step import Step

#: How long after it could have been tried again a move that came to nothing is remembered.
FORGET_S: Final = 3600.0


def review(step: Step) -> None:
    """Ask for the moves of what has to leave, and take back those that nothing demands any more and that have not begun."""
    state = step.state
    if not state.connected or state.brake.engaged:
        return
    for slot, failed in list(state.failed_moves.items()):
        if slot not in state.slots.get(failed.app_id, ()) or step.now >= failed.again_at + FORGET_S:
            del state.failed_moves[slot]
    for slot, move in list(state.moves.items()):
        if move_status.phase(state, move.app_id, slot) is MovePhase.HOST and not _wanted(step, slot, move):
            moves.take_back(step, slot)
    for instance in list(_on_closed_hosts(state)):
        failed_move = state.failed_moves.get(instance.slot)
        late = failed_move is None or step.now >= failed_move.again_at
        if late and _goes(state, instance.app_id, instance) and moves.may_move(state, instance) and _emptied(step, instance):
            moves.ask(step, instance, MoveCause.MAINTENANCE)


def given_back(step: Step, hostname: str) -> None:
    """Have all that was leaving a drained host stay there, or come back, unless it has to leave all the same."""
    state = step.state
    if move_status.emptied(step, hostname):
        return
    for slot, move in list(state.moves.items()):
        found = volumes.of_slot(state, move.app_id, slot)
        if move_status.cause(state, slot) is not MoveCause.MAINTENANCE or found[0].hostname != hostname:
            continue
        if move_status.phase(state, move.app_id, slot) is MovePhase.HOST:
            moves.take_back(step, slot)
        else:
            moves.end(step, slot, f"{hostname} is drained no longer")
    for slot, failed in list(state.failed_moves.items()):
        if any(record.hostname == hostname for record in volumes.of_slot(state, failed.app_id, slot)):
            del state.failed_moves[slot]


def _on_closed_hosts(state: State) -> Iterator[Instance]:
    """Yield what has volumes on a host with a drain or a maintenance, and what waits for any host of its volumes."""
    if not state.windows and not state.drains:
        return
    for agent_id in state.windows:
        yield from (instance for instance in state.on_agent.get(agent_id, {}).values() if instance.slot)
    for app_id in state.in_need:
        app = state.in_force(app_id)
        if app is not None and app.follows:
            yield from (instance for instance in state.fleet(app_id).waiting.values() if instance.slot)


def _wanted(step: Step, slot: str, move: Move) -> bool:
    """Return whether there is still reason for a move. What a leader that is new to its master has not seen is no word.

    To even out gives way to a host that is emptied, from which it may go to any other.
    """
    state, cause = step.state, move_status.cause(step.state, slot)
    if cause is MoveCause.USER:
        return True
    closed = move_status.emptied(step, volumes.of_slot(state, move.app_id, slot)[0].hostname)
    stays = cause is MoveCause.MAINTENANCE and not closed and step.now >= step.subscribed_at + volumes.LOOK_S
    aside = cause is MoveCause.REBALANCE and closed
    return not stays and not aside and _goes(state, move.app_id, move_status.holder(state, move.app_id, slot))


def _goes(state: State, app_id: str, instance: Instance | None) -> bool:
    """Return whether an instance leaves a host that is emptied."""
    app = state.in_force(app_id)
    held = instance is not None and not instance.waiting and maintenance.held(state, instance)
    return app is not None and app.follows and not held


def _emptied(step: Step, instance: Instance) -> bool:
    return move_status.emptied(step, volumes.of_slot(step.state, instance.app_id, instance.slot)[0].hostname)


# For people ------------------------------------------------------------------------------------------------------------------


def why_there(state: State, instance: Instance) -> str:
    """Say what keeps an instance with volumes on a host that is drained; empty: nothing that is not said elsewhere."""
    app = state.in_force(instance.app_id)
    if app is None or not instance.slot:
        return ""
    if instance.slot in state.moves:
        return move_status.message(state, instance.slot)
    if not app.follows:
        how = f'eratos move {app.id} takes it elsewhere with copies, as a drain does with "eratos": {{"follow": "copy"}}'
        return f"its volumes are there: {how}"
    found = volumes.of_slot(state, app.id, instance.slot)
    if instance.slot in state.failed_moves:
        again = f"it is tried again at {timestamp(state.failed_moves[instance.slot].again_at)}"
        return "; ".join((*dict.fromkeys(record.message for record in found if record.message), again))
    if any(record.state is not VolumeState.MADE for record in found):
        return "it has not run with its volumes yet, so there is nothing to copy"
    return ""
