"""Random histories of apps that are alone with a volume which every host reaches: agents come and go, leaders change.

Whatever happens, nobody is launched with the volume while another task that has it may be alive, of whichever app: it runs, it
stops, or its agent is out of reach, whether its app is still there or not. What was given up counts no more, where its app says
after how long an agent out of reach counts as dead. In the end the one app that is left runs. 100 histories are tried, and 2,000
with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import an_app
from support.played_agents import PlayedTasks, crashes, history_settings, picks
from support.world import SlowWorld

from eratos.common import names
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.records import INSTANCES, InstanceRecord

#: All of them may want the same volume; the last one says after how long what is out of reach counts as dead.
writing = st.sampled_from(["/db", "/new", "/timed"])
OPTIONS = {"dvdi/driver": "rexray"}


class WriterWorld(SlowWorld):
    """Holds every launch against the tasks that are alive with the same volume."""

    def __init__(self) -> None:
        self.alone: dict[str, str] = {}  #: task that is alone with the volume -> its app
        self.launches = 0
        super().__init__()

    def _accept(self, accept: actions.Accept) -> None:
        before = set(self.tasks)
        super()._accept(accept)
        for launch in accept.launches:
            if launch.task_id in self.tasks.keys() - before and any(made.alone for made in launch.payload.of_drivers):
                self.launches += 1
                for other, app_id in self.alone.items():
                    given_up = app_id == "/timed" and self.record(other) is None
                    assert other not in self.tasks or given_up, f"{other} may still write, and {launch.task_id} is launched"
                self.alone[launch.task_id] = launch.payload.app_id

    def record(self, task_id: str) -> InstanceRecord | None:
        parsed = names.parse_task_id(task_id)
        assert parsed is not None
        record = self.store.get(INSTANCES + parsed[0])
        return record if isinstance(record, InstanceRecord) and record.attempt == parsed[1] else None

    def at_rest(self) -> bool:
        if self.machine.state.brake.engaged:
            self._command(events.ReleaseBrake())
        return super().at_rest() and not self.machine.state.deployments


class WriterHistories(PlayedTasks):
    def __init__(self) -> None:
        super().__init__()
        self.world: WriterWorld = WriterWorld()
        self.world.subscribe()
        self.put("/db", 1, 0.1, True, None)
        self.go_well(3, True)

    @rule(
        app_id=writing,
        instances=st.integers(0, 1),
        cpus=st.sampled_from([0.1, 0.2]),
        alone=st.sampled_from([True, True, True, False]),
        crash=crashes,
    )
    def put(self, app_id: str, instances: int, cpus: float, alone: bool, crash: int | None) -> None:
        """Most want it alone; one may read from now on, or write again."""
        external = {"name": "shared", "provider": "dvdi", "options": OPTIONS}
        volumes = [{"containerPath": "/data", "mode": "RW" if alone else "RO", "external": external}]
        timed: Any = {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 5} if app_id == "/timed" else "disabled"
        container = {"type": "DOCKER", "docker": {"image": "x"}, "volumes": volumes}
        self.world.put(an_app(app_id, instances, cpus=cpus, container=container, unreachableStrategy=timed), crash)

    @rule(app_id=writing)
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(app_id=writing, pick=picks, crash=crashes)
    def put_version(self, app_id: str, pick: int, crash: int | None) -> None:
        self.world.put_version(app_id, pick, crash)

    @rule(pick=picks, crash=crashes, back=st.booleans())
    def end_deployment(self, pick: int, crash: int | None, back: bool) -> None:
        self.world.end_deployment(pick, crash, back=back)

    @rule(pick=picks, crash=crashes)
    def kill(self, pick: int, crash: int | None) -> None:
        self.world.kill_one(pick, crash)

    @rule(agent_id=st.sampled_from(["a1", "a2", "a3"]), begins_s=st.sampled_from([None, 0.0, 400.0]))
    def maintenance(self, agent_id: str, begins_s: float | None) -> None:
        """An agent is to be emptied, or is not any more."""
        self.world.maintain(agent_id, begins_s)

    @precondition(lambda self: self.world.connected)
    @rule(rounds=st.integers(1, 4), deliver=st.booleans())
    def go_well(self, rounds: int, deliver: bool) -> None:
        """For a while nothing is late, unless it is news of tasks."""
        self.world.go_well(rounds, deliver=deliver)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 700.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    def teardown(self) -> None:
        self.world.end_maintenance()
        if not self.world.connected:
            self.world.subscribe()
        for app_id in ("/new", "/timed"):
            self.world.delete(app_id)
        self.world.heal()
        assert self.world.launches, "nobody was alone with the volume"


TestWriterHistories = WriterHistories.TestCase
TestWriterHistories.settings = history_settings()
