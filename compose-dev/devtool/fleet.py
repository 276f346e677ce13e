"""The workers: apps at the eratos API, and their instances in the balancers' rotation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import health, rotation, secure, web
from .settings import REGIONS, ROOT, SCHEDULERS, Settings
from .terminal import Problem, Step

SAMPLE_APP = ROOT / "marathon" / "apps" / "prime.json"
DEFAULT_WORKERS = 20
POLL_S = 0.3

T = TypeVar("T")


class NoScheduler(Problem):
    """No scheduler can answer now. One will, if it is only an election that is under way."""


def api(settings: Settings, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Call the eratos API at the leader, else at whichever scheduler answers: those behind it may hang with a leader that does.

    Return (status, JSON or text); raise NoScheduler where none answers.
    """
    reasons = []
    leader = health.scheduler_leader(settings)
    for number in sorted(range(1, SCHEDULERS + 1), key=lambda number: number != leader):
        try:
            status, text = web.request(method, settings.url("API", number, path), body, 15, secure.access(settings, "API"))
        except web.Unanswered as error:
            reasons.append(str(error))
            continue
        if status != 503:
            return status, _parsed(text)
        reasons.append(f"scheduler{number}: {text[:200]}")
    raise NoScheduler(f"no scheduler answers: {'; '.join(reasons)}", "./dev status shows what is down, ./dev up starts it again")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def app(settings: Settings, app_id: str) -> dict[str, Any] | None:
    """Return an app, or None where there is none of this id."""
    status, answer = api(settings, "GET", f"/v2/apps/{app_id.strip('/')}")
    if status == 404:
        return None
    _expect(status, answer, f"reading app {app_id}")
    found: dict[str, Any] = answer.get("app", answer)
    return found


def apps(settings: Settings) -> list[dict[str, Any]]:
    """Return all apps."""
    status, answer = api(settings, "GET", "/v2/apps")
    _expect(status, answer, "reading the apps")
    found: list[dict[str, Any]] = answer["apps"]
    return found


def ensure_sample(settings: Settings, workers: int | None) -> str:
    """Make the sample app run with so many workers; None: as many as it has, or the default where it is new. Return its id."""
    definition = everywhere(settings, json.loads(SAMPLE_APP.read_text()))
    app_id: str = definition["id"]
    present = app(settings, app_id)
    if present is None:
        definition["instances"] = DEFAULT_WORKERS if workers is None else workers
        _put(settings, app_id, definition)
    elif workers is not None and present["instances"] != workers:
        _put(settings, app_id, {"instances": workers})
    return app_id


def everywhere(settings: Settings, app: dict[str, Any]) -> dict[str, Any]:
    """Return an app that runs in every region of a cluster with some, and whose instances there stand in for each other.

    Those of a region that is out of reach are replaced at once, and kept if they come back within an hour.
    """
    if not settings.regions:
        return app
    return app | {
        "constraints": [*app.get("constraints", ()), ["@region", "LIKE", "|".join(REGIONS)]],
        "labels": {**app.get("labels", {}), "ERATOS_0_FAILOVER": ",".join(REGIONS)},
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 3600},
    }


def scale(settings: Settings, app_id: str, instances: int) -> None:
    """Change the number of an app's instances. Raise Problem where there is no such app."""
    if app(settings, app_id) is None:
        names = ", ".join(found["id"] for found in apps(settings)) or "none"
        raise Problem(f"there is no app {app_id}", f"these are there: {names}")
    _put(settings, app_id, {"instances": instances})


def _put(settings: Settings, app_id: str, body: dict[str, Any]) -> None:
    path = f"/v2/apps/{app_id.strip('/')}"
    status, answer = api(settings, "PUT", path, body)
    if status == 409:
        # A deployment of the same app is under way; the newer wish counts.
        status, answer = api(settings, "PUT", f"{path}?force=true", body)
    _expect(status, answer, f"changing app {app_id}")


def _expect(status: int, answer: Any, doing: str) -> None:
    if not 200 <= status < 300:
        message = answer.get("message", answer) if isinstance(answer, dict) else answer
        raise Problem(
            f"{doing}: the API answers {status}: {message}", "put right what it says; ./dev logs scheduler1 may show more"
        )


def patiently(call: Callable[[], T], step: Step, deadline: float) -> T:
    """Return what a call to the API returns; while no scheduler answers, try again until the deadline (monotonic)."""
    while True:
        try:
            return call()
        except NoScheduler as error:
            if time.monotonic() > deadline:
                raise
            step.detail = str(error)
            time.sleep(POLL_S)


def await_rotation(settings: Settings, app_id: str, step: Step, timeout_s: float) -> int:
    """Wait until every balancer has exactly the wanted instances of an app in rotation, and return how many those are.

    A balancer that does not serve the app, because it leaves it out or the app did not ask, is not waited for; where none serves
    it, its instances have to be ready.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = patiently(lambda: app(settings, app_id) or {}, step, deadline)
        wanted = found.get("tasksWanted", found.get("instances", 0))
        counts = [
            count.servers
            for count in rotation.look(settings).counts(app_id)
            if count.served or (not count.left_out and rotation.asks_for_balancers(found))
        ] or [found.get("tasksHealthy" if found.get("healthChecks") else "tasksRunning", 0)]
        if all(count == wanted for count in counts):
            return int(wanted)
        step.detail = (
            f"{min(counts)} of {wanted} in rotation" if min(counts) < wanted else f"{max(counts)} in rotation, {wanted} wanted"
        )
        if time.monotonic() > deadline:
            raise Problem(
                f"after {timeout_s:.0f} s, {' and '.join(map(str, counts))} of {wanted} instances of {app_id} are in rotation: "
                f"{waiting_for(settings, app_id)}",
                "see ./dev status and ./dev logs scheduler1; more room: ./dev up --agents N; fewer instances: ./dev scale APP N",
            )
        time.sleep(POLL_S)


def waiting_for(settings: Settings, app_id: str) -> str:
    """Return why instances of an app wait, in the scheduler's own words."""
    try:
        status, answer = api(settings, "GET", "/v2/queue")
    except Problem as error:
        return str(error)
    entries = answer.get("queue", []) if status == 200 and isinstance(answer, dict) else []
    for entry in entries:
        if entry.get("app", {}).get("id") == app_id:
            summary = entry.get("processedOffersSummary", {}).get("rejectSummaryLastOffers", [])
            reasons = [
                f"{item['reason']} ({item['declined']} of {item['processed']} offers)" for item in summary if item.get("declined")
            ]
            return "no offer fits: " + ", ".join(reasons) if reasons else "waiting for offers"
    return "nothing waits for offers; the instances are starting or failing"
