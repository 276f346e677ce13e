"""``python -m eratos.cli`` where the command's own dependencies are missing."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT_TYPER = """
import sys
sys.modules["typer"] = None  # makes the import fail as if it were not installed
from eratos.cli.__main__ import main
main()
"""


def test_missing_dependencies_are_named_with_the_command_to_install_them() -> None:
    ended = subprocess.run([sys.executable, "-P", "-c", _WITHOUT_TYPER], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "pip install 'eratos[cli]'" in ended.stderr
    assert "Traceback" not in ended.stderr
