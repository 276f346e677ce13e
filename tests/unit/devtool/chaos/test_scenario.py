"""Scenarios: by chance, from files, and which are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from devtool.chaos import faults, scenario
from devtool.chaos.scenario import Act, Expected, Step
from devtool.terminal import Problem
from support.folders import ROOT


def test_chance_is_the_same_for_a_seed_and_leaves_nothing_out() -> None:
    chosen = scenario.selection([], ["host-off"])
    one, same, other = (scenario.by_chance(seed, 60, chosen) for seed in (1, 1, 2))
    assert one.steps == same.steps != other.steps
    drawn = [step.acts[0].fault for step in one.steps]
    assert set(drawn[: len(chosen)]) == set(chosen) == set(faults.BY_NAME) - {"host-off", "link-cut", "link-narrow"}
    assert scenario.selection(["link-cut"], []) == ["link-cut"], "what most clusters have not is for those who name it"


def test_chance_has_faults_overlap_too() -> None:
    chosen = scenario.selection([], [])
    one, same = (scenario.by_chance(3, 20, chosen, 2) for _ in range(2))
    assert one.steps == same.steps and len(one.steps) == 20
    for step in one.steps:
        first, second = step.acts
        assert first.after_s == 0 and 0 <= second.after_s <= scenario.WITHIN_S
    assert {act.fault for step in one.steps for act in step.acts} == set(chosen)


def test_a_file_has_steps_overlaps_and_expectations() -> None:
    document = {
        "name": "two at once",
        "seed": 7,
        "rate": 20,
        "steps": [
            {"pause": "2s"},
            {"fault": "worker-killed", "expect": {"failed": 0}},
            {
                "together": [{"fault": "scheduler-frozen", "hold": 20}, {"fault": "host-off", "part": "agent2", "after": "5s"}],
                "expect": {"recovery": "2m"},
            },
        ],
    }
    found = scenario.parse(document, "x.yaml")
    assert (found.name, found.seed, found.rate) == ("two at once", 7, 20)
    assert found.steps[0] == Step((), pause_s=2)
    assert found.steps[1] == Step((Act("worker-killed"),), Expected(None, 0))
    acts = (Act("scheduler-frozen", "", 20.0), Act("host-off", "agent2", None, 5.0))
    assert found.steps[2] == Step(acts, Expected(120.0, None))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no mapping"),
        ([], "no mapping"),
        ({}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": [3]}, "step 1 is no mapping"),
        ({"steps": [{"fault": "earthquake"}]}, "step 1: there is no fault earthquake"),
        ({"steps": [{"fault": "host-off"}, {"falt": "host-off"}]}, "step 2: falt is unknown"),
        ({"steps": [{}]}, "neither"),
        ({"steps": [{"expect": {}}]}, "neither"),
        ({"steps": [{"together": []}]}, "together"),
        ({"steps": [{"together": [{"part": "agent1"}]}]}, "fault is missing"),
        ({"steps": [{"together": [{"fault": "host-off"}], "part": "agent1"}]}, "beside"),
        ({"steps": [{"fault": "host-off", "hold": "long"}]}, "hold"),
        ({"steps": [{"fault": "worker-killed", "hold": "5s"}]}, "over at once"),
        ({"steps": [{"fault": "host-off", "expect": {"speed": 1}}]}, "speed is unknown"),
        ({"steps": [{"fault": "host-off", "expect": {"failed": -1}}]}, "failed"),
        ({"steps": [{"fault": "host-off", "expect": {"failed": True}}]}, "failed"),
        ({"steps": [{"fault": "host-off"}], "rate": 0}, "rate"),
        ({"steps": [{"fault": "host-off"}], "seed": "x"}, "seed"),
        ({"steps": [{"fault": "host-off"}], "rounds": 3}, "rounds is unknown"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(document: Any, words: str) -> None:
    with pytest.raises(Problem, match=words):
        scenario.parse(document, "x.yaml")


def test_files_are_yaml(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("steps:\n  - fault: worker-killed   # a comment\n")
    assert scenario.read(path, Path(sys.executable)).steps == (Step((Act("worker-killed"),)),)
    path.write_text("steps: [")
    with pytest.raises(Problem, match=r"no YAML: while parsing .*expected the node content.* line 1"):
        scenario.read(path, Path(sys.executable))
    with pytest.raises(Problem, match="neither a fault nor a file"):
        scenario.read(tmp_path / "missing", Path(sys.executable))


def test_the_scenarios_that_come_along_make_sense() -> None:
    found = sorted((ROOT / "compose-dev" / "scenarios").glob("*.yaml"))
    assert found
    for path in found:
        assert scenario.read(path, Path(sys.executable)).steps


def test_the_example_of_the_documentation_makes_sense() -> None:
    text = (ROOT / "docs" / "chaos.md").read_text()
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert scenario.parse(yaml.safe_load(example), "docs/chaos.md").steps[0].acts[1].part == "agent2"
