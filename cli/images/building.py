"""From a description to an image in its registry: the id, what there is of it, and what is to be done."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eratos.common.errors import PermanentError

from . import git, identity
from .context import Context, UnfitContext
from .description import Description
from .identity import Step

#: Of the Open Containers' annotations: which commit an image is of.
REVISION = "org.opencontainers.image.revision"


class Docker(Protocol):
    """What is asked of Docker; :class:`.engine.Engine` does it."""

    def has(self, image: str) -> bool: ...
    def digest(self, image: str) -> str: ...
    def build(self, description: Description, folder: Path, labels: dict[str, str], *, fresh: bool) -> str: ...
    def name(self, image: str, tag: str) -> None: ...
    def push(self, tag: str) -> None: ...


@dataclass(frozen=True)
class Plan:
    """An image, and what is to be done so that its registry has it."""

    description: Description
    source: str  #: the commit, or the digest of the build context
    image_id: str
    tag: str
    step: Step
    digest: str  #: the registry's; empty where it has none, or will have another


def plan(description: Description, engine: Docker, say: Callable[[str], object], *, rebuild: bool = False) -> Plan:
    """Find out what an image is called, and what there is of it. Raises PermanentError."""
    if description.git is not None:
        source = git.commit(description.git)
        say(f"{description.git.url} at {description.git.reference}: commit {source}")
    else:
        context = _context(description)
        source = context.digest()
        for hint in _hints(description, context):
            say(hint)
    image_id = identity.image_id(description, source)
    tag = identity.tagged(description, image_id)
    here, digest = engine.has(tag), engine.digest(tag)
    step = identity.step(here=here, in_registry=bool(digest), rebuild=rebuild)
    return Plan(description, source, image_id, tag, step, "" if step is Step.BUILD else digest)


def summary(plan: Plan) -> str:
    """Return what is to be done, for people."""
    return {
        Step.NOTHING: f"{plan.tag} is in its registry: nothing is to be built",
        Step.PUSH: f"{plan.tag} is here, and not in its registry: it is to be pushed",
        Step.BUILD: f"{plan.tag} is to be built and pushed",
    }[plan.step]


def carry_out(plan: Plan, engine: Docker, say: Callable[[str], object], *, fresh: bool = False) -> str:
    """Do what is to be done, and return the image by its digest: ``name@sha256:...``. Raises PermanentError."""
    if plan.step is Step.BUILD:
        _build(plan, engine, say, fresh=fresh)
    digest = plan.digest
    if plan.step is not Step.NOTHING:
        say(f"pushing {plan.tag}")
        engine.push(plan.tag)
        digest = engine.digest(plan.tag)
        if not digest:
            raise PermanentError(f"{plan.tag} was pushed, and its registry does not show it: may this login read there?")
    return f"{plan.description.name}@{digest}"


def _build(plan: Plan, engine: Docker, say: Callable[[str], object], *, fresh: bool) -> None:
    say(f"building {plan.tag}")
    git_source = plan.description.git
    if git_source is not None:
        with tempfile.TemporaryDirectory(prefix="eratos-build-") as place:
            checked_out = Path(place).resolve() / "source"
            git.check_out(git_source.url, plan.source, checked_out)
            context = Context(checked_out / git_source.folder, plan.description.dockerfile)
            if not context.folder.resolve().is_relative_to(checked_out):
                raise UnfitContext(f"image.source.folder {git_source.folder} of {git_source.url} leads out of the repository")
            context.checked()
            image = engine.build(plan.description, context.folder, {REVISION: plan.source}, fresh=fresh)
    else:
        context = _context(plan.description)
        image = engine.build(plan.description, context.folder, {}, fresh=fresh)
        if context.digest() != plan.source:
            raise PermanentError(f"{context.folder} changed while it was built from, so nothing was pushed: run this again")
    # Only now has it its name: what has it is taken for what the id says.
    engine.name(image, plan.tag)


def _context(description: Description) -> Context:
    assert description.path is not None, "there is a path where there is no repository"
    return Context(description.path, description.dockerfile)


def _hints(description: Description, context: Context) -> Iterator[str]:
    """Yield what would make another image of every change although nobody wants it in one."""
    paths = set(context.checked())
    for path in (context.folder / ".git", *description.files):
        if path.is_relative_to(context.folder) and (name := path.relative_to(context.folder).as_posix()) in paths:
            yield f"{name} is in the build context, so each change of it makes another image: name it in .dockerignore"
