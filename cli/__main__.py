"""Entry of the ``eratos`` command; the one place that works without the command's own dependencies."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command and exit: 0 done, 1 refused or failed, 2 wrong usage."""
    try:
        from .main import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("eratos"):
            raise
        sys.exit(f"eratos: {error.name} is not installed; get what the command needs with: pip install 'eratos[cli]'")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
