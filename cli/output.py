"""Where results and messages go: tables for people, JSON for scripts. What is no result goes to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal, TextIO, get_args

from eratos.common import log
from eratos.marathon.errors import Problem

from .table import Column, Table
from .tasks import short

#: ``wide``: as in a pipe, nothing cut off, folded or shortened. ``json``, ``yaml``: as the API gave it.
Form = Literal["table", "wide", "json", "yaml"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
#: Of terminals; red is left to errors. Each can be read on light and on dark ground.
_COLOURS: Final = ("36", "33", "35", "32", "34", "1;36", "1;33", "1;35", "1;32", "1;34")


class Output:
    """Where results and messages go. ``quiet``: of lists the names alone, and of what is done nothing but failures."""

    def __init__(self, form: Form = "table", *, quiet: bool = False) -> None:
        self.form = form
        self.quiet = quiet
        for stream in (sys.stdout, sys.stderr):
            # What a locale has no letter for is spelt out instead of ending the command.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        #: Of the terminal; None in a pipe, where nothing is cut off, folded or shortened.
        self.width = size_of(sys.stdout)[0] if sys.stdout.isatty() and form == "table" else None

    @property
    def as_data(self) -> bool:
        """Whether results are for programs, and tables for nobody."""
        return self.form in ("json", "yaml")

    def say(self, message: str) -> None:
        """Tell of progress or of success; not a result."""
        if not self.quiet:
            self._write(sys.stderr, _plain(message))

    def fail(self, message: str, problems: Iterable[Problem] = ()) -> None:
        self._write(sys.stderr, _styled(f"eratos: {_plain(message)}", "31", sys.stderr))
        rows = [(problem.path, problem.message) for problem in problems]
        if rows:
            width = size_of(sys.stderr)[0] if sys.stderr.isatty() else None
            columns = (Column("FIELD", "never"), Column("PROBLEM AND FIX", "fold"))
            for line in Table(columns, rows).lines(width):
                self._write(sys.stderr, line)

    def raw(self, text: str) -> None:
        """Pass on what a task wrote, at once and as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def told_apart(self, number: int, text: str) -> str:
        """Return what names one of several things on a line, in a colour of its own where there are colours."""
        return _styled(text, _COLOURS[number % len(_COLOURS)], sys.stdout)

    def task(self, task_id: str) -> str:
        """Return a task's id as it is shown here: short in a terminal. Commands take either."""
        return task_id if self.width is None else short(task_id)

    def result(self, data: Any, *tables: Table | str) -> None:
        """Show a result: ``data`` for programs, or else the tables and lines."""
        if self.as_data:
            self._write(sys.stdout, _yaml(data) if self.form == "yaml" else json.dumps(data, indent=2))
            return
        if self.quiet:
            for name in (name for table in tables if isinstance(table, Table) for name in table.names()):
                self._write(sys.stdout, name)
            return
        more = "…" if (sys.stdout.encoding or "").lower().startswith("utf") else "..."
        for table in tables:
            if isinstance(table, str):
                self._write(sys.stdout, _plain(table))
                continue
            for number, line in enumerate(table.lines(self.width, more)):
                self._write(sys.stdout, line if number or not table.header else _styled(line, "1", sys.stdout))

    def item(self, data: Any, line: str) -> None:
        """Show one of a stream of results at once: as a line for people, a line of JSON, or a document of YAML."""
        texts = {"json": lambda: json.dumps(data), "yaml": lambda: "---\n" + _yaml(data)}
        self.raw(texts.get(self.form, lambda: line)() + "\n")

    def _write(self, stream: TextIO, line: str) -> None:
        stream.write(line + "\n")


def _plain(text: str) -> str:
    """Spell out what would move the terminal's cursor: texts quote what tasks and other users wrote."""
    return "\n".join(log.plain(line.expandtabs()) for line in text.split("\n"))


def size_of(terminal: TextIO) -> tuple[int, int]:
    """Return how many columns and lines a terminal has; by hand, as shutil takes long to import."""
    given = os.environ.get("COLUMNS", ""), os.environ.get("LINES", "")
    try:
        known: tuple[int, int] = os.get_terminal_size(terminal.fileno())
    except (OSError, ValueError):
        known = 0, 0
    columns, lines = (int(text) if text.isdigit() and int(text) else there for text, there in zip(given, known, strict=True))
    return columns or 80, lines or 24


def _yaml(data: Any) -> str:
    import yaml  # takes longer to import than most commands to run

    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).removesuffix("\n").removesuffix("\n...")


def _styled(text: str, code: str, stream: TextIO) -> str:
    """Colour text for a terminal whose user did not ask for none (https://no-color.org)."""
    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[{code}m{text}\033[0m"
