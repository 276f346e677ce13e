"""Repositories, by git's own command: what a reference is now, and the files of a commit. git's helpers bring credentials."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from eratos.common.errors import PermanentError

from .description import Git

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: Files that are checked out have the same permissions on every machine, and lines end as they were committed.
_UMASK = 0o022
_AS_COMMITTED = ("-c", "core.autocrlf=false")


class GitFailed(PermanentError):
    """git did not do what it was asked for; the message has what it says."""


def run(*words: str, folder: Path | None = None, umask: int = -1) -> str:
    """Run git, in a folder if one is given, and return what it prints. Raises GitFailed. ``umask`` -1: this process's own."""
    place = ("-C", str(folder)) if folder is not None else ()
    try:
        done = subprocess.run(
            ["git", *place, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", umask=umask
        )
    except FileNotFoundError:
        raise GitFailed("git is not installed here: install it, or build from a path") from None
    if done.returncode:
        raise GitFailed(f"git failed: {done.stderr.strip() or f'it ended with {done.returncode}'}")
    return done.stdout


def references(url: str, *names: str, folder: Path | None = None) -> dict[str, str]:
    """Return what a repository calls which object, by the whole names: those that are asked for, or all. Raises GitFailed."""
    lines = run("ls-remote", "--", url, *names, folder=folder).splitlines()
    return {name: digits for digits, name in (line.split("\t", 1) for line in lines)}


def commit(source: Git) -> str:
    """Return the commit that a reference of a repository is now. Raises GitFailed."""
    if _COMMIT.fullmatch(source.reference):
        return source.reference
    whole = source.reference.startswith("refs/") or source.reference == "HEAD"
    names = [source.reference] if whole else [f"refs/heads/{source.reference}", f"refs/tags/{source.reference}"]
    # Of a tag that is an object of its own, the commit stands behind ^{}.
    found = references(source.url, *names, *(f"{name}^{{}}" for name in names))
    there = [name for name in names if name in found]
    if not there:
        raise GitFailed(
            f"{source.url} has no branch and no tag {source.reference}: push it, or give a commit with all its digits"
        )
    if len(there) > 1:
        raise GitFailed(f"{source.url} has a branch and a tag {source.reference}: write {' or '.join(there)}")
    return found.get(f"{there[0]}^{{}}") or found[there[0]]


def check_out(url: str, commit: str, folder: Path) -> None:
    """Write the files of a commit, submodules included, into a folder that is not there yet. Raises GitFailed."""
    run("init", "-q", "--", str(folder), umask=_UMASK)
    try:
        run("fetch", "-q", "--depth", "1", "--", url, commit, folder=folder)
    except GitFailed:
        # Not every server gives out a commit by its digits alone.
        run("fetch", "-q", "--", url, "+refs/*:refs/eratos/*", folder=folder)
    try:
        run(*_AS_COMMITTED, "checkout", "-q", "--detach", commit, "--", folder=folder, umask=_UMASK)
    except GitFailed as error:
        raise GitFailed(f"{url} has no commit {commit}: push it ({error})") from error
    if (folder / ".gitmodules").exists():
        run(*_AS_COMMITTED, "submodule", "-q", "update", "--init", "--recursive", folder=folder, umask=_UMASK)
    shutil.rmtree(folder / ".git")
