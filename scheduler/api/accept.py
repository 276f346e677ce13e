"""Which form of an answer a client prefers, by its header ``Accept`` (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

JSON = "application/json"
TEXT = "text/plain"


def preferred(header: str | None, offered: Sequence[str]) -> str | None:
    """Return the media type that a client likes best, the first of equals; None: it takes none of them."""
    if not header or not header.strip():
        return offered[0]
    wanted = [_range(item) for item in header.split(",") if item.strip()]
    # The most specific range that fits a type decides, whatever the others say.
    liked = {kind: max(((_fits(name, kind), quality) for name, quality in wanted), default=(0, 0.0)) for kind in offered}
    best = max(offered, key=lambda kind: liked[kind][1] if liked[kind][0] else 0.0)
    return best if liked[best][0] and liked[best][1] > 0 else None


def _range(item: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in item.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(1.0, max(0.0, float(value)))
            except ValueError:
                return name, 0.0
    return name, 1.0


def _fits(name: str, kind: str) -> int:
    """Return how closely a range fits a media type; 0: not at all."""
    if name == kind:
        return 3
    if name == kind.partition("/")[0] + "/*":
        return 2
    return 1 if name in ("*/*", "*") else 0
