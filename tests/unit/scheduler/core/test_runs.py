"""Runs from their instant to the history, one event at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.builders import a_job, a_machine, an_app, an_offer
from support.core import Core, of
from support.records import as_stored

from eratos.marathon.job import ID_CHARACTERS_MAX, Job
from eratos.scheduler.core import actions, events, runs
from eratos.scheduler.core.mesos_types import Window
from eratos.scheduler.core.reasons import Waiting
from eratos.scheduler.core.records import HISTORIES, INSTANCES, RECORD_BYTES_MAX, RUNS, HistoryRecord
from eratos.scheduler.core.status_updates import RECONCILIATION
from eratos.scheduler.store import codec


class Jobs(Core):
    """A core that leads with some jobs, at one second past a minute."""

    def __init__(self, *jobs: Job, **settings: Any) -> None:
        super().__init__(a_machine(now=1_800_000_001.0, **settings), 1_800_000_001.0)
        self.store: dict[str, Any] = {}
        self.subscribe()
        for job in jobs:
            self.command(events.PutJob(job, create_only=True))

    def handle(self, event: Any) -> list[actions.Action]:
        out = super().handle(event)
        for action in out:
            if isinstance(action, actions.Put):
                self.store[action.key] = action.record
            elif isinstance(action, actions.Forget):
                self.store.pop(action.key, None)
        return out

    def next_leader(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.machine = a_machine(as_stored(self.store), self.now)
        self.subscribe()

    def history(self, job_id: str = "shop.backup") -> HistoryRecord:
        assert self.store.get(HISTORIES + job_id) == self.machine.state.histories[job_id]
        return self.machine.state.histories[job_id]

    def active(self, job_id: str = "shop.backup") -> list[str]:
        found = [run.record.run_id for run in self.machine.state.runs_of(job_id)]
        assert sorted(key for key in self.store if key.startswith(RUNS)) == sorted(
            RUNS + path for path in self.machine.state.runs
        )
        return found


def test_a_run_is_stored_with_its_instant_before_it_is_launched_and_ends_with_its_task() -> None:
    core = Jobs(a_job("shop.backup", {}))
    out = core.tick(60)
    keys = [put.key for put in of(actions.Put, out)]
    assert keys == [RUNS + "/shop/backup/20270115T080100Z", HISTORIES + "shop.backup"]
    (task,) = core.run()
    assert task.startswith("shop_backup_20270115T080100Z.instance-")
    out = core.fail(task, "FINISHED", message="exit code 0")
    assert [type(action).__name__ for action in out if "Job" not in str(action)][-1] == "Acknowledge"
    (ended,) = core.history().runs
    assert (ended.outcome, ended.run_id, ended.tries) == ("SUCCESS", "20270115T080100Z", 1)
    assert (ended.tasks[0].task_id, ended.tasks[0].exit_code, ended.tasks[0].hostname) == (task, 0, "host-a1")
    assert core.history().successes == 1 and not core.active()
    assert not core.machine.state.instances and not core.machine.state.launches
    assert core.launch() == []


def test_what_a_task_is_told() -> None:
    core = Jobs(a_job("shop.backup", {}, env={"A": "b"}))
    core.tick(60)
    (accept,) = of(actions.Accept, core.offer(an_offer()))
    payload = accept.launches[0].payload
    assert payload.env == {
        "A": "b",
        "ERATOS_JOB_ID": "shop.backup",
        "ERATOS_JOB_RUN": "20270115T080100Z",
        "ERATOS_JOB_INSTANT": "2027-01-15T08:01:00Z",
    }
    assert payload.services == () and payload.ports == ()


def test_a_failed_task_ends_its_run_or_is_tried_again() -> None:
    core = Jobs(a_job("never", {}), a_job("again", {}, restart={"policy": "ON_FAILURE", "activeDeadlineSeconds": 100}))
    core.tick(60)
    tasks = {task.partition("_")[0]: task for task in core.run()}
    core.fail(tasks["never"], message="exit code 3; last lines of its log:\nno")
    core.fail(tasks["again"], message="exit code 3")
    (failed,) = core.history("never").runs
    assert (failed.outcome, failed.tasks[0].exit_code) == ("FAILED", 3)
    assert failed.message == "the task ended as TASK_FAILED: exit code 3; last lines of its log:"
    assert core.active("again") == ["20270115T080100Z"]
    core.now += 1
    (task,) = core.run()[-1:]
    assert task == tasks["again"].replace("_app.1", "_app.2")
    # By another leader the time is not begun anew, and what was tried is not forgotten.
    core.fail(task, message="exit code 4")
    core.next_leader()
    core.tick(98)
    assert core.active("again")[0] == "20270115T080100Z"
    core.tick(2)
    ended = core.history("again").runs[0]
    assert (ended.outcome, ended.tries, [task.exit_code for task in ended.tasks]) == ("FAILED", 2, [3, 4])
    assert "activeDeadlineSeconds" in ended.message


@pytest.mark.parametrize("said", ["\U0001f600", "\x1b", "ä", '"'])
def test_a_history_fits_the_store_whatever_its_tasks_said(said: str) -> None:
    """One that did not would end one leader after the other: each hears again of the end that does not fit."""
    job_id = "j" * ID_CHARACTERS_MAX
    core = Jobs(a_job(job_id, {"cron": "0 0 * * *"}, restart={"policy": "ON_FAILURE", "activeDeadlineSeconds": 9000}))
    core.tick(24 * 3600)
    for _ in range(runs.TASKS_MOST):
        while not (tasks := core.run()):
            core.tick(60)  # it waits for longer after each failure
        core.fail(tasks[-1], message=f"{said * 2000}\nand more")
    core.tick(9000)
    (ended,) = core.history(job_id).runs
    assert len(ended.tasks) == runs.TASKS_MOST
    largest = HistoryRecord(job_id, runs=(replace(ended, message=ended.tasks[0].message),) * runs.ENDED_MOST)
    assert len(codec.encode(HISTORIES + job_id, largest)) < RECORD_BYTES_MAX * 0.9


def test_what_finds_no_room_in_time_is_missed() -> None:
    core = Jobs(a_job("shop.backup", {"cron": "0 * * * *", "startingDeadlineSeconds": 120}))
    core.tick(3600 - 1)
    assert core.active()
    core.tick(119)
    assert core.active()
    core.tick(1)
    assert not core.active()
    history = core.history()
    assert (history.missed, history.failures, history.runs[0].outcome) == (1, 0, "MISSED")
    assert core.launch() == []


@pytest.mark.parametrize("seconds", [0.0, -30.0, 30.0])
def test_another_leader_neither_repeats_an_instant_nor_leaves_one_out(seconds: float) -> None:
    core = Jobs(a_job("shop.backup", {}))
    core.tick(60)
    core.next_leader(seconds)
    assert core.active() == ["20270115T080100Z"]
    (task,) = core.run()
    core.fail(task, "FINISHED")
    core.next_leader()
    core.tick(120 - seconds)
    assert core.active() == ["20270115T080200Z", "20270115T080300Z"]
    assert core.history().missed == 0


def test_instants_without_a_leader_are_started_late_or_counted() -> None:
    core = Jobs(a_job("shop.backup", {"startingDeadlineSeconds": 120}))
    core.next_leader(600)
    assert core.active() == ["20270115T080900Z", "20270115T081000Z"]
    history = core.history()
    assert history.missed == 8
    assert [found.instant for found in history.latest_missed] == [1_800_000_000.0 + 60 * n for n in range(1, 9)]
    assert "startingDeadlineSeconds" in history.latest_missed[0].reason


def test_many_instants_are_decided_some_at_a_time() -> None:
    core = Jobs(a_job("shop.backup", {}))
    core.next_leader(60 * 1200)
    assert core.history().missed == 500
    core.tick(0)
    core.tick(0)
    assert core.history().missed + len(core.active()) == 1200


def test_a_run_that_stands_in_the_history_has_ended() -> None:
    core = Jobs(a_job("shop.backup", {}))
    core.tick(60)
    (record,) = (run.record for run in core.machine.state.runs_of("shop.backup"))
    core.fail(core.run()[0], "FINISHED")
    core.store[RUNS + record.path] = record  # the leader ended before it was deleted
    core.next_leader()
    assert not core.active() and core.launch() == []


def test_a_job_whose_write_was_interrupted_counts_from_the_next_leader_on() -> None:
    core = Jobs(a_job("shop.backup", {}))
    del core.store[HISTORIES + "shop.backup"]
    core.next_leader(600)
    assert not core.active()
    core.tick(60)
    assert core.active() == ["20270115T081100Z"] and core.history().missed == 0


def test_forbid_counts_what_comes_while_a_run_is_at_work() -> None:
    core = Jobs(a_job("shop.backup", {"concurrencyPolicy": "FORBID"}))
    core.tick(60)
    core.run()
    core.tick(60)
    assert core.active() == ["20270115T080100Z"]
    assert "FORBID" in core.history().latest_missed[0].reason


def test_replace_stops_what_is_at_work_and_waits_for_its_end() -> None:
    core = Jobs(a_job("shop.backup", {"concurrencyPolicy": "REPLACE"}))
    core.tick(60)
    (old,) = core.run()
    out = core.tick(60)
    assert [kill.task_id for kill in of(actions.Kill, out)] == [old]
    assert core.launch() == []
    path = "/shop/backup/20270115T080200Z"
    assert core.machine.state.launches_of(path).waiting is Waiting.RUN_BEFORE
    core.fail(old, "KILLED")
    assert core.history().runs[0].message == runs.STOPPED
    (new,) = core.launch()
    assert "T080200Z" in new


def test_runs_by_hand() -> None:
    core = Jobs(a_job("shop.backup"))
    (reply,) = of(actions.Reply, core.command(events.StartRun("shop.backup")))
    assert core.active() == [reply.version] and reply.version.startswith("20270115T080001Z-")
    core.command(events.StartRun("shop.backup"))
    first, second = core.active()
    core.command(events.StopRun("shop.backup", second))
    assert core.active() == [first]
    (task,) = core.run()
    out = core.command(events.StopRun("shop.backup", first))
    assert of(actions.Kill, out) and core.active() == [first]
    core.fail(task, "KILLED")
    assert not core.active() and core.history().failures == 2


def test_commands_that_cannot_be_carried_out() -> None:
    core = Jobs(a_job("shop.backup"))
    core.command(events.StartRun("shop.backup"))
    for command, refusal in (
        (events.PutJob(a_job("shop.backup"), create_only=True), actions.Refusal.EXISTS),
        (events.PutJob(a_job("other")), actions.Refusal.NOT_FOUND),
        (events.StartRun("other"), actions.Refusal.NOT_FOUND),
        (events.StopRun("shop.backup", "x"), actions.Refusal.NOT_FOUND),
        (events.DeleteJob("other"), actions.Refusal.NOT_FOUND),
        (events.DeleteJob("shop.backup"), actions.Refusal.NOT_POSSIBLE),
    ):
        (refused,) = of(actions.Refuse, core.command(command))
        assert refused.refusal is refusal, command
    for _ in range(99):
        core.command(events.StartRun("shop.backup"))
    (refused,) = of(actions.Refuse, core.command(events.StartRun("shop.backup")))
    assert refused.refusal is actions.Refusal.NOT_POSSIBLE


def test_a_deleted_job_leaves_nothing() -> None:
    core = Jobs(a_job("shop.backup", {}))
    core.tick(60)
    (task,) = core.run()
    core.command(events.DeleteJob("shop.backup", stop_runs=True))
    core.fail(task, "KILLED")
    core.tick(120)
    assert not [key for key in core.store if key != "framework_id"]
    assert core.machine.next_deadline() is None or not core.machine.state.runs


def test_a_changed_schedule_counts_from_its_change_on() -> None:
    core = Jobs(a_job("shop.backup", {"enabled": False}))
    core.tick(600)
    core.command(events.PutJob(a_job("shop.backup", {})))
    core.tick(59)
    assert core.active() == ["20270115T081100Z"]
    # What had come by then was meant by what was wanted then.
    core.now += 61
    core.command(events.PutJob(a_job("shop.backup", {"cron": "0 0 1 1 *"})))
    assert core.active() == ["20270115T081100Z", "20270115T081200Z"]
    assert core.history().missed == 0


def test_two_schedules_of_one_instant_make_one_run() -> None:
    core = Jobs(a_job("shop.backup", {}, {"cron": "*/2 * * * *"}))
    core.tick(120)
    assert core.active() == ["20270115T080100Z", "20270115T080200Z"]
    assert core.history().missed == 0


def test_a_task_that_reached_no_agent_is_launched_again_whatever_the_policy() -> None:
    core = Jobs(a_job("shop.backup", {"startingDeadlineSeconds": 600}))
    core.tick(60)
    (task,) = core.launch()
    core.next_leader()
    # The last leader ended between the store and Mesos.
    core.status(task, "GONE", reason=RECONCILIATION, uuid="")
    assert core.active() and not core.history().runs
    core.tick(10)
    (again,) = core.launch()
    assert again != task
    # It was launched by now, but the agent removed itself: nobody knows what ran there.
    core.status(again, "GONE", reason="REASON_SLAVE_REMOVED")
    assert core.history().runs[0].outcome == "FAILED"


def test_a_run_out_of_reach_is_given_up_before_another_task_follows() -> None:
    core = Jobs(a_job("never", {"cron": "0 * * * *"}), a_job("again", {"cron": "0 * * * *"}, restart={"policy": "ON_FAILURE"}))
    core.tick(3600)
    core.run()
    lost = sorted(instance.task_id for instance in core.machine.state.with_task())
    for task in lost:
        core.status(task, "UNREACHABLE", uuid="")
    core.tick(299)
    assert core.launch() == [] and core.active("never") and core.active("again")
    core.tick(2)
    core.tick(2)
    (ended,) = core.history("never").runs
    assert "could not be reached" in ended.message
    (again,) = core.launch()
    assert again.startswith("again_")
    # What comes back is none of ours any more.
    core.status(lost[1], "RUNNING", reason=RECONCILIATION, uuid="")
    assert lost[1] in core.machine.state.unknown | core.machine.state.returned


def test_a_stop_is_confirmed_before_another_task_follows() -> None:
    core = Jobs(a_job("again", {"cron": "0 * * * *"}, restart={"policy": "ON_FAILURE"}))
    core.tick(3600)
    (task,) = core.run()
    core.command(events.KillInstances((task.rpartition("._app.")[0],)))
    assert core.launch() == []
    core.fail(task, "KILLED")
    core.tick(5)
    assert len(core.launch()) == 1


def test_a_run_is_not_moved_by_maintenance() -> None:
    core = Jobs(a_job("shop.backup", {"cron": "0 * * * *"}))
    core.tick(3600)
    (task,) = core.run()
    core.offer(an_offer("a1", window=Window(core.now + 10)), an_offer("a2"))
    core.offer(an_offer("a1", window=Window(core.now + 10)), an_offer("a2"))
    assert not core.instance(task).moving and len(core.machine.state.instances) == 1


def test_an_app_may_have_the_path_of_a_job() -> None:
    core = Jobs(a_job("shop.backup", {}))
    core.put(an_app("/shop/backup"), an_app("/shop/backup/daily"))
    core.tick(60)
    assert len(core.run()) == 3
    core.command(events.DeleteJob("shop.backup", stop_runs=True))
    assert set(core.machine.state.apps) == {"/shop/backup", "/shop/backup/daily"}


def test_a_job_that_always_fails_speaks_against_no_host() -> None:
    core = Jobs(*(a_job(f"j{n}", {"cron": "0 * * * *"}) for n in range(4)))
    core.tick(3600)
    for task in core.run(an_offer("a1"), an_offer("a2"), an_offer("a3")):
        core.fail(task, message="exit code 1")
    assert not core.machine.state.troubles


def test_a_job_whose_history_cannot_be_read_waits_for_people() -> None:
    core = Jobs(a_job("shop.backup", {}))
    stored = as_stored({key: record for key, record in core.store.items() if not key.startswith(HISTORIES)})
    stored.spoilt[HISTORIES + "shop.backup"] = "damaged"
    core.machine = a_machine(stored, core.now)
    core.subscribe()
    core.tick(600)
    assert not core.machine.state.runs
    for command in (events.StartRun("shop.backup"), events.PutJob(a_job("shop.backup"))):
        (refused,) = of(actions.Refuse, core.command(command))
        assert "cannot be read" in refused.message
    assert INSTANCES not in core.store
