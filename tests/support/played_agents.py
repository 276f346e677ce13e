"""What may happen to agents and their tasks, whatever else a history is about."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from .world import Task, World

picks = st.integers(0, 50)


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
