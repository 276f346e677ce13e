"""Random histories of hosts that are drained and given back while agents, leaders and tasks come and go.

On a drained host nothing is launched at any moment; where there is room elsewhere it gets empty, and what nobody disturbs loses
no instance meanwhile; after a deadline it gets empty wherever the room is. More histories are tried by ``./dev test --all``,
and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule
from support.builders import an_app
from support.played_agents import PlayedTasks, crashes, history_settings
from support.world import RUNNING, World

from eratos.common import names
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.records import APPS, DRAINS, INSTANCES, DrainRecord

apps = st.sampled_from(["/a", "/b"])
agents = st.sampled_from(["a1", "a2", "a3"])
deadlines = st.sampled_from([None, 0.0, 5.0, 60.0])


class DrainWorld(World):
    """Three hosts, each with room for all there is."""

    def __init__(self) -> None:
        self.undisturbed = False  #: nothing goes wrong, so whatever stops was replaced first
        super().__init__()

    def drains(self) -> dict[str, DrainRecord]:
        return {key.removeprefix(DRAINS): record for key, record in self.store.items() if key.startswith(DRAINS)}

    def drain(self, agent_id: str, deadline_s: float | None, crash: int | None = None) -> None:
        self._command(events.PutDrain(self.agents[agent_id].hostname, deadline_s, "ann"), crash)

    def undrain(self, agent_id: str, crash: int | None = None) -> None:
        self._command(events.DeleteDrain(self.agents[agent_id].hostname), crash)

    def handle(self, event: events.Event, crash_after: int | None = None) -> None:
        super().handle(event, crash_after)
        assert self.drains() == self.machine.state.drains, "other hosts are drained than the store says"

    def _accept(self, accept: actions.Accept) -> None:
        hostname = self.agents[accept.agent_id].hostname
        assert not accept.launches or hostname not in self.drains(), f"{hostname} is drained, and something is launched there"
        super()._accept(accept)

    def _kill(self, task_id: str) -> None:
        if self.undisturbed and task_id in self.tasks:
            app_id = self._app_of(task_id)
            others = [t for t in self.tasks.values() if t.task_id != task_id and self._app_of(t.task_id) == app_id]
            serving = sum(task.state is RUNNING for task in others)
            assert serving >= self.store[APPS + app_id].instances, f"{task_id} is stopped before something replaces it"
        super()._kill(task_id)

    def _app_of(self, task_id: str) -> str:
        parsed = names.parse_task_id(task_id)
        assert parsed is not None
        return str(self.store[INSTANCES + parsed[0]].app_id)

    def there(self, agent_id: str) -> list[str]:
        return [task.task_id for task in self.tasks.values() if task.agent_id == agent_id]

    def heal(self) -> None:
        """Have the hosts that are still drained get empty, then move everything about while nothing is wrong."""
        if all(agent.hostname in self.drains() for agent in self.agents.values()):
            self.undrain("a1")
        super().heal()
        self.go_on_until_empty([a for a, agent in self.agents.items() if agent.hostname in self.drains()])
        for agent_id in self.agents:
            self.undrain(agent_id)
        super().heal()
        self.undisturbed = True
        for agent_id in self.agents:
            self.drain(agent_id, 0.0)
            self.go_on_until_empty([agent_id])
            self.undrain(agent_id)
        self.undisturbed = False
        for agent_id in self.agents:
            self.drain(agent_id, 60.0)
        self.start()  # another leader, which goes on
        self.subscribe()
        self.tick(60.0)
        self.go_on_until_empty(list(self.agents))
        for agent_id in self.agents:
            self.undrain(agent_id)
        super().heal()
        assert not self.machine.state.windows and not self.drains()
        assert self.suppressed, "offers are wanted without end"

    def go_on_until_empty(self, agent_ids: list[str]) -> None:
        for _ in range(20):
            for task in list(self.tasks.values()):
                self.run_task(task)
            self._deliver_all()
            if not any(self.there(agent_id) for agent_id in agent_ids):
                return
            self.offer()
            self.tick(10.0)
        raise AssertionError(f"drained hosts do not get empty: {agent_ids}: {self.summary()}")


class DrainHistories(PlayedTasks):
    def __init__(self) -> None:
        super().__init__()
        self.world: DrainWorld = DrainWorld()
        self.world.subscribe()
        self.world.put(an_app("/a", 3))
        self.world.offer()

    @rule(app_id=apps, instances=st.integers(0, 4), crash=crashes)
    def put(self, app_id: str, instances: int, crash: int | None) -> None:
        self.world.put(an_app(app_id, instances), crash)

    @rule(agent_id=agents, deadline_s=deadlines, crash=crashes)
    def drain(self, agent_id: str, deadline_s: float | None, crash: int | None) -> None:
        self.world.drain(agent_id, deadline_s, crash)

    @rule(agent_id=agents, crash=crashes)
    def undrain(self, agent_id: str, crash: int | None) -> None:
        self.world.undrain(agent_id, crash)

    @rule(agent_id=agents)
    def an_idle_agent_is_forgotten(self, agent_id: str) -> None:
        """Have an agent leave that runs nothing; its next offer is how it comes back."""
        if self.world.connected and not self.world.there(agent_id):
            self.world.handle(events.AgentLost(agent_id))

    @rule(seconds=st.sampled_from([1.0, 5.0, 30.0, 70.0, 700.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    def teardown(self) -> None:
        self.world.heal()


TestDrainHistories = DrainHistories.TestCase
TestDrainHistories.settings = history_settings(steps=30)
