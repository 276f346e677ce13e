"""What can go wrong with a store, distinguished by what its caller must do."""

from __future__ import annotations

from eratos.common.errors import FatalError, PermanentError, TemporaryError


class StoreUnavailable(TemporaryError):
    """The back end cannot be reached or has no room. After a write the outcome is unknown.

    Call again with the same batch before any other (a replay is harmless: records are whole values), or end the process.
    """


class StoreFenced(FatalError):
    """Another leader took over, and none of this write was stored after that moment: end the process."""


class StoreUnusable(FatalError):
    """The store is there but must not be used as it is: damaged, of a newer schema, in use, or closed to us."""


class RecordTooLarge(PermanentError):
    """A record exceeds ``base.RECORD_BYTES_MAX``; nothing of its batch was stored."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key  #: of the record
