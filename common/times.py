"""Moments as people and Marathon's clients read them."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(at: float) -> str:
    """Return seconds since the epoch in Marathon's form, ``2026-01-31T12:00:00.123Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
