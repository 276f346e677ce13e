"""Whether another executor of the agent is alive, in sandboxes as Mesos lays them out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import until

from eratos.common.errors import FatalError
from eratos.executor.siblings import Siblings

EXECUTOR = """
import sys, time
from pathlib import Path
from eratos.executor.siblings import Siblings
siblings = Siblings(Path(sys.argv[1]), sys.argv[2])
print("up", flush=True)
time.sleep(1000)
"""


def sandbox(tmp_path: Path, executor_id: str) -> Path:
    runs = tmp_path / "frameworks" / "fw" / "executors" / executor_id / "runs"
    (runs / "run-1").mkdir(parents=True)
    (runs / "latest").symlink_to(runs / "run-1")
    return runs / "run-1"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another executor of the agent."""
    command = [sys.executable, "-P", "-c", EXECUTOR, str(sandbox(tmp_path, "old")), "old"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


def test_an_executor_is_alive_until_it_dies(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    siblings = Siblings(sandbox(tmp_path, "new"), "new")
    assert siblings.alive("old")
    assert siblings.alive("old"), "looking must not take the lock away"
    other.kill()
    until(lambda: not siblings.alive("old"), 10, "its death is noticed")


def test_what_mesos_has_removed_is_dead(tmp_path: Path) -> None:
    assert not Siblings(sandbox(tmp_path, "new"), "new").alive("gone")


def test_a_sandbox_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="nosuch"):
        Siblings(tmp_path / "nosuch", "new")


def test_where_nothing_can_be_told_it_counts_as_alive(tmp_path: Path) -> None:
    siblings = Siblings(sandbox(tmp_path, "new"), "new")
    sandbox(tmp_path, "older-than-this")
    assert siblings.alive("older-than-this")
    assert siblings.alive("../escape")
    (tmp_path / "elsewhere").mkdir()
    assert Siblings(tmp_path / "elsewhere", "new").alive("old")
