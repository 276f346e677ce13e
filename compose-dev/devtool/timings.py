"""How long `up` took, kept in .generated/ for `./dev bench launch`, which prints the figures with its own."""

from __future__ import annotations

import json

from .settings import GENERATED

FILE = GENERATED / "timings.json"


def record(built: bool, changed: bool, seconds: float) -> None:
    """Store a run of `up`: cold where the images had to be built first, warm where containers were started, else idle."""
    name = "up_cold_s" if built else "up_warm_s" if changed else "up_idle_s"
    try:
        timings = json.loads(FILE.read_text())
    except (FileNotFoundError, ValueError):
        timings = {}
    FILE.write_text(json.dumps({**timings, name: round(seconds, 1)}, indent=2) + "\n")
