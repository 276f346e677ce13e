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
    """Tell that consul-template has ended lately, and how by the note (``services/consul-template/finish``)."""
    try:
        if time.time() - note.stat().st_mtime >= _FRESH_S:
            return ()
        how = note.read_text().strip() or "no word: a full disk?"
    except OSError:
        return ()
    return (
        f"balancer.ctmpl: consul-template ended with {how} and is started again; until it runs, no change in Consul arrives: "
        "the container's log says why",
    )
