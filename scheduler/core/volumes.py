"""Persistent volumes: which ones an instance gets, when they are free, and how they are destroyed. Pure.

The volumes that one instance has at a time make a slot, on one host. An instance of an app with such volumes gets a slot of
the app that nobody has, and waits for its host; where there is none, its first launch makes one on whatever host it comes to.
The slot stays with what comes in its place. Two things keep a volume from ever having two writers: an instance has its slot
alone, and a launch waits until the task that had the volumes before has certainly ended, whatever became of its instance.
Nothing here destroys a volume but :func:`destroy`, which is a user's wish.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from eratos.common import names
from eratos.common.times import timestamp
from eratos.marathon.app import App

from . import events
from .actions import DestroyVolume, Kill, Notice, Reconcile, Refusal, Reply
from .instances import Instance
from .records import VOLUMES, Stored, VolumeRecord, VolumeState
from .refusals import Refused
from .state import State
from .step import Step
from .timers import Timer, TimerKind

#: A volume in one of these states is an instance's, or may become one's.
USABLE = frozenset({VolumeState.NEW, VolumeState.MADE})
#: How often it is looked whether the host of volumes that are waited for is away, where that is not waited for without end.
LOOK_S = 30.0
#: How often Mesos is asked about a task that may still write and whose instance is no more, or a host that is away to destroy.
ASK_S = 60.0
#: What :attr:`.Step.new_id` makes, which ends a volume's name.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Of volumes' names in a message.
NAMED_CHARACTERS = 300


def load(step: Step, stored: Stored) -> None:
    """Take in what the store held, once its instances are known."""
    for record in stored.volumes:
        step.state.keep_volume(record)
        _watch(step, record)
        instance = holder(step.state, record)
        if instance is not None and instance.task_id == record.task_id:
            instance.volumes += ((record.container_path, record.volume_id),)


def of_slot(state: State, app_id: str, slot: str) -> list[VolumeRecord]:
    """Return the usable volumes of a slot."""
    return [record for record in state.slots.get(app_id, {}).get(slot, {}).values() if record.state in USABLE]


def holder(state: State, record: VolumeRecord) -> Instance | None:
    """Return the instance that has a volume."""
    instance = state.instances.get(record.instance_id)
    return instance if instance is not None and instance.slot == record.slot else None


def take(step: Step, app: App, instance: Instance) -> None:
    """Give an instance that is being made a slot of its app that nobody has, if there is one."""
    state = step.state
    paths = {volume.container_path for volume in app.persistent_volumes}
    taken = {other.slot for other in state.instances_of(app.id)}
    free = {}
    for slot in state.slots.get(app.id, {}):
        found = of_slot(state, app.id, slot)
        if slot not in taken and any(record.container_path in paths for record in found):
            free[slot] = found
    if free:
        # What an instance of a leader before waited for comes first, and then what one had last: it is replaced in place. All
        # that ran comes before what never did, which holds nothing.
        slot = min(free, key=lambda name: (*_order(free[name]), name))
        _give(step, instance, slot, free[slot])


def take_late(step: Step, app: App, waiting: Iterable[Instance]) -> None:
    """Give slots that have become free to those that wait without one."""
    without = [instance for instance in waiting if not instance.slot] if app.resident and step.state.slots.get(app.id) else []
    for instance in without:
        take(step, app, instance)
        if not instance.slot:
            return
        watch(step, instance)


def unreadable(state: State, app_id: str) -> str:
    """Return the key of a record that cannot be read and is that of an app's volume, or an empty text."""
    begins = VOLUMES + names.volume_name(app_id, "")
    return next((key for key in state.spoilt if key.startswith(begins) and _UUID.fullmatch(key.removeprefix(begins))), "")


def may_begin(state: State, app: App) -> int:
    """Return how many instances of an app may begin with new volumes.

    What is on its way out first leaves its own to others. None begins with empty ones while others may hold its data.
    """
    if unreadable(state, app.id):
        return 0
    return max(0, app.instances - len({instance.slot for instance in state.instances_of(app.id)} - {""}))


def _order(found: list[VolumeRecord]) -> tuple[bool, bool, float]:
    never_ran = all(record.state is VolumeState.NEW for record in found)
    return never_ran, not any(record.instance_id for record in found), -max(record.released_at for record in found)


def _give(step: Step, instance: Instance, slot: str, found: Iterable[VolumeRecord]) -> None:
    instance.slot = slot
    for record in found:
        instance.host = record.hostname
        keep(step, replace(record, instance_id=instance.instance_id, released_at=0.0))


def survivor(step: Step, ended: Instance, instance: Instance) -> None:
    """Have an instance that survives its task keep its volumes, unless these are to be destroyed."""
    found = of_slot(step.state, ended.app_id, ended.slot) if ended.slot else []
    if found:
        _give(step, instance, ended.slot, found)


def release(step: Step, instance: Instance) -> None:
    """Have an instance that is no more have no volumes. Those stay what they are, and the next one may get them."""
    for record in list(step.state.slots.get(instance.app_id, {}).get(instance.slot, {}).values()) if instance.slot else ():
        if record.instance_id == instance.instance_id:
            keep(step, replace(record, instance_id="", released_at=step.now))


def to_launch(step: Step, app: App, instance: Instance) -> list[VolumeRecord]:
    """Return the volumes that an instance is launched with where it was placed; new ones are no part of the state yet."""
    if not app.resident:
        return []
    state, agent = step.state, instance.agent
    slot = instance.slot or step.new_id()
    known = {record.container_path: record for record in of_slot(state, app.id, slot)}
    found = []
    for volume in app.persistent_volumes:
        assert volume.persistent is not None
        path, size_mib = volume.container_path, volume.persistent.size
        record = known.get(path) or VolumeRecord(
            names.volume_name(app.id, step.new_id()), app.id, slot, path, size_mib, "", agent.hostname, step.now
        )
        had = replace(record, instance_id=instance.instance_id, task_id=instance.task_id, executor_id="", released_at=0.0)
        found.append(replace(had, size_mib=size_mib, agent_id=agent.agent_id))
    return found


def launched(step: Step, instance: Instance, found: Iterable[VolumeRecord]) -> None:
    """Store the volumes of a launch, before the launch itself is."""
    for record in found:
        instance.slot = record.slot
        instance.volumes += ((record.container_path, record.volume_id),)
        keep(step, record)


def free(state: State, instance: Instance) -> bool:
    """Return whether nobody may still write to the volumes of an instance that waits, and they are not being moved."""
    return not any(record.task_id or record.move_begun for record in of_slot(state, instance.app_id, instance.slot))


def running(step: Step, instance: Instance, executor_id: str) -> None:
    """Note that a task runs, so that its volumes are there."""
    for record in of_slot(step.state, instance.app_id, instance.slot) if instance.slot else ():
        if record.task_id == instance.task_id:
            made = replace(record, state=VolumeState.MADE, executor_id=executor_id or record.executor_id)
            if made != record:
                keep(step, made)


def ready(step: Step, instance: Instance) -> None:
    """Note that an instance is ready: what its volumes were copied from is destroyed, where that was asked for with the move."""
    found = step.state.slots.get(instance.app_id, {}).get(instance.slot, {}).values()
    destroy(step, [record for record in found if record.state is VolumeState.LEFT and record.move_wipe])


def ended(step: Step, task_id: str, found: Iterable[VolumeRecord]) -> None:
    """Note that a task has ended for certain: somebody else may write to those of these volumes that it had."""
    for record in [record for record in found if record.task_id == task_id]:
        keep(step, replace(record, task_id=""))
        step.offering.fresh = True  # offers that came before were not looked at for it
        step.touch(record.app_id)


def away(state: State, hostname: str) -> bool:
    """Return whether no agent of a host is there."""
    return all(agent.agent_id in state.lost for agent in state.agents_on(hostname))


# Beginning anew elsewhere ----------------------------------------------------------------------------------------------------


def watch(step: Step, instance: Instance) -> None:
    """Look after an instance that waits for the host of its volumes, and may begin anew elsewhere after a while."""
    app = step.state.in_force(instance.app_id)
    after_s = app.residency.gives_up_after_s if app is not None and app.residency is not None else None
    if not instance.slot or after_s is None:
        return
    if not away(step.state, instance.host):
        instance.away_at = 0.0
    elif not instance.away_at:
        instance.away_at = step.now
    due = _relaunched_at(step, instance, after_s) if instance.away_at else step.now + LOOK_S
    step.timers.set(Timer(TimerKind.RELAUNCH, instance.instance_id), max(due, step.now + 1.0))


def _relaunched_at(step: Step, instance: Instance, after_s: float) -> float:
    """Return when it begins anew. What a leader that is new to its master has not seen yet is not away."""
    return max(instance.away_at + after_s, step.subscribed_at + LOOK_S)


def relaunch_due(step: Step, instance_id: str) -> None:
    """Have a waiting instance begin anew elsewhere, with empty volumes, if its host has been away for so long as its app says."""
    state, instance = step.state, step.state.instances.get(instance_id)
    if instance is None or not instance.waiting:
        return
    app = state.in_force(instance.app_id)
    after_s = app.residency.gives_up_after_s if app is not None and app.residency is not None else None
    waited = instance.away_at and after_s is not None and step.now >= _relaunched_at(step, instance, after_s)
    if not waited or instance.slot in state.moves or state.brake.engaged or not state.connected or not away(state, instance.host):
        watch(step, instance)
        return
    leave(step, instance)
    instance.slot = instance.host = ""
    step.offering.fresh = True
    step.touch(instance.app_id)


def leave(step: Step, instance: Instance) -> None:
    """Give up the volumes of an instance, which stay listed: they are on a host that has been away for too long."""
    for record in of_slot(step.state, instance.app_id, instance.slot):
        keep(step, replace(record.staying(), state=VolumeState.LEFT, instance_id="", released_at=step.now))
        discard(step, copies_of(step.state, record))
    about = {"app": instance.app_id, "instance": instance.instance_id, "slot": instance.slot}
    step.notice(Notice("warning", "volumes are left behind, and an instance begins anew with empty ones", about))


# Destroying ------------------------------------------------------------------------------------------------------------------


def destroy(step: Step, found: Iterable[VolumeRecord]) -> None:
    """Have volumes destroyed as soon as nobody may write to them; from here on no instance gets them."""
    for record in list(found):
        discard(step, [record] if record.state is VolumeState.COPYING else copies_of(step.state, record))
        if record.state not in (VolumeState.COPYING, VolumeState.DELETING):
            keep(step, replace(record.staying(), state=VolumeState.DELETING, message=""))
    for record in list(found):
        instance = holder(step.state, record)
        if instance is not None and instance.waiting and not of_slot(step.state, instance.app_id, instance.slot):
            instance.slot = instance.host = ""  # nothing binds it any more
            step.offering.fresh = True
            step.touch(instance.app_id)


def copies_of(state: State, record: VolumeRecord) -> list[VolumeRecord]:
    """Return what is being copied from a volume."""
    of_slot = state.slots.get(record.app_id, {}).get(record.slot, {})
    return [found for found in of_slot.values() if found.state is VolumeState.COPYING and found.copy_of == record.volume_id]


def discard(step: Step, copies: Iterable[VolumeRecord]) -> None:
    """End copies that nobody will have, and have what there is of them destroyed: what they are copied from is as it was."""
    for record in copies:
        if record.task_id:
            step.call(Kill(record.task_id, record.agent_id))  # should it get lost, the task is one without a record
        keep(step, replace(record, state=VolumeState.DELETING))


def of_instances(state: State, instances: Iterable[Instance]) -> list[VolumeRecord]:
    """Return all volumes that instances have."""
    slots = (state.slots.get(instance.app_id, {}).get(instance.slot, {}) for instance in instances if instance.slot)
    return [record for slot in slots for record in slot.values()]


def of_apps(state: State, app_ids: Iterable[str]) -> list[VolumeRecord]:
    """Return all volumes of apps, used or not."""
    return [record for app_id in app_ids for record in _of_app(state, app_id)]


def carry_out(step: Step, token: int, command: events.DeleteVolume) -> Reply:
    """Have one volume destroyed, or with ``forget`` leave it where it is, and known to nobody.

    Raises Refused where it is not there or in use.
    """
    record = step.state.volumes.get(command.volume_id)
    if record is None:
        raise Refused(Refusal.NOT_FOUND, f"Volume '{command.volume_id}' does not exist")
    if record.state is VolumeState.COPYING:
        message = f"volume {record.volume_id} is a copy in the making: eratos move --cancel {record.app_id} ends it"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    instance = holder(step.state, record)
    if instance is not None and not instance.waiting and record.task_id:
        message = (
            f"volume {record.volume_id} is in use by task {record.task_id}: kill that with wipe=true, which destroys its volumes"
        )
        raise Refused(Refusal.NOT_POSSIBLE, message)
    destroy(step, [record])
    if command.forget:
        forget(step, record)
    return Reply(token)


def due(step: Step, volume_id: str) -> None:
    """Go on with a volume that is to be destroyed, or whose last task is not known to have ended."""
    state, record = step.state, step.state.volumes.get(volume_id)
    if record is None or (not record.task_id and record.state is not VolumeState.DELETING):
        return
    instance = holder(state, record)
    if record.task_id:
        if instance is None or instance.waiting or instance.task_id != record.task_id:
            step.call(Reconcile(((record.task_id, record.agent_id),)))
        step.timers.set(Timer(TimerKind.VOLUME, volume_id), step.now + ASK_S)
        return
    gone = away(state, record.hostname)
    agents = [agent.agent_id for agent in state.agents_on(record.hostname)]
    for agent_id in dict.fromkeys((*(a for a in agents if a not in state.lost), record.agent_id)):
        step.call(DestroyVolume(record.volume_id, record.app_id, agent_id, record.executor_id))
    state.looking = state.looking or not gone  # offers say which executors are there
    step.timers.set(Timer(TimerKind.VOLUME, volume_id), step.now + (ASK_S if gone else step.settings.kill_retry_s))


def destroyed(step: Step, event: events.VolumeDestroyed) -> None:
    """Take in what a host says of a volume that it was to destroy."""
    record = step.state.volumes.get(event.volume_id)
    if record is None or record.state is not VolumeState.DELETING or record.task_id:
        return
    if not event.error:
        step.notice(
            Notice("info", "volume destroyed", {"volume": record.volume_id, "app": record.app_id, "host": record.hostname})
        )
        forget(step, record)
    elif event.error != record.message:
        record = replace(record, message=event.error)
        step.state.keep_volume(record)
        step.store(record.key, record)


def forget(step: Step, record: VolumeRecord) -> None:
    step.timers.clear(Timer(TimerKind.VOLUME, record.volume_id))
    step.state.drop_volume(record.volume_id)
    step.forget(record.key)


def keep(step: Step, record: VolumeRecord) -> None:
    """Have a volume known and stored as it is now."""
    if step.state.volumes.get(record.volume_id) != record:
        step.state.keep_volume(record)
        step.store(record.key, record)
    _watch(step, record)


def _watch(step: Step, record: VolumeRecord) -> None:
    """Set the timer of a volume with which something is still to be done."""
    timer = Timer(TimerKind.VOLUME, record.volume_id)
    if record.state is VolumeState.DELETING and not record.task_id:
        step.timers.set(timer, step.now)
    elif record.task_id and holder(step.state, record) is None:
        step.timers.set(timer, step.now + step.settings.loss_settle_s)


def _of_app(state: State, app_id: str) -> Iterator[VolumeRecord]:
    return (record for slot in state.slots.get(app_id, {}).values() for record in slot.values())


# For people ------------------------------------------------------------------------------------------------------------------


class Awaited(NamedTuple):
    """What instances wait for before they have their volumes back."""

    hostname: str
    message: str
    instances: list[Instance]
    until: float | None  #: when they begin anew elsewhere; None: never


def awaited(state: State, app: App) -> list[Awaited]:
    """Return for which hosts waiting instances wait because their volumes are there, and these hosts are away or not free."""
    by_host: dict[str, list[Instance]] = {}
    for instance in state.fleet(app.id).waiting.values():
        if instance.slot and instance.slot not in state.moves:  # of moves there is more to say
            by_host.setdefault(instance.host, []).append(instance)
    found = []
    for hostname, instances in sorted(by_host.items()):
        since = timestamp(min(instance.waiting_since for instance in instances))
        after_s = app.residency.gives_up_after_s if app.residency is not None else None
        if away(state, hostname):
            ends = [instance.away_at + after_s for instance in instances if instance.away_at and after_s is not None]
            then = "they begin anew elsewhere, with empty ones, then" if ends else "residency has them wait without end"
            named = ", ".join(record.volume_id for i in instances for record in of_slot(state, app.id, i.slot))
            how = f"to begin anew now, with empty ones: eratos volume delete {named[:NAMED_CHARACTERS]}"
            message = f"their volumes are on {hostname}, which is away; they wait for it since {since}, and {then}; {how}"
            found.append(Awaited(hostname, message, instances, min(ends, default=None)))
        elif busy := [instance for instance in instances if not free(state, instance)]:
            tasks = sorted({r.task_id for i in busy for r in of_slot(state, app.id, i.slot) if r.task_id})
            message = (
                f"their volumes on {hostname} may still be written to by {', '.join(tasks[:3])}, of which Mesos knows no end yet"
            )
            found.append(Awaited(hostname, message, busy, None))
    return found
