"""How large a definition may be, whatever it says: what nobody needs and would cost every part that handles it.

Only what is asked for now is held against these, never what a store holds: :func:`.definition.restore` reads what an older
version took, and an update may keep what the app has already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from . import consul_expressions, expressions, ids
from .errors import InvalidInItself, Problem, json_path

Place = tuple[str | int, ...]

#: A definition as a whole, as JSON: what stores keep of it (scheduler/core/records.py).
DEFINITION_BYTES_MAX: Final = 511 * 1024
#: An app has some forty.
FIELDS_MOST: Final = 200
#: Apps in one request.
APPS_MOST: Final = 5000
#: What a group and those around it may depend on, together. It stands with each change of each app in it.
GROUP_DEPENDENCIES_MOST: Final = 100
#: Ports of all apps in one request: each is checked against all others', and service ports are found for them.
PORTS_MOST: Final = 20_000
#: What Linux takes of one argument of a program, and of one variable with its name (MAX_ARG_STRLEN), less the final NUL.
STRING_BYTES_MAX: Final = 128 * 1024 - 1
KEY_CHARACTERS_MAX: Final = 1024
#: Entries of a list or an object; the fields below have bounds of their own.
ENTRIES_MOST: Final = 1000
_PORTS: Final = ("portDefinitions", "portMappings", "ports")
_ENTRIES: Final[Mapping[str, int]] = {
    "args": 10_000,
    "constraints": 100,
    "healthChecks": 100,
    "readinessChecks": 100,
    **dict.fromkeys(_PORTS, 100),
}
#: A constraint's field and value.
CONSTRAINT_CHARACTERS_MAX: Final = 1024
#: Of whole numbers and seconds: 68 years, the most that Mesos' nanoseconds and everybody's clocks bear.
NUMBER_MAX: Final = 2**31 - 1
BACKOFF_FACTOR_MAX: Final = 1000
#: These have bounds of their own (:mod:`.app_parts`).
_UNBOUNDED: Final = frozenset({"cpus", "mem", "disk", "gpus"})


def check_count(place: str, what: str, count: int, most: int) -> None:
    """Refuse too long a list before it is read. Raises InvalidApp."""
    if count > most:
        raise InvalidInItself([Problem(place, f"holds {count} {what}: send {most} at most at a time")])


def check_documents(data: Any, what: str, count: int) -> None:
    """Refuse a request that many ``what`` come with, where it holds more of them than is read at a time. Raises InvalidApp.

    An expression costs more than its size, once: of those that a request may have, the worst would cost seconds.
    """
    check_count("/", what, count, APPS_MOST)
    check_count("/", "ports", sum(_ports(data)), PORTS_MOST)
    texts = dict.fromkeys(_expressions(data))
    check_count("/", "expressions of LIKE and UNLIKE that differ", len(texts), expressions.KEPT_MAX)
    if (read := expressions.readable(texts)) < len(texts):
        message = (
            f"holds {len(texts)} expressions of LIKE and UNLIKE that differ, and {read} of them take as long to read as a "
            "request may: send fewer at a time, or shorter ones with fewer repetitions and classes of Unicode"
        )
        raise InvalidInItself([Problem("/", message)])
    texts = dict.fromkeys(_attributes(data))
    if (read := consul_expressions.readable(texts, consul_expressions.REQUEST_MOST)) < len(texts):
        message = (
            f"holds {len(texts)} expressions of requirements' attributes that differ, and {read} of them take as long to read as "
            "a request may: send fewer at a time, or shorter ones with fewer repetitions and classes of Unicode"
        )
        raise InvalidInItself([Problem("/", message)])


def _attributes(data: Any) -> Iterator[str]:
    """Yield the expressions that requirements have for attributes, in whatever document; what is too long nobody reads."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            required = value.get("requires")
            for wanted in required.values() if isinstance(required, Mapping) else ():
                attributes = wanted.get("attributes") if isinstance(wanted, Mapping) else None
                for text in attributes.values() if isinstance(attributes, Mapping) else ():
                    if isinstance(text, str) and len(text) <= consul_expressions.CHARACTERS_MAX:
                        yield text
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _ports(data: Any) -> Iterator[int]:
    """Yield how many ports each list of them has, in whatever spelling."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield from (len(value[field]) for field in (*_PORTS, "endpoints") if isinstance(value.get(field), list))
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _expressions(data: Any) -> Iterator[str]:
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list) and len(value) == 3 and str(value[1]).upper() in ("LIKE", "UNLIKE"):
            yield str(value[2])
        elif isinstance(value, Mapping) and str(value.get("operator")).upper() in ("LIKE", "UNLIKE"):
            yield str(value.get("value"))
        elif isinstance(value, Mapping | list):
            waiting += value.values() if isinstance(value, Mapping) else value


def problems(app: Mapping[str, Any]) -> Iterator[Problem]:
    """Find everything that goes beyond the bounds in an app's JSON, in whatever spelling."""
    yield from sizes(app)
    yield from values(app)


def sizes(app: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what is too large to be read any further: what is left takes a moment, whatever is wrong with it."""
    if (length := len(json.dumps(app))) > DEFINITION_BYTES_MAX:
        message = f"takes {length} bytes, and the store keeps {DEFINITION_BYTES_MAX}: move large values into files it reads"
        yield Problem("/", message)
    if len(app) > FIELDS_MOST:
        yield Problem("/", f"has {len(app)} fields: an app has {FIELDS_MOST} at most")
        return
    for field, value in app.items():
        yield from _sizes(value, (field,))
    texts = list(_attributes(app.get("eratos")))
    if (read := consul_expressions.readable(texts, consul_expressions.DEFINITION_MOST)) < len(texts):
        message = (
            f"have {len(texts)} expressions for attributes, and {read} of them take as long to read as all of a definition may: "
            "state fewer, or shorter ones with fewer repetitions and classes of Unicode"
        )
        yield Problem("/eratos/requires", message)


def values(app: Mapping[str, Any]) -> Iterator[Problem]:
    """Find values that nothing can be done with."""
    if isinstance(app.get("id"), str) and (message := ids.reserved(app["id"])):
        yield Problem("/id", message)
    yield from _places_in_the_sandbox(app.get("container"))
    for field, value in app.items():
        if "\0" in field:
            yield Problem("/", f"has a name with a NUL character, {field[:40]!r}: remove it")
        else:
            yield from _values(value, (field,))


def _places_in_the_sandbox(container: Any) -> Iterator[Problem]:
    """Find relative paths that lead out of the sandbox; of absolute ones every container has its own."""
    volumes = container.get("volumes") if isinstance(container, Mapping) else None
    for index, volume in enumerate(volumes if isinstance(volumes, list) else ()):
        path = volume.get("containerPath") if isinstance(volume, Mapping) else None
        if isinstance(path, str) and not path.startswith("/") and (".." in path.split("/") or not path.strip("./")):
            place = json_path(("container", "volumes", index, "containerPath"))
            yield Problem(place, "must lie in the sandbox where it is relative, such as data: write it without ..")


def _sizes(value: Any, place: Place) -> Iterator[Problem]:
    if isinstance(value, str):
        most = CONSTRAINT_CHARACTERS_MAX if place[0] == "constraints" else STRING_BYTES_MAX
        length = len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
        if length > most:
            message = f"takes {length} bytes: {most} are the most; move large values into files that the app reads"
            yield Problem(json_path(place), message)
    elif isinstance(value, Mapping | list):
        most = _ENTRIES.get(str(place[-1]), ENTRIES_MOST)
        if len(value) > most:
            yield Problem(json_path(place), f"has {len(value)} entries: {most} are the most")
            return
        for key, item in _items(value):
            if isinstance(key, str) and len(key) > KEY_CHARACTERS_MAX:
                message = f"has a name of {len(key)} characters, '{key[:40]}…': {KEY_CHARACTERS_MAX} are the most"
                yield Problem(json_path(place), message)
            else:
                yield from _sizes(item, (*place, key))


def _values(value: Any, place: Place) -> Iterator[Problem]:
    if isinstance(value, str):
        if "\0" in value:
            yield Problem(json_path(place), "holds a NUL character, which no program can be given: remove it")
    elif isinstance(value, Mapping | list):
        for key, item in _items(value):
            if isinstance(key, str) and "\0" in key:
                yield Problem(json_path(place), f"has a name with a NUL character, {key[:40]!r}: remove it")
            else:
                yield from _values(item, (*place, key))
    elif not isinstance(value, bool) and isinstance(value, int | float):
        most = BACKOFF_FACTOR_MAX if place[-1] == "backoffFactor" else NUMBER_MAX
        if place[-1] not in _UNBOUNDED and value > most:
            yield Problem(json_path(place), f"must be at most {most}, not {value:.12g}")


def _items(holder: Mapping[str, Any] | list[Any]) -> Iterable[tuple[str | int, Any]]:
    return holder.items() if isinstance(holder, Mapping) else enumerate(holder)
