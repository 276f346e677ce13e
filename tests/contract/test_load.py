"""The load generator itself, built as ./dev load builds it, on sample apps that run here as processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from devtool.cluster import Compose
from devtool.load import generator, plan
from devtool.load.plan import Aim, Shape, Target
from devtool.settings import read_settings
from devtool.shell import run
from devtool.terminal import Problem
from support.waiting import until
from support.worker_process import WorkerProcess

SETTINGS = read_settings(os.environ)


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    generator.build(SETTINGS)


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess("prime", WORK_S="0.001", INSTANCE_ID="prime.instance-1._app.1") as started:
        yield started


def aim(worker: WorkerProcess, instance: str = "prime.instance-") -> Aim:
    return Aim("prime", (Target("one", f"http://127.0.0.1:{worker.port}"),), "host", instance=instance, named=True)


def told(worker: WorkerProcess, shape: Shape, instance: str = "prime.instance-") -> dict[str, Any]:
    with generator.Load(plan.plan(aim(worker, instance), shape), "host", "eratos-test") as load:
        summary = load.wait()
    assert summary is not None
    return summary


def test_its_own_tests_pass() -> None:
    Compose(SETTINGS).run("--profile", "bench", "build", "load-test", timeout_s=900)


def test_every_request_is_made_and_told(worker: WorkerProcess) -> None:
    found = told(worker, Shape(rate=40, seconds=2, ramp_s=1))
    assert (found["requests"], found["failed"], found["wrong_app"]) == (100, 0, 0)
    assert found["instances"]["prime.instance-1._app.1"]["requests"] == 100


def test_an_answer_of_another_app_is_a_failure(worker: WorkerProcess) -> None:
    found = told(worker, Shape(rate=20, seconds=1), instance="hello.instance-")
    assert (found["requests"], found["failed"], found["wrong_app"]) == (20, 20, 20)


def test_a_load_without_an_end_stops_when_it_is_told(worker: WorkerProcess) -> None:
    seconds: list[int] = []
    made = plan.plan(aim(worker), Shape(rate=50))
    with generator.Load(made, "host", "eratos-test", lambda at_s, figures: seconds.append(figures["requests"])) as load:
        until(lambda: sum(seconds) > 50, 20, "a second of the load is told")
        found = load.stop()
    assert found["failed"] == 0 and found["requests"] > 50


def test_no_load_outlives_whoever_started_it(worker: WorkerProcess) -> None:
    with generator.Load(plan.plan(aim(worker), Shape(rate=20)), "host", "eratos-test-left") as load:
        process = load._process
        assert process is not None
        process.kill()  # as kill -9 of the whole program would end docker's command line, too
        left = ["docker", "ps", "-q", "--filter", f"label={generator.LABEL}=eratos-test-left"]
        until(lambda: not run(left), 20, "the generator has ended")


def test_more_connections_than_descriptors_are_refused(worker: WorkerProcess) -> None:
    made = plan.plan(aim(worker), Shape(rate=1, seconds=1, under_way=2**31))
    with pytest.raises(Problem, match="descriptors") as caught, generator.Load(made, "host", "eratos-test"):
        pass
    assert "--connections" in caught.value.fix


def test_many_loads_at_once_have_their_own_containers(worker: WorkerProcess) -> None:
    found: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: found.append(told(worker, Shape(rate=10, seconds=1)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one["requests"] for one in found] == [10, 10]
