"""Ids of requests: what one looks like, and when it was made. Pure.

A balancer gives each request an id, a UUID of version 7 (RFC 9562, section 5.7), unless its client brought one that is as plain.
It stands in the logs of the balancer and of the instance, and in the answer.
"""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "X-Request-Id"
#: What a client's own has to look like to be kept. Nothing in it has a meaning in a log, a shell or a page.
PATTERN: Final = "[A-Za-z0-9._-]{8,64}"
#: The same for people.
FORM: Final = "8 to 64 letters, digits, dots, dashes and underscores"

_GOOD = re.compile(PATTERN)
_TIMED = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def good(text: str) -> bool:
    """Return whether a text may be a request's id."""
    return _GOOD.fullmatch(text) is not None


def made_at(request_id: str) -> float | None:
    """Return when an id was made, in seconds since the epoch; None: it does not say."""
    found = _TIMED.fullmatch(request_id)
    return int(found[1] + found[2], 16) / 1000 if found else None
