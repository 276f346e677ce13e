"""Random histories of apps with persistent volumes: hosts go and come back, tasks crash, apps are changed, leaders change.

Whatever happens, no volume ever has two writers, none is launched where its volume is not, none is destroyed but on a user's
wish, and no data is found missing; in the end each instance that is wanted runs, with volumes of its own. More histories are
tried by ``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import an_app
from support.played_agents import PlayedTasks, history_settings, picks
from support.world import RUNNING, SlowWorld

from eratos.common import names
from eratos.common.payload import KeptVolume
from eratos.common.resources import Resources
from eratos.marathon.app import App
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.records import APPS, INSTANCES, VOLUMES, InstanceRecord, VolumeRecord, VolumeState
from eratos.scheduler.core.volumes import ASK_S

crashes = st.none() | st.integers(0, 8)
app_ids = st.sampled_from(["/db", "/queue"])


class VolumeWorld(SlowWorld):
    """Hosts with volumes on them, and what their executors do about these."""

    def __init__(self) -> None:
        self.on_disk: dict[str, str] = {}  #: volume -> host name
        self.begun: set[tuple[str, str]] = set()  #: slot and volume, of all that were ever stored
        self.asked: set[str] = set()  #: volumes that a user wants destroyed
        self.has: dict[str, tuple[KeptVolume, ...]] = {}  #: task -> its volumes
        self.ran_on: dict[str, str] = {}  #: volume -> host name, of all that ever ran
        super().__init__()

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Put) and isinstance(action.record, VolumeRecord):
            self._check_begun(action.record)
        if not isinstance(action, actions.DestroyVolume):
            super()._perform(action)
            return
        agent = self.agents.get(action.agent_id)
        if not self.connected or agent is None or not agent.reachable:
            return
        assert action.volume_id in self.asked, f"{action.volume_id} is destroyed, and nobody asked for it"
        if any(action.volume_id == kept.name for task in self.tasks.values() for kept in self.has.get(task.task_id, ())):
            self.told.append(events.VolumeDestroyed(action.volume_id, "in use"))
            return
        self.on_disk.pop(action.volume_id, None)
        self.told.append(events.VolumeDestroyed(action.volume_id))

    def start(self) -> None:
        self.told: list[events.VolumeDestroyed] = []
        super().start()

    def hear(self, lost: bool = False) -> None:
        """Deliver what executors said of volumes, or lose it."""
        told, self.told = self.told, []
        for event in () if lost or not self.connected else told:
            self.handle(event)

    def _accept(self, accept: actions.Accept) -> None:
        before = set(self.tasks)
        super()._accept(accept)
        for launch in accept.launches:
            if launch.task_id in self.tasks.keys() - before:
                self._check_volumes(launch)

    def _check_volumes(self, launch: actions.Launch) -> None:
        host = self.agents[self.tasks[launch.task_id].agent_id].hostname
        writers = {kept.name: task_id for task_id in self.tasks for kept in self.has.get(task_id, ())}
        for kept in launch.payload.keeps:
            record = self.store.get(VOLUMES + kept.name)
            assert isinstance(record, VolumeRecord) and record.task_id == launch.task_id, f"{kept.name} was not stored first"
            assert record.state in (VolumeState.NEW, VolumeState.MADE), f"{kept.name} is {record.state} and is used"
            assert kept.name not in writers, f"{kept.name} has two writers: {writers[kept.name]} and {launch.task_id}"
            assert kept.name not in self.asked, f"{kept.name} is used although it is to be destroyed"
            assert self.ran_on.setdefault(kept.name, host) == host, f"{kept.name} is not on {host}"
            if kept.new:
                self.on_disk.setdefault(kept.name, host)
            assert self.on_disk.get(kept.name) == host, f"the data of {kept.name} is missing on {host}"
        self.has[launch.task_id] = launch.payload.keeps

    def _check_begun(self, new: VolumeRecord) -> None:
        """An instance begins with new volumes only where its app has none that nobody has; later it keeps what it began with."""
        usable = (VolumeState.NEW, VolumeState.MADE)
        if new.state in usable:
            of_slot = [record for record in self.volumes(new.app_id) if record.slot == new.slot and record.state in usable]
            same = [record.volume_id for record in of_slot if record.container_path == new.container_path]
            assert same == [new.volume_id], f"of these only one can be what an instance goes on with: {same}"
        slots = {slot for slot, _ in self.begun}
        self.begun.add((new.slot, new.volume_id))
        if new.slot in slots:
            return
        state = self.machine.state
        paths = {record.container_path for record in self.volumes(new.app_id) if record.slot == new.slot}
        had = {instance.slot for instance in state.instances_of(new.app_id) if instance.slot}
        app = state.in_force(new.app_id)
        assert app is not None and len(had) <= app.instances, f"{new.volume_id} is new, and another instance leaves its own"
        for record in self.volumes(new.app_id):
            unused = record.state in usable and record.container_path in paths and record.slot not in had
            assert not unused, f"{new.volume_id} is new, and {record.volume_id} is unused"

    def wipe(self, found: list[VolumeRecord]) -> None:
        self.asked.update(record.volume_id for record in found)

    def volumes(self, app_id: str = "") -> list[VolumeRecord]:
        known = self.machine.state.volumes.values()
        return [record for record in known if app_id in ("", record.app_id)]

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        self.hear()

    def check_kept(self) -> None:
        """What lies on a host is listed, until it is destroyed."""
        listed = {key.removeprefix(VOLUMES) for key in self.store if key.startswith(VOLUMES)}
        assert self.on_disk.keys() <= listed, f"volumes are forgotten: {self.on_disk.keys() - listed}"
        stored = {record.volume_id: record for key, record in self.store.items() if key.startswith(VOLUMES)}
        assert stored == self.machine.state.volumes, "other volumes are stored than there are"

    def at_rest(self) -> bool:
        if self.machine.state.brake.engaged:
            self._command(events.ReleaseBrake())
        apps = {key.removeprefix(APPS): app for key, app in self.store.items() if key.startswith(APPS)}
        running: dict[str, int] = dict.fromkeys(apps, 0)
        for task in self.tasks.values():
            record = self.store.get(INSTANCES + names.parse_task_id(task.task_id)[0])  # type: ignore[index]
            if not isinstance(record, InstanceRecord) or task.state is not RUNNING or record.stopping:
                return False
            if record.app_id not in apps or record.app_version != apps[record.app_id].version:
                return False
            running[record.app_id] += 1
        deleting = [record for record in self.volumes() if record.state is VolumeState.DELETING]
        wanted = {app_id: app.instances for app_id, app in apps.items()}
        return running == wanted and not deleting and not self.machine.state.deployments


class VolumeHistories(PlayedTasks):
    def __init__(self, world: VolumeWorld | None = None) -> None:
        super().__init__()
        self.world: VolumeWorld = world or VolumeWorld()
        for agent in self.world.agents.values():
            agent.capacity = Resources(cpus_m=2000, mem_mib=4096, disk_mib=10_000)
        self.world.subscribe()
        self.put("/db", 1, 0.1, 0.5, ["data"], None, None)
        self.go_well(2)

    def app(self, app_id: str, instances: int, cpus: float, health: float, paths: list[str], after_s: int | None) -> App:
        volumes = [{"containerPath": path, "mode": "RW", "persistent": {"size": 10}} for path in paths]
        lost = (
            {} if after_s is None else {"taskLostBehavior": "RELAUNCH_AFTER_TIMEOUT", "relaunchEscalationTimeoutSeconds": after_s}
        )
        fields = {"residency": lost} if paths else {"unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 30}}
        container = {"type": "DOCKER", "docker": {"image": "eratos/prime"}, "volumes": volumes}
        strategy = {"minimumHealthCapacity": health, "maximumOverCapacity": 0}
        return an_app(app_id, instances, cpus=cpus, container=container, upgradeStrategy=strategy, **fields)

    @rule(
        app_id=app_ids,
        instances=st.integers(0, 3),
        cpus=st.sampled_from([0.1, 0.2]),
        health=st.sampled_from([0.0, 0.5]),
        paths=st.sampled_from([["data"], ["data"], ["data", "log"], ["log"], []]),
        after_s=st.sampled_from([None, None, 0, 60]),
        crash=crashes,
    )
    def put(
        self, app_id: str, instances: int, cpus: float, health: float, paths: list[str], after_s: int | None, crash: int | None
    ) -> None:
        self.world.put(self.app(app_id, instances, cpus, health, paths, after_s), crash)

    @rule(app_id=app_ids, instances=st.integers(0, 3))
    def scale(self, app_id: str, instances: int) -> None:
        self.world.scale(app_id, instances)

    @rule(app_id=app_ids, wipe=st.booleans())
    def delete(self, app_id: str, wipe: bool) -> None:
        if app_id in self.world.machine.state.apps and wipe:
            self.world.wipe(self.world.volumes(app_id))
        self.world._command(events.DeleteApps((app_id,), force=True, wipe=wipe))

    @rule(pick=picks, wipe=st.booleans(), scale=st.booleans())
    def kill(self, pick: int, wipe: bool, scale: bool) -> None:
        found = list(self.world.machine.state.instances.values())
        if not found:
            return
        instance = found[pick % len(found)]
        if wipe and instance.slot:
            self.world.wipe([record for record in self.world.volumes(instance.app_id) if record.slot == instance.slot])
        self.world._command(events.KillInstances((instance.instance_id,), scale and not wipe, True, wipe))

    @rule(pick=picks)
    def delete_volume(self, pick: int) -> None:
        found = self.world.volumes()
        if found:
            record = found[pick % len(found)]
            refused = len(self.world.refused)
            asked = set(self.world.asked)
            self.world.asked.add(record.volume_id)
            self.world._command(events.DeleteVolume(record.volume_id))
            if len(self.world.refused) > refused:
                self.world.asked = asked

    @rule(app_id=app_ids, crash=crashes)
    def restart(self, app_id: str, crash: int | None) -> None:
        self.world._command(events.RestartApp(app_id, True), crash)

    @rule(pick=picks, crash=crashes, back=st.booleans())
    def end_deployment(self, pick: int, crash: int | None, back: bool) -> None:
        self.world.end_deployment(pick, crash, back=back)

    @rule(pick=picks, command=st.sampled_from(["pause", "resume"]), crash=crashes)
    def steer(self, pick: int, command: str, crash: int | None) -> None:
        self.world.steer(pick, command, crash)

    @precondition(lambda self: self.world.connected)
    @rule(pick=picks, seconds=st.sampled_from([1.0, 30.0]), crash=crashes)
    def host_is_away_while_its_app_is_made_anew(self, pick: int, seconds: float, crash: int | None) -> None:
        """What is on it is given up with the app, and is still there when the host is back."""
        task = self.task(pick)
        record = self.world.store.get(INSTANCES + names.parse_task_id(task.task_id)[0]) if task else None  # type: ignore[index]
        if task is None or not isinstance(record, InstanceRecord) or not self.world.agents[task.agent_id].reachable:
            return
        app = self.world.store.get(APPS + record.app_id)
        self.world.lose_agent(task.agent_id)
        self.world._deliver_all()
        self.world._command(events.DeleteApps((record.app_id,), force=True))
        for _ in range(3):
            self.world._deliver_all()
            self.world.tick(seconds)
        if isinstance(app, App):
            self.world.put(app, crash)
        self.world.return_agent(task.agent_id)
        self.world.offer()
        self.world.check_kept()

    @rule(lost=st.booleans())
    def hear(self, lost: bool) -> None:
        self.world.hear(lost)

    @precondition(lambda self: self.world.connected)
    @rule(rounds=st.integers(1, 4))
    def go_well(self, rounds: int) -> None:
        self.world.go_well(rounds)

    @rule(crash=crashes)
    def offer(self, crash: int | None) -> None:
        self.world.offer(crash)
        self.world.check_kept()

    @rule(pick=picks, crash=crashes)
    def deliver(self, pick: int, crash: int | None) -> None:
        self.world.deliver(pick, crash_after=crash)
        self.world.check_kept()

    @rule(pick=picks, state=st.sampled_from([TaskState.FAILED, TaskState.FINISHED]))
    def end_task(self, pick: int, state: TaskState) -> None:
        self.end(pick, state)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 120.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)
        self.world.check_kept()

    def teardown(self) -> None:
        self.world.heal()
        for _ in range(3):  # Mesos is asked about a task that nobody knows, and not at once
            self.world.tick(ASK_S)
            self.world._deliver_all()
        self.world.check_kept()
        for record in self.world.volumes():
            ran = record.task_id in self.world.tasks
            assert not ran or record.state is VolumeState.MADE, f"a task runs with {record.volume_id}, which may be made anew"
            if record.task_id:
                assert record.task_id in self.world.tasks, f"{record.volume_id} waits for a task that has ended: {record}"


TestVolumeHistories = VolumeHistories.TestCase
TestVolumeHistories.settings = history_settings()
