"""Logins to private registries, as ``docker login`` leaves them on this host. Used for pulls only.

The file is read anew for each pull, so that a login works from then on. Nothing of a login gets into a message or a log: errors
name the file or the helper, never what stood in it or what it said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from docker import auth, errors
from docker.utils.config import find_config_file

from eratos.common.errors import PermanentError

BYTES_MAX = 1024 * 1024


class Logins(NamedTuple):
    """Where logins are: a file like ``~/.docker/config.json``, or the content of one. Neither: Docker's own command's file."""

    file: str = ""
    content: bytes = b""  #: a secret


def login(repository: str, given: Logins = Logins()) -> dict[str, Any]:  # noqa: B008  nothing in it can change
    """Return the login for a repository's registry, empty where there is none.

    Raises PermanentError naming the file or the credential helper that does not work.
    """
    file = "the secret of pullConfig" if given.content else given.file or find_config_file()
    if file is None:
        return {}
    registry, _ = auth.resolve_repository_name(repository)
    logins = _read(file, given.content)
    try:
        return logins.resolve_authconfig(registry) or {}
    except errors.DockerException:
        helper = logins.get_credential_store(registry)
        raise PermanentError(f"docker-credential-{helper}, which {file} names for {registry}, does not work") from None


def _read(file: str, held: bytes) -> auth.AuthConfig:
    try:
        content = dict(json.loads(held or _content(file)).items())
        # An empty one would send the library to Docker's own file.
        return auth.AuthConfig.load_config(None, content) if content else auth.AuthConfig({})
    except OSError as error:
        raise PermanentError(f"the registry logins in {file} cannot be read: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError, errors.DockerException):
        # Without what the error says: it may quote the file.
        raise PermanentError(f"the registry logins in {file} cannot be read: is it a config.json of docker login?") from None


def _content(file: str) -> bytes:
    with Path(file).open("rb") as opened:
        return opened.read(BYTES_MAX)
