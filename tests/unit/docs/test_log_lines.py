"""docs/log-lines.md names each warning and error that a part logs, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.folders import DOCS, ROOT

PARTS = ("scheduler", "executor", "haproxy", "mesos", "common", "marathon")
LOUD = {"warning", "error", "exception", "critical"}
#: Covered by the page's own paragraph.
FAULT = "please report th"
#: Where the level is chosen as it runs: the sentence is the second argument.
CHOSEN = "log"


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the strings that a module names at its top."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)]
    return {ast.unparse(node.targets[0]): str(node.value.value) for node in assigned if isinstance(node.value, ast.Constant)}


def sentences(path: Path) -> Iterator[str]:
    """Yield what a module can log as a warning or worse, as it stands there."""
    tree = ast.parse(path.read_text())
    named = constants(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        said: ast.expr | None = None
        match node.func:
            case ast.Attribute(ast.Name("log" | "logger"), name) if name in LOUD:
                said = node.args[0]
            case ast.Attribute(ast.Name("log" | "logger"), name) if name == CHOSEN and "WARNING" in ast.unparse(node.args[0]):
                said = node.args[1]
            case ast.Name("Notice") if ast.unparse(node.args[0]) != "'info'":
                said = node.args[1]
        if said is not None:
            text = named.get(said.id, "") if isinstance(said, ast.Name) else ast.literal_eval(said)
            assert re.search("[a-z]{4}", text), f"{path}:{node.lineno} logs no sentence of its own"
            yield text


def normal(sentence: str) -> str:
    """Return a sentence with dots for what is filled in, without fields at its end."""
    return re.sub(r"[ :.]+$", "", re.sub(r"\S*%[sdr]", "...", sentence)).replace("`", "")


def test_each_line_has_its_advice_and_no_other() -> None:
    modules = [path for part in PARTS for path in (ROOT / part).rglob("*.py") if "pymesos" not in path.parts]
    logged = {normal(text) for path in modules for text in sentences(path) if FAULT not in text}
    assert len(logged) > 90
    rows = [row.split("|")[1:-1] for row in (DOCS / "log-lines.md").read_text().splitlines() if row.startswith("| `")]
    assert all(len(row) == 3 and row[2].strip() for row in rows)
    assert {row[0].strip().strip("`") for row in rows} == logged
