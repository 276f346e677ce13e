"""What tasks take, as the scheduler and Prometheus are told it."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client.parser import text_string_to_metric_families
from support.driven import Driven
from support.executor import TASK

from eratos.common import exposition
from eratos.executor.core.usage import STALE_S, Reading
from eratos.executor.usage import UsageWatch

MIB = 1 << 20


class Read:
    """A machine with one task, and a runtime that says what it is told to say."""

    def __init__(self) -> None:
        self.driven = Driven()
        self.driven.run()
        self.known: dict[str, Reading] = {}
        self.asked: list[list[str]] = []
        self.now = 100.0
        self.watch = UsageWatch(lambda: list(self.driven.machine.tasks.values()), self.readings, lambda: self.now)

    def readings(self, task_ids: Collection[str]) -> dict[str, Reading]:
        self.asked.append(list(task_ids))
        return self.known

    def look(self, cpu_s: float, after_s: float = 5.0) -> None:
        self.now += after_s
        self.known = {TASK: Reading(self.now, cpu_s, 20 * MIB)}
        self.watch.look()

    def samples(self) -> dict[str, float]:
        found = {}
        for family in text_string_to_metric_families(exposition.render(self.watch.families()).decode()):
            for sample in family.samples:
                assert sample.labels == {"app": "/shop", "task": TASK}
                found[sample.name.removeprefix("eratos_executor_task_")] = sample.value
        return found


def test_figures_of_each_task_are_for_prometheus_and_the_scheduler() -> None:
    read = Read()
    read.look(1)
    assert read.samples() == {
        **{"cpu_seconds_total": 1, "cpu_limit_cores": 0.1},
        **{"memory_working_set_bytes": 20 * MIB, "memory_limit_bytes": 32 * MIB},
    }
    read.look(1.25)
    found = read.samples()
    assert (found["cpu_cores"], found["cpu_ratio"], found["cpu_seconds_total"]) == (0.05, 0.5, 1.25)
    read.now += 2
    shown = {"ageSeconds": 2.0, "cpus": 0.05, "cpusLimit": 0.1, "memBytes": 20 * MIB, "memLimitBytes": 32 * MIB}
    assert read.watch.shown() == {TASK: shown}


def test_what_is_not_known_is_not_there_and_never_0() -> None:
    read = Read()
    assert (read.samples(), read.watch.shown()) == ({}, {})
    read.look(1)
    assert read.watch.shown()[TASK]["cpus"] is None
    read.now += STALE_S + 0.1
    assert (read.samples(), read.watch.shown()) == ({}, {})


def test_only_tasks_that_run_are_asked_for() -> None:
    read = Read()
    read.look(1)
    read.driven.machine.tasks.clear()
    read.look(2)
    assert read.asked == [[TASK]]
    assert read.watch.shown() == {}
