"""Debian packages on this machine, where ./dev runs as root on Debian or Ubuntu. Elsewhere its user is asked to install them."""

from __future__ import annotations

import os
import shutil

from .shell import run
from .terminal import Problem

_ENV = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
_updated = False


def available() -> bool:
    """Return whether packages can be installed here and now."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def require_root_and_apt(message: str, fix: str) -> None:
    """Raise Problem unless packages can be installed."""
    if not available():
        raise Problem(message, fix)


def update() -> None:
    """Fetch the package lists, once a run. Finishes first what an interrupted installation left half done."""
    global _updated
    if not _updated:
        run(["dpkg", "--configure", "-a"], env=_ENV)
        # One unreachable source of several is no reason to stop: what is needed may come from the others.
        run(["apt-get", "update", "-qq"], env=_ENV, check=False)
        _updated = True


def install(*names: str) -> None:
    """Install packages, waiting for another package manager that is at work."""
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=180", *names], env=_ENV)


def known(*names: str) -> list[str]:
    """Return those of the packages that this system can install."""
    return [name for name in names if candidate(name)]


def candidate(name: str) -> str:
    """Return the version of a package that would be installed, "" where there is none."""
    for line in run(["apt-cache", "policy", name], check=False).splitlines():
        label, _, version = line.strip().partition(": ")
        if label == "Candidate" and version != "(none)":
            return version
    return ""
