"""Returns whether a store still holds what the last scheduler left there. Pure; called by the back ends.

Every write stores, in the same transaction, how many apps and instances there are and a sum over all records. Whoever loads
counts and adds up again. The sum does not depend on the order of the records, so a write changes it by its own records alone
(an incremental hash, Bellare and Micciancio 1997; against accidents, not against attackers).

It finds records that were lost, altered or put back one by one. A store that was put back as a whole brings the checksum of
that time along and looks right: docs/operations.md says how that shows.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

from eratos.common.log import fields

from ..core.records import APPS, INSTANCES
from .errors import StoreUnusable

log = logging.getLogger(__name__)

#: Records read together.
_SOME = 1000

Change = tuple[str, bytes | None]  #: key, and the new bytes or None to delete


@dataclass(frozen=True, slots=True)
class Checksum:
    """What is stored of a :class:`Ledger`: ``"<apps> <instances> <sum in hexadecimal>"``."""

    apps: int = 0
    instances: int = 0
    total: int = 0  #: of all records' digests, modulo 2**64

    def __str__(self) -> str:
        return f"{self.apps} {self.instances} {self.total:016x}"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises ValueError."""
        apps, instances, total = data.split()
        return cls(int(apps), int(instances), int(total, 16))


class Ledger:
    """The checksum of a store's records, and what is needed to carry it forward from write to write."""

    def __init__(self, records: Iterable[tuple[str, bytes]] = ()) -> None:
        self.checksum = Checksum()
        #: hash of the key -> digest. The keys themselves would take more room than all else here, and two of a million share
        #: a hash in one of tens of millions of stores: then a later write makes a checksum that is found wrong, and is logged.
        self._digests: dict[int, int] = {}
        self.enter(records)

    def reading(self, records: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        """Pass a store's records on and enter them, some at a time: all at once would take the memory of all."""
        rest = iter(records)
        while some := list(islice(rest, _SOME)):
            self.enter(some)
            yield from some

    def after(self, changes: Iterable[Change], before: Checksum | None = None) -> Checksum:
        """Return the checksum once the changes, each of another key, are made on top of ``before`` (default: the present)."""
        return self._after(_digested(changes), before or self.checksum)

    def enter(self, changes: Iterable[Change]) -> None:
        """Take changes as made."""
        digested = _digested(changes)
        self.checksum = self._after(digested, self.checksum)
        for key, digest in digested:
            if digest is None:
                self._digests.pop(hash(key), None)
            else:
                self._digests[hash(key)] = digest

    def _after(self, digested: Iterable[tuple[str, int | None]], before: Checksum) -> Checksum:
        apps, instances, total = before.apps, before.instances, before.total
        for key, now in digested:
            was = self._digests.get(hash(key))
            more = (now is not None) - (was is not None)
            apps += more * key.startswith(APPS)
            instances += more * key.startswith(INSTANCES)
            total += (now or 0) - (was or 0)
        return Checksum(apps, instances, total % 2**64)

    def verify(self, left: bytes, place: str) -> None:
        """Compare what was found with what the last scheduler ``left``; a difference is logged, empty says nothing.

        Raises StoreUnusable where records are missing: the tasks of a missing record would be killed (rule 40).
        """
        if not left:
            return
        found = self.checksum
        try:
            wanted = Checksum.parse(left)
        except ValueError:
            log.error("the store's checksum is damaged: compare it with a backup %s", fields(store=place, checksum=left))
            return
        if found.apps < wanted.apps or found.instances < wanted.instances:
            raise StoreUnusable(
                f"records are missing in {place}: the last scheduler left {wanted.apps} apps and {wanted.instances} instances, "
                f"{found.apps} and {found.instances} are there. Tasks without a record would be killed, so nothing was started: "
                "restore a backup (`eratos-scheduler restore FILE --replace`); or, to go on with what is there, make one now "
                "(`eratos-scheduler backup FILE`) and restore that"
            )
        if found != wanted:
            log.error(
                "the store was changed by somebody else since the last scheduler, going on: compare it with a backup %s",
                fields(store=place, found=found, left=wanted),
            )


def _digested(changes: Iterable[Change]) -> list[tuple[str, int | None]]:
    return [(key, None if data is None else _digest(key, data)) for key, data in changes]


def _digest(key: str, data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode() + b"\0" + data, digest_size=8).digest())
