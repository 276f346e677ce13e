"""Definitions of apps as users write them, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp

VOLUME = {"containerPath": "/data", "hostPath": "/srv/data", "mode": "RW"}
DOCKER = {"docker": {"image": "shop/cart:1"}}


def parse(**fields: Any) -> App:
    return definition.parse({"id": "/shop/cart", "container": DOCKER} | fields)


def with_volume(**fields: Any) -> dict[str, Any]:
    return DOCKER | {"volumes": [{"containerPath": "/a"} | fields]}


def problems(**fields: Any) -> dict[str, str]:
    """Return the problems of a definition by path; there must be some."""
    with pytest.raises(InvalidApp) as invalid:
        parse(**fields)
    found: dict[str, str] = {}
    for problem in invalid.value.problems:
        found[problem.path] = f"{found.get(problem.path, '')} {problem.message}".strip()
    return found
