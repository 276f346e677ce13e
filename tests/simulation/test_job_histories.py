"""Random histories of jobs in a simulated Mesos: each instant of a schedule is started exactly once or reported as missed.

The leader is lost between any two actions, and the next one's clock may be ahead of or behind the last one's; around the days
on which clocks change. A task of a job that is not to be tried again reaches at most one agent, whatever happens. More
histories are tried by ``./dev test --all``, and with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import takewhile

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from support.builders import a_job
from support.played_agents import PlayedAgents, history_settings, picks
from support.world import World

from eratos.common import names
from eratos.marathon.job import Job, Schedule
from eratos.scheduler.core import actions, events, runs
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.records import HISTORIES, RUNS, HistoryRecord, InstanceRecord

JOBS = {
    "allow": a_job("j.allow", {"startingDeadlineSeconds": 300}),
    "forbid": a_job("j.forbid", {"concurrencyPolicy": "FORBID"}, restart={"policy": "ON_FAILURE", "activeDeadlineSeconds": 600}),
    "replace": a_job("j.replace", {"cron": "*/5 * * * *", "concurrencyPolicy": "REPLACE"}),
    "summer": a_job(
        "j.summer", {"cron": "*/30 2,3 * * *", "timezone": "Europe/Berlin"}, {"timezone": "Europe/Berlin", "cron": "30 2 * * *"}
    ),
}
#: The minutes before the clocks of Berlin are put forward, and back.
BEGINS = [datetime(2026, 3, 29, 0, 50, tzinfo=UTC).timestamp() + 7.5, datetime(2026, 10, 24, 23, 50, tzinfo=UTC).timestamp()]
crashes = st.none() | st.integers(0, 8)
#: Ended runs are counted without bound and kept up to one, so histories are short enough to hold all.
assert runs.ENDED_MOST >= 50


class JobWorld(World):
    """Notes which tasks reached an agent."""

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.now = begin
        self.reached: Counter[str] = Counter()  #: run's path -> tasks that an agent got
        self.start()

    def _accept(self, accept: actions.Accept) -> None:
        before = set(self.tasks)
        super()._accept(accept)
        for launch in accept.launches:
            if launch.task_id in self.tasks and launch.task_id not in before:
                path = launch.payload.app_id
                self.reached[path] += 1
                self._check_alone(path, launch.task_id)

    def _check_alone(self, path: str, task_id: str) -> None:
        """Runs of one job are beside each other only where that is allowed; tasks of one run never are.

        A task that was given up, as its agent was out of reach for long, counts no more: its run has ended.
        """
        job = path.rpartition("/")[0]
        for record in self.store.values():
            if not isinstance(record, InstanceRecord) or RUNS + record.app_id not in self.store:
                continue
            other = names.task_id(record.instance_id, record.attempt)
            if other != task_id and other in self.tasks:
                assert record.app_id != path, f"{path} has two tasks"
                beside = record.app_id.rpartition("/")[0] == job
                assert not beside or job in ("/j/allow", "/j/summer"), f"{record.app_id} runs beside {path}"


class JobHistories(PlayedAgents):
    def __init__(self) -> None:
        super().__init__()
        self.world = JobWorld(BEGINS[0])
        self.made: dict[str, float] = {}

    @initialize(begin=st.sampled_from(BEGINS), chosen=st.sets(st.sampled_from(sorted(JOBS)), min_size=1))
    def make_jobs(self, begin: float, chosen: set[str]) -> None:
        self.world = JobWorld(begin)
        self.world.subscribe()
        for name in sorted(chosen):
            self.world._command(events.PutJob(JOBS[name], create_only=True), None)
            self.made[JOBS[name].id] = self.world.now

    @rule(seconds=st.sampled_from([0.5, 10.0, 30.0, 60.0, 61.0, 290.0, 3600.0]), crash=crashes)
    def tick(self, seconds: float, crash: int | None) -> None:
        self.world.now += seconds
        self.world.handle(events.Tick(), crash)

    @rule(seconds=st.sampled_from([-3600.0, -61.0, -1.0, 0.0, 1.0, 90.0, 7200.0]))
    def another_leader(self, seconds: float) -> None:
        """Another scheduler leads, whose clock shows something else."""
        self.world.now += seconds
        self.world.start()
        self.world.subscribe()

    @rule(crash=crashes)
    def offer(self, crash: int | None) -> None:
        self.world.offer(crash)

    @rule(pick=picks, crash=crashes)
    def deliver(self, pick: int, crash: int | None) -> None:
        self.world.deliver(pick, crash_after=crash)

    @rule(pick=picks, state=st.sampled_from([TaskState.FAILED, TaskState.FINISHED, TaskState.LOST]))
    def end_task(self, pick: int, state: TaskState) -> None:
        self.end(pick, state)

    def teardown(self) -> None:
        world = self.world
        for job_id, made in self.made.items():
            job = next(job for job in JOBS.values() if job.id == job_id)
            begun = [record.instant for key, record in world.store.items() if key.startswith(RUNS)]
            ended = [run.instant for run in _history(world, job_id).runs]
            latest = max([world.now, *_history(world, job_id).decided.values(), *begun, *ended])
            # A leader whose clock is behind waits until that is over.
            world.now = latest + 1
            for _ in range(20):
                world.handle(events.Tick())
            check_instants(world, job_id, made, job)


def _history(world: World, job_id: str) -> HistoryRecord:
    record = world.store[HISTORIES + job_id]
    assert isinstance(record, HistoryRecord)
    return record


def check_instants(world: JobWorld, job_id: str, made: float, job: Job) -> None:
    """Hold what became of a job against the instants that its schedules name since it was made."""
    wanted = Counter(at for schedule in job.schedules for at in _instants(schedule, made, world.now))
    history = _history(world, job_id)
    active = [record for key, record in world.store.items() if key.startswith(RUNS) and record.job_id == job_id]
    ended = history.successes + history.failures
    # Two schedules that name the same instant are one run, or missed twice.
    least, most = len(wanted), sum(wanted.values())
    assert least <= ended + history.missed + len(active) <= most, (
        f"of {least} to {most} instants of {job_id} until {world.now:.0f} {ended} ended, {history.missed} were missed and "
        f"{len(active)} go on: {history}"
    )
    told = [run.instant for run in history.runs] + [record.instant for record in active]
    assert len(told) == len(set(told)), f"an instant of {job_id} had two runs: {sorted(told)}"
    assert set(told) <= set(wanted), f"{job_id} ran when nothing was scheduled"
    for run in history.runs:
        begun = world.reached[f"{job.path}/{run.run_id}"] > 0
        # A start that no agent answers for long is given up, and nobody knows then whether it came there.
        given_up = bool(run.tasks) and run.tasks[-1].state == TaskState.GONE.value
        assert begun or given_up or run.outcome == runs.MISSED or run.message == runs.STOPPED, f"{run} never began"
        assert not begun or run.outcome != runs.MISSED, f"{run} was missed, and ran"
    for path, count in world.reached.items():
        if path.startswith(job.path + "/") and job.run.restart.policy == "NEVER":
            assert count == 1, f"{path} reached agents {count} times"


def _instants(schedule: Schedule, after: float, until: float) -> list[float]:
    return list(takewhile(until.__ge__, schedule.times.instants(after)))


TestJobHistories = JobHistories.TestCase
TestJobHistories.settings = history_settings()
