"""Instances with persistent volumes that are moved to another host, with copies of these. Pure.

A move concerns a slot, and stands in the records of its volumes, so that the next leader goes on with it. It has these phases
(:class:`.state.MovePhase`), which follow from the records alone: it waits for a host that offers enough, while the instance
runs on; the instance is stopped; a task without a container that copies (ADR 47) is launched on the host; it copies.

Until that task has ended well the old volumes count, and whatever happens instead ends the move: the copies are destroyed, and
the instance starts where it was. Once it has, one write makes the copies the slot's volumes, and the old ones are left. So at
any time one volume counts, which is on the one host where the instance may start.

Users ask for moves, and so do hosts that are emptied (:mod:`following`) and :mod:`rebalance`. Those that no user asked for by
name take turns, and leave as many instances ready as a rollout does.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from eratos.common import names
from eratos.common.payload import TaskPayload, VolumeCopy
from eratos.common.resources import Resources
from eratos.marathon.app import App

from . import reasons, rollout, volumes
from .actions import Launch, Notice, Refusal
from .constraints import Constraints
from .events import CancelMoves, MoveVolumes
from .instances import Instance
from .mesos_types import NO_RESOURCES, TaskState, TaskStatus, Window
from .placement import FOUND_LEAST, Candidates, Host, Pack, Spread, refuse
from .records import MoveCause, VolumeRecord, VolumeState
from .refusals import Refused
from .state import FailedMoves, Move, MovePhase, State
from .step import Step
from .timers import Timer, TimerKind

#: How long a host with room is waited for while the instance runs on, and how long for the chosen one once it is stopped.
HOST_S: Final = 600.0
ROOM_S: Final = 120.0
#: How long a copy may go on without news of it: its executor tells of it every few seconds.
QUIET_S: Final = 300.0
#: How soon a move that no user asked for is tried again after it came to nothing: each time twice as late, up to the second.
AGAIN_S: Final = 30.0
AGAIN_MOST_S: Final = 1800.0
#: Such moves away from one host at a time, and of one app one: they read the same disk, and executors give few volumes at once.
FROM_HOST_MOST: Final = 2
#: Looks at hosts in one pass, over all moves: these come before apps, which have the rest (:data:`.placement.LOOKS_MOST`).
LOOKS_MOST: Final = 50_000
#: Instances that are named where one has to be chosen.
NAMED_MOST: Final = 10
_ENDS: Final = {MovePhase.HOST: HOST_S, MovePhase.ROOM: ROOM_S, MovePhase.COPY: QUIET_S}


# What users ask for ----------------------------------------------------------------------------------------------------------


def carry_out(step: Step, command: MoveVolumes | CancelMoves) -> None:
    """Have an instance moved, or stay. Raises Refused."""
    if isinstance(command, MoveVolumes):
        _begin(step, command)
        return
    slots = [slot for slot, move in step.state.moves.items() if move.app_id == command.app_id]
    if not slots:
        raise Refused(Refusal.NOT_FOUND, f"No instance of '{command.app_id}' is being moved")
    if not (ended := [slot for slot in slots if not _demanded(step, slot)]):
        source = _records(step.state, slots[0])[0].hostname
        how = "give that back (eratos agent undrain), or take eratos.follow out of the app first"
        message = f"app: {command.app_id} moves as {source} is emptied, and would be moved again: {how}"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    for slot in ended:
        end(step, slot, "it was cancelled")


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
    ask(step, instance, MoveCause.USER, command.hostname, wipe=command.wipe)


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


def _may_be_taken_over(state: State, app_id: str, slot: str) -> bool:
    """Return whether a move that nobody asked for by name has not begun, so that a user may say where it goes."""
    return cause(state, slot) is not MoveCause.USER and phase(state, app_id, slot) is MovePhase.HOST


def cause(state: State, slot: str) -> MoveCause:
    """Return why a slot is being moved."""
    return _records(state, slot)[0].move_cause


def emptied(step: Step, hostname: str) -> bool:
    """Return whether a host is to be emptied: it is drained, or maintenance is near."""
    lead_s = step.settings.maintenance_lead_s
    near = any(window.begin - lead_s <= step.now < window.end for window in _maintenance(step.state, hostname))
    return near or hostname in step.state.drains


def _maintenance(state: State, hostname: str) -> Iterator[Window]:
    return (state.windows[agent.agent_id] for agent in state.agents_on(hostname) if agent.agent_id in state.windows)


def _demanded(step: Step, slot: str) -> bool:
    """Return whether a slot would be moved again soon if its move ended: its host is emptied, and its app has it follow."""
    app, found = step.state.in_force(step.state.moves[slot].app_id), _records(step.state, slot)[0]
    return found.move_cause is MoveCause.MAINTENANCE and app is not None and app.follows and emptied(step, found.hostname)


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
    limits = _limits(step, app, instance.slot)
    violated = limits.violated(agents[-1])
    if violated is not None:
        why = limits.explain(violated, agents[-1])
        raise Refused(Refusal.NOT_POSSIBLE, f"to: constraints of {app.id} do not allow it there ({why}): change them first")


# What goes on ----------------------------------------------------------------------------------------------------------------


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


def phase(state: State, app_id: str, slot: str) -> MovePhase:
    """Return how far a slot's move is."""
    found = volumes.of_slot(state, app_id, slot)
    if not any(record.move_begun for record in found):
        return MovePhase.HOST
    if any(record.task_id for record in found):
        return MovePhase.STOP
    return MovePhase.COPY if _copies(state, app_id, slot) else MovePhase.ROOM


def review(step: Step) -> None:
    """Look whether moves can still go on, and note when each is to be given up."""
    for slot, move in list(step.state.moves.items()):
        with step.apart(move.app_id):
            _review(step, slot, move)


def _review(step: Step, slot: str, move: Move) -> None:
    state = step.state
    app, found = state.in_force(move.app_id), volumes.of_slot(state, move.app_id, slot)
    now_at = phase(state, move.app_id, slot)
    seen = state.connected and step.now >= step.subscribed_at + volumes.LOOK_S
    if app is None or not app.resident:
        end(step, slot, "its app has no volumes any more")
    elif now_at is MovePhase.HOST and _abandoned(state, app, slot):
        end(step, slot, "its app has no instance for it any more")
    elif now_at is not MovePhase.COPY and seen and volumes.away(state, found[0].hostname):
        end(step, slot, f"its host {found[0].hostname} is away")
    elif now_at is not move.phase:
        move.phase, move.lacks, move.said = now_at, "", ""
        waits = now_at is MovePhase.HOST and cause(state, slot) is MoveCause.MAINTENANCE  # as long as the host is emptied
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
    ahead = _ahead(step)
    # Whoever was looked at first is the last one next time: there may be more than one pass can look at hosts for.
    for slot, move, app in sorted(_at(step, MovePhase.HOST), key=lambda found: found[1].looked_at):
        with step.apart(app.id):
            if (instance := _set_out(step, slot, move, app, candidates, ahead)) is not None:
                out.append(instance)
    if out:
        review(step)
    return out


def _set_out(step: Step, slot: str, move: Move, app: App, candidates: Mapping[str, Candidates], ahead: _Ahead) -> Instance | None:
    """Choose a host that offers enough for one move; return the instance that is to be stopped for it, if there is one."""
    state = step.state
    found = volumes.of_slot(state, move.app_id, slot)
    if any(record.state is not VolumeState.MADE for record in found):
        return None  # the definition brought another one meanwhile, with which the instance is starting
    instance = holder(state, app.id, slot)
    if cause(state, slot) is not MoveCause.USER and (before := _not_yet(step, app, slot, instance, ahead)):
        move.lacks = before
        return None
    host = _choose(step, app, slot, move, candidates[step.settings.role(app.role)], ahead)
    if host is None:
        return None
    asked = _records(state, slot)[0]
    ahead.add(app, asked.hostname, host.agent.hostname, host.role)
    for record in found:  # one that came since, or of a write that was cut off, goes with the others
        going = replace(record, move_since=asked.move_since, move_wipe=asked.move_wipe, move_cause=asked.move_cause)
        volumes.keep(step, replace(going, move_to=host.agent.hostname, move_begun=step.now, message=""))
    return instance if instance is not None and not instance.waiting else None


@dataclass(slots=True)
class _Ahead:
    """The moves that have begun, as others wait for their turns, and for what they leave of the hosts that they go to."""

    looks_left: int = LOOKS_MOST
    apps: set[str] = field(default_factory=set)
    sources: Counter[str] = field(default_factory=Counter)  #: by host name
    #: Host name and role -> what copies are still to be launched with there: until then nothing else shows that it is taken.
    promised: dict[tuple[str, str], Resources] = field(default_factory=dict)

    def add(self, app: App, source: str, to: str, role: str) -> None:
        self.apps.add(app.id)
        self.sources[source] += 1
        self.promised[to, role] = self.promised.get((to, role), NO_RESOURCES) + app.resources

    def refuse(self, step: Step, app: App, host: Host) -> reasons.Refusal | None:
        """Return why an app's instance does not fit on a host beside those that are on their way there, if it does without."""
        hostname = host.agent.hostname
        taken = self.promised.get((hostname, host.role))
        free = Resources(host.cpus_m, host.mem_mib, host.disk_mib, host.gpus)
        if taken is None or free.fits(taken + app.resources):
            return None
        note = f"{hostname} has room for others that move there, and no more"
        return reasons.Refusal(reasons.Reason.CPUS, hostname, step.now, note=note)


def _ahead(step: Step) -> _Ahead:
    """Return what has begun: looked up once for all that wait, as many may when many hosts are drained."""
    state, ahead = step.state, _Ahead()
    for slot, move in state.moves.items():
        record, app = _records(state, slot)[0], state.in_force(move.app_id)
        if app is None or move.phase in (None, MovePhase.HOST):
            continue
        if move.phase is MovePhase.COPY:
            ahead.apps.add(app.id)
            ahead.sources[record.hostname] += 1
        else:
            ahead.add(app, record.hostname, record.move_to, step.settings.role(app.role))
    return ahead


def _not_yet(step: Step, app: App, slot: str, instance: Instance | None, ahead: _Ahead) -> str:
    """Say what a move that no user asked for has to wait for first; empty: nothing."""
    state, source = step.state, _records(step.state, slot)[0].hostname
    if cause(state, slot) is MoveCause.MAINTENANCE and not emptied(step, source):
        return f"whether {source} is still to be emptied is not known yet"
    if app.id in ahead.apps:
        return "another instance of the app moves first"
    if ahead.sources[source] >= FROM_HOST_MOST:
        return f"{FROM_HOST_MOST} others move away from {source} first"
    if instance is None or instance.waiting:
        return ""
    if (change := state.changes.get(app.id)) is not None:
        return f"the app is being deployed by {change.deployment_id}"
    fewest, _ = rollout.bounds(app)
    if instance.ready(app.checked) and rollout.count(app, state.fleet(app.id).tally).ready <= fewest:
        return f"{fewest} of the app's instances must stay ready, and no more are"
    return ""


def _choose(step: Step, app: App, slot: str, move: Move, candidates: Candidates, ahead: _Ahead) -> Host | None:
    """Return the best host for a slot among those that offer enough, and note what the others lack."""
    found = volumes.of_slot(step.state, app.id, slot)
    source, to = found[0].hostname, next((record.move_to for record in found if record.move_to), "")
    others = [i for i in step.state.instances_of(app.id) if not i.waiting and i.slot != slot]
    packed = (app.placement or step.settings.placement) == "pack"
    order: Pack | Spread = Pack() if packed else Spread(others)
    limits, fitting, last = _limits(step, app, slot), [], None
    failed = step.state.failed_moves.get(slot)
    tried = failed.hosts if failed is not None else ()
    for host in candidates.on(to) if to else itertools.islice(candidates.look(mixed=order.mixed), ahead.looks_left):
        move.looked_at = step.now
        ahead.looks_left -= not to
        if host.agent.hostname == source:
            continue
        refusal = _refuse(step, app, host, limits, candidates) or ahead.refuse(step, app, host)
        if refusal is not None:
            last = refusal
            continue
        fitting.append(host)
        if len(fitting) >= FOUND_LEAST:
            break
    if last is not None:
        move.lacks = last.detail

    def rank(host: Host) -> tuple[bool, int, object]:
        return host.agent.hostname in tried, order.instances(order.zone(host)), order.rank(host)

    return min(fitting, key=rank, default=None)


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
    limits = _limits(step, app, slot)
    for host in candidates.on(next(record.move_to for record in found if record.move_begun)):
        refusal = _refuse(step, app, host, limits, candidates)
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
    payload = TaskPayload(task_id, copy_id, app.id, app.version, app.resources, "", (), accepts=app.accepts, copies=tuple(copies))
    host.take(app.resources, (), len(payload.to_bytes()), app.accepts)
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
    instance, old = holder(state, app_id, slot), volumes.of_slot(state, app_id, slot)
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
    for record in _records(step.state, slot):
        volumes.keep(step, record.staying())
    step.touch(app_id)


def end(step: Step, slot: str, why: str) -> None:
    """End a move that comes to nothing: the volumes stay what they are, and say why."""
    app_id = step.state.moves[slot].app_id
    volumes.discard(step, _copies(step.state, app_id, slot))
    step.timers.clear(Timer(TimerKind.MOVE, slot))
    to, found = "", _records(step.state, slot)
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


# What is asked of it -----------------------------------------------------------------------------------------------------------


def _at(step: Step, wanted_phase: MovePhase) -> list[tuple[str, Move, App]]:
    """Return the moves in a phase that may go on."""
    state = step.state
    if state.brake.engaged:
        return []
    found = [(slot, move) for slot, move in state.moves.items() if move.phase is wanted_phase]
    return [(slot, move, app) for slot, move in found if (app := state.in_force(move.app_id)) is not None]


def _limits(step: Step, app: App, slot: str) -> Constraints:
    """Return an app's constraints without the instance that moves."""
    placed = (i for i in step.state.instances_of(app.id) if not i.waiting and not i.stopping and not i.inactive)
    agents = [i.agent for i in placed if i.slot != slot and i.version == app.version]
    return Constraints(app, agents, step.state.region, step.offering.verdicts)


def _refuse(step: Step, app: App, host: Host, limits: Constraints, candidates: Candidates) -> reasons.Refusal | None:
    """Return why an instance does not fit on a host. To say it in words costs more than to look: the last alone is said."""
    hostname = host.agent.hostname
    if hostname in candidates.left_alone:
        note = f"{hostname} is left alone for a while, as starts failed there"
        return reasons.Refusal(reasons.Reason.FAILING_HOST, hostname, step.now, note=note)
    return refuse(app, host, limits, step.now, step.settings.maintenance_lead_s)


def _agent_on(state: State, record: VolumeRecord) -> str:
    """Return the agent on a volume's host, which may have another id by now than when it was made."""
    there = (a.agent_id for a in state.agents_on(record.hostname) if a.agent_id not in state.lost)
    return next(there, record.agent_id)


def holder(state: State, app_id: str, slot: str) -> Instance | None:
    """Return the instance that has a slot."""
    found = (volumes.holder(state, record) for record in volumes.of_slot(state, app_id, slot))
    return next((instance for instance in found if instance is not None), None)


def _abandoned(state: State, app: App, slot: str) -> bool:
    """Return whether no instance will have a slot: as many as are wanted have others."""
    return holder(state, app.id, slot) is None and len(state.fleet(app.id).instances) >= app.instances


def _made_by(state: State, task_id: str) -> list[VolumeRecord]:
    """Return the copies that a task makes."""
    copies = (record for slot, move in state.moves.items() for record in _copies(state, move.app_id, slot))
    return [record for record in copies if record.task_id == task_id]


def _records(state: State, slot: str) -> list[VolumeRecord]:
    """Return the volumes of a slot that are being moved."""
    return [record for record in state.slots[state.moves[slot].app_id][slot].values() if record.move_since]


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


def _copies(state: State, app_id: str, slot: str) -> list[VolumeRecord]:
    return [record for record in state.slots[app_id][slot].values() if record.state is VolumeState.COPYING]


# For people ------------------------------------------------------------------------------------------------------------------


def message(state: State, slot: str) -> str:
    """Say what a slot's move waits for or does."""
    move = state.moves[slot]
    record = _records(state, slot)[0]
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
    drain = state.drains.get(_records(state, slot)[0].hostname)
    ends = (state.moves[slot].until, drain.deadline if drain is not None else 0.0)
    return min((at for at in ends if at), default=None)


def of_app(state: State, app_id: str) -> dict[str, list[Instance]]:
    """Return the slots of an app that are being moved, and the instance of each, if there is one just now."""
    found = {slot: holder(state, app_id, slot) for slot in state.slots.get(app_id, ()) if slot in state.moves}
    return {slot: [instance] if instance is not None else [] for slot, instance in found.items()}


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
