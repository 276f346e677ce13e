"""What may happen to agents and their tasks, whatever else a history is about."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from eratos.scheduler.core.mesos_types import TaskState

from .world import Task, World

picks = st.integers(0, 50)
crashes = st.none() | st.integers(0, 6)


def history_settings(times: int = 1, steps: int = 50) -> settings:
    """Return how many histories are tried, in ``times`` of the profile's number, and how long they are."""
    return settings(
        max_examples=times * settings().max_examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


class PlayedAgents(RuleBasedStateMachine):
    """A history of a world that :attr:`world` is."""

    world: World

    @rule(pick=picks)
    def run_task(self, pick: int) -> None:
        if task := self.task(pick):
            self.world.run_task(task)

    @rule(agent_id=st.sampled_from(["a1", "a2", "a3"]))
    def lose_or_return_agent(self, agent_id: str) -> None:
        if self.world.agents[agent_id].reachable:
            self.world.lose_agent(agent_id)
        else:
            self.world.return_agent(agent_id)

    @precondition(lambda self: not self.world.connected)
    @rule()
    def subscribe(self) -> None:
        self.world.subscribe()

    @rule(sends=st.booleans())
    def launches_find_room_or_not(self, sends: bool) -> None:
        self.world.sends = sends

    def task(self, pick: int) -> Task | None:
        tasks = list(self.world.tasks.values())
        return tasks[pick % len(tasks)] if tasks else None

    def end(self, pick: int, state: TaskState) -> None:
        """Have a task end, if its agent can say so."""
        task = self.task(pick)
        if task and self.world.agents[task.agent_id].reachable:
            self.world.end(task, state)


class PlayedTasks(PlayedAgents):
    """A history in which offers, news of tasks, ends of tasks and changes of leaders come as they like, too."""

    @rule(crash=crashes)
    def offer(self, crash: int | None) -> None:
        self.world.offer(crash)

    @rule(pick=picks, crash=crashes)
    def deliver(self, pick: int, crash: int | None) -> None:
        self.world.deliver(pick, crash_after=crash)

    @rule(pick=picks, state=st.sampled_from([TaskState.FAILED, TaskState.FINISHED, TaskState.LOST]))
    def end_task(self, pick: int, state: TaskState) -> None:
        self.end(pick, state)

    @precondition(lambda self: self.world.connected)
    @rule()
    def disconnect(self) -> None:
        self.world.disconnect()

    @rule()
    def another_leader(self) -> None:
        self.world.start()
