"""``.dockerignore`` by Docker's rules; ``tests/contract/test_build.py`` asks Docker itself about the same table."""

from __future__ import annotations

import pytest
from support.dockerignore import CASES

from eratos.cli.images import ignored
from eratos.common.errors import PermanentError


@pytest.mark.parametrize(("text", "paths"), CASES)
def test_what_is_left_out(text: str, paths: dict[str, bool]) -> None:
    out = ignored.parse(text)
    assert {path: path in out for path in paths} == paths


def test_folders_that_are_left_out_need_not_be_read_where_nothing_is_taken_back() -> None:
    assert ignored.parse("# !this is a comment\nnode_modules\n").wholly
    assert not ignored.parse("node_modules\n!node_modules/keep\n").wholly


def test_what_is_taken_back_by_a_pattern_is_in_also_where_only_the_newer_builder_sends_it() -> None:
    # Docker's older builder does not look into b/c for it. A file too many in the digest is no harm, one that lacks is.
    out = ignored.parse("*\n!b/**/d\n")
    assert ["b/c/d" in out, "b/c/e" in out, "a" in out] == [False, True, True]


@pytest.mark.parametrize("line", ["!", "  !  ", "a[", "a[z-a]"])
def test_a_line_that_docker_refuses_is_named(line: str) -> None:
    with pytest.raises(PermanentError) as refused:
        ignored.parse(f"fine\n{line}\n")
    assert repr(line) in str(refused.value)
