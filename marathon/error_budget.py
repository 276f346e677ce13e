"""The field ``eratos.errorBudget`` of an app: which share of its requests has to succeed, over which time.

Terms are those of site reliability engineering: an objective (SLO) of 99.9 % over an hour leaves an error budget of 0.1 % of
the requests of that hour.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field, field_validator

from .app_parts import Part

#: An objective is stated to so many decimals, as the labels of a canary's gates are.
DECIMALS: Final = 3
OBJECTIVE_MIN: Final = 50.0
OBJECTIVE_MAX: Final = 99.999
WINDOW_S_MIN: Final = 300
WINDOW_S_MAX: Final = 30 * 86_400
MIN_REQUESTS_MAX: Final = 1_000_000

_UNITS_S: Final = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60))
_WINDOW: Final = re.compile("".join(f"(?:([0-9]{{1,6}}){unit})?" for unit, _ in _UNITS_S))


def seconds(text: str) -> int | None:
    """Return how long a duration of Prometheus' form is, such as ``1h30m``, in whole minutes at least; None: it is none."""
    found = _WINDOW.fullmatch(text)
    if not text or found is None:
        return None
    return sum(int(count or 0) * unit_s for count, (_, unit_s) in zip(found.groups(), _UNITS_S, strict=True))


class ErrorBudget(Part):
    """How many of an app's requests may fail within a rolling window before nothing that is planned disturbs it."""

    objective: float  #: percent of its requests that have to succeed
    window: str
    min_requests: Annotated[int, Field(ge=1, le=MIN_REQUESTS_MAX)] = 50  #: of the window, by which it is judged

    @field_validator("objective")
    @classmethod
    def _leaves_a_budget(cls, objective: float) -> float:
        if 0 < objective <= 1:
            raise ValueError(f"is {objective:g}, and it is in percent: give 99.9 for an objective of 99.9 %")
        if objective == 100:
            raise ValueError("is 100, which leaves no budget: give 99.9 where 1 of 1,000 requests may fail")
        if not OBJECTIVE_MIN <= objective <= OBJECTIVE_MAX:
            raise ValueError(
                f"must be a percentage from {OBJECTIVE_MIN:g} to {OBJECTIVE_MAX:g}, such as 99.9, not {objective:.12g}"
            )
        if round(objective, DECIMALS) != objective:
            raise ValueError(f"is {objective:.12g}: give {DECIMALS} decimals at most, such as 99.95")
        return objective

    @field_validator("window")
    @classmethod
    def _is_a_time(cls, window: str) -> str:
        found = seconds(window)
        if found is None:
            raise ValueError(f"must be a time such as 1h, 12h or 28d, of weeks, days, hours and minutes, not {window[:60]!r}")
        if not WINDOW_S_MIN <= found <= WINDOW_S_MAX:
            raise ValueError(f"is {window}: give 5m at least and 30d at most")
        return window

    @property
    def window_s(self) -> int:
        found = seconds(self.window)
        assert found is not None, "a window that was never checked"
        return found

    @property
    def tolerated(self) -> int:
        """The share of requests that may fail, in thousandths of a percent."""
        return round((100 - self.objective) * 10**DECIMALS)
