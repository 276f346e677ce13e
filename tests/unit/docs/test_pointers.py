"""What sources and documents point at is there: rules, records of decisions, files, links."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.folders import ROOT

_LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
)
FILES = [name for name in _LISTED.stdout.split() if (ROOT / name).is_file()]
DOCUMENTS = [name for name in FILES if name.endswith(".md")]
SOURCES = [name for name in FILES if name.endswith((".py", ".md", ".ctmpl", ".hcl", ".toml", ".cfg", ".sh", ".txt"))]

#: Papers that were never part of the repository, by the ways in which comments once named them.
DANGLING = (
    r"\b[PF]\d{1,2}\b",
    r"(?<![\w/-])(?:style|design|rules|platform|audit)\.md\b",
    r"\bdecision \d",
    r"\bstyle's\b",
)
#: A rule of Mesos' or several: ``rule 9``, ``rules 1 and 2``, ``rules 11 to 17``, ``rules 25, 27 and 28``.
RULES = re.compile(r"\brules? (\d+(?:(?:, | and | to |-)\d+)*)")
ROWS = {
    int(number)
    for page in ("mesos-rules.md", "executor-rules.md")
    for number in re.findall(r"^\| (\d+) \|", (ROOT / "docs" / page).read_text(), re.MULTILINE)
}
CODE = re.compile(r"```.*?```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@functools.cache
def text(name: str) -> str:
    return (ROOT / name).read_text()


def lines(names: list[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        for number, line in enumerate(text(name).splitlines(), 1):
            yield f"{name}:{number}", line


@pytest.mark.parametrize("pattern", DANGLING)
def test_nothing_points_at_papers_that_are_not_here(pattern: str) -> None:
    here = Path(__file__).name
    suspicious = [name for name in SOURCES if re.search(pattern, text(name)) and not name.endswith(here)]
    assert not [f"{place}: {line.strip()}" for place, line in lines(suspicious) if re.search(pattern, line)]


def test_every_rule_named_has_its_row() -> None:
    missing = [
        f"{place}: rule {number}"
        for place, line in lines([name for name in SOURCES if name.endswith(".py") and RULES.search(text(name))])
        for match in RULES.finditer(line)
        for number in re.findall(r"\d+", match[1])
        if int(number) not in ROWS
    ]
    assert not missing


def test_every_record_of_a_decision_named_exists() -> None:
    records = {name.split("/")[-1] for name in FILES if name.startswith("docs/adr/")}
    numbers = {int(name[:4]) for name in records if name[:4].isdigit()}
    wrong = []
    for name in SOURCES:
        wrong += [f"{name}: {found}" for found in re.findall(r"\b(\d{4}-[a-z-]+\.md)", text(name)) if found not in records]
        wrong += [f"{name}: ADR {number}" for number in re.findall(r"\bADRs? (\d+)", text(name)) if int(number) not in numbers]
    assert not wrong


def test_every_record_of_a_decision_has_a_number_of_its_own_and_says_it() -> None:
    records = [name for name in FILES if re.match(r"docs/adr/\d{4}-", name)]
    numbers = [int(name.split("/")[-1][:4]) for name in records]
    assert len(numbers) == len(set(numbers))
    assert [int(re.match(r"# (\d+)\.", text(name))[1]) for name in records] == numbers


@functools.cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file_and_its_heading(name: str) -> None:
    dead = []
    for target in LINK.findall(CODE.sub("", text(name))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md" and "/adr/" not in name])
def test_every_file_that_a_document_names_exists(name: str) -> None:
    """Of history, the change log and records of decisions, files may be gone."""
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|ctmpl|hcl|md))`", CODE.sub("", text(name)))
    named += re.findall(r"`((?:[\w-]+/)+)`", CODE.sub("", text(name)))  # not those made at run time, such as .generated/
    assert not [one for one in named if not any(f"/{one}" in f"/{file}" for file in FILES)]


MODULES = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES if name.endswith(".py")}


def test_every_module_that_a_docstring_names_exists() -> None:
    """A name is meant from the source's own package, or from one above it."""
    wrong = []
    for name in (name for name in FILES if name.endswith(".py")):
        package = name.split("/")[:-1]
        above = [".".join(package[:depth]) for depth in range(len(package), -1, -1)]
        for found in re.findall(r":mod:`\.?(?:eratos\.)?([\w.]+)`", text(name)):
            if not any(f"{folder}.{found}".lstrip(".") in MODULES for folder in above):
                wrong.append(f"{name}: {found}")
    assert not wrong
