"""What is broken when: single faults, faults by chance, or the steps of a scenario file."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..load import plan
from ..shell import CommandFailed, run
from ..terminal import Problem
from . import faults

EXAMPLE = "docs/chaos.md has an example"
#: What is wrong in one line, with the place in the file.
_TO_JSON = """
import json, sys, yaml
try:
    print(json.dumps(yaml.safe_load(open(sys.argv[1]))))
except yaml.YAMLError as error:
    sys.exit(" ".join(str(error).split()))
"""


@dataclass(frozen=True)
class Act:
    """One fault within a step."""

    fault: str
    part: str = ""  #: "": one of its candidates, by chance
    hold_s: float | None = None  #: None: as long as the fault has it
    after_s: float = 0.0  #: from the beginning of the step


@dataclass(frozen=True)
class Expected:
    """What a step has to come through with, beyond the invariants."""

    recovery_s: float | None = None  #: None: as long as its faults have it
    failed: int | None = None  #: requests at most, those to balancers that were taken away excepted; None: no limit of its own


@dataclass(frozen=True)
class Step:
    """Faults that overlap; the next step begins when all is well again."""

    acts: tuple[Act, ...]
    expected: Expected = field(default_factory=Expected)
    pause_s: float = 0.0  #: beforehand

    @property
    def name(self) -> str:
        """Return what to call it."""
        return " + ".join(act.fault for act in self.acts) or "pause"


@dataclass(frozen=True)
class Scenario:
    """The whole of it."""

    name: str
    steps: tuple[Step, ...]
    seed: int = 0
    rate: float | None = None  #: of the load; None: what the command line says


def single(fault: str, part: str, hold_s: float | None, seed: int) -> Scenario:
    """Return one fault."""
    faults.named(fault)
    return Scenario(fault, (Step((Act(fault, part, hold_s),)),), seed)


#: Of faults that overlap, each begins within this time of the step's beginning.
WITHIN_S = 8


def by_chance(seed: int, count: int, names: Sequence[str], together: int = 1) -> Scenario:
    """Return ``count`` steps by chance, of ``together`` faults that overlap: the same ones for a seed.

    Each fault comes once before any comes again.
    """
    chance = random.Random(seed)
    chosen: list[str] = []
    while len(chosen) < count * together:
        chosen += chance.sample(list(names), len(names))
    steps: list[Step] = []
    while len(steps) < count:
        group = [chosen.pop(0) for _ in range(together)]
        afters = [0.0, *(float(chance.randint(0, WITHIN_S)) for _ in group[1:])]
        steps.append(Step(tuple(Act(name, after_s=after_s) for name, after_s in zip(group, afters, strict=True))))
    return Scenario(f"seed {seed}" + (f", {together} at a time" if together > 1 else ""), tuple(steps), seed)


def selection(only: Sequence[str], without: Sequence[str]) -> list[str]:
    """Return the names of the faults to choose from. Raise Problem for an unknown one, and where none is left."""
    for name in (*only, *without):
        faults.named(name)
    left = [
        name for name, fault in faults.BY_NAME.items() if (name in only if only else not fault.by_name) and name not in without
    ]
    if not left:
        raise Problem("no fault is left to choose from", "leave out --without, or name more with --only")
    return left


def read(path: Path, python: Path) -> Scenario:
    """Return a scenario file's steps; ``python`` has a module for YAML. Raise Problem where it makes no sense."""
    if not path.is_file():
        raise Problem(
            f"{path} is neither a fault nor a file", f"name a scenario file, or one of: {', '.join(faults.BY_NAME)}, random, list"
        )
    try:
        document = json.loads(run([str(python), "-c", _TO_JSON, str(path)], timeout_s=60))
    except CommandFailed as error:
        reason = error.output.strip().splitlines()[-1:] or ["no reason is given"]
        raise Problem(f"{path} is no YAML: {reason[0]}", f"put that right; {EXAMPLE}") from None
    return parse(document, path.name)


def parse(document: Any, name: str) -> Scenario:
    """Return what a scenario file says. Raise Problem with the place of what makes no sense in it."""
    fields = _fields(document, name, {"name", "seed", "rate", "steps"})
    steps = fields.get("steps")
    if not isinstance(steps, list) or not steps:
        raise Problem(f"{name}: steps is no list of steps", EXAMPLE)
    rate = fields.get("rate")
    return Scenario(
        str(fields.get("name", name)),
        tuple(_step(step, f"{name}: step {number}") for number, step in enumerate(steps, 1)),
        int(_number(fields.get("seed", 0), f"{name}: seed")),
        None if rate is None else _number(rate, f"{name}: rate", least=0.001),
    )


def _step(document: Any, place: str) -> Step:
    fields = _fields(document, place, {"fault", "part", "hold", "after", "together", "expect", "pause"})
    pause_s = _time(fields["pause"], f"{place}: pause") if "pause" in fields else 0.0
    if "together" in fields:
        if {"fault", "part", "hold", "after"} & set(fields):
            raise Problem(f"{place}: together stands beside a fault of its own", "put that one into the list, too")
        if not isinstance(fields["together"], list) or not fields["together"]:
            raise Problem(f"{place}: together is no list of faults", EXAMPLE)
        acts = tuple(_act(act, f"{place}, fault {number}") for number, act in enumerate(fields["together"], 1))
    elif "fault" in fields:
        acts = (_act({key: fields[key] for key in ("fault", "part", "hold", "after") if key in fields}, place),)
    elif pause_s and "expect" not in fields:
        acts = ()
    else:
        raise Problem(f"{place}: there is neither fault, together nor pause", EXAMPLE)
    return Step(acts, _expected(fields.get("expect", {}), f"{place}: expect"), pause_s)


def _act(document: Any, place: str) -> Act:
    fields = _fields(document, place, {"fault", "part", "hold", "after"})
    if "fault" not in fields:
        raise Problem(f"{place}: fault is missing", EXAMPLE)
    try:
        fault = faults.named(str(fields["fault"]))
    except Problem as problem:
        raise Problem(f"{place}: {problem}", problem.fix) from None
    hold_s = _time(fields["hold"], f"{place}: hold") if "hold" in fields else None
    if hold_s is not None and not fault.hold_s:
        raise Problem(f"{place}: {fault.name} is over at once, so hold means nothing", "leave it out")
    after_s = _time(fields["after"], f"{place}: after") if "after" in fields else 0.0
    return Act(fault.name, str(fields.get("part", "")), hold_s, after_s)


def _expected(document: Any, place: str) -> Expected:
    fields = _fields(document, place, {"recovery", "failed"})
    recovery_s = _time(fields["recovery"], f"{place}: recovery") if "recovery" in fields else None
    return Expected(recovery_s, int(_number(fields["failed"], f"{place}: failed")) if "failed" in fields else None)


def _fields(document: Any, place: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Problem(f"{place} is no mapping", EXAMPLE)
    unknown = [str(key) for key in document if key not in known]
    if unknown:
        raise Problem(f"{place}: {', '.join(unknown)} is unknown", f"choose from {', '.join(sorted(known))}")
    return document


def _number(value: Any, place: str, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < 1e9:
        raise Problem(f"{place} {value!r} is no number that makes sense", f"choose {least:g} or more")
    return float(value)


def _time(value: Any, place: str) -> float:
    return plan.seconds(place, str(value))
