"""What eratos is made of, as far as files of this repository say: packages that are locked, and what is stated by hand.

Debian's packages and compiled-in Go modules are known to images and to Go alone: :mod:`.look_up` asks them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .. import lock
from ..settings import ROOT

#: As the table's sections are headed.
PYTHON, NPM, GO, DEBIAN, OTHER = "Python", "npm", "Go", "Debian", "other"

#: Folders of compose-dev/images/ -> what is compiled there into a program of that folder's name.
PROGRAMS = {
    "consul": "github.com/hashicorp/consul",
    "consul-template": "github.com/hashicorp/consul-template",
    "load": ".",
    "chaos": ".",
}
#: Debian packages whose files are copied into an image out of a stage that builds, so that the image's own list lacks them.
COPIED = {
    "zookeeper": (
        "libdropwizard-metrics-java",
        "libnetty-java",
        "libnetty-tcnative-java",
        "libslf4j-java",
        "libsnappy-java",
        "libzookeeper-java",
        "openjdk-21-jre-headless",
    )
}
#: Debian packages of images that only tests, benchmarks and ./dev chaos build.
TOOLS = {
    "wrk": ("wrk",),
    "chaos": ("iptables", "iproute2", "libfaketime"),
    "prometheus": ("prometheus",),
    "registry": ("docker-registry",),
}

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """A package, module or program."""

    kind: str
    name: str  #: Debian: of the source package
    version: str  #: "" of Debian's packages, which come as they are on the day
    where: tuple[str, ...]  #: halves of setup.cfg, programs, images
    licence: str = ""


def python(root: Path = ROOT) -> list[Part]:
    """Return the locked Python packages, each with the halves that it is for."""
    found: dict[tuple[str, str], set[str]] = {}
    for half in lock.HALVES:
        for name, version in _LOCKED.findall((root / "requirements" / f"{half}.txt").read_text()):
            found.setdefault((name, version), set()).add(half)
    # Everything is for development as well: that is said of what is for nothing else.
    return [Part(PYTHON, *package, tuple(sorted(halves - {"dev"} or halves))) for package, halves in sorted(found.items())]


def npm(root: Path = ROOT) -> list[Part]:
    """Return the packages that the dashboard is built of and with, less those that are of one kind of processor."""
    packages = json.loads((root / "dashboard" / "package-lock.json").read_text())["packages"]
    return [
        Part(
            NPM,
            place.rpartition("node_modules/")[2],
            package["version"],
            ("building alone" if package.get("dev") else "the dashboard",),
            package.get("license", ""),
        )
        for place, package in sorted(packages.items())
        if place and not package.get("optional")
    ]


def others(root: Path = ROOT) -> list[Part]:
    """Return what no package manager knows of."""
    egg = (root / "compose-dev" / "images" / "mesos" / "fetch_egg.py").read_text()
    mesos = re.findall(r"mesos\.scheduler-([\d.]+)-py", egg)[0]
    go = re.findall(r"^go ([\d.]+)$", (root / "compose-dev" / "images" / "consul" / "go.mod").read_text(), re.MULTILINE)[0]
    return [
        Part(OTHER, "Apache Mesos, with what is linked into it", mesos, ("agent", "mesos-master"), "Apache-2.0"),
        Part(OTHER, "Go's standard library", f"{go} or later", tuple(sorted(PROGRAMS)), "BSD-3-Clause"),
        Part(OTHER, "pymesos (`mesos/pymesos/`)", "0.3.15", ("executor", "scheduler"), "BSD-3-Clause"),
    ]


def sums(root: Path = ROOT) -> dict[str, set[str]]:
    """Return program -> ``module@version`` of all that its go.sum names."""
    found = {}
    for program in PROGRAMS:
        text = (root / "compose-dev" / "images" / program / "go.sum").read_text()
        found[program] = {f"{module}@{version}" for module, version in re.findall(r"^(\S+) (v[^ /]+) h1:", text, re.MULTILINE)}
    return found
