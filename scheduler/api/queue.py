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
            items.append(_item(state, app, len(waiting), since, now, offers))
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
    """Say in one sentence what an app's waiting instances wait for."""
    launches = state.launches.get(app.id) or Launches()
    match launches.waiting:
        case Waiting.BRAKE:
            return f"the disaster brake is engaged: {state.brake.reason}"
        case Waiting.NOT_CONNECTED:
            because = f"; {state.not_subscribed}" if state.not_subscribed else ""
            return f"the scheduler has no connection to a Mesos master: nothing can be launched until it is back{because}"
        case Waiting.DEPENDENCY:
            return "an app named in its dependencies has no ready instance yet"
        case Waiting.BACK_OFF:
            return f"{_failed(launches)}next launch in {max(0, math.ceil(launches.delayed_until - now))} s"
        case Waiting.LAUNCH_LIMIT:
            return "many launches are on their way and not confirmed yet: this one follows"
        case Waiting.NO_OFFER:
            return "no agent has offered anything since: are agents registered, and is there room left on them?"
        case Waiting.NO_FIT:
            return _misfit(list(launches.refusals.values()))
    return "about to be placed"


def _failed(launches: Launches) -> str:
    failure = launches.last_failure
    if failure is None:
        return "the last task ended early; "
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
    return f"no offer of {agents} fits ({reasons}); nearest: {nearest.detail}"
