"""Runs a command in an instance: this terminal's input, output and size go there, its exit code comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence

from eratos.common import tunnel
from eratos.common.tunnel import Command, Gone, Kind, Tunnel
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.marathon.tunnels import end_of, opened

from .tasks import short

PATH = "/v2/tunnels/exec"
_PIECE = 32 * 1024


def run(
    client: MarathonClient,
    name: str,
    arguments: Sequence[str],
    say: Callable[[str], object],
    *,
    container: str = "",
    with_input: bool = False,
    terminal: bool = False,
) -> int:
    """Run a command in an instance, or the best one of an app, and return its exit code. ``say`` is told which one it is.

    ``with_input`` sends standard input, ``terminal`` gives the command one. Raises Refused, and Unreachable where it broke off.
    """
    if terminal and not sys.stdin.isatty():
        raise Refused(0, "-t needs a terminal at standard input: leave it out in scripts and pipes")
    columns, rows = shutil.get_terminal_size()
    command = Command(tuple(arguments), terminal, rows, columns)
    query = {"name": name, **({"container": container} if container else {})}
    try:
        return asyncio.run(_run(client, query, command, say, with_input=with_input))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # the scheduler ends the command where nobody is left


async def _run(
    client: MarathonClient, query: dict[str, str], command: Command, say: Callable[[str], object], *, with_input: bool
) -> int:
    loop = asyncio.get_running_loop()
    code: int | None = None
    failure = ""

    def told(kind: Kind, payload: bytes) -> None:
        nonlocal code, failure
        if kind is Kind.EXIT:
            code = int(payload)
        elif kind is Kind.FAILURE:
            failure = payload.decode(errors="replace")

    connection = await opened(client, PATH, query)
    async with connection:
        answered = connection.response.headers if connection.response is not None else {}
        say(f"in {short(answered.get(tunnel.TASK, '?'))} on {answered.get(tunnel.HOST, '?')}")
        end = end_of(connection, told)
        await end.say(Kind.BEGIN, command.to_bytes())
        with _raw(command.terminal and with_input):
            running = asyncio.create_task(end.run())
            showing = asyncio.create_task(_show(end))
            if command.terminal:
                loop.add_signal_handler(signal.SIGWINCH, lambda: loop.create_task(_resize(end)))
            if with_input:
                # Of its own: to read from a terminal cannot be given up, and must not keep the process.
                threading.Thread(target=_send_input, args=(end, loop), daemon=True).start()
            else:
                await end.end()
            try:
                await asyncio.wait((running, showing), return_when=asyncio.FIRST_EXCEPTION)
                with contextlib.suppress(Gone):
                    showing.result()
                running.result()
            except ValueError as wrong:
                raise Unreachable(f"what the scheduler sent is no tunnel's: {wrong}") from wrong
            finally:
                await tunnel.stopped(running, showing)
    if code is not None:
        return code
    if failure:
        raise Refused(0, failure)
    raise Unreachable("the connection to the scheduler was lost, and the command with it")


async def _show(end: Tunnel) -> None:
    """Write what comes, each stream to its own, no faster than it is read there."""
    while (piece := await end.read()) is not None:
        kind, data = piece
        await asyncio.to_thread(_write, 2 if kind is Kind.ERRORS else 1, data)


def _write(stream: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(stream, left) :]


def _send_input(end: Tunnel, loop: asyncio.AbstractEventLoop) -> None:
    # The loop may end at any time, and then nothing is there to report a failure.
    with contextlib.suppress(Exception):
        while data := os.read(0, _PIECE):
            asyncio.run_coroutine_threadsafe(end.write(data), loop).result()
        asyncio.run_coroutine_threadsafe(end.end(), loop).result()


async def _resize(end: Tunnel) -> None:
    columns, rows = shutil.get_terminal_size()
    with contextlib.suppress(OSError):
        await end.say(Kind.SIZE, tunnel.size(rows, columns))


@contextlib.contextmanager
def _raw(wanted: bool) -> Iterator[None]:
    """Have the terminal hand on every key as it is, Ctrl-C too, and be as before at the end."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
