"""What would be uploaded: it passes the package index' checks, and pip needs nothing beside it. Packages come from the index."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from devtool import distribution, version
from support.folders import ROOT

INSTALL_S = 300
#: Runs in the installed one: it must not find this working tree.
CHECK = """
import importlib.metadata, importlib.util, pathlib, sys
import eratos.scheduler.process, eratos.executor.loop, eratos.scheduler
where = pathlib.Path(eratos.scheduler.__file__).parent
assert where.is_relative_to(sys.prefix), where
assert (where / "dashboard" / "dashboard.js").stat().st_size > 10_000
assert not importlib.util.find_spec("pymesos") and not importlib.util.find_spec("http_parser")
print(importlib.metadata.version("eratos"))
"""


def test_an_empty_environment_needs_the_wheel_alone(tmp_path: Path) -> None:
    source, wheel = sorted(distribution.build(Path(sys.executable), tmp_path / "dist"), key=lambda path: path.suffix != ".gz")
    assert (source.name, wheel.name) == (f"eratos-{version.current()}.tar.gz", f"eratos-{version.current()}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    built = {f"eratos/scheduler/dashboard/{path.name}" for path in (ROOT / "scheduler" / "dashboard").iterdir()}
    assert built <= set(names)
    assert not [name for name in names if not name.startswith(("eratos/", "eratos-"))]
    with tarfile.open(source) as opened_source:
        inside = {name.partition("/")[2] for name in opened_source.getnames()}
    assert {"CHANGELOG.md", "LICENSE", "docs/install.md", "dashboard/src/main.tsx", "compose-dev/Dockerfile"} <= inside

    fresh = tmp_path / "fresh"
    for command in (["venv", "-q", str(fresh)], ["pip", "install", "-q", f"{wheel}[scheduler,executor,cli]"]):
        target = ["--python", str(fresh)] if command[0] == "pip" else ["--python", sys.executable]
        subprocess.run([sys.executable, "-m", "uv", *command, *target], check=True, timeout=INSTALL_S)
    check = [str(fresh / "bin" / "python"), "-I", "-c", CHECK]
    said = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stdout.strip()) == (0, version.current()), said.stderr
    for script in ("eratos", "eratos-scheduler", "eratos-executor", "eratos-companion"):
        shown = subprocess.run([str(fresh / "bin" / script), "--help"], capture_output=True, text=True, timeout=60, check=False)
        assert shown.returncode == 0 and shown.stdout, f"{script}: {shown.stderr}"
