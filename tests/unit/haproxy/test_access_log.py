"""From HAProxy's pipe to rotated files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from support.waiting import until

from eratos.haproxy import config
from eratos.haproxy.access_log import AccessLog


def settings(folder: Path, **more: str) -> config.Config:
    return config.read({"ERATOS_STATE_DIR": str(folder), "ERATOS_LOG_DIR": str(folder), **more})


def request(folder: Path, *lines: bytes) -> None:
    """Write lines as HAProxy does, which opens the pipe for both ways so as never to wait for a reader."""
    pipe = os.open(folder / "requests", os.O_RDWR)
    for line in lines:
        os.write(pipe, line)
    os.close(pipe)


def test_lines_are_carried_to_the_file_until_stopped_and_the_last_ones_too(tmp_path: Path) -> None:
    with closing(AccessLog(settings(tmp_path))) as access_log:
        stop = threading.Event()
        watch = threading.Thread(target=access_log.watch, args=(stop,))
        watch.start()
        request(tmp_path, b"one\n")
        until(lambda: (tmp_path / "current").read_bytes() == b"one\n", 5, "the first line is there")
        request(tmp_path, b"two\n")
        stop.set()
        watch.join()
    assert (tmp_path / "current").read_bytes() == b"one\ntwo\n"


def test_what_haproxy_finds_out_about_servers_is_handed_on(tmp_path: Path) -> None:
    called: list[bool] = []
    with closing(AccessLog(settings(tmp_path), lambda: called.append(True))) as access_log:
        for line, expected in (
            (b'10.0.0.1 "GET /Server%20a/b%20is%20DOWN HTTP/1.1"\n', 0),
            (b"Server app/eratos-a.instance-1._app.1 is DOWN, reason: Layer4 timeout\n", 1),
            (b"Server app/eratos-a.instance-1._app.1 is UP, reason: Layer4 check passed\n", 2),
            (b"Server app/eratos-a.instance-1._app.1 is going DOWN for maintenance\n", 2),
        ):
            request(tmp_path, line)
            access_log.drain()
            assert len(called) == expected


def test_the_files_are_opened_the_newest_first_with_what_was_logged_last(tmp_path: Path) -> None:
    with closing(AccessLog(settings(tmp_path, ERATOS_LOG_FILE_BYTES="5", ERATOS_LOG_FILES="3"))) as access_log:
        for line in (b"lost\n", b"oldest\n", b"older\n"):
            request(tmp_path, line)
            access_log.drain()
        request(tmp_path, b"newest\n")
        with ExitStack() as stack:
            files = [stack.enter_context(file) for file in access_log.files()]
            request(tmp_path, b"later\n")  # files change their names meanwhile
            access_log.drain()
            assert [file.read() for file in files] == [b"newest\n", b"older\n", b"oldest\n"]


def test_no_more_files_are_opened_than_a_process_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eratos.haproxy.access_log._OPENED_MOST", 2)
    with closing(AccessLog(settings(tmp_path, ERATOS_LOG_FILE_BYTES="1", ERATOS_LOG_FILES="5"))) as log:
        for line in (b"1\n", b"2\n", b"3\n", b"4\n"):
            request(tmp_path, line)
            log.drain()
        with ExitStack() as stack:
            assert [stack.enter_context(file).read() for file in log.files()] == [b"4\n", b"3\n"]


def test_files_that_are_not_there_yet_are_left_out(tmp_path: Path) -> None:
    with closing(AccessLog(settings(tmp_path))) as access_log:
        request(tmp_path, b"only\n")
        (file,) = access_log.files()
        with file:
            assert file.read() == b"only\n"


def test_a_companion_that_is_started_again_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    for line in (b"12345678\n", b"after\n"):
        with closing(AccessLog(settings(tmp_path, ERATOS_LOG_FILE_BYTES="10"))) as access_log:
            request(tmp_path, line)
            access_log.drain()
    assert [(tmp_path / name).read_bytes() for name in ("current", "current.1")] == [b"after\n", b"12345678\n"]


def test_what_an_ended_haproxy_has_left_is_taken_by_a_command(tmp_path: Path) -> None:
    environment = os.environ | {"ERATOS_STATE_DIR": str(tmp_path), "ERATOS_LOG_DIR": str(tmp_path)}
    # A pipe keeps what was written for as long as anybody has it open.
    with closing(AccessLog(settings(tmp_path))):
        request(tmp_path, b"last\n")
        subprocess.run([sys.executable, "-P", "-m", "eratos.haproxy.access_log"], env=environment, timeout=30, check=True)
    assert (tmp_path / "current").read_bytes() == b"last\n"
