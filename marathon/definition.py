"""From JSON to the app: what users write, read and checked in one place, and what stores hold, read back.

Called by the API, the store's codec and the command line. Raw JSON is held against bounds (:mod:`.bounds`), normalised
(:mod:`.normalise`), read into frozen parts (:mod:`.app`, :mod:`.app_parts`), held against the rules between fields
(:mod:`.rules`), and every problem is reported together.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from . import bounds, extras, ids, pydantic_errors, rules, strict_json
from .app import App
from .errors import PROBLEMS_MOST, InvalidApp, InvalidInItself, Problem, json_path
from .normalise import LEGACY_FIELDS, OUTPUT_ONLY, normalise

#: Stands in for a required field that could not be read, while the rest is checked.
_STAND_INS: Final[Mapping[str, Any]] = {"id": "/", "container": {"docker": {"image": "-"}}}


def parse(data: Any, base: str = "/", before: App | None = None) -> App:
    """Read a user's definition; relative ids are taken below the group ``base``. Raises InvalidApp.

    Of the app that there is ``before``, what goes beyond today's bounds may stay; what is only scaled stays as it was accepted.
    """
    if not isinstance(data, Mapping):
        raise InvalidInItself([Problem("/", f"must be an object with the app's fields, not {pydantic_errors.kind(data)}")])
    strict_json.check(data)
    return _read(data, base, _beyond(data, base, before), stored=False, before=before)


def restore(data: Mapping[str, Any]) -> App:
    """Read what :meth:`.app.App.to_json` wrote, version included. Raises InvalidApp.

    Bounds, and rules that came later, are for what is asked for (:func:`parse`): what an older version stored is read.
    """
    return _read(data, "/", [], stored=True).with_version(str(data.get("version") or ""))


def examine(data: Mapping[str, Any], base: str = "/") -> tuple[App, tuple[Problem, ...]]:
    """Read a user's definition as far as it can be read, others standing in for the rest, and return its problems with it.

    Raises InvalidApp where nothing of it can be read.
    """
    strict_json.check(data)
    app, problems = _examined(data, base, _beyond(data, base, None), stored=False)
    return app, InvalidApp(problems).problems


def _read(data: Mapping[str, Any], base: str, problems: list[Problem], *, stored: bool, before: App | None = None) -> App:
    app, problems = _examined(data, base, problems, stored=stored, before=before)
    if problems:
        raise InvalidInItself(problems)
    return app


def _examined(
    data: Mapping[str, Any], base: str, problems: list[Problem], *, stored: bool, before: App | None = None
) -> tuple[App, list[Problem]]:
    raw, found, dropped = normalise(data)
    problems += found
    problems += _resolve_ids(raw, base)
    app, unreadable, found = _modelled(raw, dropped)
    problems += found
    stored = stored or (before is not None and only_scaled(before, app))
    problems += rules.problems(app, unreadable | {_field(problem) for problem in problems}, stored=stored)
    return (app.with_dropped(dropped) if dropped else app), problems


def only_scaled(before: App, app: App) -> bool:
    """Return whether an app that is read is the one before but for how many there are; it keeps the rules for balancing."""
    return before.same_definition(app.with_unasked(before.unasked))


def _beyond(data: Mapping[str, Any], base: str, before: App | None) -> list[Problem]:
    """Return what goes beyond the bounds and did not before. Raises InvalidApp where reading on would cost too much."""
    given = {key: value for key, value in data.items() if key not in OUTPUT_ONLY}
    if isinstance(given.get("id"), str):
        with contextlib.suppress(ValueError):
            given["id"] = ids.absolute(given["id"], base)

    def new(rule: Callable[[Mapping[str, Any]], Iterable[Problem]]) -> list[Problem]:
        problems = list(itertools.islice(rule(given), PROBLEMS_MOST + 1))
        kept = set(rule(before.to_json())) if problems and before is not None else set()
        return [problem for problem in problems if problem not in kept]

    if too_large := new(bounds.sizes):
        raise InvalidInItself(too_large)
    return new(bounds.values)


def _field(problem: Problem) -> str:
    """The top-level field that a problem is about."""
    return problem.path.split("/")[1].split("(")[0]


def _resolve_ids(raw: dict[str, Any], base: str) -> list[Problem]:
    problems = []
    if isinstance(raw.get("id"), str):
        try:
            raw["id"] = ids.app_id(raw["id"], base)
        except ValueError as error:
            problems.append(Problem("/id", str(error)))
    if isinstance(raw.get("dependencies"), list):
        for index, dependency in enumerate(raw["dependencies"]):
            try:
                raw["dependencies"][index] = ids.absolute(dependency, base) if isinstance(dependency, str) else dependency
            except ValueError as error:
                problems.append(Problem(f"/dependencies({index})", str(error)))
    problems += [Problem(json_path(place), fault) for place, fault in extras.resolve_ids(raw.get("eratos"), base)]
    return problems


def _modelled(raw: dict[str, Any], dropped: list[tuple[str, str]]) -> tuple[App, set[str], list[Problem]]:
    """Return the app, the top-level fields that could not be read (others stand in), and what is wrong with them.

    Unknown fields that nobody can have meant for a known one are taken out, as Marathon does, and noted as ``dropped``.
    """
    try:
        return _validated(raw), set(), []
    except ValidationError as error:
        unheard_of = (place for place in pydantic_errors.unheard_of(error, App, LEGACY_FIELDS) if place[0] != "eratos")
        if found := [place for place in unheard_of if take_out(raw, place)]:
            dropped += [(json_path(map(_shown, place)), "no field that eratos knows, nor Marathon") for place in found]
            return _modelled(raw, dropped)
        problems = list(pydantic_errors.problems(error, App, LEGACY_FIELDS))
        unreadable = {str(detail["loc"][0]) for detail in error.errors(include_url=False, include_input=False)}
    readable = {key: value for key, value in raw.items() if key not in unreadable}
    return _validated({**_STAND_INS, **readable}), unreadable, problems


def _shown(step: str | int) -> str | int:
    return strict_json.shortened(step) if isinstance(step, str) else step


def take_out(raw: dict[str, Any], place: tuple[str | int, ...]) -> bool:
    """Remove what is at a place; return whether there was anything."""
    holder: Any = raw
    try:
        for step in place[:-1]:
            holder = holder[step]
        del holder[place[-1]]
    except (LookupError, TypeError):
        return False
    return True


def _validated(raw: dict[str, Any]) -> App:
    # Through JSON, because pydantic's strict mode takes a list for a tuple only from there.
    return App.model_validate_json(json.dumps(raw))
