"""The site: its contents, its pictures, and that a dead link fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from devtool.site import contents, flowchart, sphinx
from support.folders import ROOT


def test_contents_are_lists_below_headings() -> None:
    text = "# T\n\nSee [x](x.md).\n\n## One\n\n- [A](a.md): first\n- [B](../b/README.md)\n\n## Two\n\n- [C](c.md)\n"
    assert contents.parts(text) == [("One", ["docs/a", "b/README"]), ("Two", ["docs/c"])]


def test_navigation_is_added_to_the_contents_alone_and_folders_lead_to_their_page() -> None:
    assert ":caption: One\n\n/docs/a\n" in contents.prepared(contents.CONTENTS, "## One\n\n- [A](a.md)\n")
    assert "\n0*\n" in contents.prepared(contents.RECORDS, "# Records\n")
    assert contents.prepared("README", "[a](x/y/) [b](https://x.example/) [c](z.md)") == (
        "[a](x/y/README.md) [b](https://x.example/) [c](z.md)"
    )


def test_a_flowchart_is_nodes_and_arrows() -> None:
    chart = flowchart.parse("flowchart LR\n a[A, b] -->|x, y| b & c\n subgraph in[the inside]\n c -.-> d[(D)]\n end\n")
    assert chart.nodes == {"a": "A, b", "b": "b", "c": "c", "d": "D"}
    assert chart.arrows == [("a", "b", "x, y", False), ("a", "c", "x, y", False), ("c", "d", "", True)]


def test_a_circle_has_layers_all_the_same() -> None:
    chart = flowchart.parse("flowchart LR\n a --> b --> c --> a\n late --> c\n")
    assert flowchart.layers(chart) == [["a"], ["b", "late"], ["c"]]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("graph LR\n a --> b", "graph LR"),
        ("flowchart LR\n a ==> b", "a ==> b"),
        ("flowchart LR\n a -->", "a -->"),
        ("flowchart LR\n a{x} --> b", "a{x} --> b"),
    ],
)
def test_what_is_not_understood_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        flowchart.svg(text)


def test_texts_of_a_picture_are_no_markup() -> None:
    assert "<script>" not in flowchart.svg("flowchart LR\n a[<script>] -->|<b>| b")


def built(folder: Path, *pages: str) -> subprocess.CompletedProcess[str]:
    """Check documents of the test's with the repository's own configuration: each page beside one that it may lead to."""
    docs = folder / "docs"
    docs.mkdir()
    listed = "".join(f"- [Page {number}](page{number}.md)\n" for number in range(len(pages)))
    (docs / "README.md").write_text(f"# Contents\n\n## One\n\n- [Other](other.md)\n{listed}")
    (docs / "other.md").write_text("# Other\n\n## There it is\n")
    for number, page in enumerate(pages):
        (docs / f"page{number}.md").write_text(f"# Page\n\n## Text\n\n{page}\n")
    command = sphinx.command(Path(sys.executable), "dummy", folder / "out")
    command[command.index("-d") + 1] = str(folder / "trees")
    command[command.index(str(ROOT))] = str(folder)
    return subprocess.run(
        [*command, "-D", "include_patterns=docs/*.md"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "compose-dev")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_leads_somewhere_passes(tmp_path: Path) -> None:
    done = built(tmp_path, "[a](other.md) [b](other.md#there-it-is)")
    assert done.returncode == 0, done.stderr


def test_what_leads_nowhere_fails_and_is_named(tmp_path: Path) -> None:
    wrong = {
        "[a](gone.md)": "gone.md",
        "[a](other.md#gone)": "gone",
        "[a](#gone)": "gone",
        "```mermaid\nflowchart LR\n  a ==> b\n```": "a ==> b",
    }
    done = built(tmp_path, *wrong)
    assert done.returncode != 0
    for number, complaint in enumerate(wrong.values()):
        lines = [line for line in done.stderr.splitlines() if f"page{number}.md" in line]
        assert any(complaint in line for line in lines), (complaint, done.stderr)
