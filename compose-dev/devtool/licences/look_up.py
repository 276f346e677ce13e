"""What packages say of their licences: Python's where they are installed, Go's and Debian's in containers."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .. import base
from ..settings import ROOT
from ..shell import run
from ..terminal import Problem
from . import texts
from .parts import COPIED, DEBIAN, GO, PROGRAMS, PYTHON, TOOLS, Part

#: Licences that were read by hand, as the package says nothing that could be understood, or is for another system than this one.
BY_HAND = {
    (PYTHON, "colorama"): "BSD-3-Clause",
    # Most of it is in the public domain; what is under the GPL is for Emacs, and is not installed.
    (PYTHON, "docutils"): "BSD-2-Clause AND PSF-2.0",
    (PYTHON, "httpx2-jsfetch"): "BSD-3-Clause",
    (PYTHON, "pywin32"): "PSF-2.0",
    (PYTHON, "pywin32-ctypes"): "BSD-3-Clause",
    (PYTHON, "sphinxcontrib-applehelp"): "BSD-2-Clause",
    (PYTHON, "sphinxcontrib-devhelp"): "BSD-2-Clause",
    (PYTHON, "sphinxcontrib-htmlhelp"): "BSD-2-Clause",
    (PYTHON, "sphinxcontrib-qthelp"): "BSD-2-Clause",
    (PYTHON, "sphinxcontrib-serializinghtml"): "BSD-2-Clause",
    (DEBIAN, "libxcrypt"): "BSD-2-Clause, BSD-3-Clause, LGPL-2.1-or-later, public domain",
    (DEBIAN, "media-types"): "public domain",
    (GO, "github.com/hashicorp/cronexpr"): "Apache-2.0 OR GPL-3.0-only",
}
_SCRIPT = ROOT / "compose-dev" / "images" / "copy-licences"
_STAGE = "go-licences"
_DEBIAN = re.compile(r"^=== (\S+) (\S+) (pool/\S+)$", re.MULTILINE)
_BUILD_S = 900


def of_python(part: Part) -> str:
    """Return the licence of a package that is installed where this runs, or that was read by hand; "" of any other."""
    if (PYTHON, part.name) in BY_HAND:
        return BY_HAND[PYTHON, part.name]
    try:
        found = importlib.metadata.distribution(part.name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    files = [file for file in found.files or () if re.search(r"licen[sc]e|copying", file.name, re.IGNORECASE)]
    about = found.metadata
    return texts.of_metadata(
        str(about["License-Expression"]) if "License-Expression" in about else "",
        str(about["License"]) if "License" in about else "",
        about.get_all("Classifier", []) or [],
        [Path(str(file.locate())).read_text(errors="replace") for file in files if file.suffix != ".py"],
    )


def go_modules() -> list[Part]:
    """Return the modules that are compiled in, out of a stage of the Dockerfile in which Go lists them."""
    found: dict[str, set[str]] = {}
    licences = {}
    with tempfile.TemporaryDirectory() as folder:
        _build(Path(folder))
        for program in PROGRAMS:
            place = Path(folder) / "out" / program
            for listed in (place / "modules").read_text().split():
                found.setdefault(listed, set()).add(program)
                read = sorted((place / listed).iterdir()) if (place / listed).is_dir() else []
                licences[listed] = texts.both(texts.of_text(file.read_text(errors="replace")) for file in read if file.is_file())
    return [_module(listed, programs, licences[listed]) for listed, programs in sorted(found.items())]


def _module(listed: str, programs: set[str], licence: str) -> Part:
    name, _, version = listed.partition("@")
    return Part(GO, name, version, tuple(sorted(programs)), BY_HAND.get((GO, name)) or licence)


def _build(folder: Path) -> None:
    """Build the stage by compose, as everything here is: `docker build` needs a plugin for it. Copy its files to `folder`/out."""
    image = f"eratos-dev/{_STAGE}"
    arguments = {"BASE": base.IMAGE, **({"GOPROXY": os.environ["GOPROXY"]} if "GOPROXY" in os.environ else {})}
    stage = {"context": str(ROOT), "dockerfile": "compose-dev/Dockerfile", "target": _STAGE, "args": arguments}
    base.pass_certificates()
    file = folder / "compose.json"
    file.write_text(json.dumps({"services": {_STAGE: {"image": image, "build": stage}}}))
    run(["docker", "compose", "-p", _STAGE, "-f", str(file), "build", "--quiet"], timeout_s=_BUILD_S)
    container = run(["docker", "create", image, "nothing"]).strip()
    try:
        run(["docker", "cp", f"{container}:/", str(folder / "out")])
    finally:
        run(["docker", "rm", container])
        run(["docker", "rmi", image])


def installed(image: str) -> dict[str, tuple[str, str, str]]:
    """Return what Debian's package manager lists in an image: package -> source package, version and processor."""
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", f"eratos/{image}", "-W"]
    listed = run([*command, "-f", "${Package} ${source:Package} ${Version} ${Architecture}\n"])
    found = {}
    for line in listed.splitlines():
        name, source, version, processor = line.split()
        found[name] = (source, version, processor)
    return found


def debian_packages(images: Iterable[str], known: dict[str, str]) -> list[Part]:
    """Return the source packages of images, of what is copied into them and of tools; ask Debian about what is not known."""
    sources: dict[str, set[str]] = {}
    asked: list[str] = []
    for image in images:
        for name, (source, _, _) in installed(image).items():
            sources.setdefault(source, set()).add(image)
            if source not in known and name not in asked:
                asked.append(name)
    beside = [(image, name) for more in (COPIED, TOOLS) for image, names in more.items() for name in names]
    said = _ask(sorted({*asked, *(name for _, name in beside)}))
    texts_of: dict[str, list[str]] = {}
    for source, text in said.values():
        texts_of.setdefault(source, []).append(text)
    for image, name in beside:
        sources.setdefault(said[name][0], set()).add(image)
    return [
        Part(DEBIAN, source, "", tuple(sorted(found)), _debian(source, known, "\n".join(texts_of.get(source, ()))))
        for source, found in sorted(sources.items())
    ]


def _debian(source: str, known: dict[str, str], text: str) -> str:
    return BY_HAND.get((DEBIAN, source)) or known.get(source) or texts.of_debian(text)


def _ask(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return source package and copyright file of each package."""
    if shutil.which("docker") is None:
        raise Problem("Docker is not installed here", "./dev up installs it on Debian")
    command = ["docker", "run", "--rm", "-i", base.IMAGE, "sh", "-s", "debian", *names]
    done = subprocess.run(command, input=_SCRIPT.read_text(), capture_output=True, text=True, timeout=_BUILD_S, check=False)
    if done.returncode:
        raise Problem(f"Debian's packages could not be asked: {done.stderr[-500:]}", "check that containers reach deb.debian.org")
    pieces = _DEBIAN.split(done.stdout)
    found = {}
    for source, name, place, text in zip(*(pieces[first::4] for first in (1, 2, 3, 4)), strict=True):
        if not place.startswith("pool/main/"):
            raise Problem(f"{name} is not of Debian's main: {place}", "read its licence, and do without it if you can")
        found[name] = (source, text)
    return found
