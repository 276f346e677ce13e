"""What comes of a volume that is copied: it passes as it was sent, or nobody takes it for whole."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from eratos.common.errors import TemporaryError
from eratos.executor.volume_stream import PIECE_BYTES, PROGRESS_S, PROOF_BYTES, Received, sent

KEY = "0" * 64


def archive(kind: bytes = tarfile.REGTYPE, size: int = 3 * PIECE_BYTES) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("volume")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number in range(3):
            entry = tarfile.TarInfo(f"volume/{'long' * 50}-{number}")
            entry.type = kind
            entry.size = size if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return made.getvalue()


def over_the_wire(content: bytes, key: str = KEY) -> bytes:
    async def gather() -> bytes:
        async def pieces() -> AsyncIterator[bytes]:
            yield content

        return b"".join([piece async for piece in sent(pieces(), key)])

    return asyncio.run(gather())


def cut(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 33, 1000, 10**7])
def test_an_archive_passes_as_it_was_sent_in_whatever_pieces_it_comes(size: int) -> None:
    content = archive(size=PIECE_BYTES if size > 1 else 10)
    received = Received(cut(over_the_wire(content), size), KEY)
    assert b"".join(received.pieces()) == content
    assert (received.count, received.failure) == (len(content), None)


def test_a_large_file_is_never_held_as_a_whole() -> None:
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        for piece in cut(over_the_wire(archive(size=100 * PIECE_BYTES)), PIECE_BYTES):
            read += len(piece)
            yield piece

    passed = 0
    for piece in Received(source(), KEY).pieces():
        passed += len(piece)
        assert read - passed <= 4 * PIECE_BYTES


def flipped(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: flipped(over_the_wire(content)), "its proof is another one"),
        (lambda content: over_the_wire(content, "another key"), "its proof is another one"),
        (lambda content: over_the_wire(content)[: -PROOF_BYTES - 1], "its proof is another one"),
        (lambda content: over_the_wire(content)[: len(content) // 2], "broke off after"),
        # What Docker makes of a volume that it cannot read to its end: no error, and no mark of an end either.
        (lambda content: over_the_wire(content[: len(content) // 2]), "broke off after"),
        (
            lambda content: over_the_wire(content.rstrip(b"\0") + bytes(-len(content.rstrip(b"\0")) % 512)),
            "could not read all of it",
        ),
        (lambda content: over_the_wire(b""), "broke off after 0 bytes"),
        (lambda content: b"", "broke off after 0 bytes"),
    ],
    ids=["changed", "key", "short", "cut", "unread", "no-end", "empty", "nothing"],
)
def test_what_is_not_whole_fails_before_its_last_piece(spoil: Callable[[bytes], bytes], words: str) -> None:
    content = archive()
    received, passed = Received(cut(spoil(content)), KEY), []
    with pytest.raises(TemporaryError, match=words) as raised:
        passed += received.pieces()
    assert received.failure is raised.value
    assert len(b"".join(passed)) < len(content)


def test_a_source_that_breaks_off_says_so_itself() -> None:
    def source() -> Iterator[bytes]:
        yield archive()[:5000]
        raise TemporaryError("the executor on agent1 broke off")

    received = Received(source(), KEY)
    with pytest.raises(TemporaryError, match="agent1 broke off"):
        list(received.pieces())
    assert received.failure is not None


def test_files_of_an_unknown_kind_are_named() -> None:
    with pytest.raises(TemporaryError, match=r"volume/long.*-0 is of a kind that cannot be copied"):
        list(Received(cut(over_the_wire(archive(b"Z"))), KEY).pieces())


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_pipes_and_devices_pass(kind: bytes) -> None:
    content = archive(kind)
    assert b"".join(Received(cut(over_the_wire(content)), KEY).pieces()) == content


def test_it_tells_now_and_then_how_far_it_is_and_stops_when_nobody_wants_it() -> None:
    now, told = [0.0], []
    content = over_the_wire(archive())

    def source() -> Iterator[bytes]:
        for piece in cut(content, PIECE_BYTES):
            now[0] += PROGRESS_S / 2
            yield piece

    received = Received(source(), KEY, told.append, lambda: len(told) == 2, lambda: now[0])
    with pytest.raises(TemporaryError, match="nobody wants the copy"):
        list(received.pieces())
    assert len(told) == 2 and 0 < told[0] < told[1] < len(content)
