"""The bounds of ``eratos.autoscale`` in a definition as users write it, before anything is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stated_bounds(app: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the fewest and the most instances that an app states; None for what it does not state, or not as a number."""
    eratos = app.get("eratos")
    policy = eratos.get("autoscale") if isinstance(eratos, dict) else None
    least, most = (policy.get(name) if isinstance(policy, dict) else None for name in ("min", "max"))
    return _positive(least), _positive(most)


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
