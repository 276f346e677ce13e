"""docs/executor-rules.md against the tests: a rule whose test is gone is a rule that nobody keeps."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "executor-rules.md").read_text()


def test_every_test_that_the_table_names_exists() -> None:
    sources = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}
    assert set(re.findall(r"`(test_\w+)`", TABLE)) <= there, set(re.findall(r"`(test_\w+)`", TABLE)) - there


def test_every_rule_has_a_place_and_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|(.+)\|$", TABLE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(57, 77))
    assert all("`test_" in row.split("|")[-1] for _, row in rows)


def test_every_file_that_the_table_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", TABLE))
    missing = {name for name in named if not ((ROOT / name).exists() or (ROOT / "executor" / name).exists())}
    assert not missing
