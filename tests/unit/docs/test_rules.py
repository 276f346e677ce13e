"""docs/mesos-rules.md and docs/executor-rules.md: every rule has its row, and every test named there exists."""

from __future__ import annotations

import re

import pytest
from support.folders import ROOT

SCHEDULER = (ROOT / "docs" / "mesos-rules.md").read_text()
EXECUTOR = (ROOT / "docs" / "executor-rules.md").read_text()


@pytest.mark.parametrize(("doc", "rules"), [(SCHEDULER, range(1, 57)), (EXECUTOR, range(57, 77))], ids=["scheduler", "executor"])
def test_every_rule_has_its_row(doc: str, rules: range) -> None:
    rows = re.findall(r"^\| (\d+) \|(.+)\|$", doc, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(rules)


@pytest.mark.parametrize("doc", [SCHEDULER, EXECUTOR], ids=["scheduler", "executor"])
def test_every_test_named_for_a_rule_exists(doc: str) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+|\w+\.txt)`", doc)
    scenarios = {path.name for path in (ROOT / "tests" / "scenarios").glob("*.txt")}
    missing = [n for n in named if n not in scenarios and f"def {n}(" not in sources]
    assert not missing


def test_every_module_named_for_an_executors_rule_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)`", EXECUTOR)
    assert not [name for name in named if not ((ROOT / name).exists() or (ROOT / "executor" / name).exists())]
