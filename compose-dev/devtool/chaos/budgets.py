"""What the error budgets of apps lost in a run."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import fleet
from ..settings import Settings
from ..terminal import Problem


class Budget(NamedTuple):
    """How an app's error budget stood at one moment, by the scheduler's word."""

    objective: float  #: percent
    window: str
    requests: int  #: of the window
    failed: int
    remaining: float | None  #: share of it that was left; None: too few requests
    missing: str = ""


def look(settings: Settings) -> dict[str, Budget]:
    """Return how each app's error budget stands; of an app that nobody can be asked about, nothing."""
    found = {}
    try:
        apps = [app["id"] for app in fleet.apps(settings) if (app.get("eratos") or {}).get("errorBudget")]
        for app_id in apps:
            status, answer = fleet.api(settings, "GET", f"/v2/explain/{app_id.strip('/')}")
            if status == 200 and answer.get("errorBudget"):
                found[app_id] = read(answer["errorBudget"])
    except Problem:
        pass  # what is known is shown: a run is not judged by it
    return found


def read(found: dict[str, Any]) -> Budget:
    """Return a budget out of the API's answer."""
    return Budget(*(found[name] for name in ("objective", "window", "requests", "failed", "remaining", "missing")))


def told(before: dict[str, Budget], after: dict[str, Budget]) -> list[str]:
    """Return a line for each app: what its budget lost between two looks."""
    return [_line(app_id, before.get(app_id), after.get(app_id)) for app_id in sorted(before.keys() | after.keys())]


def _line(app_id: str, before: Budget | None, now: Budget | None) -> str:
    if now is None:
        return f"error budget of {app_id}: no scheduler says how it stands"
    name = f"error budget of {app_id} ({now.objective:g}% in {now.window})"
    missing = f"; figures are missing: {now.missing}" if now.missing else ""
    if now.remaining is None:
        return f"{name}: too few requests came to judge it{missing}"
    had = before.remaining if before is not None and before.remaining is not None else 1.0
    lost = f"lost {had - now.remaining:.1%}" if now.remaining < had else "lost nothing"
    left = f"{now.remaining:.1%} is left" if now.remaining > 0 else f"it is spent, {-now.remaining:.1%} beyond it"
    return f"{name}: {lost}, {left}; {now.failed} of {now.requests} requests failed at the balancers{missing}"
