"""Counters of one worker, in Prometheus' text format. Called from the server's loop and from handlers' threads."""

from __future__ import annotations

import threading
import time


class Metrics:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._requests: dict[tuple[str, int], int] = {}
        self._work_s = 0.0

    def count_request(self, path: str, code: int) -> None:
        with self._lock:
            self._requests[path, code] = self._requests.get((path, code), 0) + 1

    def add_work(self, cpu_s: float) -> None:
        with self._lock:
            self._work_s += cpu_s

    def render(self, in_flight: int) -> str:
        """Return the exposition; ``in_flight`` includes the request that asks for it."""
        with self._lock:
            requests = sorted(self._requests.items())
            work_s = self._work_s
        counts = [f'worker_requests_total{{path="{path}",code="{code}"}} {count}' for (path, code), count in requests]
        lines = [
            "# HELP worker_requests_total Requests answered, by path and status code.",
            "# TYPE worker_requests_total counter",
            *counts,
            "# HELP worker_requests_in_flight Requests begun and not yet answered.",
            "# TYPE worker_requests_in_flight gauge",
            f"worker_requests_in_flight {in_flight}",
            "# HELP worker_work_seconds_total CPU time spent on looking for primes.",
            "# TYPE worker_work_seconds_total counter",
            f"worker_work_seconds_total {work_s:.6f}",
            "# HELP worker_uptime_seconds Time since the start of the process.",
            "# TYPE worker_uptime_seconds gauge",
            f"worker_uptime_seconds {time.monotonic() - self._started_s:.3f}",
        ]
        return "\n".join(lines) + "\n"
