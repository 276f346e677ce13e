"""The script that ends a command in a container, here with processes of this machine and every shell that is at hand.

tests/contract/test_runtimes.py runs it in containers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from support.runtimes import read_or_empty
from support.waiting import until

from eratos.executor.docker.commands import _END, MARK

SHELLS = {name: command.split() for name, command in {"sh": "/bin/sh", "bash": "bash --posix", "busybox": "busybox sh"}.items()}


def alive(seconds: str) -> list[str]:
    wanted = f"sleep\0{seconds}".encode()
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if read_or_empty(path).startswith(wanted)]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_is_ended_with_all_that_is_below_it_and_nothing_else(shell: str) -> None:
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"{SHELLS[shell][0]} is not installed")
    mark = uuid.uuid4().hex
    seconds = f"1{int(mark[:6], 16):08d}"
    # In a session of its own, orphaned, and without environment.
    script = f"setsid sleep {seconds}1 & (sleep {seconds}2 &); env -i sleep {seconds}3 & sleep {seconds}4; :"
    with (
        subprocess.Popen(["sleep", f"{seconds}9"], env={MARK: "another"}) as bystander,
        subprocess.Popen(["/bin/sh", "-c", script], env=os.environ | {MARK: mark}, start_new_session=True) as command,
    ):
        try:
            until(lambda: len(alive(seconds)) == 5, 20, "all of them run")
            end = subprocess.run([*SHELLS[shell], "-c", _END, "end", mark], capture_output=True, timeout=60, check=False)
            assert (end.returncode, end.stdout, end.stderr) == (0, b"", b"")
            assert command.wait(60) == -9
            assert alive(seconds) == [str(bystander.pid)]
        finally:
            for pid in alive(seconds):
                os.kill(int(pid), signal.SIGKILL)
    assert subprocess.run([*SHELLS[shell], "-c", _END, "end", mark], timeout=60, check=False).returncode == 0
