"""Random histories of apps of several Mesos roles, which change theirs while agents, offers and leaders come and go.

An agent offers what it has to one role at a time, as Mesos' allocator does, and only to those that ask for it. Whatever
happens, no task takes from what was offered to another role than its app's, and in the end everything runs in its own.
100 histories are tried, and 10,000 with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import a_machine, an_app
from support.played_agents import PlayedTasks, crashes, history_settings, picks
from support.records import as_stored
from support.world import World

from eratos.common import names
from eratos.scheduler.core import actions
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.core.records import INSTANCES, InstanceRecord

ROLES = ("*", "dev", "ops")


class RoleWorld(World):
    """Gives what an agent has to one role after the other."""

    def __init__(self) -> None:
        self.quiet: set[str] = set()
        self.turn = 0
        super().__init__()

    def start(self) -> None:
        super().start()
        self.machine = a_machine(as_stored(self.store), self.now, kill_retry_s=5.0, deployment_deadline_s=3600.0, roles=ROLES)
        self.machine.step.new_id = lambda: f"n{next(self._numbers)}"

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Suppress(roles):
                self.quiet |= set(roles or ROLES)
            case actions.Revive(roles):
                self.quiet -= set(roles or ROLES)
            case _:
                super()._perform(action)

    def subscribe(self) -> None:
        self.quiet.clear()
        super().subscribe()

    def offer(self, crash_after: int | None = None) -> None:
        self.turn += 1
        super().offer(crash_after)

    def to_role(self, offer: Offer) -> Offer | None:
        """Return the offer as it is made, None where no role asks for it."""
        asking = [role for role in ROLES if role not in self.quiet]
        if not asking:
            return None
        return replace(offer, role=asking[(self.turn + int(offer.agent_id[1:])) % len(asking)])

    def _accept(self, accept: actions.Accept) -> None:
        [role] = {self.offered[offer_id].role for offer_id in accept.offer_ids}
        for launch in accept.launches:
            parsed = names.parse_task_id(launch.task_id)
            record = self.store[INSTANCES + parsed[0]] if parsed else None
            assert isinstance(record, InstanceRecord) and record.role == role, f"{record} takes from what {role} was offered"
        super()._accept(accept)

    def at_rest(self) -> bool:
        """Hold what runs against the roles of its apps, and what is not wanted against the offers that are asked for."""
        if not super().at_rest():
            return False
        records = (record for key, record in self.store.items() if key.startswith(INSTANCES))
        for record in records:
            wanted = self.machine.state.apps[record.app_id].role or ROLES[0]
            assert record.role == wanted, f"{record.app_id} runs in {record.role}, and is to run in {wanted}"
        assert self.quiet == set(ROLES), "offers are wanted without end"
        return True


class RoleHistories(PlayedTasks):
    def __init__(self) -> None:
        super().__init__()
        self.world: RoleWorld = RoleWorld()
        self.world.subscribe()

    @rule(
        app_id=st.sampled_from(["/dev/a", "/dev/b", "/web"]),
        instances=st.integers(0, 4),
        role=st.sampled_from([None, "*", "dev", "ops"]),
        cpus=st.sampled_from([0.1, 0.2]),
        labels=st.sampled_from([{}, {"ERATOS_CANARY": "1"}]),
        crash=crashes,
    )
    def put(self, app_id: str, instances: int, role: str | None, cpus: float, labels: dict[str, str], crash: int | None) -> None:
        times = {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 30}
        app = an_app(app_id, instances, role=role, cpus=cpus, labels=labels, unreachableStrategy=times)
        self.world.put(app, crash)

    @rule(app_id=st.sampled_from(["/dev/a", "/dev/b", "/web"]))
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(pick=picks, crash=crashes, back=st.booleans())
    def end_deployment(self, pick: int, crash: int | None, back: bool) -> None:
        self.world.end_deployment(pick, crash, back=back)

    @rule()
    def rescind(self) -> None:
        self.world.rescind()

    @precondition(lambda self: self.world.connected)
    @rule(rounds=st.integers(1, 4))
    def go_well(self, rounds: int) -> None:
        """For a while nothing is late."""
        self.world.go_well(rounds)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 700.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    def teardown(self) -> None:
        self.world.heal()


TestRoleHistories = RoleHistories.TestCase
TestRoleHistories.settings = history_settings()
