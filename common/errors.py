"""Errors, distinguished by what the caller must do about them."""

from __future__ import annotations


class EratosError(Exception):
    """Base of every error that eratos raises on purpose."""


class PermanentError(EratosError):
    """Trying again unchanged cannot help: report it to the user, who has to change something."""


class TemporaryError(EratosError):
    """Trying again later may help."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FatalError(EratosError):
    """The process cannot go on safely: log it and exit, leaving tasks untouched."""
