"""docs/mesos-rules.md names a test for each rule: the numbers are complete, and every test named there exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "mesos-rules.md").read_text()


def test_every_rule_from_1_to_56_has_its_row() -> None:
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", DOC, re.MULTILINE)] == list(range(1, 57))


def test_every_test_named_for_a_rule_exists() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+|\w+\.txt)`", DOC)
    scenarios = {path.name for path in (ROOT / "tests" / "scenarios").glob("*.txt")}
    missing = [n for n in named if n not in scenarios and f"def {n}(" not in sources]
    assert not missing
