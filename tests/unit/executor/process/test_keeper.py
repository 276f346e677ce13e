"""What a command inherits from whoever started the executor."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eratos.executor.process.keeper import Keeper
from eratos.executor.process.spawner import Spawner

NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@pytest.fixture
def ignored() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("ignored")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_command_hears_signals_that_the_executor_was_started_deaf_to(number: signal.Signals, tmp_path: Path) -> None:
    script = f"trap 'exit 5' {number.name.removeprefix('SIG')}; kill -{number.value} $$; exit 6"
    with closing(Spawner()) as spawner:
        keeper = Keeper(["sh", "-c", script], None, spawner=spawner, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
        assert keeper.wait(60) == 5
