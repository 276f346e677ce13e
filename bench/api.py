"""How fast the API answers with authentication on: one list of many apps, one change, and news for many readers at once.

The core, its loop, an SQLite store and the API's server run in a process of their own, and no Mesos: nothing is launched.
Clients and readers are in this one. Run by ``./dev bench api``; needs no cluster. The last line is one JSON object.

* ``list_ms``: GET /v2/apps with 2,000 apps, from the request to the last byte, median.
* ``post_ms``: POST /v2/apps beside these, stored, median and 99th percentile, with a token; ``post_password_ms`` with a password,
  which is slow to try and so remembered: the first request with it is left out.
* ``list_cpu_ms``, ``post_cpu_ms``: CPU time of the API's process for each, on the average. The others are wall-clock times, and
  a machine that others load makes them as long as it likes.
* ``event_lag_p99_s``: from a change's request to the event at a reader, of all readers and changes together, with 500 readers
  and 100 changes a second.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.builders import EXECUTOR, an_app
from support.waiting import until

from eratos.common.browser_guard import BrowserGuard
from eratos.common.resources import Resources
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.config import Config
from eratos.scheduler.core.actions import Call
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import TaskStatus
from eratos.scheduler.core.step import Settings
from eratos.scheduler.loop import Loop
from eratos.scheduler.process import Process
from eratos.scheduler.store.factory import open_store

APPS = 2000
POSTS = 200
READERS = 500
CHANGES_PER_S = 100


class NoMesos:
    """A driver that takes everything and does nothing."""

    def perform(self, call: Call) -> bool:
        return True

    def acknowledge(self, status: TaskStatus) -> bool:
        return True


class Leading(Process):
    """A process that leads without an election."""

    is_leader = True

    def leader(self) -> str | None:
        return "http://127.0.0.1"


def serve(folder: Path, token: str) -> None:
    """Serve until standard input ends; the first line printed is the port, and one for each line read the CPU time so far."""
    file = folder / "credentials"
    every = (Grant.parse("operate:/"),)
    lines = [credentials.line("bench", "token", credentials.token_entry(token), every)]
    lines.append(credentials.line("person", "password", credentials.password_entry(token), every))
    file.write_text("".join(lines))
    file.chmod(0o600)
    store = open_store(f"sqlite://{folder}/store")
    store.begin_term("")
    process = Leading(Config(master="m:5050", store="memory:"))
    machine = Machine(store.load(), Settings(EXECUTOR, Resources(100, 64)), _ids(), time.time())
    loop = process._loop = Loop(machine, store, process.clock, process.events)
    threading.Thread(target=loop.run, args=(NoMesos(),), daemon=True).start()
    access = Access(BrowserGuard(), Authenticator(CredentialsFile(file)))
    server = ApiServer(create_api(process, process.clock, access=access), "127.0.0.1", 0, READERS + 100)
    server.start()
    print(server.port, flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)
    process.events.close()
    server.stop()
    loop.stop()


def _ids() -> Any:
    import itertools

    numbers = itertools.count(1)
    return lambda: f"i{next(numbers)}"


class Client:
    """One connection with the API."""

    def __init__(self, port: int, token: str, user: str = "") -> None:
        """With a ``user`` the token is shown as their password."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        login = f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}" if user else f"Bearer {token}"
        self._headers = {"Authorization": login, "Content-Type": "application/json"}

    def timed(self, method: str, path: str, body: Any = None) -> float:
        """Send one request; return its time in ms."""
        content = None if body is None else json.dumps(body)
        began = time.perf_counter()
        self._connection.request(method, path, content, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        assert answer.status in (200, 201), text[:300]
        return took_ms


class Spent:
    """Takes the CPU time of the API's process, in ms."""

    def __init__(self, served: subprocess.Popen[str]) -> None:
        self._served = served

    def so_far(self) -> float:
        assert self._served.stdin is not None and self._served.stdout is not None
        self._served.stdin.write("\n")
        self._served.stdin.flush()
        return float(self._served.stdout.readline()) * 1000

    def timed(self, requests: int, ask: Callable[[int], float]) -> tuple[list[float], float]:
        """Send requests one after the other; return how long each took, and how much CPU time each cost on the average."""
        began = self.so_far()
        took = [ask(number) for number in range(requests)]
        return took, (self.so_far() - began) / requests


class Readers:
    """Follow the event stream and take the time of what comes."""

    def __init__(self, port: int, token: str, count: int) -> None:
        self._port, self._token, self._count = port, token, count
        self.attached = 0
        self.lags_s: list[float] = []
        self.sent: dict[str, float] = {}  #: description of a change -> when it was sent
        self.heard = 0
        self.cut_off = 0

    async def follow(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._count)))

    async def _one(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            b"GET /v2/events?event_type=api_post_event HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
            + f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        self.attached += 1
        # Each change is known by its number of instances; nothing else is read of an event, as this is one process for all.
        while line := await reader.readline():
            if line.startswith(b"data: "):
                now = time.perf_counter()
                self.heard += 1
                number = line.partition(b'"instances":')[2].partition(b",")[0].decode()
                if number in self.sent:
                    self.lags_s.append(now - self.sent[number])
        self.cut_off += 1


def news(port: int, token: str, readers: int, rate: float, seconds: float) -> dict[str, Any]:
    """Make changes at a pace while readers follow; return the lag."""
    following = Readers(port, token, readers)
    loop = asyncio.new_event_loop()
    task = loop.create_task(following.follow())

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until(lambda: following.attached == readers, 120, "all readers follow")
    client, count = Client(port, token), int(rate * seconds)
    began = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.perf_counter()))
        following.sent[str(1000 + number)] = time.perf_counter()
        client.timed("PUT", "/v2/apps/g0/app0?force=true", {"instances": 1000 + number, "id": "/g0/app0"})
    took_s = time.perf_counter() - began
    until(lambda: len(following.lags_s) == count * readers or following.cut_off, 60, "each reader hears of each change")
    loop.call_soon_threadsafe(task.cancel)
    thread.join(10)
    lags = sorted(following.lags_s)
    return {
        "event_lag_p50_s": round(lags[len(lags) // 2], 3),
        "event_lag_p99_s": round(lags[len(lags) * 99 // 100], 3),
        "readers": readers,
        "cut_off": following.cut_off,
        "heard": len(lags),
        "expected": count * readers,
        "changes_per_s": round(count / took_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", type=int, default=APPS)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--seconds", type=float, default=20, help="how long changes are made for the readers")
    parser.add_argument("--rate", type=float, default=CHANGES_PER_S, help="changes a second")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve[0]), options.serve[1])
        return
    token = credentials.new_token()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", __file__, "--serve", folder, token]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as served:
            assert served.stdout is not None and served.stdin is not None
            port = int(served.stdout.readline())
            client = Client(port, token)
            for begin in range(0, options.apps, 500):
                numbers = range(begin, min(begin + 500, options.apps))
                client.timed("PUT", "/v2/apps", [_app(f"/g{number % 50}/app{number}") for number in numbers])
            client.timed("GET", "/v2/apps")
            spent = Spent(served)
            lists, list_cpu_ms = spent.timed(20, lambda _: client.timed("GET", "/v2/apps"))
            posts, post_cpu_ms = spent.timed(POSTS, lambda number: client.timed("POST", "/v2/apps", _app(f"/new/app{number}")))
            person = Client(port, token, "person")
            person.timed("GET", "/v2/info")
            by_person = [person.timed("POST", "/v2/apps", _app(f"/theirs/app{number}")) for number in range(POSTS)]
            found = {
                "apps": options.apps,
                "list_ms": round(statistics.median(lists), 1),
                "list_cpu_ms": round(list_cpu_ms, 1),
                "post_ms": round(statistics.median(posts), 1),
                "post_p99_ms": round(statistics.quantiles(posts, n=100)[98], 1),
                "post_cpu_ms": round(post_cpu_ms, 1),
                "post_password_ms": round(statistics.median(by_person), 1),
                "post_password_p99_ms": round(statistics.quantiles(by_person, n=100)[98], 1),
                **news(port, token, options.readers, options.rate, options.seconds),
            }
            served.stdin.close()
    print(json.dumps(found))


def _app(app_id: str) -> dict[str, Any]:
    checks = [{"protocol": "HTTP", "path": "/health", "portIndex": 0}]
    return an_app(app_id, 1, healthChecks=checks, env={f"KEY_{number}": "some value" for number in range(10)}).to_json()


if __name__ == "__main__":
    main()
