"""Contexts: APIs by name, each with its addresses and what it is shown, in a file that its owner alone may read."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eratos.marathon.client import Refused

#: Names that a shell takes as they are.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Context:
    """One API. Paths are absolute, as the command is used everywhere."""

    url: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    credentials: str = field(default="", repr=False)  #: ``user:password``
    ca_file: str = ""
    cert_file: str = ""

    @property
    def login(self) -> str:
        """Say what the API is shown, without the secret."""
        if self.token:
            return "a token"
        if self.token_file:
            return f"the token in {self.token_file}"
        return f"user {self.credentials.partition(':')[0]}" if self.credentials else ""


@dataclass(frozen=True)
class Contexts:
    """All of the file."""

    current: str = ""  #: the one in use; empty: none
    by_name: Mapping[str, Context] = field(default_factory=dict)

    def get(self, name: str) -> Context:
        """Return a context. Raises Refused where there is none of that name."""
        if name not in self.by_name:
            known = ", ".join(sorted(self.by_name)) or "none yet"
            raise Refused(0, f"there is no context {name!r} in {place()}, but: {known}; eratos context add makes one")
        return self.by_name[name]

    def having(self, name: str, context: Context) -> Contexts:
        """Return them with one more, or another one of that name; the first one is in use. Raises Refused for a bad name."""
        if not _NAME.fullmatch(name):
            raise Refused(0, f"{name!r} is no name of a context: take up to 64 letters, digits and . _ -")
        return Contexts(self.current or name, {**self.by_name, name: context})

    def using(self, name: str) -> Contexts:
        """Return them with another one in use. Raises Refused where there is none of that name."""
        self.get(name)
        return Contexts(name, self.by_name)

    def without(self, name: str) -> Contexts:
        """Return them without one. Raises Refused where there is none of that name."""
        self.get(name)
        left = {other: context for other, context in self.by_name.items() if other != name}
        return Contexts("" if self.current == name else self.current, left)


class Homeless(Refused):
    """Nothing says where this user's settings are, as in a container whose user has no entry in /etc/passwd."""

    def __init__(self) -> None:
        super().__init__(0, "this user has no home for contexts: set ERATOS_CONFIG to a file")


def place() -> Path:
    """Return where the file is: ``ERATOS_CONFIG``, or in the folder for a user's settings (XDG Base Directory Specification).

    Raises Homeless.
    """
    if given := os.environ.get("ERATOS_CONFIG"):
        return Path(given)
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        return (Path(folder) if Path(folder).is_absolute() else Path.home() / ".config") / "eratos" / "contexts.json"
    except RuntimeError:
        raise Homeless from None


def load() -> Contexts:
    """Read the file; none is no context. Raises Refused for one that others may use, or that is not as ``save`` writes it."""
    try:
        path = place()
    except Homeless:
        return Contexts()
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read()
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise Refused(0, f"{path}: the contexts cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(0, f"{path} holds credentials, and its mode {mode:o} lets others at them: chmod 600 {path}")
    try:
        found = json.loads(data)
        by_name = {str(name): Context(**_texts(one)) for name, one in found["contexts"].items()}
        return Contexts(str(found["current"]), by_name)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # The text itself may be a secret, so nothing of it is said.
        raise Refused(0, f"{path} is not what eratos context add writes: mend it, or move it away and add them again") from error


def _texts(one: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in one.values()):
        raise TypeError
    return dict(one)


def save(contexts: Contexts) -> None:
    """Write the file for its owner alone, whole or not at all. Raises Refused where that cannot be done."""
    import tempfile  # takes longer to import than most commands to run

    path = place().resolve()  # who links it to elsewhere keeps the link
    shown = {"current": contexts.current, "contexts": {name: _shown(one) for name, one in sorted(contexts.by_name.items())}}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # with mode 600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(shown, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink()
            raise
    except OSError as error:
        raise Refused(0, f"{path}: the contexts cannot be written: {error.strerror}") from error


def _shown(context: Context) -> dict[str, str]:
    return {name: value for name, value in dataclasses.asdict(context).items() if value}
