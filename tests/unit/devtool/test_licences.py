"""docs/licences.md names everything that is locked, under licences that are known; and how licences are read."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from devtool import images
from devtool.licences import command, look_up, parts, table, texts
from devtool.licences.parts import DEBIAN, GO, PYTHON, Part
from support.folders import ROOT

PAGE = (ROOT / "docs" / "licences.md").read_text()
PARTS = table.read(PAGE)
BSD = "Redistribution and use in source and binary forms"


def of(kind: str) -> list[Part]:
    return [part for part in PARTS if part.kind == kind]


def test_the_page_is_as_it_is_written() -> None:
    assert table.write(PARTS) == PAGE, "run ./dev licences"


def test_everything_that_is_locked_is_there() -> None:
    locked = parts.python() + parts.npm() + parts.others()
    named = [dataclasses.replace(part, licence="") for part in PARTS if part.kind not in (GO, DEBIAN)]
    assert set(named) == {dataclasses.replace(part, licence="") for part in locked}, "run ./dev licences"


def test_compiled_modules_are_those_of_the_locks() -> None:
    sums = parts.sums()
    for part in of(GO):
        for program in part.where:
            assert f"{part.name}@{part.version}" in sums[program], f"{part.name}: run ./dev licences"
    for program, package in parts.PROGRAMS.items():
        listed = {part.name for part in of(GO) if program in part.where}
        assert listed and (package == "." or package in listed), program


def test_every_licence_is_known() -> None:
    assert command.complaints_about(PARTS) == []
    assert len(PARTS) > 400


def test_debians_packages_of_each_image_are_there() -> None:
    # A contract test holds them to the images themselves.
    assert {image for part in of(DEBIAN) for image in part.where} >= {*images.IMAGES}
    assert {"haproxy", "nginx", "zookeeper", "openjdk-21", "python3.13"} <= {part.name for part in of(DEBIAN)}


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (Part(PYTHON, "new", "1", ("cli",), ""), "unknown"),
        (Part(PYTHON, "new", "1", ("cli",), "AGPL-3.0-only"), "not among"),
        (Part(PYTHON, "new", "1", ("cli",), "MIT AND SSPL-1.0"), "not among"),
        (Part(GO, "example.org/other", "v1", ("consul",), "BUSL-1.1"), "not among"),
        (Part(GO, "github.com/hashicorp/consul", "v1", ("consul",), "MPL-2.0"), "not BUSL-1.1 any more"),
        (Part(DEBIAN, "new", "", ("agent",), ""), "unknown"),
        (Part(PYTHON, "new", "1", ("cli",), "MIT AND PSF-2.0"), ""),
        (Part(PYTHON, "new", "1", ("cli",), "AGPL-3.0-only OR MIT"), ""),
        (Part(GO, "github.com/hashicorp/consul", "v1", ("consul",), "BUSL-1.1"), ""),
        (Part(DEBIAN, "new", "", ("agent",), "GPL-3.0-or-later"), ""),
    ],
)
def test_an_unknown_licence_is_complained_about(part: Part, complaint: str) -> None:
    found = command.complaints_about([part])
    assert bool(found) == bool(complaint)
    assert complaint in "".join(found)


def test_a_new_package_in_a_lock_is_missed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    with (tmp_path / "requirements" / "cli.txt").open("a") as file:
        file.write("leftpad==1.0 \\\n    --hash=sha256:00\n")
    assert {part.name for part in parts.python(tmp_path)} - {part.name for part in of(PYTHON)} == {"leftpad"}


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("// Permission is hereby granted, free of charge, to any person\n// obtaining a copy", "MIT"),
        ("Redistribution and use in source and binary forms, with or without", "BSD-2-Clause"),
        ("Redistribution and use in source and binary\n * forms ... Neither the name of X", "BSD-3-Clause"),
        ("Permission to use, copy, modify and/or distribute this software for\nany purpose with or without fee is hereby", "ISC"),
        ("Mozilla Public License, version 2.0", "MPL-2.0"),
        ("Business Source License 1.1\nChange License: Mozilla Public License, version 2.0", "BUSL-1.1 AND MPL-2.0"),
        ("Apache License, Version 2.0 ... Permission is hereby granted, free of charge, to any person", "Apache-2.0 AND MIT"),
        ("All rights reserved.", ""),
    ],
)
def test_a_text_is_recognised(text: str, licence: str) -> None:
    assert texts.of_text(text) == licence


@pytest.mark.parametrize(
    ("arguments", "licence"),
    [
        (("MIT OR Apache-2.0", "", [], []), "MIT OR Apache-2.0"),
        (("", "Apache 2.0", [], []), "Apache-2.0"),
        (("", "", ["License :: OSI Approved :: MIT License"], []), "MIT"),
        (("", "BSD", ["License :: OSI Approved :: BSD License"], [BSD]), "BSD-2-Clause"),
        (("", "as you like", [], []), ""),
    ],
)
def test_metadata_of_a_python_package_is_understood(arguments: tuple[str, str, list[str], list[str]], licence: str) -> None:
    assert texts.of_metadata(*arguments) == licence


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("Files: *\nLicense: GPL-2+\n\nFiles: x\nLicense: Expat and BSD-3-clause\n", "BSD-3-Clause, GPL-2.0-or-later, MIT"),
        ("License: GPL-2\n\nSee /usr/share/common-licenses/GPL-3", "GPL-2.0-only"),
        ("License: LGPL-2.1+ with something\n", "LGPL-2.1-or-later"),
        ("Free text. See /usr/share/common-licenses/Apache-2.0.", "Apache-2.0"),
        ("License: own-words\n Permission is hereby granted, free of charge, to any person", "MIT"),
        ("Nothing is said.", ""),
    ],
)
def test_a_copyright_file_of_debian_is_understood(text: str, licence: str) -> None:
    assert texts.of_debian(text) == licence


def test_a_package_that_is_not_installed_is_of_unknown_licence() -> None:
    assert look_up.of_python(Part(PYTHON, "no-such-package", "1", ("cli",))) == ""
