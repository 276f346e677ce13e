"""What carries the output of processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from eratos.common.rotated_file import RotatedFile
from eratos.executor.logs import LINE_BYTES, LogRequest, NoLog
from eratos.executor.process.logs import FILES_MAX, LogPump, ProcessLogs


def test_a_pump_that_has_seen_that_it_is_to_stop_before_it_is_woken_stops_as_well() -> None:
    pump = LogPump()
    pump.start()
    pump._stopped = True
    pump._wake()
    pump._thread.join(10)
    pump.stop()


def read(folder: Path, **wanted: Any) -> list[bytes]:
    """Return the lines of a process that has ended, each after its position."""

    async def lines() -> bytes:
        source = ProcessLogs(lambda task: folder, lambda task: False)
        async with source.read(LogRequest("t", positions=True, **wanted)) as pieces:
            return b"".join([piece async for piece in pieces])

    return asyncio.run(lines()).splitlines()


def positions(lines: list[bytes]) -> list[str]:
    return [line.partition(b" ")[0].decode() for line in lines]


def test_a_processs_log_is_gone_on_with_from_any_line_over_rotations(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "stdout", 40, FILES_MAX)
    for number in range(8):
        file.write(b"line number %d\n" % number)  # 14 bytes: two to a file, and a third would be too many
    whole = read(tmp_path, tail=100)
    assert [line.partition(b" ")[2] for line in whole] == [b"line number %d" % number for number in range(2, 8)]
    assert len({line.partition(b" ")[0] for line in whole}) == 6
    for index, line in enumerate(whole):
        assert read(tmp_path, begin=line.partition(b" ")[0].decode()) == whole[index:]
    position = whole[3].partition(b" ")[0].decode()
    file.write(b"line number 8\n")
    file.close()
    found = read(tmp_path, begin=position)
    assert found[:3] == whole[3:] and found[3].endswith(b" line number 8")


def test_a_position_that_is_gone_begins_with_what_is_left_under_another_position(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"one\ntwo\nthree")
    inode = (tmp_path / "stdout").stat().st_ino
    whole = read(tmp_path, tail=100)
    assert whole == [b"%d:0 one" % inode, b"%d:4 two" % inode, b"%d:8 three" % inode]
    for gone in (f"{inode + 1}:4", f"{inode}:5", f"{inode}:13", f"{inode}:99"):
        assert read(tmp_path, begin=gone) == whole
    with pytest.raises(NoLog, match="no position in a process' log"):
        read(tmp_path, begin="2026-01-01T00:00:00Z")


def test_a_long_line_counts_as_several_and_none_is_lost_at_the_edge_of_a_piece(tmp_path: Path) -> None:
    text = b"x" * (LINE_BYTES + 10) + b"\n" + b"y" * 300_000 + b"\n" + b"z" * LINE_BYTES + b"\nend\n" + b"w" * 100_000
    (tmp_path / "stdout").write_bytes(text)
    whole = read(tmp_path, tail=100)
    assert b"".join(line.partition(b" ")[2] for line in whole) == text.replace(b"\n", b"")
    inode = (tmp_path / "stdout").stat().st_ino
    begins = [0, LINE_BYTES + 11, LINE_BYTES + 300_012, 2 * LINE_BYTES + 300_013, 2 * LINE_BYTES + 300_017]
    counted = [(begins[0], 2), (begins[1], 5), (begins[2], 1), (begins[3], 1), (begins[4], 2)]
    assert positions(whole) == [f"{inode}:{at}" + f"+{n}" * (n > 0) for at, count in counted for n in range(count)]
    for index, position in enumerate(positions(whole)):
        assert read(tmp_path, begin=position) == whole[index:]
    for lines, index in ((1, 9), (2, 8), (4, 2)):
        assert read(tmp_path, tail=lines) == whole[index:]


def test_a_long_line_that_a_rotation_cuts_is_gone_on_with_from_any_piece(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "stdout", 150_000, FILES_MAX)
    written = [b"first\n" + b"x" * 100_000, b"x" * 100_000 + b"\n", b"last\n"]
    for data in written:
        file.write(data)
    file.close()
    whole = read(tmp_path, tail=100)
    assert b"".join(line.partition(b" ")[2] for line in whole) == b"".join(written).replace(b"\n", b"")
    begin = f"{(tmp_path / 'stdout.1').stat().st_ino}:6"
    assert positions(whole)[1:-1] == [begin, f"{begin}+1", f"{begin}+2", f"{begin}+3"]
    for index, position in enumerate(positions(whole)):
        assert read(tmp_path, begin=position) == whole[index:]
    assert read(tmp_path, begin=f"{begin}+9") == whole[-1:]  # the next line that is there


def test_who_follows_a_log_from_now_on_gets_positions_of_lines_that_begin_there(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"one\ntw")
    inode = (tmp_path / "stdout").stat().st_ino
    assert read(tmp_path, tail=0, follow=True) == [b"%d:4 tw" % inode]
    assert read(tmp_path, tail=0) == []
    (tmp_path / "stdout").write_bytes(b"one\ntwo\n")
    assert read(tmp_path, tail=0, follow=True) == []
