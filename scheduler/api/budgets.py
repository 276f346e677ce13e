"""How an app's error budget stands, for explain and Prometheus. Pure."""

from __future__ import annotations

from typing import Any

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.scheduler.core import budgets
from eratos.scheduler.core.error_budget import RESTORED, Ledger
from eratos.scheduler.core.state import State

Json = dict[str, Any]
NOT_COUNTED = "balancers were not asked yet"


def shown(state: State, app: App) -> Json | None:
    """Return how an app's error budget stands; None: it has none."""
    budget = app.error_budget
    if budget is None:
        return None
    ledger = state.budgets.get(app.id)
    found = (ledger or Ledger()).balance
    return {
        **{"objective": budget.objective, "window": budget.window, "minRequests": budget.min_requests},
        **{"requests": found.requests, "failed": found.failed, "allowed": round(found.allowed, 3)},
        "remaining": round(found.remaining, 4) if found.remaining is not None else None,
        "burnRate": round(found.burn_rate, 3),
        "spent": ledger is not None and ledger.spent,
        "missing": ledger.missing if ledger is not None else NOT_COUNTED,
        "until": timestamp(found.until) if found.until is not None else None,
    }


def reason(state: State, app: App) -> str:
    """Say what a spent budget holds; empty: it is not spent."""
    why = budgets.holds(state, app.id)
    what = "no change of its definition without force, no gate of a canary, no rebalancing, no drain without a deadline"
    return f"{why}. What is planned waits until {RESTORED:.0%} of it is left: {what}" if why else ""
