"""Offers: taken in, matched with what waits, answered at once, and asked for or not. Called by :mod:`machine` only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eratos.marathon import ids
from eratos.marathon.app import App

from . import hosts, maintenance, match
from .actions import Accept, Decline, Launch, Revive, Suppress
from .launch import payload
from .mesos import Offer, TaskState
from .reasons import Waiting
from .state import NOWHERE, Instance

if TYPE_CHECKING:
    from .machine import Machine

#: Bytes of instructions that one pass sends to all agents together: more would fill the way to the master.
PASS_BYTES = 48 * 1024 * 1024
#: After this long a small instance no longer gives way to large ones where instances are packed.
PATIENCE_S = 60.0

REVIVE = "revive"  #: key of the timer for a REVIVE that has to wait


def receive(machine: Machine, offers: tuple[Offer, ...], now: float) -> None:
    """Take offers in, and what they tell of their agents."""
    state = machine.state
    state.offers.update({offer.offer_id: offer for offer in offers})
    state.looking = False
    if state.brake.lost:
        for offer in offers:
            state.brake.alive(offer.hostname)
    if machine.settings.rebalance_budget:
        for offer in offers:
            state.known_agent(offer)
    if state.windows or any(offer.window for offer in offers):
        for offer in offers:
            maintenance.schedule(machine, offer.agent_id, offer.window, now)


def place(machine: Machine, now: float) -> None:
    """Place waiting instances on the offers on hand, and answer every offer: none is held back for later (rule 26)."""
    state, settings = machine.state, machine.settings
    if not state.offers:
        return
    candidates = match.Candidates(
        _by_agent(state.offers),
        state.known_agent,
        settings.executor_id,
        settings.executor_resources,
        machine.next_ports,
        left_alone=dict(hosts.left_alone(state, now)),
    )
    made = _Pass(candidates, PASS_BYTES)
    misfit, limited = state.brake.engaged, False
    for app_id in _in_turn(machine, now):
        launches = state.launches_of(app_id)
        try:
            _place_app(machine, app_id, made, now)
        except Exception as error:
            # One app that cannot be placed, whatever is wrong with it, must not keep the others from it.
            machine.broke(app_id, error)
            launches.waiting = Waiting.FAULT
        misfit = misfit or launches.waiting in (Waiting.NO_FIT, Waiting.FAULT)
        limited = limited or launches.waiting is Waiting.LAUNCH_LIMIT
    # What could be used in a moment, once launches are confirmed, is wanted back with the next round of offers.
    refuse_s = 0.0 if limited else settings.misfit_refuse_s if misfit else settings.idle_refuse_s
    _answer(machine, made.accepted, refuse_s)


@dataclass(slots=True)
class _Pass:
    """What one pass has to give, and what it gave."""

    candidates: match.Candidates
    bytes_left: int
    accepted: dict[str, tuple[match.Host, list[Launch]]] = field(default_factory=dict)  #: by agent id


def _place_app(machine: Machine, app_id: str, made: _Pass, now: float) -> None:
    """Place what waits of one app as far as it fits, and note why the rest waits on."""
    state, settings = machine.state, machine.settings
    app, launches = state.apps[app_id], state.launches_of(app_id)
    waiting = list(state.fleet(app_id).waiting.values())
    launches.offers_seen += len(state.offers)
    launches.waiting = held_back(machine, app_id, now)
    if launches.waiting is not None:
        return
    room = min(settings.launching_most - state.unanswered, made.bytes_left // app.launch_bytes)
    if room <= 0:
        launches.waiting = Waiting.LAUNCH_LIMIT
        return
    placed, refusals = match.place(
        app,
        min(len(waiting), room),
        made.candidates,
        _placed(machine, app_id),
        now,
        pack=packs(machine, app),
        lead_s=settings.maintenance_lead_s,
        home=state.region,
        failed=launches.failed_on(now) if launches.failed_starts else match.NOTHING_FAILED,
    )
    launches.refuse(refusals)
    made.bytes_left -= len(placed) * app.launch_bytes
    for instance, placement in zip(waiting, placed, strict=False):
        launch, host = _launch(machine, app, instance, placement, now), placement.host
        made.accepted.setdefault(host.agent.agent_id, (host, []))[1].append(launch)
    machine.mended(app_id)
    if launches.unmade:
        machine.touch(app_id)
    if len(placed) == len(waiting):
        launches.placed()
    else:
        launches.waiting = Waiting.NO_FIT if refusals else Waiting.LAUNCH_LIMIT


def _in_turn(machine: Machine, now: float) -> list[str]:
    """Return the apps with waiting instances, another one first each time: none starves behind another.

    Where instances are packed, large ones come before small ones, which fit into what those leave; but whoever has waited
    long comes before all.
    """
    state = machine.state
    waiting = [app_id for app_id in state.in_need if app_id in state.apps]
    if not waiting:
        return []
    machine.turn += 1
    first = machine.turn % len(waiting)

    def size(app_id: str) -> tuple[int, int]:
        oldest = next(iter(state.fleet(app_id).waiting.values()))
        app = state.apps[app_id]
        if not packs(machine, app) or oldest.waiting_since < now - PATIENCE_S:
            return 0, 0
        return 1, -app.resources.cpus_m

    return sorted(waiting[first:] + waiting[:first], key=size)


def packs(machine: Machine, app: App) -> bool:
    """Tell whether an app's instances are packed onto few hosts rather than spread over many."""
    return (app.placement or machine.settings.placement) == "pack"


def _placed(machine: Machine, app_id: str) -> list[Instance]:
    """Return the instances that new ones keep their distance from: those that stay."""
    return [
        i
        for i in machine.state.instances_of(app_id)
        if i.state is not None and not i.stopping and not i.inactive and not i.moving
    ]


def _launch(machine: Machine, app: App, instance: Instance, placement: match.Placement, now: float) -> Launch:
    host = placement.host
    machine.next_ports[host.agent.agent_id] = host.first_port
    machine.state.alter(
        instance, state=TaskState.STAGING, agent=host.agent, ports=placement.ports, launched_at=now, started_at=0.0
    )
    try:
        launch = Launch(instance.task_id, payload(app, instance, machine.state.framework_id))
    except Exception:
        machine.state.alter(instance, state=None, agent=NOWHERE, ports=(), launched_at=0.0)  # it was never on its way
        raise
    machine.put(instance)
    machine.watch(instance, now)
    return launch


def _answer(machine: Machine, accepted: dict[str, tuple[match.Host, list[Launch]]], refuse_s: float) -> None:
    offers = machine.state.offers
    for agent_id, (host, launches) in accepted.items():
        machine.call(Accept(agent_id, host.offer_ids, tuple(launches), refuse_s))
        for offer_id in host.offer_ids:
            del offers[offer_id]
    if offers:
        machine.call(Decline(tuple(offers), refuse_s))
        offers.clear()


def _by_agent(offers: Mapping[str, Offer]) -> dict[str, tuple[Offer, ...]]:
    """Put the offers of each agent together; nearly always each has one."""
    found: dict[str, tuple[Offer, ...]] = {offer.agent_id: (offer,) for offer in offers.values()}
    if len(found) < len(offers):
        found = {}
        for offer in offers.values():
            found[offer.agent_id] = (*found.get(offer.agent_id, ()), offer)
    return found


def ask(machine: Machine, now: float) -> None:
    """Ask for offers while something wants them, and for none otherwise (rules 25, 27 and 28)."""
    state, settings = machine.state, machine.settings
    if not state.connected:
        for app_id in state.in_need:
            state.launches_of(app_id).waiting = Waiting.NOT_CONNECTED
        return
    # While the brake is engaged an offer is a sign of life, and whoever rebalances wants to know what agents there are.
    wanting = state.brake.engaged or state.looking
    for app_id in state.in_need:
        try:
            wanting = _wants_offers(machine, app_id, now) or wanting
        except Exception as error:
            machine.broke(app_id, error)
    if not wanting:
        if not state.suppressed:
            state.suppressed = True
            machine.call(Suppress())
        machine.timers.clear(REVIVE)
        return
    if not state.suppressed:
        return
    earned = int((now - machine.revived_at) / settings.revive_every_s)
    if earned:
        machine.revives_left = min(settings.revive_burst, machine.revives_left + earned)
        machine.revived_at = now
    if machine.revives_left > 0:
        machine.revives_left -= 1
        state.suppressed = False
        machine.call(Revive())
    elif REVIVE not in machine.timers:
        machine.timers.set(REVIVE, machine.revived_at + settings.revive_every_s)


def _wants_offers(machine: Machine, app_id: str, now: float) -> bool:
    if app_id not in machine.state.apps:
        return False
    launches = machine.state.launches_of(app_id)
    reason = held_back(machine, app_id, now)
    if reason is not None:
        launches.waiting = reason
        return False
    if launches.waiting not in (Waiting.NO_FIT, Waiting.LAUNCH_LIMIT, Waiting.FAULT, Waiting.NO_OFFER):
        launches.waiting, launches.no_offer_since = Waiting.NO_OFFER, now
    return machine.state.unanswered < machine.settings.launching_most


def held_back(machine: Machine, app_id: str, now: float) -> Waiting | None:
    """Return why an app may not launch now, whatever is offered."""
    state = machine.state
    if state.brake.engaged:
        return Waiting.BRAKE
    launches = state.launches.get(app_id)
    if launches is not None and launches.delayed_until > now:
        return Waiting.BACK_OFF
    dependencies = state.apps[app_id].dependencies
    if dependencies and not all(_serves(machine, app) for app in state.apps.values() if _among(app, app_id, dependencies)):
        return Waiting.DEPENDENCY
    return None


def _among(app: App, dependent: str, dependencies: tuple[str, ...]) -> bool:
    """Tell whether an app is depended on, by its own name or that of a group that it is in."""
    return app.id != dependent and any(ids.within(app.id, dependency) for dependency in dependencies)


def _serves(machine: Machine, app: App) -> bool:
    """Tell whether an app can be depended on: one ready instance is enough, so that a partial failure of the one app
    does not keep the other from being repaired. An app scaled to nothing keeps nobody waiting, as in Marathon."""
    checked = app.checked
    return app.instances == 0 or any(kind.ready(checked) for kind in machine.state.fleet(app.id).tally)
