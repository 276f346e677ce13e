"""Why an app is not as it should be: every instance that is on its way or in the way, with a reason and an end. Pure.

``GET /v2/apps/{id}/explain``. The launch queue speaks of waiting instances only; this speaks of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eratos.common.times import timestamp
from eratos.marathon import labels
from eratos.marathon.app import App
from eratos.marathon.notes import notes
from eratos.scheduler.core import budgets as error_budgets
from eratos.scheduler.core import deployments, maintenance, move_status, ordinals, per_host, quotas, rollout, stages, volumes
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.launches import Launches
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.state import Deployment, MovePhase, State

from . import autoscaling, budgets, queue, quota_use

Json = dict[str, Any]

#: Instances named for each reason; the others are counted.
NAMED_MOST = 10
#: Why an instance waits that nobody has looked at yet.
NEW = "New"
#: Hosts without an instance that are named, where each is to have one, and ordinals without a ready one; others are counted.
HOSTS_MOST = 100
#: Of what executors say of slow starts and stops.
NOTES_MOST = 3


def explain(state: State, app: App, now: float, left_out: Mapping[str, Sequence[str]]) -> Json:
    """Return how an app stands, and a reason for each instance that is not simply running and served.

    ``left_out``: what balancers leave out, Consul service -> each balancer's reason.
    """
    fleet = state.fleet(app.id)
    counts = rollout.count(app, fleet.tally)
    launches = state.launches.get(app.id)
    shown: Json = {
        "app": app.id,
        "version": app.version,
        "atRest": rollout.at_rest(app, fleet),
        "wanted": per_host.wanted(state, app),
        "ready": counts.ready,
        "current": counts.current,
        "old": counts.old,
        "waiting": len(fleet.waiting) + (launches.unmade if launches is not None else 0),
        "stopping": counts.stopping,
        "reasons": [
            *_of_budget(state, app),
            *_of_deployment(state, app, now),
            *_reasons(state, app, now),
            *_left_out(state, app, left_out),
        ],
        "definition": [{"path": note.path, "verdict": note.verdict, "message": note.text} for note in notes(app)],
        "quotas": [quota_use.shown(quota, quotas.used(state, quota.path)) for quota in quotas.around(state, app.id)],
        "autoscale": autoscaling.shown(state, app, now),
        "errorBudget": budgets.shown(state, app),
        "queue": queue.offers_summary(launches or Launches()) if app.id in state.in_need else None,
    }
    if app.per_host:
        without = [lack._asdict() for lack in per_host.lacking(state, app)]
        shown["hosts"] = {"without": without[:HOSTS_MOST], "more": max(0, len(without) - HOSTS_MOST)}
    if app.ordinals:
        unready = [lack._asdict() for lack in ordinals.lacking(state, app)]
        shown["ordinals"] = {"notReady": unready[:HOSTS_MOST], "more": max(0, len(unready) - HOSTS_MOST)}
    return shown


def _of_budget(state: State, app: App) -> Iterator[Json]:
    """What a spent error budget holds, with the instances that stay for it on hosts that are drained."""
    if message := budgets.reason(state, app):
        there = [instance for instance in state.instances_of(app.id) if not instance.waiting]
        staying = [instance for instance in there if maintenance.held(state, instance)]
        yield _reason("ErrorBudget", message, staying, error_budgets.until(state, app.id))


def _of_deployment(state: State, app: App, now: float) -> Iterator[Json]:
    """What the app's deployment, or the last one that failed, has to do with it."""
    if app.id in state.failed:
        yield _reason("DeploymentFailed", f"{state.failed[app.id]}; what is wanted is still tried", (), None)
    change = state.changes.get(app.id)
    if change is not None and app.id in state.held:
        others = state.deployments[change.deployment_id].order.waits_for(app.id)
        named = ", ".join(others[:NAMED_MOST]) + (f" and {len(others) - NAMED_MOST} more" if len(others) > NAMED_MOST else "")
        message = f"deployment {change.deployment_id} comes to it once {named} is at rest, which it depends on"
        yield _reason("Dependency", message, (), None)
    elif change is not None and (most := stages.limit(state, app.id)) is not None:
        found = state.deployments[change.deployment_id]
        if found.record.paused:
            message = f"deployment {change.deployment_id} is paused: eratos deployment resume {change.deployment_id}"
            yield _reason("Paused", message, (), None)
        elif app.id not in found.reached:
            beside = f", beside all of the one before; {_traffic(state, app)}" if stages.beside(state, app.id) else " first"
            yield _reason("Canary", f"{most} of {app.instances} instances are to be of the new version{beside}", (), None)
        elif app.id in found.counted:
            yield _reason("Canary", _at_judged_gate(state, found, app, most, now), (), None)
        else:
            hold_s = labels.canary_hold_s(app.labels)
            held = bool(deployments.held_at_gate(state, found, app.id))
            promote = f"eratos deployment promote {change.deployment_id}{' --force' if held else ''}"
            way_on = "it goes on by itself" if hold_s is not None and not held else promote
            until = None if hold_s is None or held else found.reached[app.id] + hold_s
            ready = f"{most} of {app.instances} instances are of the new version and ready"
            traffic = f"; {_traffic(state, app)}" if stages.beside(state, app.id) else ""
            yield _reason("Canary", f"{ready}{traffic}: {way_on}", (), until)


def _traffic(state: State, app: App) -> str:
    return f"{stages.share(state, app.id)}% of the traffic goes to the new ones"


def _at_judged_gate(state: State, found: Deployment, app: App, most: int, now: float) -> str:
    counted, (_, lacks) = found.counted[app.id], deployments.judged(state, found, app.id, now)
    answers = f"{counted.failed} of {counted.requests} requests failed, and an answer took {counted.answer_ms:.0f} ms"
    traffic = f", {_traffic(state, app)}" if stages.beside(state, app.id) else ""
    ready = f"{most} of {app.instances} instances are of the new version and ready{traffic}: at the balancers {answers}"
    until = f"its deployment fails at {timestamp(deployments.deadline(found))} otherwise" if counted.overdue else ""
    return "; ".join(filter(None, (ready, f"the gate waits: {lacks}" if lacks else "", until)))


def _reasons(state: State, app: App, now: float) -> Iterator[Json]:
    fleet, checked = state.fleet(app.id), app.checked
    launches = state.launches.get(app.id)
    awaited = volumes.awaited(state, app) if app.resident else []
    bound = {instance.instance_id for away in awaited for instance in away.instances}
    for away in awaited:
        yield _reason(Waiting.VOLUME.value, away.message, away.instances, away.until)
    for slot, instances in move_status.of_app(state, app.id).items():
        yield _reason("VolumeMove", move_status.message(state, slot), instances, move_status.until(state, slot))
        bound.update(i.instance_id for i in instances if state.moves[slot].phase is not MovePhase.HOST)
    for why, again_at in move_status.failures(state, app.id).items():
        yield _reason("VolumeMoveFailed", why, (), again_at if again_at and again_at > now else None)
    waiting = [instance for instance in fleet.waiting.values() if instance.instance_id not in bound]
    if waiting:
        kind = launches.waiting if launches is not None else None
        until = launches.delayed_until if launches is not None and kind is Waiting.BACK_OFF else None
        reason = _reason(
            kind.value if kind else NEW,
            queue.why(state.launches.get(app.id) or Launches(), queue.halt(state), now),
            waiting,
            until,
        )
        reason["count"] += launches.unmade if launches is not None else 0
        yield reason
    others = [instance for instance in fleet.instances.values() if not instance.waiting]
    for finding in _findings(state, app, checked):
        found = [instance for instance in others if finding.belongs(instance)]
        if found:
            yield _reason(finding.name, finding.message(found), found, finding.until(found))


def _left_out(state: State, app: App, left_out: Mapping[str, Sequence[str]]) -> Iterator[Json]:
    for service in app.service_names:
        if service in left_out:
            serving = (i for i in state.fleet(app.id).instances.values() if i.state is TaskState.RUNNING)
            yield _reason("NotBalanced", f"service {service} is left out by {'; '.join(left_out[service])}", serving, None)


Group = list[Instance]


@dataclass(frozen=True, slots=True)
class _Finding:
    """A reason of instances that have a task; one instance may have several."""

    name: str
    belongs: Callable[[Instance], bool]
    message: Callable[[Group], str]  #: of those that belong to it, one at least
    until: Callable[[Group], float | None] = lambda found: None


def _findings(state: State, app: App, checked: bool) -> tuple[_Finding, ...]:
    strategy, (fewest, most) = app.unreachable_strategy, per_host.bounds(state, app)
    after_s = strategy.inactive_after_seconds if strategy else None
    what_then = "replaced after inactiveAfterSeconds"
    if strategy is None:
        what_then = "not replaced before Mesos says that it is gone, as unreachableStrategy is disabled"
    if app.per_host:
        what_then = "its instance belongs to that host, and goes on there if it is back in time"
    elif app.residency is not None:
        after_s = app.residency.gives_up_after_s
        what_then = "their volumes are on it, and residency has them wait for it"
        what_then += " without end" if after_s is None else " until they begin anew elsewhere, with empty ones"

    def replaced_at(found: Group) -> float | None:
        return min(i.unreachable_at for i in found) + after_s if after_s is not None else None

    def moved_by(found: Group) -> float | None:
        drains = [drain for hostname in {i.hostname for i in found} if (drain := state.drains.get(hostname))]
        begins = [window.begin for i in found if (window := state.scheduled.get(i.agent_id))]
        return min([*begins, *(drain.deadline for drain in drains if drain.deadline)], default=None)

    def drained(found: Group) -> str:
        hosts = sorted({i.hostname for i in found} & state.drains.keys())
        return f": {', '.join(hosts)} {'is' if len(hosts) == 1 else 'are'} drained" if hosts else ""

    launches = state.launches.get(app.id)
    failed = queue.failed(launches) if launches is not None else ""
    return (
        _Finding(
            "Launching",
            lambda i: i.launching,
            lambda found: failed + "sent to their agents, which have not said yet that they run" + _notes(found),
        ),
        _Finding(
            "NotReady",
            lambda i: i.state is TaskState.RUNNING and not i.stopping and i.healthy is not False and not i.ready(checked),
            lambda found: "running, but not all checks have passed yet" + _notes(found),
        ),
        _Finding(
            "Unhealthy",
            lambda i: i.state is TaskState.RUNNING and not i.stopping and checked and i.healthy is False,
            lambda found: (
                "their health checks fail: they are out of rotation, and replaced after maxConsecutiveFailures" + _notes(found)
            ),
        ),
        _Finding(
            "Unreachable",
            lambda i: i.state is TaskState.UNREACHABLE and not i.inactive,
            lambda found: (
                f"agent {found[0].hostname} cannot be reached since "
                f"{timestamp(min(i.unreachable_at for i in found))}; {what_then}"
            ),
            replaced_at,
        ),
        _Finding(
            "Inactive",
            lambda i: i.inactive,
            lambda found: (
                f"unreachable for so long that they {'count no more' if app.per_host else 'were replaced'}; "
                "kept on record until expungeAfterSeconds"
            ),
        ),
        _Finding(
            "Moving",
            lambda i: i.moving and not i.stopping,
            lambda found: (
                (
                    "to be stopped, and replaced on another agent then: no ordinal is held twice"
                    if app.ordinals
                    else "to be stopped, and started on another agent then: one at a time may write to its volumes"
                    if app.exclusive_volumes
                    else "to be replaced on another agent first, and stopped then"
                )
                + drained(found)
            ),
            moved_by,
        ),
        _Finding(
            "Outdated",
            lambda i: bool(i.outdated) and not i.stopping,
            lambda found: (
                f"to be replaced: {fewest} must stay ready and no more than {most} may exist meanwhile; "
                + "; ".join(sorted({i.outdated for i in found})[:NOTES_MOST])
            ),
        ),
        _Finding(
            "Old",
            lambda i: i.version != app.version and not i.stopping,
            lambda found: f"of an earlier version: {fewest} must stay ready and no more than {most} may exist meanwhile",
        ),
        _Finding(
            "Stopping",
            lambda i: i.stopping,
            lambda found: (
                "being stopped: out of Consul, drained by the balancers, then ended; the kill is repeated until it is"
                + _notes(found)
            ),
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
