"""On a kernel that knows only the older of the two kinds of iptables: our own scripts, run with programs that play it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from devtool.chaos.network_strikes import OR_LEGACY
from support.folders import ROOT

#: ``iptables`` is the newer kind until ``update-alternatives`` says otherwise; $KERNEL knows one kind.
_PROGRAMS = {
    "iptables": '[ "$KERNEL" = nft ] || [ -e "$FOLDER/legacy" ] || { echo "iptables: not supported" >&2; exit 4; }',
    "iptables-legacy": '[ "$KERNEL" = legacy ]',
    "update-alternatives": '[ "$*" = "--set iptables /usr/sbin/iptables-legacy" ] && touch "$FOLDER/legacy"',
    "ip": 'echo "2: eth1    inet 10.86.1.1/24 scope global eth1"',
}


def run(folder: Path, kernel: str, command: list[str]) -> list[str]:
    """Run a script; return the rules that were taken."""
    for name, text in _PROGRAMS.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\n{text} || exit 1\necho "{name} $*" >> "$FOLDER/done"\n')
        program.chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "FOLDER": str(folder), "KERNEL": kernel}
    host = {"ERATOS_HOST_DNS": "10.86.1.2", "ERATOS_HOST_BRIDGE": "b"}
    subprocess.run(command, env={**environment, **host}, check=True, capture_output=True, timeout=60)
    done = (folder / "done").read_text().splitlines()
    return [line for line in done if line.startswith("iptables") and not line.endswith(" -S")]


@pytest.mark.parametrize("kernel", ["nft", "legacy"])
def test_a_played_host_publishes_ports(kernel: str, tmp_path: Path) -> None:
    taken = run(tmp_path, kernel, ["sh", str(ROOT / "compose-dev" / "images" / "agent" / "docker0")])
    assert "iptables -w -t nat -N ERATOS" in taken and len(taken) == 5
    assert (tmp_path / "legacy").exists() == (kernel == "legacy")


@pytest.mark.parametrize(("kernel", "program"), [("nft", "iptables"), ("legacy", "iptables-legacy")])
def test_chaos_cuts_networks_and_undoes_it(kernel: str, program: str, tmp_path: Path) -> None:
    taken = run(tmp_path, kernel, ["sh", "-ec", f"{OR_LEGACY}iptables -w -I X && iptables -w -I Y; iptables -w -D X"])
    assert taken == [f"{program} -w -I X", f"{program} -w -I Y", f"{program} -w -D X"]
