"""docs/tutorial.md, walked by the test: its commands, one after another, against the tests' cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.folders import DOCS, ROOT
from support.waiting import until

pytestmark = pytest.mark.e2e

PAGE = (DOCS / "tutorial.md").read_text()
#: The cluster of the first part is the tests' own.
SECTIONS = dict(re.findall(r"^## \d\. (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_each_command_of_the_tutorial_does_what_it_says(cluster: Cluster, fleet: dict[str, Any], tmp_path: Path) -> None:
    if cluster.secure:
        pytest.skip("the page is for a cluster that asks nobody who he is")
    (tmp_path / "first.json").write_text(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ERATOS_URL": f"{cluster.url('ERATOS_API1_PORT')},{cluster.url('ERATOS_API2_PORT')}",
    }

    def walk(section: str) -> str:
        commands = "".join(re.findall(r"```sh\n(.*?)```", SECTIONS[section], re.DOTALL))
        commands = commands.replace("http://127.0.0.1:8000", cluster.balancers[0]).replace("./dev ", f"{ROOT}/dev ")
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            pytest.fail(f"{section}: {done.stdout}{done.stderr}")
        return done.stdout

    def told(section: str, *expected: str) -> str:
        """Walk a section until it says what is expected: a reader who is faster than a balancer or an offer does it again."""

        def said() -> str:
            text = walk(section)
            assert all(re.search(words, text, re.MULTILINE | re.IGNORECASE) for words in expected), text
            return text

        return until(said, SOON_S, f"{section}: it says {expected}")

    try:
        # The page's fleet answers until the balancers know of the app's host name.
        told("An app", "200 OK", r"x-instance: first\.instance-")
        said = walk("More of it, and another version")
        assert re.search(r"^\d{12}$", said, re.MULTILINE), f"no prime of twelve digits: {said}"
        assert "env" in said, "the version does not say what it changed"
        told("Something that does not fit", "mem: 320000 wanted", "4 of 4 ready")
        walk("Breaking it")
        walk("Tidy up")
        left = cluster.any_api("GET", "/v2/apps/first")
        assert left.status_code == 404, json.dumps(left.json())
    finally:
        cluster.delete("/first")
