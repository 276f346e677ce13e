"""Following requirements over a Consul that answers, changes, falls silent and begins anew; and telling tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.executor import HOST, TASK, Events
from support.fake_docker import FakeContainer, FakeRuntime
from support.waiting import until

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.payload import OnChange, Requirement
from eratos.executor.commands import CommandRunner
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.requirements import Query
from eratos.executor.io_thread import IoThread
from eratos.executor.requirements import watch
from eratos.executor.requirements.consumer import Consumer
from eratos.executor.requirements.telling import Teller
from eratos.executor.requirements.watch import RequirementWatch

DB = Requirement("db", "REQUIRE_DB", services=("db",))
KEY = Requirement("limits", "REQUIRE_LIMITS", key="shop/limits")


class Consul:
    """Answers a query when its index is another, as Consul's blocking queries do."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {"db": [], "shop/limits": None}
        self.index = 1
        self.away = False
        self.asked: list[Query] = []
        self.waiting = 0

    async def ask(self, query: Query, index: int) -> tuple[Any, int]:
        self.asked.append(query)
        self.waiting += 1
        try:
            while not self.away and index == self.index:
                await asyncio.sleep(0.005)
        finally:
            self.waiting -= 1
        if self.away:
            raise TemporaryError("away")
        return self.held[query.service or query.key], self.index

    def put(self, name: str, value: Any, index: int | None = None) -> None:
        self.held[name] = value
        self.index = self.index + 1 if index is None else index

    def instances(self, *numbers: int) -> None:
        self.put("db", [{"Node": {"Address": f"10.0.0.{n}"}, "Service": {"ID": f"s{n}", "Port": 1, "Meta": {}}} for n in numbers])


class Rig:
    def __init__(self, io: IoThread) -> None:
        self.consul = Consul()
        self.events = Events()
        self.consuming: list[bool] = []
        self.watch = RequirementWatch(io, self.consul, self.events.emit, self.consuming.append)  # type: ignore[arg-type]

    def follow(self, task_id: str = TASK, *wanted: Requirement) -> None:
        self.watch.perform(do.Follow(task_id, wanted or (DB,)))

    def found(self, task_id: str = TASK, name: str = "db") -> on.RequirementFound:
        return self.events.until(on.RequirementFound, task_id=task_id, name=name)


@pytest.fixture
def io() -> Iterator[IoThread]:
    io = IoThread()
    io.start()
    yield io
    io.stop()


@pytest.fixture
def rig(io: IoThread, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(watch, "PAUSE_S", 0.001)
    monkeypatch.setattr(watch, "_BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(watch, "_BACKOFF_MOST_S", 0.01)
    return Rig(io)


def test_what_is_found_is_told_at_once_and_when_it_changes(rig: Rig) -> None:
    rig.follow()
    assert rig.found().found.endpoints == ()
    rig.consul.instances(1)
    assert rig.found().found.endpoints == ("10.0.0.1:1",)
    rig.consul.instances(1)  # the index moved, and nothing changed
    rig.consul.instances(1, 2)
    assert set(rig.found().found.endpoints) == {"10.0.0.1:1", "10.0.0.2:1"}


def test_many_tasks_cost_one_question(rig: Rig) -> None:
    for number in range(20):
        rig.follow(f"t{number:02}")
        rig.found(f"t{number:02}")
    assert rig.consul.waiting == 1
    rig.consul.instances(1)
    for number in range(20):
        assert rig.found(f"t{number:02}").found.count == 1


def test_who_is_not_followed_any_more_is_not_asked_for(rig: Rig) -> None:
    rig.follow("a")
    rig.follow("b", DB, KEY)
    rig.found("b")
    rig.watch.perform(do.Unfollow("b"))
    until(lambda: rig.consul.waiting == 1, 10, "the key is not asked for")
    rig.watch.perform(do.Unfollow("a"))
    until(lambda: rig.consul.waiting == 0, 10, "nothing is asked")
    rig.watch.perform(do.Unfollow("nobody"))


def test_the_last_list_stays_while_consul_is_silent(rig: Rig) -> None:
    rig.consul.instances(1)
    rig.follow()
    rig.found()
    rig.consul.away = True
    asked = len(rig.consul.asked)
    until(lambda: len(rig.consul.asked) > asked + 3, 10, "it is asked again and again")
    rig.consul.away = False
    rig.consul.instances(2)
    assert rig.found().found.endpoints == ("10.0.0.2:1",)  # and no empty one before
    assert [event.found.count for event in rig.events.seen if isinstance(event, on.RequirementFound)] == [1, 1]


def test_a_consul_that_begins_anew_is_followed_from_its_new_index(rig: Rig) -> None:
    rig.consul.put("db", [], index=500)
    rig.follow()
    rig.found()
    rig.consul.instances(1)
    rig.found()
    rig.consul.put("db", [], index=3)
    assert rig.found().found.count == 0
    rig.consul.instances(2)
    assert rig.found().found.count == 1


def test_a_key_comes_changes_and_goes(rig: Rig) -> None:
    rig.follow(TASK, KEY)
    assert rig.found(name="limits").found.value is None
    rig.consul.put("shop/limits", "10")
    assert rig.found(name="limits").found.value == "10"
    rig.consul.put("shop/limits", None)
    assert rig.found(name="limits").found.count == 0


def test_a_requirement_with_two_services_is_told_once_both_have_answered(rig: Rig) -> None:
    rig.consul.held["db-sql"] = []
    rig.follow(TASK, Requirement("db", "REQUIRE_DB", services=("db-sql", "db")))
    rig.found()
    assert {query.service for query in rig.consul.asked} == {"db", "db-sql"}


def test_who_goes_by_a_server_is_known_until_nobody_does(rig: Rig) -> None:
    rig.follow()
    rig.found()
    assert rig.consuming == [True]
    rig.watch.perform(do.Using(TASK, frozenset({"s1"})))
    until(lambda: rig.watch.used("s1") and not rig.watch.used("s2"), 10, "the server is in use")
    rig.watch.perform(do.Unfollow(TASK))
    until(lambda: not rig.watch.used("s1") and rig.consuming == [True, False], 10, "it is not any more")


def test_who_requires_no_instances_need_not_be_asked_about_them(rig: Rig) -> None:
    rig.follow(TASK, KEY, Requirement("s", "S", static=("h:1",)))
    rig.found(name="limits")
    assert rig.consuming == []


# Telling ----------------------------------------------------------------------------------------------------------------


class Telling:
    def __init__(self, io: IoThread) -> None:
        self.events = Events()
        self.runtime = FakeRuntime(set(), self.events.emit)
        self.runtime.containers["t"] = FakeContainer()
        self.teller = Teller(io, self.runtime, CommandRunner(self.runtime), self.events.emit)

    def tell(self, kind: str, value: str = "", timeout_s: float = 10) -> str:
        self.teller.perform(do.TellTask("t", "requires/db", "h:1\n", OnChange(kind, value, timeout_s), {"REQUIRE_DB": "h:1"}))
        return self.events.until(on.RequirementTold).fault


@pytest.fixture
def telling(io: IoThread) -> Telling:
    return Telling(io)


@pytest.mark.parametrize("kind", ["nothing", "restart"])
def test_the_file_is_put_in_any_case(telling: Telling, kind: str) -> None:
    assert telling.tell(kind) == ""
    assert telling.runtime.containers["t"].files == {"requires/db": "h:1\n"}


def test_a_signal_comes_after_the_file(telling: Telling) -> None:
    assert telling.tell("signal", "SIGHUP") == ""
    assert telling.runtime.containers["t"].signals == ["SIGHUP"]


def test_a_command_gets_the_variables_and_its_exit_code_counts(telling: Telling) -> None:
    assert telling.tell("command", "exit 0") == ""
    assert telling.runtime.command_env == {"REQUIRE_DB": "h:1"}
    assert telling.tell("command", "exit 3") == "the command for it ended with exit code 3"


def test_a_command_that_takes_too_long_is_ended(telling: Telling) -> None:
    assert telling.tell("command", "sleep 1000", 0.05) == "the command for it took longer than 0.05 s"
    until(lambda: telling.runtime.stopped_commands == ["sleep 1000"], 10, "it is ended")


def test_a_task_that_is_gone_could_not_be_told(telling: Telling) -> None:
    telling.runtime.containers["t"].running = False
    assert "could not be told" in telling.tell("nothing")


# Being found by those that stop instances ---------------------------------------------------------------------------------


def test_an_executor_is_registered_while_it_can_be_asked_and_has_consumers() -> None:
    performed: list[Any] = []
    consumer = Consumer(HOST, performed.append)
    consumer.consuming(True)
    assert performed == []  # nobody could ask it yet
    consumer.listening(5052)
    (register,) = performed
    (body,) = register.services
    assert (body["Name"], body["Port"]) == (names.CONSUMER_SERVICE, 5052)
    assert body["Meta"][names.META_FRAMEWORK] == HOST.framework_id
    assert names.SERVICE_TAG not in body["Tags"]  # no balancer takes it for an instance
    consumer.consuming(False)
    assert performed[-1] == do.Deregister(register.task_id)
