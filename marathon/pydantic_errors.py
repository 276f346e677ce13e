"""pydantic's findings in plain words: what is wrong, and what would be right."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from . import app_parts, extras, near
from .errors import PROBLEMS_MOST, Problem, json_path
from .strict_json import shortened

_PATTERNS: Final = {**app_parts.PATTERNS, **extras.PATTERNS}
_KINDS: Final = (
    (bool, "true or false"),
    (str, "text"),
    (int | float, "a number"),
    (list, "a list"),
    (Mapping, "an object"),
)

_WORDS: Final[Mapping[str, str]] = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "finite_number": "must be a finite number",
}
#: Places named for a field that belongs elsewhere.
_PLACES_MOST: Final = 3
#: Share of characters that a misspelling has in common with what was meant: ``comments`` is no ``command``.
_NEAR: Final = 0.7
#: A longer name is no misspelling of ours, and comparing it costs its square.
_FIELD_CHARACTERS_MAX: Final = 64


def kind(value: Any) -> str:
    """Name the JSON type of a value for a message."""
    return next((words for types, words in _KINDS if isinstance(value, types)), "nothing")


def problems(error: ValidationError, model: type[BaseModel], shown: Mapping[str, str] | None = None) -> Iterable[Problem]:
    """Translate pydantic's findings, up to ``PROBLEMS_MOST``.

    ``shown``: further fields that a user may have meant by an unknown one, and their places.
    """
    for detail in islice(error.errors(include_url=False), PROBLEMS_MOST + 1):
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue  # what could not be read of it is reported already
        location = tuple(shortened(step) if isinstance(step, str) else step for step in detail["loc"])
        yield Problem(json_path(location), _message(detail, model, shown or {}))


def unheard_of(error: ValidationError, model: type[BaseModel], shown: Mapping[str, str]) -> list[tuple[str | int, ...]]:
    """Return the places of unknown fields that resemble no known one, unless they are more than anybody has by chance."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    return [loc for loc in unknown if not _meant(loc, model, shown)] if len(unknown) <= PROBLEMS_MOST else []


def _message(detail: Any, model: type[BaseModel], shown: Mapping[str, str]) -> str:
    code, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if code == "missing":
        return "is missing: add it"
    if code == "extra_forbidden":
        return _meant(detail["loc"], model, shown) or "is no field that eratos knows: remove it"
    if code in _WORDS:
        return _WORDS[code] + _instead(code, given)
    if code == "literal_error":
        return f"must be {context['expected']}, not {_quoted(given)}"
    if code in ("greater_than_equal", "less_than_equal"):
        limit = "at least" if code == "greater_than_equal" else "at most"
        return f"must be {limit} {next(iter(context.values())):.12g}, not {given:.12g}"
    if code == "too_short":
        return f"must have at least {context['min_length']} entry, not {len(given)}"
    if code == "too_long":
        return f"must have at most {context['max_length']} entries, not {len(given)}"
    if code == "string_too_short":
        return "must not be empty"
    if code == "string_too_long":
        return f"is {len(given)} characters long: use at most {context['max_length']}"
    if code == "string_pattern_mismatch":
        return f"{_PATTERNS.get(context['pattern'], 'must match ' + context['pattern'])}, not '{shortened(given)}'"
    return str(detail["msg"]).removeprefix("Value error, ")


def _instead(code: str, given: Any) -> str:
    """Say what was given where another type is wanted, and how to write what was meant."""
    if code == "string_type" and isinstance(given, bool | int | float):
        return f': put quotes around it, "{str(given).lower()}"'
    if isinstance(given, str) and code in ("int_type", "float_type", "bool_type") and _reads_as(code, given):
        return f", not {given!r}: write {given.strip()} without quotes"
    return f", not {_quoted(given)}"


def _reads_as(code: str, text: str) -> bool:
    text = text.strip()
    if code == "bool_type":
        return text in ("true", "false")
    digits = text.removeprefix("-") if code == "int_type" else text.removeprefix("-").replace(".", "", 1)
    return len(text) < 20 and digits.isascii() and digits.isdigit()


def _quoted(given: Any) -> str:
    if isinstance(given, list | Mapping):
        return kind(given)
    return json.dumps(given) if given is None or isinstance(given, bool) else shortened(repr(given))


def _meant(location: tuple[str | int, ...], model: type[BaseModel], shown: Mapping[str, str]) -> str:
    """Say which known field was meant by an unknown one, or nothing where that is none."""
    field, here = str(location[-1]), _pattern(location[:-1])
    if len(field) > _FIELD_CHARACTERS_MAX:
        return ""
    known, elsewhere = _known(model, tuple(shown.items()))
    places, beside = known.get(field, []), _beside(model, tuple(shown.items()), here)
    close = near.close(field, beside, 1, _NEAR) or _other_case(field, beside)
    # Who writes a field of Marathon's wrong does not mean one of our own by that name.
    if places and not (close and _own(places)):
        more = " or elsewhere" if len(places) > _PLACES_MOST else ""
        return f"belongs in {' or '.join(places[:_PLACES_MOST])}{more}: move it there"
    if close:
        return f"is no field that eratos knows: did you mean {close[0]}?"
    if close := near.close(field, elsewhere, 1, _NEAR) or _other_case(field, elsewhere):
        return f"is no field that eratos knows: did you mean {close[0]}, which belongs in {known[close[0]][0]}?"
    return ""


@functools.cache
def _known(model: type[BaseModel], shown: tuple[tuple[str, str], ...]) -> tuple[Mapping[str, list[str]], list[str]]:
    """Return every known field with its places, and those that are Marathon's."""
    known = {**{name: [place] for name, place in shown}, **_places(model)}
    return known, [name for name, places in known.items() if not _own(places)]


@functools.lru_cache(maxsize=1024)
def _beside(model: type[BaseModel], shown: tuple[tuple[str, str], ...], here: str) -> list[str]:
    """Return the known fields of one place."""
    known, _ = _known(model, shown)
    return [name for name, places in known.items() if any(_fits(f"{here}/{name}", place) for place in places)]


def _own(places: Iterable[str]) -> bool:
    """Return whether a field stands in eratos' own part of a definition alone."""
    return all(place.startswith("/eratos") for place in places)


def _other_case(field: str, known: Iterable[str]) -> list[str]:
    plain = field.lower().replace("_", "")
    return [name for name in known if name.lower() == plain]


def _pattern(location: Iterable[str | int]) -> str:
    """Return a place with ``n`` for each index, as :func:`_places` writes it."""
    return "".join("(n)" if isinstance(step, int) else f"/{step}" for step in location)


def _fits(here: str, place: str) -> bool:
    """Return whether a place is the known one, in which ``*`` stands for a name that is free."""
    steps, known = here.split("/"), place.split("/")
    return len(steps) == len(known) and all(other in (step, "*") for step, other in zip(steps, known, strict=True))


@functools.cache
def _places(model: type[BaseModel]) -> Mapping[str, list[str]]:
    """Return every field of a model and of the models in it, with the places where it belongs."""
    found: dict[str, list[str]] = {}
    waiting: list[tuple[str, Any]] = [("", model)]
    while waiting:
        place, current = waiting.pop(0)
        for name, field in current.model_fields.items():
            own = f"{place}/{field.alias or name}"
            found.setdefault(field.alias or name, []).append(own)
            waiting += [(own + index, inner) for index, inner in _models_in(field.annotation)]
    return found


def _models_in(annotation: Any, index: str = "") -> list[tuple[str, type[BaseModel]]]:
    """Return the models in a field's type, each with ``(n)`` where the field is a list of them, ``/*`` where names are free."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(index, annotation)]
    if getattr(annotation, "__origin__", None) is tuple:
        index = "(n)"
    elif getattr(annotation, "__origin__", None) is Mapping:
        index = "/*"
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models_in(argument, index)]
