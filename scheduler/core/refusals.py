"""What a command to the core may get instead of a reply."""

from __future__ import annotations

from eratos.common.errors import PermanentError, TemporaryError

from .actions import Refusal


class CommandRefused(PermanentError):
    """The core refused a command and changed nothing."""

    def __init__(self, refusal: Refusal, message: str, deployments: tuple[str, ...] = (), quota: str = "") -> None:
        """``deployments`` are those in the way, ``quota`` is the group whose quota is."""
        super().__init__(message)
        self.refusal = refusal
        self.deployments = deployments
        self.quota = quota


class Unavailable(TemporaryError):
    """The command or the reading cannot be served now: no leader, the store away, the deadline over. The text says why."""


class Refused(Exception):
    """A command cannot be carried out, and nothing was changed. Answered by :mod:`commands`."""

    def __init__(self, refusal: Refusal, message: str, deployments: tuple[str, ...] = (), quota: str = "") -> None:
        super().__init__(message)
        self.refusal = refusal
        self.deployments = deployments
        self.quota = quota
