"""From JSON to the pod: what users write, read and checked in one place, and what stores hold, read back.

The same steps as :mod:`.definition` takes with apps: bounds, normalisation, models, rules; every problem at once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from . import bounds, ids, pod_rules, pydantic_errors, strict_json, words
from .app import App
from .definition import only_scaled, take_out
from .errors import PROBLEMS_MOST, InvalidInItself, Problem, json_path
from .normalise import network, without_nulls
from .pod import Pod
from .pod_parts import PodSpec
from .pydantic_errors import kind

_LINUX: Final = "is refused: it belongs to Mesos' own containers, and eratos runs Docker's: remove it"
_PERSISTENT: Final = "is refused: eratos keeps no persistent volumes for pods: use host, or nothing for a folder of the instance"
_NO_IMAGE: Final = (
    "is missing: name a Docker image; what runs without one is a process of the host, which shares neither network nor volumes "
    "with others"
)
_CHECK: Final = "its answer is for others to read, and a pod's would be one of several: use healthCheck"
_CGROUPS: Final = "every container of Docker's has a cgroup of its own"
_OVER_TCP: Final = frozenset({"http", "https"})
_MAX_INSTANCES: Final = "no field of Marathon 1.11, whose documents still show it: nothing scales by itself"


def parse(data: Any, base: str = "/", before: App | None = None) -> Pod:
    """Read a user's definition; a relative id is taken below the group ``base``. Raises InvalidApp.

    What is only scaled stays as the pod that there is ``before`` was accepted.
    """
    if not isinstance(data, Mapping):
        raise InvalidInItself([Problem("/", f"must be an object with the pod's fields, not {kind(data)}")])
    strict_json.check(data)
    given = {key: value for key, value in data.items() if key != "version"}
    if too_large := list(itertools.islice(bounds.sizes(given), PROBLEMS_MOST + 1)):
        raise InvalidInItself(too_large)
    return _read(given, base, [*itertools.islice(bounds.values(given), PROBLEMS_MOST + 1)], stored=False, before=before)


def examine(data: Mapping[str, Any], base: str = "/") -> tuple[Pod, tuple[Problem, ...]]:
    """Read a user's definition; what is wrong with one comes as InvalidApp, as nothing stands in for what is unreadable."""
    return parse(data, base), ()


def restore(data: Mapping[str, Any]) -> Pod:
    """Read what :meth:`.pod.Pod.to_json` wrote, version included. Raises InvalidApp."""
    given = {key: value for key, value in data.items() if key != "version"}
    return _read(given, "/", [], stored=True).with_version(str(data.get("version") or ""))


def _read(data: Mapping[str, Any], base: str, problems: list[Problem], *, stored: bool, before: App | None = None) -> Pod:
    dropped: list[tuple[str, str]] = []
    raw = {key: without_nulls(value, key) for key, value in data.items() if value is not None}
    words.spell(raw, words.OF_PODS)
    problems += _normalised(raw, dropped)
    if isinstance(raw.get("id"), str):
        try:
            raw["id"] = ids.app_id(raw["id"], base)
        except ValueError as error:
            problems.append(Problem("/id", str(error)))
    try:
        spec = _modelled(raw, dropped)
        pod = Pod.of(spec)
    except ValidationError as error:
        raise InvalidInItself([*problems, *pydantic_errors.problems(error, PodSpec)]) from None
    stored = stored or (before is not None and only_scaled(before, pod))
    problems += pod_rules.problems(pod, stored=stored)
    if problems:
        raise InvalidInItself(problems)
    return pod.with_dropped(dropped) if dropped else pod


def _normalised(raw: dict[str, Any], dropped: list[tuple[str, str]]) -> Iterator[Problem]:
    """Bring a document to what the models read, and yield what only the original shows."""
    if raw.pop("linuxInfo", None):
        yield Problem("/linuxInfo", _LINUX)
    if raw.pop("legacySharedCgroups", None):
        dropped.append(("/legacySharedCgroups", _CGROUPS))
    scaling = raw.get("scaling")
    if isinstance(scaling, dict) and scaling.pop("maxInstances", None) is not None:
        dropped.append(("/scaling/maxInstances", _MAX_INSTANCES))
    if isinstance(raw.get("networks"), list):
        found: list[Problem] = []
        refuse = lambda place, message: found.append(Problem(json_path(place), message))  # noqa: E731
        raw["networks"] = [network(each, index, refuse) for index, each in enumerate(raw["networks"])] or [{"mode": "host"}]
        yield from found
        modes = [each.get("mode") for each in raw["networks"] if isinstance(each, dict)]
        if len(modes) > 1 and (alone := next((mode for mode in modes if mode != "container"), None)):
            yield Problem("/networks", f"may hold one network of mode {alone}, alone")
            raw["networks"] = raw["networks"][:1]
    for index, volume in _objects(raw, "volumes"):
        if volume.pop("persistent", None) is not None:
            yield Problem(f"/volumes({index})/persistent", _PERSISTENT)
    yield from _variables(raw, "")
    for index, container in _objects(raw, "containers"):
        place = f"/containers({index})"
        if container.pop("linuxInfo", None):
            yield Problem(f"{place}/linuxInfo", _LINUX)
        if container.pop("check", None):
            dropped.append((f"{place}/check", _CHECK))
        for number, endpoint in _objects(container, "endpoints"):
            _transports(endpoint, f"{place}/endpoints({number})/protocol", dropped)
        if "image" not in container:
            yield Problem(f"{place}/image", _NO_IMAGE)
            container["image"] = {"id": "-"}
        yield from _variables(container, place)


def _transports(endpoint: dict[str, Any], place: str, dropped: list[tuple[str, str]]) -> None:
    """Have an endpoint name TCP in place of what is spoken over it, as Marathon's own examples do (pods.md)."""
    given = endpoint.get("protocol")
    if isinstance(given, list) and all(isinstance(name, str) for name in given) and not _OVER_TCP.isdisjoint(given):
        endpoint["protocol"] = list(dict.fromkeys("tcp" if name in _OVER_TCP else name for name in given))
        dropped.append((place, "what is spoken over TCP is nothing to eratos, which shows and advertises tcp"))


def _variables(holder: Mapping[str, Any], place: str) -> Iterator[Problem]:
    variables = holder.get("environment")
    if not isinstance(variables, dict):
        return
    for name, value in variables.items():
        if not name or "=" in name:
            yield Problem(f"{place}/environment/{name}", "is no name of a variable: use letters, digits and underscores")
        elif not isinstance(value, str | dict):
            yield Problem(f"{place}/environment/{name}", "must be a string: put quotes around it")
            variables[name] = ""


def _objects(raw: Mapping[str, Any], field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    value = raw.get(field)
    for index, each in enumerate(value if isinstance(value, list) else ()):
        if isinstance(each, dict):
            yield index, each


def _modelled(raw: dict[str, Any], dropped: list[tuple[str, str]]) -> PodSpec:
    """Return what a document states; unknown fields that nobody can have meant for a known one are taken out and noted."""
    try:
        return PodSpec.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        unknown = [place for place in pydantic_errors.unheard_of(error, PodSpec, {}) if take_out(raw, place)]
        if not unknown:
            raise
        shown = (tuple(strict_json.shortened(step) if isinstance(step, str) else step for step in place) for place in unknown)
        dropped += [(json_path(place), "no field that eratos knows, nor Marathon") for place in shown]
        return _modelled(raw, dropped)
