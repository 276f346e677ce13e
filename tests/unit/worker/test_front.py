"""The front app: a page of another app, from the list it was started with and the one it was told later."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.worker_process import WorkerProcess, wait_until


@pytest.fixture
def shop() -> Iterator[WorkerProcess]:
    with WorkerProcess("hello", INSTANCE_ID="one") as worker:
        yield worker


def address(worker: WorkerProcess) -> str:
    return f"127.0.0.1:{worker.port}"


def test_the_page_is_what_an_instance_answers(shop: WorkerProcess) -> None:
    with WorkerProcess("front", REQUIRE_DB=f"127.0.0.1:1;{address(shop)}") as front:
        for _ in range(4):  # whoever cannot be reached is passed over, whose turn it may be
            answer = front.get("/")
            assert (answer.status, "Served by one" in answer.body) == (200, True)


def test_without_an_instance_it_says_so() -> None:
    with WorkerProcess("front", REQUIRE_DB="") as front:
        assert front.get("/").status == 502
        assert front.get("/health").status == 200


def test_the_file_counts_from_the_first_signal_on(shop: WorkerProcess, tmp_path: Path) -> None:
    (tmp_path / "requires").mkdir()
    file = tmp_path / "requires" / "the-shop"
    file.write_text(f"{address(shop)}\n")
    with WorkerProcess("front", REQUIRES="the-shop", REQUIRE_THE_SHOP="", MESOS_SANDBOX=str(tmp_path)) as front:
        assert front.get("/").status == 502
        front.process.send_signal(signal.SIGHUP)
        wait_until(lambda: front.get("/endpoints").body == f"{address(shop)}\n", "the list is read")
        assert front.get("/").status == 200
