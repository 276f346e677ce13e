"""Error budgets kept and heeded: what balancers count is stored now and then, and a spent one holds what is planned of its app.

How much is left is :mod:`error_budget`'s. While an app's budget is spent, nothing replaces or moves its instances that can wait:
no change of its definition without force, no gate of a canary, no rebalancing, no drain of a host that has no deadline, no
scaling down by autoscaling (ADR 50). What mends an app is never held: new instances for lost ones, more instances, and the way
back to a version that ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.marathon.error_budget import ErrorBudget

from .actions import Notice, Refusal
from .changes import Plan
from .error_budget import RESTORED, Ledger, ServiceFigures
from .events import FiguresSeen
from .records import BUDGETS, BudgetRecord
from .refusals import Refused
from .state import State
from .step import Step

#: A ledger that has changed is stored as often; one whose budget was spent or restored at once.
STORE_EVERY_S: Final = 60.0


def asked_for(state: State) -> bool:
    """Return whether any app has an error budget, or had one that is still to be forgotten."""
    return bool(state.budgets) or any(app.error_budget is not None for app in state.apps.values())


def load(step: Step, records: Iterable[BudgetRecord]) -> None:
    """Go on with what the store held."""
    for record in records:
        ledger = step.state.budgets[record.app_id] = Ledger.of(record)
        ledger.stored_at = step.now
        app = step.state.apps.get(record.app_id)
        if app is not None and app.error_budget is not None:
            ledger.settle(step.now, app.error_budget)


def figures_seen(step: Step, event: FiguresSeen) -> Iterator[str]:
    """Take in what balancers have answered; yield each app of which planned stops are held from now on, or no longer."""
    state = step.state
    for app_id in [known for known in state.budgets if known not in state.apps or state.apps[known].error_budget is None]:
        step.forget(BUDGETS + app_id)
        if state.budgets.pop(app_id).spent:
            yield app_id
    rows: dict[str, list[ServiceFigures]] = {}
    for row in event.services:
        rows.setdefault(row.service, []).append(row)
    missing = "; ".join(filter(None, (event.missing, event.uncounted)))
    for app, budget in [(app, app.error_budget) for app in state.apps.values() if app.error_budget is not None]:
        try:
            if _looked_at(step, app, budget, [row for name in app.service_names for row in rows.get(name, ())], missing):
                yield app.id
        except Exception as error:
            step.broke(app.id, error)  # and the others go on


def _looked_at(step: Step, app: App, budget: ErrorBudget, figures: list[ServiceFigures], missing: str) -> bool:
    """Take in a look at one app; return whether its budget was spent or restored by it."""
    ledger = step.state.budgets.setdefault(app.id, Ledger())
    before = ledger.spent
    ledger.add(step.now, budget, figures, missing)
    turned = ledger.spent != before
    if turned:
        found = ledger.balance
        about = {"app": app.id, "failed": found.failed, "requests": found.requests, "window": budget.window}
        spent, restored = Notice("warning", "error budget is spent", about), Notice("info", "error budget is restored", about)
        step.notice(spent if ledger.spent else restored)
        step.touch(app.id)
    if ledger.changed and (turned or step.now >= ledger.stored_at + STORE_EVERY_S):
        step.store(BUDGETS + app.id, ledger.record(app.id))
        ledger.changed, ledger.stored_at = False, step.now
    return turned


def holds(state: State, app_id: str) -> str:
    """Say why nothing that is planned may disturb an app now; empty: it may."""
    app, ledger = state.apps.get(app_id), state.budgets.get(app_id)
    if app is None or app.error_budget is None or ledger is None or not ledger.spent:
        return ""
    budget, found = app.error_budget, ledger.balance
    counted = f"{found.failed} of {found.requests} requests failed in {budget.window}"
    return f"the error budget of {app_id} is spent: {counted}, and {budget.objective:g}% of them were to succeed"


def until(state: State, app_id: str) -> float | None:
    """Return when an app's budget is whole again at the latest, if nothing fails any more; None: it is whole."""
    ledger = state.budgets.get(app_id)
    return ledger.balance.until if ledger is not None else None


def held(state: State, plan: Plan) -> dict[str, str]:
    """Return each app whose instances a plan replaces by new ones though its budget is spent, with the sentence why."""
    new = sorted(app.id for app in plan.apps if app.id in plan.renewed and app.version == plan.record.version)
    return {app_id: why for app_id in new if app_id in state.fleets and (why := holds(state, app_id))}


def check(state: State, plan: Plan) -> None:
    """Raise Refused where a plan replaces instances of an app whose budget is spent."""
    found = held(state, plan)
    if not found:
        return
    app_id, why = next(iter(found.items()))
    more = f" (and those of {len(found) - 1} more)" if len(found) > 1 else ""
    whole = until(state, app_id)
    when = f", which it is at {timestamp(whole)} at the latest if nothing fails any more" if whole is not None else ""
    raise Refused(
        Refusal.BUDGET,
        f"{_capital(why)}{more}. So its instances are not replaced before {RESTORED:.0%} of the budget is left"
        f"{when}. A fix goes out with the option '?force=true'",
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
