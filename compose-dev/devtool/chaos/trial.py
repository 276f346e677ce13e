"""One run: the faults of a scenario under load, what has to hold after each, and what became of the requests."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import health
from ..load import generator
from ..load.plan import Shape, plan
from ..settings import Settings
from ..terminal import Problem
from . import faults, ground, parts, striking
from .check import Checker, Seen, Unseen, in_rotation, judge, retries
from .journal import Entry, Journal
from .scenario import Act, Expected, Scenario, Step

POLL_S = 0.5
#: All is well when nothing was amiss for so long: some faults are noticed late.
CALM_S = 4.0
#: All has to be well so long after a step in which nothing could be struck.
WITHIN_S = 90.0
#: A change may be asked for so long after a fault began.
WRITE_AFTER_S = 1.0
#: Failures that are due so long before a balancer was taken away were under way when it was, and so long after it was given back
#: met it while it came up.
EXCUSED_BEFORE_S, EXCUSED_AFTER_S = 31.0, 3.0


@dataclass
class Struck:
    """A fault that happened; times are seconds since the load began."""

    fault: str
    what: str
    at_s: float
    excused: frozenset[str]
    within_s: float
    ends_s: float  #: planned
    entry: Entry
    over_s: float | None = None


@dataclass
class Outcome:
    """What came of a step."""

    step: str
    faults: list[str]
    at_s: float
    expected: Expected = field(default_factory=Expected)
    over_s: float = 0.0  #: everything that was broken is made good
    well_s: float = 0.0  #: all invariants hold, and went on to
    broken: list[str] = field(default_factory=list)
    strength_s: float = 0.0  #: from the first strike until all instances were in rotation again, and stayed so
    failed: int = 0  #: requests that nothing excuses
    excused: int = 0
    retried: int = (
        0  #: requests that a balancer had to send once more, as an instance had gone; counted where nothing may go wrong
    )

    @property
    def planned(self) -> bool:
        """Return whether nothing in it is a fault, so that nothing may go wrong."""
        return all(faults.BY_NAME[name].planned for name in self.faults)

    @property
    def recovery_s(self) -> float:
        """Seconds from the end of the faults until all was well."""
        return max(0.0, self.well_s - self.over_s)


class Watch:
    """Looks, in a thread of its own, whether all instances are there, while something is broken."""

    def __init__(self, broken: Callable[[], list[str]], now: Callable[[], float]) -> None:
        self._broken = broken
        self._now = now
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.looks: list[tuple[float, bool]] = []  #: when, and whether anything was amiss

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            began = self._now()
            # No answer says nothing: instances serve on without most parts.
            with contextlib.suppress(Unseen):
                self.looks.append((began, bool(self._broken())))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        if kind is None:
            self._thread.join()  # else what is broken comes first


def strength_s(looks: list[tuple[float, bool]], struck_s: float) -> float:
    """Return the seconds from a strike until the first look after the last one that found something amiss; 0 where none did."""
    amiss = [at_s for at_s, broken in looks if broken]
    if not amiss:
        return 0.0
    after = [at_s for at_s, _ in looks if at_s > amiss[-1]]
    return (after[0] if after else amiss[-1]) - struck_s


class Trial:
    """Runs a scenario on a cluster that is whole, and leaves it whole."""

    def __init__(self, settings: Settings, journal: Journal, scenario: Scenario, rate: float, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._journal = journal
        self._scenario = scenario
        self._rate = scenario.rate or rate
        self._say = say
        self._chance = random.Random(scenario.seed)
        self._checker = Checker(settings)
        self._wanted: dict[str, frozenset[int]] = {}
        self._framework = ""
        self._began = 0.0
        self._struck: list[Struck] = []
        self._turn = 0
        self._outdated: frozenset[str] = frozenset()  #: tasks that a deployment has to replace
        self.timeline: list[dict[str, Any]] = []
        self.seconds: list[dict[str, Any]] = []  #: the load's figures of each second
        self.rotation: list[tuple[float, int]] = []  #: when -> instances on the balancer that has the fewest
        self.outcomes: list[Outcome] = []

    def run(self, wanted: dict[str, frozenset[int]], framework: str, seconds: float | None = None) -> dict[str, Any]:
        """Do every step, or as many as begin within ``seconds``; stop at the first that breaks something. Return the result."""
        self._wanted, self._framework = dict(wanted), framework
        shape = Shape(rate=self._rate)
        aim = ground.aim(self._settings)
        with generator.Load(plan(aim, shape), aim.network, self._settings.project, self._second) as load:
            self._began = time.monotonic()
            try:
                for step in self._scenario.steps:
                    if seconds is not None and self._now() > seconds:
                        break
                    if not self._step(step):
                        break
                    if load.over:
                        load.wait()  # raises with the reason
                        raise Problem("the load ended early", "run this again")
            finally:
                self._make_good()
            summary = load.stop()
        found = result(self._scenario, self.outcomes, self._struck, summary, self.timeline)
        return {**found, "seconds": self.seconds, "rotation": sorted(self.rotation)}

    def _second(self, at_s: float, figures: dict[str, Any]) -> None:
        self.seconds.append({"at_s": round(at_s, 1), **figures})

    def _look(self) -> Seen:
        seen = self._checker.look()
        self.rotation.append((round(self._now(), 1), in_rotation(seen, ground.APP)))
        return seen

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _note(self, event: str, text: str, **more: Any) -> None:
        now = self._now()
        self.timeline.append({"at_s": round(now, 1), "event": event, "text": text, **more})
        self._say(f"{now:7.1f} s  {text}")

    def _step(self, step: Step) -> bool:
        """Do one step and wait until all is well; return whether that came to be."""
        if step.pause_s:
            time.sleep(step.pause_s)
        if not step.acts:
            return True
        outcome = Outcome(step.name, [act.fault for act in step.acts], self._now(), step.expected)
        self.outcomes.append(outcome)
        first = len(self._struck)
        due = sorted(
            ((self._now() + act.after_s, number, act) for number, act in enumerate(step.acts)), key=lambda item: item[:2]
        )
        began_s = self._now()
        before = retries(self._settings, ground.APP) if outcome.planned else {}
        with Watch(self._amiss, self._now) as watch:
            self._break(due)
            outcome.over_s = self._now()
            # Of several, one may only begin to come back when another one has.
            within_s = step.expected.recovery_s or sum(sorted(one.within_s for one in self._struck[first:])[-2:]) or WITHIN_S
            outcome.broken = self._await_well(outcome, within_s)
        outcome.strength_s = strength_s(watch.looks, began_s)
        if outcome.planned:
            # A process that took over meanwhile counts from 0.
            after = retries(self._settings, ground.APP)
            outcome.retried = sum(max(0, count - before.get(name, 0)) for name, count in after.items())
        if outcome.broken:
            for text in outcome.broken:
                self._note("broken", f"broken {within_s:.0f} s after {outcome.step}: {text}")
            return False
        self._note(
            "well",
            f"all is well {outcome.recovery_s:.1f} s after it; full strength {outcome.strength_s:.1f} s after it began",
            recovery_s=round(outcome.recovery_s, 1),
            strength_s=round(outcome.strength_s, 1),
        )
        return True

    def _amiss(self) -> list[str]:
        """Return what is amiss with the instances of the app under load."""
        routed = {ground.APP: self._wanted[ground.APP]}
        return [text for text in judge(self._look(), routed, ground.APP, self._framework) if ground.APP in text or "(d)" in text]

    def _break(self, due: list[tuple[float, int, Act]]) -> None:
        """Do the faults when they are due, and undo each when it is over; ask for a change meanwhile."""
        write_at, written = self._now() + WRITE_AFTER_S, False
        while due or any(one.over_s is None for one in self._struck):
            now = self._now()
            while due and due[0][0] <= now:
                self._strike_if_possible(due.pop(0)[2])
            for one in self._struck:
                if one.over_s is None and one.ends_s <= self._now():
                    self._end(one)
            if not written and self._now() >= write_at:
                self._write()
                written = True
            time.sleep(0.1)
        if not written:
            self._write()

    def _strike_if_possible(self, act: Act) -> None:
        """Do a fault. Raise Problem where that cannot be done; while something else is broken, it is left out instead."""
        before = len(self._struck)
        broken = any(one.over_s is None for one in self._struck)
        try:
            self._strike(act)
        except Problem as problem:
            if not broken:
                raise
            for one in self._struck[before:]:
                self._end(one)
            self._note("left out", f"{act.fault} is left out: {str(problem).splitlines()[0][:120]}", fault=act.fault)

    def _strike(self, act: Act) -> None:
        fault = faults.named(act.fault)
        found = parts.look(self._settings, ground.APP)
        strike = fault.strike(found, faults.choose(fault, found, act.part, self._chance))
        hold_s = fault.hold_s if act.hold_s is None else act.hold_s
        entry = self._journal.begin(strike.what, strike.undo)
        at_s = self._now()
        one = Struck(fault.name, strike.what, at_s, strike.excused, fault.within_s, at_s + hold_s, entry)
        self._struck.append(one)
        self._note("strike", strike.what, fault=fault.name)
        if strike.put is not None:
            try:
                ground.put(self._settings, ground.APP, dict(strike.put))
                self._outdated |= frozenset(found.workers)
            except Problem as problem:
                self._note("write", f"not acknowledged ({str(problem)[:80]})")
        striking.do(fault, strike)

    def _end(self, one: Struck) -> None:
        self._journal.undo(one.entry)
        one.over_s = self._now()
        if one.entry.undo:
            self._note("undone", f"no longer: {one.what}", fault=one.fault)

    def _make_good(self) -> None:
        for one in reversed(self._struck):
            if one.over_s is None:
                self._end(one)

    def _write(self) -> None:
        """Change the number of an app's instances while something is broken: what is acknowledged has to be kept."""
        self._turn += 1
        count = 1 + self._turn % 2
        try:
            ground.put(self._settings, ground.NOTES, {"instances": count})
        except Problem as problem:
            # It may have been taken all the same, and only the answer was lost.
            self._wanted[ground.NOTES] = self._wanted[ground.NOTES] | {count}
            self._note("write", f"{ground.NOTES} to {count}: not acknowledged ({str(problem)[:80]})")
        else:
            self._wanted[ground.NOTES] = frozenset({count})
            self._note("write", f"{ground.NOTES} to {count}: acknowledged")

    def _await_well(self, outcome: Outcome, within_s: float) -> list[str]:
        """Wait until nothing is broken and stays so; return what is broken when the time is over."""
        since: float | None = None
        while True:
            try:
                seen = self._look()
                broken = judge(seen, self._wanted, ground.APP, self._framework)
                broken += self._checker.held(seen.offers, time.monotonic())
                if self._outdated & seen.tasks:
                    broken.append(f"(a) {len(self._outdated & seen.tasks)} instances were not replaced")
                if not broken:
                    # What was struck has to be back as well: a host that nobody needs is easily forgotten.
                    broken = [f"(a) {name}: {lacking}" for name, lacking in health.missing(self._settings).items()]
            except Unseen as error:
                broken = [f"(a) not every part answers: {error}"]
            now = self._now()
            since = None if broken else now if since is None else since
            if since is not None and now - since >= CALM_S:
                outcome.well_s = since
                return []
            if broken and now - outcome.over_s > within_s:
                outcome.well_s = now
                return broken
            time.sleep(POLL_S)


def attribute(outcomes: list[Outcome], struck: list[Struck], failures: list[dict[str, Any]]) -> tuple[int, int]:
    """Count each failure for the step in which it was due, as excused or not; return both counts.

    Excused are requests to a balancer that a fault took away, while it was gone: their clients have another one. The wrong app is
    never excused.
    """
    failed = excused = 0
    for failure in failures:
        at_s, target = failure["at_s"], failure["target"]
        is_excused = not failure["reason"].endswith("wrong app") and any(
            target in one.excused
            and one.at_s - EXCUSED_BEFORE_S <= at_s <= (one.over_s if one.over_s is not None else at_s) + EXCUSED_AFTER_S
            and at_s + failure["latency_s"] >= one.at_s
            for one in struck
        )
        step = next((outcome for outcome in reversed(outcomes) if outcome.at_s <= at_s), outcomes[0] if outcomes else None)
        if is_excused:
            excused += 1
        else:
            failed += 1
        if step is not None:
            step.excused += is_excused
            step.failed += not is_excused
    return failed, excused


def result(
    scenario: Scenario, outcomes: list[Outcome], struck: list[Struck], summary: dict[str, Any], timeline: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return everything that is reported of a run."""
    failures = summary.get("failures") or []
    failed, excused = attribute(outcomes, struck, failures)
    # Of more failures than are reported one by one, nothing is known that would excuse them.
    failed += summary["failed"] - len(failures)
    broken = [text for outcome in outcomes for text in outcome.broken]
    if summary["wrong_app"]:
        broken.append(f"{summary['wrong_app']} answers came from the wrong app")
    for outcome in outcomes:
        limit = outcome.expected.failed
        if limit is None and outcome.planned:
            limit = 0
        if limit is not None and outcome.failed > limit:
            broken.append(f"(e) {outcome.step}: {outcome.failed} requests failed, {limit} at most were expected")
        if outcome.retried:
            broken.append(
                f"(e) {outcome.step}: {outcome.retried} requests met an instance that had gone, and were sent once more"
            )
    counted = summary["requests"] - excused
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "invariants_broken": len(broken),
        "broken": broken,
        "answered": round((counted - failed) / counted, 6) if counted else 0.0,
        "requests": summary["requests"],
        "failed": failed,
        "excused": excused,
        "wrong_app": summary["wrong_app"],
        "slowest_recovery_s": round(max([outcome.recovery_s for outcome in outcomes] or [0.0]), 1),
        "steps": [
            {
                "step": outcome.step,
                "at_s": round(outcome.at_s, 1),
                "over_s": round(outcome.over_s, 1),
                "recovery_s": round(outcome.recovery_s, 1),
                "strength_s": round(outcome.strength_s, 1),
                "failed": outcome.failed,
                "excused": outcome.excused,
                "retried": outcome.retried,
                "broken": outcome.broken,
            }
            for outcome in outcomes
        ],
        "reasons": summary.get("reasons") or {},
        "failures": failures[:200],
        "p99_s": summary["p99_s"],
        "slowest_s": summary["slowest_s"],
        "timeline": timeline,
    }


def passed(found: dict[str, Any], answered_least: float) -> bool:
    """Return whether a run is to be called good."""
    return not found["invariants_broken"] and found["requests"] > 0 and found["answered"] >= answered_least
