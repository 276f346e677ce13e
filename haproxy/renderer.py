"""Whether consul-template stays up. It has no page to ask; what is left of one that ended is a note by the container's init.

One that cannot read its template or its settings ends at once, again and again. Meanwhile HAProxy serves the last good
configuration, and all that could be seen from outside is that changes do not arrive.
"""

from __future__ import annotations

import time
from pathlib import Path

#: An end within this time is told. The init starts it again every second, so one that cannot run is told all the time.
_FRESH_S = 10.0


def ended(note: Path) -> tuple[str, ...]:
    """Return what the note says (``services/consul-template/finish``), or nothing where consul-template has not ended lately."""
    try:
        fresh = time.time() - note.stat().st_mtime < _FRESH_S
        return (note.read_text().strip(),) if fresh else ()
    except OSError:
        return ()
