"""Tells running tasks what they require: by a file in their sandbox, and then by a command or a signal, as their app wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from eratos.common.errors import TemporaryError

from ..commands import CommandRunner
from ..core import actions as do
from ..core import events as on
from ..io_thread import IoThread


class Told(Protocol):
    """Has a task's files and signals; see :class:`..runtimes.Runtime`."""

    def put_file(self, task_id: str, path: str, text: str) -> None: ...

    def signal(self, task_id: str, name: str) -> None: ...


class Teller:
    """Performs TellTask on the io thread, any number at once."""

    def __init__(self, io: IoThread, runtime: Told, commands: CommandRunner, emit: Callable[[on.Event], None]) -> None:
        self._io = io
        self._runtime = runtime
        self._commands = commands
        self._emit = emit

    def perform(self, action: do.TellTask) -> None:
        """Begin to tell a task; the answer comes once it was told, or could not be."""
        self._io.submit(self._tell(action))

    async def _tell(self, action: do.TellTask) -> None:
        try:
            await self._commands.call(self._runtime.put_file, action.task_id, action.path, action.text)
            fault = await self._inform(action)
        except TimeoutError:
            fault = f"the command for it took longer than {action.on_change.timeout_s:g} s"
        except TemporaryError as error:
            fault = f"the task could not be told: {error}"
        self._emit(on.RequirementTold(action.task_id, fault))

    async def _inform(self, action: do.TellTask) -> str:
        """Return why the task does not go by what its file says now, or nothing. Raises TimeoutError, TemporaryError."""
        change = action.on_change
        if change.kind == "signal":
            await self._commands.call(self._runtime.signal, action.task_id, change.value)
        elif change.kind == "command":
            async with asyncio.timeout(change.timeout_s):
                code = await self._commands.run((action.task_id, "told"), change.value, change.timeout_s, env=action.env)
            return f"the command for it ended with exit code {code}" if code else ""
        return ""
