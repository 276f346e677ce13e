"""Random histories of instances that move with their volumes, beside all that may happen to apps with volumes anyway.

Whatever happens, nobody writes to a volume while it is copied, a task finds all that any task before it has written, and
nothing is destroyed but on a user's wish and what never counted; in the end each instance that is wanted runs, and no move goes
on. More histories are tried by ``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.played_agents import history_settings, picks
from support.world import RUNNING, Task

from eratos.common.payload import VolumeCopy
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.records import VOLUMES, VolumeRecord, VolumeState

from .test_volume_histories import VolumeHistories, VolumeWorld, app_ids, crashes


class MoveWorld(VolumeWorld):
    """Hosts whose volumes hold something, and whose executors copy it."""

    def __init__(self) -> None:
        self.content: dict[str, set[str]] = {}  #: volume -> tasks that have written to it
        self.written: dict[tuple[str, str], set[str]] = {}  #: slot and path -> tasks that have written there
        self.copies: dict[str, tuple[VolumeCopy, ...]] = {}  #: task that copies -> what
        self.made: dict[str, str] = {}  #: volume -> what it was copied from, once that counts
        self.ran_with: set[str] = set()  #: volumes
        self.wiped: set[str] = set()  #: volumes that are to go with a move
        super().__init__()

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Put) and isinstance(action.record, VolumeRecord):
            record = action.record
            if record.copy_of and record.state is VolumeState.MADE:
                assert self.on_disk.get(record.volume_id) == record.hostname, f"{record.volume_id} counts, and is no whole copy"
                self.made[record.volume_id] = record.copy_of
            if record.move_wipe:
                self.wiped.add(record.volume_id)
        if isinstance(action, actions.DestroyVolume) and action.volume_id not in self.asked:
            self._check_destroyed(action.volume_id)
            self.asked.add(action.volume_id)
        super()._perform(action)

    def _check_destroyed(self, volume_id: str) -> None:
        """What nobody wants destroyed by its name is a copy that never counted, or was to go once its copy served."""
        record = self.store[VOLUMES + volume_id]
        if record.copy_of and volume_id not in self.made:
            return
        assert volume_id in self.wiped, f"{volume_id} is destroyed, and nobody asked for it"
        served, later = False, {volume_id}
        while later:
            later = {copy for copy, source in self.made.items() if source in later}
            served = served or bool(later & self.ran_with)
        assert served, f"{volume_id} is destroyed, and nothing has run with its copy"

    def _accept(self, accept: actions.Accept) -> None:
        valid = all(self.offers.get(offer_id) == accept.agent_id for offer_id in accept.offer_ids)
        agent = self.agents[accept.agent_id]
        for launch in accept.launches:
            if not launch.payload.copies:
                continue
            for copy in launch.payload.copies:
                record = self.store.get(VOLUMES + copy.name)
                assert isinstance(record, VolumeRecord) and record.task_id == launch.task_id, f"{copy.name} was not stored first"
                assert (record.state, record.copy_of) == (VolumeState.COPYING, copy.source)
                assert not self.writers(copy.source), f"{copy.source} is copied while somebody may write to it"
            if not self.sends:
                self._unsent.append(launch.task_id)
            elif not valid or not agent.reachable:
                self.update(launch.task_id, TaskState.DROPPED, accept.agent_id, reason="REASON_INVALID_OFFERS", uuid="")
            else:
                assert launch.task_id not in self.ever_launched, f"{launch.task_id} was launched twice"
                self.ever_launched.add(launch.task_id)
                self.tasks[launch.task_id] = Task(launch.task_id, accept.agent_id, launch.payload.resources, ())
                self.copies[launch.task_id] = launch.payload.copies
        super()._accept(replace(accept, launches=tuple(launch for launch in accept.launches if not launch.payload.copies)))

    def _check_volumes(self, launch: actions.Launch) -> None:
        super()._check_volumes(launch)
        for kept in launch.payload.keeps:
            record = self.store[VOLUMES + kept.name]
            place = record.slot, record.container_path
            copies = [copy for task_id in self.tasks for copy in self.copies.get(task_id, ()) if copy.source == kept.name]
            counting = [copy.name for copy in copies if self.store[VOLUMES + copy.name].state is VolumeState.COPYING]
            assert not counting, f"somebody writes to {kept.name} while it is copied to {counting}"
            if kept.name not in self.content:
                assert kept.new or kept.name in self.made, f"{kept.name} holds nothing"
                self.content[kept.name] = set()
                self.written[place] = set()  # what was there before was destroyed on a wish
            lost = self.written.get(place, set()) - self.content[kept.name]
            assert not lost, f"{kept.name} lacks what {lost} have written"

    def run_task(self, task: Task) -> None:
        if task.task_id in self.copies and task.state is RUNNING and task.task_id not in self.ending:
            if self.agents[task.agent_id].reachable:
                self.end(task, TaskState.FINISHED)
            return
        super().run_task(task)
        if task.state is RUNNING and self.agents[task.agent_id].reachable:
            for kept in self.has.get(task.task_id, ()) if task.task_id in self.tasks else ():
                record = self.store.get(VOLUMES + kept.name)
                if record is not None:
                    self.ran_with.add(kept.name)
                    self.content[kept.name].add(task.task_id)
                    self.written.setdefault((record.slot, record.container_path), set()).add(task.task_id)

    def end(self, task: Task, state: TaskState) -> None:
        """Have a task end. A copy ends well only where it was whole."""
        copies = self.copies.get(task.task_id, ())
        if state is TaskState.FINISHED and not all(self._copied(task, copy) for copy in copies):
            state = TaskState.FAILED
        super().end(task, state)

    def _copied(self, task: Task, copy: VolumeCopy) -> bool:
        source = next(agent for agent in self.agents.values() if agent.hostname == copy.host)
        if not source.reachable or self.writers(copy.source) or self.on_disk.get(copy.source) != copy.host:
            return False  # the source's executor gives nothing that a container has
        self.on_disk[copy.name] = self.agents[task.agent_id].hostname
        self.content[copy.name] = set(self.content[copy.source])
        return True

    def writers(self, volume_id: str) -> list[str]:
        """Return the tasks that may write to a volume."""
        return [task_id for task_id in self.tasks for kept in self.has.get(task_id, ()) if kept.name == volume_id]

    def at_rest(self) -> bool:
        return super().at_rest() and not self.machine.state.moves


class MoveHistories(VolumeHistories):
    def __init__(self) -> None:
        super().__init__(MoveWorld())

    @rule(pick=picks, to=st.sampled_from(["", "h-a1", "h-a2", "h-a3"]), wipe=st.booleans(), crash=crashes)
    def move(self, pick: int, to: str, wipe: bool, crash: int | None) -> None:
        found = [instance for instance in self.world.machine.state.instances.values() if instance.slot]
        if found:
            instance = found[pick % len(found)]
            self.world._command(events.MoveVolumes(instance.app_id, instance.instance_id, to, wipe), crash)

    @precondition(lambda self: self.world.connected)
    @rule(pick=picks, to=st.sampled_from(["", "h-a1", "h-a2", "h-a3"]), wipe=st.booleans(), rounds=st.integers(2, 8))
    def move_well(self, pick: int, to: str, wipe: bool, rounds: int) -> None:
        """Go some way of a move without a fault, of an app that is at rest before."""
        self.put("/db", 2, 0.1, 0.5, ["data"], None, None)
        self.go_well(5)
        self.move(pick, to, wipe, None)
        self.go_well(rounds)

    @rule(app_id=app_ids, crash=crashes)
    def cancel(self, app_id: str, crash: int | None) -> None:
        self.world._command(events.CancelMoves(app_id), crash)


TestMoveHistories = MoveHistories.TestCase
TestMoveHistories.settings = history_settings()
