"""``eratos-executor``, which pip installs everywhere: it runs where the executor's libraries are, and says so elsewhere."""

from __future__ import annotations

from eratos.common.halves import half


def main() -> None:
    """Run the executor, see :mod:`eratos.executor.__main__`."""
    with half("eratos-executor", "executor"):
        from .__main__ import main as run
    run()
