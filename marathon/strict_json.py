"""What any document must be before it is looked at: JSON in whole characters, of bounded depth, each key once."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from .errors import InvalidInItself, Problem

#: A tree of groups takes two levels for each group; no definition comes near.
DEPTH_MAX: Final = 64
#: Digits of a number; the longest that a double distinguishes has 17.
DIGITS_MAX: Final = 100


class NoJson(ValueError):
    """Bytes are no JSON document. The text says what is wrong, and where."""


def read(body: bytes) -> Any:
    """Read a document strictly: what readers of JSON take in different ways is refused. Raises NoJson and InvalidApp."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NoJson(f"byte {error.start} is no UTF-8: save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise NoJson("it begins with a byte order mark: save it as UTF-8 without one")
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=integer,
            parse_float=_float,
        )
    except RecursionError:
        raise NoJson(f"it is nested too deeply: {DEPTH_MAX} levels are plenty") from None
    except json.JSONDecodeError as error:
        raise NoJson(str(error)) from None
    check(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NoJson(f"the key {shortened(twice)!r} is there twice in one object: remove one")
    return made


def _no_constant(name: str) -> Any:
    raise NoJson(f"{name} is no number of JSON: write one with digits")


def integer(digits: str) -> int:
    """Read a whole number. Raises NoJson for one that nobody wrote on purpose."""
    if len(digits) > DIGITS_MAX:
        raise NoJson(f"a number has {len(digits)} digits: {DIGITS_MAX} are plenty")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= DIGITS_MAX else math.inf
    if math.isinf(value):
        raise NoJson(f"the number {shortened(digits)} is too large, or too long: write a smaller one")
    return value


def check(data: Any) -> None:
    """Refuse what no JSON document may hold, or none that anybody wrote on purpose. Raises InvalidApp."""
    level, depth = [data], 0
    while level := [item for holder in level if isinstance(holder, dict | list) for item in _items(holder)]:
        depth += 1
        if depth > DEPTH_MAX:
            raise InvalidInItself([Problem("/", f"is nested too deeply: {DEPTH_MAX} levels are plenty")])
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidInItself(
            [Problem("/", f"holds a half character, {error.object[error.start]!r}: write whole ones")]
        ) from error
    except (TypeError, ValueError) as error:
        raise InvalidInItself([Problem("/", f"is no JSON: {error}")]) from error


def _items(holder: Any) -> Any:
    """Return what an object or a list holds. Raises InvalidApp for keys that are no text: no JSON has any, but YAML does."""
    if not isinstance(holder, dict):
        return holder
    for key in holder:
        if not isinstance(key, str):
            reads = ", as YAML reads on, off, yes, no and the like" if isinstance(key, bool) else ""
            raise InvalidInItself([Problem("/", f"has the key {key}, which is no text{reads}: put quotes around it")])
    return holder.values()


def shortened(text: str, most: int = 60) -> str:
    """Return a text that a user sent as a message may quote it."""
    return text if len(text) <= most else text[:most] + "…"
