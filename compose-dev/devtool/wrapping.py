"""Wraps documents at 100 columns, so that a changed word is a changed line. ``./dev docs`` calls it.

Only paragraphs and list items with a line that is too long are wrapped anew. Tables, code, headings and whatever cannot be broken
stay as they are; a link with a short text and a piece of code stay on one line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

COLUMNS = 100

_ITEM = re.compile(r"( *)([-*]|\d+\.) +")
_KEPT = re.compile(r"`[^`]{1,70}`|\[[^\]]{1,50}\]\([^)]*\)")
#: What would mean something else at the begin of a line.
_MARK = re.compile(r" ([-+*#>]|\d+\.) ")
_SPACE = "\0"  #: one that no line is broken at


def wrap_files(root: Path, names: list[str]) -> list[str]:
    """Wrap the documents that have too long lines. Return their names."""
    changed = []
    for name in names:
        path = root / name
        text = path.read_text()
        if (now := wrapped(text)) != text:
            path.write_text(now)
            changed.append(name)
    return changed


def too_long(line: str) -> bool:
    """Return whether a line of a paragraph is too long and can be broken."""
    return len(line) > COLUMNS and " " in _KEPT.sub("x", _ITEM.sub("", line, count=1)).strip()


def long_lines(text: str) -> list[int]:
    """Return the numbers of the lines that are too long, from 1."""
    return [first + index for first, block in _blocks(text) for index, line in enumerate(block) if too_long(line)]


def wrapped(text: str) -> str:
    """Return the text with no line that is too long."""
    lines = text.split("\n")
    for first, block in reversed(list(_blocks(text))):
        if any(map(too_long, block)):
            lines[first - 1 : first - 1 + len(block)] = _wrap(block)
    return "\n".join(lines)


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each paragraph and each list item with the number of its first line."""
    block: list[str] = []
    fenced = False
    number = 0
    for number, line in enumerate(text.split("\n"), 1):
        fence = line.lstrip().startswith("```")
        apart = fenced or fence or not line.strip() or line.startswith(("|", "#", "<", ">"))
        apart = apart or (not block and line.startswith("    "))
        if block and (apart or _ITEM.match(line)):
            yield number - len(block), block
            block = []
        if not apart:
            block.append(line)
        fenced ^= fence
    if block:
        yield number + 1 - len(block), block


def _wrap(block: list[str]) -> list[str]:
    item = _ITEM.match(block[0])
    begin = f"{item[1]}{item[2]} " if item else " " * (len(block[0]) - len(block[0].lstrip()))
    text = " ".join(line.strip() for line in [block[0][item.end() :] if item else block[0], *block[1:]])
    text = _KEPT.sub(lambda kept: kept[0].replace(" ", _SPACE), text)
    lines = textwrap.wrap(
        _MARK.sub(rf"{_SPACE}\1 ", text),
        COLUMNS,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_SPACE, " ") for line in lines]
