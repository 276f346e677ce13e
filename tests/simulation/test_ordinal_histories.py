"""Random histories of apps whose instances have ordinals: agents come and go, leaders change, and users change their minds.

Whatever happens, an ordinal is given to nobody while a task that had it may be alive: it runs, it stops, or its agent is out of
reach. What was given up counts no more: because its app says after how long an agent out of reach counts as dead, or because
the app was deleted meanwhile. In the end ordinals 0 up to the number that is wanted run, once each. More histories are tried by
``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import an_app
from support.played_agents import PlayedTasks, crashes, history_settings, picks
from support.world import RUNNING, SlowWorld

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.records import APPS, INSTANCES, InstanceRecord

numbered = st.sampled_from(["/db", "/shop/queue"])


class OrdinalWorld(SlowWorld):
    """Knows which ordinal each task was told, and holds every launch against the tasks that are alive."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[str, int]] = {}  #: task -> its app and ordinal
        self.deleted: set[str] = set()  #: tasks whose app was deleted since they began
        self.launches = 0
        super().__init__()

    def _perform(self, action: actions.Action) -> None:
        super()._perform(action)
        if isinstance(action, actions.Forget) and action.key.startswith(APPS):
            self.deleted.update(task for task, told in self.told.items() if APPS + told[0] == action.key)

    def _accept(self, accept: actions.Accept) -> None:
        before = set(self.tasks)
        super()._accept(accept)
        for launch in accept.launches:
            app_id, env = launch.payload.app_id, launch.payload.env
            app = self.store.get(APPS + app_id)
            if "ERATOS_ORDINAL" not in env or launch.task_id not in self.tasks.keys() - before:
                continue
            self.launches += 1
            self.told[launch.task_id] = app_id, int(env["ERATOS_ORDINAL"])
            record = self.record(launch.task_id)
            assert record is not None and record.ordinal == int(env["ERATOS_ORDINAL"]), "another ordinal is stored than told"
            self._check_alone(launch.task_id)
            if isinstance(app, App) and app.first_alone and record.ordinal:
                self._check_first(app_id)

    def _check_alone(self, task_id: str) -> None:
        for other, told in self.told.items():
            if other == task_id or told != self.told[task_id] or other not in self.tasks:
                continue
            given_up = self.record(other) is None and (other in self.deleted or self.timed(told[0]))
            assert given_up, f"{told} is held by {other} and by {task_id}"

    def _check_first(self, app_id: str) -> None:
        records = (record for record in self.store.values() if isinstance(record, InstanceRecord))
        first = [record for record in records if record.app_id == app_id and record.ordinal == 0]
        assert [record.state for record in first] == ["TASK_RUNNING"], f"another one of {app_id} starts beside {first}"

    def timed(self, app_id: str) -> bool:
        """Return whether an app ever said after how long what is out of reach counts as dead."""
        return app_id != "/db"

    def record(self, task_id: str) -> InstanceRecord | None:
        parsed = names.parse_task_id(task_id)
        assert parsed is not None
        record = self.store.get(INSTANCES + parsed[0])
        return record if isinstance(record, InstanceRecord) and record.attempt == parsed[1] else None

    def at_rest(self) -> bool:
        if self.machine.state.brake.engaged:
            self._command(events.ReleaseBrake())
        apps = {key.removeprefix(APPS): app for key, app in self.store.items() if key.startswith(APPS)}
        for app in apps.values():
            if app.ordinals:
                running = sorted(
                    self.told[task.task_id][1]
                    for task in self.tasks.values()
                    if task.state is RUNNING and self.told.get(task.task_id, ("", 0))[0] == app.id
                )
                if running != list(range(app.instances)):
                    return False
        return super().at_rest() and not self.machine.state.deployments


class OrdinalHistories(PlayedTasks):
    def __init__(self) -> None:
        super().__init__()
        self.world: OrdinalWorld = OrdinalWorld()
        self.world.subscribe()
        self.put("/db", 3, 0.1, 1.0, True, True, None)
        self.go_well(3, True)

    @rule(
        app_id=numbered,
        instances=st.integers(0, 4),
        cpus=st.sampled_from([0.1, 0.2]),
        health=st.sampled_from([0.0, 0.5, 1.0]),
        first_alone=st.booleans(),
        has=st.sampled_from([True, True, True, False]),
        crash=crashes,
    )
    def put(
        self, app_id: str, instances: int, cpus: float, health: float, first_alone: bool, has: bool, crash: int | None
    ) -> None:
        """Most have ordinals; one may have them from now on, or no more, which is refused while it has instances."""
        timed = {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 5}
        app = an_app(
            app_id,
            instances,
            cpus=cpus,
            upgradeStrategy={"minimumHealthCapacity": health},
            unreachableStrategy=timed if self.world.timed(app_id) else "disabled",
            eratos={"ordinals": {"firstAlone": first_alone} if has else False},
        )
        self.world.put(app, crash)

    @rule(app_id=numbered, instances=st.integers(0, 4))
    def scale(self, app_id: str, instances: int) -> None:
        if app_id in self.world.machine.state.apps:
            self.world.scale(app_id, instances)

    @rule(app_id=numbered)
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(app_id=numbered, pick=picks, crash=crashes)
    def put_version(self, app_id: str, pick: int, crash: int | None) -> None:
        self.world.put_version(app_id, pick, crash)

    @rule(pick=picks, crash=crashes, back=st.booleans())
    def end_deployment(self, pick: int, crash: int | None, back: bool) -> None:
        self.world.end_deployment(pick, crash, back=back)

    @rule(pick=picks, command=st.sampled_from(["pause", "resume"]), crash=crashes)
    def steer(self, pick: int, command: str, crash: int | None) -> None:
        self.world.steer(pick, command, crash)

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
        self.world.heal()
        assert self.world.launches, "nobody was given an ordinal"


TestOrdinalHistories = OrdinalHistories.TestCase
TestOrdinalHistories.settings = history_settings()
