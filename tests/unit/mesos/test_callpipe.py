"""What waits to be sent: bulky calls leave room for short ones."""

from __future__ import annotations

import pytest

from eratos.mesos import callpipe
from eratos.mesos.callpipe import CallPipe


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> CallPipe:
    monkeypatch.setattr(callpipe, "OUTBOX_BYTES_MAX", 1000)
    monkeypatch.setattr(callpipe, "RESERVED_BYTES", 200)
    pipe = CallPipe()
    pipe.open()
    return pipe


def test_bulky_calls_leave_room_for_short_ones(pipe: CallPipe) -> None:
    assert pipe.post(b"x" * 700, bulky=True)
    assert not pipe.post(b"x" * 101, bulky=True)
    assert pipe.post(b"x" * 100, bulky=True)
    assert pipe.post(b"x" * 200)
    assert not pipe.post(b"x")


def test_room_comes_back_as_calls_are_sent(pipe: CallPipe) -> None:
    pipe.post(b"x" * 800, bulky=True)
    pipe.fill(b"POST / HTTP/1.1\r\n")
    assert pipe.post(b"x" * 800, bulky=True)


def test_a_closed_one_takes_nothing(pipe: CallPipe) -> None:
    pipe.close()
    assert not pipe.post(b"x") and not pipe.post(b"x", bulky=True)
