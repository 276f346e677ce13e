"""Whether planned stops lose requests: scale 20 -> 5 -> 20 and replace all 20, again and again, under a steady load.

First the machine's own limit is measured: what the fleet answers when clients ask as fast as they can. Then a load of 60% of it
or more (``--share``) goes through both balancers, half of it on kept connections, while the fleet is scaled and replaced. Each
request that was not answered with 200 counts as ``failed``. Beside it, each round has clients that stay, with a WebSocket, a long
poll and an HTTP/2 stream to another app, in HAProxy processes that a reload has made old (``--without-staying-clients``). Run by
``./dev bench drain`` on a running cluster; it uses apps of its own and leaves the cluster as it was. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator

import _patient
from _fleet import Fleet, machine
from _load import Load, Report, carried_per_s

WORK_S = 0.02
MANY, FEW = 20, 5
WITHIN_S = 180.0


def round_of_stops(fleet: Fleet, number: int, rate_per_s: float) -> Report:
    """Scale down, up again, and replace every instance, all under load."""
    with Load(fleet.cluster.balancers, fleet.host, fleet.instance, rate_per_s=rate_per_s) as load:
        marks = [time.monotonic()]
        fleet.scale(FEW, WITHIN_S)
        marks.append(time.monotonic())
        fleet.scale(MANY, WITHIN_S)
        marks.append(time.monotonic())
        fleet.replace({"ROUND": str(number)}, MANY, WITHIN_S)
        marks.append(time.monotonic())
        report = load.stop()
    down_s, up_s, replaced_s = (later - earlier for earlier, later in itertools.pairwise(marks))
    print(
        f"round {number}: {report.failed} of {report.requests} requests failed {report.reasons or ''}; "
        f"down {down_s:.1f} s, up {up_s:.1f} s, replaced {replaced_s:.1f} s; "
        f"{report.retried} retried, p50 {report.p50_s * 1000:.0f} ms, p99 {report.p99_s * 1000:.0f} ms, "
        f"slowest {report.slowest_s * 1000:.0f} ms",
        flush=True,
    )
    return report


@contextlib.contextmanager
def staying(fleet: Fleet, patient: Fleet | None, number: int) -> Iterator[None]:
    """Have clients that stay, in processes that a new app's routes have made old."""
    if patient is None:
        yield
        return
    with (
        _patient.staying_clients(fleet.cluster.balancers, patient.host),
        Fleet(f"bench-drain-another{number}", work_s=0, **_patient.app()) as another,
    ):
        another.scale(1)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench drain", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is repeated (default: 5)")
    parser.add_argument("--share", type=float, default=0.65, help="of what the machine carries (default: 0.65)")
    parser.add_argument("--without-staying-clients", action="store_true")
    options = parser.parse_args()
    strategy = {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.2}
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(Fleet("bench-drain", work_s=WORK_S, upgradeStrategy=strategy, taskKillGracePeriodSeconds=10))
        fleet.scale(MANY)
        patient = None
        if not options.without_staying_clients:
            patient = stack.enter_context(Fleet("bench-drain-patient", work_s=0, **_patient.app(taskKillGracePeriodSeconds=1)))
            patient.scale(2)
        carried = carried_per_s(fleet.cluster.balancers, fleet.host, fleet.instance)
        rate_per_s = options.share * carried
        print(f"the machine carries {carried:.0f} requests/s; the load is {rate_per_s:.0f}/s", flush=True)
        reports = []
        for number in range(options.rounds):
            with staying(fleet, patient, number):
                reports.append(round_of_stops(fleet, number + 1, rate_per_s))
    reasons = sum((Counter(report.reasons) for report in reports), Counter())
    print(
        json.dumps(
            {
                "failed": sum(report.failed for report in reports),
                "requests": sum(report.requests for report in reports),
                "retried": sum(report.retried for report in reports),
                "reasons": dict(reasons),
                "rounds": options.rounds,
                "carried_per_s": round(carried, 1),
                "rate_per_s": round(rate_per_s, 1),
                "p99_s": max(report.p99_s for report in reports),
                "slowest_s": max(report.slowest_s for report in reports),
                **machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
