"""Debian's Prometheus in a container of the machine's own network, so that it asks what listens on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from devtool import images
from devtool.settings import read_settings

from .cluster import SOON_S
from .containers import run_container
from .ports import free_ports
from .waiting import until

IMAGE = "eratos/prometheus"


def build() -> None:
    """Make sure that the image is there."""
    images.build_apart(read_settings(os.environ), "prometheus")


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer, None while it starts."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}{query}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def samples(self, query: str) -> list[Any]:
        return list((self.ask("query", query=query) or {}).get("result", ()))

    def await_budget(self, balancer: str, host: str) -> None:
        """Ask an app that has an error budget until there are samples of that: it is judged by requests alone."""

        def judged() -> bool:
            requests.get(balancer, headers={"Host": host}, timeout=10)
            return bool(self.samples("eratos_app_error_budget_remaining_ratio"))

        until(judged, SOON_S, "an error budget is judged by requests")

    def targets(self) -> list[dict[str, Any]]:
        return list((self.ask("targets") or {}).get("activeTargets", ()))


@contextmanager
def running(folder: Path) -> Iterator[Prometheus]:
    """Run one by ``prometheus.yml`` of a folder that everybody may read."""
    port = free_ports(1)[0]
    words = ["--config.file=/config/prometheus.yml", "--storage.tsdb.path=/tmp/data", f"--web.listen-address=127.0.0.1:{port}"]
    options = ["--network", "host", "-v", f"{folder}:/config:ro"]
    with run_container(IMAGE, "prometheus", *words, options=options):
        yield Prometheus(f"http://127.0.0.1:{port}")


def promtool(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder."""
    command = ["docker", "run", "--rm", "-i", "-v", f"{folder}:/config:ro", "-w", "/config", IMAGE, "promtool", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
