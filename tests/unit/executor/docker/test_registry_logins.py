"""Logins to registries out of docker login's file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from eratos.common.errors import PermanentError
from eratos.executor.docker.registry_logins import Logins, login

SECRET = "hunter2"
AUTH = base64.b64encode(f"joe:{SECRET}".encode()).decode()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "logins.json"


def logins(file: Path, **auths: Any) -> str:
    file.write_text(json.dumps({"auths": auths}))
    return str(file)


@pytest.mark.parametrize(
    ("entry", "repository", "found"),
    [
        ("registry.example:5000", "registry.example:5000/team/app", True),
        ("https://registry.example/v2/", "registry.example/app", True),
        ("https://index.docker.io/v1/", "team/app", True),
        ("registry.example", "other.example/app", False),
        ("registry.example", "team/app", False),
    ],
)
def test_a_login_goes_to_the_registry_it_is_for_and_to_no_other(file: Path, entry: str, repository: str, found: bool) -> None:
    given = login(repository, Logins(logins(file, **{entry: {"auth": AUTH}})))
    assert (given.get("username"), given.get("password")) == (("joe", SECRET) if found else (None, None))


def test_without_a_file_there_is_no_login(file: Path) -> None:
    assert login("registry.example/app") == {}


@pytest.mark.parametrize("variable", [True, False])
def test_dockers_own_file_is_used_where_no_other_is_named(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    folder = tmp_path / ("elsewhere" if variable else ".docker")
    folder.mkdir()
    logins(folder / "config.json", **{"registry.example": {"auth": AUTH}})
    if variable:
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    assert login("registry.example/app")["username"] == "joe"


def test_a_named_file_that_is_not_there_is_a_problem_and_dockers_own_is_not_taken_for_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    logins(tmp_path / ".docker" / "config.json", **{"registry.example": {"auth": AUTH}})
    with pytest.raises(PermanentError, match=r"logins\.json cannot be read: No such file"):
        login("registry.example/app", Logins(str(file)))


def test_a_named_file_without_logins_does_not_stand_for_dockers_own(file: Path, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    logins(tmp_path / ".docker" / "config.json", **{"registry.example": {"auth": AUTH}})
    file.write_text("{}")
    assert login("registry.example/app", Logins(str(file))) == {}


@pytest.mark.parametrize("content", ["{", "[]", f'{{"auths": {{"registry.example": {{"auth": "x{SECRET}"}}}}}}', f'"{SECRET}"'])
def test_a_file_that_cannot_be_read_is_named_without_its_content(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(PermanentError, match=r"logins\.json cannot be read") as caught:
        login("registry.example/app", Logins(str(file)))
    assert SECRET not in str(caught.value)


def test_a_credential_helper_is_asked(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\necho \'{{"Username": "joe", "Secret": "{SECRET}"}}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    file.write_text('{"credHelpers": {"registry.example": "test"}}')
    assert login("registry.example/app", Logins(str(file)))["Password"] == SECRET
    helper.write_text(f"#!/bin/sh\necho {SECRET}; exit 1\n")
    with pytest.raises(PermanentError, match="docker-credential-test") as caught:
        login("registry.example/app", Logins(str(file)))
    assert SECRET not in str(caught.value)
