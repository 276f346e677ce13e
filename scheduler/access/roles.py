"""Three roles, each for a path prefix, each holding the ones before it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from eratos.marathon import ids


class Role(IntEnum):
    """What somebody may do; a higher role may do what the lower ones may."""

    VIEW = 1  #: see apps, tasks, logs, deployments
    DEPLOY = 2  #: create, change, scale, restart and delete apps
    OPERATE = 3  #: the cluster's own affairs: the brake, the leader, a shell in a container

    @classmethod
    def named(cls, word: str) -> Role:
        """Return the role of a word as settings have it. Raises ValueError that lists the roles."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"{word!r} is no role: use {', '.join(role.name.lower() for role in cls)}") from None


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for a group of apps, itself and everything below it; ``/`` is everything."""

    role: Role
    path: str

    @classmethod
    def parse(cls, text: str) -> Grant:
        """Read ``deploy:/shop``; a role alone is for ``/``. Raises ValueError with what is wrong."""
        word, _, path = text.partition(":")
        return cls(Role.named(word), ids.absolute(path or "/"))

    def __str__(self) -> str:
        return f"{self.role.name.lower()}:{self.path}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may use the API."""

    name: str
    grants: tuple[Grant, ...]

    def may(self, role: Role, path: str = "/") -> bool:
        """Return whether the identity has a role for the app or group ``path``; ``/`` asks for the role for everything."""
        # Asked for each app of a list, and most people have one role for everything.
        return any(grant.role >= role and (grant.path == "/" or ids.within(path, grant.path)) for grant in self.grants)

    def sees_within(self, path: str) -> bool:
        """Return whether anything at or below ``path``, or above it, may be looked at: whether a list of it makes sense."""
        return any(ids.within(path, grant.path) or ids.within(grant.path, path) for grant in self.grants)


#: Who somebody is where the API asks nobody who they are.
ANYBODY = Identity("-", (Grant(Role.OPERATE, "/"),))
#: Somebody who has not said who they are, or not been believed.
STRANGER = Identity("?", ())
