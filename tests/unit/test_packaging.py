"""setup.cfg names packages and folders by hand, because nothing could find them: hold it against the tree."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import re

import pytest
from support.folders import ROOT


def _config() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


PACKAGES = _config()["options"]["packages"].split()
FOLDERS = dict(line.replace(" ", "").split("=") for line in _config()["options"]["package_dir"].strip().splitlines())


def _in_tree() -> set[str]:
    """Every folder with an ``__init__.py`` under a folder that is mapped, or that could be: one directly in the root."""
    found = set()
    for top in ROOT.iterdir():
        if top.name.startswith(".") or top.name in ("tests", "build") or not (top / "__init__.py").is_file():
            continue
        for marker in top.rglob("__init__.py"):
            found.add(".".join(("eratos", *marker.parent.relative_to(ROOT).parts)))
    return found


def test_every_package_of_the_tree_is_named_and_none_besides() -> None:
    assert set(PACKAGES) == _in_tree()


def test_every_top_package_is_mapped_to_its_folder() -> None:
    assert {package: package.removeprefix("eratos.") for package in PACKAGES if package.count(".") == 1} == FOLDERS


def test_no_folder_with_modules_lacks_its_marker() -> None:
    for folder in FOLDERS.values():
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent} holds modules but no __init__.py"


def test_the_root_holds_no_package() -> None:
    assert not (ROOT / "__init__.py").exists()
    assert not (ROOT / "eratos").exists()


def _entry_points() -> list[str]:
    lines = _config()["options.entry_points"]["console_scripts"].strip().splitlines()
    return [line.split("=", 1)[1].strip() for line in lines]


@pytest.mark.parametrize("entry", _entry_points())
def test_every_command_leads_to_a_function(entry: str) -> None:
    module, function = entry.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_version_stands_in_one_place_and_the_changelog_knows_it() -> None:
    version = _config()["metadata"]["version"]
    newest = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == version
    states = re.compile(rf"""["']{re.escape(version)}["']|version ?[=:] ?{re.escape(version)}""")
    sources = [path for top in (*FOLDERS.values(), "compose-dev", "dashboard/src") for path in (ROOT / top).rglob("*")]
    found = [path for path in sources if path.suffix in (".py", ".tsx", ".ts", ".yaml") and states.search(path.read_text())]
    assert not found
    assert importlib.metadata.version("eratos") == version, "./dev lint installs it anew"


def test_the_page_on_the_package_index_links_to_nothing_that_is_not_there() -> None:
    page = _config()["metadata"]["long_description"].removeprefix("file: ")
    assert not re.findall(r"\]\((?!https://)[^)]*\)", (ROOT / page).read_text())


def test_nothing_outside_the_index_is_asked_for() -> None:
    """A path or an address among the requirements would be the second path that pip had to be given."""
    asked = _config()["options.extras_require"]
    for half in ("scheduler", "executor", "cli"):
        for line in asked[half].split("\n"):
            assert not re.search(r"@|://|^\.", line), line
    assert "install_requires" not in _config()["options"]
