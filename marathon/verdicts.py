"""What becomes of each field of an app's document: the same as in Marathon, translated, not heeded, or refused, and why. Pure.

For people who have files for Marathon and want to know what they would get. Fields are named as they stand in the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from . import definition, pod_definition, stored
from .errors import InvalidApp, Problem, json_path
from .normalise import OUTPUT_ONLY
from .notes import Note, Verdict, notes
from .pydantic_errors import kind

#: Older spellings, and what they become.
_SPELLINGS: Final[Mapping[str, str]] = {
    "/ports": "portDefinitions",
    "/uris": "fetch",
    "/ipAddress": "networks, and its ports container.portMappings",
    "/container/docker/network": "networks",
    "/container/linuxInfo": "container.docker.parameters",
    "/container/docker/portMappings": "container.portMappings",
}
#: Objects whose keys are free.
_FREE: Final = frozenset({"env", "environment", "labels", "options", "secrets"})


def verdicts(document: Any, base: str = "/") -> list[Note]:
    """Return what becomes of each field of an app's document, in its order; then what is wrong beside them."""
    if not isinstance(document, Mapping):
        return [Note("/", Verdict.REFUSED, f"must be an object with the app's fields, not {kind(document)}")]
    try:
        app, problems = (pod_definition.examine if stored.is_pod(document) else definition.examine)(document, base)
        told = list(notes(app))
    except InvalidApp as invalid:
        problems, told = invalid.problems, []
    told += [Note(place, Verdict.TRANSLATED, f"to {name}") for place, name in _SPELLINGS.items()]
    told += [Note(f"/{name}", Verdict.SAME, "Marathon's own, dropped as there") for name in OUTPUT_ONLY]
    refused = [Note(problem.path, Verdict.REFUSED, problem.message) for problem in problems]
    found, used = [], set()
    for place in _places(document):
        note = _about(place, refused) or _about(place, told)
        if note is not None:
            used.add(note)
        found.append(Note(place, note.verdict, note.text) if note else Note(place, Verdict.SAME, ""))
    return found + [note for note in refused if note not in used] + _elsewhere(problems, told, used)


def _elsewhere(problems: tuple[Problem, ...], told: list[Note], used: set[Note]) -> list[Note]:
    """Return the notes on fields that stand in the document under another name, such as those that spellings became."""
    if problems:
        return []
    return [note for note in told if note not in used and note.path.partition("(")[0] not in _SPELLINGS and not _output(note)]


def _output(note: Note) -> bool:
    return note.path.lstrip("/") in OUTPUT_ONLY


def _about(place: str, all_notes: list[Note]) -> Note | None:
    """Return the note about a place, or about something that it lies in or that lies in it; the nearest one."""
    fitting = [note for note in all_notes if note.path != "/" and (_in(place, note.path) or _in(note.path, place))]
    return max(fitting, key=lambda note: len(_common(place, note.path)), default=None)


def _in(place: str, other: str) -> bool:
    return place == other or re.match(re.escape(other) + r"[/(]", place) is not None


def _common(place: str, other: str) -> str:
    return place if len(place) < len(other) else other


def _places(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the places of all fields that hold something of their own."""
    for name, value in document.items():
        yield from _below(value, (name,))


def _below(value: Any, place: tuple[str | int, ...]) -> Iterator[str]:
    inner: Any = ()
    if isinstance(value, Mapping) and value and (place[0] not in OUTPUT_ONLY):
        inner = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value) and place[0] not in OUTPUT_ONLY:
        inner = enumerate(value)
    if not inner:
        yield json_path(place)
    for key, item in inner:
        if place[-1] in _FREE:
            yield json_path((*place, key))
        else:
            yield from _below(item, (*place, key))
