"""Whose left-overs an executor sweeps, by table, and marks as text."""

from __future__ import annotations

import pytest

from eratos.executor.core.host import Host
from eratos.executor.core.ownership import Mark

HOST = Host("fw", "executor", "agent", "host", "h1")


@pytest.mark.parametrize(
    ("framework", "host", "agent", "executor", "alive", "swept"),
    [
        ("fw", "host", "agent", "executor", True, True),  # our own, of before a restart
        ("fw", "host", "agent", "other", False, True),
        ("fw", "host", "agent", "other", True, False),  # a living executor beside this one
        ("fw", "host", "earlier", "other", True, True),  # of an agent that is no more
        ("fw", "host", "earlier", "executor", True, True),
        ("another", "host", "agent", "executor", False, False),
        ("fw", "another", "agent", "executor", False, False),
        ("another", "another", "earlier", "other", False, False),
    ],
)
def test_left_overs_are_swept(framework: str, host: str, agent: str, executor: str, alive: bool, swept: bool) -> None:
    assert Mark(framework, host, agent, executor, "t").swept_by(HOST, lambda _: alive) == swept


@pytest.mark.parametrize("text", ["", "{}", "[]", '["a"]', '["a","b","c","d","e","f"]', "7", '"abcde"', "null"])
def test_what_is_no_mark_is_nobodys(text: str) -> None:
    assert Mark.from_text(text) is None


def test_a_mark_comes_back_out_of_its_text() -> None:
    mark = Mark("fw", 'ho"st', "agent", "é", "task")
    assert Mark.from_text(mark.to_text()) == mark
