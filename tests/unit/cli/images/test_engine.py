"""What Docker's command is told, what a registry's answers mean, and which daemon is asked. No Docker is needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import requests

from eratos.cli.images import engine
from eratos.cli.images.description import Description
from eratos.cli.images.engine import DockerFailed, Engine

DIGEST = "sha256:" + "1" * 64
WEB = Description("registry.test/web", dockerfile="docker/web", target="web", args={"TOKEN": "hunter2"}, labels={"a": "b"})
#: Plays the command: notes what it is told, and does as it is told by files.
COMMAND = """#!/bin/sh
here=$(dirname "$0")
for word; do printf '%s\\n' "$word"; done > "$here/words"
printf '%s' "$TOKEN" > "$here/token"
while [ $# -gt 0 ]; do [ "$1" = --iidfile ] && echo sha256:built > "$2"; shift; done
cat "$here/output" 2>/dev/null
[ ! -e "$here/fails" ]
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a command that plays Docker's."""
    (tmp_path / "docker").write_text(COMMAND)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def words(command: Path) -> list[str]:
    return (command / "words").read_text().splitlines()


def test_a_build_is_told_everything_and_values_of_arguments_by_the_environment_alone(command: Path) -> None:
    assert Engine(quiet=True).build(WEB, Path("/src"), {"c": "d"}, fresh=False) == "sha256:built"
    told = words(command)
    assert told[:3] == ["build", "--file", "/src/docker/web"] and told[-2:] == ["--", "/src"]
    for option, value in (("--target", "web"), ("--build-arg", "TOKEN")):
        assert told[told.index(option) + 1] == value
    assert [told[at + 1] for at, word in enumerate(told) if word == "--label"] == ["c=d", "a=b"]
    assert not {"--no-cache", "--pull", "--platform"} & set(told)
    assert "hunter2" not in "\n".join(told) and (command / "token").read_text() == "hunter2"


def test_a_fresh_build_takes_nothing_of_an_earlier_one(command: Path) -> None:
    Engine(quiet=True).build(Description("web", platform="linux/arm64"), Path("/src"), {}, fresh=True)
    assert {"--no-cache", "--pull", "--platform", "linux/arm64"} <= set(words(command))


def test_a_quiet_command_that_fails_shows_the_end_of_what_it_said(command: Path) -> None:
    (command / "output").write_text("\n".join(f"line {number}" for number in range(100)))
    (command / "fails").touch()
    with pytest.raises(DockerFailed) as failed:
        Engine(quiet=True).push("registry.test/web:1")
    assert words(command) == ["push", "--", "registry.test/web:1"]
    message = str(failed.value)
    assert (
        message.startswith("the push of registry.test/web:1 failed") and message.endswith("line 99") and "line 79" not in message
    )


def test_a_command_that_is_not_there_is_said_with_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DockerFailed, match="not installed"):
        Engine().push("web:1")


def an_engine(monkeypatch: pytest.MonkeyPatch, found: Any) -> Engine:
    """Return one whose daemon answers a question for an image with something, or raises it."""

    def answer(*_: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    made = Engine()
    client = SimpleNamespace(inspect_distribution=answer, inspect_image=answer, tag=answer)
    monkeypatch.setattr(made, "_api", lambda: client)
    return made


def api_error(status: int) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    kind = docker.errors.ImageNotFound if status == 404 else docker.errors.APIError
    return kind("x", response=response, explanation="as the daemon says")


def test_the_digest_is_what_the_registry_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert an_engine(monkeypatch, {"Descriptor": {"digest": DIGEST}}).digest("web:1") == DIGEST


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_may_not_be_looked_at_counts_as_not_there(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    assert an_engine(monkeypatch, api_error(status)).digest("web:1") == ""


def test_a_registry_that_fails_is_no_registry_without_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DockerFailed, match=r"as the daemon says.*docker login"):
        an_engine(monkeypatch, api_error(500)).digest("web:1")


def test_a_login_that_cannot_be_read_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DockerFailed) as failed:
        an_engine(monkeypatch, docker.errors.DockerException("hunter2")).digest("web:1")
    assert "hunter2" not in str(failed.value) and "docker login" in str(failed.value)
    assert failed.value.__suppress_context__


def test_an_image_is_here_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert an_engine(monkeypatch, {}).has("web:1")
    assert not an_engine(monkeypatch, api_error(404)).has("web:1")
    with pytest.raises(DockerFailed, match="does not answer"):
        an_engine(monkeypatch, requests.ConnectionError("refused")).has("web:1")


def test_what_a_builder_keeps_to_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DockerFailed, match="docker buildx use default"):
        an_engine(monkeypatch, api_error(404)).name("sha256:built", "web:1")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of Docker's own with the context ``far``, which is in use, and ``by-ssh``."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, host in (("far", "tcp://10.0.0.9:2375"), ("by-ssh", "ssh://joe@10.0.0.9")):
        folder = tmp_path / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}))
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def test_the_daemon_is_the_one_that_dockers_command_would_ask(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine._daemon()["base_url"] == "tcp://10.0.0.9:2375"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert "base_url" not in engine._daemon()
    monkeypatch.setenv("DOCKER_CONTEXT", "by-ssh")
    with pytest.raises(DockerFailed, match="ssh -L"):
        engine._daemon()
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(DockerFailed, match="no context gone"):
        engine._daemon()
    monkeypatch.setenv("DOCKER_HOST", "unix:///tmp/x.sock")
    assert engine._daemon()["base_url"].endswith("/tmp/x.sock")
