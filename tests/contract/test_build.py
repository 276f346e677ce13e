"""``eratos build`` with Docker itself and Debian's registry, and its rules of ``.dockerignore`` beside Docker's."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.containers import docker
from support.dockerignore import CASES
from support.image_registry import digest, running, tags
from support.registry import registry as private_registry

from eratos.cli.images import description
from eratos.cli.images.building import carry_out, plan
from eratos.cli.images.context import Context
from eratos.cli.images.description import Description
from eratos.cli.images.engine import DockerFailed, Engine
from eratos.cli.images.identity import Step


class Counting(Engine):
    """Docker itself, and how often it built and pushed."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.did: list[str] = []

    def build(self, description: Description, folder: Path, labels: Mapping[str, str], *, fresh: bool) -> str:
        self.did.append("build")
        return super().build(description, folder, labels, fresh=fresh)

    def push(self, tag: str) -> None:
        self.did.append("push")
        super().push(tag)


@pytest.fixture
def registry() -> Iterator[str]:
    with running() as host:
        try:
            yield host
        finally:
            for image in set(docker("images", "-q", f"{host}/shop/web").split()):
                docker("rmi", "-f", image)


def test_the_same_settings_twice_are_one_build_and_one_push(registry: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Dockerfile").write_text("FROM scratch\nARG A\nENV A=$A\nCOPY . /\n")
    main = tmp_path / "src" / "main"
    path = tmp_path / "web.yaml"
    path.write_text(f"image: {{name: '{registry}/shop/web', source: {{path: src}}, args: {{A: '1'}}, labels: {{b: c}}}}\n")
    engine = Counting()

    def built(content: str) -> str:
        main.write_text(content)
        return carry_out(plan(description.load([str(path)]), engine, lambda _: None), engine, lambda _: None)

    first, again = built("1"), built("1")
    assert engine.did == ["build", "push"]
    (tag,) = tags(registry, "shop/web")
    assert first == again == f"{registry}/shop/web@{digest(registry, 'shop/web', tag)}"
    shown = docker("image", "inspect", "-f", "{{.Config.Env}} {{.Config.Labels.b}}", f"{registry}/shop/web:{tag}")
    assert "A=1" in shown and shown.endswith(" c")

    # Nobody here has it any more: the registry does.
    docker("rmi", f"{registry}/shop/web:{tag}")
    assert built("1") == first
    second = built("2")
    assert second != first and engine.did == ["build", "push"] * 2
    assert len(tags(registry, "shop/web")) == 2


def test_a_build_that_fails_names_no_image_and_pushes_nothing(registry: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY no-such-file /\n")
    engine = Counting()
    found = plan(Description(f"{registry}/shop/web", path=tmp_path), engine, lambda _: None)
    assert found.step is Step.BUILD
    with pytest.raises(Exception, match="no-such-file"):
        carry_out(found, engine, lambda _: None)
    assert engine.did == ["build"] and not docker("images", "-q", f"{registry}/shop/web")


def test_a_private_registry_is_asked_with_the_login_that_docker_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with private_registry("joe", "hunter2") as private:
        (tmp_path / "config.json").write_text("{}")
        found = ""
        with contextlib.suppress(DockerFailed):  # as Docker's versions have it: it cannot be asked, or does not show it
            found = Engine(quiet=True).digest(private.image)
        assert found == ""
        (tmp_path / "config.json").write_text(private.login())
        assert Engine(quiet=True).digest(private.image) == private.by_digest.rpartition("@")[2]


def test_docker_leaves_out_what_the_rules_say(tmp_path: Path) -> None:
    # All in one build: each case is a folder, whose name its patterns begin with. Two are about a file as a whole.
    cases = {str(at): (text, paths) for at, (text, paths) in enumerate(CASES) if "\ufeff" not in text and "../a" not in text}
    lines, wanted = [], {}
    for name, (text, paths) in cases.items():
        lines += [_below(name, line) for line in text.split("\n") if line.strip() and not line.startswith("#")]
        for path in paths:
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if not any(other.startswith(f"{path}/") for other in paths):
                place.touch()
        wanted |= {f"{name}/{path}": not left_out for path, left_out in paths.items()}
    (tmp_path / ".dockerignore").write_text("\n".join(lines))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")

    image = Engine(quiet=True).build(Description("eratos-test/ignored"), tmp_path, {}, fresh=False)
    try:
        container = docker("create", image, "nothing")
        exported = subprocess.run(["docker", "export", container], capture_output=True, timeout=60, check=True).stdout
        docker("rm", container)
    finally:
        docker("rmi", "-f", image)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        sent = set(tar.getnames())
    assert {path: path in sent for path in wanted} == wanted
    assert {path: path in Context(tmp_path, "Dockerfile").checked() for path in wanted} == wanted


def _below(folder: str, line: str) -> str:
    """Return a pattern for a folder instead of the whole context."""
    text = line.strip()
    back, text = ("!", text[1:].strip()) if text.startswith("!") else ("", text)
    return f"{back}{folder}/{text.lstrip('/')}"
