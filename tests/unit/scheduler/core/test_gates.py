"""How a gate of a canary is judged by what balancers count: the tables of its formulas."""

from __future__ import annotations

import pytest

from eratos.marathon.labels import Demands
from eratos.scheduler.core.gates import Counted, ServerFigures, Verdict, judge

PASSES, FAILS, WAITS = Verdict.PASSES, Verdict.FAILS, Verdict.WAITS


def figures(requests: int, failed: int = 0, answer_ms: int = 0, server: str = "new", balancer: str = "b1") -> ServerFigures:
    return ServerFigures(balancer, server, requests, failed, answer_ms)


def looks(*rows: list[ServerFigures], missing: str = "") -> Counted:
    counted = Counted()
    for row in rows:
        counted.add(row, {"new", "new-2"}, missing)
    return counted


@pytest.mark.parametrize(
    ("rows", "requests", "failed", "answer_ms"),
    [
        ([], 0, 0, 0),
        ([[figures(100, 5, 30)]], 0, 0, 0),  # before the app came to the gate
        ([[figures(100, 5, 30)], [figures(110, 6, 30)]], 10, 1, 30),
        ([[figures(0)], [figures(10, 0, 20)], [figures(40, 3, 60)]], 40, 3, (10 * 20 + 30 * 60) / 40),
        ([[figures(0)], [figures(10)], [figures(4, 1)]], 14, 1, 0),  # another process counts, from 0
        ([[figures(10, 5)], [figures(10, 2)]], 10, 2, 0),  # so it does where only failures are fewer
        ([[figures(0), figures(0, balancer="b2")], [figures(3), figures(4, balancer="b2")]], 7, 0, 0),
        ([[figures(0), figures(0, server="new-2")], [figures(3, 1, 10), figures(1, 0, 50, "new-2")]], 4, 1, 20),
        ([[figures(0, server="old")], [figures(9, 9, 9, server="old")]], 0, 0, 0),
        ([[figures(0, server="old"), figures(0)], [figures(9, server="old"), figures(3)]], 3, 0, 0),
        ([[figures(5)], [], [figures(9)]], 4, 0, 0),  # a balancer that said nothing once
    ],
)
def test_what_comes_between_two_looks_counts(
    rows: list[list[ServerFigures]], requests: int, failed: int, answer_ms: float
) -> None:
    counted = looks(*rows)
    assert (counted.requests, counted.failed, counted.answer_ms) == (requests, failed, answer_ms)


def test_what_is_missing_is_as_of_the_last_look() -> None:
    assert (Counted().missing, Counted().overdue) == ("no balancer was asked yet", False)
    counted = looks([], missing="b1 says nothing")
    assert counted.missing == "b1 says nothing"
    counted.add([], (), "")
    assert counted.missing == ""


@pytest.mark.parametrize(
    ("requests", "failed", "answer_ms", "missing", "held", "verdict"),
    [
        (100, 1, 250, "", True, PASSES),  # each at its limit
        (100, 1, 250, "", False, WAITS),
        (1000, 11, 0, "", False, FAILS),  # at once
        (1000, 11, 0, "b2 says nothing", True, FAILS),  # what is known is too much already
        (1000, 10, 0, "b2 says nothing", True, WAITS),
        (99, 99, 0, "", True, WAITS),  # too few to say anything
        (0, 0, 0, "", True, WAITS),
        (100, 0, 251, "", False, WAITS),  # the first answers take longer
        (100, 0, 251, "", True, FAILS),
        (100, 0, 251, "b2 says nothing", True, WAITS),
        (100, 2, 251, "", True, FAILS),
    ],
)
def test_a_gate_is_judged(requests: int, failed: int, answer_ms: int, missing: str, held: bool, verdict: Verdict) -> None:
    counted = Counted(requests, failed, requests * answer_ms, missing)
    found, reason = judge(Demands(1000, 250, 100), counted, held=held)
    assert found is verdict
    assert bool(reason) == (verdict is FAILS or (verdict is WAITS and (requests < 100 or bool(missing))))


@pytest.mark.parametrize(
    ("demands", "counted", "held", "verdict", "reason"),
    [
        (Demands(0, None, 1), Counted(1, 0, 10**9, ""), True, PASSES, ""),
        (Demands(None, 1, 1), Counted(1, 1, 1, ""), True, PASSES, ""),
        (Demands(100_000, None, 1), Counted(5, 5, 0, ""), True, PASSES, ""),
        (
            *(Demands(500, None, 100), Counted(120, 7, 0, ""), False, FAILS),
            "failed 7 of 120 requests (5.83%) at the balancers: ERATOS_CANARY_ERRORS allows 0.5%",
        ),
        (
            *(Demands(None, 250, 100), Counted(120, 0, 120 * 300, ""), True, FAILS),
            "took 300 ms for an answer, the average of 120 requests: ERATOS_CANARY_ANSWER_MS allows 250 ms",
        ),
        (
            *(Demands(None, 250, 100), Counted(20, 0, 0, ""), True, WAITS),
            "they had 20 requests through balancers, of 100 (ERATOS_CANARY_REQUESTS)",
        ),
        (Demands(None, 250, 100), Counted(20, 0, 0, "b1 is away"), True, WAITS, "b1 is away"),
    ],
)
def test_why_a_gate_is_not_passed_is_said(demands: Demands, counted: Counted, held: bool, verdict: Verdict, reason: str) -> None:
    assert judge(demands, counted, held=held) == (verdict, reason)
