"""What makes another image, what does not, and what is done for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eratos.cli.images.description import Description, Git
from eratos.cli.images.identity import Step, image_id, settings, step, tagged

GIT = Git("https://git.test/web", "v1.4")
WEB = Description("registry.test/web", git=GIT, args={"A": "1"}, labels={"a.b": "c"})
COMMIT = "1f" * 20


def test_the_id_is_a_sha_256_that_no_version_of_eratos_changes() -> None:
    # Another value here makes everybody build everything anew.
    assert image_id(WEB, COMMIT) == "839ab27dbe918e92f91d8ad0476ae90d1f5d223736efcae285458515172ef7d0"
    assert tagged(WEB, image_id(WEB, COMMIT)) == f"registry.test/web:{image_id(WEB, COMMIT)[:12]}"


@pytest.mark.parametrize(
    "change",
    [
        {"dockerfile": "other"},
        {"target": "web"},
        {"platform": "linux/arm64"},
        {"args": {}},
        {"args": {"A": "2"}},
        {"args": {"A": "1", "B": ""}},
        {"labels": {"a.b": "d"}},
        {"labels": {"a.b": "c", "A": "1"}},
        {"git": replace(GIT, folder="web")},
        {"git": None, "path": Path("/web")},
    ],
)
def test_another_setting_makes_another_image(change: dict[str, Any]) -> None:
    assert image_id(replace(WEB, **change), COMMIT) != image_id(WEB, COMMIT)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other.test/web"},
        {"git": replace(GIT, reference="main")},
        {"git": replace(GIT, url="ssh://git@git.test/web")},
        {"app": {"id": "/web"}},
        {"files": (Path("/web.yaml"),)},
    ],
)
def test_where_it_comes_from_and_what_runs_it_make_no_other_image(change: dict[str, Any]) -> None:
    assert image_id(replace(WEB, **change), COMMIT) == image_id(WEB, COMMIT)


def test_another_commit_makes_another_image() -> None:
    assert image_id(WEB, "2f" * 20) != image_id(WEB, COMMIT)


def test_the_order_of_settings_is_no_matter() -> None:
    one, other = replace(WEB, args={"A": "1", "B": "2"}), replace(WEB, args={"B": "2", "A": "1"})
    assert image_id(one, COMMIT) == image_id(other, COMMIT)


def test_settings_are_flat_and_what_is_not_stated_is_not_there() -> None:
    assert settings(WEB) == {"dockerfile": "Dockerfile", "args.A": "1", "labels.a.b": "c"}


@pytest.mark.parametrize(
    ("here", "in_registry", "rebuild", "wanted"),
    [
        (False, False, False, Step.BUILD),
        (True, False, False, Step.PUSH),
        (False, True, False, Step.NOTHING),
        (True, True, False, Step.NOTHING),
        (True, True, True, Step.BUILD),
        (False, False, True, Step.BUILD),
    ],
)
def test_what_is_there_is_not_built_again(here: bool, in_registry: bool, rebuild: bool, wanted: Step) -> None:
    assert step(here=here, in_registry=in_registry, rebuild=rebuild) is wanted
