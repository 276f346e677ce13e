"""The logs of containers as plain text: the last lines that were asked for, and those that come.

Compose's own `logs` writes terminal codes into pipes, and docker's `--tail` counts lines before anybody has chosen among them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from .shell import run

#: What Mesos and its ZooKeeper client write to an agent's output; what is left is its executors'.
_OF_MESOS = re.compile(r"[IWEF]\d{4} |.*:ZOO_(INFO|WARN|ERROR)|WARNING: Logging before InitGoogleLogging|$")


def every_line(_line: str) -> bool:
    """Choose every line."""
    return True


def of_executor(line: str) -> bool:
    """Return whether a line of an agent's log is its executor's."""
    return not _OF_MESOS.match(line)


def show(containers: Mapping[str, str], tail: int | None, follow: bool, wanted: Callable[[str], bool] = every_line) -> None:
    """Print the last `tail` wanted lines of each container (None: all) in their order, and with `follow` those that come.

    `containers` are ids or names by what to call them; of several, each line begins with that. Raise CommandFailed where docker
    refuses.
    """
    width = max(map(len, containers)) if len(containers) > 1 else 0
    last: list[tuple[str, str]] = []
    seen = {}
    for name, container in containers.items():
        # Asked first: docker says only here that there is no such container or log.
        run(["docker", "logs", "--tail", "0", container], timeout_s=60)
        prefix = f"{name:{width}} | " if width else ""
        lines: deque[tuple[str, str]] = deque(maxlen=tail)
        seen[name] = ""
        # Where every line is wanted docker can count.
        count = ["--tail", str(tail)] if wanted is every_line and tail is not None else []
        for stamp, line in _lines(["docker", "logs", "--timestamps", *count, container]):
            seen[name] = stamp
            if wanted(line):
                lines.append((stamp, prefix + line))
        last += lines
    for _, line in sorted(last, key=lambda entry: entry[0]):
        print(line)
    sys.stdout.flush()
    if follow:
        _follow(containers, seen, width, wanted)


def _follow(containers: Mapping[str, str], seen: Mapping[str, str], width: int, wanted: Callable[[str], bool]) -> None:
    """Print what containers write from now on, until all have ended or nobody reads it any more."""
    printing = threading.Lock()
    gone: list[BrokenPipeError] = []

    def one(name: str, processes: ExitStack) -> None:
        prefix = f"{name:{width}} | " if width else ""
        since = ["--since", seen[name]] if seen[name] else []
        # The line that was read last comes again.
        for stamp, line in _lines(["docker", "logs", "--timestamps", "--follow", *since, containers[name]], processes):
            if stamp > seen[name] and wanted(line):
                try:
                    with printing:
                        print(prefix + line, flush=True)
                except BrokenPipeError as error:
                    gone.append(error)
                    processes.close()
                    return

    with ExitStack() as processes:
        followers = [threading.Thread(target=one, args=(name, processes), daemon=True) for name in containers]
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join()
    if gone:
        raise gone[0]


def _lines(command: list[str], stack: ExitStack | None = None) -> Iterator[tuple[str, str]]:
    """Yield (time, line) of docker's output, standard error included; `stack` ends docker when it is closed."""
    process: Any = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if stack is not None:
        stack.callback(process.kill)
    with process:
        for text in process.stdout:
            stamp, _, line = text.rstrip("\n").partition(" ")
            yield stamp, line
