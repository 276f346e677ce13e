"""The one logging set-up. Called by each process's ``__main__`` and by nothing else.

Lines read ``2026-01-31T12:00:00.123Z INFO eratos.scheduler.loop sentence key=value key=value``, or, where JSON is asked for, are
objects with ``time``, ``level``, ``logger``, ``message``, ``fields`` where there are any, and ``exception``. Modules log through
``logging.getLogger(__name__)``; INFO is for one line per decision pass or state change, DEBUG for payloads.

What is logged may be what an app's author or a client wrote, so a value cannot make a line or a field of its own: control
characters are spelt out, quotes in a value are marked, and the lines of an exception are indented.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, Final

#: How lines may be written.
FORMATS: Final = ("text", "json")
#: A line longer than this is cut: one poisoned payload must not fill a disk.
LINE_MAX = 10_000

_SECRET = re.compile(
    r"(://[^:/@\s]*:)[^@/\s]+(@)|((?:secret|token|password|authorization)[\"']?\s*[=:]\s*)"
    r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\"']?[^\s\",}]+)",
    re.IGNORECASE,
)
#: A value with one of these does not end where the next blank is.
_QUOTED = re.compile(r'[\s"]')
#: What ends a line, moves a terminal's cursor or turns the direction of writing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return a text without control characters: they are spelt out, as ``\\n`` and ``\\x1b``."""
    return _CONTROL.sub(lambda m: ascii(m[0])[1:-1], text)


def masked(text: str) -> str:
    """Return the text with passwords in URLs and values of secret-like keys replaced by ``***``."""
    return _SECRET.sub(lambda m: f"{m[1]}***{m[2]}" if m[1] else f"{m[3]}***", text)


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return plain(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(f"  {plain(line)}" for line in super().formatException(ei).split("\n"))

    def format(self, record: logging.LogRecord) -> str:
        return _cut(masked(super().format(record)))


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        args = record.args if isinstance(record.args, tuple) else ()
        values = {key: value for arg in args if isinstance(arg, Fields) for key, value in arg.values.items()}
        sentence = record.msg % tuple("" if isinstance(arg, Fields) else arg for arg in args) if values else record.getMessage()
        shown: dict[str, Any] = {
            "time": f"{self.formatTime(record, self.datefmt)}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(masked(sentence.strip())),
        }
        if values:
            shown["fields"] = {key: _field(key, value) for key, value in values.items()}
        if record.exc_info:
            shown["exception"] = _cut(masked(logging.Formatter.formatException(self, record.exc_info)))
        return json.dumps(shown)


def _cut(text: str) -> str:
    return text if len(text) <= LINE_MAX else f"{text[:LINE_MAX]}... ({len(text)} characters)"


def _field(key: str, value: object) -> object:
    """Return a field's value as JSON has it, without what it may hold of a secret."""
    if isinstance(value, bool | int | float):
        return value
    # Judged with its key, which may be what makes a secret of it.
    return _cut(masked(f"{key}={value}").removeprefix(f"{key}="))


def setup(level: str = "INFO", form: str = "text") -> None:
    """Send every logger to standard error, in one of FORMATS. Raises ValueError for an unknown level name."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class Fields(str):
    """``key=value`` pairs as text, which remember what they were made of."""

    values: dict[str, object]


def _quoted(text: str) -> str:
    if text and not _QUOTED.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fields(**values: object) -> Fields:
    """Render ``key=value`` pairs for a log line; values with blanks or quotes are quoted, None is left out."""
    given = {key: value for key, value in values.items() if value is not None}
    made = Fields(" ".join(f"{key}={plain(_quoted(str(value)))}" for key, value in given.items()))
    made.values = given
    return made
