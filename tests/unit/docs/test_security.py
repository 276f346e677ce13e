"""docs/security.md: whoever may try something is stopped in a test that exists, and every setting named there is one."""

from __future__ import annotations

import dataclasses
import re

from support.folders import ROOT

from eratos.scheduler.config import Config

DOCUMENT = (ROOT / "docs" / "security.md").read_text()
THREATS = DOCUMENT.partition("## Who may try what")[2].partition("### What is open")[0]


def test_every_threat_is_tried_in_a_test_that_exists() -> None:
    rows = re.findall(r"^\|(.*)\|$", THREATS, re.MULTILINE)[2:]
    assert len(rows) > 25
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert not [name for name in named if f"def {name}(" not in sources], row


def test_every_setting_of_the_scheduler_that_is_named_there_is_one() -> None:
    named = set(re.findall(r"`--([a-z_-]+)", DOCUMENT)) - {"http_credentials"}  # Marathon's
    known = {field.name.replace("_", "-") for field in dataclasses.fields(Config)}
    assert "http-hosts" in named
    assert named <= known, named - known
