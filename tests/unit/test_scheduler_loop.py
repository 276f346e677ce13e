"""The loop's order: persist, then perform, then acknowledge; and what it does when a part of that fails."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from support.builders import a_machine, a_status, an_app, an_offer

from eratos.scheduler.api.controller import CommandRefused
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.actions import Write
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.loop import Aborted, Loop
from eratos.scheduler.store.base import StoreUnavailable


class Journal:
    """A store and a driver that write down what happens, in order."""

    def __init__(self, store_fails: int = 0, connected: bool = True) -> None:
        self.lines: list[str] = []
        self.store_fails = store_fails
        self.connected = connected

    def write(self, batch: Sequence[Write]) -> None:
        if self.store_fails:
            self.store_fails -= 1
            self.lines.append("store fails")
            raise StoreUnavailable("away")
        self.lines += [f"store {write.key}" for write in batch]

    def perform(self, call: actions.Call) -> bool:
        self.lines.append(type(call).__name__.lower())
        return self.connected

    def acknowledge(self, status: Any) -> bool:
        self.lines.append(f"acknowledge {status.state.name}")
        return True


def a_loop(journal: Journal) -> Loop:
    loop = Loop(a_machine(), journal, lambda: 1000.0)  # type: ignore[arg-type]
    loop._driver = journal
    loop.step([events.Subscribed("fw1", "m:5050")])
    journal.lines.clear()
    return loop


def submit(loop: Loop, make: Any) -> Future[actions.Reply]:
    future = loop.submit(make)
    loop.step([loop._queue.get_nowait()])
    return future


def launch(loop: Loop) -> str:
    submit(loop, lambda token: events.PutApps(token, (an_app(),)))
    loop.step([events.OffersReceived((an_offer(),))])
    [instance] = loop.machine.state.instances.values()
    return instance.task_id


def test_launch_is_stored_before_it_is_sent():
    journal = Journal()
    loop = a_loop(journal)
    launch(loop)
    stored = next(i for i, line in enumerate(journal.lines) if line.startswith("store instances/"))
    assert stored < journal.lines.index("accept")


def test_acknowledgement_comes_last():
    journal = Journal()
    loop = a_loop(journal)
    task = launch(loop)
    journal.lines.clear()
    loop.step([events.StatusChanged(a_status(task, "FAILED"))])
    assert journal.lines[0].startswith("store instances/")
    assert journal.lines[-1] == "acknowledge FAILED"


def test_nothing_is_sent_until_the_store_took_it(monkeypatch: pytest.MonkeyPatch):
    journal = Journal(store_fails=0)
    loop = a_loop(journal)
    monkeypatch.setattr(loop._stopping, "wait", lambda timeout: False)
    journal.store_fails = 2
    submit(loop, lambda token: events.PutApps(token, (an_app(),)))
    assert journal.lines == ["store fails", "store fails", "store apps//prime", "revive"]


def test_stop_while_the_store_is_away_sends_nothing():
    journal = Journal()
    loop = a_loop(journal)
    journal.store_fails = 10**6
    loop._stopping.set()
    with pytest.raises(Aborted):
        submit(loop, lambda token: events.PutApps(token, (an_app(),)))
    assert set(journal.lines) == {"store fails"}


def test_reply_and_refusal_reach_their_callers():
    loop = a_loop(Journal())
    assert submit(loop, lambda token: events.PutApps(token, (an_app(),))).result(0).deployment_id
    refused = submit(loop, lambda token: events.ScaleApp(token, "/none", 1))
    with pytest.raises(CommandRefused) as caught:
        refused.result(0)
    assert caught.value.status == 404


def test_event_that_cannot_be_handled_ends_neither_the_loop_nor_the_others(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    journal = Journal()
    loop = a_loop(journal)
    take = loop.machine.take

    def broken(event: events.Event, now: float) -> None:
        if isinstance(event, events.AgentLost):
            raise RuntimeError("a bug")
        take(event, now)

    monkeypatch.setattr(loop.machine, "take", broken)
    loop.submit(lambda token: events.PutApps(token, (an_app(),)))
    loop.step([events.AgentLost("a1"), loop._queue.get_nowait()])
    assert "store apps//prime" in journal.lines
    assert "please report" in caplog.text


def test_whether_it_may_act_is_asked_again_after_the_store_was_waited_for():
    """Rule 40: ZooKeeper may have gone out of sight meanwhile, and another scheduler may lead."""
    journal = Journal()
    loop = a_loop(journal)

    class Gate:
        def wait(self) -> None:
            journal.lines.append("may it act?")

    loop._may_act = Gate()  # type: ignore[assignment]
    launch(loop)
    sent = journal.lines.index("accept")
    stored = max(i for i, line in enumerate(journal.lines[:sent]) if line.startswith("store instances/"))
    assert "may it act?" in journal.lines[stored:sent]


def test_a_leader_told_to_stop_while_it_stored_sends_nothing_more():
    journal = Journal()
    loop = a_loop(journal)
    submit(loop, lambda token: events.PutApps(token, (an_app(),)))
    journal.lines.clear()
    write = journal.write

    def write_and_lose(batch: Sequence[Write]) -> None:
        write(batch)
        loop.stop()

    journal.write = write_and_lose  # type: ignore[method-assign]
    loop.step([events.OffersReceived((an_offer(),))])
    assert journal.lines
    assert all(line.startswith("store ") for line in journal.lines), journal.lines


def test_what_was_decided_before_a_fault_is_stored_and_answered(monkeypatch: pytest.MonkeyPatch):
    """The state holds those changes already: not stored they would vanish with the next leader."""
    journal = Journal()
    loop = a_loop(journal)

    def broken(machine: Machine, now: float) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("eratos.scheduler.core.machine.offers.place", broken)
    future = submit(loop, lambda token: events.PutApps(token, (an_app(),)))
    assert "store apps//prime" in journal.lines
    assert future.result(0).deployment_id


def test_the_log_of_a_fault_names_no_secret_of_the_event(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    loop = a_loop(Journal())

    def broken() -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loop.machine, "new_id", broken)
    future = submit(loop, lambda token: events.PutApps(token, (an_app(env={"PASSWORD": "hunter2"}),)))
    assert isinstance(future.exception(0), CommandRefused)
    assert "PutApps" in caplog.text
    assert "hunter2" not in caplog.text


def test_removed_framework_ends_the_process():
    loop = a_loop(Journal())
    with pytest.raises(Aborted, match="removed"):
        loop.step([events.MasterError("Framework has been removed")])
