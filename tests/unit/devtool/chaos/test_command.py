"""``./dev chaos``: what may be asked for, what is undone before, and what is said at the end."""

from __future__ import annotations

import argparse
import json

import pytest
from devtool import health
from devtool.alone import alone
from devtool.chaos import command, faults, ground, scenario, trial
from devtool.chaos.scenario import Scenario
from devtool.settings import Settings
from devtool.terminal import Problem
from support.chaos import PARTS, SETTINGS, outcome, summary


@pytest.mark.parametrize(
    ("fault", "part", "good"),
    [
        ("host-off", "agent2", True),
        ("host-off", "agent9", False),
        ("host-off", "balancer1", False),
        ("master-off", "master1", True),  # which does not lead now
        ("master-off", "scheduler1", False),
        ("cut", "agent1:master1", True),
        ("cut", "agent1:nobody", False),
        ("worker-killed", "chaos.instance-3._app.1", True),
    ],
)
def test_a_part_that_makes_no_sense_is_refused_before_anything_is_touched(fault: str, part: str, good: bool) -> None:
    chosen = scenario.single(fault, part, None, 1)
    if good:
        command.check_parts(PARTS, chosen)
    else:
        with pytest.raises(Problem):
            command.check_parts(PARTS, chosen)


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["earthquake"], "neither a fault nor a file"),
        (["random", "--count", "0"], "--count"),
        (["random", "--only", "earthquake"], "no fault earthquake"),
        (["random", "--only", "host-off", "--without", "host-off"], "no fault is left"),
        (["random", "--part", "agent1"], "--part"),
        (["worker-killed", "--hold", "5s"], "--hold"),
        (["host-off", "--hold", "long"], "--hold"),
        (["host-off", "--only", "cut"], "--only"),
        (["host-off", "--rate", "0"], "--rate"),
        (["host-off", "--answered", "2"], "--answered"),
        (["host-off", "--duration", "-1"], "--duration"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_touched(no_engine: None, words: list[str], message: str) -> None:
    with pytest.raises(Problem, match=message):
        command.run(SETTINGS, options(*words))


def test_a_second_run_at_the_same_time_is_refused(no_engine: None) -> None:
    with alone(SETTINGS), pytest.raises(Problem, match="is changing the cluster"):
        command.run(SETTINGS, options("host-off"))


def test_what_an_interrupted_run_left_is_undone_first(
    no_engine: None, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    command.journal_of(SETTINGS).begin("agent1 is off", [("docker", "start", "id-agent1")])
    order: list[str] = []
    monkeypatch.setattr(health, "await_infrastructure", lambda *words: order.append("waited"))

    def require(_settings: Settings) -> None:
        assert ("docker", "start", "id-agent1") in ran
        order.append("required")
        raise Problem("the cluster is down", "./dev up")

    monkeypatch.setattr(ground, "require", require)
    with pytest.raises(Problem, match="is down"):
        command.run(SETTINGS, options("host-off", "--json"))
    assert order == ["waited", "required"]
    assert "restored, after a run that was interrupted: agent1 is off" in capsys.readouterr().err


def test_json_is_one_object(no_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = trial.result(Scenario("s", ()), [], [], summary(), [])
    monkeypatch.setattr(command, "perform", lambda *words, **more: found)
    assert command.run(SETTINGS, options("host-off", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_restore_alone_breaks_nothing(no_engine: None, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, ...]]) -> None:
    command.journal_of(SETTINGS).begin("agent1 is off", [("docker", "start", "id-agent1")])
    monkeypatch.setattr(command, "perform", lambda *words, **more: pytest.fail("something was broken"))
    assert command.run(SETTINGS, options("restore")) == 0
    assert ("docker", "start", "id-agent1") in ran


def test_the_exit_code_is_the_verdict(
    no_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = trial.result(Scenario("s", ()), [outcome(0, broken=["(a) /chaos runs 9 instances"])], [], summary(), [])
    monkeypatch.setattr(command, "perform", lambda *words, **more: found)
    assert command.run(SETTINGS, options("host-off")) == 1
    assert "(a) /chaos runs 9 instances" in capsys.readouterr().out


def test_the_list_tells_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(SETTINGS, options()) == 0
    shown = capsys.readouterr().out
    assert all(fault.name in shown and fault.text in shown for fault in faults.ALL)
