"""pydantic's findings in plain words: what is wrong, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from .errors import Problem, json_path

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


def kind(value: Any) -> str:
    """Name the JSON type of a value for a message."""
    return next((words for types, words in _KINDS if isinstance(value, types)), "nothing")


def problems(error: ValidationError, model: type[BaseModel], shown: Collection[str] = ()) -> Iterable[Problem]:
    """Translate all of pydantic's findings; ``shown`` are further fields a user may have meant by an unknown one."""
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        yield Problem(json_path(location), _message(detail, model, shown))


def _message(detail: Any, model: type[BaseModel], shown: Collection[str]) -> str:
    code, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if code == "missing":
        return "is missing: add it"
    if code == "extra_forbidden":
        return _unknown(str(detail["loc"][-1]), [*_aliases(model), *shown])
    if code in _WORDS:
        return f"{_WORDS[code]}, not {kind(given) if isinstance(given, list | Mapping) else repr(given)}"
    if code == "literal_error":
        return f"must be {context['expected']}, not {given!r}"
    if code in ("greater_than_equal", "less_than_equal"):
        limit = "at least" if code == "greater_than_equal" else "at most"
        return f"must be {limit} {next(iter(context.values()))}, not {given}"
    if code == "string_too_short":
        return "must not be empty"
    if code == "string_pattern_mismatch":
        return f"must match {context['pattern']}, which '{given}' does not"
    return str(detail["msg"]).removeprefix("Value error, ")


def _unknown(field: str, known: list[str]) -> str:
    close = difflib.get_close_matches(field, known, 1)
    return "is no field that eratos knows: " + (f"did you mean {close[0]}?" if close else "remove it")


def _aliases(model: type[BaseModel]) -> Iterable[str]:
    """Every field name of a model and of the models in it."""
    seen: set[type[BaseModel]] = set()
    waiting = [model]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for field in current.model_fields.values():
            yield field.alias or ""
            waiting += _models_in(field.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
