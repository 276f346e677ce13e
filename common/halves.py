"""Each script needs its own half of eratos; ``pip install`` lays all of them down, whichever half was asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def half(script: str, extra: str) -> Iterator[None]:
    """Import a script's parts in this block: where a library is missing, the process ends with what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("eratos"):
            raise  # no library, but a fault of ours
        sys.exit(f"{script}: {error.name} is not installed: pip install 'eratos[{extra}]'")
