"""`./dev chaos`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import development, engine, health, plots
from ..alone import alone
from ..load import command as load_command
from ..load import plan
from ..settings import GENERATED, Settings
from ..terminal import Problem, Progress, Step, say
from . import budgets, faults, ground, parts, scenario, strike, striking, trial
from .check import Checker
from .journal import Journal, restore

#: Faults of a random run, unless stated otherwise.
COUNT = 10
RATE = 40.0
ANSWERED = 0.9999
#: Until all parts are up after an interrupted run was made good.
RESTORED_S = 180


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "what", nargs="?", default="list", metavar="FAULT|random|FILE|list|restore", help="list shows the faults (list)"
    )
    parser.add_argument("--part", default="", metavar="PART", help="what a single fault strikes (by chance)")
    parser.add_argument("--hold", default="", metavar="TIME", help="how long a single fault lasts (as list shows)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is left to chance (1)")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"with random: so many steps ({COUNT})")
    parser.add_argument(
        "--together", type=int, default=1, metavar="N", help="with random: so many faults at a time, --count times (1)"
    )
    parser.add_argument("--duration", default="", metavar="TIME", help="no further fault after this time (no limit)")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="with random: this one; may be given again")
    parser.add_argument(
        "--without", action="append", default=[], metavar="FAULT", help="with random: not this one; may be given again"
    )
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help=f"requests a second meanwhile ({RATE:g})")
    parser.add_argument("--answered", type=float, default=ANSWERED, metavar="SHARE", help=f"at least, or it failed ({ANSWERED})")
    parser.add_argument("--json", action="store_true", help="print one JSON object with the timeline, and nothing else")
    parser.add_argument(
        "--page", default="", metavar="FILE", help="write a page with plots and the timeline there: one HTML file"
    )


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Break something; return 0 if the cluster came through."""
    if options.what == "list":
        _list()
        return 0
    chosen = None if options.what == "restore" else _chosen(options)
    plan.check(plan.Shape(rate=options.rate))
    plots.check(options.page)
    if not 0 <= options.answered <= 1:
        raise Problem(f"--answered {options.answered:g} is no share", "choose from 0 to 1: --answered 0.9999")
    seconds = plan.seconds("--duration", options.duration) if options.duration else None
    engine.require()
    # What an interrupted run was about to break is broken first, and then made good.
    with ended_in_order(), alone(settings, striking.DO_S if chosen is None else 0.0):
        return _run(settings, chosen, options, seconds)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Have SIGTERM end what is done meanwhile as ctrl-C does: what is broken is made good on the way out."""
    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def journal_of(settings: Settings) -> Journal:
    """Return the journal of a cluster."""
    return Journal(GENERATED / f"{settings.project}.chaos.jsonl")


def _chosen(options: argparse.Namespace) -> scenario.Scenario:
    """Return what is to happen. Raise Problem where that makes no sense, before anything is touched."""
    is_fault = options.what in faults.BY_NAME
    if options.part and not is_fault:
        raise Problem("--part is for a single fault", "leave it out, or write a scenario file")
    if options.hold and not (is_fault and faults.BY_NAME[options.what].hold_s):
        raise Problem("--hold is for a single fault that lasts", "leave it out; ./dev chaos list shows which do")
    if (options.only or options.without) and options.what != "random":
        raise Problem("--only and --without are for random faults", "./dev chaos random --only FAULT")
    if options.together != 1 and options.what != "random":
        raise Problem("--together is for random faults", "write a scenario file, in which steps have faults together")
    if is_fault:
        return scenario.single(
            options.what, options.part, plan.seconds("--hold", options.hold) if options.hold else None, options.seed
        )
    if options.what == "random":
        if options.count < 1:
            raise Problem(f"--count {options.count} is out of range", "choose 1 or more")
        chosen = scenario.selection(options.only, options.without)
        if not 1 <= options.together <= len(chosen):
            raise Problem(f"--together {options.together} is out of range", f"choose from 1 to {len(chosen)}")
        return scenario.by_chance(options.seed, options.count, chosen, options.together)
    path = Path(options.what)
    if not path.is_file():
        return scenario.read(path, development.PYTHON)  # which says what there is
    development.ensure_venv(Progress())
    return scenario.read(path, development.PYTHON)


def _list() -> None:
    for fault in faults.ALL:
        lasts = f"{fault.hold_s:g} s" if fault.hold_s else "at once"
        say(f"  {fault.name:<28}{lasts:>8}  {fault.text}")


def _run(settings: Settings, chosen: scenario.Scenario | None, options: argparse.Namespace, seconds: float | None) -> int:
    if chosen is None:
        make_good(settings)
        return 0
    found = perform(settings, chosen, options.rate, seconds, quiet=options.json)
    good = trial.passed(found, options.answered)
    if options.page:
        plots.write(Path(options.page), plots.of_chaos(found, _verdict(good), good))
    if options.json:
        say(json.dumps({"passed": good, **found}))
    else:
        for line in told(found, good, options.answered):
            say(line)
    return 0 if good else 1


def make_good(settings: Settings) -> bool:
    """Undo what an interrupted run has left; return whether there was anything."""
    restored = restore(journal_of(settings))
    for what in restored:
        print(f"restored, after a run that was interrupted: {what}", file=sys.stderr)
    return bool(restored)


def perform(
    settings: Settings,
    chosen: scenario.Scenario,
    rate: float | Callable[[], float],
    seconds: float | None = None,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run a scenario on a cluster that is whole: deploy the apps, break, look, and remove the apps. Return the result.

    ``rate`` is requests a second, or finds that out once the apps run.
    """

    def note(text: str) -> None:
        if not quiet:
            say(text)

    if make_good(settings):
        health.await_infrastructure(settings, Step("wait until every part is up"), RESTORED_S, 2)
    ground.require(settings)
    check_parts(parts.look(settings, ground.APP), chosen)
    load_command.prepare(settings, strike.SERVICE, quiet=quiet)
    checker = Checker(settings)
    step = Step("wait until the cluster is at rest")
    note(f"{chosen.name}: {len(chosen.steps)} steps, seed {chosen.seed}; waiting until everything is at rest")
    wanted, framework = ground.prepare(settings, checker, step)
    try:
        found = rate if isinstance(rate, (int, float)) else rate()
        run_of = trial.Trial(settings, journal_of(settings), chosen, found, note)
        before = budgets.look(settings)
        outcome = run_of.run(wanted, framework, seconds)
        return {**outcome, "budgets": budgets.told(before, budgets.look(settings))}
    finally:
        # All is undone by now, unless that was interrupted, too.
        restore(journal_of(settings))
        _remove(settings)


def check_parts(found: parts.Parts, chosen: scenario.Scenario) -> None:
    """Raise Problem for a part that its fault can never strike, before anything is touched."""
    for act in (act for step in chosen.steps for act in step.acts if act.part):
        fault = faults.named(act.fault)
        if fault.name == "cut":
            fault.strike(found, act.part)
            continue
        # Workers of an app that does not run yet have no names; and who does not lead now may lead then.
        kinds = {candidate.rstrip(string.digits) for candidate in fault.candidates(found)}
        may_be = act.part in found.containers and act.part.rstrip(string.digits) in kinds
        if not may_be and not fault.name.startswith("worker-"):
            faults.choose(fault, found, act.part, random.Random())


def _remove(settings: Settings) -> None:
    try:
        ground.remove(settings, Step("remove the apps"))
    except Problem as problem:
        print(f"the apps {ground.APP} and {ground.NOTES} are left: {problem}", file=sys.stderr)


def told(found: dict[str, Any], good: bool, answered_least: float) -> list[str]:
    """Return the report."""
    lines = ["", f"{'step':<36}{'recovery':>10}{'strength':>10}{'failed':>8}{'excused':>9}"]
    lines += [
        f"{step['step'][:35]:<36}{step['recovery_s']:>8.1f} s{step['strength_s']:>8.1f} s{step['failed']:>8}{step['excused']:>9}"
        + ("  BROKEN" if step["broken"] else "")
        for step in found["steps"]
    ]
    lines += [
        "",
        f"{found['requests']} requests, {found['failed']} failed, {found['answered']:.4%} answered, wanted {answered_least:.4%}; "
        f"{found['excused']} more went to a balancer while it was taken away",
    ]
    if found["reasons"]:
        lines.append("failures: " + ", ".join(f"{count} {reason}" for reason, count in sorted(found["reasons"].items())))
    lines += found.get("budgets", ())
    lines += [f"broken: {text}" for text in found["broken"]]
    return [*lines, "", _verdict(good)]


def _verdict(good: bool) -> str:
    return "the cluster came through" if good else "THE CLUSTER DID NOT COME THROUGH"
