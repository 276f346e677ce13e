"""Options of mounts, as mount(8) and Docker's volume driver ``local`` take them: words between commas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_BINDS: Final = frozenset({"bind", "rbind"})
_HIDDEN: Final = "***"


def binds(options: str) -> bool:
    """Return whether options make a mount another name for a folder of the host, whatever its type says (mount(2))."""
    return not _BINDS.isdisjoint(word.strip().lower() for word in options.split(","))


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text without what secret options hold: daemons repeat in their errors what they were told to mount.

    What options are called stays, so that ``password=***`` can be read.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for word in secret.split(","):
            name, _, value = word.partition("=")
            for said in (word, _escaped(word)) if value else ():
                text = text.replace(said, f"{name}={_HIDDEN}")
        for said in (secret, _escaped(secret)):
            text = text.replace(said, _HIDDEN)
    return text


def _escaped(word: str) -> str:
    """Return a text as Go quotes it in its errors."""
    return word.replace("\\", "\\\\").replace('"', '\\"')
