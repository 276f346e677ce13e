"""Offers: taken in, matched with what waits, answered at once, and asked for or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from eratos.common.resources import Resources
from eratos.marathon import ids
from eratos.marathon.app import App

from . import groups, hosts, maintenance, moves, ordinals, placement, requirements, runs, status_updates, sweeps, volumes, writers
from .actions import Accept, Decline, Launch, Revive, Suppress
from .instances import NOWHERE, Instance
from .mesos_types import Offer, TaskState
from .offering import revive_every_s
from .reasons import Reason, Waiting
from .state import Room, State
from .step import Settings, Step
from .task_payload import payload
from .timers import Timer, TimerKind

#: Bytes of instructions that one pass sends to all agents together: more would fill the way to the master.
PASS_BYTES = 48 * 1024 * 1024
#: Where instances are packed, large ones are placed first; a small one that has waited this long is placed before them.
PATIENCE_S = 60.0

#: At least between two looks at all agents for people who watch.
LOOK_S = 30.0

_REVIVE = Timer(TimerKind.REVIVE)
#: What a pass over offers found, and only another one can change.
_FOUND = frozenset({Waiting.NO_FIT, Waiting.LAUNCH_LIMIT, Waiting.FAULT, Waiting.NO_OFFER, Waiting.VOLUME, Waiting.VOLUME_RECORD})


def receive(step: Step, offers: tuple[Offer, ...]) -> None:
    """Take offers in, and what they say of their agents."""
    state = step.state
    state.offers.update({offer.offer_id: offer for offer in offers})
    state.looking = False
    if state.brake.lost:
        for offer in offers:
            state.brake.alive(offer.hostname)
    for agent_id, found in _by_agent({offer.offer_id: offer for offer in offers}).items():
        state.known_agent(found[-1])
        sweeps.agent_seen(step, agent_id, found[-1].hostname)
        state.find(agent_id)
        free = sum((offer.resources for offer in found), Resources())
        state.room[agent_id] = Room(free.cpus_m, free.mem_mib, sum(len(offer.ports) for offer in found))
    if state.windows or state.drains or any(offer.window for offer in offers):
        for offer in offers:
            maintenance.schedule(step, offer.agent_id, offer.window)


def look_around(step: Step) -> None:
    """Want offers although nothing waits: somebody looks at the cluster, and is to see all agents with their room."""
    if step.now >= step.offering.looked_at + LOOK_S:
        step.offering.looked_at = step.now
        step.state.looking = True


def place(step: Step) -> None:
    """Place waiting instances on the offers on hand, and answer every offer: none is held back for later (rule 26)."""
    state, settings = step.state, step.settings
    if not state.offers:
        return
    step.offering.verdicts.begin_round()
    candidates = _candidates(step)
    offered = Counter(settings.role(offer.role) for offer in state.offers.values())
    made = _Pass(candidates, offered, _Dependencies(state), PASS_BYTES)
    status_updates.stop_all(step, moves.leaving(step, candidates))
    for host, launch in moves.place(step, candidates):
        made.launch(host, launch)
    misfit, limited = state.brake.engaged or moves.wanted(step), False
    for app_id in _in_turn(step):
        if not made.offered(_roles(step, app_id)):
            continue
        launches = state.launches_of(app_id)
        try:
            _place_app(step, app_id, made)
        except Exception as error:
            # One app that cannot be placed, whatever is wrong with it, must not keep the others from it.
            step.broke(app_id, error)
            launches.waiting = Waiting.FAULT
        no_fit = launches.waiting is Waiting.NO_FIT and _tried_again(state, app_id)
        misfit = misfit or no_fit or launches.waiting is Waiting.FAULT
        limited = limited or launches.waiting is Waiting.LAUNCH_LIMIT
    for host, launch in sweeps.place(step, candidates):
        made.launch(host, launch)
    # What could be used in a moment, once launches are confirmed, is wanted back with the next round of offers.
    refuse_s = 0.0 if limited else settings.misfit_refuse_s if misfit else settings.idle_refuse_s
    _answer(step, made.accepted, refuse_s)


@dataclass(slots=True)
class _Pass:
    """What one pass has to give, and what it gave."""

    candidates: Mapping[str, placement.Candidates]  #: by role
    offers: Mapping[str, int]  #: how many there are, by role
    depended_on: _Dependencies
    bytes_left: int
    #: By agent id and role: one ACCEPT takes no offers to two roles.
    accepted: dict[tuple[str, str], tuple[placement.Host, list[Launch]]] = field(default_factory=dict)

    def offered(self, roles: Iterable[str]) -> int:
        """Return how many offers there are to some roles."""
        return sum(self.offers.get(role, 0) for role in roles)

    def launch(self, host: placement.Host, launch: Launch) -> None:
        """Have an instance launched on a host."""
        self.accepted.setdefault((host.agent.agent_id, host.role), (host, []))[1].append(launch)


def _candidates(step: Step) -> dict[str, placement.Candidates]:
    """Return the hosts that offer something, by the role that it is allocated to, the default one first."""
    state, settings = step.state, step.settings
    offers: dict[str, dict[str, Offer]] = {role: {} for role in settings.roles}
    for offer in state.offers.values():
        offers[settings.role(offer.role)][offer.offer_id] = offer
    left_alone = dict(hosts.left_alone(state, step.now))
    return {
        role: placement.Candidates(
            _by_agent(found),
            state.known_agent,
            settings.executor_id,
            settings.executor_resources,
            step.offering.next_ports,
            left_alone=left_alone,
            verdicts=step.offering.verdicts,
            drained=state.drains.keys(),
            role=role,
            several_roles=len(settings.roles) > 1,
            accepts=settings.accepts,
        )
        for role, found in offers.items()
    }


def _place_app(step: Step, app_id: str, made: _Pass) -> None:
    """Place what waits of one app as far as it fits, and note why the rest waits on."""
    state, settings = step.state, step.settings
    app, launches = _in_force(step, app_id), state.launches_of(app_id)
    waiting = ordinals.may_start(state, app, state.fleet(app_id).waiting.values())
    launches.offers_seen += made.offered(_roles(step, app_id))
    before, launches.waiting = launches.waiting, held_back(step, app_id, made.depended_on)
    if launches.waiting is not None:
        return
    room = min(settings.launching_most - state.unanswered, made.bytes_left // app.launch_bytes)
    if room <= 0:
        launches.waiting = Waiting.LAUNCH_LIMIT
        return
    left, refused, awaited = len(waiting), False, False
    definitions = _by_definition(state, app, waiting)
    offered = [(each, found) for each, found in definitions if made.candidates[settings.role(each.role)].offers]
    for definition, instances in offered:
        alone = writers.may_begin(state, definition, instances)
        awaited, instances = awaited or len(instances) > len(alone), alone
        volumes.take_late(step, definition, instances)
        bound = [instance for instance in instances if instance.host]
        if bound:
            count, turned_away = _place_on_hosts(step, definition, bound, room, made)
            room, left, refused = room - count, left - count, refused or turned_away
            instances = [instance for instance in instances if not instance.host and instance.waiting]
        if definition.resident:
            may_begin = volumes.may_begin(state, app)
            awaited = awaited or len(instances) > may_begin
            instances = instances[:may_begin]
        if not instances:
            continue
        placed, refusals = placement.place_instances(
            definition,
            min(len(instances), room),
            made.candidates[settings.role(definition.role)],
            _placed(step, app_id),
            step.now,
            pack=packs(step, definition),
            lead_s=settings.maintenance_lead_s,
            home=state.region,
            failed=launches.failed_on(step.now) if launches.failed_starts else placement.NOTHING_FAILED,
        )
        launches.refuse(refusals)
        made.bytes_left -= len(placed) * definition.launch_bytes
        room, left, refused = room - len(placed), left - len(placed), refused or bool(refusals)
        for instance, place in zip(instances, placed, strict=False):
            made.launch(place.host, _launch(step, definition, instance, place))
    step.mended(app_id)
    if launches.unmade:
        step.touch(app_id)
    if not left:
        launches.placed()
    elif refused:
        launches.waiting = Waiting.NO_FIT
    elif len(offered) < len(definitions):
        launches.waiting = Waiting.NO_OFFER
        launches.no_offer_since = launches.no_offer_since if before is Waiting.NO_OFFER else step.now
    elif awaited and room > 0:
        if key := volumes.unreadable(state, app_id):
            launches.lacks = key
        launches.waiting = Waiting.VOLUME_RECORD if key else Waiting.VOLUME
    elif room <= 0 or not all(instance.host for instance in state.fleet(app_id).waiting.values()):
        launches.waiting = Waiting.LAUNCH_LIMIT
    else:
        launches.waiting = before if app.per_host else Waiting.VOLUME


def _place_on_hosts(step: Step, app: App, instances: list[Instance], room: int, made: _Pass) -> tuple[int, bool]:
    """Place instances that are for one host each; return how many, and whether a host has no room for its own."""
    state, launches = step.state, step.state.launches_of(app.id)
    candidates = made.candidates[step.settings.role(app.role)]
    by_host: dict[str, list[Instance]] = {}
    for instance in instances:
        if not instance.slot or volumes.free(state, instance):
            by_host.setdefault(instance.host, []).append(instance)
    known = state.wanted_on.get(app.id)
    placed, refusals = placement.place_on_hosts(
        app,
        [hostname for hostname, found in by_host.items() for _ in found],
        room,
        candidates,
        step.now,
        lead_s=step.settings.maintenance_lead_s,
        home=state.region,
        verdicts=known.verdicts if known is not None else candidates.verdicts,
        existing=_placed(step, app.id) if app.resident else (),
    )
    launches.refuse(refusals)
    made.bytes_left -= len(placed) * app.launch_bytes
    for place in placed:
        agent = place.host.agent
        if agent.agent_id not in refusals:
            launches.refusals.pop(agent.agent_id, None)
        made.launch(place.host, _launch(step, app, by_host[agent.hostname].pop(0), place))
    if not app.per_host:
        return len(placed), bool(refusals)
    for refusal in refusals.values():
        instance = by_host[refusal.hostname][0]
        if instance.waiting and not instance.unfit:
            state.alter(instance, unfit=True)
            step.touch(app.id)
    return len(placed), any(instance.unfit for instance in instances)


def _by_definition(state: State, app: App, waiting: list[Instance]) -> list[tuple[App, list[Instance]]]:
    """Put waiting instances together with what they are launched as, which may be the version before."""
    before = state.staged.get(app.id)
    if before is None:
        return [(app, waiting)]
    of_before = [instance for instance in waiting if instance.version == before.version]
    of_app = [instance for instance in waiting if instance.version != before.version]
    return [(definition, found) for definition, found in ((app, of_app), (before, of_before)) if found]


def _in_turn(step: Step) -> list[str]:
    """Return the apps with waiting instances, another one first each time: none starves behind another.

    Where instances are packed, large ones come before small ones, which fit into what those leave; but whoever has waited
    long comes before all.
    """
    state = step.state
    waiting = [app_id for app_id in state.in_need if state.in_force(app_id) is not None]
    if not waiting:
        return []
    step.offering.turn += 1
    first = step.offering.turn % len(waiting)

    def size(app_id: str) -> tuple[int, int]:
        oldest = next(iter(state.fleet(app_id).waiting.values()))
        app = _in_force(step, app_id)
        if not packs(step, app) or oldest.waiting_since < step.now - PATIENCE_S:
            return 0, 0
        return 1, -app.resources.cpus_m

    return sorted(waiting[first:] + waiting[:first], key=size)


def _in_force(step: Step, app_id: str) -> App:
    app = step.state.in_force(app_id)
    assert app is not None, f"{app_id} has instances that wait, and is not wanted"
    return app


def packs(step: Step, app: App) -> bool:
    """Return whether an app's instances are packed onto few hosts rather than spread over many."""
    return (app.placement or step.settings.placement) == "pack"


def _placed(step: Step, app_id: str) -> list[Instance]:
    """Return the instances that new ones keep their distance from: those that stay."""
    return [
        i for i in step.state.instances_of(app_id) if i.state is not None and not i.stopping and not i.inactive and not i.moving
    ]


def _launch(step: Step, app: App, instance: Instance, place: placement.Placement) -> Launch:
    host = place.host
    step.offering.next_ports[host.agent.hostname] = host.first_port
    begun = {"state": TaskState.STAGING, "agent": host.agent, "ports": place.ports, "role": host.role}
    begun |= {"holds": app.exclusive_volumes, "launched_at": step.now, "started_at": 0.0}
    step.state.alter(instance, **begun)
    if instance.unfit:
        step.state.alter(instance, unfit=False)
    try:
        kept = volumes.to_launch(step, app, instance)
        enforced, state = groups.enforces(step.state.groups, app.id), step.state
        accepts = host.accepts(app)
        made = payload(app, instance, state.framework_id, state.apps, kept, enforced=enforced, accepts=accepts)
        launch = Launch(instance.task_id, made)
    except Exception:
        # It was never on its way.
        step.state.alter(instance, state=None, agent=NOWHERE, ports=(), role="", holds=frozenset(), launched_at=0.0)
        raise
    volumes.launched(step, instance, kept)
    step.put(instance)
    step.state.launches_of(app.id).used_at = step.now
    run = step.state.runs.get(instance.app_id)
    if run is not None:
        runs.launched(step, run)
    status_updates.watch(step, instance)
    return launch


def _answer(step: Step, accepted: dict[tuple[str, str], tuple[placement.Host, list[Launch]]], refuse_s: float) -> None:
    offers = step.state.offers
    left: dict[str, Room] = {}
    for (agent_id, _), (host, launches) in accepted.items():
        step.call(Accept(agent_id, host.offer_ids, tuple(launches), refuse_s))
        left[agent_id] = Room(host.cpus_m, host.mem_mib, len(host.ports)).beside(left.get(agent_id))
        for offer_id in host.offer_ids:
            del offers[offer_id]
    for offer in offers.values():
        if offer.agent_id in left:  # it offers something for another role as well
            room = Room(offer.resources.cpus_m, offer.resources.mem_mib, len(offer.ports))
            left[offer.agent_id] = room.beside(left[offer.agent_id])
    step.state.room |= left
    step.offering.filtered = step.offering.filtered or refuse_s > step.settings.misfit_refuse_s
    if offers:
        step.call(Decline(tuple(offers), refuse_s))
        offers.clear()


def _by_agent(offers: Mapping[str, Offer]) -> dict[str, tuple[Offer, ...]]:
    """Put the offers of each agent together; nearly always each has one."""
    found: dict[str, tuple[Offer, ...]] = {offer.agent_id: (offer,) for offer in offers.values()}
    if len(found) < len(offers):
        found = {}
        for offer in offers.values():
            found[offer.agent_id] = (*found.get(offer.agent_id, ()), offer)
    return found


def ask(step: Step) -> None:
    """Ask for offers while something wants them, and for none otherwise (rules 25, 27 and 28)."""
    state, settings, offering = step.state, step.settings, step.offering
    if not state.connected:
        for app_id in state.in_need:
            (state.launches.get(app_id) or state.launches_of(app_id)).waiting = Waiting.NOT_CONNECTED
        return
    # While the brake is engaged an offer is a sign of life, and whoever rebalances wants to know what agents there are.
    anything = state.brake.engaged or state.looking or sweeps.any_wanted(step)
    wanting = set(settings.roles) if anything or moves.wanted(step) else set[str]()
    depended_on = _Dependencies(state)
    for app_id in state.in_need:
        try:
            if _wants_offers(step, app_id, depended_on):
                wanting |= _roles(step, app_id)
        except Exception as error:
            step.broke(app_id, error)
    # Whoever is to be on each host wants to know of new ones; a host that is to be swept may come back, or get room.
    asked = frozenset(settings.roles if state.wanted_on or state.sweeps else wanting)
    if quiet := frozenset(settings.roles) - asked - state.suppressed:
        state.suppressed |= quiet
        step.call(Suppress(_named(settings, quiet)))
    if not asked:
        step.timers.clear(_REVIVE)
        return
    if not state.suppressed & asked and not (wanting and offering.filtered and offering.fresh):
        return
    every_s = revive_every_s(len(state.agents), settings.revived_offers, settings.revive_every_s)
    if offering.may_revive(step.now, burst=settings.revive_burst, every_s=every_s):
        state.suppressed -= asked
        offering.filtered = offering.fresh = False
        step.call(Revive(_named(settings, asked)))
    elif _REVIVE not in step.timers:
        step.timers.set(_REVIVE, offering.next_revive_at(every_s))


def _roles(step: Step, app_id: str) -> set[str]:
    """Return the roles of what waits of an app: while it changes, what is launched may be of its definition before."""
    definitions = (_in_force(step, app_id), step.state.staged.get(app_id))
    return {step.settings.role(found.role) for found in definitions if found is not None}


def _named(settings: Settings, roles: Collection[str]) -> tuple[str, ...]:
    """Return roles as a call names them: none for all."""
    return () if len(roles) == len(settings.roles) else tuple(sorted(roles))


def _tried_again(state: State, app_id: str) -> bool:
    """Return whether an offer that did not do may do soon as it is. A host that is full comes back by itself with more."""
    launches, fleet = state.launches_of(app_id), state.fleet(app_id)
    if any(not instance.host for instance in fleet.waiting.values()):
        return True
    return any(refusal.reason is Reason.FAILING_HOST for refusal in launches.refusals.values())


def _wants_offers(step: Step, app_id: str, depended_on: _Dependencies) -> bool:
    if step.state.in_force(app_id) is None:
        return False
    launches = step.state.launches_of(app_id)
    reason = held_back(step, app_id, depended_on)
    if reason is not None:
        launches.waiting = reason
        return False
    if launches.waiting not in _FOUND:
        launches.waiting, launches.no_offer_since = Waiting.NO_OFFER, step.now
        step.offering.fresh = True
    return step.state.unanswered < step.settings.launching_most


def held_back(step: Step, app_id: str, depended_on: _Dependencies) -> Waiting | None:
    """Return why an app may not launch now, whatever is offered."""
    state = step.state
    if state.brake.engaged:
        return Waiting.BRAKE
    launches = state.launches.get(app_id)
    if launches is not None and launches.delayed_until > step.now:
        return Waiting.BACK_OFF
    of_groups = groups.inherited(state.groups, app_id).values()
    dependencies = (*_in_force(step, app_id).dependencies, *(place for needs in of_groups for place in needs))
    if dependencies and depended_on.hold_back(app_id, dependencies):
        return Waiting.DEPENDENCY
    lacks = requirements.lacking(state, _in_force(step, app_id))
    if lacks:
        state.launches_of(app_id).lacks = lacks
        return Waiting.REQUIREMENT
    if held := writers.hinders_all(
        state, _in_force(step, app_id), state.staged.get(app_id), state.fleet(app_id).waiting.values()
    ):
        state.launches_of(app_id).lacks = held
        return Waiting.WRITER
    if ordinals.wait_for_first(state, _in_force(step, app_id)):
        return Waiting.FIRST
    run = state.runs.get(app_id)
    if run is not None and runs.waits_for(run, state.runs_of(run.record.job_id)):
        return Waiting.RUN_BEFORE
    return None


class _Dependencies:
    """What cannot be depended on at the moment; worked out when it is first asked for. So what is asked costs by an app's
    dependencies alone, not by the apps that there are."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._apps: set[str] | None = None
        self._below: Counter[str] = Counter()  #: app or group -> apps in it that cannot be depended on

    def hold_back(self, app_id: str, dependencies: Iterable[str]) -> bool:
        """Return whether one of the apps and groups that an app depends on, itself aside, cannot be depended on."""
        if self._apps is None:
            self._apps = {app.id for app in self._state.apps.values() if not _serves(self._state, app)}
            self._below.update(place for found in self._apps for place in (found, *groups.around(found)))
        own = app_id in self._apps
        return any(self._below[place] > (own and ids.within(app_id, place)) for place in dependencies)


def _serves(state: State, app: App) -> bool:
    """Return whether an app can be depended on: one ready instance is enough, so that a partial failure of the one app
    does not keep the other from being repaired. An app scaled to nothing keeps nobody waiting, as in Marathon."""
    checked = app.checked
    return app.instances == 0 or any(kind.ready(checked) for kind in state.fleet(app.id).tally)
