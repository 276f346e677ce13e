"""The locked dependencies: requirements/ has a file for each half of the project, with the digests of each package.

docs/adr/0025 says why. What is installed, here and in the images, comes of these files; `./dev lock` makes them of setup.cfg.
"""

from __future__ import annotations

from pathlib import Path

from .settings import ROOT
from .shell import run

FOLDER = ROOT / "requirements"
#: The extras of setup.cfg. The first builds packages that come as source, and has to be there before the others.
HALVES = ("build", "scheduler", "executor", "cli", "dev")
#: This repository, which the extra `dev` asks for itself.
_OWN = "eratos"
#: The oldest Python that is supported; newer ones are in the same file, with marks.
_OLDEST = "3.11"


def path(half: str) -> Path:
    """Return the file of a half."""
    return FOLDER / f"{half}.txt"


def of(*halves: str) -> tuple[str, ...]:
    """Return the names of files below the repository's root."""
    return tuple(str(path(half).relative_to(ROOT)) for half in halves)


def renew(python: Path, upgrade: bool) -> None:
    """Make the files anew. What is locked stays as it is where setup.cfg allows it, unless `upgrade`."""
    options = ["--universal", "--python-version", _OLDEST, "--generate-hashes", "--no-annotate", "--no-header", "--quiet"]
    options += ["--no-emit-package", _OWN]
    options += ["--upgrade"] if upgrade else []
    FOLDER.mkdir(exist_ok=True)
    # The one with everything first, and the others' versions out of it: what is tested is what runs.
    for half in sorted(HALVES, key=lambda half: half != "dev"):
        held = [] if half == "dev" else ["-c", str(path("dev"))]
        words = ["-m", "uv", "pip", "compile", *options, *held, "--extra", half, "-o", str(path(half)), str(ROOT / "setup.cfg")]
        run([str(python), *words], timeout_s=600)


def install(python: Path, half: str, *own: str) -> None:
    """Install what a half needs, each package by its digest, and then eratos itself, for which nothing else is fetched."""
    pip = [str(python), "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    for locked in ("build", half):
        run([*pip, "--require-hashes", "-r", str(path(locked))], timeout_s=1200)
    run([*pip, "--no-index", *own], timeout_s=600)
