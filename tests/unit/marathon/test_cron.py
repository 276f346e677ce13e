"""Which instants a cron expression names, above all on the days on which clocks change."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import islice, takewhile

import pytest

from eratos.marathon.cron import Cron


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _texts(cron: Cron, after: str, count: int) -> list[str]:
    return [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M}" for at in islice(cron.instants(_at(after)), count)]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("* * * * *", "UTC", "2026-01-01T00:00", ["2026-01-01T00:01", "2026-01-01T00:02"]),
        ("0 3 * * *", "Europe/Berlin", "2026-01-01T00:00", ["2026-01-01T02:00", "2026-01-02T02:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 12 * * MON#1", "UTC", "2026-01-01T00:00", ["2026-01-05T12:00", "2026-02-02T12:00"]),
        ("0 0 L * *", "UTC", "2026-01-01T00:00", ["2026-01-31T00:00", "2026-02-28T00:00"]),
        # The clocks go from 2 to 3: what is at half past two runs when there is a time again, and once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T02:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-28T02:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        # They go from 3 to 2: it runs the first time only.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T01:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45", ["2026-10-26T01:30"]),
        # What is relative goes on by the time that goes by: each hour, and twice in the hour that comes twice.
        ("0 * * * *", "Europe/Berlin", "2026-03-28T23:30", ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-24T23:45", ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T04:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
        # Half an hour of difference, at half an hour.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
    ],
)
def test_instants(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert _texts(Cron(expression, zone), after, len(expected)) == expected


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("expression", ["*/20 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 */2 * * *", "5 * * * SUN"])
def test_a_leader_that_begins_anywhere_finds_the_same_instants(expression: str, zone: str) -> None:
    dice = random.Random(expression + zone)
    for begin, end in (("2026-03-27T00:00", "2026-04-06T00:00"), ("2026-10-02T00:00", "2026-11-03T00:00")):
        cron = Cron(expression, zone)
        first, last = _at(begin), _at(end)
        whole = list(takewhile(lambda at: at <= last, cron.instants(first)))  # noqa: B023  used at once
        assert whole == sorted(set(whole))
        for _ in range(100):
            somewhere = dice.uniform(first, last - 8 * 86_400)
            assert cron.after(somewhere) == next(at for at in whole if at > somewhere)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
        ("* * * *", "has 4 fields"),
        ("0 * * * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * 32 * *", "bad day-of-month"),
        ("* * \u0663 * *", "bad day-of-month"),
        ("* * \u00b2 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("5-1 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("a b c d e", "bad minute"),
        ("- * * * *", "bad minute"),
        ("* * * * MON#9", "bad day-of-week"),
        ("1," * 200 + "1 * * * *", "characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_reason(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cron(expression, "UTC")


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "localtime", "Europe", "a\0b", "x" * 5000]
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Cron("* * * * *", zone)
