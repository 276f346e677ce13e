"""The images as they are: what Debian's package manager lists in them is named in docs/licences.md."""

from __future__ import annotations

import pytest
from devtool import images
from devtool.licences import look_up, table
from devtool.licences.parts import DEBIAN

SOURCES = {part.name: part.where for part in table.current() if part.kind == DEBIAN}


@pytest.mark.parametrize("image", images.IMAGES)
def test_every_package_of_an_image_is_named_with_its_licence(image: str) -> None:
    listed = {source for source, _, _ in look_up.installed(image).values()}
    assert len(listed) > 50
    assert {source for source in listed if image not in SOURCES.get(source, ())} == set(), "run ./dev licences"
