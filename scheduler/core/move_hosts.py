"""Where instances with volumes may be moved to, and when it is the turn of a move that no user asked for by name. Pure.

Such moves leave as many instances of an app ready as a rollout does, and few at a time begin. None goes to room that another one
was promised, which has begun and whose copies are still to be launched.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from eratos.common.resources import Resources
from eratos.marathon.app import App

from . import move_status, reasons, rollout, volumes
from .constraints import Constraints
from .instances import Instance
from .mesos_types import NO_RESOURCES
from .placement import FOUND_LEAST, Candidates, Host, Pack, Spread, refuse
from .records import MoveCause
from .state import Move, MovePhase
from .step import Step

#: Such moves away from one host at a time, and of one app one: they read the same disk, and executors give few volumes at once.
FROM_HOST_MOST: Final = 2
#: Looks at hosts in one pass, over all moves: these come before apps, which have the rest (:data:`.placement.LOOKS_MOST`).
LOOKS_MOST: Final = 50_000


@dataclass(slots=True)
class Begun:
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


def all_begun(step: Step) -> Begun:
    """Return what has begun: looked up once for all that wait, as many may when many hosts are drained."""
    state, begun = step.state, Begun()
    for slot, move in state.moves.items():
        with step.apart(move.app_id):
            _note(step, slot, move, begun)
    return begun


def _note(step: Step, slot: str, move: Move, begun: Begun) -> None:
    """Note a move, if it has begun."""
    record, app = move_status.records(step.state, slot)[0], step.state.in_force(move.app_id)
    if app is None or move.phase in (None, MovePhase.HOST):
        return
    if move.phase is MovePhase.COPY:
        begun.apps.add(app.id)
        begun.sources[record.hostname] += 1
    else:
        begun.add(app, record.hostname, record.move_to, step.settings.role(app.role))


def not_yet(step: Step, app: App, slot: str, instance: Instance | None, begun: Begun) -> str:
    """Say what a move that no user asked for has to wait for first; empty: nothing."""
    state, source = step.state, move_status.records(step.state, slot)[0].hostname
    if move_status.cause(state, slot) is MoveCause.MAINTENANCE and not move_status.emptied(step, source):
        return f"whether {source} is still to be emptied is not known yet"
    if app.id in begun.apps:
        return "another instance of the app moves first"
    if begun.sources[source] >= FROM_HOST_MOST:
        return f"{FROM_HOST_MOST} others move away from {source} first"
    if instance is None or instance.waiting:
        return ""
    if (change := state.changes.get(app.id)) is not None:
        return f"the app is being deployed by {change.deployment_id}"
    fewest, _ = rollout.bounds(app)
    if instance.ready(app.checked) and rollout.count(app, state.fleet(app.id).tally).ready <= fewest:
        return f"{fewest} of the app's instances must stay ready, and no more are"
    return ""


def choose(step: Step, app: App, slot: str, move: Move, candidates: Candidates, begun: Begun) -> Host | None:
    """Return the best host for a slot among those that offer enough, and note what the others lack."""
    found = volumes.of_slot(step.state, app.id, slot)
    source, to = found[0].hostname, next((record.move_to for record in found if record.move_to), "")
    others = [i for i in step.state.instances_of(app.id) if not i.waiting and i.slot != slot]
    packed = (app.placement or step.settings.placement) == "pack"
    order: Pack | Spread = Pack() if packed else Spread(others)
    limits, fitting, last = limits_of(step, app, slot), [], None
    failed = step.state.failed_moves.get(slot)
    tried = failed.hosts if failed is not None else ()
    for host in candidates.on(to) if to else itertools.islice(candidates.look(mixed=order.mixed), begun.looks_left):
        move.looked_at = step.now
        begun.looks_left -= not to
        if host.agent.hostname == source:
            continue
        refusal = refusal_of(step, app, host, limits, candidates) or begun.refuse(step, app, host)
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


def limits_of(step: Step, app: App, slot: str) -> Constraints:
    """Return an app's constraints without the instance that moves."""
    placed = (i for i in step.state.instances_of(app.id) if not i.waiting and not i.stopping and not i.inactive)
    agents = [i.agent for i in placed if i.slot != slot and i.version == app.version]
    return Constraints(app, agents, step.state.region, step.offering.verdicts)


def refusal_of(step: Step, app: App, host: Host, limits: Constraints, candidates: Candidates) -> reasons.Refusal | None:
    """Return why an instance does not fit on a host. To say it in words costs more than to look: the last alone is said."""
    hostname = host.agent.hostname
    if hostname in candidates.left_alone:
        note = f"{hostname} is left alone for a while, as starts failed there"
        return reasons.Refusal(reasons.Reason.FAILING_HOST, hostname, step.now, note=note)
    return refuse(app, host, limits, step.now, step.settings.maintenance_lead_s)
