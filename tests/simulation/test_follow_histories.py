"""Random histories of hosts that are drained or maintained, with instances whose volumes follow, and all else that moves meet.

Nothing is launched on a drained host; a host that is emptied has no instance moved twice at a time, none of an app that does not
say so, and no two of one app at once; nobody loses what was written, and nothing is destroyed for it. In the end each host in
its turn is rid of what follows, and what does not has stayed. More histories are tried with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import an_app
from support.played_agents import history_settings

from eratos.marathon.app import App
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import Window
from eratos.scheduler.core.records import APPS, DRAINS, VOLUMES, MoveCause, VolumeRecord, VolumeState

from .test_move_histories import MoveHistories, MoveWorld
from .test_volume_histories import VolumeHistories, crashes

agents = st.sampled_from(["a1", "a2", "a3"])
#: What follows; the other app's instances stay.
FOLLOWING = "/db"


class FollowWorld(MoveWorld):
    """Hosts that are drained and maintained, and what may be moved for that."""

    def drained(self) -> set[str]:
        return {key.removeprefix(DRAINS) for key in self.store if key.startswith(DRAINS)}

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Put) and isinstance(action.record, VolumeRecord):
            self._check_asked(action.record)
        super()._perform(action)

    def _check_asked(self, new: VolumeRecord) -> None:
        before = self.store.get(VOLUMES + new.volume_id)
        if new.move_cause is not MoveCause.MAINTENANCE or not isinstance(before, VolumeRecord):
            return
        if not before.move_since:
            assert new.app_id == FOLLOWING, f"{new.volume_id} is moved, and its app has not said that it follows"
            there = [agent for agent in self.agents.values() if agent.hostname == new.hostname]
            known = self.machine.state.windows.keys() & {agent.agent_id for agent in there}
            assert new.hostname in self.drained() or known, f"{new.volume_id} is moved, and {new.hostname} is not emptied"
        assert not before.move_since or before.move_since == new.move_since, f"{new.volume_id} is moved a second time at once"
        if new.move_begun and not before.move_begun:
            others = {r.slot for r in self.records() if r.app_id == new.app_id and r.move_begun and r.slot != new.slot}
            assert not others, f"{new.slot} leaves while {others} of its app do"

    def records(self) -> list[VolumeRecord]:
        return [record for key, record in self.store.items() if key.startswith(VOLUMES)]

    def _accept(self, accept: actions.Accept) -> None:
        hostname = self.agents[accept.agent_id].hostname
        assert not accept.launches or hostname not in self.drained(), f"{hostname} is drained, and something is launched there"
        for launch in accept.launches:
            for copy in launch.payload.copies:
                of_same = [r for r in self.records() if r.copy_of == copy.source and r.state is VolumeState.COPYING]
                assert [record.volume_id for record in of_same] == [copy.name], f"{copy.source} is copied twice at a time"
        super()._accept(accept)

    def drain(self, agent_id: str, deadline_s: float | None = None, crash: int | None = None) -> None:
        self._command(events.PutDrain(self.agents[agent_id].hostname, deadline_s, "ann"), crash)

    def undrain(self, agent_id: str, crash: int | None = None) -> None:
        self._command(events.DeleteDrain(self.agents[agent_id].hostname), crash)

    def heal(self) -> None:
        """Come to rest with all hosts; then have each in its turn rid of what follows."""
        for agent_id, agent in self.agents.items():
            agent.window = None
            self.undrain(agent_id)
        super().heal()
        for agent_id, agent in self.agents.items():
            stays = self.holding(agent.hostname, following=False)
            self.drain(agent_id)
            self._go_on_until_left(agent.hostname)
            assert self.holding(agent.hostname, following=False) == stays, "what does not follow has moved"
            self.undrain(agent_id)
        super().heal()

    def holding(self, hostname: str, *, following: bool) -> set[str]:
        """Return the volumes on a host that instances have."""
        there = self.machine.state.instances.keys()
        held = (record for record in self.records() if record.instance_id in there and record.hostname == hostname)
        kept = (record for record in held if record.state in (VolumeState.NEW, VolumeState.MADE))
        return {record.volume_id for record in kept if (record.app_id == FOLLOWING) is following}

    def _go_on_until_left(self, hostname: str) -> None:
        for _ in range(80):
            for task in list(self.tasks.values()):
                self.run_task(task)
            self._deliver_all()
            if not self.holding(hostname, following=True) and not self.machine.state.moves:
                return
            self.offer()
            self.tick(30.0)
        raise AssertionError(f"{hostname} is not rid of {self.holding(hostname, following=True)}: {self.summary()}")


class FollowHistories(MoveHistories):
    world: FollowWorld

    def __init__(self) -> None:
        VolumeHistories.__init__(self, FollowWorld())

    def app(self, app_id: str, instances: int, cpus: float, health: float, paths: list[str], after_s: int | None) -> App:
        app = super().app(app_id, instances, cpus, health, paths, after_s)
        if app_id != FOLLOWING or not paths:
            return app
        return app.model_copy(update={"eratos": an_app(app_id, container=container(paths), eratos={"follow": "copy"}).eratos})

    @rule(agent_id=agents, deadline_s=st.sampled_from([None, None, 5.0, 300.0]), crash=crashes)
    def drain(self, agent_id: str, deadline_s: float | None, crash: int | None) -> None:
        self.world.drain(agent_id, deadline_s, crash)

    @rule(agent_id=agents, crash=crashes)
    def undrain(self, agent_id: str, crash: int | None) -> None:
        self.world.undrain(agent_id, crash)

    @rule(agent_id=agents, on=st.booleans())
    def maintain(self, agent_id: str, on: bool) -> None:
        self.world.agents[agent_id].window = Window(self.world.now) if on else None

    @precondition(lambda self: self.world.connected)
    @rule(agent_id=agents, rounds=st.integers(2, 9), crash=crashes)
    def drain_well(self, agent_id: str, rounds: int, crash: int | None) -> None:
        """Go some way of a drain without a fault but a leader's death at its begin, from where all is at rest."""
        self.put(FOLLOWING, 2, 0.1, 0.5, ["data"], None, None)
        self.go_well(5)
        self.drain(agent_id, None, crash)
        if not self.world.connected:
            self.world.subscribe()
        self.go_well(rounds)

    @precondition(lambda self: self.world.connected)
    @rule()
    def hear_the_master(self) -> None:
        """Have the master say of the agents what is scheduled for them, by offers."""
        self.world.rescind()
        self.world.offer()


def container(paths: list[str]) -> dict[str, object]:
    kept = [{"containerPath": path, "mode": "RW", "persistent": {"size": 10}} for path in paths]
    return {"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": kept}


def test_the_apps_of_these_histories_still_follow() -> None:
    """Without the field nothing would be moved, and so nothing found."""
    found = FollowHistories()
    assert found.world.store[APPS + FOLLOWING].follows
    assert not found.app("/queue", 1, 0.1, 0.5, ["data"], None).follows


TestFollowHistories = FollowHistories.TestCase
TestFollowHistories.settings = history_settings()
