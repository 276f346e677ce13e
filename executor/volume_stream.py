"""What goes over the wire when a volume is copied: Docker's archive of it, and behind that a proof that it is all of it.

The proof is the HMAC-SHA256 of the archive under the volume's key (:func:`eratos.common.keys.volume_key`), 32 bytes. Both sides
hold a few pieces at a time, whatever the volume's size.
"""

from __future__ import annotations

import hashlib
import hmac
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from eratos.common.errors import PermanentError, TemporaryError

PIECE_BYTES: Final = 64 * 1024
PROOF_BYTES: Final = hashlib.sha256().digest_size
#: How often a copy reports how far it is.
PROGRESS_S: Final = 5.0
#: What a volume may hold, as tar has it. Docker leaves sockets out: they are of processes that have ended.
_KINDS: Final = {
    *(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE),
    *(tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
}


class NoVolume(PermanentError):
    """There is no such volume of the app on this host, or it cannot be copied as it is."""


class VolumeSource(Protocol):
    """Where volumes are read."""

    def read(self, volume_id: str, app_id: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the archive of a volume that no container has; it ends only if none has had it meanwhile.

        Entering and reading raise NoVolume, TemporaryError or one of async_http.Failure.
        """


async def sent(archive: AsyncIterator[bytes], key: str) -> AsyncIterator[bytes]:
    """Yield what is sent of an archive. Raises as reading that does: then the proof is missing."""
    proof = hmac.new(key.encode(), digestmod=hashlib.sha256)
    async for piece in archive:
        proof.update(piece)
        yield piece
    yield proof.digest()


class Received:
    """An archive as it comes in. ``failure`` is why it was not good, for the consumer, who only sees that it ended."""

    def __init__(
        self,
        source: Iterator[bytes],
        key: str,
        progress: Callable[[int], object] = lambda count: None,
        cancelled: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``progress`` is called now and then with the bytes that came; ``cancelled`` says whether nobody wants the rest."""
        self._source = source
        self._proof = hmac.new(key.encode(), digestmod=hashlib.sha256)
        self._progress, self._cancelled, self._clock = progress, cancelled, clock
        self._reported_at = clock()
        self._held = bytearray()  #: the end of what has come: it may be the proof
        self._passed: list[bytes] = []
        self.count = 0
        self.failure: TemporaryError | None = None

    def pieces(self) -> Iterator[bytes]:
        """Yield the archive, looking at what it holds. Raises TemporaryError where it is not whole, before its last piece."""
        try:
            yield from self._checked()
        except TemporaryError as failure:
            self.failure = failure
            raise
        except (tarfile.TarError, EOFError) as error:
            self.failure = TemporaryError(f"the archive of the volume broke off after {self.count} bytes: {error}")
            raise self.failure from error

    def _checked(self) -> Iterator[bytes]:
        with tarfile.open(fileobj=self, mode="r|", bufsize=PIECE_BYTES) as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members = []  # it would remember them all
                if member.type not in _KINDS:
                    raise TemporaryError(f"{member.name} is of a kind that cannot be copied ({member.type!r}): remove it")
                content = archive.extractfile(member) if member.isreg() else None
                while content is not None and content.read(PIECE_BYTES):
                    yield from self._taken()
                yield from self._taken()
            ends_at = archive.offset
        while self.read(PIECE_BYTES):
            pass
        if self.count < ends_at + tarfile.BLOCKSIZE:
            raise TemporaryError(
                f"the archive of the volume ends after {self.count} bytes: Docker there could not read all of it"
            )
        if not hmac.compare_digest(bytes(self._held), self._proof.digest()):
            raise TemporaryError("what came of the volume is not what was sent: its proof is another one")
        yield from self._taken()

    def _taken(self) -> Iterator[bytes]:
        passed, self._passed = self._passed, []
        yield from passed

    def read(self, size: int) -> bytes:
        """Return what comes next of the archive, at most ``size`` bytes; for tarfile. Raises TemporaryError."""
        if self._cancelled():
            raise TemporaryError("nobody wants the copy any more")
        while len(self._held) <= PROOF_BYTES:
            piece = next(self._source, b"")
            if not piece:
                return b""
            self._held += piece
        most = min(size, len(self._held) - PROOF_BYTES)
        found = bytes(self._held[:most])
        del self._held[:most]
        self._proof.update(found)
        self._passed.append(found)
        self.count += len(found)
        if (now := self._clock()) >= self._reported_at + PROGRESS_S:
            self._reported_at = now
            self._progress(self.count)
        return found
