"""The one logging set-up. Called by each process's ``__main__`` and by nothing else.

Lines read ``2026-01-31T12:00:00.123Z INFO eratos.scheduler.loop sentence key=value key=value``. Modules log through
``logging.getLogger(__name__)``; INFO is for one line per decision pass or state change, DEBUG for payloads.
"""

from __future__ import annotations

import logging
import re
import sys
import time

#: A line longer than this is cut: one poisoned payload must not fill a disk.
LINE_MAX = 10_000

_SECRET = re.compile(
    r"(://[^:/@\s]*:)[^@/\s]+(@)|((?:secret|token|password|authorization)\"?\s*[=:]\s*\"?)[^\s\",}]+", re.IGNORECASE
)


def masked(text: str) -> str:
    """Return the text with passwords in URLs and values of secret-like keys replaced by ``***``."""
    return _SECRET.sub(lambda m: f"{m[1]}***{m[2]}" if m[1] else f"{m[3]}***", text)


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line = masked(super().format(record))
        return line if len(line) <= LINE_MAX else f"{line[:LINE_MAX]}... ({len(line)} characters)"


def setup(level: str = "INFO") -> None:
    """Send every logger to standard error. Raises ValueError for an unknown level name."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def fields(**values: object) -> str:
    """Render ``key=value`` pairs for a log line; values with blanks are quoted, None is left out."""
    rendered = []
    for key, value in values.items():
        if value is None:
            continue
        text = str(value)
        rendered.append(f'{key}="{text}"' if " " in text or text == "" else f"{key}={text}")
    return " ".join(rendered)
