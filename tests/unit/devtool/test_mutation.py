"""Which changes ``./dev mutate`` makes of a source, and that a formula without a test is found."""

from __future__ import annotations

import ast

import pytest
from devtool.mutation import TARGETS, listed, mutants
from support.folders import ROOT


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("def f(a):\n    return a < 1", ["return a <= 1", "return a < 2"]),
        ("def f(a, b):\n    return a and not b", ["return a or not b", "return a and (not not b)"]),
        ("def f(a):\n    return min(a) + True", ["return min(a) - True", "return max(a) + True", "return min(a) + False"]),
        ("def f(a):\n    while a:\n        break", ["continue"]),
        ("def f(a, b):\n    return a in b is None", ["return a not in b is None", "return a in b is not None"]),
        ("LIMIT = 7\nOTHER: int = 8", []),  # choices
        ("@d(slots=True)\ndef f(a: 'x' = 'y') -> 'z':\n    '''Text.'''\n    assert a > 1\n    return f'{a + 1}'", []),
    ],
)
def test_what_is_changed(source: str, changed: list[str]) -> None:
    found = [ast.unparse(mutant.tree).splitlines() for mutant in mutants(source)]
    before = ast.unparse(ast.parse(source)).splitlines()
    assert [next(line.strip() for line in lines if line not in before) for lines in found] == changed


def test_each_target_has_its_table() -> None:
    for target in TARGETS:
        package, _, name = target.rpartition("/")
        assert (ROOT / f"{target}.py").is_file() and (ROOT / "tests" / "unit" / package / f"test_{name}.py").is_file(), target


def test_every_survivor_on_the_list_has_a_reason_and_is_still_there() -> None:
    for identity, reason in listed((ROOT / "tests" / "survivors.txt").read_text()).items():
        module, _, rest = identity.partition(": ")
        line, _, _ = rest.rpartition(": ")
        assert reason, f"{identity}: say below it why no test can notice"
        assert line in map(str.strip, (ROOT / f"{module}.py").read_text().splitlines()), f"{identity}: the line has gone"
