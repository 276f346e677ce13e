"""Drivers under test against simulated peers, over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.collector import Collector
from support.mesos_master import SimulatedMaster

from eratos.scheduler.mesos.driver import SchedulerDriver
from eratos.scheduler.mesos.settings import ExecutorSettings, MesosSettings


@pytest.fixture
def master() -> Iterator[SimulatedMaster]:
    with SimulatedMaster() as master:
        yield master


@pytest.fixture
def events() -> Collector:
    return Collector()


def some_settings(address: str, **changes: Any) -> MesosSettings:
    """Return settings with pauses of milliseconds."""
    quick: dict[str, Any] = {"backoff_first_s": 0.005, "backoff_most_s": 0.02, "call_timeout_s": 5.0}
    executor = ExecutorSettings(command="/opt/eratos/bin/eratos-executor")
    return MesosSettings(master=address, **{"executor": executor, **quick, **changes})


@pytest.fixture
def drive(master: SimulatedMaster, events: Collector) -> Iterator[Callable[..., SchedulerDriver]]:
    """Start a driver towards the simulated master, or another address; all are stopped at the end."""
    drivers: list[SchedulerDriver] = []

    def start(framework_id: str = "", address: str = "", **changes: Any) -> SchedulerDriver:
        driver = SchedulerDriver(some_settings(address or master.address, **changes), events.emit)
        drivers.append(driver)
        driver.start(framework_id)
        return driver

    yield start
    for driver in drivers:
        driver.stop()
