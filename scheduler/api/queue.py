"""Why instances wait, as ``GET /v2/queue`` shows it: Marathon's numbers, and one sentence in plain words. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.marathon.pod import Pod
from eratos.scheduler.core.launches import Launches
from eratos.scheduler.core.reasons import Reason, Refusal, Waiting
from eratos.scheduler.core.records import VersionRecord
from eratos.scheduler.core.state import State

from .render import View, version_info

Json = dict[str, Any]

#: Offers come within some seconds of being asked for: the allocator makes them each second, and on a large cluster a REVIVE may
#: wait for five. Only after this long without any is there something to look after.
OFFERS_COME_S = 15.0

#: Marathon's reasons that no offer is refused for here, in front of which of ours they stand.
_MARATHONS_OWN = {Reason.MAINTENANCE: "UnfulfilledRole", Reason.CPUS: "NoCorrespondingReservationFound"}


def _steps() -> Iterator[tuple[str, Reason | None]]:
    for reason in Reason:
        if reason in _MARATHONS_OWN:
            yield _MARATHONS_OWN[reason], None
        yield reason.value, reason
    yield "DeclinedScarceResources", None


#: What an offer is looked at for, in this order, under the name that is shown.
_STEPS = dict(_steps())

_FUNNEL = {reason: place for place, reason in enumerate(Reason)}


class Halt(NamedTuple):
    """Why nothing at all might be launched."""

    brake: str  #: why the disaster brake is engaged
    not_subscribed: str  #: why there is no subscription, where that is known


class Look(NamedTuple):
    """What is shown of an app with waiting instances, at one moment."""

    app: App
    left: int  #: instances that have no task yet
    since: float
    launches: Launches
    halt: Halt
    attributes: Mapping[str, Mapping[str, str]]  #: agent id -> its attributes, of those whose offers were refused
    kept: VersionRecord | None  #: of its version


def look(state: State, *, offers: bool) -> list[Look]:
    """Copy what is shown of every app with waiting instances. While the state stands still.

    ``offers``: with what belongs to the offers that did not do.
    """
    found = []
    for app_id in sorted(state.in_need):
        app = state.in_force(app_id)
        if app is not None and app_id not in state.runs:
            waiting = state.fleet(app_id).waiting.values()
            since = min(instance.waiting_since for instance in waiting)
            launches = _copied(state.launches.get(app_id))
            known = (state.agents[agent_id] for agent_id in launches.refusals if agent_id in state.agents)
            attributes = {agent.agent_id: agent.attributes for agent in known} if offers else {}
            kept = state.versions.get(app_id, {}).get(app.version)
            found.append(Look(app, len(waiting) + launches.unmade, since, launches, halt(state), attributes, kept))
    return found


def _copied(launches: Launches | None) -> Launches:
    """Return a copy that the core changes no more."""
    if launches is None:
        return Launches()
    return replace(launches, refusals=dict(launches.refusals), refused=Counter(launches.refused))


def item(seen: Look, view: View, hide: Callable[[str], str] = str, *, offers: bool) -> Json:
    """Return one app of the queue; ``offers`` adds the latest offer of each agent that did not do.

    ``hide`` takes the names of apps out of sentences that their reader may not know.
    """
    launches, now = seen.launches, view.now
    left_s = max(0, math.ceil(launches.delayed_until - now))
    summary, waits = offers_summary(launches), hide(why(launches, seen.halt, now))
    shown_app = dict(view.definition(seen.app))
    if seen.kept is not None and not isinstance(seen.app, Pod):
        shown_app |= version_info(seen.kept)
    shown: Json = {
        ("pod" if isinstance(seen.app, Pod) else "app"): shown_app,
        "count": seen.left,
        "role": seen.app.role or view.role,
        "since": timestamp(seen.since),
        "delay": {"timeLeftSeconds": left_s, "overdue": left_s == 0},
        "processedOffersSummary": summary,
        "waiting": {"reason": launches.waiting.value if launches.waiting else None, "message": waits},
    }
    if offers:
        found = launches.refusals.items()
        shown["lastUnusedOffers"] = [
            _unused(agent_id, refusal, seen.attributes.get(agent_id, {}), hide) for agent_id, refusal in found
        ]
    return shown


def offers_summary(launches: Launches) -> Json:
    """Return how many offers came and what they were refused for."""
    refusals = list(launches.refusals.values())
    summary: Json = {
        "processedOffersCount": launches.offers_seen,
        "unusedOffersCount": sum(launches.refused.values()),
        "rejectSummaryLastOffers": _funnel(Counter(refusal.reason for refusal in refusals)),
        "rejectSummaryLaunchAttempt": _funnel(launches.refused),
    }
    if launches.used_at:
        summary["lastUsedOfferAt"] = timestamp(launches.used_at)
    if refusals:
        summary["lastUnusedOfferAt"] = timestamp(max(refusal.at for refusal in refusals))
    return summary


def _funnel(counted: Mapping[Reason, int]) -> list[Json]:
    """Count per reason, in the order of the checks: what one check declined, the next never saw."""
    left, steps = sum(counted.values()), []
    for name, reason in _STEPS.items():
        declined = counted.get(reason, 0) if reason is not None else 0
        steps.append({"reason": name, "declined": declined, "processed": left})
        left -= declined
    return steps


def _unused(agent_id: str, refusal: Refusal, of_agent: Mapping[str, str], hide: Callable[[str], str]) -> Json:
    attributes = [{"name": name, "text": text} for name, text in of_agent.items()]
    return {
        # What was in it, and under which id, is not kept: it was declined.
        "offer": {"id": "", "agentId": agent_id, "hostname": refusal.hostname, "resources": [], "attributes": attributes},
        "reason": [refusal.reason.value],
        "detail": hide(refusal.detail),
        "timestamp": timestamp(refusal.at),
    }


def halt(state: State) -> Halt:
    return Halt(state.brake.reason, state.not_subscribed)


def why(launches: Launches, halted: Halt, now: float) -> str:
    """Say in one sentence what an app's waiting instances wait for, and what went wrong before, until the next attempt runs."""
    return failed(launches) + _waits(launches, halted, now)


def _waits(launches: Launches, halted: Halt, now: float) -> str:
    match launches.waiting:
        case Waiting.BRAKE:
            return f"the disaster brake is engaged: {halted.brake}"
        case Waiting.NOT_CONNECTED:
            because = f"; {halted.not_subscribed}" if halted.not_subscribed else ""
            return f"the scheduler has no connection to a Mesos master: nothing can be launched until it is back{because}"
        case Waiting.DEPENDENCY:
            return "an app that it or a group around it depends on has no ready instance yet"
        case Waiting.REQUIREMENT | Waiting.WRITER:
            return launches.lacks
        case Waiting.FIRST:
            return "the instance with ordinal 0 is not ready, and the others start after it (eratos.ordinals)"
        case Waiting.VOLUME:
            return "its volumes are on hosts that offer nothing now, or may still be written to: it waits for these"
        case Waiting.VOLUME_RECORD:
            return (
                f"the record {launches.lacks} in the store cannot be read, and the app does not begin with an empty volume: "
                "restore a backup, or delete that record (docs/operations.md)"
            )
        case Waiting.RUN_BEFORE:
            return "the run in whose place it comes has not ended yet"
        case Waiting.BACK_OFF:
            return f"next launch in {max(0, math.ceil(launches.delayed_until - now))} s"
        case Waiting.LAUNCH_LIMIT:
            return "many launches are on their way and not confirmed yet: this one follows"
        case Waiting.NO_OFFER if now - launches.no_offer_since < OFFERS_COME_S:
            return "starting: offers were asked for and come within seconds"
        case Waiting.NO_OFFER:
            return "no agent has offered its role anything since: are agents registered, and is there room left for it on them?"
        case Waiting.FAULT:
            return f"eratos itself broke over this app, please report it as a bug; see the scheduler's log: {launches.fault}"
        case Waiting.NO_FIT:
            return _misfit(list(launches.refusals.values()))
    return "about to be placed"


def failed(launches: Launches) -> str:
    """Return what the last attempt ended with, to come before a sentence; nothing once a later one has run."""
    failure = launches.last_failure
    if failure is None or not launches.failing:
        return ""
    said = f": {failure.message}" if failure.message else ""
    return f"the last task ended as {failure.state.value} on {failure.hostname}{said}; "


def _misfit(refusals: list[Refusal]) -> str:
    if not refusals:
        return "no offer fits"
    agents = "the 1 agent" if len(refusals) == 1 else f"any of the {len(refusals)} agents"
    # The offer that came furthest and lacked least shows best what to change.
    nearest = min(refusals, key=lambda refusal: (-_FUNNEL[refusal.reason], refusal.missing))
    counted = Counter(refusal.reason.value for refusal in refusals)
    reasons = ", ".join(f"{count} x {reason}" for reason, count in counted.most_common())
    # A host that is left alone may be the only one that would do, though its offer was looked at no further.
    alone = next((refusal for refusal in refusals if refusal.reason is Reason.FAILING_HOST), nearest)
    also = f"; {alone.detail}" if alone is not nearest else ""
    return f"no offer of {agents} fits ({reasons}); nearest: {nearest.detail}{also}"
