"""The dashboard that is committed is what its source makes, byte by byte, with the front end's own checks and tests passed.

Built in a stage of compose-dev/Dockerfile, with Debian's Node: nobody needs Node to run or to install eratos.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from support.containers import docker
from support.folders import ROOT

BUILT = ROOT / "scheduler" / "dashboard"
#: Packages come from Debian and from npm's registry.
BUILD_S = 900
IMAGE = "eratos-test/dashboard"


def build(folder: Path) -> None:
    """Build the stage by compose, which has BuildKit in itself: ``docker build`` needs a plugin for it."""
    arguments = {"BASE": "debian:trixie-slim", "NPM_CONFIG_REGISTRY": os.environ.get("NPM_CONFIG_REGISTRY", "")}
    stage = {"context": str(ROOT), "dockerfile": "compose-dev/Dockerfile", "target": "dashboard", "args": arguments}
    file = folder / "compose.json"
    file.write_text(json.dumps({"services": {"dashboard": {"image": IMAGE, "build": stage}}}))
    command = ["docker", "compose", "-p", "eratos-dashboard", "-f", str(file), "--progress=plain", "build"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_the_committed_bundle_is_what_its_source_makes(tmp_path: Path) -> None:
    build(tmp_path)
    container = docker("create", IMAGE, "nothing")  # it holds files, and none that could run
    try:
        docker("cp", f"{container}:/", str(tmp_path / "made"))
    finally:
        docker("rm", container)
        docker("rmi", IMAGE)
    made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir() if path.is_file() and path.stat().st_size}
    assert sorted(made) == sorted(path.name for path in BUILT.iterdir())
    differ = [name for name, content in made.items() if content != (BUILT / name).read_bytes()]
    assert differ == [], "build it anew and commit it: npm ci && npm run build in dashboard/"
