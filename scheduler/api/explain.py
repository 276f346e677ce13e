"""Why an app is not as it should be: every instance that is on its way or in the way, with a reason and an end. Pure.

``GET /v2/apps/{id}/explain``. The launch queue speaks of waiting instances only; this speaks of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from eratos.marathon.app import App
from eratos.scheduler.core import rollout
from eratos.scheduler.core.mesos import TaskState
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.state import Instance, State

from . import queue
from .render import timestamp

Json = dict[str, Any]

#: Instances named for each reason; the others are counted.
NAMED_MOST = 10
#: Of what executors say of slow starts and stops.
NOTES_MOST = 3


def explain(state: State, app: App, now: float, left_out: Mapping[str, Sequence[str]]) -> Json:
    """Return how an app stands, and a reason for each instance that is not simply running and served.

    ``left_out``: what balancers leave out, Consul service -> each balancer's reason.
    """
    fleet = state.fleet(app.id)
    counts = rollout.count(app, fleet.tally)
    launches = state.launches.get(app.id)
    return {
        "app": app.id,
        "version": app.version,
        "atRest": rollout.at_rest(app, fleet),
        "wanted": app.instances,
        "ready": counts.ready,
        "current": counts.current,
        "old": counts.old,
        "waiting": len(fleet.waiting) + (launches.unmade if launches is not None else 0),
        "stopping": counts.stopping,
        "reasons": [*_reasons(state, app, now), *_left_out(state, app, left_out)],
        "queue": next(iter(queue.queue(state, now, offers=False, only=app.id)), {}).get("processedOffersSummary"),
    }


def _reasons(state: State, app: App, now: float) -> Iterator[Json]:
    fleet, checked = state.fleet(app.id), app.checked
    launches = state.launches.get(app.id)
    if fleet.waiting:
        kind = launches.waiting if launches is not None else None
        until = launches.delayed_until if launches is not None and kind is Waiting.BACK_OFF else None
        reason = _reason(kind.value if kind else "New", queue.why(state, app, now), fleet.waiting.values(), until)
        reason["count"] += launches.unmade if launches is not None else 0
        yield reason
    others = [instance for instance in fleet.instances.values() if not instance.waiting]
    for name, belongs, message, until_of in _kinds(state, app, checked):
        found = [instance for instance in others if belongs(instance)]
        if found:
            yield _reason(name, message(found), found, until_of(found))


def _left_out(state: State, app: App, left_out: Mapping[str, Sequence[str]]) -> Iterator[Json]:
    for service in app.service_names:
        if service in left_out:
            serving = (i for i in state.fleet(app.id).instances.values() if i.state is TaskState.RUNNING)
            yield _reason("NotBalanced", f"service {service} is left out by {'; '.join(left_out[service])}", serving, None)


Group = list[Instance]


def _kinds(
    state: State, app: App, checked: bool
) -> tuple[tuple[str, Callable[[Instance], bool], Callable[[Group], str], Callable[[Group], float | None]], ...]:
    """The reasons of instances that have a task; each instance may have several."""
    strategy, (fewest, most) = app.unreachable_strategy, rollout.bounds(app)

    def replaced_at(found: Group) -> float | None:
        return min(i.unreachable_at for i in found) + strategy.inactive_after_seconds if strategy else None

    def window_of(found: Group) -> float | None:
        begins = [window.begin for i in found if (window := state.windows.get(i.agent_id))]
        return min(begins, default=None)

    launches = state.launches.get(app.id)
    failed = queue.failed(launches) if launches is not None else ""
    never: Callable[[Group], float | None] = lambda found: None  # noqa: E731
    return (
        (
            "Launching",
            lambda i: i.launching,
            lambda found: failed + "sent to their agents, which have not said yet that they run" + _notes(found),
            never,
        ),
        (
            "NotReady",
            lambda i: i.state is TaskState.RUNNING and not i.stopping and i.healthy is not False and not i.ready(checked),
            lambda found: "running, but not all checks have passed yet" + _notes(found),
            never,
        ),
        (
            "Unhealthy",
            lambda i: i.state is TaskState.RUNNING and not i.stopping and checked and i.healthy is False,
            lambda found: (
                "their health checks fail: they are out of rotation, and replaced after maxConsecutiveFailures" + _notes(found)
            ),
            never,
        ),
        (
            "Unreachable",
            lambda i: i.state is TaskState.UNREACHABLE and not i.inactive,
            lambda found: f"agent {found[0].hostname} cannot be reached; replaced after inactiveAfterSeconds",
            replaced_at,
        ),
        (
            "Inactive",
            lambda i: i.inactive,
            lambda found: "unreachable for so long that they were replaced; kept on record until expungeAfterSeconds",
            never,
        ),
        (
            "Moving",
            lambda i: i.moving and not i.stopping,
            lambda found: "to be replaced on another agent first, and stopped then",
            window_of,
        ),
        (
            "Old",
            lambda i: i.version != app.version and not i.stopping,
            lambda found: f"of an earlier version: {fewest} must stay ready and no more than {most} may exist meanwhile",
            never,
        ),
        (
            "Stopping",
            lambda i: i.stopping,
            lambda found: (
                "being stopped: out of Consul, drained by the balancers, then ended; the kill is repeated until it is"
                + _notes(found)
            ),
            never,
        ),
    )


def _notes(found: Group) -> str:
    """Return what executors say of instances whose start, checks or stop take long, each thing once, to follow a sentence."""
    hosts: dict[str, list[str]] = {}
    for instance in found:
        if instance.note and instance.hostname not in (said := hosts.setdefault(instance.note, [])):
            said.append(instance.hostname)
    parts = [f"; {', '.join(said)}: {note}" for note, said in list(hosts.items())[:NOTES_MOST]]
    if len(hosts) > NOTES_MOST:
        parts.append(f"; and {len(hosts) - NOTES_MOST} more")
    return "".join(parts)


def _reason(name: str, message: str, instances: Iterable[Instance], until: float | None) -> Json:
    found = list(instances)
    shown: Json = {
        "reason": name,
        "count": len(found),
        "message": message,
        "instances": [instance.instance_id for instance in found[:NAMED_MOST]],
    }
    if until is not None:
        shown["until"] = timestamp(until)
    return shown
