"""Lines that administrators lay into the configuration: files of a folder, each for one place. Called by :mod:`.apply`.

Each file that is new or changed is judged alone, by HAProxy itself, with all else as it is served. A bad one is named, and its
last good content goes on, so that changes in Consul still arrive.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from .core.haproxy_text import Snippets

#: How long a refused content is refused without another look: a full disk or a busy machine may have been the reason.
REFUSED_FOR_S = 30.0

_FILE_MAX_BYTES = 64 * 1024
_NAME = re.compile(r"global|defaults|frontend(-[1-9][0-9]{0,4})?|backend(-[0-9A-Za-z_-]{1,128})?")
#: What begins a section would take the lines after it along; servers come from Consul.
_REFUSED = re.compile(
    "global|defaults|frontend|backend|listen|peers|resolvers|userlist|cache|ring|mailers|program|http-errors|fcgi-app|log-forward"
    "|crt-store|traces|server|server-template"
)


class Laid:
    """The snippets of one folder. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verdicts: dict[str, tuple[str, str, float]] = {}  #: file -> content, what is wrong with it, until when
        self.refused: tuple[str, ...] = ()  #: each as ``file: reason``

    def signature(self) -> object:
        """Return what changes whenever a file does."""
        try:
            found = [(path.name, path.stat()) for path in sorted(self._folder.glob("*.cfg"))]
        except OSError:
            return None
        return [(name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found]

    def good(self, live: Snippets, judge: Callable[[Snippets], str]) -> Snippets:
        """Return the snippets to serve with, name -> lines. ``live`` are the last good ones.

        ``judge`` lets HAProxy try a configuration with some snippets, and returns what is wrong with it, or nothing.
        """
        laid, problems = self.read()
        good = {name: text for name, text in live.items() if name in laid or f"{name}.cfg" in problems}
        for name, text in laid.items():
            if live.get(name) == text:
                continue
            file = f"{name}.cfg"
            seen, problem, until_s = self._verdicts.get(file, ("", "", 0.0))
            if seen != text or time.monotonic() >= until_s:
                problem = judge({**good, name: text})
                self._verdicts[file] = (text, problem, time.monotonic() + REFUSED_FOR_S)
            if problem:
                problems[file] = problem
            else:
                good[name] = text
        went_on = {f"{name}.cfg": "; the one from before goes on" for name in good}
        self.refused = tuple(f"{file}: {problem}{went_on.get(file, '')}" for file, problem in problems.items())
        return good

    def read(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the snippets by name, and what is wrong with files that cannot be any."""
        laid: dict[str, str] = {}
        problems: dict[str, str] = {}
        for path in sorted(self._folder.glob("*.cfg")):
            try:
                if not _NAME.fullmatch(path.stem):
                    raise ValueError("its name must be global, defaults, frontend, frontend-PORT, backend or backend-SERVICE")
                if path.stat().st_size > _FILE_MAX_BYTES:
                    raise ValueError(f"it is larger than {_FILE_MAX_BYTES // 1024} KiB")
                laid[path.stem] = _lines(path.read_text())
            except OSError as error:
                problems[path.name] = error.strerror or str(error)
            except ValueError as error:
                problems[path.name] = str(error)
        return laid, problems


def _lines(text: str) -> str:
    for line in text.splitlines():
        if (word := line.split()[:1]) and _REFUSED.fullmatch(word[0]):
            raise ValueError(f"{word[0]} may not stand in a snippet: it holds lines of one section, and no servers")
    return text
