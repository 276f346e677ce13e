"""A page whose commands a test types: its sections, and what these print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from .cluster import SOON_S, Cluster
from .folders import ROOT
from .waiting import until

#: Where pages have the local cluster's balancer and Consul.
BALANCER, CONSUL = "http://127.0.0.1:8000", "http://127.0.0.1:8500"


@dataclass(frozen=True)
class Page:
    """A page's numbered sections by their titles, walked in a folder against a cluster."""

    text: str
    cluster: Cluster
    folder: Path
    replaced: Mapping[str, str]  #: what of the commands is another thing for the test

    def blocks(self, section: str) -> list[str]:
        """Return the blocks of commands of a section, in their order."""
        sections = dict(re.findall(r"^## \d\. (.*?)\n(.*?)(?=^## |\Z)", self.text, re.DOTALL | re.MULTILINE))
        return re.findall(r"```sh\n(.*?)```", sections[section], re.DOTALL)

    def walk(self, commands: str) -> str:
        """Type commands until one fails, and return what they print; AssertionError where one does."""
        own = {BALANCER: self.cluster.balancers[0], CONSUL: self.cluster.url("ERATOS_CONSUL_PORT"), "./dev ": f"{ROOT}/dev "}
        for word, instead in {**own, **self.replaced}.items():
            commands = commands.replace(word, instead)
        environment = {
            **self.cluster.typing(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert not done.returncode, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def told(self, commands: str, *expected: str) -> str:
        """Type commands until they say what is expected: a reader who is faster than a balancer does it again."""

        def said() -> str:
            text = self.walk(commands)
            missing = [words for words in expected if not re.search(words, text, re.MULTILINE | re.IGNORECASE)]
            assert not missing, f"{commands} does not say {missing}, but {text[:3000]}"
            return text

        return until(said, SOON_S, f"{commands.splitlines()[0]} ... says {expected}", pace_s=0.5)


def page(path: Path, cluster: Cluster, folder: Path, replaced: Mapping[str, str] | None = None) -> Page:
    """Return a page to walk; skips the test on a cluster that asks who asks."""
    if cluster.secure:
        pytest.skip("the page is for a cluster that asks nobody who he is")
    return Page(path.read_text(), cluster, folder, replaced or {})
