"""Documents are wrapped at 100 columns; ``./dev docs`` does it."""

from __future__ import annotations

import subprocess

import pytest
from devtool import wrapping
from support.folders import ROOT

ARCHITECTURE_LINES = 120
_LIST = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
_LISTED = subprocess.run(_LIST, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
DOCUMENTS = [name for name in _LISTED if (ROOT / name).is_file()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_wrapped(name: str) -> None:
    assert not wrapping.long_lines((ROOT / name).read_text()), "./dev docs wraps it"


def test_the_first_page_that_a_newcomer_reads_stays_short() -> None:
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= ARCHITECTURE_LINES


LONG = "word " * 30


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (LONG, [1]),
        ("x" * 101, []),  # cannot be broken
        ("- " + "x" * 101, []),
        (f"a\n\n{LONG}\n", [3]),
        (f"| {LONG} |", []),
        (f"```\n{LONG}\n```", []),
        (f"    {LONG}", []),
        (f"# {LONG}", []),
        (f"- short\n- {LONG}\n  more", [2]),
    ],
)
def test_what_is_too_long(text: str, lines: list[int]) -> None:
    assert wrapping.long_lines(text) == lines


@pytest.mark.parametrize("begin", ["", "- ", "12. ", "  - "])
def test_a_long_paragraph_is_wrapped_and_its_neighbours_are_left_alone(begin: str) -> None:
    before, after = "short lines\nstay", f"| {LONG} |"
    text = f"{before}\n\n{begin}{LONG.strip()}\n\n{after}\n"
    now = wrapping.wrapped(text)
    assert now.startswith(f"{before}\n\n{begin}word ")
    assert now.endswith(f"\n\n{after}\n")
    assert not wrapping.long_lines(now)
    assert now.split() == text.split()
    assert wrapping.wrapped(now) == now


def test_code_and_links_stay_whole_and_no_mark_begins_a_line() -> None:
    word = "x" * 92
    assert wrapping.wrapped(f"{word} `two words` [a link](b.md) end") == f"{word}\n`two words` [a link](b.md) end"
    assert wrapping.wrapped(f"{'x' * 90} word - more {word}") == f"{'x' * 90} word -\nmore {word}"
    assert wrapping.wrapped(f"{'x' * 94} word - more {word}") == f"{'x' * 94}\nword - more\n{word}"
