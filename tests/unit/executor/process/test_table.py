"""What the processes below a keeper take, out of a table."""

from __future__ import annotations

import os
import subprocess

import pytest

from eratos.executor.process import table
from eratos.executor.process.table import Process, taken

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def process(pid: int, parent: int, seconds: int, pages: int, *, zombie: bool = False) -> Process:
    return Process(pid, parent, pid, 0, zombie, seconds * TICKS, pages)


def test_all_that_is_below_a_keeper_counts_and_nothing_beside_it() -> None:
    found = {
        each.pid: each
        for each in (
            process(1, 0, 900, 900),
            process(10, 1, 4, 50),  # the keeper: what orphans took, and its own memory is not the task's
            process(11, 10, 2, 7),
            process(12, 11, 1, 5),
            process(13, 11, 8, 0, zombie=True),  # its time is not its parent's yet
            process(20, 1, 100, 100),
            process(21, 20, 100, 100),
        )
    }
    assert taken(found, 10) == (15.0, 12 * PAGE)
    assert taken(found, 20) == (200.0, 100 * PAGE)
    assert taken(found, 99) == (0.0, 0)


def test_where_no_mark_is_looked_for_no_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        pytest.fail("the environments of all processes were read")

    monkeypatch.setattr(table, "marked", read)
    keeper = subprocess.Popen(["sleep", "1000"])
    try:
        assert table.kill(None, keeper.pid)
    finally:
        keeper.kill()
        keeper.wait()
