"""Both drivers with a real master and a real agent: launches, kills, a restart of the agent, reservations, roles.

The simulated master and agent stand in for these two in ``tests/simulation``; what those take for granted is seen here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from support.collector import Collector
from support.containers import Container
from support.mesos_containers import EXECUTOR_PATH, Agent, run_agent, run_master
from support.waiting import until

from eratos.common.payload import Port, TaskPayload
from eratos.common.resources import Resources
from eratos.scheduler.core import actions
from eratos.scheduler.core import events as e
from eratos.scheduler.core.mesos_types import Offer, TaskState, TaskStatus
from eratos.scheduler.mesos.driver import SchedulerDriver
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings

#: Half of the agent is reserved for the framework's role.
RESOURCES = "cpus:1;mem:256;disk:100;ports:[31000-31099];cpus(web):1;mem(web):256"
NUMBERS = itertools.count(1)


class Framework:
    """A scheduler that acknowledges every update at once."""

    def __init__(self, master: str, roles: tuple[str, ...] = ("web",)) -> None:
        executor = ExecutorSettings(
            command=f"/opt/eratos/bin/python {EXECUTOR_PATH}/echo_executor.py",
            environment={"PYTHONPATH": EXECUTOR_PATH},
            resources=Resources(cpus_m=100, mem_mib=64, disk_mib=16),
        )
        self.events = Collector()
        self._unanswered: tuple[str, ...] = ()
        self.driver = SchedulerDriver(MesosSettings(master, executor, roles=roles, suppressed=True), self._take)
        self.driver.start("")

    def _take(self, event: Any) -> None:
        if isinstance(event, e.StatusChanged):
            self.driver.acknowledge(event.status)
        self.events.emit(event)

    def offer(self, *roles: str) -> Offer:
        """Return a fresh offer of all that is free for a role, or for the only one; but for this moment it is suppressed."""
        before = len(self.events.of(e.OffersReceived))
        assert self.driver.perform(actions.Decline(self._unanswered, refuse_s=0))
        assert self.driver.perform(actions.Revive(roles))
        (offer,) = self.events.await_event(e.OffersReceived, before + 1).offers
        assert self.driver.perform(actions.Suppress(roles))
        self._unanswered = (offer.offer_id,)
        return offer

    def launch(self, offer: Offer, cpus_m: int = 100, mem_mib: int = 32) -> str:
        (task_id,) = self.launch_all(offer, 1, cpus_m, mem_mib)
        return task_id

    def launch_all(self, offer: Offer, count: int, cpus_m: int = 100, mem_mib: int = 32) -> list[str]:
        """Launch tasks by one ACCEPT."""
        self._unanswered = ()
        ports = offer.ports.first(count)
        assert ports is not None
        payloads = [
            TaskPayload(
                task_id=f"task-{next(NUMBERS)}",
                instance_id="i",
                app_id="/contract",
                app_version="v",
                resources=Resources(cpus_m=cpus_m, mem_mib=mem_mib),
                image="none",
                ports=(Port(port, name="http"),),
                labels={"some": "label"},
            )
            for port in ports
        ]
        launches = tuple(actions.Launch(payload.task_id, payload) for payload in payloads)
        assert self.driver.perform(actions.Accept(offer.agent_id, (offer.offer_id,), launches, 0.1))
        return [payload.task_id for payload in payloads]

    def statuses(self, task_id: str) -> list[TaskStatus]:
        return [event.status for event in self.events.of(e.StatusChanged) if event.status.task_id == task_id]

    def await_status(self, task_id: str, state: TaskState) -> TaskStatus:
        """Return the task's first update of a state; AssertionError with all it got instead."""

        def found() -> TaskStatus | None:
            here = self.statuses(task_id)
            assert not [s for s in here if s.state in (TaskState.ERROR, TaskState.DROPPED, TaskState.FAILED)], here
            return next((status for status in here if status.state is state), None)

        status = until(found, 30, f"{task_id} is {state}")
        assert status is not None
        return status


@pytest.fixture(scope="module")
def agent(zookeeper_container: Container, master: str) -> Iterator[Agent]:
    with run_agent(zookeeper_container, RESOURCES) as agent:
        yield agent


@pytest.fixture(scope="module")
def master(zookeeper_container: Container) -> Iterator[str]:
    with run_master(zookeeper_container) as master:
        yield master


@pytest.fixture
def framework(master: str, agent: Agent) -> Iterator[Framework]:
    framework = Framework(master)
    framework.events.await_event(e.Subscribed)
    yield framework
    framework.driver.teardown()
    framework.driver.stop()


def test_task_starts_runs_and_is_killed(framework):
    offer = framework.offer()
    task_id = framework.launch(offer)
    assert framework.await_status(task_id, TaskState.STARTING).message == offer.agent_id
    running = framework.await_status(task_id, TaskState.RUNNING)
    assert (running.healthy, running.addresses, running.source) == (True, ("10.9.8.7",), "SOURCE_EXECUTOR")
    assert running.agent_id == offer.agent_id and running.uuid
    assert framework.driver.perform(actions.Kill(task_id, offer.agent_id))
    assert framework.await_status(task_id, TaskState.KILLED).message == "grace_s=None"


def test_reserved_and_unreserved_resources_pay_for_tasks_of_one_executor(framework):
    offer = framework.offer()
    assert offer.resources.cpus_m == 2000 and offer.executor_ids == frozenset()
    first = framework.launch(offer, cpus_m=600)
    framework.await_status(first, TaskState.RUNNING)
    # The executor was paid from the reservation, and is known again; 300 of the reserved 1000 are left beside it.
    offer = framework.offer()
    assert offer.executor_ids == {framework.driver.executor_id}
    assert offer.resources.cpus_m == 1300
    second = framework.launch(offer, cpus_m=1300)
    framework.await_status(second, TaskState.RUNNING)


def test_tasks_go_to_a_running_executor_as_a_group_and_end_one_by_one(framework, agent):
    first = framework.launch_all(framework.offer(), 2)
    for task_id in first:
        framework.await_status(task_id, TaskState.RUNNING)
    assert "task group tasks=2" not in agent.logs(), "the kill of one would have ended the other one, too"
    offer = framework.offer()
    together = framework.launch_all(offer, 3)
    for task_id in together:
        framework.await_status(task_id, TaskState.RUNNING)
    assert "task group tasks=3" in agent.logs()
    assert framework.driver.perform(actions.Kill(together[1], offer.agent_id))
    framework.await_status(together[1], TaskState.KILLED)
    framework.launch(framework.offer())
    assert [framework.statuses(task_id)[-1].state for task_id in (together[0], together[2])] == [TaskState.RUNNING] * 2


@pytest.fixture
def two_roles(master: str, agent: Agent) -> Iterator[Framework]:
    framework = Framework(master, ("web", "dev"))
    framework.events.await_event(e.Subscribed)
    yield framework
    framework.driver.teardown()
    framework.driver.stop()


def test_each_role_is_offered_its_own_and_one_executor_of_an_agent_runs_tasks_of_all(two_roles, agent):
    """Mesos asks that the resources of a task are allocated to one role, and those of an executor; not both to the same."""
    offer = two_roles.offer("web")
    assert (offer.role, offer.resources.cpus_m, offer.reserved.cpus_m) == ("web", 2000, 1000)
    web = two_roles.launch(offer)
    two_roles.await_status(web, TaskState.RUNNING)
    offer = two_roles.offer("dev")
    # What is reserved for another role is none of it; the executor was paid from what is not reserved.
    assert (offer.role, offer.resources.cpus_m, offer.reserved.cpus_m) == ("dev", 900, 0)
    assert offer.executor_ids == {two_roles.driver.executor_id}
    together = two_roles.launch_all(offer, 4)
    for task_id in together:
        two_roles.await_status(task_id, TaskState.RUNNING)
    assert "task group tasks=4" in agent.logs()
    assert len({two_roles.statuses(task_id)[-1].executor_id for task_id in (web, *together)}) == 1
    # It stays, and is used, when no task of the role that has paid for it is left.
    assert two_roles.driver.perform(actions.Kill(web, offer.agent_id))
    two_roles.await_status(web, TaskState.KILLED)
    last = two_roles.launch(two_roles.offer("dev"))
    two_roles.await_status(last, TaskState.RUNNING)
    assert two_roles.statuses(last)[-1].executor_id == two_roles.statuses(web)[-1].executor_id


def test_update_made_while_the_agent_restarts_arrives(framework, agent):
    offer = framework.offer()
    task_id = framework.launch(offer)
    framework.await_status(task_id, TaskState.RUNNING)
    agent.restart()

    def arrived() -> bool:
        return any(status.message == "while the agent was away" for status in framework.statuses(task_id))

    until(arrived, 60, "the update arrives")
    assert not [status for status in framework.statuses(task_id) if status.state.terminal]
    until(agent.registered, 60, "the agent is back")


def test_teardown_ends_the_executor(master, agent):
    framework = Framework(master)
    framework.events.await_event(e.Subscribed)
    task_id = framework.launch(framework.offer())
    framework.await_status(task_id, TaskState.RUNNING)
    framework.driver.teardown()
    again = Framework(master)
    again.events.await_event(e.Subscribed)
    until(lambda: again.offer().resources.cpus_m == 2000, 30, "everything is offered again")
    again.driver.teardown()
