"""Runs commands in tasks' containers: for health checks, and to tell tasks of what they require.

Each has a time limit, and is ended with all that it has started where it takes longer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from eratos.common.backoff import exponential_s
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .io_thread import ready

#: Threads that start commands and look after them: a hung Docker holds these, and nothing else of the executor.
COMMAND_THREADS = 8
_POLL_S = 0.05
_POLL_MOST_S = 0.5
_END_AGAIN_S = 1.0
_END_AGAIN_MOST_S = 30.0

log = logging.getLogger(__name__)


class Commands(Protocol):
    """Runs commands in a task's container; see :class:`.runtimes.Runtime`."""

    def command_start(self, task_id: str, command: str, container: str, env: Mapping[str, str]) -> str: ...

    def command_told(self, command_id: str) -> int | None: ...

    def command_result(self, command_id: str) -> int | None: ...

    def command_stop(self, command_id: str) -> bool: ...


class CommandRunner:
    """Commands under way. Called on the io thread only; what waits does so on threads of its own."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._threads = ThreadPoolExecutor(COMMAND_THREADS, "command")
        self._running: dict[Hashable, asyncio.Task[int]] = {}

    async def run(
        self,
        key: tuple[str, Hashable],
        command: str,
        timeout_s: float,
        *,
        container: str = "",
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run a shell command for a task and return its exit code; ``key`` is the task's id and what it is for: one at a time.
        ``container`` is the one of a pod where it runs.

        Raises TimeoutError once its time is over, though it may take longer until it is surely gone, and TemporaryError.
        """
        if key in self._running:
            raise TemporaryError("its last command has not ended yet")
        self._running[key] = asyncio.create_task(self._command(key, command, timeout_s, container, env or {}))
        # It goes on after whoever waits for it, until the command is surely gone.
        return await asyncio.shield(self._running[key])

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what may wait for a runtime."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    async def _command(
        self, key: tuple[str, Hashable], command: str, timeout_s: float, container: str, env: Mapping[str, str]
    ) -> int:
        """Return a command's exit code. Raises TimeoutError, TemporaryError, and only when it runs no more."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            command_id = await self.call(self._commands.command_start, key[0], command, container, env)
            code = None
            pause_s = _POLL_S
            try:
                told = self._commands.command_told(command_id)
                while True:
                    if told is not None:
                        # Hundreds may run at a time, and asking each of them again and again costs more than they do.
                        async with asyncio.timeout_at(deadline):
                            await ready(told)
                    if (code := await self.call(self._commands.command_result, command_id)) is not None:
                        break
                    if asyncio.get_running_loop().time() >= deadline:
                        raise TimeoutError
                    await asyncio.sleep(pause_s)
                    pause_s = min(1.2 * pause_s, _POLL_MOST_S)
            finally:
                if code is None:
                    await self._end(key[0], command_id)
            return int(code)
        finally:
            del self._running[key]

    async def _end(self, task_id: str, command_id: str) -> None:
        """See to it that a command runs no more: each that hangs would be one more."""
        for attempt in itertools.count():
            try:
                if await self.call(self._commands.command_stop, command_id):
                    return
                problem = "it still runs"
            except TemporaryError as error:
                problem = str(error)
            if attempt == 0:
                log.warning("a command cannot be ended, trying again %s", fields(task_id=task_id, problem=problem))
            await asyncio.sleep(exponential_s(attempt, first_s=_END_AGAIN_S, factor=2, most_s=_END_AGAIN_MOST_S))
