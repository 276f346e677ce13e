"""Which apps a query ``label=`` means (Marathon's LabelSelector.scala). Pure.

``a`` has the label, ``a==b`` with that value, ``a!=b`` with another; ``a in (b, c)`` with one of these, ``a notin (b, c)`` with
another. Commas between them mean *and*. A backslash takes the next character as it is; unlike in Marathon that is needed only
for those that have a meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

#: Selectors, and values of one, in one request.
SELECTORS_MOST: Final = 100

_TERM = re.compile(r"(?:\\.|[^\\\s,()=!])+", re.DOTALL)
_BLANKS = re.compile(r"\s*")
_SET = re.compile(r"(in|notin)(?=[\s(])")


class Selector(NamedTuple):
    """One condition; ``values`` is None where any will do."""

    key: str
    values: frozenset[str] | None = None
    wanted: bool = True  #: whether the label has to have one of the values, or another

    def fits(self, labels: Mapping[str, str]) -> bool:
        if self.key not in labels:
            return False
        return self.values is None or (labels[self.key] in self.values) is self.wanted


def parse(text: str) -> tuple[Selector, ...]:
    """Read a query; an empty one selects everything. Raises ValueError with the place of what is wrong."""
    reader = _Reader(text)
    if reader.at_end():
        return ()
    found = [reader.selector()]
    while not reader.at_end():
        reader.expect(",")
        found.append(reader.selector())
        if len(found) > SELECTORS_MOST:
            raise ValueError(f"holds more than {SELECTORS_MOST} selectors")
    return tuple(found)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        self._skip_blanks()
        return self._at == len(self._text)

    def selector(self) -> Selector:
        key = self._term("a label's name")
        self._skip_blanks()
        for operator, wanted in (("==", True), ("!=", False)):
            if self._text.startswith(operator, self._at):
                self._at += len(operator)
                return Selector(key, frozenset({self._term("a value")}), wanted)
        if word := _SET.match(self._text, self._at):
            self._at = word.end()
            return Selector(key, self._set(), word[1] == "in")
        return Selector(key)

    def expect(self, character: str) -> None:
        self._skip_blanks()
        if not self._text.startswith(character, self._at):
            raise self._error(f"'{character}'")
        self._at += 1

    def _set(self) -> frozenset[str]:
        self.expect("(")
        self._skip_blanks()
        values: list[str] = []
        while not self._text.startswith(")", self._at):
            if values:
                self.expect(",")
            values.append(self._term("a value"))
            if len(values) > SELECTORS_MOST:
                raise ValueError(f"holds a set of more than {SELECTORS_MOST} values")
            self._skip_blanks()
        self._at += 1
        return frozenset(values)

    def _term(self, what: str) -> str:
        self._skip_blanks()
        found = _TERM.match(self._text, self._at)
        if found is None:
            raise self._error(what)
        self._at = found.end()
        return re.sub(r"\\(.)", r"\1", found[0], flags=re.DOTALL)

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None, "no blanks are blanks as well"
        self._at = blanks.end()

    def _error(self, what: str) -> ValueError:
        where = f"at character {self._at + 1}" if self._at < len(self._text) else "at its end"
        return ValueError(f"is no label selector: {where} {what} is expected; use a, a==b, a!=b, a in (b, c) or a notin (b, c)")
