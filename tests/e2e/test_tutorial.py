"""docs/tutorial.md, walked by the test: its commands, one after another, against the tests' cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster
from support.folders import DOCS
from support.pages import page

pytestmark = pytest.mark.e2e


def test_each_command_of_the_tutorial_does_what_it_says(cluster: Cluster, fleet: dict[str, Any], tmp_path: Path) -> None:
    # The cluster of the first part is the tests' own.
    walked = page(DOCS / "tutorial.md", cluster, tmp_path)
    (tmp_path / "first.json").write_text(re.findall(r"```json\n(.*?)```", walked.text, re.DOTALL)[0])

    def walk(section: str) -> str:
        return walked.walk("".join(walked.blocks(section)))

    def told(section: str, *expected: str) -> str:
        return walked.told("".join(walked.blocks(section)), *expected)

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
