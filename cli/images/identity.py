"""What an image is called by what it is made of, and what is to be done for it. Pure.

The same settings and the same source make the same id, on every machine and at any time, so nobody builds twice.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum

from .description import Description

#: Of the id; a tag of all 64 digits would be unreadable, and two images of one name do not agree in 48 bits by chance.
TAG_DIGITS = 12
#: Other rules make other ids.
_RULES = "eratos image 1"


class Step(Enum):
    """What is to be done so that an image is in its registry."""

    NOTHING = "nothing"
    PUSH = "push"  #: it was built here
    BUILD = "build"  #: and push


def settings(description: Description) -> dict[str, str]:
    """Return what shapes an image beside its source, flat: neither its name, nor where its source was got from."""
    folder = description.git.folder if description.git is not None else ""
    plain = {"target": description.target, "platform": description.platform, "folder": folder}
    return {
        "dockerfile": description.dockerfile,
        # What is not stated is not there, so that a key that comes to exist leaves ids as they are.
        **{name: value for name, value in plain.items() if value},
        **{f"args.{name}": value for name, value in description.args.items()},
        **{f"labels.{name}": value for name, value in description.labels.items()},
    }


def image_id(description: Description, source: str) -> str:
    """Return the id, 64 hexadecimal digits. ``source`` is the commit, or the digest of the build context."""
    kind = "path" if description.git is None else "git"
    whole = json.dumps([_RULES, kind, source, sorted(settings(description).items())])
    return hashlib.sha256(whole.encode()).hexdigest()


def tagged(description: Description, image_id: str) -> str:
    return f"{description.name}:{image_id[:TAG_DIGITS]}"


def step(*, here: bool, in_registry: bool, rebuild: bool = False) -> Step:
    """Return what is to be done for an image that is on this machine's Docker, in the registry, both or neither."""
    if rebuild:
        return Step.BUILD
    if in_registry:
        return Step.NOTHING
    return Step.PUSH if here else Step.BUILD
