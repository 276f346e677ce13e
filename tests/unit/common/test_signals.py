"""SIGTERM ends a process wherever it catches the main thread, a held lock included."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from typing import NoReturn

import pytest
from support.folders import ROOT

from eratos.common.errors import FatalError
from eratos.executor import __main__ as executor

#: The main thread is told to end while it holds the very lock that ending needs.
_HELD = """
import signal, threading
from eratos.common.signals import on_signal

lock, ended = threading.Lock(), threading.Event()

def leave():
    with lock:
        ended.set()

on_signal(leave)
with lock:
    signal.raise_signal(signal.{name})
assert ended.wait(300)
print("ended")
"""

#: The same for a whole scheduler, whose Process stands for one with its loop in the midst of its queue.
_SCHEDULER = """
import signal, sys, threading
from eratos.scheduler import __main__, process

class Busy:
    def __init__(self, config):
        self.lock, self.ended, self.clock = threading.Lock(), threading.Event(), None
    def stop(self):
        with self.lock:
            self.ended.set()
    def run(self, serve):
        with self.lock:
            signal.raise_signal(signal.SIGTERM)
        assert self.ended.wait(300)
        print("ended")

process.Process = Busy
sys.argv = ["eratos-scheduler", "--master", "127.0.0.1:5050", "--store", "memory:"]
__main__.main()
"""


@pytest.mark.parametrize("script", [_HELD.format(name="SIGTERM"), _HELD.format(name="SIGINT"), _SCHEDULER])
def test_a_signal_waits_for_no_lock_of_the_thread_that_it_interrupts(script: str) -> None:
    run = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=600, check=False)
    assert run.stdout == "ended\n", run.stderr


def test_an_executor_can_wait_for_its_children_whatever_its_agent_ignores(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def read(*_: object) -> NoReturn:
        found.append(signal.getsignal(signal.SIGCHLD))
        raise FatalError("so far")

    monkeypatch.setattr(executor, "read", read)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit, match="so far"):
            executor.main()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert found == [signal.SIG_DFL]


def test_nobody_handles_a_signal_in_another_way() -> None:
    """pymesos sets a handler on import, which ``mesos/library.py`` undoes; the workers' only set flags."""
    allowed = {"common/signals.py", "mesos/library.py", "mesos/pymesos/process.py"}
    # The archive's own process ignores the signal of a file that is too large.
    allowed |= {"worker/serving.py", "worker/front.py", "executor/unpack.py"}
    # What is forked for a command handles none any more.
    allowed.add("executor/process/spawn.py")
    found = set()
    for top in ("common", "mesos", "marathon", "scheduler", "executor", "haproxy", "cli", "worker"):
        for path in (ROOT / top).rglob("*.py"):
            text = path.read_text()
            if "signal.signal" not in text:
                continue
            calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
            if any(ast.unparse(call.func) == "signal.signal" for call in calls):
                found.add(str(path.relative_to(ROOT)))
    assert found == allowed
