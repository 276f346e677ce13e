"""Cron expressions in a time zone: which instants they name. Pure, but for the time zones' rules, which are read once.

The five fields of cron, with names, steps, ``L`` and ``#``, as the library cronsim reads them. Around a change of the clocks
they mean what Debian's cron makes of them: what has a fixed hour runs once, at the next moment there is where that hour was left
out; what has ``*`` in its hour or minute runs by the time that really goes by.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

#: Longer ones name no other instants than shorter ones do.
CHARACTERS_MAX: Final = 256
_FIELDS: Final = 5
#: Files beside the time zones' own, which mean something else on every machine.
_OF_THE_MACHINE: Final = frozenset({"localtime", "posixrules"})


class Cron:
    """An expression in a zone."""

    def __init__(self, expression: str, zone: str) -> None:
        """Raises ValueError with the reason where nothing can be made of one of the two, or no instant ever comes."""
        self._expression, self._zone = expression, time_zone(zone)
        if len(expression) > CHARACTERS_MAX:
            raise ValueError(f"has {len(expression)} characters: {CHARACTERS_MAX} are the most")
        if (count := len(expression.split())) != _FIELDS:
            raise ValueError(f"has {count} fields: write minute, hour, day of month, month and day of week, such as 0 3 * * *")
        try:
            never = next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)), None) is None
        except (CronSimError, AssertionError, ValueError) as error:
            never = "day-of-month" in str(error) and _never(expression)
            if not never:
                raise ValueError(f"'{expression}' is no cron expression: {str(error).lower() or 'bad field'}") from None
        if never:
            raise ValueError(f"'{expression}' names a day that never comes: correct day of month or month")

    def after(self, instant: float) -> float | None:
        """Return the first instant after another one, in seconds since the epoch; None: none comes for 50 years."""
        return next(self.instants(instant), None)

    def instants(self, after: float) -> Iterator[float]:
        """Yield the instants after another one, each once, in order."""
        last = after
        for moment in CronSim(self._expression, datetime.fromtimestamp(after, self._zone)):
            at = moment.timestamp()
            # An hour that the clocks leave out is one instant, and one that they repeat comes with its first time.
            if at > last:
                last = at
                yield at


def _never(expression: str) -> bool:
    """Tell whether an expression whose day of month is refused would be read with a day that every month has."""
    fields = expression.split()
    if not fields[2].isascii():
        return False  # Python takes other digits for numbers, too
    days = [day for day in fields[2].replace("-", ",").split(",") if day.isdigit()]
    if not days or not all(1 <= int(day) <= 31 for day in days):
        return False
    try:
        CronSim(" ".join([*fields[:2], "1", *fields[3:]]), datetime(2024, 1, 1, tzinfo=UTC))
    except (CronSimError, AssertionError, ValueError):
        return False
    return True


@functools.cache
def _loaded(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def time_zone(name: str) -> ZoneInfo:
    """Return a zone by its name in the tz database. Raises ValueError."""
    try:
        if name in _OF_THE_MACHINE or len(name) > CHARACTERS_MAX:
            raise KeyError(name)
        return _loaded(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"'{name[:60]}' is no time zone: name one of the tz database, such as Europe/Berlin or UTC") from None
