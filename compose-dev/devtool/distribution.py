"""`./dev package`: the source distribution and the wheel, as they would be uploaded.

Both are made of the files that git knows, in a folder of their own: what lies about in a working tree, such as setuptools' own
build/ with modules that are gone, never gets in. The wheel is made of the source distribution, so that this one is complete.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .settings import ROOT
from .shell import run

_BUILD_S = 300


def build(python: Path, folder: Path) -> list[Path]:
    """Build both into a folder, and check them as the package index would. Return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        for listed in run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).split("\0"):
            if listed and (ROOT / listed).is_file():
                (tree / listed).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / listed, tree / listed)
        out = Path(name) / "out"
        # With the setuptools that is locked, not with what the index has today.
        options = ["--no-build-isolation", "--offline", "--python", str(python), "--quiet", "--out-dir", str(out)]
        run([str(python), "-m", "uv", "build", *options, str(tree)], timeout_s=_BUILD_S)
        built = sorted(path for path in out.iterdir() if path.suffix in (".whl", ".gz"))
        run([str(python), "-m", "twine", "check", "--strict", *map(str, built)], timeout_s=_BUILD_S)
        return [Path(shutil.copy2(path, folder / path.name)) for path in built]
