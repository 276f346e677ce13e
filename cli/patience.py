"""How commands wait: they look again and again, say what is new, and end by what is found, the clock or the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from eratos.common.errors import EratosError, TemporaryError
from eratos.marathon.client import Unreachable

T = TypeVar("T")

POLL_S: Final = 1.0
_SECONDS: Final = re.compile(r"\bin \d+ s\b")


class TookTooLong(TemporaryError):
    """The time given is over; what was waited for goes on all the same."""


class Interrupted(EratosError):
    """The user waits no longer; what was waited for goes on all the same."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, by a clock, whom to report to meanwhile, and how to sleep."""

    deadline: float
    timeout_s: float
    tell: Callable[[str], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    @property
    def over(self) -> bool:
        return self.clock() >= self.deadline


@dataclass(frozen=True)
class Look(Generic[T]):
    """What one look has found: what is waited for, or why it is not there."""

    lines: Mapping[str, str]  #: to report, by what each is about; it is reported again when it changes
    result: T | None = None  #: None: not yet
    late: str = ""  #: who or what is not there yet


def until(look: Callable[[], Look[T]], patience: Patience, wanted: str, again: str) -> T:
    """Look until there is a result, and return it. Looks may raise Unreachable, as a new leader takes over in a moment.

    Raises what else a look raises; TookTooLong, which says what is not ``wanted`` yet, and Interrupted, both with ``again``, the
    way to wait again.
    """
    told: dict[str, str] = {}
    try:
        while True:
            try:
                found = look()
            except Unreachable as error:
                line = _away("say", error)
                found = Look({"": line}, late=line)
            for key, line in found.lines.items():
                if told.get(key) != (lasting := _without_seconds(line)):
                    told[key] = lasting
                    patience.tell(line)
            if found.result is not None:
                return found.result
            if patience.over:
                raise TookTooLong(f"not {wanted} after {patience.timeout_s:g} s: {found.late}; {again}")
            patience.sleep(POLL_S)
    except KeyboardInterrupt:
        raise Interrupted(f"waiting no longer; {again}") from None


def until_taken(change: Callable[[], T], patience: Patience | None) -> T:
    """Make a change; while nobody answers or leads, make it again, but only if it certainly was not made.

    Raises Unreachable where it may have been made, and once the patience is over, at once without one. Raises Refused.
    """
    told = False
    while True:
        try:
            return change()
        except Unreachable as error:
            if patience is None or error.perhaps_made or patience.over:
                raise
            if not told:
                patience.tell(_away("do", error))
                told = True
            patience.sleep(POLL_S)


def _away(what: str, error: Unreachable) -> str:
    return f"no scheduler can {what} it just now, as in an election; still waiting: {error}"


def _without_seconds(line: str) -> str:
    """Return what lasts of a line: "next launch in 58 s" is no news after "in 59 s"."""
    return _SECONDS.sub("", line)
