"""The map of the modules in docs/architecture.md has every module once, and no other."""

from __future__ import annotations

import re
from collections import Counter

from support.folders import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text().partition("## Map of the modules")[2].partition("\n## ")[0]
#: What each top folder holds, packages below it included; mesos/pymesos/ is a copy.
FOLDERS = ("scheduler", "executor", "haproxy", "mesos", "marathon", "common", "cli")


def modules() -> Counter[str]:
    found: Counter[str] = Counter()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "__init__.py" and not {"build", "pymesos"} & {*path.parts}:
                found[str(path.relative_to(ROOT).with_suffix(""))] += 1
    return found


def on_the_map() -> Counter[str]:
    """Read the tables: a header names the folder, the first cell of a row may name one below it before a colon."""
    found: Counter[str] = Counter()
    folder = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        if header := re.match(r"`([\w/]*/)`$", cells[0]):
            if cells[-1] in ("decides", "does"):
                folder = header[1]
                continue
            names = cells[1]
            prefix = header[1]
        elif cells[0] == "other folders":
            continue
        else:
            below = re.match(r"`(\w+/)`: ", cells[0])
            prefix = folder + (below[1] if below else "")
            names = cells[0]
        for name in re.findall(r"`(\w+/)?(\w+)`", names):
            found[prefix + "".join(name)] += 1
    return found


def test_every_module_is_on_the_map_once() -> None:
    there, shown = modules(), on_the_map()
    assert not there - shown, "not on the map of docs/architecture.md"
    assert not shown - there, "on the map, but no module, or there twice"
