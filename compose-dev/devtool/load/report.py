"""What people read of a load: a line each second, and at the end everything."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .plan import ENDLESS_S, Aim, Shape

#: Instances that are reported one by one; of more, the slowest and those with failures.
INSTANCES = 25
#: That far behind its plan, the generator itself was a part of what it measured.
LATE_S = 0.1


def headline(aim: Aim, shape: Shape) -> str:
    """Return what is about to happen."""
    words = [f"{shape.clients} clients, as fast as they get answers" if shape.clients else f"{shape.rate:g} requests a second"]
    if shape.seconds < ENDLESS_S:
        words.append(f"for {shape.seconds:g} s")
    if shape.ramp_s:
        words.append(f"after a ramp of {shape.ramp_s:g} s")
    words.append("HTTP/2" if shape.http2 else f"{shape.keep_alive:.0%} over kept connections")
    words += [f"{count} {kind}" for count, kind in ((shape.websockets, "WebSockets"), (shape.long, "long answers")) if count]
    return f"{aim.what}: {', '.join(words)}"


def second(at_s: float, figures: dict[str, Any]) -> str:
    """Return what to say of one second."""
    failed = f", {figures['failed']} failed ({_counts(figures['reasons'])})" if figures["failed"] else ""
    return f"{at_s:6.0f} s  {figures['requests']} requests{failed}, p50 {ms(figures['p50_s'])}, p99 {ms(figures['p99_s'])}"


def ms(seconds: float) -> str:
    """Return a time in milliseconds, in as many digits as matter."""
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def good(summary: dict[str, Any]) -> bool:
    """Return whether every request was answered, and by the right app."""
    held = summary.get("held") or {}
    return not summary["failed"] and not any(figures["failed"] for figures in held.values()) and summary["requests"] > 0


def verdict(summary: dict[str, Any]) -> str:
    """Return the one sentence that counts."""
    if not summary["requests"]:
        return "no request was made"
    if summary["wrong_app"]:
        return f"{summary['wrong_app']} answers came from the wrong app"
    failed = summary["failed"] + sum(figures["failed"] for figures in (summary.get("held") or {}).values())
    return f"{failed} of {summary['requests']} requests failed" if failed else "every request was answered"


def lines(summary: dict[str, Any]) -> list[str]:
    """Return the report."""
    rate = summary["requests"] / summary["seconds"] if summary["seconds"] else 0.0
    told = [
        f"requests    {summary['requests']} in {summary['seconds']:.1f} s, {rate:.1f} a second, {summary['failed']} failed"
        + (f", {summary['retried']} sent once more" if summary["retried"] else ""),
        "latency     "
        + "  ".join(f"{name} {ms(summary[key])}" for name, key in _PERCENTILES)
        + "  from when each was due, whether it was answered or failed",
    ]
    if summary["late_most_s"] > LATE_S:
        told.append(f"            the load itself was up to {ms(summary['late_most_s'])} late; that is in these figures")
    told += [_row("by target", name, figures) for name, figures in sorted(summary["targets"].items())]
    told += [_row("held", kind, figures) for kind, figures in sorted((summary.get("held") or {}).items())]
    told += _instances(summary["instances"])
    if summary["unnamed"]:
        told.append(f"            {summary['unnamed']} answers name no instance (X-Instance): whose they were is not known")
    return [*told, *_failures(summary)]


_PERCENTILES = (("p50", "p50_s"), ("p90", "p90_s"), ("p99", "p99_s"), ("p99.9", "p999_s"), ("slowest", "slowest_s"))


def _row(what: str, name: str, figures: dict[str, Any]) -> str:
    row = f"{what:<12}{name:<44}{figures['requests']:>8}{figures['failed']:>7} failed  p99 {ms(figures['p99_s'])}"
    return row + (f"  ({_counts(figures['reasons'])})" if figures["failed"] else "")


def _instances(instances: dict[str, dict[str, Any]]) -> list[str]:
    def worst(item: tuple[str, dict[str, Any]]) -> tuple[float, float]:
        return -item[1]["failed"], -item[1]["p99_s"]

    shown = sorted(sorted(instances.items(), key=worst)[:INSTANCES])
    told = [_row("by instance", _short(name), figures) for name, figures in shown]
    if len(instances) > len(shown):
        told.append(f"            and {len(instances) - len(shown)} instances that were faster, without failures or with fewer")
    return told


def _short(instance: str) -> str:
    """Return an instance as ./dev logs calls its task: shop_cart.6f1c0a52.1."""
    app, found, rest = instance.partition(".instance-")
    return f"{app}.{rest[:8]}{rest.rpartition('._app')[2]}" if found else instance[:43]


def _failures(summary: dict[str, Any]) -> list[str]:
    """Return the failures by kind: how many, where, and the first of them."""
    counts: Counter[str] = Counter(summary.get("reasons") or {})
    for kind, figures in (summary.get("held") or {}).items():
        counts.update({f"{kind}: {reason}": count for reason, count in (figures.get("reasons") or {}).items()})
    told = []
    for reason, count in counts.most_common():
        those = [failure for failure in summary["failures"] or () if failure["reason"] == reason]
        first = f", the first after {those[0]['at_s']:.1f} s at {those[0]['target']}: {those[0]['detail']}" if those else ""
        told.append(f"failed      {count} {reason}{first}")
    return told
