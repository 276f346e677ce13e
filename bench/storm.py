"""Whether the balancers keep up with Consul: 100 registrations and 100 deregistrations a second for a minute, under load.

A service of the benchmark's own is registered in Consul's catalogue, its instances pointing at servers that always answer. Before
the minute begins there are as many instances as live at a time (``--life`` seconds' worth); then every 10 ms a new one is
registered and the oldest deregistered, while GETs go through both published balancers' ports at a steady rate. Deregistrations
are announced to the balancers beforehand, as executors announce theirs: half of a service gone within a second or two without
a word is what the render guard is there to hold back. Run by ``./dev bench storm`` on a running cluster, which it leaves as it
was, after ctrl-C, too. The last line is one JSON object.

* ``failed``: requests that were not answered with 200.
* ``lag_p50_s``, ``lag_p99_s``: of the rotation behind Consul, over registrations and deregistrations, of both balancers. Each is
  an upper bound: from Consul's acknowledgement to reading HAProxy's own line about the change in its log, up to 0.1 s later. An
  instance that was never seen in rotation counts with the time from its registration to the acknowledgement of its
  deregistration, and as ``unseen``.
* ``reloads``, ``updates``: of each balancer within the minute, by its companion's counters. That the service is there at all
  takes one reload, before the minute; its end takes another one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from _fleet import machine
from _load import Load, Report
from _servers import CALLERS, FIRST_PORT, Service, address, run_with_service, servers
from devtool.commands import ACCESS_LOG
from support.cluster import Cluster
from support.containers import docker

NAME = "bench-storm"
BALANCERS = (1, 2)
#: Between two looks at whether all of the last changes have shown.
PACE_S = 0.1
#: For the last changes to show after the minute.
LAST_S = 15.0
REPORT_S = 10.0


class Rotation(threading.Thread):
    """Follows what one balancer's HAProxy says of its servers, and notes when each instance first entered and left rotation.

    It writes a line for each change to its log, which the companion takes to a file ten times a second. To ask for the statistics
    of all servers as often would take a tenth of the machine.
    """

    #: Follows the log until standard input ends: ``docker exec`` leaves running what it has started.
    FOLLOW = f"echo follows; tail -n 0 -F {ACCESS_LOG} & cat > /dev/null; kill $!"
    CHANGE = re.compile(rf"Server {NAME}/(\S+) (?:is|was) (UP|DOWN|going DOWN)\b")

    def __init__(self, cluster: Cluster, balancer: int, standing: set[str]) -> None:
        """``standing`` are in rotation now."""
        super().__init__(name=f"balancer{balancer}", daemon=True)
        self.current = set(standing)
        self.entered: dict[str, float] = {}
        self.left: dict[str, float] = {}
        command = ["docker", "exec", "-i", cluster.container_of(f"balancer{balancer}"), "sh", "-c", self.FOLLOW]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "follows\n"

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now = time.monotonic()
            if not (match := self.CHANGE.search(line)):
                continue
            server = match[1]
            if match[2] == "UP":
                self.current.add(server)
                self.entered.setdefault(server, now)
            else:
                self.current.discard(server)
                self.left.setdefault(server, now)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.join()
        self._process.wait()


class Storm:
    """Makes the changes when they are due, and notes when Consul acknowledged each."""

    def __init__(self, service: Service, host: str, ports: int) -> None:
        self._service = service
        self._host = host
        self._ports = ports
        self._pool = ThreadPoolExecutor(CALLERS)
        self._registrations: dict[int, Future[None]] = {}
        self.registered: dict[str, float] = {}
        self.deregistered: dict[str, float] = {}
        self.calls: list[float] = []

    def register(self, number: int) -> Future[None]:
        def call() -> None:
            self._service.register(number, self._host, FIRST_PORT + number % self._ports)

        future = self._pool.submit(self._timed, call, self.registered, number)
        self._registrations[number] = future
        return future

    def deregister(self, number: int) -> Future[None]:
        def call() -> None:
            self._registrations[number].result()  # of several callers, this one must not overtake
            self._service.deregister(number)

        return self._pool.submit(self._timed, call, self.deregistered, number)

    def id(self, number: int) -> str:
        return self._service.id(number)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _timed(self, call: Callable[[], None], acknowledged: dict[str, float], number: int) -> None:
        began = time.monotonic()
        call()
        now = time.monotonic()
        acknowledged[self.id(number)] = now
        self.calls.append(now - began)


class Announcer:
    """Tells one balancer's companion which instances are about to leave. Its port is not published, so in the container."""

    #: Reads what to post from standard input, line by line, and says when it is done.
    LOOP = (
        'while read -r line; do curl -sf -o /dev/null -H "Content-Type: application/json" -d "$line" '
        "http://127.0.0.1:9100/confirm && echo done; done"
    )

    def __init__(self, cluster: Cluster, balancer: int) -> None:
        command = ["docker", "exec", "-i", cluster.container_of(f"balancer{balancer}"), "sh", "-c", self.LOOP]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def announce(self, ids: list[str]) -> None:
        assert self._process.stdin is not None
        print(json.dumps({"services": ids}), file=self._process.stdin, flush=True)

    def close(self) -> int:
        """Return how many announcements were taken."""
        said, _ = self._process.communicate()
        return said.count("done")


def rage(
    storm: Storm, rotations: list[Rotation], announcers: list[Announcer], standing: int, rate_per_s: int, seconds: int
) -> float:
    """Make the changes of the whole time; return the seconds until Consul had acknowledged the last one."""
    began = time.monotonic()
    futures = []
    for change in range(rate_per_s * seconds):
        if change % rate_per_s == 0:  # a second ahead
            for announcer in announcers:
                announcer.announce([storm.id(number) for number in range(change + rate_per_s, change + 2 * rate_per_s)])
        due = began + change / rate_per_s
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        futures += [storm.register(standing + change), storm.deregister(change)]
        if change and change % (rate_per_s * REPORT_S) == 0:
            behind = sum(not future.done() for future in futures)
            current = ", ".join(f"{len(rotation.current)}" for rotation in rotations)
            print(f"{change / rate_per_s:.0f} s: {current} instances in rotation, {behind} calls under way", flush=True)
    for future in futures:
        future.result(60)
    return time.monotonic() - began


def lags(acknowledged: dict[str, float], seen: dict[str, float], never: dict[str, float], end: float) -> tuple[list[float], int]:
    """Return the lag of each change, and how many never showed: those count until ``never``, or else until the end."""
    found = [max(0.0, seen.get(id, never.get(id, end)) - at) for id, at in acknowledged.items()]
    return found, sum(id not in seen for id in acknowledged)


def share(values: list[float], part: float) -> float:
    """Return the value that ``part`` of all values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def counters(cluster: Cluster) -> list[dict[str, int]]:
    """Return what each balancer's companion has counted so far."""
    found = []
    for balancer in BALANCERS:
        status = docker("exec", cluster.container_of(f"balancer{balancer}"), "curl", "-sf", "http://127.0.0.1:9100/status")
        found.append({key: json.loads(status)[key] for key in ("reloads", "updates", "refusals")})
    return found


def measure(cluster: Cluster, service: Service, options: argparse.Namespace) -> dict[str, Any]:
    standing = options.life * options.rate
    ports = 2 * standing
    with servers(cluster, NAME, ports) as container:
        storm = Storm(service, address(container), ports)
        rotations: list[Rotation] = []
        announcers = [Announcer(cluster, balancer) for balancer in BALANCERS]
        try:
            for future in [storm.register(number) for number in range(standing)]:
                future.result(60)
            ids = {service.id(number) for number in range(standing)}
            service.await_rotation(ids)
            for balancer in BALANCERS:
                rotations.append(Rotation(cluster, balancer, ids))
                rotations[-1].start()
            storm.registered.clear()  # from here on it counts
            storm.calls.clear()
            for announcer in announcers:
                announcer.announce([service.id(number) for number in range(options.rate)])
            before = counters(cluster)
            print(f"{standing} instances stand, the storm begins", flush=True)
            with Load(cluster.balancers, service.host, service.instance, rate_per_s=options.requests) as load:
                took_s = rage(storm, rotations, announcers, standing, options.rate, options.seconds)
                changes = options.rate * options.seconds
                wanted = {service.id(number) for number in range(changes, changes + standing)}
                deadline = time.monotonic() + LAST_S
                while any(rotation.current != wanted for rotation in rotations) and time.monotonic() < deadline:
                    time.sleep(PACE_S)
                after = counters(cluster)
                for balancer, rotation in zip(BALANCERS, rotations, strict=True):  # what its log says is what it does
                    assert rotation.current == service.in_rotation(balancer), f"balancer{balancer}'s log and statistics differ"
                report = load.stop()
        finally:
            storm.close()
            taken = [announcer.close() for announcer in announcers]
            for rotation in rotations:
                rotation.stop()
    assert taken == [options.seconds + 1] * len(BALANCERS), f"announcements that were taken: {taken}"
    return result(storm, rotations, took_s, report, before, after)


def result(
    storm: Storm,
    rotations: list[Rotation],
    took_s: float,
    report: Report,
    before: list[dict[str, int]],
    after: list[dict[str, int]],
) -> dict[str, Any]:
    end = time.monotonic()
    unseen = 0
    entering: list[float] = []
    leaving: list[float] = []
    for rotation in rotations:
        found, missed = lags(storm.registered, rotation.entered, storm.deregistered, end)
        entering += found
        unseen += missed
        # Who never entered never left, either, and counts as above.
        gone = {id: at for id, at in storm.deregistered.items() if id in rotation.left or id in rotation.current}
        found, missed = lags(gone, rotation.left, {}, end)
        leaving += found
        unseen += missed
    both = entering + leaving
    counted = {key: [late[key] - early[key] for early, late in zip(before, after, strict=True)] for key in before[0]}
    return {
        "failed": report.failed,
        "requests": report.requests,
        "retried": report.retried,
        "reasons": report.reasons,
        **counted,
        "lag_p50_s": round(share(both, 0.5), 3),
        "lag_p99_s": round(share(both, 0.99), 3),
        "lag_most_s": round(max(both), 3),
        "registration_lag_p99_s": round(share(entering, 0.99), 3),
        "deregistration_lag_p99_s": round(share(leaving, 0.99), 3),
        "unseen": unseen,
        "registrations_per_s": round(len(storm.registered) / took_s, 1),
        "deregistrations_per_s": round(len(storm.deregistered) / took_s, 1),
        "consul_p99_s": round(share(storm.calls, 0.99), 3),
        "request_p99_s": report.p99_s,
        "request_slowest_s": report.slowest_s,
        **machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench storm", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=100, help="registrations, and deregistrations, a second (default: 100)")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--life", type=int, default=3, help="seconds that an instance lives (default: 3)")
    parser.add_argument("--requests", type=float, default=100, help="GETs a second, through both balancers (default: 100)")
    options = parser.parse_args()
    run_with_service(NAME, lambda cluster, service: measure(cluster, service, options))


if __name__ == "__main__":
    main()
