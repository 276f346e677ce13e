"""What waits for the runtimes' threads: the most urgent first, nothing twice, and a thread for stops whatever hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.waiting import until

from eratos.executor.work_queue import Urgency, WorkQueue


class Rig:
    """Two threads, and a daemon that hangs until it is back."""

    def __init__(self) -> None:
        self.queue = WorkQueue("test", 2, {Urgency.START: 1, Urgency.TIDY: 1})
        self.back = threading.Event()
        self.begun: list[str] = []
        self.done: list[str] = []

    def submit(self, urgency: Urgency, key: str) -> bool:
        return self.queue.submit(urgency, key, lambda: self._work(key))

    def _work(self, key: str) -> None:
        self.begun.append(key)
        self.back.wait(20)
        self.done.append(key)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.back.set()
    rig.queue.stop(20)


def test_what_waits_or_runs_is_not_asked_for_twice(rig: Rig) -> None:
    assert rig.submit(Urgency.STOP, "running")
    until(lambda: rig.begun == ["running"], 10, "it has begun")
    assert rig.submit(Urgency.STOP, "other")
    until(lambda: rig.begun == ["running", "other"], 10, "both threads hang")
    assert rig.submit(Urgency.STOP, "waiting")
    for key in ("running", "waiting") * 100:
        assert not rig.submit(Urgency.STOP, key)
    rig.back.set()
    until(lambda: sorted(rig.done) == ["other", "running", "waiting"], 10, "each is done once")
    until(lambda: rig.submit(Urgency.STOP, "running"), 10, "it can be asked for again")
    until(lambda: len(rig.done) == 4, 10, "and is done")


def test_stops_come_first_once_the_daemon_is_back_then_starts(rig: Rig) -> None:
    for key in ("one", "two"):
        rig.submit(Urgency.STOP, key)
    until(lambda: len(rig.begun) == 2, 10, "both threads hang")
    for number in range(3):
        rig.submit(Urgency.TIDY, f"examine{number}")
        rig.submit(Urgency.START, f"start{number}")
        rig.submit(Urgency.STOP, f"stop{number}")
    rig.back.set()
    until(lambda: len(rig.done) == 11, 10, "all is done")
    assert sorted(rig.begun[2:5]) == ["stop0", "stop1", "stop2"]
    assert rig.begun.index("start2") < rig.begun.index("examine2")


def test_hung_starts_leave_a_thread_for_stops(rig: Rig) -> None:
    for number in range(10):
        rig.submit(Urgency.START, f"start{number}")
    rig.submit(Urgency.STOP, "stop")
    until(lambda: sorted(rig.begun) == ["start0", "stop"], 10, "the stop has a thread")


def test_what_has_not_begun_can_be_given_up(rig: Rig) -> None:
    rig.submit(Urgency.START, "hung")
    until(lambda: rig.begun == ["hung"], 10, "it has begun")
    rig.submit(Urgency.START, "waiting")
    assert [rig.queue.drop(key) for key in ("hung", "waiting", "waiting")] == [False, True, False]
    assert rig.submit(Urgency.START, "waiting")


def test_at_the_end_starts_are_forgotten_and_the_rest_is_waited_for(rig: Rig) -> None:
    rig.submit(Urgency.START, "hung")
    until(lambda: rig.begun == ["hung"], 10, "it has begun")
    rig.submit(Urgency.START, "waiting")
    rig.submit(Urgency.TIDY, "remove")
    until(lambda: "remove" in rig.begun, 10, "the removal has begun")
    rig.submit(Urgency.TIDY, "remove too")
    rig.queue.stop(0.01)
    assert not rig.submit(Urgency.STOP, "late")
    rig.back.set()
    rig.queue.stop(20)
    until(lambda: sorted(rig.done) == ["hung", "remove", "remove too"], 10, "the rest is done")
