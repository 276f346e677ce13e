"""The images as they are: they say what they are, and what Debian's package manager lists in them is in docs/licences.md."""

from __future__ import annotations

import json

import pytest
from devtool import images, version
from devtool.licences import look_up, table
from devtool.licences.parts import DEBIAN
from support.containers import docker

SOURCES = {part.name: part.where for part in table.current() if part.kind == DEBIAN}


@pytest.mark.parametrize("image", images.IMAGES)
def test_every_package_of_an_image_is_named_with_its_licence(image: str) -> None:
    listed = {source for source, _, _ in look_up.installed(image).values()}
    assert len(listed) > 50
    assert {source for source in listed if image not in SOURCES.get(source, ())} == set(), "run ./dev licences"


@pytest.mark.parametrize("image", images.IMAGES)
def test_an_image_says_what_it_is_and_of_which_version(image: str) -> None:
    labels = json.loads(docker("image", "inspect", "-f", "{{json .Config.Labels}}", f"eratos/{image}"))
    assert labels["org.opencontainers.image.title"] and labels["org.opencontainers.image.description"]
    assert labels["org.opencontainers.image.version"] == version.current()
