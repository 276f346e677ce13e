"""Servers that the tests of one module share, with nothing of the test before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.controller import FakeController
from support.tunnel_world import World, served

from eratos.scheduler.access.tunnel_limits import TunnelLimits


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("tunnels"), TunnelLimits(commands=2, connections=2)) as world:
        yield world


@pytest.fixture
def world(module_world: World, request: pytest.FixtureRequest) -> World:
    """The servers, with nothing of the test before."""
    module_world.controller.machine = FakeController().machine
    module_world.refusing.clear()
    module_world.through = getattr(request, "param", "leader")
    return module_world
