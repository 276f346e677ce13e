"""What of ``./dev chaos`` would touch something does not: commands are kept, and its files lie in the test's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from devtool.chaos import command, journal


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    done: list[tuple[str, ...]] = []

    def run(words: Any, **_: Any) -> str:
        done.append(tuple(words))
        return "20.10"

    monkeypatch.setattr(journal, "run", run)
    return done


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command.engine, "require", lambda: None)
    monkeypatch.setattr(command, "GENERATED", tmp_path)
    monkeypatch.setattr("devtool.alone.GENERATED", tmp_path)
