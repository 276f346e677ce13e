"""What the API needs of the process it serves: send commands, read the state, know the leader. Implemented by the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from eratos.common.errors import PermanentError, TemporaryError
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import Command
from eratos.scheduler.core.state import State

T = TypeVar("T")


class CommandRefused(PermanentError):
    """The core refused a command and changed nothing. ``status`` is the HTTP status that fits."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(TemporaryError):
    """The command or the reading cannot be served now: no leader, the store away, the deadline over. The text says why."""


class Controller(Protocol):
    """Called from many threads at once."""

    @property
    def is_leader(self) -> bool:
        """Whether this process decides; the API of any other forwards to the leader."""

    def leader(self) -> str | None:
        """Return the URL of the leader's API, or None while there is none."""

    def info(self) -> dict[str, Any]:
        """Return what ``GET /v2/info`` shows. ``marathon_config.mesos_role`` holds the framework's role."""

    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Return what balancers leave out, some seconds ago: Consul service -> each balancer's reason."""

    def submit(self, make_command: Callable[[int], Command]) -> Reply:
        """Hand a command with a fresh token to the core and return its reply, once the change is stored.

        Raises CommandRefused, and Unavailable where no reply came in time; then the change may still be made.
        """

    def read(self, fn: Callable[[State], T]) -> T:
        """Run ``fn`` on the state while nothing changes it. ``fn`` keeps nothing that can change. Raises Unavailable."""
