"""What is wrong with a definition: every problem at once, each with the place and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from eratos.common.errors import PermanentError

#: Problems named in one answer; a document may have a hundred thousand.
PROBLEMS_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. ``path`` is Marathon's form of a place in the JSON: ``/container/portMappings(0)/hostPort``."""

    path: str
    message: str

    def below(self, parent: str) -> Problem:
        """Return the same problem seen from a document that holds this one at ``parent``."""
        return Problem(parent if self.path == "/" else parent + self.path, self.message)


class InvalidApp(PermanentError):
    """A definition was refused. ``problems`` names everything that is wrong with it, up to ``PROBLEMS_MOST``."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(dict.fromkeys(problems))
        if len(found) > PROBLEMS_MOST:
            more = Problem("/", f"has {len(found) - PROBLEMS_MOST} problems or more beside these: correct these first")
            found = (*found[:PROBLEMS_MOST], more)
        self.problems = found
        super().__init__("; ".join(f"{problem.path} {problem.message}" for problem in self.problems))


def json_path(location: Iterable[str | int]) -> str:
    """Join keys and list indices the way Marathon's 422 answers do."""
    path = "".join(f"({step})" if isinstance(step, int) else f"/{step}" for step in location)
    return path or "/"
