"""What an executor counts, of a machine that is driven through whole lives of tasks."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from support.driven import Driven
from support.executor import TASK

from eratos.common import exposition
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.figures import Figures


class Counted(Driven):
    """A machine whose figures are told what it does, as the loop does it."""

    def __init__(self) -> None:
        super().__init__()
        self.figures = Figures()

    def handle(self, event: on.Event) -> list[do.Action]:
        actions = super().handle(event)
        self.figures.take(event, actions, self.now)
        return actions

    def read(self) -> dict[str, float]:
        text = exposition.render(self.figures.families(list(self.machine.tasks.values()))).decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.value and not sample.name.endswith("_bucket"):
                    labels = "".join(f",{value}" for value in sample.labels.values())
                    found[sample.name.removeprefix("eratos_executor_") + labels] = sample.value
        return found


def test_one_that_does_nothing_has_counted_nothing() -> None:
    assert Counted().read() == {}


def test_a_start_is_measured_until_it_runs_and_until_it_is_registered() -> None:
    driven = Counted()
    driven.launch()
    assert driven.read() == {"tasks,starting": 1, "launches_total": 1}
    driven.after(3, on.ContainerStarted(TASK))
    assert driven.read()["start_seconds_sum"] == 3
    driven.after(2, on.ProbeDone(TASK, 0, passed=False))
    driven.after(2, on.ProbeDone(TASK, 0, passed=True))
    found = driven.read()
    assert (found["ready_seconds_sum"], found["ready_seconds_count"], found["start_seconds_count"]) == (7, 1, 1)
    assert (found["tasks,running"], found["probe_failures_total"]) == (1, 1)


def test_what_leaves_the_rotation_without_a_drain_counts_as_none() -> None:
    driven = Counted()
    driven.ready(drain_s=0)
    driven.kill()
    assert "drain_seconds_count" not in driven.read()


def test_a_drain_is_measured_until_the_signal_and_an_end_counted_by_its_state() -> None:
    driven = Counted()
    driven.ready()
    driven.kill()
    driven.after(1, on.BalancersTold(TASK))
    driven.after(1, on.Deregistered(TASK))
    driven.after(4, on.DrainDone(TASK, released=False, detail="b1 still uses it"))
    found = driven.read()
    assert (found["drain_seconds_sum"], found["drain_seconds_count"], found["drains_cut_total"]) == (6, 1, 1)
    driven.after(1, on.ContainerDied(TASK, 143))
    found = driven.read()
    assert found["ends_total,TASK_KILLED"] == 1 and "tasks,stopping" not in found


def test_a_start_that_failed_is_counted_and_never_measured() -> None:
    driven = Counted()
    driven.launch()
    driven.after(1, on.StartFailed(TASK, "no image"))
    assert driven.read() == {"launches_total": 1, "start_failures_total": 1, "ends_total,TASK_FAILED": 1}


def test_nothing_is_remembered_of_tasks_that_have_ended() -> None:
    driven = Counted()
    driven.ready()
    driven.kill()
    driven.handle(on.BalancersTold(TASK))
    driven.handle(on.ContainerDied(TASK, 137))
    driven.after(100)
    figures = driven.figures
    assert not (figures._launched_at or figures._asked_at or figures._announced_at)
