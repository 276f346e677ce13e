"""Changes wait for their turn without keeping anybody from reading."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError

import pytest
from support.api import OPEN, ApiClient
from support.controller import FakeController

from eratos.scheduler.api import context, turns
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import Command
from eratos.scheduler.core.refusals import Unavailable

APP = b'{"id": "/a", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32}'


class StoreAway(FakeController):
    """Holds every change until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()
        self.submitted = threading.Semaphore(0)

    def submit(self, make_command: Callable[[int], Command]) -> Reply:
        self.submitted.release()
        assert self.back.wait(300)  # longer than any machine takes for what is read meanwhile
        return super().submit(make_command)


JSON = {"Content-Type": "application/json"}


def put(port: int, instances: int) -> int:
    url, body = f"http://127.0.0.1:{port}/v2/apps/a", APP[:-1] + b', "instances": %d}' % instances
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, JSON, method="PUT"), timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_readings_are_answered_while_a_hundred_changes_wait_for_the_store() -> None:
    controller = StoreAway()
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    try:
        with ThreadPoolExecutor(100) as clients:
            changes = [clients.submit(put, server.port, number) for number in range(100)]
            assert controller.submitted.acquire(timeout=30)
            for path in ("/ping", "/metrics", "/v2/info", "/v2/leader", "/v2/apps", "/v2/tasks", "/v2/queue") * 10:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
                    assert answer.status == 200
            assert not any(change.done() for change in changes)
            controller.back.set()
            assert sorted(change.result() for change in changes) == [200] * 99 + [201]
    finally:
        controller.back.set()
        server.stop()


def test_changes_are_made_one_after_the_other_in_their_order() -> None:
    made: list[int] = []

    async def main() -> list[int]:
        taken = turns.Turns()
        return list(await asyncio.gather(*(taken.take(lambda n=n: made.append(n) or n) for n in range(50))))  # type: ignore[misc,func-returns-value]

    assert asyncio.run(main()) == made == list(range(50))


def test_a_change_whose_turn_does_not_come_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    back, made = threading.Event(), []

    async def main() -> None:
        taken = turns.Turns()
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def hold() -> bool:
            loop.call_soon_threadsafe(begun.set)
            return back.wait(30)

        first = asyncio.ensure_future(taken.take(hold))
        await begun.wait()
        monkeypatch.setattr(turns, "TURN_S", 0.01)
        with pytest.raises(Unavailable, match="other changes"):
            await taken.take(lambda: made.append(1))
        monkeypatch.setattr(turns, "TURN_S", 20)
        back.set()
        await first
        assert await taken.take(lambda: 7) == 7

    asyncio.run(main())
    assert not made


def test_no_more_changes_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAITING_MOST", 2)
    back = threading.Event()

    async def main() -> None:
        taken = turns.Turns()
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def first() -> Any:
            loop.call_soon_threadsafe(begun.set)
            return back.wait(30)

        waiting = [asyncio.ensure_future(taken.take(first))]
        await begun.wait()
        waiting += [asyncio.ensure_future(taken.take(lambda: None)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="wait already"):
            await taken.take(lambda: None)
        back.set()
        await asyncio.gather(*waiting)

    asyncio.run(main())


def test_what_a_change_raises_is_the_answer_and_the_next_one_is_made() -> None:
    controller = FakeController()
    controller.submit = None  # type: ignore[assignment, method-assign]
    api = ApiClient(create_api(controller, access=OPEN))
    assert api.post("/v2/apps", content=APP).status_code == 500
    assert api.post("/v2/apps", content=b"{").status_code == 400


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "BODY_S", 0.05)
    server = ApiServer(create_api(FakeController()), "127.0.0.1", 0)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            head = b"POST /v2/apps HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            client.sendall(head + b"Content-Length: 100\r\n\r\n{")
            assert client.recv(100).split()[1] == b"408"
    finally:
        server.stop()
