"""What becomes of instants, and of runs whose task ended: tables of each policy."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import a_job, a_status

from eratos.executor.core import endings
from eratos.scheduler.core import jobs
from eratos.scheduler.core.jobs import Fate, Verdict
from eratos.scheduler.core.mesos_types import RECONCILIATION
from eratos.scheduler.core.records import RunRecord


def _schedule(**fields: Any) -> Any:
    return a_job("a", fields).schedules[0]


@pytest.mark.parametrize(
    ("policy", "late_s", "active", "expected"),
    [
        ("ALLOW", 0, 0, Fate.START),
        ("ALLOW", 60, 0, Fate.START),
        ("ALLOW", 61, 0, Fate.LATE),
        ("ALLOW", 0, 99, Fate.START),
        ("ALLOW", 0, 100, Fate.TOO_MANY),
        ("FORBID", 0, 0, Fate.START),
        ("FORBID", 0, 1, Fate.FORBIDDEN),
        ("FORBID", 61, 1, Fate.LATE),
        ("REPLACE", 0, 1, Fate.START),
        ("REPLACE", 61, 1, Fate.LATE),
    ],
)
def test_what_becomes_of_an_instant(policy: str, late_s: float, active: int, expected: Fate) -> None:
    schedule = _schedule(concurrencyPolicy=policy, startingDeadlineSeconds=60)
    assert jobs.fate(schedule, 1000.0, 1000.0 + late_s, active) is expected


@pytest.mark.parametrize(
    ("decided", "now", "expected"),
    [
        (0.0, 59.9, []),
        (0.0, 60.0, [60.0]),
        (0.0, 185.0, [60.0, 120.0, 180.0]),
        (120.0, 185.0, [180.0]),
        (3600.0, 185.0, []),  # the last leader's clock was ahead
    ],
)
def test_instants_are_due_once_up_to_now(decided: float, now: float, expected: list[float]) -> None:
    assert [each.instant for each in jobs.due([_schedule()], {"s0": decided}, now)] == expected


def test_instants_of_several_schedules_come_in_order_and_some_at_a_time() -> None:
    schedules = a_job("a", {}, {"cron": "*/2 * * * *"}, {"enabled": False}).schedules
    found = jobs.due(schedules, {"s0": 0.0, "s1": 0.0, "s2": 0.0}, 600.0, most=3)
    assert [(each.schedule.id, each.instant) for each in found] == [
        ("s0", 60.0), ("s0", 120.0), ("s1", 120.0), ("s0", 180.0), ("s1", 240.0), ("s1", 360.0),
    ]  # fmt: skip
    assert jobs.next_instant(schedules, {"s0": 600.0, "s1": 0.0, "s2": 0.0}) == 120.0
    assert jobs.next_instant(schedules[2:], {"s2": 0.0}) is None


def _run(**fields: Any) -> RunRecord:
    return RunRecord("a", "r", 0.0, 0.0, b"{}", **fields)


@pytest.mark.parametrize(
    ("run", "state", "ran", "now", "expected"),
    [
        ({}, "FINISHED", True, 0, Verdict.SUCCESS),
        ({}, "FAILED", True, 0, Verdict.FAILURE),
        ({}, "LOST", True, 0, Verdict.FAILURE),
        ({}, "KILLED", True, 0, Verdict.FAILURE),
        ({}, "DROPPED", False, 0, Verdict.AGAIN),
        ({"retries": True}, "FAILED", True, 10**9, Verdict.AGAIN),
        ({"retries": True, "retry_until": 100.0}, "FAILED", True, 99.9, Verdict.AGAIN),
        ({"retries": True, "retry_until": 100.0}, "FAILED", True, 100.0, Verdict.FAILURE),
        ({"retries": True, "retry_until": 100.0}, "DROPPED", False, 200.0, Verdict.AGAIN),
        ({"retries": True, "stopping": True}, "KILLED", True, 0, Verdict.FAILURE),
        ({"stopping": True}, "DROPPED", False, 0, Verdict.FAILURE),
        ({"stopping": True}, "FINISHED", True, 0, Verdict.SUCCESS),
    ],
)
def test_what_the_end_of_a_task_means(run: dict[str, Any], state: str, ran: bool, now: float, expected: Verdict) -> None:
    assert jobs.verdict(_run(**run), a_status("t", state), ran, now) is expected


@pytest.mark.parametrize(
    ("state", "reason", "unanswered", "expected"),
    [
        ("FAILED", "", True, True),
        ("DROPPED", "REASON_INVALID_OFFERS", True, False),
        ("GONE", RECONCILIATION, True, False),
        ("GONE", RECONCILIATION, False, True),
        ("GONE", "REASON_SLAVE_REMOVED", True, True),
    ],
)
def test_whether_a_task_may_have_run(state: str, reason: str, unanswered: bool, expected: bool) -> None:
    assert jobs.began(a_status("t", state, reason=reason), unanswered) is expected


@pytest.mark.parametrize("code", [0, 1, 3, 137, 255])
def test_the_exit_code_is_what_an_executor_says(code: int) -> None:
    said = endings.death("t", "docker", code, False, "exit code 7")
    assert jobs.exit_code(a_status("t", "FAILED", message=said.message)) == code


def test_no_exit_code_is_made_up() -> None:
    assert jobs.exit_code(a_status("t", "FAILED", message="the container is gone; exit code 5")) is None


def test_a_run_of_an_instant_has_its_name() -> None:
    assert jobs.run_id(1_767_225_600.0) == "20260101T000000Z"
    assert jobs.run_id(1_767_225_600.4, "ab12") == "20260101T000000Z-ab12"


def test_a_runs_path_is_told_from_an_apps() -> None:
    for path in (f"/shop/backup/{jobs.run_id(0)}", f"/backup/{jobs.run_id(0, 'i1-2')}"):
        assert jobs.is_run(path), path
    for path in ("/shop/backup", "/", "", "/19700101T000000Z", "/shop/19700101t000000z", f"/shop/{jobs.run_id(0)}/more"):
        assert not jobs.is_run(path), path
