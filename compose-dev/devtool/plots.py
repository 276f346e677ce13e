"""One HTML file that shows a load and, where something was broken meanwhile, what and when. Fetches nothing, runs no script.

Every chart has the seconds since the load began from left to right. What was broken is a band over all of them, which leads
to what happened meanwhile.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .terminal import Problem

WIDTH, HEIGHT, LEFT, BELOW = 960, 120, 56, 18
#: Events that end a step; the next one may begin in the same tenth of a second.
ENDS = ("well", "broken")
#: Failures that are listed one by one for each step; of more, the number.
LISTED = 20

STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --quiet: #5d6675; --page: #fff; --line: #d9dee7; --band: #e0930030;
  --good: #2459c9; --bad: #c62a2a; --slow: #7a4fb5; --card: #f5f7fa }
@media (prefers-color-scheme: dark) { :root { --text: #e7eaf0; --quiet: #9aa4b5; --page: #14181f; --line: #343c4a;
  --band: #e0930045; --good: #7aa2ff; --bad: #ff7b72; --slow: #c3a0f5; --card: #1d232d } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 62rem; margin: 0 auto;
  padding: 1rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1rem; margin: 1.2rem 0 0 } h3 { font-size: 1rem; margin: 0 }
p { margin: .3rem 0 } .quiet { color: var(--quiet) } .good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
svg { width: 100%; min-width: 40rem; height: auto; display: block } svg text { font-size: 11px; fill: var(--quiet) }
.grid { stroke: var(--line) } .band { fill: var(--band) } a:hover .band, a:focus .band { fill: #e0930080 }
.fill-good { fill: var(--good); opacity: .75; pointer-events: none } .fill-bad { fill: var(--bad) }
.line-good { stroke: var(--good); fill: none; stroke-width: 1.5 }
.line-slow { stroke: var(--slow); fill: none; stroke-width: 1.5 }
section { padding: .6rem .8rem; margin: .6rem 0; border: 1px solid var(--line); border-radius: 6px; background: var(--card) }
section:target { border-color: #e09300; box-shadow: 0 0 0 2px #e0930060 }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; overflow-wrap: anywhere }
th { color: var(--quiet); font-weight: 500 } td.number, th.number { text-align: right; white-space: nowrap }
"""


@dataclass(frozen=True)
class Band:
    """A time in which something was broken; seconds since the load began."""

    text: str
    at_s: float
    over_s: float
    anchor: str  #: id of the section that says more


@dataclass(frozen=True)
class Row:
    """Something that happened, or a request that failed."""

    at_s: float
    text: str
    bad: bool = False


@dataclass(frozen=True)
class Section:
    """What happened from one fault to the next."""

    anchor: str
    title: str
    summary: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Run:
    """What is shown. ``seconds`` are the load's, with ``at_s``; ``ready`` when -> instances in rotation."""

    title: str
    verdict: str
    good: bool
    facts: Sequence[str]
    seconds: Sequence[dict[str, Any]]
    ready: Sequence[tuple[float, int]] = ()
    bands: Sequence[Band] = ()
    sections: Sequence[Section] = ()


def of_load(title: str, verdict: str, good: bool, facts: Sequence[str], summary: dict[str, Any], seconds: Any) -> Run:
    """Return what is shown of a load; ``summary`` is what the generator said at the end."""
    failures = summary.get("failures") or []
    sections = [Section("failures", "Failed requests", _count(summary["failed"]), _failed(failures))] if summary["failed"] else []
    return Run(title, verdict, good, facts, seconds, sections=sections)


def of_chaos(found: dict[str, Any], verdict: str, good: bool) -> Run:
    """Return what is shown of a run of faults, given its result (:func:`devtool.chaos.trial.result`)."""
    facts = [
        f"{found['requests']} requests, {found['failed']} failed, {found['answered']:.4%} answered; {found['excused']} more went "
        "to a balancer while it was taken away",
        f"slowest recovery {found['slowest_recovery_s']:g} s; p99 of all answers {found['p99_s'] * 1000:.0f} ms; "
        f"seed {found['seed']}",
        *found.get("budgets", ()),
        *found["broken"],
    ]
    bands, sections = [], []
    steps = found["steps"]
    for number, step in enumerate(steps):
        anchor = f"step-{number + 1}"
        end_s = steps[number + 1]["at_s"] if number + 1 < len(steps) else float("inf")
        bands.append(Band(step["step"], step["at_s"], max(step["over_s"], step["at_s"]), anchor))
        happened = [
            Row(event["at_s"], event["text"], event["event"] == "broken")
            for event in found["timeline"]
            if (step["at_s"] < event["at_s"] <= end_s if event["event"] in ENDS else step["at_s"] <= event["at_s"] < end_s)
        ]
        failed = _failed([failure for failure in found["failures"] if step["at_s"] <= failure["at_s"] < end_s])
        summary = (
            f"well again {step['recovery_s']:g} s after it, in full strength {step['strength_s']:g} s after it began; "
            f"{_count(step['failed'])}, {step['excused']} excused"
        )
        rows = sorted([*happened, *failed], key=lambda row: row.at_s)
        sections.append(Section(anchor, f"{number + 1}. {step['step']}", summary, rows))
    ready = [(at_s, count) for at_s, count in found["rotation"]]
    return Run(found["scenario"], verdict, good, facts, found["seconds"], ready, bands, sections)


def write(path: Path, run: Run) -> None:
    """Write the page, whole or not at all. Raise Problem where that cannot be done."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text("\n".join(page(run)), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise Problem(f"--page {path}: {error.strerror}", "name a file in a folder that can be written") from None


def check(path: str) -> None:
    """Raise Problem, before the work begins, where a page cannot be written there; no path is none to write."""
    folder = Path(path).parent
    if path and (Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK)):
        raise Problem(f"--page {path} cannot be written", "name a file in a folder that is there and can be written")


def page(run: Run) -> Iterator[str]:
    """Yield the lines of the page."""
    end_s = max([second["at_s"] for second in run.seconds] + [band.over_s for band in run.bands] + [1.0])
    yield from (
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{_text(run.title)}</title><style>{STYLE}</style></head><body>",
        f'<h1>{_text(run.title)}</h1><p class="{"good" if run.good else "bad"}">{_text(run.verdict)}</p>',
    )
    yield from (f'<p class="quiet">{_text(fact)}</p>' for fact in run.facts)
    if run.bands:
        yield '<p class="quiet">Yellow: something was broken. Choose a band to see what happened to whom.</p>'
    failed = "failed (red)" if any(second["failed"] for second in run.seconds) else "none failed"
    yield from _chart(run, end_s, f"Requests a second: answered (blue), {failed}", _answers, lambda s: float(s["requests"]), "")
    yield from _chart(run, end_s, "Latency: p50 (blue) and p99 (violet)", _latency, lambda s: s["p99_s"] * 1000, " ms")
    if run.ready:
        yield from _rotation(run, end_s)
    for section in run.sections:
        yield f'<section id="{section.anchor}"><h3>{_text(section.title)}</h3><p class="quiet">{_text(section.summary)}</p>'
        yield '<div class="scroll"><table>'
        yield from (
            f'<tr><td class="number quiet">{row.at_s:.1f} s</td><td{" class=bad" if row.bad else ""}>{_text(row.text)}</td></tr>'
            for row in section.rows
        )
        yield "</table></div></section>"
    yield "</body></html>"


def round_up(most: float) -> float:
    """Return the least of 1, 2, 5 and their multiples by powers of ten that is no less: what an axis ends with."""
    step = 1.0
    while step * 10 < most:
        step *= 10
    while step > most > 0 and step > 1e-6:
        step /= 10
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= most)


def _chart(
    run: Run,
    end_s: float,
    title: str,
    draw: Callable[[Run, Callable[[float], float], Callable[[float], float]], Iterable[str]],
    of: Callable[[dict[str, Any]], float],
    unit: str,
) -> Iterator[str]:
    most = round_up(max([of(second) for second in run.seconds] + [0.0]) or 1.0)
    yield from _frame(run, end_s, title, most, unit, draw)


def _rotation(run: Run, end_s: float) -> Iterator[str]:
    most = max(count for _, count in run.ready)

    def draw(run: Run, x: Callable[[float], float], y: Callable[[float], float]) -> Iterator[str]:
        path, before = "", 0
        for at_s, count in sorted(run.ready):
            path += f"L{x(at_s):.1f},{y(before):.1f}L{x(at_s):.1f},{y(count):.1f}" if path else f"M{x(at_s):.1f},{y(count):.1f}"
            before = count
        yield f'<path class="line-good" d="{path}"/>'

    yield from _frame(run, end_s, "Instances in rotation, on the balancer that has the fewest", round_up(most), "", draw)


def _frame(
    run: Run,
    end_s: float,
    title: str,
    most: float,
    unit: str,
    draw: Callable[[Run, Callable[[float], float], Callable[[float], float]], Iterable[str]],
) -> Iterator[str]:
    def x(at_s: float) -> float:
        return LEFT + (WIDTH - LEFT) * at_s / end_s

    def y(value: float) -> float:
        return HEIGHT - HEIGHT * min(value, most) / most

    yield f"<h2>{_text(title)}</h2>"
    yield f'<div class="scroll"><svg viewBox="0 -8 {WIDTH} {HEIGHT + BELOW + 8}" role="img" aria-label="{_text(title)}">'
    for share in (0.0, 0.5, 1.0):
        at = y(most * share)
        yield f'<path class="grid" d="M{LEFT},{at:.1f}H{WIDTH}"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{most * share:g}{unit}</text>'
    every = round_up(end_s / 8)
    for number in range(int(end_s / every) + 1):
        anchor = "start" if not number else "end" if (number + 0.3) * every > end_s else "middle"
        yield f'<text x="{x(number * every):.1f}" y="{HEIGHT + 14}" text-anchor="{anchor}">{number * every:g} s</text>'
    for band in run.bands:
        width = max(2.0, x(band.over_s) - x(band.at_s))
        yield f'<a href="#{band.anchor}" aria-label="{_text(band.text)}"><rect class="band" x="{x(band.at_s):.1f}" y="0" '
        yield f'width="{width:.1f}" height="{HEIGHT}"><title>{_text(band.text)}</title></rect></a>'
    yield from draw(run, x, y)
    yield "</svg></div>"


def _answers(run: Run, x: Callable[[float], float], y: Callable[[float], float]) -> Iterator[str]:
    since_s = 0.0
    for second in run.seconds:
        left, answered = x(since_s), second["requests"] - second["failed"]
        bar = f'x="{left:.1f}" width="{max(0.5, (x(second["at_s"]) - left) * 0.9):.1f}"'
        since_s = second["at_s"]
        yield f'<rect class="fill-good" {bar} y="{y(answered):.1f}" height="{y(0) - y(answered):.1f}"/>'
        if second["failed"]:
            why = ", ".join(f"{count} {reason}" for reason, count in sorted((second.get("reasons") or {}).items()))
            # One of a thousand is seen as well.
            height = max(3.0, y(answered) - y(second["requests"]))
            yield f'<rect class="fill-bad" {bar} y="{y(answered) - height:.1f}" height="{height:.1f}"><title>{_text(why)}</title>'
            yield "</rect>"


def _latency(run: Run, x: Callable[[float], float], y: Callable[[float], float]) -> Iterator[str]:
    for key, kind in (("p50_s", "line-good"), ("p99_s", "line-slow")):
        points = " ".join(f"{x(second['at_s']):.1f},{y(second[key] * 1000):.1f}" for second in run.seconds)
        yield f'<polyline class="{kind}" points="{points}"/>'


def _failed(failures: Sequence[dict[str, Any]]) -> list[Row]:
    rows = [
        Row(one["at_s"], f"{one['reason']} at {_whose(one)} after {one['latency_s']:.2f} s: {one['detail']}", True)
        for one in failures[:LISTED]
    ]
    if len(failures) > LISTED:
        rows.append(Row(failures[LISTED]["at_s"], f"and {len(failures) - LISTED} more failed", True))
    return rows


def _whose(failure: dict[str, Any]) -> str:
    return f"{failure['target']}, {failure['instance']}" if failure.get("instance") else str(failure["target"])


def _count(failed: int) -> str:
    return f"{failed} requests failed" if failed else "no request failed"


def _text(text: Any) -> str:
    return html.escape(text if isinstance(text, str) else json.dumps(text))
