"""``eratos exec`` and ``forward`` as processes of their own, with pipes and with a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from support.tunnel_world import APP, TOKENS, World
from support.waiting import until


def command_line(world: World, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "ERATOS_URL": world.url, "ERATOS_TOKEN": TOKENS["operator"]}
    command = [sys.executable, "-P", "-m", "eratos.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False, **more)


def test_the_command_line_hands_on_input_output_and_exit_code(world: World, tmp_path: Path) -> None:
    (task,) = world.running()
    (tmp_path / "in").write_bytes(b"from a file\n")
    with (tmp_path / "in").open("rb") as file:
        done = command_line(world, "exec", APP, "-i", "--", "sh", "-c", "cat; echo oh >&2; exit 7", stdin=file)
    assert (done.stdout, done.returncode) == (b"from a file\n", 7)
    assert b"oh\n" in done.stderr
    assert task.split(".")[0].encode() in done.stderr
    assert command_line(world, "exec", APP, "--", "cat", input=b"not sent").stdout == b""


def test_a_terminal_that_is_none_is_refused(world: World) -> None:
    world.running()
    done = command_line(world, "exec", APP, "-it", "--", "sh", input=b"")
    assert (done.returncode, b"-t needs a terminal" in done.stderr) == (1, True)


def test_a_shell_has_the_terminals_size_and_its_keys(world: World) -> None:
    world.running()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    before = termios.tcgetattr(theirs)
    env = {**os.environ, "ERATOS_URL": world.url, "ERATOS_TOKEN": TOKENS["operator"]}
    env = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
    script = "trap 'exit 5' INT; while :; do stty size; sleep 0.1; done"
    command = [sys.executable, "-P", "-m", "eratos.cli", "exec", APP, "-it", "--", "sh", "-c", script]
    seen = bytearray()

    def reads(text: bytes) -> bool:
        if select.select([ours], [], [], 0)[0]:
            seen.extend(os.read(ours, 65536))
        return text in seen

    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True) as process:
        try:
            until(lambda: reads(b"33 101"), 20, "the shell has the terminal's size")
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 120, 0, 0))
            process.send_signal(signal.SIGWINCH)  # as the terminal's own would
            until(lambda: reads(b"44 120"), 20, "the new size has arrived")
            os.write(ours, b"\x03")
            assert process.wait(20) == 5
        finally:
            process.kill()  # leaving waits for its end
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("text", ["3306", "x:/app", "70000:/app", "1:/app:a:b", "127.0.0.1:1:/app"])
def test_a_mapping_that_is_none_is_wrong_usage(world: World, text: str) -> None:
    done = command_line(world, "forward", text)
    assert (done.returncode, text.encode() in done.stderr) == (2, True)
