"""A log that is followed over elections: no line is lost or shown twice, or it is said that some are missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eratos.cli.followed import follow
from eratos.marathon.client import Refused, Unreachable


class Log:
    """A log whose positions are the numbers of its lines, and whose connections break after so many lines each."""

    def __init__(self, *breaks: int, positioned: bool = True) -> None:
        self.lines = [b"line %d" % number for number in range(10)]
        self.breaks = list(breaks)
        self.kept_from = 0  #: older lines are gone
        self.positioned = positioned
        self.refusals: list[Exception] = []
        self.said: list[str] = []
        self.waits: list[float] = []

    def open(self, position: str, begun: bool) -> tuple[Iterator[bytes], bool]:
        if self.waits and self.refusals:
            raise self.refusals.pop(0)
        begin = max(int(position), self.kept_from) if position else len(self.lines) if begun else 0
        return self._pieces(begin, self.breaks.pop(0) if self.breaks else None), self.positioned

    def _pieces(self, begin: int, most: int | None) -> Iterator[bytes]:
        text = b"".join((b"%d " % n if self.positioned else b"") + self.lines[n] + b"\n" for n in range(begin, len(self.lines)))
        end = len(text) if most is None else most
        for at in range(0, end, 5):
            yield text[at : min(at + 5, end)]
        if most is not None:
            raise Unreachable("the log was cut short")

    def follow(self) -> list[bytes]:
        return b"".join(follow(self.open("", False), self.open, self.said.append, self.waits.append)).splitlines()


@pytest.mark.parametrize("cut", range(0, 100, 3))
def test_wherever_it_is_cut_each_line_comes_once(cut: int) -> None:
    log = Log(cut, cut)
    assert log.follow() == log.lines
    assert log.said == ["the log was cut short; trying again"] * 2


def test_whoever_is_away_is_said_once_and_asked_until_somebody_answers() -> None:
    log = Log(30)
    log.refusals = [Unreachable("no leader")] * 3 + [Unreachable("away")]
    assert log.follow() == log.lines
    assert log.said == [f"{what}; trying again" for what in ("the log was cut short", "no leader", "away")]
    assert log.waits == [1.0] * 5


def test_what_was_thrown_away_meanwhile_is_said_to_be_missing() -> None:
    log = Log(30)
    log.kept_from = 7
    assert log.follow() == log.lines[:3] + log.lines[7:]
    assert log.said[1:] == ["lines are missing here: the log is kept no further back"]


def test_an_executor_of_an_earlier_version_loses_what_was_written_meanwhile_and_says_so() -> None:
    log = Log(30, positioned=False)
    assert log.follow()[:3] == log.lines[:3]
    assert log.said[1:] == ["what was written meanwhile is missing here: its executor is of an earlier version"]
    fresh = Log(0, positioned=False)
    assert fresh.follow() == fresh.lines and len(fresh.said) == 1


def test_a_task_that_ended_meanwhile_ends_the_log_and_a_token_that_expired_is_refused() -> None:
    log = Log(30)
    log.refusals = [Refused(410, "the log is gone")]
    assert log.follow() == log.lines[:3]
    assert log.said[1:] == ["the end of it may be missing here: the log is gone"]
    log = Log(30)
    log.refusals = [Refused(401, "who are you?")]
    with pytest.raises(Refused, match="who are you"):
        log.follow()
