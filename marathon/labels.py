"""Labels that eratos acts on: Consul tags, a fleet's behaviour, and routing (:mod:`.routing`).

A label that resembles one of these and is none is refused. What is marathon-lb's alone is kept, and reported as not heeded
(:mod:`.marathon_lb`): it may be there for a marathon-lb beside eratos' balancers.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from . import marathon_lb, near, registrator, routing, strict_json
from .app_parts import AppPort
from .errors import Problem

CONSUL_TAGS: Final = "CONSUL_TAGS"
SINGLE_INSTANCE: Final = "MARATHON_SINGLE_INSTANCE_APP"
DRAIN_SECONDS: Final = "ERATOS_DRAIN_SECONDS"
PLACEMENT: Final = "ERATOS_PLACEMENT"
DEADLINE: Final = "ERATOS_DEPLOYMENT_DEADLINE_S"
RETRIES: Final = "ERATOS_DEPLOYMENT_RETRIES"
ROLLBACK: Final = "ERATOS_ROLLBACK"
CANARY: Final = "ERATOS_CANARY"
CANARY_HOLD: Final = "ERATOS_CANARY_HOLD_S"
BLUE_GREEN: Final = "ERATOS_BLUE_GREEN"
CANARY_ERRORS: Final = "ERATOS_CANARY_ERRORS"
CANARY_ANSWER: Final = "ERATOS_CANARY_ANSWER_MS"
CANARY_REQUESTS: Final = "ERATOS_CANARY_REQUESTS"

#: In the place of a share of requests that may fail: as many as the app's error budget lets fail.
BUDGET: Final = "budget"

DEFAULT_DRAIN_S: Final = 10.0
DRAIN_S_MAX: Final = 3600.0

PLACEMENTS: Final = ("spread", "pack")

#: A deployment without a limit in practice: a month.
DEADLINE_S_MAX: Final = 31 * 86_400.0
RETRIES_MAX: Final = 1_000_000
#: Steps of a canary.
CANARY_MOST: Final = 20
#: Requests by which a gate is judged, at least.
REQUESTS_DEFAULT: Final = 50
REQUESTS_MAX: Final = 1_000_000
ANSWER_MS_MAX: Final = 3_600_000

_JUDGED: Final = (CANARY_ERRORS, CANARY_ANSWER)
_OWN: Final = (DRAIN_SECONDS, PLACEMENT, DEADLINE, RETRIES, ROLLBACK, CANARY, CANARY_HOLD, BLUE_GREEN, *_JUDGED, CANARY_REQUESTS)
#: What the demands at a gate need beside them.
_NEEDED: Final = (((CANARY, BLUE_GREEN), ""), ((CANARY_HOLD,), ""), ((ROLLBACK,), "=true"))
_WHOLE: Final[Mapping[str, int]] = {CANARY_ANSWER: ANSWER_MS_MAX, CANARY_REQUESTS: REQUESTS_MAX}
#: Characters of a label's name that are compared with the known ones, and how many labels of an app are.
_NAME_COMPARED: Final = 64
_COMPARED_MOST: Final = 100
#: Share of letters in common of a misspelt label and what was meant.
_NEAR: Final = 0.75
#: Also as marathon-lb's documents write it, which some copy as it is.
_PORT_INDEX = re.compile(r"_(?:[0-9]+|n|\{[0-9]*\}|\{n\})_")


def consul_tags(labels: Mapping[str, str]) -> tuple[str, ...]:
    return registrator.split(labels.get(CONSUL_TAGS, ""))


def deployment_deadline_s(labels: Mapping[str, str]) -> float | None:
    """Return how long a deployment of the app may come no further; None: the app does not say."""
    return float(labels[DEADLINE]) if DEADLINE in labels else None


def retries(labels: Mapping[str, str]) -> int | None:
    """Return how many instances may end by themselves in a deployment of the app; None: any number."""
    return int(labels[RETRIES]) if RETRIES in labels else None


def rolls_back(labels: Mapping[str, str]) -> bool:
    """Return whether the app goes back to what it was where its deployment fails."""
    return labels.get(ROLLBACK) == "true"


def canary(labels: Mapping[str, str], instances: int) -> tuple[int, ...]:
    """Return how many instances of a new version there may be in each step of its canary; none: it has none."""
    steps = [step.strip() for step in labels.get(CANARY, "").split(",") if step.strip()]
    return tuple(min(instances, _amount(step, instances)) for step in steps)


def _amount(step: str, instances: int) -> int:
    return math.ceil(instances * int(step[:-1]) / 100) if step.endswith("%") else int(step)


def blue_green(labels: Mapping[str, str]) -> tuple[int, ...]:
    """Return the shares of the traffic, in percent, that a new version gets one after the other once it is there beside the
    whole one before; none: it does not come like this. Each share is a gate; with the first it has no traffic yet.
    """
    if BLUE_GREEN not in labels:
        return ()
    given = [int(share.strip().rstrip("%")) for share in labels[BLUE_GREEN].split(",")]
    return (0, *given) if given[-1] == 100 else (0, *given, 100)


def canary_hold_s(labels: Mapping[str, str]) -> float | None:
    """Return how long a step of a canary has to be ready before the next one begins; None: somebody has to say so."""
    return float(labels[CANARY_HOLD]) if CANARY_HOLD in labels else None


class Demands(NamedTuple):
    """How the new instances of an app have to answer at the gates of its canary."""

    errors: int | None  #: thousandths of a percent of their requests that may fail; None: any
    answer_ms: int | None  #: that their answers may take on average; None: any
    requests: int  #: by which they are judged, at least


def demands(labels: Mapping[str, str], tolerated: int | None = None) -> Demands | None:
    """Return what is demanded at the gates of an app's canary; None: nothing.

    ``tolerated``: what the app's error budget lets fail, in thousandths of a percent, for a label that names it.
    """
    if not any(label in labels for label in _JUDGED):
        return None
    stated = labels.get(CANARY_ERRORS)
    errors = tolerated if stated == BUDGET else round(float(stated.rstrip("%")) * 1000) if stated is not None else None
    answer_ms = int(labels[CANARY_ANSWER]) if CANARY_ANSWER in labels else None
    return Demands(errors, answer_ms, int(labels.get(CANARY_REQUESTS, REQUESTS_DEFAULT)))


def problems(labels: Mapping[str, str], ports: Sequence[AppPort], *, stored: bool = False) -> Iterator[Problem]:
    """Find what is wrong with the labels of an app that has these ports; ``stored``: by the rules it was stored under."""
    if stored:
        labels = {key: value for key, value in labels.items() if not routing.later(key)}
    for key, value in labels.items():
        if message := _wrong(key, value):
            yield Problem(f"/labels/{key}", message)
    yield from _without_gate(labels)
    yield from _beside(labels)
    yield from _unknown(labels)
    yield from routing.problems(labels, ports)


def _without_gate(labels: Mapping[str, str]) -> Iterator[Problem]:
    """Refuse demands that nothing would come of: at no gate, or without a way back where they are not met."""
    for key in (*_JUDGED, CANARY_REQUESTS):
        if key not in labels:
            continue
        lacking = [" or ".join(names) + says for names, says in _NEEDED if not _has(labels, names, says)]
        if key == CANARY_REQUESTS and not any(judged in labels for judged in _JUDGED):
            lacking.append(" or ".join(_JUDGED))
        if lacking:
            yield Problem(f"/labels/{key}", f"has no effect without {' and '.join(lacking)}: add that, or remove it")


def _has(labels: Mapping[str, str], names: Sequence[str], says: str) -> bool:
    return rolls_back(labels) if says else any(name in labels for name in names)


def _beside(labels: Mapping[str, str]) -> Iterator[Problem]:
    """Refuse what contradicts two whole fleets, of which one has the traffic."""
    if BLUE_GREEN not in labels:
        return
    if CANARY in labels:
        yield Problem(f"/labels/{BLUE_GREEN}", f"contradicts {CANARY}: an app has one of the two, remove the other")
    if not rolls_back(labels):
        yield Problem(f"/labels/{BLUE_GREEN}", f"has to know the way back: add {ROLLBACK}=true")
    for key in labels:
        if key.startswith("ERATOS_") and key.endswith("_SERVER_WEIGHT"):
            yield Problem(f"/labels/{key}", f"contradicts {BLUE_GREEN}, which says the weights of servers: remove one of the two")


def _unknown(labels: Mapping[str, str]) -> Iterator[Problem]:
    """Refuse what looks like one of ours and is none: each with the labels nearest to it, the whole list once."""
    listed: set[str] = set()
    compared = 0
    for key in labels:
        prefix = next((prefix for prefix in routing.PREFIXES if key.startswith(prefix)), "")
        if not prefix or routing.known(key) or key in _OWN or marathon_lb.known(key):
            continue
        names = [name for name in _OWN if name.startswith(prefix)] + routing.known_names(prefix)
        compared += 1
        meant = _meant(key, prefix, names) if compared <= _COMPARED_MOST else []
        if prefix == marathon_lb.PREFIX and not meant:
            continue  # of some other program; not_heeded reports it
        message = "is no label that eratos knows: " + (f"did you mean {' or '.join(meant)}?" if meant else "remove it")
        if any("_n_" in name for name in meant):
            message += " n stands for the port's index, from 0"
        if not meant and prefix not in listed:
            listed.add(prefix)
            message += f", or use one of {', '.join(names)}, where n is the port's index"
        yield Problem(f"/labels/{key}", message)


def _meant(key: str, prefix: str, names: Sequence[str]) -> list[str]:
    """Return the labels nearest to another one. Prefix and port, which most of them have, make none of them near."""
    shape = _PORT_INDEX.sub("_n_", key[:_NAME_COMPARED], count=1)
    of_port = f"{prefix}n_"
    if shape.startswith(of_port):
        names = [name for name in names if name.startswith(of_port)]
    known = {name.removeprefix(of_port).removeprefix(prefix): name for name in reversed(names)}
    return [known[name] for name in near.close(shape.removeprefix(of_port).removeprefix(prefix), known, 2, _NEAR)]


def not_heeded(labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each label of marathon-lb's family that eratos does not act on, with the reason. Empty ones state nothing.

    And those that are known in capitals alone: stores hold such apps, so they are told, not refused.
    """
    for key, value in labels.items():
        if key.startswith(marathon_lb.PREFIX) and value and not routing.known(key):
            yield key, marathon_lb.instead(key)
        elif key != (upper := key[:_NAME_COMPARED].upper()) and (routing.known(upper) or upper in (*_OWN, SINGLE_INSTANCE)):
            yield key, f"labels are told apart by case, and eratos knows {upper}"


def _wrong(key: str, value: str) -> str:
    if key == CONSUL_TAGS:
        bad = [tag for tag in registrator.split(value) if not registrator.TAG.match(tag)]
        return f"holds the tag {bad[0]!r}: use visible ASCII characters, no blanks" if bad else ""
    if key == DRAIN_SECONDS:
        good = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and float(value) <= DRAIN_S_MAX
        return "" if good else f"must be a number of seconds from 0 to {DRAIN_S_MAX:.0f}, not '{value}'"
    if key == DEADLINE:
        good = re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value) and 1 <= float(value) <= DEADLINE_S_MAX
        return "" if good else f"must be a number of seconds from 1 to {DEADLINE_S_MAX:.0f}, not '{value}'"
    if key == RETRIES:
        good = re.fullmatch(r"[0-9]{1,9}", value) and int(value) <= RETRIES_MAX
        return "" if good else f"must be a whole number from 0 to {RETRIES_MAX}, not '{value}'"
    if key == CANARY:
        steps = [step.strip() for step in value.split(",")]
        good = len(steps) <= CANARY_MOST and all(re.fullmatch(r"[1-9][0-9]{0,6}|[1-9][0-9]?%", step) for step in steps)
        message = f"must be up to {CANARY_MOST} numbers of instances or shares such as 1,25%,50%"
        return "" if good else f"{message}, not '{strict_json.shortened(value)}'"
    if key == BLUE_GREEN:
        shares = [share.strip() for share in value.split(",")]
        good = len(shares) <= CANARY_MOST and all(re.fullmatch(r"100%|[1-9][0-9]?%", share) for share in shares)
        rising = good and all(int(one[:-1]) < int(other[:-1]) for one, other in itertools.pairwise(shares))
        message = f"must be up to {CANARY_MOST} rising shares of the traffic such as 10%,50%, or 100% for all of it at once"
        return "" if rising else f"{message}, not '{strict_json.shortened(value)}'"
    if key == CANARY_HOLD:
        good = re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value) and float(value) <= DEADLINE_S_MAX
        return "" if good else f"must be a number of seconds from 0 to {DEADLINE_S_MAX:.0f}, not '{value}'"
    if key == CANARY_ERRORS:
        good = value == BUDGET or bool(re.fullmatch(r"(100|[0-9]{1,2}(\.[0-9]{1,3})?)%", value))
        message = f"must be a share of requests from 0% to 100%, such as 0.5%, or {BUDGET} for what eratos.errorBudget lets fail"
        return "" if good else f"{message}, not '{strict_json.shortened(value)}'"
    if key in _WHOLE:
        good = re.fullmatch(r"[0-9]{1,9}", value) and 1 <= int(value) <= _WHOLE[key]
        return "" if good else f"must be a whole number from 1 to {_WHOLE[key]}, not '{strict_json.shortened(value)}'"
    if key == ROLLBACK:
        return "" if value in ("true", "false") else f"must be true or false, not '{value}'"
    if key == PLACEMENT:
        return "" if value in PLACEMENTS else f"must be one of {', '.join(PLACEMENTS)}, not '{value}'"
    return ""
