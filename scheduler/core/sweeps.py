"""Hosts on which a dead executor may have left something: the next executor there removes it, so one is started if need be. Pure.

An executor that is killed leaves containers and Consul services behind, and the next one on its host drains and removes them.
Mostly that comes with the next task. Where none comes, a *sweep* is launched: a task without a container that ends once nothing
is left. Its need is stored when the death is known, its launch before ACCEPT, so no change of leaders forgets it. What it was
told, or that it was sent at all, is not relied on: what has not ended well in time is launched again, some times at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from eratos.common import names
from eratos.common.backoff import exponential_s
from eratos.common.payload import TaskPayload
from eratos.common.resources import Resources

from .actions import Launch, Notice
from .instances import Instance
from .mesos_types import RECONCILIATION, TaskState, TaskStatus
from .placement import Candidates, Host
from .records import SWEEPS, SweepRecord
from .state import State
from .step import Step
from .timers import Timer, TimerKind

#: As little as Mesos takes without a warning (master/constants.hpp, MIN_CPUS and MIN_MEM).
RESOURCES: Final = Resources(cpus_m=10, mem_mib=32)
#: No app can have it: it holds capital letters.
APP_ID: Final = "/SWEEP"
#: How long the first launch may take, with the start of an executor and twenty seconds of draining; the next ones twice as long.
FIRST_S: Final = 60.0
MOST_S: Final = 3600.0
ATTEMPTS_MOST: Final = 10
#: How long a host is waited for that offers nothing, or too little.
KEPT_S: Final = 7 * 86_400.0

#: Who says that a task has ended when its executor cannot.
_AGENT: Final = frozenset({"SOURCE_AGENT", "SOURCE_SLAVE"})
_EXECUTOR: Final = "SOURCE_EXECUTOR"


def load(step: Step, records: tuple[SweepRecord, ...]) -> None:
    """Take in what the store held."""
    for record in records:
        step.state.sweeps[record.hostname] = record
        _watch(step, record)


def task_ended(step: Step, update: TaskStatus, instance: Instance | None) -> None:
    """Take in the end of a task. Where its agent reports it the executor is dead, and what it ran may run on."""
    if update.source not in _AGENT or (instance is not None and instance.unanswered):
        return
    agent = instance.agent if instance is not None else step.state.agents.get(update.agent_id)
    holds = instance.holds if instance is not None else frozenset()
    _needed(step, agent.hostname if agent is not None and agent.hostname else update.agent_id, holds)


def executor_lost(step: Step, agent_id: str, status: int) -> None:
    """Take in that an executor has ended; one that leaves by itself, with status 0, leaves nothing."""
    if status:
        agent = step.state.agents.get(agent_id)
        _needed(step, agent.hostname if agent is not None else agent_id)


def agent_seen(step: Step, agent_id: str, hostname: str) -> None:
    """Take in the name of an agent's host. An executor may have died there before that was known, as to a new leader."""
    record = step.state.sweeps.get(agent_id)
    if record is None or agent_id == hostname:
        return
    _forget(step, record)
    if hostname not in step.state.sweeps:
        _store(step, replace(record, hostname=hostname))


def _needed(step: Step, hostname: str, holds: frozenset[str] = frozenset()) -> None:
    """Note that an executor of a host has died. A sweep under way, whose executor may have been that one, is repeated anyway.

    ``hostname``: the agent's id where the name is not known yet; ``holds``: volumes to which a task of it alone may write.
    """
    if not hostname:
        return
    record = step.state.sweeps.get(hostname)
    known = frozenset(record.holds) if record is not None else frozenset()
    if record is None:
        step.notice(Notice("info", "an executor has died, its host is to be swept", {"host": hostname}))
    if record is None or not holds <= known:
        # Whatever was launched before may have seen nothing of this task, so it is begun anew.
        sweep_id = names.instance_id(APP_ID.lower(), step.new_id())
        _store(step, SweepRecord(hostname, sweep_id, step.now, holds=tuple(sorted(holds | known))))


def spoken(step: Step, instance: Instance, update: TaskStatus) -> None:
    """Take in that an executor has spoken of a task: if that was launched after the death, it removes what was left.

    It drains that first, and its word comes before the end of it. Where what is left may write to a volume that others wait for,
    only a sweep says when that is.
    """
    record = step.state.sweeps.get(instance.hostname)
    # The master reports tasks as well, of those that no executor was asked for yet too: of an agent that came back, say.
    told = update.reason != RECONCILIATION and update.source == _EXECUTOR
    if record is None or not told or instance.launched_at < record.since:
        return
    if not record.holds:
        _forget(step, record)
    elif instance.unanswered:
        step.offering.fresh = True  # which was waited for with the sweep


def status(step: Step, update: TaskStatus) -> bool:
    """Take in an update of a sweep; return whether it is of one."""
    record = _of_task(step, update.task_id)
    if record is None:
        return False
    # An executor of a version before cannot read the instruction, and says so: it is there, and removes what is left.
    there = update.state is TaskState.ERROR and update.source == _EXECUTOR
    if update.state is TaskState.FINISHED or there:
        step.notice(Notice("info", "a host was swept", {"host": record.hostname, "attempts": record.attempt}))
        _forget(step, record)
    elif update.state is TaskState.DROPPED:
        _store(step, replace(record, launched_at=0.0))  # nobody got it
    return True


def not_launched(step: Step, task_id: str) -> None:
    """Take back a launch that was stored and never sent."""
    record = _of_task(step, task_id)
    if record is not None and record.launched_at:
        _store(step, replace(record, attempt=record.attempt - 1, launched_at=0.0))


def place(step: Step, candidates: Mapping[str, Candidates]) -> Iterator[tuple[Host, Launch]]:
    """Launch sweeps that are due on hosts that offer enough, after all apps, whose tasks do as well.

    ``candidates``: by role. An executor removes what any dead one of its host left, whatever the role of either.
    """
    for record in list(step.state.sweeps.values()):
        made = None
        with step.apart(record.hostname):
            made = _begin(step, record, candidates) if wanted(step, record) else None
            step.mended(record.hostname)
        if made is not None:
            yield made


def _begin(step: Step, record: SweepRecord, candidates: Mapping[str, Candidates]) -> tuple[Host, Launch] | None:
    for host in itertools.chain.from_iterable(found.on(record.hostname) for found in candidates.values()):
        # What still writes to a volume keeps its app from starting anywhere: a sweep of that waits for no maintenance.
        if (_closed(step, host) and not record.holds) or host.cpus_m < RESOURCES.cpus_m or host.mem_mib < RESOURCES.mem_mib:
            continue
        launched = replace(record, attempt=record.attempt + 1, launched_at=step.now)
        payload = TaskPayload(launched.task_id, record.sweep_id, APP_ID, "", RESOURCES, "", (), sweeps=True)
        host.take(RESOURCES, (), len(payload.to_bytes()), "")
        _store(step, launched)
        return host, Launch(launched.task_id, payload)
    return None


def wanted(step: Step, record: SweepRecord) -> bool:
    """Return whether a sweep is to be launched now: while the brake is engaged nothing that serves is removed."""
    return not step.state.brake.engaged and step.now >= due_at(record) and not _awaited(step, record)


def any_wanted(step: Step) -> bool:
    """Return whether one of the sweeps is to be launched now."""
    for record in step.state.sweeps.values():
        with step.apart(record.hostname):
            if wanted(step, record):
                return True
    return False


def due_at(record: SweepRecord) -> float:
    """Return when a sweep may be launched, for the first time or again."""
    if not record.launched_at:
        return record.since
    return record.launched_at + exponential_s(record.attempt - 1, first_s=FIRST_S, factor=2, most_s=MOST_S)


def why(state: State, record: SweepRecord, now: float) -> str:
    """Say what a sweep waits for."""
    if state.brake.engaged:
        return "a sweep waits until the brake is released"
    if record.launched_at and now < due_at(record):
        return "a sweep was launched, and is again if it does not end well"
    room = f"{RESOURCES.cpus_m / 1000:g} CPUs and {RESOURCES.mem_mib} MiB"
    return f"a sweep waits for a task that starts there, or for an offer with {room} outside of maintenance"


def due(step: Step, hostname: str) -> None:
    """Go on with a sweep that has not ended well in time; give it up after many launches, or a long time without room."""
    record = step.state.sweeps.get(hostname)
    if record is None:
        return
    overdue = step.now >= due_at(record)
    if (overdue and record.attempt >= ATTEMPTS_MOST) or step.now >= record.since + KEPT_S:
        about = {"host": hostname, "attempts": record.attempt}
        step.notice(Notice("error", "a host was not swept: containers and services of a dead executor may be left there", about))
        _forget(step, record)
        return
    if overdue:
        step.offering.fresh = True
    _watch(step, record)


def _awaited(step: Step, record: SweepRecord) -> bool:
    """Return whether a task that was launched there since is to say that an executor is there."""
    state = step.state
    agents = state.agents_on(record.hostname)
    there = (instance for agent in agents for instance in state.on_agent.get(agent.agent_id, {}).values())
    return any(instance.unanswered and instance.launched_at >= record.since for instance in there)


def _closed(step: Step, host: Host) -> bool:
    window = host.window
    return host.drained or (window is not None and window.begin - step.settings.maintenance_lead_s <= step.now < window.end)


def _of_task(step: Step, task_id: str) -> SweepRecord | None:
    parsed = names.parse_task_id(task_id)
    if parsed is None:
        return None
    return next((record for record in step.state.sweeps.values() if record.sweep_id == parsed[0]), None)


def _store(step: Step, record: SweepRecord) -> None:
    if not record.launched_at:
        step.offering.fresh = True  # offers that came before were not looked at for it
    step.state.sweeps[record.hostname] = record
    step.store(SWEEPS + record.hostname, record)
    _watch(step, record)


def _forget(step: Step, record: SweepRecord) -> None:
    del step.state.sweeps[record.hostname]
    step.forget(SWEEPS + record.hostname)
    step.mended(record.hostname)
    step.timers.clear(Timer(TimerKind.SWEEP, record.hostname))


def _watch(step: Step, record: SweepRecord) -> None:
    ends, due = record.since + KEPT_S, due_at(record)
    step.timers.set(Timer(TimerKind.SWEEP, record.hostname), min(ends, due) if due > step.now else ends)
