"""Waits until apps are as they were asked to be, balancers included, and says meanwhile what they wait for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eratos.marathon.client import MarathonClient, Refused

from .patience import Look, Patience, until


@dataclass(frozen=True)
class Progress:
    """How far one app is. ``reason`` says why its instances wait, where the API says so."""

    app_id: str
    wanted: int
    running: int
    healthy: int | None  #: None: the app has no health checks
    settled: bool
    reason: str = ""

    @property
    def done(self) -> bool:
        enough = self.running == self.wanted and self.healthy in (None, self.wanted)
        return self.settled and enough

    def __str__(self) -> str:
        healthy = "" if self.healthy is None else f", {self.healthy} healthy"
        reason = f": {self.reason}" if self.reason and not self.done else ""
        state = "ready" if self.done else "waiting"
        return f"{self.app_id} {state}, {self.running}/{self.wanted} running{healthy}{reason}"


def until_ready(
    client: MarathonClient, app_ids: Iterable[str], patience: Patience, deployment_ids: Iterable[str] = ()
) -> list[Progress]:
    """Return once every app is done, having reported each change. Raises TookTooLong, Interrupted, Refused.

    An app is done when its instances are ready, and the balancers that are known and answer send to them; eratos only.
    A scheduler that is away for a moment is waited for as well: a new leader takes over. Refused is raised as well when one of
    the deployments that are waited for has failed.
    """
    app_ids, deployment_ids = tuple(app_ids), tuple(deployment_ids)
    again = f"the change goes on; wait again with: eratos app wait {' '.join(app_ids)}"

    def look() -> Look[list[Progress]]:
        ready = progress(client, app_ids)
        _check(client, deployment_ids)
        found, notes = _balanced(client, ready)
        late = ", ".join(item.app_id for item in found if not item.done)
        lines = {item.app_id: str(item) for item in found} | {note: note for note in notes}
        return Look(lines, None if late else list(found), late)

    return until(look, patience, "ready", again)


def _balanced(client: MarathonClient, found: Sequence[Progress]) -> tuple[Sequence[Progress], list[str]]:
    """Return how far apps are when balancers count, and what is not waited for, in words.

    Balancers are asked once all else is done.
    """
    if not found or not all(item.done for item in found):
        return found, []
    try:
        rotation = client.rotation(item.app_id for item in found)
    except Refused as refused:
        # Marathon knows no balancers.
        return found, [] if refused.status in (404, 405) else [f"whether balancers send to the apps is not known: {refused}"]
    late: dict[str, list[str]] = {}
    for item in rotation:
        if item["awaited"]:
            late.setdefault(item["app"], []).append(item["message"])
    notes = [f"{item['app']}: {item['message']}" for item in rotation if not item["awaited"]]
    waiting = {app_id: "; ".join(messages) for app_id, messages in late.items()}
    return [replace(i, settled=False, reason=waiting[i.app_id]) if i.app_id in waiting else i for i in found], notes


def _check(client: MarathonClient, deployment_ids: Iterable[str]) -> None:
    """Raise Refused where a deployment has failed; Marathon, and a leader elected since, do not know how one has ended."""
    for deployment_id in deployment_ids:
        try:
            found = client.deployment(deployment_id).get("eratos") or {}
        except Refused:
            continue
        if found.get("outcome") in ("failed", "rolled back"):
            raise Refused(0, f"deployment {deployment_id}: {found['outcome']}: {found.get('reason')}")


def progress(client: MarathonClient, app_ids: Iterable[str]) -> list[Progress]:
    """Ask how far apps are. Raises Refused for one that is gone, Unreachable."""
    queued = ((item.get("app") or item.get("pod"), reason(item)) for item in client.queue())
    reasons = {definition["id"]: why for definition, why in queued if definition}
    return [_progress(client, app_id, reasons.get(app_id, "")) for app_id in app_ids]


def _progress(client: MarathonClient, app_id: str, why: str) -> Progress:
    try:
        app = client.app(app_id)
    except Refused as refused:
        if refused.status == 404 and (pod := _pod(client, app_id)) is not None:
            return _of_pod(client, pod, why)
        if refused.status == 404:
            raise Refused(404, f"{app_id} is not there: it never was, or it was deleted meanwhile") from refused
        raise
    healthy = int(app.get("tasksHealthy") or 0) if app.get("healthChecks") else None
    running = int(app.get("tasksRunning") or 0)
    found = Progress(app_id, wanted(app), running, healthy, not app.get("deployments"), why)
    if why and not found.done:
        return found
    # A new leader knows of no deployment, and the counts may be right amid a rollout: eratos itself says what is at rest.
    explained = _explained(client, app_id)
    found = replace(found, settled=found.settled and bool(explained.get("atRest", seems_at_rest(app))))
    return found if found.done else replace(found, reason=_reasons(explained, app))


def _pod(client: MarathonClient, pod_id: str) -> dict[str, Any] | None:
    try:
        return client.pod_status(pod_id)
    except Refused:
        return None


def _of_pod(client: MarathonClient, status: dict[str, Any], why: str) -> Progress:
    pod, instances = status["spec"], status.get("instances") or ()
    version = f"::versions/{pod.get('version')}"
    stable = sum(item["status"] == "STABLE" and str(item.get("specReference", version)).endswith(version) for item in instances)
    explained = _explained(client, status["id"])
    settled = bool(explained.get("atRest", status["status"] == "STABLE" and stable == len(instances)))
    found = Progress(status["id"], int((pod.get("scaling") or {}).get("instances", 1)), stable, None, settled, why)
    return found if why or found.done else replace(found, reason=_reasons(explained, {}))


def at_rest(client: MarathonClient, app: dict[str, Any]) -> bool:
    """Return whether an app is as it was asked to be, with nothing on its way: by its counts, and by the word of eratos.

    That is asked for a moment after the app, which may have crashed in between: what is shown together is to agree.
    """
    return seems_at_rest(app) and bool(_explained(client, str(app["id"])).get("atRest", True))


def wanted(app: Mapping[str, Any]) -> int:
    """Return how many instances are wanted: of apps with one on each host eratos says it, for the hosts there are."""
    return int(app.get("tasksWanted", app["instances"]))


def seems_at_rest(app: Mapping[str, Any]) -> bool:
    """Return what the counts of an app show of that: they do not know which definition an instance is of."""
    ready = app.get("tasksHealthy") if app.get("healthChecks") or app.get("readinessChecks") else app.get("tasksRunning")
    counts = app.get("tasksRunning") or 0, ready or 0, wanted(app)
    return not app.get("deployments") and not app.get("tasksStaged") and len(set(counts)) == 1


def _explained(client: MarathonClient, app_id: str) -> dict[str, Any]:
    """Return what eratos says of an app, nothing where Marathon answers."""
    try:
        return client.explain(app_id)
    except Refused:
        return {}


def _reasons(explained: dict[str, Any], app: dict[str, Any]) -> str:
    """Return why an app is not at rest although nothing waits for an offer; Marathon says no more than what went wrong last."""
    if reasons := explained.get("reasons"):
        return "; ".join(str(reason["message"]) for reason in reasons)
    failure = app.get("lastTaskFailure") or {}
    if failure.get("version") != app.get("version"):
        return ""
    return f"the last task ended as {failure.get('state')}: {failure.get('message')}"


def reason(item: dict[str, Any]) -> str:
    """Say why a queue item waits: eratos' own sentence, or what Marathon's numbers show."""
    if message := (item.get("waiting") or {}).get("message"):
        return str(message)
    left_s = (item.get("delay") or {}).get("timeLeftSeconds") or 0
    if left_s:
        return f"next launch in {left_s} s"
    steps = (item.get("processedOffersSummary") or {}).get("rejectSummaryLastOffers") or []
    declined = ", ".join(f"{step['declined']} x {step['reason']}" for step in steps if step.get("declined"))
    return f"no offer fits ({declined})" if declined else "waits for an offer"
