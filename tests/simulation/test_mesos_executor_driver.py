"""The executor's driver, unmodified, against a simulated agent over a real socket: the executor API's docs, and its faults."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest
from support.collector import Collector
from support.mesos_agent import AGENT_ID, SimulatedExecutorAgent, a_task

from eratos.common.keys import ExecutorKeys
from eratos.executor.core import events as e
from eratos.executor.core.updates import StatusUpdate
from eratos.executor.mesos.driver import ExecutorDriver
from eratos.mesos.subscription import StreamEnded


@pytest.fixture
def agent() -> Iterator[SimulatedExecutorAgent]:
    with SimulatedExecutorAgent() as agent:
        yield agent


@pytest.fixture
def drive(agent: SimulatedExecutorAgent, events: Collector) -> Iterator[Callable[..., ExecutorDriver]]:
    """Start a driver towards the simulated agent; all are stopped at the end."""
    drivers: list[ExecutorDriver] = []

    def start(**environ: str) -> ExecutorDriver:
        driver = ExecutorDriver(agent.environ(**environ), events.emit)
        drivers.append(driver)
        driver.start()
        return driver

    yield start
    for driver in drivers:
        driver.stop()


def test_subscribes_as_the_environment_says(agent, events, drive):
    driver = drive()
    request = agent.await_call("SUBSCRIBE")
    assert request.call["framework_id"] == {"value": driver.framework_id}
    assert request.call["executor_id"] == {"value": driver.executor_id}
    assert request.content == {"unacknowledged_tasks": [], "unacknowledged_updates": []}
    assert events.await_event(e.Subscribed) == e.Subscribed(AGENT_ID, "agent-1.test")
    assert (driver.agent_id, driver.hostname, driver.shutdown_grace_s) == (AGENT_ID, "agent-1.test", 5)


def test_launches_and_kills_arrive_and_a_message_is_dropped(agent, events, drive):
    drive()
    events.await_event(e.Subscribed)
    agent.launch("t-1", b"\x00payload")
    assert events.await_event(e.LaunchTask) == e.LaunchTask("t-1", b"\x00payload")
    agent.launch("t-1", b"\x00payload")  # a duplicate: the core knows it, the driver survives it
    events.await_event(e.LaunchTask, 2)
    agent.event({"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": [a_task("g-1"), a_task("g-2")]}}})
    assert [events.await_event(e.LaunchTask, n).task_id for n in (3, 4)] == ["g-1", "g-2"]
    agent.kill("t-1")
    assert events.await_event(e.KillTask) == e.KillTask("t-1", None)
    agent.kill("t-1", grace_ns=2_500_000_000)
    assert events.await_event(e.KillTask, 2) == e.KillTask("t-1", 2.5)
    agent.event({"type": "MESSAGE", "message": {"data": "aGVsbG8="}})
    agent.kill("g-1")
    events.await_event(e.KillTask, 3)  # the subscription goes on


def test_update_is_sent_in_full_and_acknowledged(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    driver.send(
        StatusUpdate(
            "t-1",
            "TASK_RUNNING",
            message="ready",
            reason="REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
            healthy=True,
            addresses=("172.17.0.2", "fe80::1"),
        )
    )
    assert driver.flush(5)
    (status,) = agent.updates
    assert status.pop("timestamp") > 0
    assert len(base64.b64decode(status.pop("uuid"))) == 16
    assert status == {
        "task_id": {"value": "t-1"},
        "executor_id": {"value": driver.executor_id},
        "state": "TASK_RUNNING",
        "source": "SOURCE_EXECUTOR",
        "message": "ready",
        "reason": "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
        "healthy": True,
        "container_status": {
            "network_infos": [
                {
                    "ip_addresses": [
                        {"protocol": "IPv4", "ip_address": "172.17.0.2"},
                        {"protocol": "IPv6", "ip_address": "fe80::1"},
                    ]
                }
            ]
        },
    }


def test_unacknowledged_tasks_and_updates_come_again_until_acknowledged(agent, events, drive):
    """Rules 58 and 59, over two restarts of the agent."""
    agent.acknowledging = False
    driver = drive()
    events.await_event(e.Subscribed)
    agent.launch("t-1")
    agent.launch("t-2")
    events.await_event(e.LaunchTask, 2)
    driver.send(StatusUpdate("t-1", "TASK_STARTING"))
    driver.send(StatusUpdate("t-1", "TASK_RUNNING"))
    agent.await_call("UPDATE", 2)
    agent.restart()
    again = agent.await_call("SUBSCRIBE", 2).content
    assert again["unacknowledged_tasks"] == [a_task("t-1"), a_task("t-2")]
    states = [update["status"]["state"] for update in again["unacknowledged_updates"]]
    assert states == ["TASK_STARTING", "TASK_RUNNING"]
    assert not driver.flush(0)
    events.await_event(e.Subscribed, 2)
    agent.acknowledge(agent.updates[0])
    agent.kill("t-1")
    events.await_event(e.KillTask)  # which comes after the acknowledgement, on the same stream
    agent.restart()
    again = agent.await_call("SUBSCRIBE", 3).content
    assert again["unacknowledged_tasks"] == [a_task("t-2")]
    assert [update["status"]["state"] for update in again["unacknowledged_updates"]] == ["TASK_RUNNING"]


def test_update_made_while_the_agent_is_away_arrives(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    agent.answer(503, "Agent has not finished recovery", times=3)
    agent.restart()
    events.await_event(e.Disconnected)
    driver.send(StatusUpdate("t-1", "TASK_FINISHED"))
    assert driver.flush(5)
    assert [status["state"] for status in agent.updates] == ["TASK_FINISHED"]


def test_update_made_between_subscribe_and_subscribed_is_not_lost(agent, events, drive):
    """Too late for the SUBSCRIBE call, too early for a call of its own."""
    agent.subscribed_delayed = True
    driver = drive()
    agent.await_call("SUBSCRIBE")
    driver.send(StatusUpdate("t-1", "TASK_RUNNING"))
    agent.send_subscribed()
    assert driver.flush(5)
    assert agent.calls("SUBSCRIBE")[0].content["unacknowledged_updates"] == []
    assert len(agent.updates) == 1


def test_lost_update_comes_again_with_the_next_subscription(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    agent.answer(503, "Agent has not finished recovery")
    driver.send(StatusUpdate("t-1", "TASK_RUNNING"))
    assert driver.flush(5)
    assert len(agent.calls("SUBSCRIBE")) == 2


def test_without_checkpointing_a_lost_agent_means_shutdown(agent, events, drive):
    drive(MESOS_CHECKPOINT="0")
    events.await_event(e.Subscribed)
    agent.restart()
    events.await_event(e.Disconnected)
    assert "does not checkpoint" in events.await_event(e.Shutdown).reason
    assert len(agent.calls("SUBSCRIBE")) == 1


def test_agent_that_stays_away_means_shutdown_after_the_recovery_timeout(agent, events, drive):
    drive(MESOS_RECOVERY_TIMEOUT="30ms")
    events.await_event(e.Subscribed)
    agent.close()
    events.await_event(e.Disconnected)
    assert "no agent at" in events.await_event(e.Shutdown).reason


@pytest.mark.parametrize("message", ["Framework cannot be found", "Executor cannot be found"])
def test_agent_that_does_not_know_the_executor_means_shutdown(agent, events, drive, message):
    agent.answer(400, message)
    drive()
    assert message in events.await_event(e.Shutdown).reason


@pytest.mark.parametrize("status", [404, 503, 500])
def test_agent_that_is_not_ready_is_asked_again(agent, events, drive, status):
    agent.answer(status, times=3)
    drive()
    events.await_event(e.Subscribed)
    assert len(agent.calls("SUBSCRIBE")) == 4


def test_shutdown_is_told_and_last_updates_still_go_out(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    agent.event({"type": "SHUTDOWN"})
    events.await_event(e.Shutdown)
    driver.send(StatusUpdate("t-1", "TASK_KILLED"))
    assert driver.flush(5)
    assert agent.updates[0]["state"] == "TASK_KILLED"


def test_stop_sends_what_was_posted(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    for n in range(100):
        driver.send(StatusUpdate(f"t-{n}", "TASK_KILLED"))
    driver.stop()
    agent.until(lambda: len(agent.updates) == 100, "all were taken")


def test_error_event_leads_to_a_new_subscription(agent, events, drive):
    drive()
    events.await_event(e.Subscribed)
    agent.event({"type": "ERROR", "error": {"message": "no good"}})
    events.await_event(e.Disconnected)
    events.await_event(e.Subscribed, 2)


def test_events_that_cannot_be_understood_are_survived(agent, events, drive, caplog):
    drive()
    events.await_event(e.Subscribed)
    for event in ({"type": "NEWS", "news": {}}, {"type": "LAUNCH"}, {"type": "KILL", "kill": {}}, {"no": "type"}, []):
        agent.event(event)
    agent.event({"type": "HEARTBEAT"})
    agent.event({"type": "LAUNCH", "launch": {"task": {**a_task("t-1"), "data": "!!! not base64 !!!"}}})
    # Every launch is answered (rule 60): the core gets it, with a payload that it will refuse.
    assert events.await_event(e.LaunchTask) == e.LaunchTask("t-1", b"")
    assert len(events.of(e.Subscribed)) == 1


def test_token_is_sent_and_shows_nowhere(events, caplog):
    caplog.set_level("DEBUG")
    with SimulatedExecutorAgent(token="hush-hush") as agent:
        environ = agent.environ(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="hush-hush")
        driver = ExecutorDriver(environ, events.emit)
        driver.start()
        events.await_event(e.Subscribed)
        driver.send(StatusUpdate("t-1", "TASK_RUNNING"))
        assert driver.flush(5)
        driver.stop()
        assert "hush-hush" not in repr(driver._settings) + caplog.text


def test_update_in_no_state_of_mesos_is_refused(agent, events, drive):
    driver = drive()
    with pytest.raises(ValueError, match="TASK_HAPPY"):
        driver.send(StatusUpdate("t-1", "TASK_HAPPY"))
    assert driver.flush(0)


def test_subscription_stays_open_while_calls_take_another_connection(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    driver.send(StatusUpdate("t-1", "TASK_RUNNING"))
    assert driver.flush(5)
    (subscribe,), (update,) = agent.calls("SUBSCRIBE"), agent.calls("UPDATE")
    assert update.connection is not subscribe.connection
    agent.launch("t-2")
    events.await_event(e.LaunchTask)  # over the first one still
    assert len(agent.calls("SUBSCRIBE")) == 1


def test_an_agent_that_went_away_is_asked_again_within_its_longest_pause(agent, events, drive):
    driver = drive(MESOS_SUBSCRIPTION_BACKOFF_MAX="10secs")._agent
    events.await_event(e.Subscribed)
    pauses = [driver.ended(StreamEnded("gone")) for _ in range(200)]
    assert 0 < min(pauses) < max(pauses) <= 5


def test_a_reason_that_mesos_does_not_know_is_left_out(agent, events, drive):
    driver = drive()
    events.await_event(e.Subscribed)
    driver.send(StatusUpdate("t-1", "TASK_FAILED", reason="REASON_BAD_LUCK"))
    assert driver.flush(5)
    assert "reason" not in agent.updates[0]


def test_a_check_of_the_task_is_left_uninterpreted(agent, events, drive):
    drive()
    events.await_event(e.Subscribed)
    agent.launch("t-1", b"payload", check={"type": "COMMAND", "command": {"command": {"value": "exit 1"}}})
    assert events.await_event(e.LaunchTask) == e.LaunchTask("t-1", b"payload")


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (ExecutorKeys("endpoint", "companion").to_bytes(), ExecutorKeys("endpoint", "companion")),
        (None, ExecutorKeys()),  # from a scheduler of the version before
        (b"no keys", None),  # then nobody is answered
    ],
)
def test_what_the_scheduler_gave_the_executor_comes_with_the_subscription(agent, events, drive, caplog, data, keys):
    if data is not None:
        agent.executor_fields = {"data": base64.b64encode(data).decode()}
    driver = drive()
    events.await_event(e.Subscribed)
    assert driver.keys == keys
    assert ("cannot be read" in caplog.text) == (keys is None)
    assert "no keys" not in caplog.text
