"""Instances with persistent volumes that are moved to another host, with copies of these. Pure.

A move concerns a slot, and stands in the records of its volumes, so that the next leader goes on with it. It has these phases
(:class:`.state.MovePhase`), which follow from the records alone: it waits for a host that offers enough, while the instance
runs on; the instance is stopped; a task without a container that copies (ADR 47) is launched on the host; it copies.

Until that task has ended well the old volumes count, and whatever happens instead ends the move: the copies are destroyed, and
the instance starts where it was. Once it has, one write makes the copies the slot's volumes, and the old ones are left. So at
any time one volume counts, which is on the one host where the instance may start.

Users ask for moves (:mod:`move_commands`), and so do hosts that are emptied (:mod:`following`) and :mod:`rebalance`. Which host
a move goes to and when it is its turn is in :mod:`move_hosts`, what the records say of one in :mod:`move_status`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from eratos.common import names
from eratos.common.payload import TaskPayload, VolumeCopy
from eratos.marathon.app import App

from . import move_hosts, move_status, volumes
from .actions import Launch, Notice
from .instances import Instance
from .mesos_types import TaskState, TaskStatus
from .placement import Candidates, Host
from .records import MoveCause, VolumeRecord, VolumeState
from .state import FailedMoves, Move, MovePhase, State
from .step import Step
from .timers import Timer, TimerKind

#: How long a host with room is waited for while the instance runs on, and how long for the chosen one once it is stopped.
HOST_S: Final = 600.0
ROOM_S: Final = 120.0
#: How long a copy may go on without news of it: its executor reports every few seconds.
QUIET_S: Final = 300.0
#: How soon a move that no user asked for is tried again after it came to nothing: each time twice as late, up to the second.
AGAIN_S: Final = 30.0
AGAIN_MOST_S: Final = 1800.0
_ENDS: Final = {MovePhase.HOST: HOST_S, MovePhase.ROOM: ROOM_S, MovePhase.COPY: QUIET_S}


def ask(step: Step, instance: Instance, cause: MoveCause, to: str = "", *, wipe: bool = False) -> None:
    """Have an instance moved that :func:`may_move`, to a host by its name or to whichever has room."""
    found = volumes.of_slot(step.state, instance.app_id, instance.slot)
    for record in found:
        said = "" if cause is MoveCause.USER else record.message  # which is why the one before came to nothing
        asked = replace(record, move_since=step.now, move_to=to, move_wipe=wipe, move_cause=cause, message=said)
        volumes.keep(step, asked)
    step.state.moves[instance.slot].phase = None
    step.offering.fresh = True
    about = {"app": instance.app_id, "instance": instance.instance_id, "from": found[0].hostname, "to": to}
    step.notice(Notice("info", "an instance is to be moved with its volumes", about | {"cause": cause.value}))


def may_move(state: State, instance: Instance) -> bool:
    """Return whether a move of an instance could be begun that nobody asked for by name."""
    found = volumes.of_slot(state, instance.app_id, instance.slot)
    if not found or any(record.state is not VolumeState.MADE for record in found):
        return False
    there = instance.state is not TaskState.UNREACHABLE and not volumes.away(state, found[0].hostname)
    return there and not instance.stopping and instance.slot not in state.moves


def load(step: Step) -> None:
    """Go on with what the store held: of a write that was cut off between copies and old volumes the copies count.

    A version before, which leads meanwhile, knows of no moves: then copies are left over, and nobody will have them.
    """
    state = step.state
    volumes.discard(step, [r for r in state.volumes.values() if r.state is VolumeState.COPYING and r.slot not in state.moves])
    for record in list(state.volumes.values()):
        old = state.volumes.get(record.copy_of)
        if record.state is VolumeState.MADE and old is not None and old.state in volumes.USABLE:
            _leave(step, old)


def review(step: Step) -> None:
    """Look whether moves can still go on, and note when each is to be given up."""
    for slot, move in list(step.state.moves.items()):
        with step.apart(move.app_id):
            _review(step, slot, move)


def _review(step: Step, slot: str, move: Move) -> None:
    state = step.state
    app, found = state.in_force(move.app_id), volumes.of_slot(state, move.app_id, slot)
    now_at = move_status.phase(state, move.app_id, slot)
    seen = state.connected and step.now >= step.subscribed_at + volumes.LOOK_S
    if app is None or not app.resident:
        end(step, slot, "its app has no volumes any more")
    elif now_at is MovePhase.HOST and _abandoned(state, app, slot):
        end(step, slot, "its app has no instance for it any more")
    elif now_at is not MovePhase.COPY and seen and volumes.away(state, found[0].hostname):
        end(step, slot, f"its host {found[0].hostname} is away")
    elif now_at is not move.phase:
        move.phase, move.lacks, move.said = now_at, "", ""
        # A move away from a host that is emptied waits for as long as that is.
        waits = now_at is MovePhase.HOST and move_status.cause(state, slot) is MoveCause.MAINTENANCE
        after_s = 0.0 if waits else _ENDS.get(now_at, 0.0)
        _set_end(step, slot, move, step.now + after_s if after_s else 0.0)
        step.offering.fresh = True


def _set_end(step: Step, slot: str, move: Move, at: float) -> None:
    move.until = at
    timer = Timer(TimerKind.MOVE, slot)
    if at:
        step.timers.set(timer, at)
    else:
        step.timers.clear(timer)


def due(step: Step, slot: str) -> None:
    """Give up a move that has come no further for long, not while nothing can."""
    state, move = step.state, step.state.moves.get(slot)
    if move is None or not move.until:
        return
    if state.brake.engaged or not state.connected:
        _set_end(step, slot, move, step.now + ROOM_S)
        return
    lacks = f": {move.lacks}" if move.lacks else ""
    if move.phase is MovePhase.COPY:
        end(step, slot, f"nothing was heard of the copy for {QUIET_S:.0f} s")
    else:
        end(step, slot, f"no room was offered for it for {_ENDS[move.phase or MovePhase.HOST]:.0f} s{lacks}")


def wanted(step: Step) -> bool:
    """Return whether offers are wanted."""
    return not step.state.brake.engaged and any(m.phase in (MovePhase.HOST, MovePhase.ROOM) for m in step.state.moves.values())


def leaving(step: Step, candidates: Mapping[str, Candidates]) -> list[Instance]:
    """Choose hosts that offer enough for moves that wait for one; return the instances that are to be stopped for it.

    ``candidates``: by role.
    """
    out = []
    begun = move_hosts.all_begun(step)
    # The move that was looked at first is the last one next time: there may be more than one pass can look at hosts for.
    for slot, move, app in sorted(_at(step, MovePhase.HOST), key=lambda found: found[1].looked_at):
        with step.apart(app.id):
            if (instance := _set_out(step, slot, move, app, candidates, begun)) is not None:
                out.append(instance)
    if out:
        review(step)
    return out


def _set_out(
    step: Step, slot: str, move: Move, app: App, candidates: Mapping[str, Candidates], begun: move_hosts.Begun
) -> Instance | None:
    """Choose a host that offers enough for one move; return the instance that is to be stopped for it, if there is one."""
    state = step.state
    found = volumes.of_slot(state, move.app_id, slot)
    if any(record.state is not VolumeState.MADE for record in found):
        return None  # the definition brought another one meanwhile, with which the instance is starting
    instance = move_status.holder(state, app.id, slot)
    by_name = move_status.cause(state, slot) is MoveCause.USER
    if not by_name and (before := move_hosts.not_yet(step, app, slot, instance, begun)):
        move.lacks = before
        return None
    host = move_hosts.choose(step, app, slot, move, candidates[step.settings.role(app.role)], begun)
    if host is None:
        return None
    asked = move_status.records(state, slot)[0]
    begun.add(app, asked.hostname, host.agent.hostname, host.role)
    for record in found:  # one that came since, or of a write that was cut off, goes with the others
        going = replace(record, move_since=asked.move_since, move_wipe=asked.move_wipe, move_cause=asked.move_cause)
        volumes.keep(step, replace(going, move_to=host.agent.hostname, move_begun=step.now, message=""))
    return instance if instance is not None and not instance.waiting else None


def place(step: Step, candidates: Mapping[str, Candidates]) -> Iterator[tuple[Host, Launch]]:
    """Launch the tasks that copy, each on the host that its slot goes to. ``candidates``: by role."""
    review(step)
    for slot, move, app in _at(step, MovePhase.ROOM):
        made = None
        with step.apart(app.id):
            made = _begin_copy(step, slot, move, app, candidates[step.settings.role(app.role)])
        if made is not None:
            yield made
    review(step)


def _begin_copy(step: Step, slot: str, move: Move, app: App, candidates: Candidates) -> tuple[Host, Launch] | None:
    found = volumes.of_slot(step.state, app.id, slot)
    limits = move_hosts.limits_of(step, app, slot)
    for host in candidates.on(next(record.move_to for record in found if record.move_begun)):
        refusal = move_hosts.refusal_of(step, app, host, limits, candidates)
        if refusal is None:
            return host, _launch(step, app, found, host)
        move.lacks = refusal.detail
    return None


def _launch(step: Step, app: App, found: list[VolumeRecord], host: Host) -> Launch:
    """Store the copies of volumes, and return the launch of the task that makes them: it takes what the instance will."""
    agent, copy_id = host.agent, names.instance_id(app.id, step.new_id())
    task_id = names.task_id(copy_id, 1)
    source = _agent_on(step.state, found[0])
    copies = []
    for old in found:
        new = VolumeRecord(
            names.volume_name(app.id, step.new_id()),
            app.id,
            old.slot,
            old.container_path,
            old.size_mib,
            agent.agent_id,
            agent.hostname,
            step.now,
            VolumeState.COPYING,
            task_id=task_id,
            copy_of=old.volume_id,
        )
        volumes.keep(step, new)
        copies.append(VolumeCopy(old.volume_id, old.hostname, source, new.volume_id, new.container_path))
    accepts = host.accepts(app)
    payload = TaskPayload(task_id, copy_id, app.id, app.version, app.resources, "", (), accepts=accepts, copies=tuple(copies))
    host.take(app.resources, (), len(payload.to_bytes()), accepts)
    return Launch(task_id, payload)


def status(step: Step, update: TaskStatus) -> bool:
    """Take in an update of a task that copies; return whether it is of one that counts."""
    state = step.state
    found = _made_by(state, update.task_id)
    if not found:
        return False
    slot = found[0].slot
    if update.state is TaskState.FINISHED:
        _commit(step, slot, found)
    elif update.state is TaskState.DROPPED:
        _take_back(step, found)
    elif update.state.terminal:
        volumes.ended(step, update.task_id, found)
        end(step, slot, f"its copy on {found[0].hostname} failed: {update.message or update.state.value}")
    elif update.state in (TaskState.UNREACHABLE, TaskState.UNKNOWN):
        end(step, slot, f"{found[0].hostname} cannot be reached any more")
    else:
        for record in found:
            if update.executor_id and update.executor_id != record.executor_id:
                volumes.keep(step, replace(record, executor_id=update.executor_id))
        move = state.moves[slot]
        move.said = update.message or move.said
        _set_end(step, slot, move, step.now + QUIET_S)
    return True


def not_launched(step: Step, task_id: str) -> None:
    """Take back a launch that was stored and never sent."""
    _take_back(step, _made_by(step.state, task_id))


def _take_back(step: Step, found: list[VolumeRecord]) -> None:
    """Forget copies of a task that reached nobody: another one may be launched."""
    for record in found:
        volumes.forget(step, record)
    step.offering.fresh = True


def _commit(step: Step, slot: str, copies: list[VolumeRecord]) -> None:
    """Have copies that are whole be the slot's volumes. Of a write that is cut off the first part decides."""
    state, app_id, hostname = step.state, copies[0].app_id, copies[0].hostname
    instance, old = move_status.holder(state, app_id, slot), volumes.of_slot(state, app_id, slot)
    for copy in copies:
        before = state.volumes[copy.copy_of]
        had = {"instance_id": before.instance_id, "released_at": before.released_at}
        volumes.keep(step, replace(copy, state=VolumeState.MADE, task_id="", **had))  # type: ignore[arg-type]
    for record in old:
        _leave(step, record)
    if instance is not None:
        instance.host, instance.away_at = hostname, 0.0
    step.timers.clear(Timer(TimerKind.MOVE, slot))
    state.failed_moves.pop(slot, None)
    step.offering.fresh = True
    step.touch(app_id)
    about = {"app": app_id, "from": old[0].hostname if old else "", "to": hostname}
    step.notice(Notice("info", "volumes were copied, and their instance starts with the copies", about))


def _leave(step: Step, old: VolumeRecord) -> None:
    left = replace(old.staying(), state=VolumeState.LEFT, instance_id="", released_at=step.now, move_wipe=old.move_wipe)
    volumes.keep(step, left)


def take_back(step: Step, slot: str) -> None:
    """Have a move that has not begun be none: its instance runs on, and there is nothing to say of it."""
    app_id = step.state.moves[slot].app_id
    step.timers.clear(Timer(TimerKind.MOVE, slot))
    for record in move_status.records(step.state, slot):
        volumes.keep(step, record.staying())
    step.touch(app_id)


def end(step: Step, slot: str, why: str) -> None:
    """End a move that comes to nothing: the volumes stay what they are, and say why."""
    app_id = step.state.moves[slot].app_id
    volumes.discard(step, move_status.copies(step.state, app_id, slot))
    step.timers.clear(Timer(TimerKind.MOVE, slot))
    to, found = "", move_status.records(step.state, slot)
    if found[0].move_cause is not MoveCause.USER:
        _failed(step, app_id, slot, found[0].move_to)
    for record in found:
        to = record.move_to
        where = f" to {to}" if to else ""
        message = f"its move{where} came to nothing, and it is on {record.hostname} as before: {why}"
        volumes.keep(step, replace(record.staying(), message=message))
    step.offering.fresh = True
    step.touch(app_id)
    step.notice(Notice("warning", "a move of volumes came to nothing", {"app": app_id, "to": to, "reason": why}))


def _failed(step: Step, app_id: str, slot: str, to: str) -> None:
    """Note that a move came to nothing that may be tried again by itself, and when."""
    failed = step.state.failed_moves.setdefault(slot, FailedMoves(app_id))
    failed.again_at = step.now + min(AGAIN_S * 2 ** min(failed.count, 10), AGAIN_MOST_S)
    failed.count += 1
    failed.hosts |= {to} - {""}
    step.timers.set(Timer(TimerKind.MOVE, slot), failed.again_at)


def _at(step: Step, wanted_phase: MovePhase) -> list[tuple[str, Move, App]]:
    """Return the moves in a phase that may go on."""
    state = step.state
    if state.brake.engaged:
        return []
    found = []
    for slot, move in state.moves.items():
        with step.apart(move.app_id):
            if move.phase is wanted_phase and (app := state.in_force(move.app_id)) is not None:
                found.append((slot, move, app))
    return found


def _agent_on(state: State, record: VolumeRecord) -> str:
    """Return the agent on a volume's host, which may have another id by now than when it was made."""
    there = (a.agent_id for a in state.agents_on(record.hostname) if a.agent_id not in state.lost)
    return next(there, record.agent_id)


def _abandoned(state: State, app: App, slot: str) -> bool:
    """Return whether no instance will have a slot: as many as are wanted have others."""
    return move_status.holder(state, app.id, slot) is None and len(state.fleet(app.id).instances) >= app.instances


def _made_by(state: State, task_id: str) -> list[VolumeRecord]:
    """Return the copies that a task makes."""
    copies = (record for slot, move in state.moves.items() for record in move_status.copies(state, move.app_id, slot))
    return [record for record in copies if record.task_id == task_id]
