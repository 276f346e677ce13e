"""docs/licences.md: written by `./dev licences`, and read again: for what is known, by tests, for bills of materials."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from ..images import IMAGES
from ..settings import ROOT
from .parts import DEBIAN, GO, NPM, OTHER, PYTHON, Part

PAGE = ROOT / "docs" / "licences.md"

_HEAD = """# Licences

eratos itself stands under [Apache-2.0](../LICENSE). This page names everything that is installed
with it, built into it or used to build and test it. `./dev licences` writes it: what there is, is
taken from lock files and images; its licence from the package itself, in
[SPDX's names](https://spdx.org/licenses/). Tests fail where a lock file names what is not here, or
a licence is not among those that are known (`compose-dev/devtool/licences/texts.py`).

**Consul is not free software**: since its version 1.17 it stands under the Business Source License
(BUSL-1.1), which forbids to offer it to others as a competing service. Nothing of it is in eratos;
only the local cluster builds it. Which version yours has, and where it is reached, is your choice
([ADR 41](adr/0041-consul-is-the-users-choice.md)).

A bill of materials of each image and of the Python package, in CycloneDX' form, comes from
`./dev sbom` ([dependencies.md](dependencies.md#bills-of-materials)).
"""
_SECTIONS = (
    (PYTHON, "Python packages", "Versions are those of `requirements/`. `dev` is for development alone."),
    (NPM, "npm packages", "In `dashboard/package-lock.json`. What is for building alone is not served."),
    (GO, "Go modules", "Those that are compiled into a program of an image."),
    (
        DEBIAN,
        "Debian packages",
        "By source package, with all licences that its copyright file names, where parts of a package have their own; what has "
        "no name beyond that file is left to it. All are of Debian's `main`, which is free software. Versions are of the day.",
    ),
    (OTHER, "Others", "What no package manager knows of."),
)
_EVERYWHERE = "every image"
_ROW = re.compile(r"^\| (.+?) \| (.*?) \| (.*?) \| (.*?) \|$")


def write(parts: Iterable[Part]) -> str:
    """Return the page."""
    found = sorted(parts, key=lambda part: (part.name.lower(), part.version))
    text = _HEAD
    for kind, title, about in _SECTIONS:
        text += f"\n## {title}\n\n{textwrap.fill(about, 100)}\n\n| name | version | licence | in |\n| --- | --- | --- | --- |\n"
        rows = [(part.name, part.version, part.licence, _where(part.where)) for part in found if part.kind == kind]
        text += "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return text


def _where(places: tuple[str, ...]) -> str:
    return _EVERYWHERE if set(places) == set(IMAGES) else ", ".join(places)


def read(text: str) -> list[Part]:
    """Return the parts of a page."""
    kinds = {title: kind for kind, title, _ in _SECTIONS}
    found, kind = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            kind = kinds.get(line[3:], "")
        row = _ROW.match(line)
        if row and kind and row[1] not in ("name", "---"):
            where = sorted(IMAGES) if row[4] == _EVERYWHERE else row[4].split(", ")
            found.append(Part(kind, row[1], row[2], tuple(where), row[3]))
    return found


def current() -> list[Part]:
    """Return the parts of docs/licences.md, none where it is not there."""
    return read(PAGE.read_text()) if PAGE.exists() else []
