"""Where the repository and its parts are, from wherever a test stands."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DOCS = ROOT / "docs"
APP_FILES = TESTS / "app_files"
EXAMPLE_APPS = ROOT / "marathon" / "apps"
