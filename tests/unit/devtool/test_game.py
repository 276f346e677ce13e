"""The game: its exercises, and what is said to which answer."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from devtool.chaos import faults, game
from devtool.chaos.game import EXERCISES, Exercise

BY_FAULT = {one.fault: one for one in EXERCISES}
HOST = BY_FAULT["host-off"]


def play(exercise: Exercise, part: str, *lines: str) -> tuple[bool, list[str]]:
    said: list[str] = []
    given: Iterator[str | None] = iter([*lines, None])
    return game.dialogue(exercise, part, lambda: next(given), said.append), said


def test_there_are_twelve_and_each_can_be_played() -> None:
    assert len(EXERCISES) == len(BY_FAULT) == 12
    for one in EXERCISES:
        fault = faults.named(one.fault)
        assert fault.hold_s, f"{one.fault} is over at once: there would be nothing to find"
        assert len(one.hints) == 3 and one.shown_by
        assert not any(one.fault in hint for hint in one.hints), "a hint says the answer"


@pytest.mark.parametrize(
    ("fault", "part", "answer", "found"),
    [
        ("host-off", "agent2", "host-off agent2", True),
        ("host-off", "agent2", "  HOST-OFF   agent2\n", True),
        ("host-off", "agent2", "host-off agent1", False),
        ("host-off", "agent2", "host-off", False),
        ("host-off", "agent2", "balancer-off agent2", False),
        ("host-off", "agent2", "agent2", False),
        ("zookeeper-off", "zookeeper", "zookeeper-off", True),
        ("master-off", "master1", "master-off", True),  # the one that leads
        ("scheduler-frozen", "scheduler2", "scheduler-frozen", True),
        ("consul-leader-off", "consul3", "consul-leader-off", True),
        ("worker-slow", "prime.instance-1._app.1", "worker-slow", True),  # nobody types such a name
    ],
)
def test_an_answer_names_the_fault_and_where_that_is_open_the_part(fault: str, part: str, answer: str, found: bool) -> None:
    assert play(BY_FAULT[fault], part, answer)[0] is found


def test_wrong_answers_say_how_they_are_wrong_and_do_not_end_it() -> None:
    found, said = play(HOST, "agent2", "fire", "balancer-off", "host-off agent3", "", "host-off agent2")
    assert found and len(said) == 4
    assert "list names them" in said[0] and "not balancer-off" in said[1] and "of which part" in said[2] and said[3] == "Yes."


def test_hints_come_one_after_another() -> None:
    found, said = play(HOST, "agent2", *["hint"] * 4)
    assert not found and tuple(said[:3]) == HOST.hints and "no further hint" in said[3]


@pytest.mark.parametrize("line", ["give up", "quit", "Give Up\n"])
def test_giving_up_ends_it(line: str) -> None:
    assert play(HOST, "agent2", line, "host-off agent2") == (False, [])


def test_the_list_has_all() -> None:
    _, said = play(HOST, "agent2", "list")
    assert [line.split()[0] for line in said] == [one.fault for one in EXERCISES]


def test_the_end_of_the_input_and_of_the_time_end_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    empty = tmp_path / "empty"
    empty.write_text("")
    with empty.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        monkeypatch.setattr("select.select", lambda *_: ([file], [], []))
        assert game._line(5.0) is None
        monkeypatch.setattr("select.select", lambda *_: ([], [], []))
        monkeypatch.setattr("sys.stdout", io.StringIO())
        assert game._line(5.0) is None
