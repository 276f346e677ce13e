"""Running other programs: output is kept out of the user's sight until something fails, and then its end is shown."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from .terminal import Problem

SHOWN_LINES = 12


class CommandFailed(Problem):
    """A program ended with an error, could not be started, or took too long."""

    def __init__(self, command: Sequence[str], reason: str, output: str) -> None:
        self.output = output
        lines = [line for line in output.strip().splitlines() if line.strip()][-SHOWN_LINES:]
        shown = "".join(f"\n       {line}" for line in lines)
        super().__init__(f"`{' '.join(command)}` {reason}{shown}", "put right what the lines above say and run this again")


def run(
    command: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    timeout_s: float | None = None,
    check: bool = True,
    with_errors: bool = False,
    pass_fds: Sequence[int] = (),
) -> str:
    """Run a program and return its output, on request its error output too. It inherits the open files ``pass_fds``.

    Raise CommandFailed unless it succeeds; with `check=False` return "" instead.
    """
    errors = subprocess.STDOUT if with_errors else subprocess.PIPE
    try:
        done = subprocess.run(
            command,
            env=env,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
        )
    except FileNotFoundError:
        if check:
            raise CommandFailed(command, "could not be started: there is no such program", "") from None
        return ""
    except subprocess.TimeoutExpired as error:
        if check:
            raise CommandFailed(command, f"did not end within {timeout_s} s", str(error.output or "")) from None
        return ""
    if done.returncode != 0:
        if check:
            raise CommandFailed(command, f"failed with exit code {done.returncode}", done.stdout + (done.stderr or ""))
        return ""
    return done.stdout


def stream(command: Sequence[str], on_line: Callable[[str], None], log: Path, env: dict[str, str] | None = None) -> None:
    """Run a long program; hand over each line as it comes, and keep all in a log. Raise CommandFailed unless it succeeds."""
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=200)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open("w"))
        process = stack.enter_context(
            subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        )
        for line in process.stdout or ():
            file.write(line)
            tail.append(line)
            on_line(line.rstrip("\n"))
    if process.returncode != 0:
        raise CommandFailed(command, f"failed with exit code {process.returncode}; all of its output is in {log}", "".join(tail))


def replace_this_process(command: Sequence[str], env: dict[str, str] | None = None) -> None:
    """Become another program, which then has the terminal to itself. Never returns."""
    os.execvpe(command[0], list(command), env if env is not None else dict(os.environ))
