"""Reads definitions from files: JSON or YAML, one app, a pod, a list of apps or a group. Knows nothing of the API."""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from eratos.common.errors import PermanentError
from eratos.marathon import ids, strict_json

Json = dict[str, Any]

#: Values of a document, those that YAML's aliases repeat included; the largest groups have some ten thousand.
VALUES_MOST: Final = 1_000_000


#: What holds an answer of ``GET /v2/apps/{id}``, ``/v2/apps`` and ``/v2/apps/{group}/*`` that was kept in a file. A group that
#: lists apps and nothing else would delete those of the root that are not in it; it has an id.
_ANSWERS: Final = ({"app"}, {"apps"}, {"*"})


class Unreadable(PermanentError):
    """A file cannot be read or holds no definition."""


@dataclass(frozen=True)
class Document:
    """One definition and where it came from."""

    source: str
    kind: Literal["app", "pod", "apps", "group"]
    body: Any

    def apps(self) -> Iterator[tuple[str, Json]]:
        """Yield each app and pod in it with its absolute id. Whatever has no readable id is left for the API to refuse."""
        if self.kind == "group":
            yield from _in_group(self.body, "/")
        else:
            yield from _in_list(self.body if self.kind == "apps" else [self.body], "/")


def load(path: str) -> list[Document]:
    """Read a file, ``-`` being standard input; YAML may hold several documents. Raises Unreadable."""
    source, bodies = read(path)
    found = [document(source, body) for body in bodies]
    if not found:
        raise Unreadable(f"{source} is empty: write an app, a list of apps or a group")
    return found


def read(path: str) -> tuple[str, list[Any]]:
    """Return what a file is called, and what it holds, whatever that is. Raises Unreadable."""
    import yaml  # takes longer to import than most commands to run

    source = "standard input" if path == "-" else path
    try:
        # Whatever the locale is; and without the mark that some editors begin with.
        text = (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{source}: is no text in UTF-8, by its byte {error.start}: save it as UTF-8") from error
    except OSError as error:
        raise Unreadable(f"{source}: {error.strerror or error}") from error
    if path.endswith(".json") and text.lstrip().startswith(("//", "/*")):
        raise Unreadable(f"{source} begins with a comment, and JSON has none: remove it, or write it into a field of its own")
    try:
        # JSON first: YAML takes nearly all of it, but no tabs.
        is_json = text.lstrip()[:1] in ("{", "[")
        if is_json:
            bodies = [json.loads(text, object_pairs_hook=_once, parse_int=strict_json.integer)]
        else:
            bodies = list(yaml.load_all(text, _yaml_loader()))
        return source, [_plain(body) for body in bodies if body is not None]
    except RecursionError as error:
        raise Unreadable(f"{source} is nested too deeply: {strict_json.DEPTH_MAX} levels are plenty") from error
    except (ValueError, yaml.YAMLError) as error:
        raise Unreadable(f"{source} is neither JSON nor YAML: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """Make an object of its pairs. Raises ValueError for a key that stands there twice: one of the two would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object: keep one")
    return found


def _yaml_loader() -> Any:
    """Return a loader for which keys are the text that stands there: to YAML itself ON is true, and 8080 a number."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    key.tag = "tag:yaml.org,2002:str"
            # Before merges ("<<") are resolved, whose keys may well be there already.
            _once([(key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
            return node

    return Loader


def document(source: str, body: Any) -> Document:
    """Return what a file holds as a definition. Raises Unreadable."""
    if isinstance(body, list):
        return Document(source, "apps", body)
    if not isinstance(body, dict):
        raise Unreadable(f"{source} holds {_kind(body)} instead of an app, a list of apps or a group")
    if body.keys() in _ANSWERS and isinstance(listed := next(iter(body.values())), list | dict):
        return document(source, listed)
    if body.keys() & {"run", "schedule"} and not body.keys() & {"cmd", "args", "container", "containers"}:
        raise Unreadable(f"{source} holds a job, and no app: eratos job apply takes Metronome's, Chronos' is to be written anew")
    if body.keys() & {"apps", "pods", "groups"}:
        return Document(source, "group", body)
    if not isinstance(body.get("id"), str):
        raise Unreadable(f'{source} holds no id, so it is no app: add "id": "/name"')
    try:
        ids.app_id(body["id"])
    except ValueError as error:
        raise Unreadable(f"{source}: /id {error}") from error
    return Document(source, "pod" if is_pod(body) else "app", body)


def _kind(body: Any) -> str:
    if isinstance(body, bool):
        return "a truth value"
    return "text" if isinstance(body, str) else "a number" if isinstance(body, int | float) else "a date"


def is_pod(body: Mapping[str, Any]) -> bool:
    """Return whether a definition is a pod's: no app has containers."""
    return "containers" in body


def _plain(body: Any) -> Any:
    """Undo YAML's dates: to an API they are text. Raises ValueError for what no JSON can hold, or only at great length."""
    left = VALUES_MOST

    def plain(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > strict_json.DEPTH_MAX:
            raise ValueError(
                f"it has more than {strict_json.DEPTH_MAX} levels, or {VALUES_MOST} values: do its aliases repeat themselves?"
            )
        match value:
            case dict():
                return {str(key): plain(item, depth + 1) for key, item in value.items()}
            case list():
                return [plain(item, depth + 1) for item in value]
            case datetime.date():
                return value.isoformat()
            case float() if not math.isfinite(value):
                raise ValueError(f"{value} is no number of JSON: write one with digits")
            case None | bool() | int() | float() | str():
                return value
        raise ValueError(f"it holds {type(value).__name__}, which no JSON can: write text, numbers, lists and objects")

    return plain(body, 0)


def _in_list(items: Any, base: str) -> Iterator[tuple[str, Json]]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            try:
                yield ids.app_id(item["id"], base), item
            except ValueError:
                continue


def _in_group(group: Any, base: str) -> Iterator[tuple[str, Json]]:
    if not isinstance(group, Mapping):
        return
    try:
        name = ids.absolute(str(group.get("id") or ""), base)
    except ValueError:
        return
    yield from _in_list(group.get("apps"), name)
    yield from _in_list(group.get("pods"), name)
    children = group.get("groups")
    for child in children if isinstance(children, list) else ():
        yield from _in_group(child, name)
