"""The grammar of app and group ids, and how a relative one is resolved (Marathon's ``PathId``)."""

from __future__ import annotations

import re
from typing import Final

#: One name between slashes (stringTypes.raml, PathId): lowercase letters, digits, dashes inside, dots between names.
_NAME = re.compile(r"(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])(?:\.(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]))*")

#: With the instance's UUID and the attempt behind it, a task id must stay a file name (255 bytes) on the agent.
ID_LENGTH_MAX = 180
#: A longer text is not even looked at: with ``..`` in it a longer one may name a shorter id.
LENGTH_READ = 4096


#: No id may end in one of these (PathId.scala): in an address they ask for something of the app before them.
RESERVED: Final = ("restart", "tasks", "versions")


def absolute(path: str, base: str = "/") -> str:
    """Return the absolute form of an id that is relative to the group ``base``. Raises ValueError with the reason."""
    if len(path) > LENGTH_READ:
        raise ValueError(f"is {len(path)} characters long: use at most {ID_LENGTH_MAX}")
    names: list[str] = [] if path.startswith("/") else [name for name in base.split("/") if name]
    for name in path.strip("/").split("/"):
        if name == "..":
            if not names:
                raise ValueError(f"'{path}' leads above the root group: use fewer '..'")
            names.pop()
        elif name in ("", "."):
            continue
        elif not _NAME.fullmatch(name):
            raise ValueError(
                f"'{name}' is no valid name: use lowercase letters, digits, dashes and dots, with a letter or digit at both ends"
            )
        else:
            names.append(name)
    whole = "/" + "/".join(names)
    if len(whole) > ID_LENGTH_MAX:
        raise ValueError(f"is {len(whole)} characters long: use at most {ID_LENGTH_MAX}")
    return whole


def is_name(text: str) -> bool:
    """Return whether something may stand between two slashes of an id."""
    return _NAME.fullmatch(text) is not None


def top(path: str) -> str:
    """Return the name of the top-level group that an app or a group lies in or is: ``/shop/cart`` -> ``shop``.

    Empty for the root and for an app that lies in it.
    """
    return path.split("/")[1] if path.count("/") > 1 else ""


def app_id(path: str, base: str = "/") -> str:
    """Return an app's absolute id; like :func:`absolute`, but the root is no app."""
    whole = absolute(path, base)
    if whole == "/":
        raise ValueError("must name an app, such as /shop/cart")
    return whole


def reserved(path: str) -> str:
    """Say what is wrong with the last name of an id, or nothing."""
    last = path.rstrip("/").rpartition("/")[2]
    if last not in RESERVED:
        return ""
    return f"must not end in '{last}': {', '.join(RESERVED)} have a meaning of their own behind an id; choose another last name"


def parent(path: str) -> str:
    """Return the group that holds an absolute id: ``/shop/cart`` -> ``/shop``, ``/shop`` -> ``/``."""
    return path.rsplit("/", 1)[0] or "/"


def within(path: str, group: str) -> bool:
    """Return whether an absolute id is the group itself or lies somewhere below it."""
    return group == "/" or path == group or path.startswith(group + "/")
