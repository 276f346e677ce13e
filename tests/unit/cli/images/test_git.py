"""References of repositories and the files of a commit, by git itself."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from support.repository import Repository, repository

from eratos.cli.images import git
from eratos.cli.images.description import Git


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return repository(tmp_path)


def source(repo: Repository, reference: str) -> Git:
    return Git(str(repo.server), reference)


def test_a_reference_is_resolved_at_the_server(repo: Repository) -> None:
    first = repo.commit(a="1")
    repo.git("tag", "plain")
    repo.git("tag", "-a", "-m", "x", "v1.0")
    repo.git("push", "-q", "origin", "plain", "v1.0")
    repo.git("push", "-q", "origin", "HEAD:refs/heads/feature/main")
    second = repo.commit(a="2")
    repo.git("commit", "-q", "--allow-empty", "-m", "here alone")
    wanted = {
        "main": second,
        "HEAD": second,
        "refs/heads/main": second,
        "feature/main": first,
        "plain": first,
        "v1.0": first,
        "refs/tags/v1.0": first,
        first: first,
    }
    assert {name: git.commit(source(repo, name)) for name in wanted} == wanted


def test_a_reference_that_is_none_or_two_is_refused_with_its_name(repo: Repository) -> None:
    repo.commit(a="1")
    repo.git("push", "-q", "origin", "HEAD:refs/heads/v2", "HEAD:refs/tags/v2")
    with pytest.raises(git.GitFailed, match="no branch and no tag v3"):
        git.commit(source(repo, "v3"))
    with pytest.raises(git.GitFailed, match="refs/heads/v2 or refs/tags/v2"):
        git.commit(source(repo, "v2"))


def test_a_repository_that_is_none_is_refused_with_what_git_says(tmp_path: Path) -> None:
    with pytest.raises(git.GitFailed, match="nowhere"):
        git.commit(Git(str(tmp_path / "nowhere"), "main"))


def test_the_files_of_a_commit_come_whoever_checks_them_out(repo: Repository, tmp_path: Path) -> None:
    first = repo.commit(a="1", sub__b="2")
    repo.commit(a="3")
    git.check_out(str(repo.server), first, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "sub"]
    assert (tmp_path / "out" / "a").read_text() == "1"
    assert stat.S_IMODE((tmp_path / "out" / "sub" / "b").stat().st_mode) == 0o644


def test_submodules_are_there_as_well(repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # git itself refuses submodules on this machine, as it should.
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
    }.items():
        monkeypatch.setenv(name, value)
    library = repository(tmp_path / "library")
    library.commit(code="x")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.server), "lib")
    git.check_out(str(repo.server), repo.commit(), tmp_path / "out")
    assert (tmp_path / "out" / "lib" / "code").read_text() == "x"


def test_a_commit_that_the_server_has_not_is_refused(repo: Repository, tmp_path: Path) -> None:
    repo.commit(a="1")
    with pytest.raises(git.GitFailed, match="has no commit"):
        git.check_out(str(repo.server), "0" * 39 + "1", tmp_path / "out")
