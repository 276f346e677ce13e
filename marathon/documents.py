"""What any document must be before it is looked at: JSON in whole characters, of bounded depth."""

from __future__ import annotations

import json
from typing import Any, Final

from .errors import InvalidApp, Problem

#: A tree of groups takes two levels for each group; no definition comes near.
DEPTH_MAX: Final = 64


def check(data: Any) -> None:
    """Refuse what no JSON document may hold, or none that anybody wrote on purpose. Raises InvalidApp."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
        if _depth(data) > DEPTH_MAX:
            raise RecursionError
    except UnicodeEncodeError as error:
        raise InvalidApp([Problem("/", f"holds a half character, {error.object[error.start]!r}: write whole ones")]) from error
    except RecursionError:
        raise InvalidApp([Problem("/", f"is nested too deeply: {DEPTH_MAX} levels are plenty")]) from None
    except (TypeError, ValueError) as error:
        raise InvalidApp([Problem("/", f"is no JSON: {error}")]) from error


def _depth(data: Any) -> int:
    if not isinstance(data, dict | list):
        return 0
    return 1 + max(map(_depth, data.values() if isinstance(data, dict) else data), default=0)
