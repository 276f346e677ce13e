"""The loop's order: persist, then perform, then acknowledge; and what it does when a part of that fails."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from support.builders import a_machine, a_status, an_app, an_offer

from eratos.scheduler.core import actions, events, offers
from eratos.scheduler.core.actions import Write
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.refusals import CommandRefused, Unavailable
from eratos.scheduler.loop import Aborted, FrameworkRemoved, Loop
from eratos.scheduler.store.base import RecordTooLarge, StoreUnavailable


class Journal:
    """A store and a driver that write down what happens, in order."""

    def __init__(self, store_fails: int = 0, connected: bool = True) -> None:
        self.lines: list[str] = []
        self.store_fails = store_fails
        self.connected = connected
        self.on_write: Callable[[], None] = lambda: None

    def write(self, batch: Sequence[Write]) -> None:
        if self.store_fails:
            self.store_fails -= 1
            self.lines.append("store fails")
            raise StoreUnavailable("away")
        self.lines += [f"store {write.key}" for write in batch]
        self.on_write()

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
    submit(loop, events.PutApps((an_app(),)))
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
    submit(loop, events.PutApps((an_app(),)))
    assert journal.lines[:3] == ["store fails", "store fails", "store apps//prime"]
    assert journal.lines[-2:] == ["store changes//prime", "revive"]


@pytest.mark.parametrize(
    ("kind", "ends"), [("histories/", False), ("budgets/", False), ("changes/", True), ("sweeps/", True), ("instances/", True)]
)
def test_a_record_of_what_was_that_is_too_large_ends_no_leader(kind: str, ends: bool, caplog: Any) -> None:
    """The next leader would come to the same, and the one after it."""
    journal = Journal()
    loop = a_loop(journal)
    write = journal.write

    def bounded(batch: Sequence[Write]) -> None:
        if large := [one.key for one in batch if one.key.startswith(kind)]:
            raise RecordTooLarge(large[0], f"{large[0]} takes too much")
        write(batch)

    journal.write = bounded  # type: ignore[method-assign]
    changed = [actions.Put(f"{kind}large", "x"), actions.Put("groups//small", "x")]
    if ends:
        with pytest.raises(RecordTooLarge):
            loop._persist(changed)
        return
    loop._persist(changed)
    assert journal.lines == ["store groups//small"]
    assert f"{kind}large takes too much" in caplog.text


def test_stop_while_the_store_is_away_sends_nothing():
    journal = Journal()
    loop = a_loop(journal)
    journal.store_fails = 10**6
    loop._stopping.set()
    with pytest.raises(Aborted):
        submit(loop, events.PutApps((an_app(),)))
    assert set(journal.lines) == {"store fails"}


def test_reply_and_refusal_reach_their_callers():
    loop = a_loop(Journal())
    assert submit(loop, events.PutApps((an_app(),))).result(0).deployment_id
    refused = submit(loop, events.RestartApp("/none"))
    with pytest.raises(CommandRefused) as caught:
        refused.result(0)
    assert caught.value.refusal is actions.Refusal.NOT_FOUND


def test_event_that_cannot_be_handled_ends_neither_the_loop_nor_the_others(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    journal = Journal()
    loop = a_loop(journal)
    take = loop.machine.take

    def broken(event: events.Event, now: float) -> None:
        if isinstance(event, events.AgentLost):
            raise RuntimeError("a bug")
        take(event, now)

    monkeypatch.setattr(loop.machine, "take", broken)
    loop.submit(events.PutApps((an_app(),)))
    loop.step([events.AgentLost("a1"), loop._queue.get_nowait()])
    assert "store apps//prime" in journal.lines
    assert "please report" in caplog.text


@pytest.mark.parametrize("when", ["before", "after"])
def test_whoever_watches_keeps_the_loop_from_nothing(when: str, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    journal = Journal()
    loop = a_loop(journal)

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loop._watch, when, broken)
    assert submit(loop, events.PutApps((an_app(),))).result(0).version
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
    submit(loop, events.PutApps((an_app(),)))
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
    future = submit(loop, events.PutApps((an_app(),)))
    assert "store apps//prime" in journal.lines
    assert future.result(0).deployment_id


def test_the_log_of_a_fault_names_no_secret_of_the_event(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    loop = a_loop(Journal())

    def broken() -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loop.machine.step, "new_id", broken)
    future = submit(loop, events.PutApps((an_app(env={"PASSWORD": "hunter2"}),)))
    assert isinstance(future.exception(0), CommandRefused)
    assert "PutApps" in caplog.text
    assert "hunter2" not in caplog.text


def test_removed_framework_ends_the_process():
    loop = a_loop(Journal())
    with pytest.raises(FrameworkRemoved, match="removed"):
        loop.step([events.MasterError("Framework has been removed")])


# Leadership that is lost, or in doubt, while the store is written (rule 40)


def test_nothing_is_sent_where_the_end_came_while_the_store_was_written():
    journal = Journal()
    loop = a_loop(journal)
    submit(loop, events.PutApps((an_app(),)))
    journal.lines.clear()
    journal.on_write = loop.stop
    loop.step([events.OffersReceived((an_offer(),))])
    assert [line.partition("/")[0] for line in journal.lines] == ["store instances"]


def test_nothing_is_sent_while_leadership_is_in_doubt_since_the_store_was_written():
    journal = Journal()
    loop = a_loop(journal)
    submit(loop, events.PutApps((an_app(),)))
    journal.lines.clear()
    written = threading.Event()

    def in_doubt() -> None:
        loop.hold()
        written.set()

    journal.on_write = in_doubt
    step = threading.Thread(target=loop.step, args=([events.OffersReceived((an_offer(),))],), daemon=True)
    step.start()
    assert written.wait(60)
    # The step waits: it neither ends nor sends, however often one looks.
    for _ in range(100):
        step.join(0.001)
        assert step.is_alive() and "accept" not in journal.lines
    loop.release()
    step.join(60)
    assert not step.is_alive() and "accept" in journal.lines


def test_what_was_decided_before_something_broke_is_stored(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    journal = Journal()
    loop = a_loop(journal)

    def broken(machine: Any, now: float) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(offers, "ask", broken)
    future = submit(loop, events.PutApps((an_app(),)))
    assert "store apps//prime" in journal.lines and future.result(0).deployment_id
    assert "could not be decided in full" in caplog.text


def test_an_app_that_broke_is_logged_once_with_its_cause_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    journal = Journal()
    loop = a_loop(journal)
    payload = offers.payload
    broken: Any = lambda app, *rest, **more: {}["cause"] if app.id == "/bad" else payload(app, *rest, **more)  # noqa: E731
    monkeypatch.setattr(offers, "payload", broken)
    submit(loop, events.PutApps((an_app("/bad"), an_app("/good"))))
    for _ in range(3):
        loop.step([events.OffersReceived((an_offer(),))])
    assert "accept" in journal.lines
    [record] = [record for record in caplog.records if "could not be looked after" in record.getMessage()]
    assert "/bad" in record.getMessage() and record.exc_info is not None and record.exc_info[0] is KeyError


def test_a_launch_that_could_not_be_sent_is_taken_back_and_tried_with_the_next_offer():
    journal = Journal()
    loop = a_loop(journal)
    journal.connected = False
    first = launch(loop)
    journal.lines.clear()
    loop.step([events.Tick()])
    [instance] = loop.machine.state.instances.values()
    assert instance.waiting and instance.task_id == first[:-1] + "2"
    assert journal.lines[0] == f"store instances/{instance.instance_id}"
    journal.connected = True
    loop.step([events.OffersReceived((an_offer(),))])
    assert not instance.waiting


def test_a_host_that_is_left_alone_is_logged(caplog: Any):
    loop = a_loop(Journal())
    apps = tuple(an_app(f"/{name}", backoffSeconds=0) for name in "ab")
    submit(loop, events.PutApps(apps))
    loop.machine.state.known_agent(an_offer("a2"))
    loop.step([events.OffersReceived((an_offer("a1"),))])
    for instance in list(loop.machine.state.with_task()):
        loop.step([events.StatusChanged(a_status(instance.task_id, "FAILED"))])
    [record] = [record for record in caplog.records if "left alone" in record.getMessage()]
    assert "host-a1" in record.getMessage() and "/a,/b" in record.getMessage()


def test_a_command_that_breaks_changes_nothing_and_its_secrets_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    loop = a_loop(journal)

    def broken() -> str:
        raise RuntimeError("no more ids")

    loop.machine.step.new_id = broken
    future = submit(loop, events.PutApps((an_app("/shop", env={"PASSWORD": "hunter2"}),)))
    with pytest.raises(CommandRefused, match="could not be handled"):
        future.result(0)
    assert not loop.machine.state.apps, "what is told to have failed must not be there"
    assert not loop.machine.state.deployments
    assert not journal.lines
    assert "event=PutApps about=/shop" in caplog.text
    assert "hunter2" not in caplog.text
    assert "PASSWORD" not in caplog.text


def test_a_command_does_not_wait_for_a_queue_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.scheduler.loop.QUEUE_MOST", 1)
    loop = a_loop(Journal())
    loop.emit(events.Tick())
    with pytest.raises(Unavailable, match="nothing was changed"):
        loop.submit(events.RestartApp("/a"))
    loop.step([loop._queue.get_nowait()])
    assert submit(loop, events.PutApps((an_app(),))).result(0).version


def test_nothing_is_collected_while_the_core_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = a_loop(Journal())
    collecting: list[bool] = []
    decide = loop.machine.decide

    def watched(now: float) -> Any:
        collecting.append(gc.isenabled())
        return decide(now)

    monkeypatch.setattr(loop.machine, "decide", watched)
    submit(loop, events.PutApps((an_app(),)))
    assert collecting == [False]
    assert gc.isenabled()
