"""The dashboard that is committed is the one that its source makes. Without Node: tests/contract builds it anew."""

from __future__ import annotations

import gzip
import hashlib
import re

from support.folders import ROOT

from eratos.scheduler.api.dashboard import FILES, HEADERS, PAGE

SOURCE = ROOT / "dashboard"
BUILT = ROOT / "scheduler" / "dashboard"
#: What it costs to open it, compressed.
BUNDLE_BYTES = 200_000


def digest() -> str:
    """Return what dashboard/build.mjs writes down as its source."""
    names = ["package.json", "package-lock.json", "tsconfig.json", "build.mjs"]
    names += [str(path.relative_to(SOURCE)) for path in (SOURCE / "src").rglob("*") if path.is_file()]
    made = hashlib.sha256()
    for name in sorted(names):
        made.update(f"{name}\0".encode() + (SOURCE / name).read_bytes() + b"\0")
    return made.hexdigest()


def test_the_built_files_are_of_this_source() -> None:
    assert (BUILT / "built-from").read_text().strip() == digest(), "build it anew: npm ci && npm run build in dashboard/"


def test_what_was_built_is_what_is_served() -> None:
    assert {path.name for path in BUILT.iterdir()} == {PAGE, "built-from", *FILES}


def test_the_dashboard_is_small() -> None:
    assert sum(len(gzip.compress((BUILT / name).read_bytes())) for name in (PAGE, *FILES)) < BUNDLE_BYTES


def test_the_page_has_no_script_or_style_of_its_own_and_nothing_from_elsewhere() -> None:
    page = (BUILT / PAGE).read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script>|javascript:", page)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {f"/ui/{name}" for name in FILES if name != "licences.txt"}
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_each_version_of_a_part_is_stated() -> None:
    stated = re.findall(r'"([^"]+)": "([^"]+)"', (SOURCE / "package.json").read_text().partition('"dependencies"')[2])
    assert stated and all(re.fullmatch(r"\d+\.\d+\.\d+", version) for _, version in stated)
