"""Has every app that something happened to take its next steps towards what is wanted, and its deployment looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eratos.common import names

from . import deployments, ordinals, per_host, rollout, stages, status_updates, volumes
from .instances import Instance
from .step import Step

#: Instances of one app that wait at a time, beside those that are not made yet.
WAITING_MOST = 10_000


def roll_out(step: Step) -> None:
    """Compare the touched apps with what is wanted (:mod:`rollout`), and take their next steps."""
    state = step.state
    if step.hosts_seen != state.hosts_changed:
        step.hosts_seen = state.hosts_changed
        step.dirty.update(state.wanted_on)
        step.dirty.update(state.held_by_unrecorded)
    if state.brake.engaged:
        return  # and what was touched stays so until it is released
    while step.dirty:
        app_ids = sorted(step.dirty)
        step.dirty.clear()
        for app_id in app_ids:
            try:
                # A waiting instance that is stopped is gone at once and no event will follow, so look again.
                while _step_out(step, app_id):
                    pass
            except Exception as error:
                step.broke(app_id, error)  # and the others go on
            app = state.in_force(app_id)
            if app is None and app_id not in state.fleets:
                state.launches.pop(app_id, None)
            if app is None or not app.per_host:
                state.wanted_on.pop(app_id, None)
            if app is None or not app.ordinals:
                state.held_by_unrecorded.discard(app_id)
        deployments.review(step, app_ids)


def _step_out(step: Step, app_id: str) -> bool:
    """Take an app's next steps; return whether that made room for further ones."""
    state = step.state
    app, fleet = state.in_force(app_id), state.fleet(app_id)
    limit = stages.limit(state, app_id)
    before = state.staged.get(app_id)
    hosts: list[str] = []
    numbers: list[int] = []
    if app is not None and app.per_host:
        steps, hosts = per_host.next_steps(step, app, before, limit)
    elif app is not None and app.ordinals:
        steps, numbers = ordinals.next_steps(state, app, before, limit)
    elif app is None or limit is None:
        steps = rollout.next_steps(app, fleet)
    elif before is None:
        steps = rollout.next_steps(app.with_instances(min(limit, app.instances)), fleet)
    elif stages.beside(state, app_id):
        steps = rollout.beside_steps(app, before, limit, fleet)
    else:
        steps = rollout.staged_steps(app, before, limit, fleet)
    if app_id in state.runs and fleet.instances:
        steps = replace(steps, start=0)  # the next task of a run begins when the last one is no more
    room = any(instance.waiting for instance in steps.stop)
    status_updates.stop_all(step, steps.stop)
    if app is not None:
        _start(step, app_id, app.version, steps.start, hosts, numbers)
        if before is not None:
            _make(step, app_id, before.version, steps.start_before, hosts[steps.start :], numbers[steps.start :])
        if app.per_host:
            per_host.watch(step, app_id)
    return room


def _start(step: Step, app_id: str, version: str, count: int, hosts: Sequence[str], numbers: Sequence[int]) -> None:
    """Make instances to be started, no more than can be placed soon: the others are made as these are placed."""
    state = step.state
    made = min(count, max(0, WAITING_MOST - len(state.fleet(app_id).waiting)))
    if count > made or app_id in state.launches:
        state.launches_of(app_id).unmade = count - made
    _make(step, app_id, version, made, hosts, numbers)


def _make(step: Step, app_id: str, version: str, count: int, hosts: Sequence[str] = (), numbers: Sequence[int] = ()) -> None:
    """Make instances; each is for the host at its place in ``hosts``, or for any, and has the ordinal there in ``numbers``."""
    state = step.state
    for index in range(count):
        instance_id = names.instance_id(app_id, step.new_id())
        host, ordinal = hosts[index] if hosts else "", numbers[index] if numbers else None
        instance = Instance(instance_id, app_id, version, ordinal=ordinal, host=host, waiting_since=step.now)
        app = state.definition(instance)
        if app is not None and app.resident:
            volumes.take(step, app, instance)
        state.add(instance)
        volumes.watch(step, instance)
    step.offering.fresh = step.offering.fresh or count > 0
