"""Entry of the ``eratos`` command; the one place that works without the command's own dependencies."""

from __future__ import annotations

import sys

from eratos.common.halves import half


def main() -> None:
    """Run the command and exit with the status that ``eratos --help`` explains."""
    with half("eratos", "cli"):
        from .main import run
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
