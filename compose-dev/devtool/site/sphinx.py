"""How Sphinx is started, and what the site needs beside what it writes.

This runs in any Python, Sphinx in the development's virtual environment.
"""

from __future__ import annotations

from pathlib import Path

from ..settings import GENERATED, ROOT
from .contents import CONTENTS


def command(python: Path, builder: str, folder: Path) -> list[str]:
    """Return the command that reads all documents and fails at the first thing that is wrong with any: -E, as what was read
    before would not be complained about again."""
    where = ["-c", str(ROOT / "compose-dev" / "devtool" / "site"), "-d", str(GENERATED / f"site-{builder}")]
    return [str(python), "-P", "-m", "sphinx", "-b", builder, "-E", "-q", "-W", "--keep-going", *where, str(ROOT), str(folder)]


def lead_to_contents(folder: Path) -> None:
    """Write the page that a visitor of the folder gets first."""
    target = f"{CONTENTS}.html"
    (folder / "index.html").write_text(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>eratos</title><meta http-equiv="refresh" content="0; '
        f'url={target}"><a href="{target}">The documentation of eratos</a></html>\n'
    )
