"""What the verdict of a chaos run says of error budgets."""

from __future__ import annotations

from typing import Any

import pytest
from devtool import fleet
from devtool.chaos import budgets
from devtool.chaos.budgets import Budget
from devtool.settings import Settings
from devtool.terminal import Problem

OF = "10000 requests failed at the balancers"
NAME = "error budget of /chaos (99.9% in 1h)"


def budget(failed: int, remaining: float | None, missing: str = "") -> Budget:
    return Budget(99.9, "1h", 10_000, failed, remaining, missing)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (None, budget(0, 1.0), "lost nothing, 100.0% is left; 0 of 10000 requests failed at the balancers"),
        (budget(0, None), budget(4, 0.6), "lost 40.0%, 60.0% is left; 4 of 10000 requests failed at the balancers"),
        (budget(2, 0.8), budget(4, 0.6), "lost 20.0%, 60.0% is left; 4 of 10000 requests failed at the balancers"),
        (budget(4, 0.6), budget(4, 0.7), "lost nothing, 70.0% is left; 4 of 10000 requests failed at the balancers"),
        (budget(0, 1.0), budget(15, -0.5), f"lost 150.0%, it is spent, 50.0% beyond it; 15 of {OF}"),
        (None, budget(0, None, "b1 says nothing"), "too few requests came to judge it; figures are missing: b1 says nothing"),
    ],
)
def test_a_line_says_what_an_app_lost(before: Budget | None, after: Budget, line: str) -> None:
    assert budgets.told({"/chaos": before} if before else {}, {"/chaos": after}) == [f"{NAME}: {line}"]


def test_a_budget_that_nobody_tells_any_more_is_named() -> None:
    assert budgets.told({"/chaos": budget(0, 1.0)}, {}) == ["error budget of /chaos: no scheduler says how it stands"]


def test_apps_with_a_budget_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = {"objective": 99.9, "window": "1h"}
    apps = [{"id": "/chaos", "eratos": {"errorBudget": stated}}, {"id": "/other", "eratos": {}}, {"id": "/plain"}]
    shown = {**stated, "requests": 10_000, "failed": 4, "remaining": 0.6, "missing": "", "spent": False}
    monkeypatch.setattr(fleet, "apps", lambda settings: apps)
    asked: list[str] = []

    def api(settings: Any, method: str, path: str) -> tuple[int, Any]:
        asked.append(f"{method} {path}")
        return 200, {"errorBudget": shown}

    monkeypatch.setattr(fleet, "api", api)
    assert budgets.look(Settings()) == {"/chaos": budget(4, 0.6)}
    assert asked == ["GET /v2/explain/chaos"]

    def nobody(*_: Any) -> tuple[int, Any]:
        raise Problem("no scheduler answers", "./dev status")

    monkeypatch.setattr(fleet, "api", nobody)
    assert budgets.look(Settings()) == {}
