"""``eratos build``: what is built and pushed and when, and what the app is applied with. Docker is played; git is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import api
from support.controller import FakeController
from support.repository import repository

from eratos.cli.images.building import REVISION
from eratos.cli.images.description import Description
from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient

NAME = "registry.test/shop/web"


@dataclass
class FakeDocker:
    """A Docker and one registry, which hold what is called what."""

    here: dict[str, str] = field(default_factory=dict)
    registry: dict[str, str] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    contents: list[str] = field(default_factory=list)  #: of the file ``main`` in each context that was built from
    while_building: Any = None

    def has(self, image: str) -> bool:
        return image in self.here

    def digest(self, image: str) -> str:
        return self.registry.get(image, "")

    def build(self, description: Description, folder: Path, labels: Mapping[str, str], *, fresh: bool) -> str:
        self.did.append("build anew" if fresh else "build")
        self.labels = dict(labels)
        self.contents.append((folder / "main").read_text())
        if self.while_building is not None:
            self.while_building()
        return f"sha256:{len(self.did)}"

    def name(self, image: str, tag: str) -> None:
        self.here[tag] = image

    def push(self, tag: str) -> None:
        self.did.append("push")
        self.registry[tag] = self.here[tag].replace("sha256:", "sha256:d")


@pytest.fixture
def docker() -> FakeDocker:
    return FakeDocker()


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def session(controller: FakeController, docker: FakeDocker) -> Session:
    return a_session(controller, docker)


def a_session(controller: FakeController, docker: FakeDocker, form: Any = "table") -> Session:
    client = MarathonClient("http://api.test", session=api.session(api.an_api(controller)))
    return Session(client, Output(form), docker=docker, clock=lambda: controller.now)


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """Return a description beside the folder that it is built from."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "src" / "main").write_text("1")
    path = tmp_path / "web.yaml"
    path.write_text(f"image: {{name: {NAME}, source: {{path: src}}}}\napp: {{id: /shop/web, cpus: 0.1}}\n")
    return path


def test_the_same_settings_twice_are_one_build_and_one_push(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", str(web)], session) == 0
    first = capsys.readouterr().out
    assert run(["build", str(web)], session) == 0
    assert capsys.readouterr().out == first == f"{NAME}@sha256:d1\n"
    assert docker.did == ["build", "push"]


def test_a_change_is_another_image_and_the_way_back_none(session: Session, docker: FakeDocker, web: Path) -> None:
    for content in ("1", "2", "1"):
        (web.parent / "src" / "main").write_text(content)
        assert run(["build", str(web)], session) == 0
    assert docker.did == ["build", "push"] * 2
    assert len(docker.registry) == 2


def test_what_another_machine_has_pushed_is_not_built_here(session: Session, docker: FakeDocker, web: Path) -> None:
    run(["build", str(web)], session)
    docker.here.clear()
    run(["build", str(web)], session)
    assert docker.did == ["build", "push"]


def test_what_a_registry_has_lost_is_pushed_again_and_not_built(session: Session, docker: FakeDocker, web: Path) -> None:
    run(["build", str(web)], session)
    docker.registry.clear()
    run(["build", str(web)], session)
    assert docker.did == ["build", "push", "push"]


def test_a_rebuild_builds_from_nothing_and_the_app_gets_its_digest(session: Session, docker: FakeDocker, web: Path) -> None:
    run(["build", str(web)], session)
    run(["build", str(web), "--rebuild"], session)
    assert docker.did == ["build", "push", "build anew", "push"]


def test_a_context_that_changes_while_it_is_built_from_is_no_image(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docker.while_building = lambda: (web.parent / "src" / "main").write_text("2")
    assert run(["build", str(web)], session) == 1
    assert "changed while" in capsys.readouterr().err
    assert docker.did == ["build"] and not docker.here and not docker.registry


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", str(web), "--dry-run"], session) == 0
    assert capsys.readouterr().out == "build\n"
    assert not docker.did
    run(["build", str(web)], session)
    capsys.readouterr()
    run(["build", str(web), "--dry-run"], session)
    assert capsys.readouterr().out == "nothing\n"


def test_the_app_is_applied_with_the_digest_and_its_versions_say_what_ran(
    session: Session, controller: FakeController, web: Path
) -> None:
    for content in ("1", "2"):
        (web.parent / "src" / "main").write_text(content)
        assert run(["build", str(web), "--apply"], session) == 0
    assert controller.machine.state.apps["/shop/web"].image == f"{NAME}@sha256:d3"
    versions = [session.client.version("/shop/web", name) for name in session.client.versions("/shop/web")]
    assert [version["container"]["docker"]["image"] for version in versions] == [f"{NAME}@sha256:d3", f"{NAME}@sha256:d1"]


def test_data_for_programs_has_all_that_is_known_of_the_image(
    controller: FakeController, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", str(web), "--apply"], a_session(controller, docker, "json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image"] == f"{NAME}@sha256:d1" and found["step"] == "build"
    assert found["tag"] == f"{NAME}:{found['id'][:12]}" and len(found["id"]) == 64
    assert found["applied"][0]["deploymentId"]


def test_a_repository_is_built_from_at_its_commit(session: Session, docker: FakeDocker, tmp_path: Path) -> None:
    repo = repository(tmp_path / "git")
    first = repo.commit(web__Dockerfile="FROM scratch\n", web__main="1")
    path = tmp_path / "web.yaml"
    path.write_text(f"image: {{name: {NAME}, source: {{git: {repo.server}, reference: main, folder: web}}}}\n")
    assert run(["build", str(path)], session) == 0
    assert docker.labels == {REVISION: first}
    repo.commit(other="2")
    assert run(["build", str(path)], session) == 0
    assert docker.did == ["build", "push"] * 2
    path.write_text(path.read_text().replace("reference: main", f"reference: {first}"))
    assert run(["build", str(path)], session) == 0
    assert docker.did == ["build", "push"] * 2 and docker.contents == ["1", "1"]


def test_a_folder_of_a_repository_that_leads_out_of_it_is_refused(
    session: Session, docker: FakeDocker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = repository(tmp_path / "git")
    (repo.folder / "web").symlink_to("../..")
    repo.commit(Dockerfile="FROM scratch\n")
    path = tmp_path / "web.yaml"
    path.write_text(f"image: {{name: {NAME}, source: {{git: {repo.server}, reference: main, folder: web}}}}\n")
    assert run(["build", str(path)], session) == 1
    assert "image.source.folder web" in capsys.readouterr().err and not docker.did


def test_a_link_out_of_the_context_is_refused_by_name_before_docker_is_asked(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (web.parent / "src" / "secret").symlink_to("/etc/passwd")
    assert run(["build", str(web)], session) == 1
    assert "src/secret leads to /etc/passwd" in capsys.readouterr().err and not docker.did


def test_a_description_in_its_own_context_is_told_of(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.write_text(web.read_text().replace("{path: src}", "{path: .}, dockerfile: src/Dockerfile"))
    (web.parent / "main").touch()
    assert run(["build", str(web)], session) == 0
    assert "web.yaml is in the build context" in capsys.readouterr().err
    (web.parent / ".dockerignore").write_text("web.yaml\n")
    assert run(["build", str(web)], session) == 0
    assert "is in the build context" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--wait"], 2, "give --apply as well"),
        (["--apply", "--dry-run"], 2, "give one of them"),
        (["--apply"], 2, "app is missing"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    web.write_text(web.read_text().partition("app:")[0])
    assert run(["build", str(web), *words], session) == status
    assert said in capsys.readouterr().err and not docker.did


def test_a_push_that_the_registry_does_not_show_is_an_error(
    session: Session, docker: FakeDocker, web: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "digest", lambda _: "")
    assert run(["build", str(web)], session) == 1
    assert "its registry does not show it" in capsys.readouterr().err
