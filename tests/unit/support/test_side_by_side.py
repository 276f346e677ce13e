"""Tests run side by side: each once, with its report, whatever becomes of the process that it runs in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.folders import ROOT
from support.side_by_side import pieces

#: Every outcome that a test has, and a fixture for all of them.
SUITE = """
import os, warnings
from pathlib import Path
import pytest
from support.waiting import until

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    yield tmp_path_factory.mktemp("shared")
    Path("ended").mkdir(exist_ok=True)
    (Path("ended") / str(os.getpid())).touch()

@pytest.fixture
def broken():
    yield
    raise ValueError("at its end")

@pytest.mark.parametrize("number", range(20))
def test_passes(folder, number):
    print("printed by", number)
    Path(f"ran-{number}-{os.getpid()}").touch()
    if not number:
        until(lambda: len({path.name.split("-")[2] for path in Path().glob("ran-*")}) > 1, 60, "another process runs tests")

def test_fails(folder):
    print("what it printed")
    assert [1, 2] == [1, 3]

def test_breaks_at_its_end(folder, broken): pass

def test_is_skipped(): pytest.skip("for a reason")

@pytest.mark.xfail
def test_is_known_to_fail(): assert False

def test_warns(): warnings.warn("take care")
"""


def run(folder: Path, suite: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(suite)
    plugins = ["-p", "support.side_by_side", "-p", "no:cacheprovider"]
    command = [sys.executable, "-P", "-m", "pytest", *plugins, *options, "test_it.py"]
    environment = {"PYTHONPATH": str(ROOT / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(("tests", "processes"), [(0, 2), (1, 2), (5, 3), (10_000, 3)])
def test_every_test_is_dealt_out_once_and_the_last_ones_singly(tests: int, processes: int) -> None:
    dealt = list(pieces(tests, processes))
    assert [number for piece in dealt for number in range(*piece)] == list(range(tests))
    sizes = [end - begin for begin, end in dealt]
    assert sizes == sorted(sizes, reverse=True) and sizes[-processes:] == [1] * min(tests, processes)


def test_each_test_runs_once_and_is_shown_as_ever(tmp_path: Path) -> None:
    done = run(tmp_path, SUITE, "--processes=3", "-ra")
    assert done.returncode == 1
    shown = done.stdout
    assert "1 failed, 22 passed, 1 skipped, 1 xfailed, 1 warning, 1 error" in shown, shown
    assert "what it printed" in shown and "At index 1 diff: 2 != 3" in shown and "take care" in shown
    assert "printed by" not in shown and "for a reason" in shown
    assert re.search(r"ERROR test_it.py::test_breaks_at_its_end - ValueError: at its end", shown)
    ran = [path.name.split("-") for path in tmp_path.glob("ran-*")]
    assert sorted(int(number) for _, number, _ in ran) == list(range(20))
    # Each process has ended its own fixtures.
    processes = {process for _, _, process in ran}
    assert processes <= {path.name for path in (tmp_path / "ended").iterdir()} and len(processes) in (2, 3)


def test_a_process_that_dies_fails_the_run_and_its_test_is_named(tmp_path: Path) -> None:
    suite = "import os, pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_it(n): n != 4 or os.kill(os.getpid(), 9)\n"
    done = run(tmp_path, suite, "--processes=2")
    assert done.returncode == 1
    assert "a process of the tests ended with signal SIGKILL at test_it.py::test_it[4]" in done.stdout


def test_a_run_that_is_to_stop_ends_what_its_tests_have_made(tmp_path: Path) -> None:
    suite = """
import os, pathlib, pytest
@pytest.fixture(autouse=True, scope="module")
def made():
    pathlib.Path(f"made-{os.getpid()}").touch()
    yield
    pathlib.Path(f"ended-{os.getpid()}").touch()
@pytest.mark.parametrize("n", range(50))
def test_it(n): assert n
"""
    done = run(tmp_path, suite, "--processes=2", "-x")
    assert done.returncode == 1 and "stopping after 1 failures" in done.stdout, done.stdout
    made = {path.name.removeprefix("made-") for path in tmp_path.glob("made-*")}
    assert made and made == {path.name.removeprefix("ended-") for path in tmp_path.glob("ended-*")}
