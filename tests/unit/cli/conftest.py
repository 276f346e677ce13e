"""An API for each test of the command line, and nothing of what a user of this machine has set for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command_line import a_session
from support.controller import FakeController

from eratos.cli.session import Session


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where the contexts are in this test."""
    for name in ("URL", "CONTEXT", "TOKEN", "TOKEN_FILE", "CREDENTIALS", "CA_FILE", "CERT_FILE"):
        monkeypatch.delenv(f"ERATOS_{name}", raising=False)
    path = tmp_path / "config" / "contexts.json"
    monkeypatch.setenv("ERATOS_CONFIG", os.fspath(path))
    return path


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def session(controller: FakeController) -> Session:
    return a_session(controller)


@pytest.fixture
def locking() -> FakeController:
    return FakeController(locks=True)
