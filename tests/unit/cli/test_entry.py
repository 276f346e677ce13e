"""The scripts that pip installs, where the half of eratos that they need is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.folders import ROOT

#: Import and run a script's function with one of its libraries away; an import then fails as if it were not installed.
_WITHOUT = """
import sys
sys.modules[{library!r}] = None
sys.argv = [{script!r}, *{arguments!r}]
from {module} import main
main()
"""
SCRIPTS = {
    "eratos": ("eratos.cli.__main__", "click", "cli"),
    "eratos-scheduler": ("eratos.scheduler.__main__", "fastapi", "scheduler"),
    "eratos-executor": ("eratos.executor.script", "consul", "executor"),
}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | environment)


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_libraries_are_named_with_the_command_to_install_them(script: str) -> None:
    module, library, extra = SCRIPTS[script]
    ended = run(_WITHOUT.format(script=script, module=module, library=library, arguments=[]))
    assert ended.returncode == 1
    assert ended.stderr == f"{script}: {library} is not installed: pip install 'eratos[{extra}]'\n"


def companion(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = _WITHOUT.format(script="eratos-companion", module="eratos.haproxy.__main__", library="none", arguments=arguments)
    return run(code, **environment)


def test_the_companion_explains_itself_instead_of_starting() -> None:
    shown = companion("--help")
    assert shown.returncode == 0
    assert "beside HAProxy" in shown.stdout
    assert companion("start").returncode == 2


def test_a_companion_without_a_balancer_does_not_start(tmp_path: Path) -> None:
    ended = companion(PATH=str(tmp_path))
    assert ended.returncode == 1
    assert "haproxy is not installed here" in ended.stderr


def test_every_script_is_covered() -> None:
    named = (ROOT / "setup.cfg").read_text().partition("console_scripts =")[2].split("\n\n")[0]
    assert {line.split("=")[0].strip() for line in named.strip().splitlines()} == {*SCRIPTS, "eratos-companion"}


#: What takes longer to import than a command that only shows takes to run.
_HEAVY = ("pydantic", "requests", "rich", "yaml", "tempfile", "eratos.marathon.app")
_IMPORTED = """
import sys
from eratos.cli.main import run
run({arguments!r})
print("IMPORTED", *(name for name in {heavy!r} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], {"tempfile"}),
        (["app", "scale", "--help"], set()),
        (["app", "list", "--url", "http://127.0.0.1:1"], {"requests", "tempfile"}),
        (["queue", "--url", "http://127.0.0.1:1"], {"requests", "tempfile"}),
    ],
)
def test_no_command_waits_for_a_library_that_it_does_not_need(arguments: list[str], allowed: set[str]) -> None:
    ended = run(_IMPORTED.format(arguments=arguments, heavy=_HEAVY))
    imported = ended.stdout.splitlines()[-1].split()
    assert imported[0] == "IMPORTED", ended.stderr
    assert set(imported[1:]) <= allowed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_complete(shell: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "eratos.cli", "--completion", shell], capture_output=True, text=True, check=True, timeout=60
    )
    assert f"_ERATOS_COMPLETE={shell}_complete" in ended.stdout


def ends(arguments: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell that redirects its standard output."""
    command = f'"$0" -P -m eratos.cli {arguments} {redirection}'
    return subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_sees_no_traceback(unbuffered: str) -> None:
    """As with ``eratos --help | head -1``; the pipe's reading end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-P", "-m", "eratos.cli", "--help"]
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=env)
    os.close(writing)
    assert ended.stderr == ""
    assert ended.returncode == 141


def test_an_input_that_was_closed_is_an_empty_one() -> None:
    ended = ends("app apply -", "<&-")
    assert (ended.returncode, ended.stderr) == (2, "eratos: standard input is empty: write an app, a list of apps or a group\n")


def test_an_output_that_was_closed_is_no_fault() -> None:
    ended = ends("--version", ">&-")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_full_disk_is_named() -> None:
    ended = ends("--help", ">/dev/full")
    assert (ended.returncode, ended.stderr) == (1, "eratos: the result could not be written: No space left on device\n")
