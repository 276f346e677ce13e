"""Which of the known names may be meant by another one: what difflib says, for what it costs where nothing is near.

To compare two names in earnest takes 10 µs or more, and a request may hold a hundred thousand that nobody knows.
"""

from __future__ import annotations

import difflib
import functools
import heapq
from collections.abc import Iterable
from typing import Final

#: Of the known names so many are compared in earnest: those that have most pairs of neighbouring letters in common.
_COMPARED = 8
#: Share of pairs in common below which none is. Two letters exchanged in a name of five cost three pairs out of four.
_LIKELY = 0.2


#: Fields in which people write for people: JSON has no comments. Nobody means a field by them.
_FOR_PEOPLE: Final = frozenset({"comment", "comments", "description", "note", "notes"})


def for_people(field: str) -> bool:
    """Return whether a field that nobody knows is a remark, a reference to a schema, or one that was taken out of service."""
    return field.lower() in _FOR_PEOPLE or field.startswith(("$", "_", "#", "//"))


def close(word: str, names: Iterable[str], most: int, least: float) -> list[str]:
    """Return up to ``most`` of some names, the nearest first, that have at least the share ``least`` of letters in common."""
    own = _pairs(word)
    scored = ((2 * len(own & pairs) / (len(own) + len(pairs)), name) for name in names if (pairs := _known_pairs(name)))
    likely = heapq.nlargest(_COMPARED, (found for found in scored if found[0] >= _LIKELY))
    return difflib.get_close_matches(word, [name for _, name in likely], most, least)


def _pairs(name: str) -> frozenset[str]:
    return frozenset(map(str.__add__, name, name[1:]))


_known_pairs = functools.lru_cache(maxsize=2048)(_pairs)
