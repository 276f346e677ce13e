"""Volumes at the executor's endpoint: other executors of the framework get them, with a proof; nobody else does."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from support.waiting import until

from eratos.common import keys
from eratos.common.errors import TemporaryError
from eratos.executor.endpoint import Access, Endpoint
from eratos.executor.io_thread import IoThread
from eratos.executor.readiness import ReadinessResults
from eratos.executor.volume_stream import PROOF_BYTES, NoVolume

PEERS, OWN = "1" * 64, "2" * 64
KEY = keys.volume_key(OWN, "v1")
TARGET = "/volumes/v1?app=%2Fshop"


class Volumes:
    """One volume, which breaks off where ``breaks``."""

    def __init__(self) -> None:
        self.breaks = False

    @asynccontextmanager
    async def read(self, volume_id: str, app_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if (volume_id, app_id) != ("v1", "/shop"):
            raise NoVolume(f"volume {volume_id} is not on host1")

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            if self.breaks:
                raise TemporaryError("a container got the volume")
            yield b"two"

        yield pieces()


class Rig:
    def __init__(self, io: IoThread, access: Access = Access(key=OWN, peers=PEERS)) -> None:  # noqa: B008
        self.volumes = Volumes()
        server = Endpoint(io, [], ReadinessResults(), "127.0.0.1", 0, lambda: access, volumes=self.volumes)
        server.start()
        self.port = until(lambda: server.port, 10, "it listens")

    def ask(self, target: str = TARGET, key: str = KEY) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", target, headers=keys.headers(key, "GET", target, b"", time.time()))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def io() -> Iterator[IoThread]:
    io = IoThread()
    io.start()
    yield io
    io.stop()


def test_an_executor_gets_a_volume_with_a_proof_and_others_get_nothing(io: IoThread) -> None:
    rig = Rig(io)
    status, body = rig.ask()
    assert (status, body[:6], len(body)) == (200, b"onetwo", 6 + PROOF_BYTES)
    for key in ("", OWN, PEERS, keys.volume_key(OWN, "v2"), keys.volume_key("3" * 64, "v1")):
        status, body = rig.ask(key=key)
        assert status == 401 and b"one" not in body
    status, body = rig.ask("/volumes/v1?app=%2Fother")
    assert (status, json.loads(body)["message"]) == (404, "volume v1 is not on host1")


def test_of_a_volume_that_is_not_read_to_its_end_the_end_is_missing(io: IoThread) -> None:
    rig = Rig(io)
    rig.volumes.breaks = True
    with pytest.raises(http.client.IncompleteRead):
        rig.ask()


def test_without_a_key_nobody_gets_a_volume(io: IoThread) -> None:
    status, body = Rig(io, Access()).ask(key="")
    assert status == 503 and "started without a key" in json.loads(body)["message"]
