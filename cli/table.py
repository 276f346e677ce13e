"""Tables that fit a terminal: ids stay whole, other columns give way. In a pipe each row is one line, whole and plain.

Where ids leave prose no room beside them, it stands below them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

#: Between two columns.
_GAP: Final = "  "
_NOTHING: Final = "-"
#: Narrower than this a column says nothing, and the last that may be cut goes. Words, figures and ages are seldom wider, and so
#: are seldom cut.
_LEAST: Final = 12


@dataclass(frozen=True)
class Column:
    """``give``: how it gives way: never, by being cut, or by being folded between words."""

    name: str
    give: Literal["never", "cut", "fold"] = "cut"

    @property
    def least(self) -> int:
        """Return the fewest characters it may be given."""
        return max(len(self.name), _LEAST)


@dataclass(frozen=True)
class Table:
    """Rows under the columns' names; without ``header`` just rows, their first column being names."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    header: bool = True

    def names(self) -> list[str]:
        """Return what the rows are called, where each has a name of its own."""
        return [_plain(row[0]) for row in self.rows] if self.header and self.columns[0].give == "never" else []

    def lines(self, width: int | None, more: str = "...") -> Iterator[str]:
        """Yield the lines for a terminal of so many characters, or for a pipe. ``more`` marks what was cut."""
        cells = [[_plain(item) for item in row] for row in self.rows]
        heads = [column.name if self.header else "" for column in self.columns]
        wanted = [max(map(len, texts)) for texts in zip(heads, *cells, strict=True)]
        shown = _fitted(self.columns, wanted, width)
        prose = [index for index, _ in shown if self.columns[index].give == "fold"]
        if self.header and prose and width is not None and _width([size for _, size in shown]) > width:
            yield from self._below(cells, width)
            return
        if self.header:
            yield _joined([(heads[index], size) for index, size in shown])
        for row in cells:
            yield from _row([(self.columns[index], row[index], size) for index, size in shown], more)

    def _below(self, cells: Sequence[Sequence[str]], width: int) -> Iterator[str]:
        """Yield ids on lines of their own, with all else below them under its name."""
        names = [index for index, column in enumerate(self.columns) if column.give == "never"]
        others = [index for index, column in enumerate(self.columns) if column.give != "never"]
        size = max(len(self.columns[index].name) for index in others)
        yield _GAP.join(self.columns[index].name for index in names)
        for row in cells:
            yield _GAP.join(row[index] for index in names)
            for index in others:
                if row[index] == _NOTHING:
                    continue
                texts = textwrap.wrap(
                    row[index], max(width - size - 2 * len(_GAP), _LEAST), break_long_words=False, break_on_hyphens=False
                )
                for number, text in enumerate(texts or [row[index]]):
                    yield _joined([("", 0), ("" if number else self.columns[index].name, size), (text, 0)])


def _plain(item: object) -> str:
    """Return a cell's text on one line, without what a terminal would take for a command."""
    text = _NOTHING if item in (None, "") else str(item)
    return "".join(character if character.isprintable() else " " for character in text)


def _width(sizes: Collection[int]) -> int:
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)


def _fitted(columns: Sequence[Column], wanted: Sequence[int], width: int | None) -> list[tuple[int, int]]:
    """Return the columns to show, by index, and how wide: the widest of those that can give way first."""
    sizes = dict(enumerate(wanted))
    if width is None:
        return list(sizes.items())

    def excess() -> int:
        return _width(sizes.values()) - width

    while excess() > 0:
        able = [index for index, size in sizes.items() if columns[index].give != "never" and size > columns[index].least]
        if able:
            widest = max(able, key=lambda index: sizes[index] - columns[index].least)
            sizes[widest] -= 1
            continue
        droppable = [index for index in sizes if columns[index].give == "cut"]
        if not droppable:
            break  # ids run over the edge rather than into pieces
        del sizes[droppable[-1]]
        # What was made narrow for it may have its room.
        sizes = {index: wanted[index] for index in sizes}
    return list(sizes.items())


def _row(cells: Iterable[tuple[Column, str, int]], more: str) -> Iterator[str]:
    folded: list[tuple[list[str], int]] = []
    for column, text, size in cells:
        if len(text) <= size or column.give == "never":
            lines = [text]
        elif column.give == "fold":
            lines = textwrap.wrap(text, size, break_long_words=False, break_on_hyphens=False) or [text]
        else:
            lines = [text[: max(size - len(more), 0)] + more[:size]]
        folded.append((lines, size))
    for number in range(max(len(lines) for lines, _ in folded)):
        yield _joined([(lines[number] if number < len(lines) else "", size) for lines, size in folded])


def _joined(cells: Sequence[tuple[str, int]]) -> str:
    return _GAP.join(text.ljust(size) for text, size in cells).rstrip()
