"""Random histories of apps with one instance on each host: hosts join, leave, come back, close and open, and leaders change.

Whatever happens, no host is ever given a second one, and in the end each host that can have one has one, of the version that is
wanted. Offers that were declined for long do not come back by themselves, as in Mesos' allocator. More histories are tried by
``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import an_app
from support.played_agents import PlayedTasks, crashes, history_settings, picks
from support.world import RUNNING, Agent, SlowWorld, Task

from eratos.common import names
from eratos.common.resources import Resources
from eratos.marathon.app import App
from eratos.scheduler.core import actions, events
from eratos.scheduler.core.mesos_types import Offer, Window
from eratos.scheduler.core.records import APPS, INSTANCES, InstanceRecord

#: Agents that there are at most.
AGENTS_MOST = 6
#: So much is less than an instance takes.
TOO_LITTLE = Resources(cpus_m=90, mem_mib=1024, disk_mib=10_000)
per_host = st.sampled_from(["/each", "/every"])


class HostWorld(SlowWorld):
    """Knows which offers were declined for long, and holds every launch against what is on its host."""

    def __init__(self) -> None:
        self.declined: dict[str, Resources] = {}  #: agent -> what it is not offered again without more
        super().__init__()

    def _perform(self, action: actions.Action) -> None:
        if isinstance(action, actions.Decline) and action.refuse_s > 60:
            for offer_id in action.offer_ids:
                if offer_id in self.offers:
                    self.declined[self.offers[offer_id]] = self.offered[offer_id].resources
        elif isinstance(action, actions.Revive):
            self.declined.clear()
        super()._perform(action)
        if isinstance(action, actions.Accept) and action.refuse_s > 60 and action.agent_id in self.agents:
            self.declined[action.agent_id] = self.free(self.agents[action.agent_id])

    def subscribe(self) -> None:
        self.declined.clear()
        super().subscribe()

    def withheld(self, offer: Offer) -> bool:
        declined = self.declined.get(offer.agent_id)
        return declined is not None and declined.fits(offer.resources)

    def free(self, agent: Agent) -> Resources:
        used = (task.resources for task in self.tasks.values() if task.agent_id == agent.agent_id)
        return agent.capacity - sum(used, Resources())

    def _accept(self, accept: actions.Accept) -> None:
        before = set(self.tasks)
        super()._accept(accept)
        for launch in accept.launches:
            app = self.store.get(APPS + launch.payload.app_id)
            if launch.task_id in self.tasks.keys() - before and isinstance(app, App) and app.per_host:
                self._check_alone(self.tasks[launch.task_id])

    def _check_alone(self, task: Task) -> None:
        """A task that was given up, as its agent was out of reach for long, counts no more: it is killed once it is back."""
        record = self.record(task)
        assert record is not None
        for other in self.tasks.values():
            found = self.record(other)
            if other is not task and found is not None and found.app_id == record.app_id:
                assert found.hostname != record.hostname, f"{record.app_id} is on {record.hostname} twice: {found} and {record}"

    def record(self, task: Task) -> InstanceRecord | None:
        parsed = names.parse_task_id(task.task_id)
        assert parsed is not None
        record = self.store.get(INSTANCES + parsed[0])
        return record if isinstance(record, InstanceRecord) and record.attempt == parsed[1] else None

    def leave(self, agent_id: str, *, told: bool) -> None:
        """Have an agent go for good, with all that ran there; ``told``: the master says so."""
        gone = self.agents.pop(agent_id)
        self.declined.pop(agent_id, None)
        for offer_id in [offer_id for offer_id, found in self.offers.items() if found == gone.agent_id]:
            del self.offers[offer_id]
        for task in [task for task in self.tasks.values() if task.agent_id == agent_id]:
            del self.tasks[task.task_id]
        if told and self.connected:
            self.handle(events.AgentLost(agent_id))

    def at_rest(self) -> bool:
        """Hold what runs against the hosts, and what is not per host against its number."""
        if self.machine.state.brake.engaged:  # hosts that went for good do not come back
            self._command(events.ReleaseBrake())
        apps = {key.removeprefix(APPS): app for key, app in self.store.items() if key.startswith(APPS)}
        running: dict[str, list[str]] = {app_id: [] for app_id in apps}
        for task in self.tasks.values():
            record = self.record(task)
            if task.state is not RUNNING or record is None or record.stopping:
                return False
            if record.app_id not in apps or record.app_version != apps[record.app_id].version:
                return False
            running[record.app_id].append(record.hostname)
        for app_id, app in apps.items():
            there = running[app_id]
            if not app.per_host:
                if len(there) != app.instances:
                    return False
            elif sorted(there) != sorted(self.wanted(app, set(there))):
                return False
        return not self.machine.state.deployments

    def wanted(self, app: App, there: set[str]) -> set[str]:
        """Return the hosts that are to have an instance: those that have one already, or have room for it."""
        if not app.instances:
            return set()
        found = set()
        for agent in self.agents.values():
            closed = agent.window is not None and agent.window.begin - 300 <= self.now < agent.window.end
            fits = agent.hostname in there or self.free(agent).fits(app.resources)
            kept_out = app.constraints and agent.attributes.get("rack") != "r1"
            if not closed and fits and not kept_out:
                found.add(agent.hostname)
        return found


class PerHostHistories(PlayedTasks):
    def __init__(self) -> None:
        super().__init__()
        self.world: HostWorld = HostWorld()
        self.joined = len(self.world.agents)
        self.world.subscribe()
        self.put("/each", 1, 0.1, 1.0, [], True, None)
        self.go_well(2, True)

    def agent(self, pick: int) -> Agent | None:
        agents = list(self.world.agents.values())
        return agents[pick % len(agents)] if agents else None

    @rule(pick=picks)
    def lose_or_return_agent(self, pick: int) -> None:  # type: ignore[override]
        if (agent := self.agent(pick)) is None:
            return
        if agent.reachable:
            self.world.lose_agent(agent.agent_id)
        else:
            self.world.return_agent(agent.agent_id)

    @rule(
        app_id=per_host,
        instances=st.integers(0, 1),
        cpus=st.sampled_from([0.1, 0.2]),
        health=st.sampled_from([0.0, 0.5, 1.0]),
        constraints=st.sampled_from([[], [["rack", "LIKE", "r1"]]]),
        each=st.booleans(),
        crash=crashes,
    )
    def put(
        self, app_id: str, instances: int, cpus: float, health: float, constraints: list[list[str]], each: bool, crash: int | None
    ) -> None:
        """Most are per host; one may be so from now on, or no more."""
        app = an_app(
            app_id,
            instances,
            cpus=cpus,
            constraints=constraints if each else [],
            upgradeStrategy={"minimumHealthCapacity": health},
            unreachableStrategy={"inactiveAfterSeconds": 5, "expungeAfterSeconds": 30},
            eratos={"perHost": each},
        )
        self.world.put(app, crash)

    @rule(instances=st.integers(0, 2))
    def put_other(self, instances: int) -> None:
        self.world.put(an_app("/other", instances))

    @rule(app_id=per_host)
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(pick=picks, crash=crashes, back=st.booleans())
    def end_deployment(self, pick: int, crash: int | None, back: bool) -> None:
        self.world.end_deployment(pick, crash, back=back)

    @rule(pick=picks, command=st.sampled_from(["pause", "resume"]), crash=crashes)
    def steer(self, pick: int, command: str, crash: int | None) -> None:
        self.world.steer(pick, command, crash)

    @precondition(lambda self: len(self.world.agents) < AGENTS_MOST)
    @rule(rack=st.sampled_from(["r1", "r2"]), full=st.booleans())
    def join(self, rack: str, full: bool) -> None:
        self.joined += 1
        agent = Agent(f"a{self.joined}", "z1", attributes={"rack": rack})
        if full:
            agent.capacity = TOO_LITTLE
        self.world.agents[agent.agent_id] = agent

    @rule(pick=picks, told=st.booleans(), again=st.booleans())
    def leave(self, pick: int, told: bool, again: bool) -> None:
        """A host goes; ``again``: it was only started anew, and its agent has another id."""
        if (agent := self.agent(pick)) is None:
            return
        self.world.leave(agent.agent_id, told=told)
        if again:
            self.joined += 1
            anew = Agent(f"a{self.joined}", agent.zone, agent.capacity, hostname=agent.hostname, attributes=agent.attributes)
            self.world.agents[anew.agent_id] = anew

    @rule(pick=picks, grows=st.booleans())
    def room_changes(self, pick: int, grows: bool) -> None:
        """What others use of a host changes."""
        agent = self.agent(pick)
        if agent is not None and self.world.free(agent) == agent.capacity:
            agent.capacity = Resources(cpus_m=1000, mem_mib=1024, disk_mib=10_000) if grows else TOO_LITTLE
            self.world.rescind()

    @rule(pick=picks, begins_s=st.sampled_from([0.0, 200.0, 400.0]), lasts_s=st.sampled_from([10.0, 700.0]))
    def maintenance(self, pick: int, begins_s: float, lasts_s: float) -> None:
        if (agent := self.agent(pick)) is not None:
            begin = self.world.now + begins_s
            agent.window = Window(begin, begin + lasts_s)
            self.tell(agent)

    @rule(pick=picks)
    def no_maintenance(self, pick: int) -> None:
        if (agent := self.agent(pick)) is not None:
            agent.window = None
            self.world.rescind()
            self.world.declined.pop(agent.agent_id, None)  # its offers are others now

    def tell(self, agent: Agent) -> None:
        """The master takes its offers back, and makes new ones with the window."""
        self.world.rescind()
        self.world.declined.pop(agent.agent_id, None)

    @precondition(lambda self: self.world.connected)
    @rule(rounds=st.integers(1, 4), deliver=st.booleans())
    def go_well(self, rounds: int, deliver: bool) -> None:
        """For a while nothing is late, unless it is news of tasks."""
        self.world.go_well(rounds, deliver=deliver)

    @precondition(lambda self: self.world.connected)
    @rule()
    def hear_all(self) -> None:
        self.world._deliver_all()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 700.0, 1800.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    def teardown(self) -> None:
        self.world.agents["roomy"] = Agent("roomy", "z1")  # for what is not per host
        self.world.heal()


TestPerHostHistories = PerHostHistories.TestCase
TestPerHostHistories.settings = history_settings()
