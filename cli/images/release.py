"""``eratos release``: the next version of a repository, as a tag at its server. What runs it is ``eratos build``'s matter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from eratos.common.errors import PermanentError

from ..arguments import Part
from . import git

_TAG = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_PREFIX = "refs/tags/"


class NotReleasable(PermanentError):
    """A repository is not in the state in which it may be released; the message says what to do."""


def next_version(tags: Iterable[str], part: Part) -> str:
    """Return the tag of the next version (https://semver.org): v1.4.2 -> v1.5.0. Tags of other forms do not count."""
    versions = [tuple(map(int, match.groups())) for tag in tags if (match := _TAG.fullmatch(tag))]
    major, minor, patch = max(versions, default=(0, 0, 0))
    numbers = {"major": (major + 1, 0, 0), "minor": (major, minor + 1, 0), "patch": (major, minor, patch + 1)}[part]
    return "v" + ".".join(map(str, numbers))


def release(folder: Path, part: Part, say: Callable[[str], object], *, branch: str, remote: str, dry_run: bool = False) -> str:
    """Tag what a branch is here and at its server, push the tag, and return it.

    Raises NotReleasable where there is something to do first, and GitFailed.
    """
    if changed := git.run("status", "--porcelain", folder=folder).splitlines():
        raise NotReleasable(f"{len(changed)} files are not committed, such as {changed[0][3:]}: commit them, or git stash -u")
    here = git.run("rev-parse", "--abbrev-ref", "HEAD", folder=folder).strip()
    if here != branch:
        raise NotReleasable(f"this is the branch {here}: git switch {branch}, or give --branch {here}")
    commit = git.run("rev-parse", "HEAD", folder=folder).strip()
    known = git.references(remote, folder=folder)
    if known.get(f"refs/heads/{branch}") != commit:
        raise NotReleasable(f"{branch} is not what {remote} has: git pull --ff-only, then git push {remote} {branch}")
    tags = {name.removeprefix(_PREFIX): digits for name, digits in known.items() if name.startswith(_PREFIX)}
    if released := [name for name, digits in tags.items() if digits == commit and _TAG.fullmatch(name.removesuffix("^{}"))]:
        raise NotReleasable(f"this commit is {released[0].removesuffix('^{}')} already: there is nothing to release")
    version = next_version(tags, part)
    if dry_run:
        say(f"would tag {commit} of {branch} as {version}, and push that to {remote}")
        return version
    git.run("tag", "-a", "-m", f"Release {version}", "--", version, commit, folder=folder)
    try:
        git.run("push", "-q", "--", remote, f"{_PREFIX}{version}", folder=folder)
    except git.GitFailed:
        # So that the next attempt finds all as it was.
        git.run("tag", "-d", "--", version, folder=folder)
        raise
    say(f"tagged {commit} of {branch} as {version}, and pushed that to {remote}")
    return version
