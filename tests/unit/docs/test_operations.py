"""What docs/operations.md tells an operator to install does what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from support.folders import DOCS

OPERATIONS = DOCS / "operations.md"


def test_the_drop_in_for_consul_forgets_eratos_services_once_a_boot(tmp_path: Path) -> None:
    match = re.search(r"ExecStartPre=(/bin/sh -c '.*?')\n```", OPERATIONS.read_text(), re.DOTALL)
    assert match
    command = match[1].replace("/opt/consul", str(tmp_path))
    for folder in ("services", "checks"):
        (tmp_path / folder).mkdir()
    ours, check, foreign = tmp_path / "services" / "a", tmp_path / "checks" / "a", tmp_path / "services" / "b"
    foreign.write_text('{"Token":"","Service":{"ID":"db","Service":"db","Meta":{"eratos-like":"eratos-x"}}}')

    def register() -> None:
        ours.write_text('{"Token":"","Service":{"ID":"eratos-shop.instance-1._app.1","Service":"shop"}}')
        check.write_text('{"Check":{"CheckID":"service:x","ServiceID":"eratos-shop.instance-1._app.1"}}')

    register()
    subprocess.run(["sh", "-c", command], check=True, timeout=30)
    assert (ours.exists(), check.exists(), foreign.exists()) == (False, False, True)
    register()
    subprocess.run(["sh", "-c", command], check=True, timeout=30)
    assert (ours.exists(), check.exists(), foreign.exists()) == (True, True, True), "a restart of the agent alone"
