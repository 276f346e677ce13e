"""Follows a task's log over elections and cut connections: it goes on behind the last line that came, or says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from eratos.marathon.client import Refused, Unreachable

#: Before a log is opened again.
AGAIN_S: Final = 1.0

#: Opens a log from a position on, without one with its last lines or, where some were shown already, with what comes from now on.
#: Returns its pieces, and whether lines come after their positions.
Open = Callable[[str, bool], tuple[Iterator[bytes], bool]]


def follow(
    first: tuple[Iterator[bytes], bool], again: Open, say: Callable[[str], object], sleep: Callable[[float], object]
) -> Iterator[bytes]:
    """Yield what a log holds until its task has ended; ``first`` is the log as it was opened, ``again`` opens it anew.

    Whoever is away meanwhile is said once, and asked again until somebody answers. Raises Refused where our credentials count
    no more.
    """
    opened: tuple[Iterator[bytes], bool] | None = first
    last, awaited = "", ""  # the position of the last line that was shown, and the one with which it is to go on
    begun = False
    while opened is not None:
        pieces, positioned = opened
        try:
            for position, text in _lines(pieces) if positioned else (("", piece) for piece in pieces):
                shown_already, missing = bool(awaited) and position == awaited, bool(awaited) and position != awaited
                awaited = ""
                if missing:
                    say("lines are missing here: the log is kept no further back")
                last, begun = position, True
                if not shown_already:
                    yield text
            return
        except Unreachable as error:
            opened = _again(partial(again, last, begun), str(error), say, sleep)
        awaited = last if opened is not None and opened[1] else ""
        if begun and opened is not None and not (opened[1] and positioned):
            say("what was written meanwhile is missing here: its executor is of an earlier version")


def _again(
    again: Callable[[], tuple[Iterator[bytes], bool]],
    failure: str,
    say: Callable[[str], object],
    sleep: Callable[[float], object],
) -> tuple[Iterator[bytes], bool] | None:
    """Open a log anew, however long that takes; None: it is gone."""
    complaint = ""
    while True:
        if failure != complaint:
            say(f"{failure}; trying again")
            complaint = failure
        sleep(AGAIN_S)
        try:
            return again()
        except Refused as refused:
            if refused.status == 401:
                raise
            say(f"the end of it may be missing here: {refused}")
            return None
        except Unreachable as error:
            failure = str(error)


def _lines(pieces: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield each line after its position; the last one as it is, where its end was not written."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            position, _, text = line.partition(b" ")
            yield position.decode(errors="replace"), text + b"\n"
    if rest:
        position, _, text = rest.partition(b" ")
        yield position.decode(errors="replace"), text
