"""The next version of a repository, and when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.repository import Repository, repository

from eratos.cli.arguments import Part
from eratos.cli.images import release
from eratos.cli.images.git import GitFailed


@pytest.mark.parametrize(
    ("tags", "part", "wanted"),
    [
        ([], "patch", "v0.0.1"),
        ([], "minor", "v0.1.0"),
        ([], "major", "v1.0.0"),
        (["v1.4.2"], "patch", "v1.4.3"),
        (["v1.4.2"], "minor", "v1.5.0"),
        (["v1.4.2"], "major", "v2.0.0"),
        (["v1.9.0", "v1.10.0", "v1.2.9"], "minor", "v1.11.0"),
        (["v1.4.2", "v2.0.0-rc1", "v3", "1.5.0", "v01.0.0", "v1.4.2^{}"], "patch", "v1.4.3"),
    ],
)
def test_the_next_version(tags: list[str], part: Part, wanted: str) -> None:
    assert release.next_version(tags, part) == wanted


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    # What a user has set for git, such as to sign tags, is not for tests.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@test")
    made = repository(tmp_path)
    made.commit(a="1")
    return made


def released(repo: Repository, part: Part = "minor", **options: Any) -> str:
    return release.release(repo.folder, part, lambda _: None, **{"branch": "main", "remote": "origin", **options})


def tags(repo: Repository) -> list[str]:
    return repo.git("ls-remote", "--tags", "origin").split()[1::2]


def test_a_release_is_a_tag_at_the_server(repo: Repository) -> None:
    assert released(repo) == "v0.1.0"
    assert tags(repo) == ["refs/tags/v0.1.0", "refs/tags/v0.1.0^{}"]
    repo.commit(a="2")
    assert released(repo, "patch") == "v0.1.1"


def test_a_dry_run_changes_nothing(repo: Repository) -> None:
    assert released(repo, dry_run=True) == "v0.1.0"
    assert not tags(repo) and not repo.git("tag")


def test_what_was_released_is_not_released_again(repo: Repository) -> None:
    released(repo)
    with pytest.raises(release.NotReleasable, match=r"is v0\.1\.0 already"):
        released(repo)


def test_a_repository_with_something_to_do_first_is_not_released(repo: Repository) -> None:
    (repo.folder / "b").touch()
    with pytest.raises(release.NotReleasable, match="1 files are not committed, such as b"):
        released(repo)
    (repo.folder / "b").unlink()
    repo.git("commit", "-q", "--allow-empty", "-m", "not pushed")
    with pytest.raises(release.NotReleasable, match="git push origin main"):
        released(repo)
    repo.git("switch", "-q", "-c", "other")
    with pytest.raises(release.NotReleasable, match="this is the branch other"):
        released(repo)
    assert not tags(repo)


def test_a_tag_that_the_server_does_not_take_does_not_stay(repo: Repository) -> None:
    hook = repo.server / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitFailed):
        released(repo)
    assert not repo.git("tag")
    hook.unlink()
    assert released(repo) == "v0.1.0"
