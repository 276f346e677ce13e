"""Entry of the ``eratos`` command; the one place that works without the command's own dependencies."""

from __future__ import annotations

import gc
import sys

from eratos.common.halves import half

#: Objects between two searches for garbage. What imports make stays anyway, and is fewer; a log that is followed makes more.
_GARBAGE_AFTER = 100_000


def main() -> None:
    """Run the command and exit with the status that ``eratos --help`` explains."""
    gc.set_threshold(_GARBAGE_AFTER)
    with half("eratos", "cli"):
        from .main import run
    status = run(sys.argv[1:])
    gc.freeze()  # all goes with the process, so nothing of it is looked through once more
    sys.exit(status)


if __name__ == "__main__":
    main()
