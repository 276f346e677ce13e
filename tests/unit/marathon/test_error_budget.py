"""The field ``eratos.errorBudget``: what it takes, and how what it does not take is refused."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app

from eratos.marathon import definition, labels
from eratos.marathon.app import App
from eratos.marathon.error_budget import seconds
from eratos.marathon.errors import InvalidApp

GATE = {"ERATOS_CANARY": "1", "ERATOS_CANARY_HOLD_S": "5", "ERATOS_ROLLBACK": "true"}


def budgeted(stated: dict[str, str] | None = None, **budget: Any) -> App:
    fields = {"objective": 99.9, "window": "1h"} | budget
    return an_app("/web", labels={"HAPROXY_0_VHOST": "web.test"} | (stated or {}), eratos={"errorBudget": fields})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("5m", 300), ("1h", 3600), ("1h30m", 5400), ("28d", 2_419_200), ("1w2d3h4m", 604_800 + 2 * 86_400 + 3 * 3600 + 240)],
        *[("", None), ("1", None), ("30s", None), ("1m1h", None), ("1.5h", None), ("h", None), (" 1h", None), ("1h ", None)],
    ],
)
def test_a_window_is_a_duration_as_prometheus_writes_it(text: str, found: int | None) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize(("objective", "tolerated"), [(99.9, 100), (99, 1000), (99.95, 50), (99.999, 1), (50, 50_000)])
def test_an_objective_tolerates_the_rest(objective: float, tolerated: int) -> None:
    budget = budgeted(objective=objective).error_budget
    assert budget is not None
    assert (budget.tolerated, budget.window_s, budget.min_requests) == (tolerated, 3600, 50)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("objective", 0.999, "is 0.999, and it is in percent: give 99.9"),
        ("objective", 100, "is 100, which leaves no budget: give 99.9"),
        ("objective", 101, "must be a percentage from 50 to 99.999, such as 99.9, not 101"),
        ("objective", 49.9, "must be a percentage from 50 to 99.999"),
        ("objective", 0, "must be a percentage from 50 to 99.999"),
        ("objective", 99.9999, "must be a percentage from 50 to 99.999"),
        ("objective", 99.1234, "is 99.1234: give 3 decimals at most"),
        ("objective", "99.9", "must be a number, not '99.9': write 99.9 without quotes"),
        ("window", "30s", "must be a time such as 1h, 12h or 28d, of weeks, days, hours and minutes, not '30s'"),
        ("window", "4m", "is 4m: give 5m at least and 30d at most"),
        ("window", "31d", "is 31d: give 5m at least and 30d at most"),
        ("window", 3600, "must be text"),
        ("minRequests", 0, "must be at least 1, not 0"),
        ("objectives", 99, "objective"),
    ],
)
def test_what_is_no_budget_is_refused_with_field_and_fix(field: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        budgeted(**{field: value})
    [problem] = invalid.value.problems
    assert problem.path == f"/eratos/errorBudget/{field}"
    assert words in problem.message


@pytest.mark.parametrize(
    ("routed", "words"),
    [
        ({}, "is counted by balancers, and none serves the app"),
        ({"ERATOS_0_GROUP": "local", "ERATOS_0_MODE": "tcp", "ERATOS_0_PORT": "5432"}, "balancers see none in mode tcp"),
    ],
)
def test_a_budget_that_nobody_would_count_is_refused(routed: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        an_app("/web", labels=routed, eratos={"errorBudget": {"objective": 99.9, "window": "1h"}})
    [problem] = invalid.value.problems
    assert (problem.path, words in problem.message) == ("/eratos/errorBudget", True)


def test_another_budget_makes_no_other_task() -> None:
    assert budgeted().same_definition(budgeted(objective=99))
    assert budgeted().same_definition(an_app("/web", labels={"HAPROXY_0_VHOST": "web.test"}))


def test_it_comes_back_from_json_as_it_went_there() -> None:
    app = budgeted(window="1h30m", minRequests=500)
    assert app.to_json()["eratos"] == {"errorBudget": {"objective": 99.9, "window": "1h30m", "minRequests": 500}}
    assert definition.parse(app.to_json()) == app


def test_a_gate_may_name_the_budget() -> None:
    app = budgeted({**GATE, "ERATOS_CANARY_ERRORS": "budget"}, objective=99.95)
    assert app.demands == labels.Demands(50, None, 50)
    assert budgeted({**GATE, "ERATOS_CANARY_ERRORS": "2%"}).demands == labels.Demands(2000, None, 50)
    with pytest.raises(InvalidApp) as invalid:
        an_app("/web", labels={**GATE, "ERATOS_CANARY_ERRORS": "budget"})
    [problem] = invalid.value.problems
    assert problem.path == "/labels/ERATOS_CANARY_ERRORS"
    assert "add eratos.errorBudget" in problem.message
