"""What a command that somebody runs beside a task is to the rest of the executor, and what a runtime has to be able to give."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from eratos.common.errors import PermanentError
from eratos.common.tunnel import Command, Kind


class NoTask(PermanentError):
    """The task does not run on this host."""


class Session(Protocol):
    """One command that runs. For the io thread."""

    async def write(self, data: bytes) -> None:
        """Write to its standard input, once it takes something. Raises OSError where it takes no more."""

    async def end_input(self) -> None:
        """Say that nothing more comes. Raises OSError, TemporaryError."""

    async def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size; without one it has none. Never raises."""

    def output(self) -> AsyncGenerator[tuple[Kind, bytes], None]:
        """Yield what it writes, as DATA or ERRORS, no faster than it is taken. Raises one of async_http.Failure."""

    async def exit_code(self) -> int:
        """Return its exit code, once its output has ended. Raises TemporaryError where nobody knows it."""


class SessionSource(Protocol):
    """Where one runtime's commands are started."""

    def open(self, task_id: str, container: str, command: Command) -> AbstractAsyncContextManager[Session]:
        """Start a command in a task, or in one of a pod's containers; leaving ends it if it still runs.

        Entering raises NoTask, TemporaryError or one of async_http.Failure.
        """
