"""Regular expressions of Consul's filters, which are Go's: read here to see that Consul takes them, and for what that costs.

Go's syntax is RE2's, and so is that its matching takes time linear in the text. But to read an expression may take far longer
than its length says: ``\\P{L}{50}`` is ten characters and fifty sets of hundreds of ranges.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final, NamedTuple

import re2

from . import expressions

#: Characters of an expression: it is held against what Consul takes for a value.
CHARACTERS_MAX: Final = 512
#: Memory that one expression may take in Consul, in bytes.
BYTES_MAX: Final = 1024 * 1024
#: What it takes to find that an expression would be too large, in units of 10 ns as all work here.
READ_TOO_LARGE: Final = 3_000_000
#: What reading the expressions of one definition may take, and of one request: a tenth of a second, and a second.
DEFINITION_MOST: Final = 10_000_000
REQUEST_MOST: Final = 100_000_000
#: Expressions of which is kept how they were read.
KEPT_MAX: Final = 16_384


class Read(NamedTuple):
    """How an expression was read."""

    problem: str  #: empty: it can be used
    work: int  #: that it was, at the most


@functools.lru_cache(maxsize=KEPT_MAX)
def read(text: str) -> Read:
    """Read an expression, once while it is in use."""
    if "`" in text:
        return Read("holds a backtick, between which Consul's filters have their texts: write . or \\x60 for it", 0)
    try:
        steps = int(re2.compile(text, expressions.within(BYTES_MAX)).programsize)
    except re2.error as error:
        return Read(f"is no regular expression that Consul takes: {expressions.said(error)}", READ_TOO_LARGE)
    return Read("", expressions.READ_CHARACTER * len(text) + expressions.READ_STEP * steps)


def readable(texts: Iterable[str], most: int) -> int:
    """Read expressions for as long as ``most`` allows; return how many were read."""
    return expressions.done(texts, lambda text: read(text).work, most)
