"""What becomes of each field of a document for Marathon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.folders import APP_FILES

from eratos.marathon.notes import Verdict
from eratos.marathon.verdicts import verdicts

FILES = sorted(APP_FILES.glob("*.json"))


def found(document: Any) -> dict[str, str]:
    return {note.path: note.verdict.value for note in verdicts(document)}


def test_each_field_has_its_verdict() -> None:
    document = {
        "id": "/shop",
        "ports": [0],
        "env": {"A": "b", "C": "d"},
        "container": {"type": "MESOS", "docker": {"image": "x"}},
        "labels": {"HAPROXY_0_SSL_CERT": "/etc/a.pem", "owner": "me"},
        "cpu": 1,
        "colour": "red",
        "tasksRunning": 3,
        "healthChecks": [{"protocol": "TCP", "path": "/"}],
    }
    assert found(document) == {
        "/id": "same",
        "/ports": "translated",
        "/env/A": "same",
        "/env/C": "same",
        "/container/type": "translated",
        "/container/docker/image": "same",
        "/labels/HAPROXY_0_SSL_CERT": "not heeded",
        "/labels/owner": "same",
        "/cpu": "refused",
        "/colour": "not heeded",
        "/tasksRunning": "same",
        "/healthChecks(0)/protocol": "same",
        "/healthChecks(0)/path": "not heeded",
    }


def test_what_is_missing_is_told_beside_the_fields() -> None:
    assert found({"id": "/shop"}) == {"/id": "same", "/container": "refused"}


def test_what_an_older_spelling_became_is_told_as_well() -> None:
    app = {
        "id": "/ip",
        "cmd": "x",
        "container": {"type": "MESOS", "docker": {"image": "x"}},
        "ipAddress": {"networkName": "front"},
    }
    told = found(app)
    assert told["/ipAddress/networkName"] == "translated"
    assert told["/networks(0)"] == "translated"


@pytest.mark.parametrize("document", [None, [], "x", 5, {}, {"id": []}, {"id": "/a", "container": {"docker": {"image": []}}}])
def test_junk_is_refused_and_breaks_nothing(document: Any) -> None:
    assert "refused" in found(document).values()


def test_a_document_beyond_the_bounds_is_refused_as_a_whole() -> None:
    assert Verdict.REFUSED in {note.verdict for note in verdicts({"id": "/a", "cmd": "x" * 200_000})}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_has_a_refused_field_if_and_only_if_it_is_refused(file: Path) -> None:
    from eratos.marathon import definition
    from eratos.marathon.errors import InvalidApp

    document = json.loads(file.read_text())
    try:
        definition.parse(document)
        taken = True
    except InvalidApp:
        taken = False
    assert ("refused" not in found(document).values()) is taken
