"""What a user of this machine has set for ``eratos`` is not for its tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where the contexts are in this test."""
    for name in ("URL", "CONTEXT", "TOKEN", "TOKEN_FILE", "CREDENTIALS", "CA_FILE", "CERT_FILE"):
        monkeypatch.delenv(f"ERATOS_{name}", raising=False)
    path = tmp_path / "config" / "contexts.json"
    monkeypatch.setenv("ERATOS_CONFIG", os.fspath(path))
    return path
