"""`./dev load`: its options, and what it does with them."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import cluster, engine, plots
from ..settings import Settings
from ..terminal import Problem, Progress, say
from . import generator, most, plan, report
from .plan import Aim, Shape

#: On anything that is no terminal, so many seconds go into one line.
EVERY_S = 10
#: Of each rate of a search, of the ramp before it, and into it the system is looked at.
STEP_S, STEP_RAMP_S, LOOK_AFTER_S = 8.0, 2.0, 3.0
#: Closed-loop clients that find out where a search begins.
CLIENTS, CLIENTS_S = 64, 5.0

RATE, DURATION, P99_S = 50.0, "30s", 0.5

NO_CLUSTER = "./dev up starts it; or name a URL of this machine: ./dev load http://127.0.0.1:PORT/"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "aim", nargs="?", default="/prime", metavar="APP|URL", help="an app of the cluster (/prime), or a URL of this machine"
    )
    parser.add_argument("--rate", type=float, metavar="N", help=f"requests a second ({RATE:g})")
    parser.add_argument("--duration", metavar="TIME", help=f"how long, without the ramp: 30s, 5m, 1h ({DURATION})")
    parser.add_argument("--ramp", default="", metavar="TIME", help="beforehand, in which the rate rises from 0 (none)")
    parser.add_argument("--path", default="", metavar="PATH", help="what to ask an app for (its route)")
    parser.add_argument("--keep-alive", type=float, default=0.5, metavar="SHARE", help="of requests on kept connections (0.5)")
    parser.add_argument("--http2", action="store_true", help="HTTP/2, without TLS as well")
    parser.add_argument("--timeout", type=float, default=plan.TIMEOUT_S, metavar="S", help="for an answer (30)")
    parser.add_argument(
        "--connections", type=int, default=plan.UNDER_WAY, metavar="N", help=f"requests under way at most ({plan.UNDER_WAY})"
    )
    parser.add_argument("--websockets", type=int, default=0, metavar="N", help="WebSockets that are kept busy beside it (0)")
    parser.add_argument("--websocket-path", default="/", metavar="PATH", help="which sends back what comes (/)")
    parser.add_argument("--long", type=int, default=0, metavar="N", help="clients beside it that wait for long answers (0)")
    parser.add_argument("--long-path", default="/", metavar="PATH", help="whose answers take long (/)")
    parser.add_argument("--find-max", action="store_true", help="find the highest rate that is carried, and what is in the way")
    parser.add_argument("--p99", type=float, metavar="S", help=f"with --find-max: 99 of 100 answers within ({P99_S:g})")
    parser.add_argument(
        "--tune", action="store_true", help="with --find-max: the load gets more ports and descriptors than the system gives it"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--page", default="", metavar="FILE", help="write a page with plots there: one HTML file")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Load an app or a URL; return 0 if every request was answered, and by the right app."""
    _check_search(options)
    shape = Shape(
        rate=RATE if options.rate is None else options.rate,
        seconds=plan.seconds("--duration", options.duration or DURATION),
        ramp_s=plan.seconds("--ramp", options.ramp) if options.ramp else 0.0,
        keep_alive=options.keep_alive,
        http2=options.http2,
        timeout_s=options.timeout,
        under_way=options.connections,
        websockets=options.websockets,
        websocket_path=options.websocket_path,
        long=options.long,
        long_path=options.long_path,
    )
    plan.check(shape)
    plots.check(options.page)
    if options.path:
        plan.check_path("--path", options.path)
    is_url = "://" in options.aim
    if is_url and options.tune:
        raise Problem("--tune is for apps", "a load on a URL has this machine's own settings: change them by sysctl and ulimit")
    if is_url and options.path:
        raise Problem("--path is for apps", "put the path into the URL")
    engine.require()
    aim = plan.at_url(settings, options.aim) if is_url else at_running_app(settings, options.aim, options.path)
    prepare(settings, quiet=options.json)
    if options.find_max:
        return _find_most(settings, aim, shape, options)
    return _load(settings, aim, shape, options)


def _check_search(options: argparse.Namespace) -> None:
    """Raise Problem for options that a search finds out by itself, and for those of a search without one."""
    if options.find_max:
        given = [name for name in ("rate", "duration", "ramp") if getattr(options, name) not in (None, "")]
        if options.page:
            raise Problem("--page is for one load, and --find-max makes many", "./dev load --rate N --page FILE")
        if given:
            raise Problem(f"--find-max chooses the rates and times itself, so --{given[0]} means nothing", "leave it out")
        if options.p99 is not None and not options.p99 > 0:
            raise Problem(f"--p99 {options.p99:g} is out of range", "choose more than 0 seconds: --p99 0.5")
    elif options.p99 is not None or options.tune:
        name = "tune" if options.p99 is None else "p99"
        raise Problem(f"--{name} is for --find-max", f"./dev load --find-max --{name}{' 0.5' if name == 'p99' else ''}")


def at_running_app(settings: Settings, app_id: str, path: str) -> Aim:
    """Aim at an app of a cluster that is up; say how to start one where none is."""
    if not cluster.containers(settings.project):
        raise Problem(f"the cluster {settings.project} is down", NO_CLUSTER)
    return plan.at_app(settings, app_id, path)


def prepare(settings: Settings, *more: str, quiet: bool = False) -> None:
    """Build the generator, and ``more`` images, where they are not there or not up to date."""
    generator.remove_left(settings.project)
    if quiet:
        with contextlib.redirect_stdout(sys.stderr):
            generator.build(settings, *more)
        return
    with Progress().step("build the load generator"):
        generator.build(settings, *more)


class Live:
    """Shows what becomes of a load while it runs: one line that changes on a terminal, else a line now and then."""

    def __init__(self, quiet: bool) -> None:
        self._stream = sys.stderr if quiet else sys.stdout
        self._terminal = self._stream.isatty()
        self._quiet = quiet
        self._told_s = 0.0
        self.seconds: list[dict[str, Any]] = []  #: what was shown

    def second(self, at_s: float, figures: dict[str, Any]) -> None:
        """Show one second."""
        self.seconds.append({"at_s": round(at_s, 1), **figures})
        line = report.second(at_s, figures)
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
            self._stream.flush()
        elif not self._quiet and (figures["failed"] or at_s - self._told_s >= EVERY_S):
            self._told_s = at_s
            say(line)

    def end(self) -> None:
        """Clear the line."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _load(settings: Settings, aim: Aim, shape: Shape, options: argparse.Namespace) -> int:
    if not options.json:
        say(report.headline(aim, shape))
    live = Live(options.json)
    interrupted = False
    with generator.Load(plan.plan(aim, shape), aim.network, settings.project, live.second) as load:
        try:
            summary = load.wait()
        except KeyboardInterrupt:
            interrupted = True
            summary = load.stop()
    live.end()
    assert summary is not None
    if options.page:
        shown = report.lines(summary)[:2]
        said = f"{'interrupted; until then: ' if interrupted else ''}{report.verdict(summary)}"
        plots.write(
            Path(options.page),
            plots.of_load(report.headline(aim, shape), said, report.good(summary), shown, summary, live.seconds),
        )
    if options.json:
        say(json.dumps({"aim": aim.what, "verdict": report.verdict(summary), **summary}))
    else:
        say()
        for line in report.lines(summary):
            say(line)
        say(f"\n{'interrupted; until then: ' if interrupted else ''}{report.verdict(summary)}")
    return 130 if interrupted else 0 if report.good(summary) else 1


def _find_most(settings: Settings, aim: Aim, shape: Shape, options: argparse.Namespace) -> int:
    def note(text: str) -> None:
        if not options.json:
            say(text)

    p99_s = P99_S if options.p99 is None else options.p99
    found = find_most(settings, aim, shape, p99_s, note, tuned=options.tune)
    if options.json:
        say(json.dumps(found))
    else:
        say(f"\n{aim.what} carries {found['max_per_s']:.0f} requests a second with p99 up to {report.ms(p99_s)}")
        say(f"in the way of more: {found['obstacle']}")
        for line in found["settings"]:
            say(f"  {line}")
    return 0 if found["max_per_s"] else 1


def find_most(
    settings: Settings, aim: Aim, shape: Shape, p99_s: float, note: Any = say, *, tuned: bool = False
) -> dict[str, Any]:
    """Search for the highest rate that is answered within ``p99_s``. Return ``max_per_s``, ``obstacle`` and each step.

    ``tuned`` gives the load wider limits from the first step on; ``settings`` has them, and what they were.
    """
    first = _measured(settings, aim, replace(shape, clients=CLIENTS, seconds=CLIENTS_S, ramp_s=0.0, websockets=0, long=0))
    guess = max(1.0, (first["requests"] - first["failed"]) / max(first["seconds"], 0.1))
    note(f"{CLIENTS} clients get {guess:.0f} answers a second; the search begins there")
    steps: list[most.Step] = []

    def carried(rate: float) -> bool:
        seen: list[most.Seen] = []
        timer = threading.Timer(STEP_RAMP_S + LOOK_AFTER_S, lambda: seen.append(most.look(settings)))
        timer.start()
        tried = replace(shape, rate=rate, seconds=STEP_S, ramp_s=STEP_RAMP_S)
        summary = _measured(settings, aim, tried, tuned=tuned)
        timer.join()
        step = most.Step(rate, summary, seen[0] if seen else most.Seen())
        steps.append(step)
        good = most.holds(step, p99_s, STEP_S + STEP_RAMP_S / 2)
        note(
            f"{rate:8.0f}/s  {'carried' if good else 'too much'}: p99 {report.ms(summary['p99_s'])}, {summary['failed']} failed"
            + ("" if good else f"; {most.obstacle(step, p99_s)}")
        )
        return good

    best = most.search(guess, carried)
    above = min((step for step in steps if step.rate > best), key=lambda step: step.rate, default=None)
    return {
        "aim": aim.what,
        "max_per_s": round(best, 1),
        "p99_s": p99_s,
        "obstacle": most.obstacle(above, p99_s) if above else "nothing was found that is",
        "settings": most.changed(first["settings"], steps[-1].summary["settings"]),
        "steps": [
            {
                "rate_per_s": round(step.rate, 1),
                "p99_s": step.summary["p99_s"],
                "failed": step.summary["failed"],
                "cpu": step.seen.cpu,
            }
            for step in steps
        ],
    }


def _measured(settings: Settings, aim: Aim, shape: Shape, *, tuned: bool = False) -> dict[str, Any]:
    with generator.Load(plan.plan(aim, shape), aim.network, settings.project, tuned=tuned) as load:
        summary = load.wait()
    assert summary is not None
    return summary
