"""A description of an image and of the app that runs it: files of YAML or JSON, merged, checked, and read into a model.

Of several files the later ones win: maps are merged key by key, anything else replaces what was there, and null takes it away.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eratos.marathon.errors import Problem

from .. import files
from ..files import Unreadable

Json = dict[str, Any]

_TOP = ("image", "app")
_IMAGE = ("name", "source", "dockerfile", "target", "platform", "args", "labels")
_SOURCE = ("path", "git", "reference", "folder")
#: Of the distribution project (reference.go): a host, which a dot or a port tells from a name, and then parts in lower case.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:localhost|{_LABEL}(?:\.{_LABEL})+)(?::\d+)?|{_LABEL}:\d+"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:(?:{_HOST})/)?{_PART}(?:/{_PART})*")
_NAME_MAX = 255
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Build arguments reach Docker's command by its environment, where these would change the command itself.
_RESERVED = re.compile(r"PATH|HOME|DOCKER_\w+|LD_\w+")
_NO_ARGUMENT = "can be no build argument: it has letters, digits and _, and is not PATH, HOME, DOCKER_... or LD_..."
_NO_LABEL = "is no name of a label: write one without blanks and ="
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_REFERENCE = re.compile(r"[^\s~^:?*\[\\-][^\s~^:?*\[\\]*")


class Invalid(Unreadable):
    """A description is no good; the message names each key and what is to be written there."""


@dataclass(frozen=True)
class Git:
    """Where a repository is, and what of it."""

    url: str
    reference: str  #: a branch, a tag, ``refs/...``, or a commit with all its digits
    folder: str = ""  #: the build context in it; empty: all of it


@dataclass(frozen=True)
class Description:
    """An image, and the app that runs it."""

    name: str  #: with its registry, without a tag
    dockerfile: str = "Dockerfile"  #: relative to the build context
    path: Path | None = None  #: the build context on this machine, where it is not in a repository
    git: Git | None = None
    target: str = ""
    platform: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    app: Json | None = None  #: as Marathon has it, without an image
    files: tuple[Path, ...] = ()  #: what it was read from

    def with_image(self, image: str) -> Json:
        """Return the app that runs an image. The description has one."""
        assert self.app is not None
        container = {"type": "DOCKER", **(self.app.get("container") or {})}
        return {**self.app, "container": {**container, "docker": {**(container.get("docker") or {}), "image": image}}}


def load(paths: Sequence[str]) -> Description:
    """Read and merge files, ``-`` being standard input. Raises Unreadable."""
    merged: Json = {}
    sources = []
    for path in paths:
        source, bodies = files.read(path)
        sources.append(source)
        for body in bodies:
            if not isinstance(body, dict):
                raise Invalid(f"{source} holds {type(body).__name__} instead of the keys image and app")
            _resolve_path(body, Path(path).parent if path != "-" else Path())
            merged = merge(merged, body)
    found = tuple(Path(path).resolve() for path in paths if path != "-")
    return check(merged, " + ".join(sources), found)


def merge(base: Json, over: Json) -> Json:
    """Return one map of two, of which the second wins."""
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            # Of a map that comes in whole the nulls go as well.
            merged[key] = merge(merged[key] if isinstance(merged.get(key), dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _resolve_path(body: Json, folder: Path) -> None:
    """Have a path on this machine be relative to the file that names it, whichever files it is merged with."""
    image = body.get("image")
    source = image.get("source") if isinstance(image, dict) else None
    if isinstance(source, dict) and isinstance(source.get("path"), str):
        source["path"] = str((folder / source["path"]).resolve())


def check(body: Json, source: str, found_in: tuple[Path, ...] = ()) -> Description:
    """Read a merged description. ``source`` names the files. Raises Invalid naming every key that is wrong."""
    problems = list(_problems(body))
    if problems:
        raise Invalid(f"{source}: " + "; ".join(f"{problem.path} {problem.message}" for problem in problems))
    image = body["image"]
    where = image["source"]
    git = Git(where["git"], where["reference"], _inside(where.get("folder", ""))) if "git" in where else None
    return Description(
        name=image["name"],
        dockerfile=_inside(image.get("dockerfile", "Dockerfile")),
        path=None if git else Path(where["path"]),
        git=git,
        target=image.get("target", ""),
        platform=image.get("platform", ""),
        args=image.get("args", {}),
        labels=image.get("labels", {}),
        app=body.get("app"),
        files=found_in,
    )


def _inside(path: str) -> str:
    """Return a path below a folder as it is shortest, the folder itself being empty."""
    shortest = posixpath.normpath(path) if path else ""
    return "" if shortest == "." else shortest


def _problems(body: Json) -> Iterator[Problem]:
    yield from _unknown("", body, _TOP)
    image = body.get("image")
    if not isinstance(image, dict):
        yield _missing("image", image, "describe the image: its name and its source")
    else:
        yield from _unknown("image.", image, _IMAGE)
        yield from _image_problems(image)
    if "app" in body:
        yield from _app_problems(body["app"])


def _image_problems(image: Json) -> Iterator[Problem]:
    name = image.get("name")
    if not isinstance(name, str):
        yield _missing("image.name", name, "name the image with its registry, such as registry.example:5000/shop/web")
    elif len(name) > _NAME_MAX or not _NAME.fullmatch(name):
        yield Problem(
            "image.name",
            f"is {name!r}: write a registry and a name in lower case, such as registry.example:5000/shop/web, and no tag, which "
            "is made of the image's id",
        )
    source = image.get("source")
    if not isinstance(source, dict):
        yield _missing("image.source", source, "name a folder (path: .), or a repository (git: URL, reference: v1.4)")
    else:
        yield from _unknown("image.source.", source, _SOURCE)
        yield from _source_problems(source)
    yield from _text("image.dockerfile", image, _is_below, "a path in the build context, such as docker/web.Dockerfile")
    yield from _text("image.target", image, _WORD.fullmatch, "the name of a stage of the Dockerfile")
    yield from _text("image.platform", image, _WORD.fullmatch, "a platform, such as linux/amd64")
    yield from _map_problems("image.args", image.get("args", {}), _is_argument, _NO_ARGUMENT)
    yield from _map_problems("image.labels", image.get("labels", {}), _is_label, _NO_LABEL)


def _source_problems(source: Json) -> Iterator[Problem]:
    if ("path" in source) == ("git" in source):
        both = "has both path and git: take one away, in a later file by null" if "path" in source else ""
        yield Problem("image.source", both or "has neither path nor git: name a folder (path: .), or a repository (git: URL)")
        return
    if "path" in source:
        yield from _text("image.source.path", source, bool, "a folder, relative to the file that names it")
        for key in ("reference", "folder"):
            if key in source:
                yield Problem(f"image.source.{key}", "is for a repository: take it away, or name the repository by git")
        return
    yield from _text(
        "image.source.git", source, _is_url, "the URL of a repository, without user and password: git has helpers for these"
    )
    if "reference" not in source:
        yield _missing("image.source.reference", None, "name a branch, a tag, or a commit with all its digits")
    yield from _text("image.source.reference", source, _REFERENCE.fullmatch, "a branch, a tag, or a commit with all its digits")
    yield from _text("image.source.folder", source, _is_below, "a folder of the repository, such as services/web")


def _app_problems(app: Any) -> Iterator[Problem]:
    if not isinstance(app, dict):
        yield _missing("app", app, "write Marathon's definition of the app, or take the key away")
        return
    if files.is_pod(app):
        yield Problem("app", "is a pod, whose containers have an image each: name theirs by hand, and use eratos app apply")
        return
    if not isinstance(app.get("id"), str):
        yield _missing("app.id", app.get("id"), "name the app, such as /shop/web")
    container = app.get("container", {})
    docker = container.get("docker", {}) if isinstance(container, dict) else None
    if not isinstance(docker, dict):
        yield Problem("app.container", "is none: write a map, or take it away")
    elif "image" in docker:
        yield Problem("app.container.docker.image", "is what image describes: take it away")


def _unknown(place: str, found: Json, known: Sequence[str]) -> Iterator[Problem]:
    for key in (key for key in found if key not in known):
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        yield Problem(f"{place}{key}", f"is no key that eratos knows: {hint}")


def _missing(place: str, found: Any, fix: str) -> Problem:
    return Problem(place, f"{'is missing' if found is None else 'is ' + type(found).__name__}: {fix}")


def _text(place: str, holder: Json, fits: Callable[[str], object], what: str) -> Iterator[Problem]:
    value = holder.get(place.rpartition(".")[2])
    if value is not None and not (isinstance(value, str) and fits(value)):
        shown = "" if place.endswith(".git") else f" {value!r}"  # which may hold a password
        yield Problem(place, f"is{shown or ' none'}: write {what}")


def _map_problems(place: str, found: Any, takes: Callable[[str], object], what: str) -> Iterator[Problem]:
    if not isinstance(found, dict):
        yield Problem(place, f"is {type(found).__name__}: write names with their values")
        return
    for name, value in found.items():
        if not takes(name):
            yield Problem(f"{place}.{name}", what)
        elif not isinstance(value, str):
            # YAML reads 1.10 as 1.1, and yes as true.
            yield Problem(f"{place}.{name}", f"is {type(value).__name__} and not text: put it in quotes")


def _is_below(path: str) -> bool:
    return bool(path) and not path.startswith(("/", "-")) and posixpath.normpath(path).split("/")[0] != ".." and "\0" not in path


def _is_argument(name: str) -> bool:
    return _ARGUMENT.fullmatch(name) is not None and _RESERVED.fullmatch(name) is None


def _is_label(name: str) -> bool:
    return re.fullmatch(r"[^\s=]+", name) is not None


def _is_url(url: str) -> bool:
    """Return whether git may be given an address: it is no option and no helper program, and shows no password."""
    if url.startswith("-") or "::" in url or re.search(r"\s", url) or not url:
        return False
    try:
        split = urlsplit(url)
    except ValueError:
        return False
    # A user alone may be a token, but for ssh, where it is git's.
    return split.password is None and (split.username is None or split.scheme == "ssh")
