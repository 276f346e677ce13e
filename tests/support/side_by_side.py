"""``--processes N``: tests run side by side, in processes that are forked once all tests are collected (docs/adr/0056).

Each process takes the next few tests when it is done with its last ones, at first many at a time, at the end single ones; it
sends its reports to the process that collected, which shows them as pytest always does.
"""

from __future__ import annotations

import gc
import mmap
import os
import random
import signal
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import pytest

#: What is left is dealt out in so many pieces for each process.
PIECES = 6
#: Number of the first test and of the one behind the last, of a piece.
_PIECE = struct.Struct("=II")
#: What a process is at, and whether all are to stop.
_NUMBER = struct.Struct("=I")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=1, metavar="N", help="run the tests side by side in so many processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    options = session.config.option
    if options.processes < 2 or len(session.items) < 2 or options.collectonly or options.usepdb or session.testsfailed:
        return None
    _run(session, min(options.processes, len(session.items)))
    return True


def pieces(tests: int, processes: int) -> Iterator[tuple[int, int]]:
    """Yield what is dealt out: smaller and smaller pieces, so that all processes end at about the same time."""
    begin = 0
    while begin < tests:
        end = begin + max(1, (tests - begin) // (PIECES * processes))
        yield begin, end
        begin = end


@dataclass(frozen=True)
class Table:
    """Memory that all processes share: what each one is at, and whether they are to stop."""

    memory: mmap.mmap

    @classmethod
    def of(cls, processes: int) -> Table:
        return cls(mmap.mmap(-1, _NUMBER.size * (processes + 1)))

    def stop(self) -> None:
        _NUMBER.pack_into(self.memory, 0, 1)

    def stopped(self) -> bool:
        return bool(_NUMBER.unpack_from(self.memory, 0)[0])

    def begin(self, process: int, test: int) -> None:
        _NUMBER.pack_into(self.memory, _NUMBER.size * (process + 1), test)

    def at(self, process: int) -> int:
        return int(_NUMBER.unpack_from(self.memory, _NUMBER.size * (process + 1))[0])


@dataclass(frozen=True)
class Child:
    number: int
    pid: int
    reports: Connection

    def ended(self) -> str:
        """Wait for its end, and say what is wrong with that."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}" if code else ""


def _run(session: pytest.Session, count: int) -> None:
    # Of a process with threads, a fork has the locks that they hold, and not those who would give them back.
    assert threading.active_count() == 1, f"importing the tests has started threads: {threading.enumerate()}"
    config, table = session.config, Table.of(count)
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    folder = factory.getbasetemp()
    reading, writing = os.pipe()
    dealt = list(pieces(len(session.items), count))
    # A pipe holds 64 KiB at least, and each read of it takes a whole piece.
    os.write(writing, b"".join(_PIECE.pack(*piece) for piece in dealt))
    os.close(writing)
    # What is there now is there until the end: no process need look through it for what could go.
    gc.collect()
    gc.freeze()
    children: list[Child] = []
    for number in range(count):
        ours, theirs = Pipe(duplex=False)
        pid = os.fork()
        if not pid:
            factory._basetemp = folder / f"process{number}"
            factory._basetemp.mkdir(mode=0o700)
            ours.close()
            _be_child(session, Worker(session, number, reading, theirs, table))
        theirs.close()
        children.append(Child(number, pid, ours))
    os.close(reading)
    try:
        _show(session, children, table)
    finally:
        table.stop()
        for child in children:
            # Whoever is at a test ends it, and what it has made for that.
            with suppress(EOFError):
                while True:
                    child.reports.recv()
            with suppress(ChildProcessError):
                child.ended()
        gc.unfreeze()


def _show(session: pytest.Session, children: Sequence[Child], table: Table) -> None:
    """Show reports until all processes have ended. Raises what pytest's own loop raises."""
    hook, left = session.config.hook, {child.reports: child for child in children}
    while left:
        for connection in wait(list(left)):
            assert isinstance(connection, Connection)
            try:
                kind, found = connection.recv()
            except EOFError:
                child = left.pop(connection)
                if how := child.ended():
                    test = session.items[table.at(child.number)].nodeid
                    session.shouldfail = f"a process of the tests ended with {how} at {test}"
                continue
            if kind == "warning":
                _show_warning(session, *found)
            else:
                for each in found:
                    report = hook.pytest_report_from_serializable(config=session.config, data=each)
                    hook.pytest_runtest_logreport(report=report)
                hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


def _show_warning(session: pytest.Session, text: str, category: str, file: str, line: int, when: str, nodeid: str) -> None:
    message = warnings.WarningMessage(f"{category}: {text}", UserWarning, file, line)
    parameters: dict[str, Any] = {"warning_message": message, "when": when, "nodeid": nodeid, "location": None}
    session.config.hook.pytest_warning_recorded.call_historic(kwargs=parameters)


def _be_child(session: pytest.Session, worker: Worker) -> None:
    """Run tests until there are no more, and end without a return: what follows is for the process that collected."""
    code = 1
    try:
        worker.run()
        code = 0
    except KeyboardInterrupt:
        session._setupstate.teardown_exact(None)
    finally:
        os._exit(code)


class Worker:
    """Runs tests in a process of its own, and sends the reports."""

    def __init__(self, session: pytest.Session, number: int, dealt: int, reports: Connection, table: Table) -> None:
        self._session, self._number, self._dealt, self._table = session, number, dealt, table
        self._connection = reports
        self._reports: list[dict[str, Any]] = []

    def run(self) -> None:
        plugins = self._session.config.pluginmanager
        plugins.unregister(plugins.getplugin("terminalreporter"))
        plugins.register(self)
        capture = plugins.getplugin("capturemanager")
        # What a test prints lies in files, which are this process' own.
        capture.stop_global_capturing()
        capture.start_global_capturing()
        random.seed()
        numbers = self._numbers()
        number = next(numbers, None)
        while number is not None:
            following = next(numbers, None)
            item = self._session.items[number]
            self._table.begin(self._number, number)
            item.config.hook.pytest_runtest_protocol(
                item=item, nextitem=self._session.items[following] if following is not None else None
            )
            self._connection.send(("reports", self._reports))
            self._reports = []
            if self._table.stopped() or self._session.shouldfail or self._session.shouldstop:
                self._session._setupstate.teardown_exact(None)
                break
            number = following
        capture.stop_global_capturing()

    def _numbers(self) -> Iterator[int]:
        while piece := os.read(self._dealt, _PIECE.size):
            yield from range(*_PIECE.unpack(piece))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        config = self._session.config
        # Of what went well nothing is shown but the test itself.
        if report.when == "call" or not report.passed or config.option.durations is not None:
            self._reports.append(config.hook.pytest_report_to_serializable(config=config, report=report))

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str, nodeid: str) -> None:
        # Those of the collection are told to every plugin that comes later, too.
        if when == "runtest":
            found = warning_message
            told = (str(found.message), found.category.__name__, found.filename, found.lineno, when, nodeid)
            self._connection.send(("warning", told))
