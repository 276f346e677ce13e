"""requirements/ holds what setup.cfg asks for, by digest, and nothing that is known to be bad; and how it is asked about."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from devtool import audit, base, lock
from devtool.terminal import Problem
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.companion import serve

ROOT = Path(__file__).resolve().parents[3]
OWN = {"eratos"}
TABLE = (ROOT / "docs" / "dependencies.md").read_text().partition("## Known vulnerabilities")[2]


def asked_for(half: str) -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    found = []
    for line in config["options.extras_require"][half].split("\n"):
        if line.startswith("eratos["):
            found += [one for extra in Requirement(line).extras for one in asked_for(extra)]
        elif line:
            found.append(Requirement(line))
    return found


def locked(half: str) -> dict[str, Version]:
    text = lock.path(half).read_text()
    found = {canonicalize_name(name): Version(version) for name, version in re.findall(r"^(\S+)==([^ ;\\]+)", text, re.MULTILINE)}
    assert text.count("\n") > len(found)
    return found


@pytest.mark.parametrize("half", lock.HALVES)
def test_all_that_is_asked_for_is_locked_by_digest(half: str) -> None:
    versions = locked(half)
    for wanted in asked_for(half):
        name = canonicalize_name(wanted.name)
        assert name in OWN or versions[name] in wanted.specifier, f"{wanted}: run ./dev lock"
    for entry in re.split(r"\n(?=\S)", lock.path(half).read_text().strip()):
        assert re.search(r"^\S+==[^\n]+\\\n +--hash=sha256:[0-9a-f]{64}", entry), entry


def test_halves_agree() -> None:
    # Else the tests would try other versions than the images have.
    tested = locked("dev")
    for half in ("scheduler", "executor", "cli"):
        assert locked(half).items() <= tested.items(), half


@pytest.mark.parametrize("half", lock.HALVES)
def test_a_lock_names_no_server(half: str) -> None:
    assert not re.search(r"https?:|\bindex\b|@ ", lock.path(half).read_text())


def test_another_file_than_the_locked_one_is_not_installed(tmp_path: Path) -> None:
    package = tmp_path / "wheel-0.0.1-py3-none-any.whl"
    package.write_bytes(b"not what was locked")
    (tmp_path / "locked.txt").write_text(f"{package.as_uri()} --hash=sha256:{'0' * 64}\n")
    options = ["--no-index", "--require-hashes", "--target", str(tmp_path / "target"), "-r", str(tmp_path / "locked.txt")]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr


def test_images_and_tests_install_what_is_locked_and_nothing_else() -> None:
    script = (ROOT / "compose-dev" / "images" / "python" / "install-half").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert len(installs) == 2
    for line in installs:
        assert "--no-build-isolation" in line
        assert "--require-hashes" in line or ("--no-deps" in line and "--no-index" in line)


def test_debians_image_is_one_of_a_day() -> None:
    compose = (ROOT / "compose-dev" / "compose.yaml").read_text()
    assert re.findall(r"ERATOS_BASE:-debian@(\S+)\}", compose) == [base.DIGEST]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", base.DIGEST)


def known_to_be_bad() -> list[tuple[str, str]]:
    return re.findall(r"^\| `([a-z0-9]+)` \| ([0-9.]+) \| CVE-", TABLE, re.MULTILINE)


@pytest.mark.parametrize(("name", "least"), known_to_be_bad())
def test_no_version_that_is_known_to_be_vulnerable_is_taken(name: str, least: str) -> None:
    wanted = [one for half in lock.HALVES for one in asked_for(half) if one.name == name]
    assert wanted
    for one in wanted:
        bounds = [Version(bound.version) for bound in one.specifier if bound.operator in (">=", "==")]
        assert bounds and min(bounds) >= Version(least), f"{one}: {least} is the first without a known vulnerability"


def test_the_table_is_read() -> None:
    assert len(known_to_be_bad()) >= 13


class Database:
    """Knows one bad package."""

    def __init__(self, bad: str) -> None:
        self.bad = bad
        self.asked: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        assert (method, path) == ("POST", "/v1/querybatch")
        queries = json.loads(body)["queries"]
        self.asked += queries
        results = [{"vulns": [{"id": "PYSEC-1"}]} if query["package"]["name"] == self.bad else {} for query in queries]
        return 200, json.dumps({"results": results}).encode()


@pytest.mark.parametrize(("bad", "code"), [("urllib3", 1), ("none-such", 0)])
def test_an_audit_asks_about_everything_and_names_what_is_bad(bad: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(bad)
    with serve(database.answer) as port:
        assert audit.run(f"http://127.0.0.1:{port}") == code
    names = {query["package"]["name"] for query in database.asked}
    assert {"httptools", "setuptools", "github.com/hashicorp/consul", "preact", "@types/node"} <= names
    for file in (ROOT / "compose-dev" / "images").rglob("go.sum"):
        assert {line.split()[0] for line in file.read_text().splitlines() if "/go.mod " not in line} <= names, file
    assert ("PYSEC-1" in capsys.readouterr().out) == bool(code)


def test_an_audit_that_reaches_nobody_is_no_audit() -> None:
    with pytest.raises(Problem, match="nobody could be asked"):
        audit.run("http://127.0.0.1:9")
