"""Descriptions of images: how files are merged, and what is refused with key and fix."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from eratos.cli.images import description
from eratos.cli.images.description import Git, Invalid

IMAGE = {"name": "registry.test:5000/shop/web", "source": {"path": "."}}
APP = {"id": "/shop/web", "instances": 2}


def described(**image: Any) -> description.Description:
    return description.check({"image": {**IMAGE, **image}, "app": APP}, "web.yaml")


def refused(body: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as error:
        description.check(body, "web.yaml")
    return str(error.value)


def test_later_files_win_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "image: {name: registry.test/web, source: {path: src}, args: {A: '1', B: '2'}}\n"
        "app: {id: /web, instances: 1, env: {X: x}}\n"
    )
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "prod.json").write_text('{"image": {"args": {"B": "3"}}, "app": {"instances": 5, "constraints": []}}')
    found = description.load([str(tmp_path / "base.yaml"), str(tmp_path / "env" / "prod.json")])
    assert found.args == {"A": "1", "B": "3"}
    assert found.app == {"id": "/web", "instances": 5, "env": {"X": "x"}, "constraints": []}
    # Of the file that names it, not of the last one.
    assert found.path == tmp_path / "src"
    assert found.files == (tmp_path / "base.yaml", tmp_path / "env" / "prod.json")


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
    ],
)
def test_maps_are_merged_and_all_else_is_replaced(base: dict[str, Any], over: dict[str, Any], merged: dict[str, Any]) -> None:
    before = copy.deepcopy((base, over))
    assert description.merge(base, over) == merged
    assert (base, over) == before


def test_a_later_file_takes_the_source_of_an_earlier_one_away(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("image: {name: web, source: {path: .}}\n")
    (tmp_path / "ci.yaml").write_text("image: {source: {path: null, git: 'https://git.test/web', reference: v1.4}}\n")
    found = description.load([str(tmp_path / "base.yaml"), str(tmp_path / "ci.yaml")])
    assert (found.path, found.git) == (None, Git("https://git.test/web", "v1.4"))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"app": APP}, "image is missing"),
        ({"image": {"source": {"path": "."}}}, "image.name is missing"),
        ({"image": {"name": "web"}}, "image.source is missing"),
        ({"image": {"name": "web", "source": {}}}, "image.source has neither"),
        ({"image": {"name": "web", "source": {"git": "https://git.test/web"}}}, "image.source.reference is missing"),
        ({"image": IMAGE, "app": {}}, "app.id is missing"),
        ({"image": IMAGE, "app": None}, "app is missing"),
    ],
)
def test_a_key_that_is_missing_is_named_with_what_to_write(body: dict[str, Any], path: str) -> None:
    message = refused(body)
    assert message.startswith(f"web.yaml: {path}") and re.search(": (name|write|describe) ", message), message


def test_every_problem_is_named_at_once() -> None:
    message = refused({"image": {"source": {"path": "."}, "args": {"A": 1}}, "app": {}})
    assert all(key in message for key in ("image.name", "image.args.A", "app.id"))


@pytest.mark.parametrize(
    ("image", "wrong"),
    [
        ({"nmae": "x"}, "image.nmae is no key that eratos knows: did you mean name?"),
        ({"name": "Shop/Web"}, "image.name"),
        ({"name": "shop/web:1"}, "image.name"),
        ({"name": "shop/web@sha256:00"}, "image.name"),
        ({"name": "--privileged"}, "image.name"),
        ({"name": "a" * 256}, "image.name"),
        ({"dockerfile": "../Dockerfile"}, "image.dockerfile"),
        ({"dockerfile": "a/../../Dockerfile"}, "image.dockerfile"),
        ({"dockerfile": "/Dockerfile"}, "image.dockerfile"),
        ({"dockerfile": "-f"}, "image.dockerfile"),
        ({"dockerfile": 1}, "image.dockerfile"),
        ({"target": "--push"}, "image.target"),
        ({"platform": "-x"}, "image.platform"),
        ({"args": {"A": 1.1}}, "image.args.A is float and not text: put it in quotes"),
        ({"args": {"A": True}}, "image.args.A"),
        ({"args": {"A B": "1"}}, "image.args.A B"),
        ({"args": {"PATH": "/"}}, "image.args.PATH"),
        ({"args": {"DOCKER_HOST": "tcp://x"}}, "image.args.DOCKER_HOST"),
        ({"args": {"LD_PRELOAD": "x.so"}}, "image.args.LD_PRELOAD"),
        ({"args": ["A=1"]}, "image.args is list"),
        ({"labels": {"a=b": "1"}}, "image.labels.a=b"),
        ({"labels": {"a": 1}}, "image.labels.a"),
        ({"source": "."}, "image.source is str"),
        ({"source": {"path": ".", "git": "https://git.test/web", "reference": "main"}}, "image.source has both"),
        ({"source": {"path": ".", "reference": "main"}}, "image.source.reference is for a repository"),
        ({"source": {"path": "."} | {"folder": "x"}}, "image.source.folder is for a repository"),
        ({"source": {"git": "--upload-pack=x", "reference": "main"}}, "image.source.git"),
        ({"source": {"git": "ext::sh -c x", "reference": "main"}}, "image.source.git"),
        ({"source": {"git": "https://git.test/web", "reference": "--all"}}, "image.source.reference"),
        ({"source": {"git": "https://git.test/web", "reference": "a b"}}, "image.source.reference"),
        ({"source": {"git": "https://git.test/web", "reference": "main", "folder": "../x"}}, "image.source.folder"),
    ],
)
def test_what_is_no_good_is_refused_by_its_key(image: dict[str, Any], wrong: str) -> None:
    assert wrong in refused({"image": {**IMAGE, **image}})


@pytest.mark.parametrize("url", ["https://joe:hunter2@git.test/web", "https://hunter2@git.test/web"])
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    message = refused({"image": {**IMAGE, "source": {"git": url, "reference": "main"}}})
    assert "image.source.git" in message and "hunter2" not in message


@pytest.mark.parametrize(
    "url", ["https://git.test/web.git", "ssh://git@git.test/web", "git@git.test:shop/web.git", "/srv/git/web"]
)
def test_addresses_of_repositories_are_taken(url: str) -> None:
    found = described(source={"git": url, "reference": "main", "folder": "services//web/."}).git
    assert found == Git(url, "main", "services/web")


@pytest.mark.parametrize(
    "name", ["web", "shop/web", "localhost/web", "127.0.0.1:5000/shop/web", "Registry.test/a_b/c-d.e", "registry:5000/web"]
)
def test_names_of_images_are_taken(name: str) -> None:
    assert described(name=name).name == name


@pytest.mark.parametrize(
    ("app", "wrong"),
    [
        ({"id": "/p", "containers": []}, "app is a pod"),
        ({"id": 1}, "app.id is int"),
        ({"id": "/a", "container": "x"}, "app.container"),
        ({"id": "/a", "container": {"docker": {"image": "x"}}}, "app.container.docker.image"),
        ([], "app is list"),
    ],
)
def test_an_app_that_cannot_run_the_image_is_refused(app: Any, wrong: str) -> None:
    assert wrong in refused({"image": IMAGE, "app": app})


def test_the_app_runs_the_image_and_keeps_all_else() -> None:
    app = {"id": "/a", "container": {"docker": {"privileged": True}, "volumes": []}}
    found = description.check({"image": IMAGE, "app": copy.deepcopy(app)}, "web.yaml")
    assert found.with_image("web@sha256:1") == {
        "id": "/a",
        "container": {"type": "DOCKER", "docker": {"privileged": True, "image": "web@sha256:1"}, "volumes": []},
    }
    assert found.app == app


def test_a_file_that_is_no_map_is_named(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("- a\n")
    with pytest.raises(Invalid, match=re.escape("web.yaml holds list")):
        description.load([str(tmp_path / "web.yaml")])
