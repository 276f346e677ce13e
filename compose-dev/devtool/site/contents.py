"""The table of contents: docs/README.md, a page of plain Markdown, is the only place where it stands.

Each list below a heading of that page is a part of the site's navigation. Sphinx wants a ``toctree`` for it, which would be
noise to readers of the Markdown, so it is made here, when the page is read.
"""

from __future__ import annotations

import posixpath
import re

#: The page with the contents, as Sphinx names pages: from the root of the repository, without the suffix.
CONTENTS = "docs/README"
#: The page above the records of decisions, which lists all that are there.
RECORDS = "docs/adr/README"

_PART = re.compile(r"^## +(.+?) *$", re.MULTILINE)
_ENTRY = re.compile(r"^[-*] +\[[^\]]+\]\(([^)#\s]+)\.md\)", re.MULTILINE)
_FOLDER_LINK = re.compile(r"(\]\((?![a-z]+:)[^)#\s]*/)\)")


def prepared(name: str, text: str) -> str:
    """Return a page as Sphinx shall read it: with its part of the navigation, and links to folders led to their README."""
    text = _FOLDER_LINK.sub(r"\1README.md)", text)
    if name == CONTENTS:
        return text + "".join(_toctree(caption, entries) for caption, entries in parts(text))
    if name == RECORDS:
        return text + "\n```{toctree}\n:glob:\n:maxdepth: 1\n\n0*\n```\n"
    return text


def parts(text: str) -> list[tuple[str, list[str]]]:
    """Return the parts of the contents, each with its heading and its pages, from the root of the repository."""
    pieces = _PART.split(text)[1:]
    folder = posixpath.dirname(CONTENTS)
    return [
        (heading, [posixpath.normpath(posixpath.join(folder, page)) for page in _ENTRY.findall(body)])
        for heading, body in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def _toctree(caption: str, pages: list[str]) -> str:
    entries = "".join(f"/{page}\n" for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}```\n"
