"""The verdict: which failures are excused, and when a run has passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from devtool.chaos import journal, trial
from devtool.chaos.journal import Entry, Journal
from devtool.chaos.scenario import Act, Expected, Scenario, Step
from devtool.chaos.strike import Fault, Strike
from devtool.terminal import Problem
from support.chaos import PARTS, SETTINGS, outcome, summary


def failure(at_s: float, target: str, reason: str = "timeout", latency_s: float = 0.1) -> dict[str, Any]:
    return {"at_s": at_s, "target": target, "reason": reason, "latency_s": latency_s}


def struck(at_s: float, over_s: float, excused: str) -> trial.Struck:
    return trial.Struck("balancer-off", "", at_s, frozenset({excused}), 90, over_s, Entry("", "", ()), over_s)


@pytest.mark.parametrize(
    ("one", "is_excused"),
    [
        (failure(25, "balancer1"), True),
        (failure(25, "balancer2"), False),
        (failure(25, "balancer1", "wrong app"), False),
        (failure(19.9, "balancer1", latency_s=0.5), True),
        (failure(19.0, "balancer1", latency_s=0.5), False),
        (failure(32, "balancer1"), True),
        (failure(34, "balancer1"), False),
    ],
)
def test_only_requests_to_a_balancer_that_was_taken_away_are_excused(one: dict[str, Any], is_excused: bool) -> None:
    outcomes = [outcome(0), outcome(18)]
    assert trial.attribute(outcomes, [struck(20, 30, "balancer1")], [one]) == (int(not is_excused), int(is_excused))
    assert (outcomes[1].failed, outcomes[1].excused) == (int(not is_excused), int(is_excused))
    assert outcomes[0].failed == outcomes[0].excused == 0


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ([], 0),
        ([(11, False), (12, False)], 0),
        ([(11, True), (12, True), (14, False), (15, False)], 4),
        ([(11, False), (12, True), (13, False), (14, True), (16, False)], 6),
        ([(11, True), (12, True)], 2),
    ],
)
def test_full_strength_is_reached_after_the_last_look_that_found_something_amiss(looks: Any, seconds: float) -> None:
    assert trial.strength_s(looks, 10) == seconds


def test_a_run_passes_when_nothing_is_broken_and_enough_is_answered() -> None:
    plan = Scenario("s", (Step((Act("balancer-off"),)),))
    good = trial.result(plan, [outcome(0)], [], summary(), [])
    assert trial.passed(good, 1.0) and good["answered"] == 1 and good["slowest_recovery_s"] == 2
    lost = trial.result(plan, [outcome(0)], [], summary(failures=[failure(1, "balancer1")]), [])
    assert lost["answered"] == 0.999 and trial.passed(lost, 0.999) and not trial.passed(lost, 0.9999)
    assert not trial.passed(trial.result(plan, [outcome(0, broken=["(a) x"])], [], summary(), []), 0.0)
    assert not trial.passed(trial.result(plan, [outcome(0)], [], summary(wrong_app=1), []), 0.0)
    assert not trial.passed(trial.result(plan, [], [], summary(requests=0), []), 0.0)


def test_failures_beyond_those_that_are_told_are_not_excused() -> None:
    found = summary(failures=[failure(25, "balancer1")])
    found["failed"] = 11
    told = trial.result(Scenario("s", ()), [outcome(18)], [struck(20, 30, "balancer1")], found, [])
    assert (told["failed"], told["excused"]) == (10, 1)


def test_what_a_step_expects_is_held_against_it() -> None:
    lost = summary(failures=[failure(1, "balancer1")])
    told = trial.result(Scenario("s", ()), [outcome(0, expected=Expected(failed=0))], [], lost, [])
    assert told["invariants_broken"] == 1 and told["broken"][0].startswith("(e)")
    told = trial.result(Scenario("s", ()), [outcome(0, expected=Expected(failed=1))], [], lost, [])
    assert told["invariants_broken"] == 0


def test_a_planned_change_may_cost_nothing_unless_something_breaks_meanwhile() -> None:
    lost = summary(failures=[failure(1, "balancer1")])
    planned, both = outcome(0), outcome(0)
    planned.faults, both.faults = ["app-replaced"], ["app-replaced", "host-off"]
    assert trial.result(Scenario("s", ()), [planned], [], lost, [])["invariants_broken"] == 1
    assert trial.result(Scenario("s", ()), [both], [], lost, [])["invariants_broken"] == 0


def test_a_planned_change_may_not_rely_on_balancers_that_try_again() -> None:
    planned = outcome(0)
    planned.faults, planned.retried = ["app-replaced"], 2
    told = trial.result(Scenario("s", ()), [planned], [], summary(), [])
    assert told["invariants_broken"] == 1 and "2 requests met an instance that had gone" in told["broken"][0]


def test_of_faults_that_overlap_one_that_cannot_be_done_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    run = trial.Trial(SETTINGS, Journal(tmp_path / "journal"), Scenario("s", ()), 1.0, said.append)
    monkeypatch.setattr(trial.parts, "look", lambda settings, app_id: PARTS)
    monkeypatch.setattr(journal, "run", lambda *words, **more: "20.10")

    def do(fault: Fault, strike: Strike) -> None:
        if fault.name == "disk-full":
            raise Problem("there is no such container", "")

    monkeypatch.setattr(trial.striking, "do", do)
    with pytest.raises(Problem):
        run._strike_if_possible(Act("disk-full", "agent1"))
    run._make_good()
    run._strike_if_possible(Act("host-off", "agent1"))
    run._strike_if_possible(Act("disk-full", "agent1"))
    assert "disk-full is left out: there is no such container" in said[-1]
    assert [one.fault for one in run._struck if one.over_s is None] == ["host-off"]
