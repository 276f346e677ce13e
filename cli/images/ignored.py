"""What a ``.dockerignore`` leaves out of a build context. Pure.

The rules are Docker's (https://github.com/moby/patternmatcher): the last pattern that matches a path, or a folder above it,
counts. The Docker library for Python has this as well, but takes ``readme`` for ``README``: it leaves out what Docker sends.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eratos.common.errors import PermanentError

_BOM = "\ufeff"


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[str]
    takes_back: bool  #: ``!``: what matches is in again


@dataclass(frozen=True)
class Ignored:
    """The patterns of a file."""

    patterns: Sequence[_Pattern] = ()

    def __contains__(self, path: str) -> bool:
        """Return whether a path, relative to the context and with slashes, is left out."""
        parts = path.split("/")
        ways = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
        out = False
        for pattern in self.patterns:
            # One that could not change what is known need not be tried.
            if pattern.takes_back == out and any(pattern.expression.fullmatch(way) for way in ways):
                out = not pattern.takes_back
        return out

    @property
    def wholly(self) -> bool:
        """Return whether all below a folder that is left out is left out as well."""
        return not any(pattern.takes_back for pattern in self.patterns)


def parse(text: str) -> Ignored:
    """Read the content of a ``.dockerignore``. Raises PermanentError naming the line that Docker would refuse."""
    lines = text.removeprefix(_BOM).split("\n")
    return Ignored([_pattern(line) for line in lines if line.strip() and not line.startswith("#")])


def _pattern(line: str) -> _Pattern:
    text = line.strip()
    takes_back = text.startswith("!")
    if takes_back:
        text = text[1:].strip()
        if not text:
            raise PermanentError(f"the line {line!r} takes nothing back: write a path behind the !")
    cleaned = posixpath.normpath(text).lstrip("/")
    try:
        return _Pattern(re.compile(_expression(cleaned), re.DOTALL), takes_back)
    except re.error as error:
        raise PermanentError(f"the line {line!r} is no pattern ({error}): see Docker's page on .dockerignore") from error


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern. An empty one, such as of a slash alone, matches nothing."""
    if not pattern:
        return "(?!)"
    found, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1
            at += pattern.startswith("/", at)  # "**/" is as "**"
            found += ".*" if at == len(pattern) else "(?:.*/)?"
        elif char == "*":
            found += "[^/]*"
        elif char == "?":
            found += "[^/]"
        elif char == "\\" and at < len(pattern):
            found += re.escape(pattern[at])
            at += 1
        elif char == "[":
            end = pattern.find("]", at + (pattern.startswith("^", at)) + 1)
            if end < 0:
                raise re.error("a [ without its ]")
            found += f"[{_class(pattern[at:end])}]"
            at = end + 1
        else:
            found += re.escape(char)
    return found


def _class(text: str) -> str:
    """Return what stands between the brackets of a class, with what Python alone gives a meaning taken for itself."""
    negated = text.startswith("^")
    return ("^" if negated else "") + re.sub(r"([\[&~|])", r"\\\1", text[negated:])
