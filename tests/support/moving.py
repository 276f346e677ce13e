"""A core with databases whose volumes follow: what tests of moves of instances with volumes share."""

from __future__ import annotations

from typing import Any

from eratos.marathon.app import App
from eratos.scheduler.api.drains import shown
from eratos.scheduler.api.explain import explain
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.records import VOLUMES, VolumeRecord, VolumeState
from eratos.scheduler.core.state import MovePhase
from eratos.scheduler.core.volumes import LOOK_S

from .builders import an_app, an_offer
from .core import of
from .kept_core import Kept

HOST = "host-a1"
FOLLOWS = {"follow": "copy"}


def db(app_id: str = "/db", instances: int = 1, **fields: Any) -> App:
    kept = [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]
    container = {"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": kept}
    return an_app(app_id, instances, container=container, **{"eratos": FOLLOWS} | fields)


class Cluster(Kept):
    """A core whose databases run on a1, and which knows a2."""

    def __init__(self, *apps: App) -> None:
        super().__init__()
        self.put(*(apps or (db(),)))
        self.run(an_offer("a1"))
        self.tick(LOOK_S)
        self.offer(an_offer("a2"))

    def run(self, *offers: Any) -> list[str]:
        tasks = self.launch(*offers)
        for task in tasks:
            self.status(task, "RUNNING", agent=self.instance(task).agent_id)
        return tasks

    def drain(self, deadline_s: float | None = None) -> list[actions.Action]:
        return self.command(events.PutDrain(HOST, deadline_s, "ann"))

    def undrain(self) -> list[actions.Action]:
        return self.command(events.DeleteDrain(HOST))

    def tasks(self, app_id: str = "/db", agent: str = "") -> list[str]:
        return [i.task_id for i in self.state.with_task() if i.app_id == app_id and agent in ("", i.agent_id)]

    def to(self, phase: MovePhase) -> str:
        """Bring the move of the only database to a phase; return the task that copies, if there is one by then."""
        (old,) = self.tasks()
        if phase is not MovePhase.HOST:
            self.offer(an_offer("a2"))
        if phase in (MovePhase.ROOM, MovePhase.COPY):
            self.status(old, "KILLED", agent="a1")
        copy = self.copied(an_offer("a2"))[0] if phase is MovePhase.COPY else ""
        (move,) = self.state.moves.values()
        assert move.phase is phase
        return copy

    def copied(self, *offers: Any) -> list[str]:
        """Return the tasks that are launched on some offers, each of which copies."""
        launches = [launch for accept in of(actions.Accept, self.offer(*offers)) for launch in accept.launches]
        assert all(launch.payload.copies for launch in launches)
        return [launch.task_id for launch in launches]

    def volumes(self, app_id: str = "/db") -> dict[tuple[str, VolumeState], VolumeRecord]:
        records = [record for record in self.state.volumes.values() if record.app_id == app_id]
        return {(record.hostname, record.state): record for record in records}

    def moved(self) -> set[tuple[object, ...]]:
        """Return what is stored of moves."""
        records = [record for key, record in self.store.items() if key.startswith(VOLUMES)]
        return {(r.volume_id, r.state, r.copy_of, r.move_since, r.move_begun, r.move_to, r.move_cause) for r in records}

    def begun(self) -> list[str]:
        return sorted({record.app_id for record in self.state.volumes.values() if record.move_begun})

    def shown(self) -> dict[str, Any]:
        return shown(self.state, HOST, self.now)

    def explained(self, app_id: str = "/db") -> dict[str, dict[str, Any]]:
        return {found["reason"]: found for found in explain(self.state, self.state.apps[app_id], self.now, {})["reasons"]}


def killed(out: list[actions.Action]) -> list[str]:
    return [kill.task_id for kill in of(actions.Kill, out)]
