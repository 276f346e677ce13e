"""Why instances wait, as ``GET /v2/queue`` shows it: Marathon's numbers, and one sentence in plain words. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from eratos.marathon.app import App
from eratos.scheduler.core.reasons import Reason, Refusal, Waiting
from eratos.scheduler.core.state import Launches, State

from .render import timestamp

Json = dict[str, Any]

#: Offers come within some seconds of being asked for: the allocator makes them each second, and a REVIVE may wait for five.
#: Only after this long without any is there something to look after.
OFFERS_COME_S = 15.0

_FUNNEL = {reason: place for place, reason in enumerate(Reason)}


def queue(state: State, now: float, *, offers: bool, only: str = "") -> list[Json]:
    """Return every app with waiting instances, or ``only`` one; ``app`` is the definition itself, to be shown later.

    ``offers`` adds the latest offer of each agent that did not do.
    """
    items = []
    for app_id in sorted(state.in_need.keys() & {only} if only else state.in_need):
        app = state.apps.get(app_id)
        if app is not None:
            waiting = state.fleet(app_id).waiting.values()
            since = min(instance.waiting_since for instance in waiting)
            launches = state.launches.get(app_id)
            count = len(waiting) + (launches.unmade if launches is not None else 0)
            items.append(_item(state, app, count, since, now, offers))
    return items


def _item(state: State, app: App, count: int, since: float, now: float, offers: bool) -> Json:
    launches = state.launches.get(app.id) or Launches()
    left_s = max(0, math.ceil(launches.delayed_until - now))
    refusals = list(launches.refusals.values())
    summary: Json = {
        "processedOffersCount": launches.offers_seen,
        "unusedOffersCount": sum(launches.refused.values()),
        "rejectSummaryLastOffers": _funnel(Counter(refusal.reason for refusal in refusals)),
        "rejectSummaryLaunchAttempt": _funnel(launches.refused),
    }
    if refusals:
        summary["lastUnusedOfferAt"] = timestamp(max(refusal.at for refusal in refusals))
    item: Json = {
        "app": app,
        "count": count,
        "role": app.role or "*",
        "since": timestamp(since),
        "delay": {"timeLeftSeconds": left_s, "overdue": left_s == 0},
        "processedOffersSummary": summary,
        "waiting": {"reason": launches.waiting.value if launches.waiting else None, "message": why(state, app, now)},
    }
    if offers:
        item["lastUnusedOffers"] = [_unused(agent_id, refusal) for agent_id, refusal in launches.refusals.items()]
    return item


def _funnel(counted: Mapping[Reason, int]) -> list[Json]:
    """Count per reason, in the order of the checks: what one check declined, the next never saw."""
    left, steps = sum(counted.values()), []
    for reason in Reason:
        declined = counted.get(reason, 0)
        steps.append({"reason": reason.value, "declined": declined, "processed": left})
        left -= declined
    return steps


def _unused(agent_id: str, refusal: Refusal) -> Json:
    return {
        "offer": {"agentId": agent_id, "hostname": refusal.hostname},
        "reason": [refusal.reason.value],
        "detail": refusal.detail,
        "timestamp": timestamp(refusal.at),
    }


def why(state: State, app: App, now: float) -> str:
    """Say in one sentence what an app's waiting instances wait for, and what went wrong before, until the next attempt runs."""
    launches = state.launches.get(app.id) or Launches()
    return failed(launches) + _waits(state, launches, now)


def _waits(state: State, launches: Launches, now: float) -> str:
    match launches.waiting:
        case Waiting.BRAKE:
            return f"the disaster brake is engaged: {state.brake.reason}"
        case Waiting.NOT_CONNECTED:
            because = f"; {state.not_subscribed}" if state.not_subscribed else ""
            return f"the scheduler has no connection to a Mesos master: nothing can be launched until it is back{because}"
        case Waiting.DEPENDENCY:
            return "an app named in its dependencies has no ready instance yet"
        case Waiting.BACK_OFF:
            return f"next launch in {max(0, math.ceil(launches.delayed_until - now))} s"
        case Waiting.LAUNCH_LIMIT:
            return "many launches are on their way and not confirmed yet: this one follows"
        case Waiting.NO_OFFER if now - launches.no_offer_since < OFFERS_COME_S:
            return "starting: offers were asked for and come within seconds"
        case Waiting.NO_OFFER:
            return "no agent has offered anything since: are agents registered, and is there room left on them?"
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
