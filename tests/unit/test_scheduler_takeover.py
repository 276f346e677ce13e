"""What a new leader says about the store it takes over."""

from __future__ import annotations

import logging

import pytest
from support.builders import an_app
from support.records import an_instance

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.core import events
from eratos.scheduler.core.mesos import TaskState, TaskStatus
from eratos.scheduler.core.records import INSTANCES, Stored
from eratos.scheduler.core.state import Instance, State
from eratos.scheduler.store.base import StoreUnusable
from eratos.scheduler.takeover import UnrecordedTasks, examine


def test_a_sound_store_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    examine(Stored("f-0001", instances=(an_instance(1),)))
    assert not caplog.text


def test_spoilt_records_are_named_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    examine(Stored("f-0001", spoilt={"apps//bad": "JSON is malformed", "instances/bad": "no"}))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "apps//bad" in caplog.text
    assert "JSON is malformed" in caplog.text


def test_apps_with_a_constraint_that_is_refused_now_are_named(caplog: pytest.LogCaptureFixture) -> None:
    definition = {"id": "/old", "cmd": "x", "constraints": [["@hostname", "LIKE", "(?=a)b"]]}
    examine(Stored("f-0001", apps=(App.restore(definition), App.parse({"id": "/new", "cmd": "x"}))))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "/old" in record.getMessage() and "(?=a)b" in record.getMessage() and "look-ahead" in record.getMessage()


@pytest.mark.parametrize("stored", [Stored(instances=(an_instance(1),)), Stored(spoilt={INSTANCES + "bad": "why"})])
def test_instances_without_a_framework_id_are_not_abandoned(stored: Stored) -> None:
    with pytest.raises(StoreUnusable, match=r"1 instances but no framework id.*record framework_id.*restore a backup"):
        examine(stored)


def test_a_new_framework_is_told(caplog: pytest.LogCaptureFixture) -> None:
    examine(Stored())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "restore a backup" in caplog.text


@pytest.fixture
def state() -> State:
    state = State(spoilt={INSTANCES + "a.instance-spoilt": "why"})
    state.add(Instance(instance_id="a.instance-waits", app_id="/a", version="v", attempt=2))
    state.add(Instance(instance_id="a.instance-known", app_id="/a", version="v", attempt=2, state=TaskState.RUNNING))
    return state


@pytest.fixture
def tasks(state: State) -> UnrecordedTasks:
    return UnrecordedTasks(lambda ask: ask(state))


def answer(
    instance_id: str, attempt: int = 1, state: TaskState = TaskState.RUNNING, reason: str = "REASON_RECONCILIATION"
) -> events.StatusChanged:
    return events.StatusChanged(TaskStatus(names.task_id(instance_id, attempt), state, reason=reason))


@pytest.mark.parametrize("event", [answer("a.instance-later"), answer("a.instance-known", 3), answer("a.instance-waits", 2)])
def test_a_running_task_without_a_record_is_told(
    event: events.Event, tasks: UnrecordedTasks, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.look(event)
    assert "no record" in caplog.text
    assert "put back to an earlier state" in caplog.text


@pytest.mark.parametrize(
    "event",
    [
        answer("a.instance-known", 2),
        answer("a.instance-spoilt"),
        answer("a.instance-later", state=TaskState.LOST),
        answer("a.instance-later", state=TaskState.UNREACHABLE),
        answer("a.instance-later", state=TaskState.UNKNOWN),
        answer("a.instance-later", reason=""),
        events.Tick(),
    ],
)
def test_other_news_are_no_sign_of_an_older_store(
    event: events.Event, tasks: UnrecordedTasks, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.look(event)
    assert not caplog.text


def test_a_thousand_tasks_without_records_make_few_lines(tasks: UnrecordedTasks, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        tasks.look(answer(f"a.instance-{number}"))
    assert [record.getMessage().partition("so_far=")[2].split()[0] for record in caplog.records] == ["1", "10", "100", "1000"]


def test_apps_that_would_be_refused_today_are_named_with_the_way_to_them(caplog: pytest.LogCaptureFixture) -> None:
    of_before = [
        App.restore(an_app().to_json() | {"id": "/shop/tasks"}),
        App.restore(an_app().to_json() | {"cmd": "x" * 200_000}),
    ]
    examine(Stored("f-0001", apps=(an_app("/good"), *of_before)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "/shop/tasks; rename it, and until then reach it at /v2/apps/%2Fshop%2Ftasks" in caplog.text
    assert "/prime /cmd takes 200000 bytes" in caplog.text
    assert "/good" not in caplog.text
