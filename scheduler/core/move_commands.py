"""What users ask of moves (``/v2/moves``): that an instance goes to another host with its volumes, or that it stays. Pure."""

from __future__ import annotations

from typing import Final

from eratos.marathon.app import App

from . import move_hosts, move_status, moves, volumes
from .actions import Refusal
from .events import CancelMoves, MoveVolumes
from .instances import Instance
from .mesos_types import TaskState
from .records import MoveCause, VolumeState
from .refusals import Refused
from .state import MovePhase, State
from .step import Step

#: Instances that are named where one has to be chosen.
NAMED_MOST: Final = 10


def carry_out(step: Step, command: MoveVolumes | CancelMoves) -> None:
    """Have an instance moved, or stay. Raises Refused."""
    if isinstance(command, MoveVolumes):
        _begin(step, command)
        return
    slots = [slot for slot, move in step.state.moves.items() if move.app_id == command.app_id]
    if not slots:
        raise Refused(Refusal.NOT_FOUND, f"No instance of '{command.app_id}' is being moved")
    if not (ended := [slot for slot in slots if not _demanded(step, slot)]):
        source = move_status.records(step.state, slots[0])[0].hostname
        how = "give that back (eratos agent undrain), or take eratos.follow out of the app first"
        message = f"app: {command.app_id} moves as {source} is emptied, and would be moved again: {how}"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    for slot in ended:
        moves.end(step, slot, "it was cancelled")


def _begin(step: Step, command: MoveVolumes) -> None:
    state, app = step.state, step.state.apps.get(command.app_id)
    if app is None:
        raise Refused(Refusal.NOT_FOUND, f"App '{command.app_id}' does not exist")
    if not app.resident:
        message = (
            f"app: {app.id} has no persistent volumes (container.volumes), and so nothing to copy: "
            "a constraint on its host moves it, or eratos agent drain"
        )
        raise Refused(Refusal.NOT_POSSIBLE, message)
    if (change := state.changes.get(app.id)) is not None:
        message = f"app: {app.id} is being deployed by {change.deployment_id}: wait until that has ended, or cancel it"
        raise Refused(Refusal.LOCKED, message)
    instance = _chosen(state, app, command.instance_id)
    found = volumes.of_slot(state, app.id, instance.slot)
    if instance.slot in state.moves and not _may_be_taken_over(state, app.id, instance.slot):
        message = f"app: {instance.instance_id} is being moved already; eratos move --cancel {app.id} ends that"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    if not found or any(record.state is not VolumeState.MADE for record in found):
        message = f"app: {instance.instance_id} has not run with its volumes yet, so there is nothing to copy: wait until it runs"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    source = found[0].hostname
    if volumes.away(state, source) or instance.state is TaskState.UNREACHABLE:
        message = (
            f"app: the volumes of {instance.instance_id} are on {source}, which is away: nobody can copy them before it is back"
        )
        raise Refused(Refusal.NOT_POSSIBLE, message)
    if command.hostname:
        _check_host(step, app, instance, source, command.hostname)
    moves.ask(step, instance, MoveCause.USER, command.hostname, wipe=command.wipe)


def _may_be_taken_over(state: State, app_id: str, slot: str) -> bool:
    """Return whether a move that nobody asked for by name has not begun, so that a user may say where it goes."""
    return move_status.cause(state, slot) is not MoveCause.USER and move_status.phase(state, app_id, slot) is MovePhase.HOST


def _demanded(step: Step, slot: str) -> bool:
    """Return whether a slot would be moved again soon if its move ended: its host is emptied, and its app has it follow."""
    app, found = step.state.in_force(step.state.moves[slot].app_id), move_status.records(step.state, slot)[0]
    follows = found.move_cause is MoveCause.MAINTENANCE and app is not None and app.follows
    return follows and move_status.emptied(step, found.hostname)


def _chosen(state: State, app: App, instance_id: str) -> Instance:
    """Return the instance that is to be moved. Raises Refused."""
    found = [instance for instance in state.instances_of(app.id) if instance.slot and not instance.stopping]
    if instance_id:
        found = [instance for instance in found if instance.instance_id == instance_id]
        if not found:
            message = f"instance: '{instance_id}' is none of {app.id} that has volumes: eratos task list {app.id} names them"
            raise Refused(Refusal.NOT_FOUND, message)
    if not found:
        message = f"app: {app.id} has no instance with volumes: scale it up first, and it starts on the host of its volumes"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    if len(found) > 1:
        named = ", ".join(sorted(instance.instance_id for instance in found)[:NAMED_MOST])
        message = f"app: {app.id} has {len(found)} instances with volumes, which move one by one: name one of {named}"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    return found[0]


def _check_host(step: Step, app: App, instance: Instance, source: str, hostname: str) -> None:
    """Raise Refused where an instance can surely not be moved to a host."""
    state = step.state
    agents = list(state.agents_on(hostname))
    if not agents:
        state.looking = True
        known = "eratos agents lists those that are; offers were asked for, so one that only idled is known in some seconds"
        raise Refused(Refusal.NOT_FOUND, f"to: host '{hostname}' is not known: {known}")
    if hostname == source:
        raise Refused(Refusal.NOT_POSSIBLE, f"to: {instance.instance_id} is on {hostname} already: name another host")
    if hostname in state.drains:
        message = f"to: {hostname} is drained, and takes nothing before eratos agent undrain {hostname}: name another host"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    if volumes.away(state, hostname):
        raise Refused(Refusal.NOT_POSSIBLE, f"to: {hostname} is away: name another host, or wait until it is back")
    limits = move_hosts.limits_of(step, app, instance.slot)
    violated = limits.violated(agents[-1])
    if violated is not None:
        why = limits.explain(violated, agents[-1])
        raise Refused(Refusal.NOT_POSSIBLE, f"to: constraints of {app.id} do not allow it there ({why}): change them first")
