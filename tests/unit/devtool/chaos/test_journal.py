"""What is undone after a cut: the journal of ``./dev chaos``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from devtool.alone import alone
from devtool.chaos import journal
from devtool.chaos.journal import Journal, restore
from devtool.terminal import Problem
from support.chaos import SETTINGS
from support.waiting import until

VERSION = ("docker", "version", "--format", "{{.Server.Version}}")


def test_what_was_not_undone_is_undone_by_the_next_run_the_last_first(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    book = Journal(tmp_path / "sub" / "journal")
    one = book.begin("one", [("docker", "start", "a")])
    book.begin("two", [("docker", "start", "b"), ("docker", "unpause", "b")])
    book.begin("three", [("docker", "start", "c")])
    book.undo(one)
    ran.clear()
    again = Journal(book.path)
    assert restore(again) == ["three", "two"]
    assert [words for words in ran if words != VERSION] == [
        ("docker", "start", "c"), ("docker", "start", "b"), ("docker", "unpause", "b"),
    ]  # fmt: skip
    assert again.left() == [] and not book.path.exists()
    assert restore(again) == []


def test_a_line_that_was_cut_off_is_of_a_fault_that_never_happened_and_spoils_no_other(
    tmp_path: Path, ran: list[tuple[str, ...]]
) -> None:
    book = Journal(tmp_path / "journal")
    book.begin("one", [("docker", "start", "a")])
    whole = book.path.read_text()
    book.begin("two", [("docker", "start", "b")])
    book.path.write_text(book.path.read_text()[: len(whole) + 20])
    assert [entry.what for entry in book.left()] == ["one"]
    book.begin("three", [])
    assert [entry.what for entry in book.left()] == ["three", "one"]


@pytest.mark.parametrize("garbage", ["", "\n\n", "[]", "null", '{"id": 1}', '{"undone": true}', '{"id":"a","what":"b","undo":3}'])
def test_garbage_in_a_journal_is_left_out(tmp_path: Path, garbage: str) -> None:
    path = tmp_path / "journal"
    path.write_text(garbage)
    assert Journal(path).left() == []


def test_nothing_counts_as_undone_while_the_engine_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "run", lambda *words, **more: "")
    book = Journal(tmp_path / "journal")
    book.begin("one", [("docker", "start", "a")])
    with pytest.raises(Problem, match="engine"):
        restore(book)
    assert [entry.what for entry in book.left()] == ["one"]


def test_what_a_killed_run_was_doing_has_ended_before_another_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devtool.alone.GENERATED", tmp_path)
    script = (
        "import pathlib, sys; from devtool import alone, settings, shell\n"
        "alone.GENERATED = pathlib.Path(sys.argv[1])\n"
        "with alone.alone(settings.Settings()):\n"
        "    shell.run(['sh', '-c', f'touch {sys.argv[1]}/begun; while [ ! -e {sys.argv[1]}/end ]; do sleep 0.05; done'],"
        " pass_fds=alone.held())\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={"PYTHONPATH": ":".join(sys.path)})
    try:
        until(lambda: (tmp_path / "begun").exists(), 20, "the command runs")
        run.kill()
        run.wait()
        with pytest.raises(Problem, match="another"), alone(SETTINGS):
            pass
    finally:
        (tmp_path / "end").touch()
    with alone(SETTINGS, wait_s=20):
        pass
