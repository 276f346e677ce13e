"""A balancer with four servers in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.applied import Rig, of

from eratos.haproxy.apply import RELOADED


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    assert rig.apply(of("a", "b", "c", "d")).result == RELOADED
    return rig
