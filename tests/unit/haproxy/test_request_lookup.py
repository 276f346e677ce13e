"""A request is found in the log's files by its id."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from eratos.haproxy import request_lookup
from eratos.haproxy.request_lookup import BusyError, Lookup


def id_of(number: int) -> str:
    return f"request-{number:04}"


def line(number: int, request_id: str = "") -> bytes:
    """Return the line of a request that came in this second of an hour."""
    moment = f"28/Nov/2026:08:{number // 60:02}:{number % 60:02}.000"
    times = "0/0/1/2/3 200 137 - - ---- 2/1/0/0/0 0/0"
    end = f'id={request_id or id_of(number)} at=10.0.0.1:1 "GET / HTTP/1.1"\n'
    return f"10.1.1.7:4 [{moment}] eratos:traffic a/s{number} {times} {end}".encode()


def at(number: int) -> float:
    return datetime(2026, 11, 28, 8, number // 60, number % 60).timestamp()


class Log:
    """Files as the access log opens them, the newest first."""

    def __init__(self, folder: Path, *files: bytes) -> None:
        self.paths = [folder / str(number) for number in range(len(files))]
        for path, data in zip(self.paths, files, strict=True):
            path.write_bytes(data)
        self.opened: list[BinaryIO] = []

    def files(self) -> list[BinaryIO]:
        self.opened = [path.open("rb", buffering=0) for path in self.paths]
        return self.opened

    def find(self, request_id: str) -> tuple[list[str], float | None]:
        found = Lookup(self.files).find(request_id)
        assert all(file.closed for file in self.opened)
        return [served.server for served in found.requests], found.oldest


@pytest.fixture
def log(tmp_path: Path) -> Log:
    server = b"Server a/s1 is DOWN, reason: Layer4 timeout\n"
    return Log(tmp_path, server + line(30) + line(31), b"".join(map(line, range(20, 30))), server + line(10) + line(11))


@pytest.mark.parametrize("number", [10, 11, 20, 25, 29, 30, 31])
def test_a_request_is_found_in_whichever_file_it_is(log: Log, number: int) -> None:
    assert log.find(id_of(number)) == ([f"s{number}"], at(10))


def test_nobody_finds_what_was_not_logged_and_hears_how_far_back_was_looked(log: Log, tmp_path: Path) -> None:
    assert log.find(id_of(12)) == ([], at(10))
    assert log.find("request-001") == ([], at(10))  # the beginning of another's id
    assert Log(tmp_path, b"Server a/s1 is UP, reason: x\n").find(id_of(1)) == ([], None)
    assert Log(tmp_path).find(id_of(1)) == ([], None)


@pytest.mark.parametrize("block", [1, 7, 150, 1000])
def test_lines_are_found_however_blocks_cut_them(log: Log, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(request_lookup, "_BLOCK_BYTES", block)
    for number in (10, 20, 31):
        assert log.find(id_of(number)) == ([f"s{number}"], at(10))


def test_of_an_id_that_comes_often_the_latest_are_shown(tmp_path: Path) -> None:
    newer, older = (b"".join(line(number, "the-same-id") for number in numbers) for numbers in (range(30, 40), range(30)))
    found, _ = Log(tmp_path, newer, older).find("the-same-id")
    assert found == [f"s{number}" for number in range(39, 19, -1)]


def test_a_lookup_goes_back_so_far_and_no_further(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_lookup, "LOOKED_MAX_BYTES", log.paths[0].stat().st_size + len(line(20) * 2))
    assert log.find(id_of(21)) == (["s21"], at(20))
    assert log.find(id_of(22)) == ([], at(20))
    assert log.find(id_of(10)) == ([], at(20))


def test_what_is_no_line_takes_no_more_memory_than_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_lookup, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(request_lookup, "_LINE_MAX_BYTES", 200)
    log = Log(tmp_path, b"x" * 5000 + b"\n" + line(1))
    with ExitStack() as stack:
        (file,) = map(stack.enter_context, log.files())
        assert max(map(len, request_lookup._blocks(file, 10**9))) <= 300
    assert log.find(id_of(1)) == (["s1"], at(1))


def test_one_looks_at_a_time_and_others_are_told(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_lookup, "_TURN_S", 0)
    lookup = Lookup(lambda: [lookup.find(id_of(1)) for _ in "x"])  # type: ignore[misc]
    with pytest.raises(BusyError):
        lookup.find(id_of(1))
    lookup = Lookup(log.files)
    assert lookup.find(id_of(10)).requests
    assert lookup.find(id_of(10)).requests  # its turn is over


def test_a_log_that_cannot_be_read_is_not_taken_for_an_empty_one() -> None:
    def files() -> list[BinaryIO]:
        raise PermissionError("no")

    lookup = Lookup(files)
    for _ in range(2):
        with pytest.raises(PermissionError):
            lookup.find(id_of(1))
