"""A steady load of GETs, or POSTs, from a process of its own, and what became of each of them.

The load is open: requests start when they are due, however long earlier ones take, and a latency counts from when its request was
due. Half of the requests have a connection of their own, the others share kept ones, as browsers and proxies do. Nothing is
forgiven: any other answer than 200, a refused, reset or cut connection and silence are failures. There is one exception, which
RFC 9112 (9.3.1) asks of clients: where a kept connection turns out closed before any byte of an answer, the GET is sent once
more, and counted as ``retried``. POSTs, which nobody may send twice, have a connection of their own each.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

ANSWER_S = 30.0
#: Closed-loop clients that find out what the machine carries: enough to keep every worker of a small fleet busy.
CLIENTS = 32
#: Requests under way at a time. More means that nothing answers any more, and then more load only breaks the client.
UNDER_WAY_MAX = 2000


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


class Load:
    """A load that runs from entering to :meth:`stop`, or to leaving."""

    def __init__(self, urls: Sequence[str], host: str, *, rate_per_s: float = 0.0, path: str = "/", method: str = "GET") -> None:
        """Ask each of ``urls`` in turn for ``path`` with a ``Host`` header.

        Without a rate, CLIENTS ask as fast as they get answers.
        """
        self._plan = json.dumps({"urls": list(urls), "host": host, "rate_per_s": rate_per_s, "path": path, "method": method})
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it runs
        return self

    def stop(self) -> Report:
        """End the load, once every request under way has its answer, and return what became of all of them."""
        assert self._process is not None
        report, _ = self._process.communicate()
        self._process = None
        return Report(**json.loads(report))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def carried_per_s(urls: Sequence[str], host: str, seconds: float = 10.0, path: str = "/") -> float:
    """Return how many requests a second are answered when clients ask as fast as they can."""
    with Load(urls, host, path=path) as load:
        time.sleep(seconds)
        report = load.stop()
    if report.failed:
        raise SystemExit(f"the fleet does not answer, so there is nothing to measure: {report.reasons}")
    return report.rate_per_s


# The process ------------------------------------------------------------------------------------------------------------------


class Stale(Exception):
    """A kept connection was closed before the first byte of an answer."""


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    def __init__(self, urls: list[str], host: str, path: str, method: str) -> None:
        self._may_keep = method == "GET"
        self._request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n".encode()
        self._targets = itertools.cycle([(split.hostname or "", split.port or 80) for split in map(urlsplit, urls)])
        self._kept: dict[tuple[str, int], list[Connection]] = {}
        self._number = 0
        self.latencies: list[float] = []
        self.reasons: Counter[str] = Counter()
        self.instances: Counter[str] = Counter()
        self.retried = 0

    async def get(self, due: float) -> None:
        """Make one request and note its end."""
        self._number += 1
        keep = self._may_keep and self._number % 4 >= 2  # with two targets, both get both kinds
        target = next(self._targets)
        try:
            async with asyncio.timeout(ANSWER_S):
                status, instance = await self._answer(target, keep)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.reasons[type(error).__name__] += 1
        else:
            if status == 200:
                self.instances[instance] += 1
            else:
                self.reasons[f"status {status}"] += 1
        self.latencies.append(time.monotonic() - due)

    async def _answer(self, target: tuple[str, int], keep: bool) -> tuple[int, str]:
        kept = self._kept.setdefault(target, [])
        while keep and kept:
            connection = kept.pop()
            if connection[0].at_eof():
                connection[1].close()
                continue
            try:
                return await self._exchange(target, connection, keep=True, reused=True)
            except Stale:
                self.retried += 1
                break
        return await self._exchange(target, await asyncio.open_connection(*target), keep=keep, reused=False)

    async def _exchange(self, target: tuple[str, int], connection: Connection, *, keep: bool, reused: bool) -> tuple[int, str]:
        reader, writer = connection
        try:
            writer.write(self._request + (b"\r\n" if keep else b"Connection: close\r\n\r\n"))
            try:
                line = await reader.readline()
            except ConnectionError:
                if reused:
                    raise Stale from None
                raise
            if not line and reused:
                raise Stale
            version, status, *_ = line.split(None, 2)
            headers = {}
            while (line := await reader.readline()).strip():
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            await reader.readexactly(int(headers.get(b"content-length", b"")))  # all of a worker's answers have one
        except BaseException:
            writer.close()
            raise
        if keep and version == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close":
            self._kept[target].append(connection)
        else:
            writer.close()
        return int(status), headers.get(b"x-instance", b"").decode()


async def steady(client: Client, rate_per_s: float, stop: asyncio.Event) -> None:
    """Start requests when they are due."""
    under_way: set[asyncio.Task[None]] = set()
    due = time.monotonic()
    while not stop.is_set():
        due += 1 / rate_per_s
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if len(under_way) >= UNDER_WAY_MAX:
            raise SystemExit(f"{UNDER_WAY_MAX} requests wait for an answer; so far: {dict(client.reasons)}")
        task = asyncio.create_task(client.get(due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def closed(client: Client, stop: asyncio.Event) -> None:
    async def ask() -> None:
        while not stop.is_set():
            await client.get(time.monotonic())

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))


async def run(urls: list[str], host: str, rate_per_s: float, path: str, method: str) -> Report:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The end of its input is the sign to stop, so that a load never outlives whoever started it.
    loop.add_reader(sys.stdin.fileno(), stop.set)
    client = Client(urls, host, path, method)
    print("running", flush=True)
    began = time.monotonic()
    await (steady(client, rate_per_s, stop) if rate_per_s else closed(client, stop))
    seconds = time.monotonic() - began
    latencies = sorted(client.latencies)
    return Report(
        requests=len(latencies),
        failed=client.reasons.total(),
        retried=client.retried,
        seconds=round(seconds, 3),
        reasons=dict(client.reasons),
        instances=dict(client.instances),
        p50_s=round(latencies[len(latencies) // 2], 4),
        p99_s=round(latencies[len(latencies) * 99 // 100], 4),
        slowest_s=round(latencies[-1], 4),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(**json.loads(sys.argv[1]))))))
