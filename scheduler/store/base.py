"""The contract of every store. The loop calls it before any action of a batch is performed.

A store is used by one thread at a time. It keeps bytes by key and knows nothing of what they mean; that is
:mod:`codec`'s part. Frameworks have lost good tasks to leaders with stale state (rules 2, 6 and 40), hence three
promises: a write is durable when it returns, a leader that was replaced can write no more, and nothing unreadable is
thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..core.actions import Forget, Put, Write
from ..core.records import HISTORIES, RECORD_BYTES_MAX, VOLUMES, Stored
from . import codec
from .errors import RecordTooLarge, StoreFenced, StoreUnavailable, StoreUnusable

__all__ = [
    "RECORD_BYTES_MAX",
    "RecordTooLarge",
    "Store",
    "StoreFenced",
    "StoreUnavailable",
    "StoreUnusable",
    "checked_records",
    "final_values",
]


class Store(Protocol):
    """A durable map from keys to records; keys as in :mod:`eratos.scheduler.core.records`."""

    def begin_term(self, ballot: str = "") -> None:
        """Become the only writer: from here on the writer before gets StoreFenced. Call it once, before :meth:`load`.

        ``ballot`` is the election's proof of leadership; the term begins only while that is held. Raises StoreFenced
        where it is not, StoreUnusable, StoreUnavailable.
        """

    def load(self) -> Stored:
        """Read everything. A record that cannot be read stays where it is and is named in ``Stored.spoilt``.

        Raises StoreUnavailable, and StoreUnusable where going on would lose what is stored: an unreadable framework id,
        or fewer records than the last scheduler left.
        """
        ...

    def items(self) -> dict[str, bytes]:
        """Read every record as it lies, those that cannot be read included. Needs no term and harms nobody else's.

        Raises StoreUnavailable, StoreUnusable.
        """
        ...

    def write(self, batch: Sequence[Write]) -> None:
        """Make the writes durable, then return. Of several for one key the last one counts.

        All or nothing as far as the back end can; each says how far. Beyond that: in order, puts before forgets, so an
        interrupted write leaves records too many, which reconciliation finds, and never too few.
        Raises RecordTooLarge, StoreUnavailable, StoreFenced, StoreUnusable.
        """

    def restore(self, records: Mapping[str, bytes], ballot: str = "") -> None:
        """Make these the store's records in place of all others. Called instead of :meth:`begin_term`, while nobody leads.

        A store whose restore was interrupted is as before, or refuses to be used until it is restored again.
        Raises RecordTooLarge, StoreUnavailable, StoreFenced, StoreUnusable.
        """

    def keep_once(self, name: str, make: Callable[[bool], bytes]) -> bytes:
        """Return what is kept beside the records under a name; where nothing is, what ``make`` makes, kept from now on.

        Of several processes that make it at once all return the same. ``make`` gets whether the store was in use
        before. It is no record: no part of a backup, and left alone by a restore. Needs no term.
        Raises StoreUnavailable, StoreUnusable.
        """
        ...

    def close(self) -> None:
        """Let go of the back end. Harmless when repeated."""


def final_values(batch: Sequence[Write]) -> dict[str, bytes | None]:
    """Return what each key holds after the batch, None where it is forgotten: puts first, of these volumes
    at the beginning and histories at the end, all in their order.

    Raises RecordTooLarge.
    """
    puts: dict[str, bytes | None] = {}
    forgets: dict[str, bytes | None] = {}
    for key, write in {write.key: write for write in batch}.items():
        match write:
            case Put(_, record):
                puts[key] = _checked(key, codec.encode(key, record))
            case Forget():
                forgets[key] = None
    # A volume comes before the instance that it is made for.
    first = {key: puts.pop(key) for key in list(puts) if key.startswith(VOLUMES)}
    # That an instant is decided comes after the run that was made for it, should the write be cut in two.
    last = {key: puts.pop(key) for key in list(puts) if key.startswith(HISTORIES)}
    return first | puts | last | forgets


def checked_records(records: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the records, none of them larger than every back end takes. Raises RecordTooLarge."""
    return {key: _checked(key, data) for key, data in records.items()}


def _checked(key: str, data: bytes) -> bytes:
    if len(data) > RECORD_BYTES_MAX:
        raise RecordTooLarge(
            key,
            f"{key} takes {len(data)} bytes, and the store keeps at most {RECORD_BYTES_MAX} of one record: "
            "move large values out of the definition, for instance into files that the app reads",
        )
    return data
