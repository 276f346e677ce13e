"""Random histories of executors that die while apps are scaled down, deleted and moved: in the end no host has left-overs.

More histories are tried by ``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule
from support.builders import an_app
from support.played_agents import PlayedTasks, crashes, history_settings, picks
from support.world import RUNNING, Task, World

from eratos.common import names
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import Offer, TaskState, TaskStatus
from eratos.scheduler.core.records import SWEEPS, SweepRecord

apps = st.sampled_from(["/a", "/b"])
agents = st.sampled_from(["a1", "a2", "a3"])


class SweepWorld(World):
    """Hosts with executors that die and leave things, and with such that remove them."""

    def __init__(self) -> None:
        self.left: dict[str, set[str]] = {}  #: agent -> what dead executors left there
        self.executors: set[str] = set()  #: agents on which one lives
        self.sweeps: dict[str, Task] = {}
        self.declined: dict[str, Offer] = {}  #: agent -> what was declined, which is not offered again before a REVIVE
        super().__init__()

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Decline):
            for offer_id in action.offer_ids:
                if offer_id in self.offers:
                    self.declined[self.offers[offer_id]] = self.offered[offer_id]
        elif isinstance(action, actions.Revive):
            self.declined.clear()
        super()._perform(action)

    def subscribe(self) -> None:
        self.declined.clear()  # filters end with the subscription
        super().subscribe()

    def withheld(self, offer: Offer) -> bool:
        known = self.declined.get(offer.agent_id)
        return known is not None and known.resources.fits(offer.resources)

    def _accept(self, accept: actions.Accept) -> None:
        valid = all(self.offers.get(offer_id) == accept.agent_id for offer_id in accept.offer_ids)
        real = tuple(launch for launch in accept.launches if not launch.payload.sweeps)
        for launch in accept.launches:
            if not launch.payload.sweeps:
                continue
            record = self.store.get(SWEEPS + self.agents[accept.agent_id].hostname)
            assert isinstance(record, SweepRecord) and record.task_id == launch.task_id, "a sweep was not stored first"
            if not self.sends:
                self._unsent.append(launch.task_id)
            elif not valid or not self.agents[accept.agent_id].reachable:
                self.update(launch.task_id, TaskState.DROPPED, accept.agent_id, reason="REASON_INVALID_OFFERS", uuid="")
            else:
                assert launch.task_id not in self.ever_launched, f"{launch.task_id} was launched twice"
                self.ever_launched.add(launch.task_id)
                self.sweeps[launch.task_id] = Task(launch.task_id, accept.agent_id, launch.payload.resources, ())
        super()._accept(replace(accept, launches=real))

    def _kill(self, task_id: str) -> None:
        if (task := self.sweeps.pop(task_id, None)) is not None:
            self.told(task, TaskState.KILLED, "SOURCE_EXECUTOR")
        else:
            super()._kill(task_id)

    def _reconcile(self, call: actions.Reconcile) -> None:
        super()._reconcile(call)
        for task in self.sweeps.values() if not call.tasks else ():
            self.update(task.task_id, task.state, task.agent_id, reason="REASON_RECONCILIATION", uuid="")

    def told(self, task: Task, state: TaskState, source: str, reason: str = "") -> None:
        status = TaskStatus(task.task_id, state, task.agent_id, f"u{next(self._numbers)}", reason, source, timestamp=self.now)
        self.unacknowledged[status.uuid] = status

    def run_task(self, task: Task) -> None:
        if self.agents[task.agent_id].reachable and task.state is TaskState.STAGING:
            self.executors.add(task.agent_id)
            self.left.pop(task.agent_id, None)
            task.state = RUNNING
            self.told(task, RUNNING, "SOURCE_EXECUTOR")

    def run_sweep(self, task: Task) -> None:
        if not self.agents[task.agent_id].reachable:
            return
        if task.state is TaskState.STAGING:
            self.run_task(task)
        else:
            del self.sweeps[task.task_id]
            self.told(task, TaskState.FINISHED, "SOURCE_EXECUTOR")

    def kill_executor(self, agent_id: str) -> None:
        """Have an executor die; its agent tells of each task's end, and what ran goes on running."""
        if agent_id not in self.executors or not self.agents[agent_id].reachable:
            return
        self.executors.discard(agent_id)
        for of in (self.tasks, self.sweeps):
            for task in [task for task in of.values() if task.agent_id == agent_id]:
                del of[task.task_id]
                if task.state is RUNNING and of is self.tasks:
                    self.left.setdefault(agent_id, set()).add(task.task_id)
                self.told(task, TaskState.FAILED, "SOURCE_AGENT", "REASON_EXECUTOR_TERMINATED")

    def heal(self) -> None:
        super().heal()
        for _ in range(100):
            for task in list(self.sweeps.values()):
                self.run_sweep(task)
            for task in list(self.tasks.values()):
                self.run_task(task)
            self._deliver_all()
            self.offer()
            self.tick(60.0)
            if not self.machine.state.sweeps and not self.sweeps:
                break
        assert not self.left, f"left-overs stay: {self.left}; {self.machine.state.sweeps}"
        assert not [key for key in self.store if key.startswith(SWEEPS)], "a host is to be swept without end"
        assert not self.sweeps, "a sweep does not end"
        assert self.suppressed, "offers are wanted without end"


class SweepHistories(PlayedTasks):
    def __init__(self) -> None:
        super().__init__()
        self.world: SweepWorld = SweepWorld()
        self.world.subscribe()
        self.put("/a", 3, None)
        self.go_well()

    @rule()
    def go_well(self) -> None:
        """Have what is wanted run, so that an executor's death leaves something."""
        self.world.offer()
        for task in list(self.world.tasks.values()):
            self.world.run_task(task)
        if self.world.connected:
            self.world._deliver_all()

    @rule(app_id=apps, instances=st.integers(0, 4), crash=crashes)
    def put(self, app_id: str, instances: int, crash: int | None) -> None:
        lost = {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 30}
        self.world.put(an_app(app_id, instances, cpus=0.1, unreachableStrategy=lost), crash)

    @rule(app_id=apps)
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(agent_id=agents)
    def kill_executor(self, agent_id: str) -> None:
        self.world.kill_executor(agent_id)

    @rule(app_id=apps, agent_id=agents)
    def kill_executor_and_scale_down(self, app_id: str, agent_id: str) -> None:
        self.world.kill_executor(agent_id)
        if app_id in self.world.machine.state.apps:
            self.world.scale(app_id, 0)

    @rule(pick=picks)
    def run_sweep(self, pick: int) -> None:
        found = list(self.world.sweeps.values())
        if found:
            self.world.run_sweep(found[pick % len(found)])

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 70.0, 700.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule()
    def release(self) -> None:
        if self.world.machine.state.brake.engaged:
            self.world._command(events.ReleaseBrake())

    def teardown(self) -> None:
        self.world.heal()


def test_ids_of_sweeps_are_read_as_those_of_tasks() -> None:
    record = SweepRecord("h1", names.instance_id("/sweep", "i1"), 1.0, 2)
    assert names.parse_task_id(record.task_id) == (record.sweep_id, 2)


TestSweepHistories = SweepHistories.TestCase
TestSweepHistories.settings = history_settings(times=2, steps=30)
