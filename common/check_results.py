"""How the health checks of a task went, on the way from its executor to the scheduler: as text in a label of a status update."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass

#: Longest part of a reason that travels.
CAUSE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one health check was answered until an update was made. Times are seconds before that; None: never.

    The executor's clock counts from its host's start, so it knows how long ago something was, and not when.
    """

    failures: int  #: in a row, those that count
    first_success_s: float | None = None
    last_success_s: float | None = None
    last_failure_s: float | None = None
    cause: str = ""  #: of the last failure

    @property
    def alive(self) -> bool:
        return self.first_success_s is not None and not self.failures


def to_text(results: Iterable[CheckResult]) -> str:
    return json.dumps([astuple(result) for result in results], separators=(",", ":"))


def from_text(text: str) -> tuple[CheckResult, ...]:
    """Read what :func:`to_text` returned; nothing where it is something else, which an executor of another version may say."""
    try:
        return tuple(_read(*values) for values in json.loads(text))
    except (TypeError, ValueError):
        return ()


def _read(failures: object, first: object, last: object, failure: object, cause: object) -> CheckResult:
    times = (first, last, failure)
    if not isinstance(failures, int) or not isinstance(cause, str) or not all(isinstance(t, float | int | None) for t in times):
        raise TypeError("no result of a check")
    return CheckResult(failures, *times, cause)  # type: ignore[arg-type]
