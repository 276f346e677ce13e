"""A steady load of GETs, or POSTs, by the load generator of ./dev load, and what became of each of them.

The load is open: requests start when they are due, however long earlier ones take, and a latency counts from when its request was
due. Half of the requests have a connection of their own, the others share kept ones, as browsers and proxies do. Nothing is
forgiven: an error status, a refused, reset or cut connection and silence are failures. There is one exception, which
RFC 9112 (9.3.1) asks of clients: where a kept connection turns out closed before any byte of an answer, the GET is sent once
more, and counted as ``retried``. POSTs, which nobody may send twice, have a connection of their own each.

An answer from another app ends the benchmark: whatever else it measured would be worth nothing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from devtool.load import generator
from devtool.load.plan import Aim, Shape, Target, plan
from devtool.settings import read_settings

#: Closed-loop clients that find out what the machine carries: enough to keep every worker of a small fleet busy.
CLIENTS = 32


@dataclass
class Report:
    """What became of the requests of one load."""

    requests: int = 0
    failed: int = 0
    retried: int = 0  #: sent again because their kept connection was closed before the answer's first byte
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)  #: of failures
    instances: dict[str, int] = field(default_factory=dict)  #: answers by the worker's ``X-Instance``
    p50_s: float = 0.0
    p99_s: float = 0.0
    slowest_s: float = 0.0

    @property
    def rate_per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0


@functools.cache
def project() -> str:
    """Return the cluster's project, once the generator is there and up to date."""
    settings = read_settings(os.environ)
    generator.build(settings)
    return settings.project


class Load:
    """A load that runs from entering to :meth:`stop`, or to leaving."""

    def __init__(
        self,
        urls: Sequence[str],
        host: str,
        instance: str,
        *,
        rate_per_s: float = 0.0,
        path: str = "/",
        method: str = "GET",
        seconds: float | None = None,
    ) -> None:
        """Ask each of ``urls`` in turn for ``path`` with a ``Host`` header. Names of instances begin with ``instance``.

        Without a rate, CLIENTS ask as fast as they get answers. With ``seconds`` it ends by itself after these.
        """
        targets = tuple(Target(url.partition("://")[2], url) for url in urls)
        aim = Aim(host, targets, "host", host, path, instance, named=True)
        shape = Shape(rate=rate_per_s or 1.0, clients=0 if rate_per_s else CLIENTS, method=method)
        made = plan(aim, shape)
        if seconds is not None:
            made["stages"][-1]["seconds"] = seconds
        self._load = generator.Load(made, aim.network, project())

    def __enter__(self) -> Load:
        self._load.__enter__()
        return self

    def stop(self) -> Report:
        """End the load, once every request under way has its answer, and return what became of all of them."""
        return report(self._load.stop())

    def wait(self) -> Report:
        """Wait for the load's own end, and return what became of all requests."""
        summary = self._load.wait()
        assert summary is not None
        return report(summary)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._load.__exit__(kind, error, trace)


def report(summary: dict[str, Any]) -> Report:
    """Return what matters of the generator's summary. Ends the benchmark where the wrong app has answered."""
    if summary["wrong_app"]:
        wrong = [failure for failure in summary["failures"] if failure["reason"].endswith("wrong app")]
        raise SystemExit(f"{summary['wrong_app']} answers came from the wrong app: {wrong[:3]}")
    return Report(
        requests=summary["requests"],
        failed=summary["failed"],
        retried=summary["retried"],
        seconds=round(summary["seconds"], 3),
        reasons=summary.get("reasons") or {},
        instances={name: figures["requests"] - figures["failed"] for name, figures in summary["instances"].items()},
        p50_s=round(summary["p50_s"], 4),
        p99_s=round(summary["p99_s"], 4),
        slowest_s=round(summary["slowest_s"], 4),
    )


def carried_per_s(urls: Sequence[str], host: str, instance: str, seconds: float = 10.0, path: str = "/") -> float:
    """Return how many requests a second are answered when clients ask as fast as they can."""
    with Load(urls, host, instance, path=path, seconds=seconds) as load:
        found = load.wait()
    if found.failed:
        raise SystemExit(f"the fleet does not answer, so there is nothing to measure: {found.reasons}")
    return found.rate_per_s
