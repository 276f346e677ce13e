"""Labels that eratos acts on: Consul tags, a fleet's behaviour, and routing (:mod:`.routing`).

A label of these families that eratos does not know is refused, never ignored.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from . import routing
from .errors import Problem

if TYPE_CHECKING:
    from .app import AppPort

CONSUL_TAGS: Final = "CONSUL_TAGS"
SINGLE_INSTANCE: Final = "MARATHON_SINGLE_INSTANCE_APP"
DRAIN_SECONDS: Final = "ERATOS_DRAIN_SECONDS"
PLACEMENT: Final = "ERATOS_PLACEMENT"

DEFAULT_DRAIN_S: Final = 10.0
DRAIN_S_MAX: Final = 3600.0

PLACEMENTS: Final = ("spread", "pack")

_OWN: Final = (DRAIN_SECONDS, PLACEMENT)
#: Characters of a label's name that are compared with the known ones.
_NAME_COMPARED: Final = 64
_PORT_INDEX = re.compile(r"_[0-9]+_")

_TAG = re.compile(r"^[\x21-\x2b\x2d-\x7e]+$")


def consul_tags(labels: Mapping[str, str]) -> tuple[str, ...]:
    return _tags(labels.get(CONSUL_TAGS, ""))


def _tags(value: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in value.split(",") if tag.strip())


def problems(labels: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[Problem]:
    """Find what is wrong with the labels of an app that has these ports."""
    for key, value in labels.items():
        if message := _wrong(key, value):
            yield Problem(f"/labels/{key}", message)
    yield from _unknown(labels)
    yield from routing.problems(labels, ports)


def _unknown(labels: Mapping[str, str]) -> Iterator[Problem]:
    """Refuse what looks like one of ours and is none: each with the labels nearest to it, the whole list once."""
    listed: set[str] = set()
    for key in labels:
        prefix = next((prefix for prefix in routing.PREFIXES if key.startswith(prefix)), "")
        if not prefix or routing.known(key) or key in _OWN:
            continue
        names = [name for name in _OWN if name.startswith(prefix)] + routing.known_names(prefix)
        near = difflib.get_close_matches(_PORT_INDEX.sub("_n_", key[:_NAME_COMPARED], count=1), names, 2, 0.75)
        message = "is no label that eratos knows: " + (f"did you mean {' or '.join(near)}?" if near else "remove it")
        if not near and prefix not in listed:
            listed.add(prefix)
            message += f", or use one of {', '.join(names)}, where n is the port's index"
        yield Problem(f"/labels/{key}", message)


def _wrong(key: str, value: str) -> str:
    if key == CONSUL_TAGS:
        bad = [tag for tag in _tags(value) if not _TAG.match(tag)]
        return f"holds the tag {bad[0]!r}: use visible ASCII characters, no blanks" if bad else ""
    if key == DRAIN_SECONDS:
        good = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and float(value) <= DRAIN_S_MAX
        return "" if good else f"must be a number of seconds from 0 to {DRAIN_S_MAX:.0f}, not '{value}'"
    if key == PLACEMENT:
        return "" if value in PLACEMENTS else f"must be one of {', '.join(PLACEMENTS)}, not '{value}'"
    return ""
