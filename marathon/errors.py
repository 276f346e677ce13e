"""What is wrong with a definition: every problem at once, each with the place and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from eratos.common.errors import PermanentError

#: Problems named in one answer; a document may have a hundred thousand.
PROBLEMS_MOST: Final = 100
#: Characters of a problem's path, and of its message.
TEXT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. ``path`` is Marathon's form of a place in the JSON: ``/container/portMappings(0)/hostPort``."""

    path: str
    message: str

    def below(self, parent: str) -> Problem:
        """Return the same problem seen from a document that holds this one at ``parent``."""
        return Problem(parent if self.path == "/" else parent + self.path, self.message)

    def cut(self) -> Problem:
        """Return the same problem with what it quotes cut out of the middle where that is long: the way out stands last."""
        if len(self.path) <= TEXT_MAX and len(self.message) <= TEXT_MAX:
            return self
        return Problem(_cut(self.path), _cut(self.message))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX // 2]}…{text[1 - TEXT_MAX // 2 :]}"


class InvalidApp(PermanentError):
    """A definition was refused. ``problems`` names everything that is wrong with it, up to ``PROBLEMS_MOST``."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(dict.fromkeys(problem.cut() for problem in problems))
        if len(found) > PROBLEMS_MOST:
            more = Problem("/", f"has {len(found) - PROBLEMS_MOST} problems or more beside these: correct these first")
            found = (*found[:PROBLEMS_MOST], more)
        self.problems = found
        super().__init__("; ".join(f"{problem.path} {problem.message}" for problem in self.problems))


class InvalidInItself(InvalidApp):
    """A document was refused for what it says itself, whatever else there is: its problems name nothing of anybody else's."""


def json_path(location: Iterable[str | int]) -> str:
    """Join keys and list indices the way Marathon's 422 answers do."""
    path = "".join(f"({step})" if isinstance(step, int) else f"/{step}" for step in location)
    return path or "/"
