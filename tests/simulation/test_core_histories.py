"""Random histories of the core in a simulated Mesos: whatever happens, in the end what runs is what was asked for.

After every step the state's own invariants hold, nothing is launched that was not stored, no port or CPU is given away
twice. 200 histories are tried, and 10,000 with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from support.builders import an_app
from support.world import Task, World

from eratos.scheduler.core.mesos import TaskState

apps = st.sampled_from(["/a", "/b"])
counts = st.integers(0, 5)
picks = st.integers(0, 50)
crashes = st.none() | st.integers(0, 6)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.subscribe()

    @rule(app_id=apps, instances=counts, cpus=st.sampled_from([0.1, 0.2]), crash=crashes)
    def put(self, app_id: str, instances: int, cpus: float, crash: int | None) -> None:
        definition = an_app(
            app_id, instances, cpus=cpus, unreachableStrategy={"inactiveAfterSeconds": 5, "expungeAfterSeconds": 30}
        )
        self.world.put(definition, crash)

    @rule(app_id=apps, instances=counts)
    def scale(self, app_id: str, instances: int) -> None:
        self.world.scale(app_id, instances)

    @rule(app_id=apps)
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(crash=crashes)
    def offer(self, crash: int | None) -> None:
        self.world.offer(crash)

    @rule()
    def rescind(self) -> None:
        self.world.rescind()

    @rule(pick=picks, crash=crashes)
    def deliver(self, pick: int, crash: int | None) -> None:
        self.world.deliver(pick, crash_after=crash)

    @rule(pick=picks)
    def run_task(self, pick: int) -> None:
        if task := self._task(pick):
            self.world.run_task(task)

    @rule(pick=picks, state=st.sampled_from([TaskState.FAILED, TaskState.FINISHED, TaskState.LOST, TaskState.ERROR]))
    def end_task(self, pick: int, state: TaskState) -> None:
        task = self._task(pick)
        if task and self.world.agents[task.agent_id].reachable:
            self.world.end(task, state)

    @rule(agent_id=st.sampled_from(["a1", "a2", "a3"]))
    def lose_or_return_agent(self, agent_id: str) -> None:
        if self.world.agents[agent_id].reachable:
            self.world.lose_agent(agent_id)
        else:
            self.world.return_agent(agent_id)

    @precondition(lambda self: self.world.connected)
    @rule()
    def disconnect(self) -> None:
        self.world.disconnect()

    @precondition(lambda self: not self.world.connected)
    @rule()
    def subscribe(self) -> None:
        self.world.subscribe()

    @rule(sends=st.booleans())
    def launches_find_room_or_not(self, sends: bool) -> None:
        self.world.sends = sends

    @rule()
    def crash(self) -> None:
        self.world.start()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 700.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    def _task(self, pick: int) -> Task | None:
        tasks = list(self.world.tasks.values())
        return tasks[pick % len(tasks)] if tasks else None

    def teardown(self) -> None:
        self.world.heal()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=5 * settings.default.max_examples,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
