"""The version of eratos, which stands in setup.cfg and nowhere else."""

from __future__ import annotations

import configparser

from .settings import ROOT


def current() -> str:
    """Return the version."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["metadata"]["version"]
