"""What is made of the readings of tasks: shares of the CPU, limits, and nothing where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.driven import Driven
from support.executor import TASK, a_payload

from eratos.common.payload import Container
from eratos.common.resources import Resources
from eratos.executor.core import events as on
from eratos.executor.core.usage import STALE_S, Limits, Reading, UsageBook, limits, there

MIB = 1 << 20


@pytest.mark.parametrize(
    ("before", "after", "cpus"),
    [
        (Reading(100, 3, 0), Reading(105, 5.5, 0), 0.5),
        (Reading(100, 3, 0), Reading(105, 3, 0), 0.0),
        (Reading(100, 3, 0), Reading(102, 9, 0), 3.0),
        # Of what has ended the time is no longer counted.
        (Reading(100, 3, 0), Reading(105, 2.9, 0), None),
        # Too close to tell.
        (Reading(100, 3, 0), Reading(100.49, 3.1, 0), None),
        (Reading(100, 3, 0), Reading(100.5, 3.1, 0), pytest.approx(0.2)),
        (Reading(100, 3, 0), Reading(100, 3, 0), None),
    ],
)
def test_cores_in_use_are_those_between_two_readings(before: Reading, after: Reading, cpus: float | None) -> None:
    book = UsageBook()
    book.take([a_payload()], {TASK: before})
    assert book.usages(before.at)[TASK].cpus is None
    book.take([a_payload()], {TASK: after})
    usage = book.usages(after.at + 1)[TASK]
    assert (usage.cpus, usage.age_s) == (cpus, 1)
    assert usage.cpu_share() == (None if cpus is None else pytest.approx(usage.cpus / 0.1))  # type: ignore[operator]


def part(cpus_m: int, mem_mib: int, **fields: Any) -> Container:
    return Container("c", Resources(cpus_m, mem_mib), "image", **fields)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, Limits(0.1, 32 * MIB)),
        ({"cpus_limit_m": 1500}, Limits(1.5, 32 * MIB)),
        ({"mem_limit_mib": 64}, Limits(0.1, 64 * MIB)),
        ({"mem_limit_mib": None}, Limits(0.1, None)),
        ({"resources": Resources(0, 0)}, Limits(None, None)),
        ({"image": ""}, Limits(0.1, 32 * MIB)),
        ({"containers": (part(100, 16), part(500, 32, cpus_limit_m=700, mem_limit_mib=48))}, Limits(0.8, 64 * MIB)),
        ({"containers": (part(100, 16), part(500, 32, mem_limit_mib=None))}, Limits(0.6, None)),
    ],
)
def test_what_a_task_may_take_is_its_limit_or_what_it_asks_for(fields: dict[str, Any], found: Limits) -> None:
    assert limits(a_payload(**fields)) == found


def test_a_task_that_may_take_nothing_has_no_share() -> None:
    book, payload = UsageBook(), a_payload(resources=Resources(0, 32))
    for at in (0.0, 5.0):
        book.take([payload], {TASK: Reading(at, at, MIB)})
    usage = book.usages(5.0)[TASK]
    assert (usage.cpus, usage.cpu_share()) == (1.0, None)
    assert usage.to_json() == {"ageSeconds": 0.0, "cpus": 1.0, "cpusLimit": None, "memBytes": MIB, "memLimitBytes": 32 * MIB}


def test_a_task_of_which_nothing_was_read_of_late_has_no_figures() -> None:
    book = UsageBook()
    book.take([a_payload()], {TASK: Reading(0, 1, MIB)})
    book.take([a_payload()], {TASK: Reading(5, 2, MIB)})
    book.take([a_payload()], {})  # Docker said nothing this time
    assert book.usages(5 + STALE_S)[TASK].cpus == pytest.approx(0.2)
    assert book.usages(5.1 + STALE_S) == {}
    book.take([a_payload()], {TASK: Reading(25, 4, MIB)})
    assert book.usages(25)[TASK].cpus == pytest.approx(0.1)  # over all of the time since


def test_tasks_that_are_gone_are_forgotten() -> None:
    book = UsageBook()
    book.take([a_payload()], {TASK: Reading(0, 1, MIB)})
    book.take([], {})
    assert book.usages(0) == {}
    book.take([a_payload()], {TASK: Reading(1, 2, MIB)})
    assert book.usages(1)[TASK].cpus is None


def test_what_does_not_run_is_not_read() -> None:
    driven = Driven()

    def seen() -> list[str]:
        return [task.task_id for task in there(driven.machine.tasks.values())]

    driven.launch()
    assert seen() == []
    driven.handle(on.ContainerStarted(TASK))
    assert seen() == [TASK]
    driven.probe()
    driven.drain()
    assert seen() == [TASK]
    [task] = driven.machine.tasks.values()
    task.payload = replace(task.payload, sweeps=True)
    assert seen() == []
