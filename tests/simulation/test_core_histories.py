"""Random histories of the core in a simulated Mesos: whatever happens, in the end what runs is what was asked for.

After every step the state's own invariants hold, nothing is launched that was not stored, no port or CPU is given away twice.
More histories are tried by ``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support.builders import an_app
from support.played_agents import PlayedAgents, history_settings, picks
from support.world import World

from eratos.scheduler.core.mesos_types import TaskState

apps = st.sampled_from(["/a", "/b", "/c"])
counts = st.integers(0, 4)  # of all three apps together there is room for these, and for one more while they are replaced
crashes = st.none() | st.integers(0, 6)


LABELS: list[dict[str, str]] = [
    {},
    {"ERATOS_DEPLOYMENT_RETRIES": "1", "ERATOS_ROLLBACK": "true"},
    {"ERATOS_CANARY": "1,50%"},
    {"ERATOS_CANARY": "1,50%", "ERATOS_CANARY_HOLD_S": "5", "ERATOS_ROLLBACK": "true", "ERATOS_DEPLOYMENT_RETRIES": "0"},
    # There is not always room for two fleets, and then a deadline has to say so.
    {"ERATOS_BLUE_GREEN": "20%", "ERATOS_ROLLBACK": "true", "ERATOS_DEPLOYMENT_DEADLINE_S": "300"},
    {
        **{"ERATOS_BLUE_GREEN": "20%", "ERATOS_CANARY_HOLD_S": "5", "ERATOS_CANARY_ERRORS": "10%"},
        **{"ERATOS_CANARY_REQUESTS": "10", "ERATOS_ROLLBACK": "true", "ERATOS_DEPLOYMENT_DEADLINE_S": "300"},
    },
    {
        **{"ERATOS_CANARY": "1,50%", "ERATOS_CANARY_HOLD_S": "5", "ERATOS_ROLLBACK": "true"},
        **{"ERATOS_CANARY_ERRORS": "10%", "ERATOS_CANARY_ANSWER_MS": "100", "ERATOS_CANARY_REQUESTS": "10"},
    },
]


class Histories(PlayedAgents):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.subscribe()

    @rule(app_id=apps, instances=counts, cpus=st.sampled_from([0.1, 0.2]), crash=crashes)
    def put(self, app_id: str, instances: int, cpus: float, crash: int | None) -> None:
        definition = an_app(
            app_id, instances, cpus=cpus, unreachableStrategy={"inactiveAfterSeconds": 5, "expungeAfterSeconds": 30}
        )
        self.world.put(definition, crash)

    @rule(
        instances=counts,
        cpus=st.sampled_from([0.1, 0.2]),
        dropped=st.sets(apps),
        labels=st.sampled_from(LABELS),
        crash=crashes,
        force=st.booleans(),
    )
    def put_together(
        self, instances: int, cpus: float, dropped: set[str], labels: dict[str, str], crash: int | None, force: bool
    ) -> None:
        """One deployment of apps that depend on each other, of which others may be dropped."""
        wanted = [
            an_app("/a", instances, cpus=cpus, labels=labels),
            an_app("/b", instances, cpus=cpus, labels=labels, dependencies=["/a"]),
            an_app("/c", 1, cpus=cpus, labels=labels, dependencies=["/a", "/b"]),
        ]
        self.world.put_together([app for app in wanted if app.id not in dropped], sorted(dropped), crash, force=force)

    @rule(
        needs=st.dictionaries(st.sampled_from(["/g", "/g/in", "/h"]), st.sampled_from([(), ("/a",), ("/h/app",)])),
        instances=counts,
        gone=st.sets(st.sampled_from(["/g", "/g/in", "/h"])),
        dropped=st.sets(st.sampled_from(["/g/in/app", "/h/app"])),
        crash=crashes,
    )
    def put_groups(
        self, needs: dict[str, tuple[str, ...]], instances: int, gone: set[str], dropped: set[str], crash: int | None
    ) -> None:
        """Groups come and go, with apps and without, and depend on something; no app in /h waits, so none waits for itself."""
        wanted = [an_app(app_id, instances) for app_id in ("/g/in/app", "/h/app") if app_id not in dropped]
        groups = {group_id: () if group_id == "/h" else found for group_id, found in needs.items()}
        self.world.put_together(wanted, sorted(dropped), crash, force=True, groups=groups, gone=sorted(gone - groups.keys()))

    @rule(app_id=apps, pick=picks, crash=crashes)
    def put_version(self, app_id: str, pick: int, crash: int | None) -> None:
        self.world.put_version(app_id, pick, crash)

    @rule(pick=picks, command=st.sampled_from(["pause", "resume", "promote"]), crash=crashes)
    def steer(self, pick: int, command: str, crash: int | None) -> None:
        self.world.steer(pick, command, crash)

    @rule(pick=picks, crash=crashes, back=st.booleans())
    def end_deployment(self, pick: int, crash: int | None, back: bool) -> None:
        self.world.end_deployment(pick, crash, back=back)

    @rule(requests=st.integers(0, 40), failed=st.integers(0, 3), answer_ms=st.sampled_from([0, 50, 500]), missing=st.booleans())
    def see_figures(self, requests: int, failed: int, answer_ms: int, missing: bool) -> None:
        self.world.see_figures(requests, min(failed, requests), answer_ms, missing="b2 is away" if missing else "")

    @rule(app_id=apps, instances=counts)
    def scale(self, app_id: str, instances: int) -> None:
        self.world.scale(app_id, instances)

    @rule(path=st.sampled_from(["/", "/a", "/g"]), instances=st.none() | counts, crash=crashes)
    def put_quota(self, path: str, instances: int | None, crash: int | None) -> None:
        self.world.put_quota(path, instances, crash)

    @rule(app_id=apps)
    def delete(self, app_id: str) -> None:
        self.world.delete(app_id)

    @rule(crash=crashes)
    def offer(self, crash: int | None) -> None:
        self.world.offer(crash)

    @rule()
    def rescind(self) -> None:
        self.world.rescind()

    @rule(pick=picks, crash=crashes)
    def deliver(self, pick: int, crash: int | None) -> None:
        self.world.deliver(pick, crash_after=crash)

    @rule(pick=picks, state=st.sampled_from([TaskState.FAILED, TaskState.FINISHED, TaskState.LOST, TaskState.ERROR]))
    def end_task(self, pick: int, state: TaskState) -> None:
        self.end(pick, state)

    @precondition(lambda self: self.world.connected)
    @rule()
    def disconnect(self) -> None:
        self.world.disconnect()

    @rule()
    def crash(self) -> None:
        self.world.start()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 700.0, 1800.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    def teardown(self) -> None:
        self.world.heal()


TestHistories = Histories.TestCase
TestHistories.settings = history_settings(times=5, steps=40)
