"""Who sends a request, by its ``Authorization`` header. Called by the API for each request, from several threads.

The credentials file is read anew when it changes. A bad one is logged, and the last good one goes on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from eratos.common import keys
from eratos.common.errors import PermanentError
from eratos.common.secret_file import loose

from . import credentials
from .credentials import BadCredentials, Credentials
from .roles import Grant, Identity, Role
from .throttle import Throttle

log = logging.getLogger(__name__)

#: The file is looked at this often, at most.
LOOK_S = 1.0
#: A password that was right is not tried again for so long, unless the file changes.
REMEMBERED_S = 300.0
_REMEMBERED_MOST = 1024
_FILE_BYTES_MOST = 4 * 1024 * 1024
_HEADER_MOST = 4096


class WrongCredentials(Exception):
    """The request's credentials are missing or wrong; the text is for the user."""


class TooManyGuesses(Exception):
    """So many credentials were wrong lately that none is tried now."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many wrong credentials lately: wait, then try again")
        self.wait_s = wait_s


class CredentialsFile:
    """The credentials in a file, read anew when it changes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises PermanentError where it cannot be read or is not taken."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        self._mark = self._stat()
        self.complaint = ""  #: why the file's newest content is not taken
        self._current = Credentials()
        try:
            self._current = self._read()
        except (OSError, BadCredentials) as error:
            raise PermanentError(f"the credentials file {path}: {error}") from error

    def current(self) -> Credentials:
        """Return the newest good content."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= LOOK_S:
                self._looked_at = now
                self._look()
            return self._current

    def _look(self) -> None:
        mark = self._stat()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._current = self._read()
        except (OSError, BadCredentials) as error:
            self.complaint = str(error)
            log.error("the credentials file is not taken, its last good content goes on file=%s reason=%s", self._path, error)
            return
        self.complaint = ""
        log.info("the credentials file was read anew file=%s identities=%d", self._path, len(self._current.identities))

    def _stat(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode

    def _read(self) -> Credentials:
        with self._path.open("rb") as file:
            if problem := loose(self._path.stat().st_mode):
                raise BadCredentials(problem)
            data = file.read(_FILE_BYTES_MOST + 1)
        if not data and self._current.identities:
            # As a full disk or an interrupted copy leaves it; whoever means it can say so.
            raise BadCredentials("is empty: write a line that begins with # if nobody is to get in")
        if len(data) > _FILE_BYTES_MOST:
            raise BadCredentials(f"is longer than {_FILE_BYTES_MOST} bytes")
        try:
            return credentials.parse(data.decode())
        except UnicodeDecodeError:
            raise BadCredentials("is no text in UTF-8") from None


@dataclass
class Authenticator:
    """Finds out who sends a request. Thread-safe."""

    file: CredentialsFile | None = None
    #: Marathon's ``--http_credentials``: one user with every right, as ``user:password``.
    single: str = field(default="", repr=False)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        # Each try takes 16 MiB and a core.
        self._one_at_a_time = threading.Lock()
        self._throttle = Throttle(now=self.clock())
        self._secret = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[float, str, str]] = OrderedDict()

    def known(self, header: str | None) -> Identity | None:
        """Return who sends a request where that can be said at once, by a token or a password that was right lately.

        Never slow, and counts nothing; where it returns None only :meth:`identify` can answer.
        """
        try:
            scheme, value = _parted(header)
            if scheme == "bearer":
                return self._by_token(value)
            return self._remembered_as(*_name_and_password(value))
        except WrongCredentials:
            return None

    def identify(self, header: str | None, address: str) -> Identity:
        """Return who sends a request with an ``Authorization`` header from an address.

        Raises WrongCredentials, and TooManyGuesses where the address, or all together, were wrong too often.
        May take some 50 ms, for a password that was not seen lately: not for an event loop's thread.
        """
        scheme, value = _parted(header)
        found = self._by_token(value) if scheme == "bearer" else self._by_password(*_name_and_password(value), address)
        if found is None:
            self._count(address)
            raise WrongCredentials("these credentials are not known")
        return found

    def _by_token(self, token: str) -> Identity | None:
        # Looked up by its digest, so that the time taken shows a guesser nothing.
        return self.file.current().of_token(token) if self.file is not None else None

    def _remembered_as(self, name: str, password: str) -> Identity | None:
        if keys.same(f"{name}:{password}", self.single):
            return Identity(name, (Grant(Role.OPERATE, "/"),))
        if self.file is None:
            return None
        known = self.file.current()
        # Under which entry it was right: exchanged or removed, it is asked again.
        right = self._was_right(self._key(name, password), known.passwords.get(name, ""))
        return known.identities[name] if right else None

    def _by_password(self, name: str, password: str, address: str) -> Identity | None:
        remembered = self._remembered_as(name, password)
        if remembered is not None or self.file is None:
            return remembered
        known = self.file.current()
        # What was right lately costs nothing; anything else is a guess, and counted before it is tried.
        self._count(address)
        with self._one_at_a_time:
            found = known.of_password(name, password)
        if found is None:
            raise WrongCredentials("these credentials are not known")
        with self._lock:
            self._throttle.forgive(address)
            self._remembered[self._key(name, password)] = (self.clock() + REMEMBERED_S, name, known.passwords[name])
            if len(self._remembered) > _REMEMBERED_MOST:
                self._remembered.popitem(last=False)
        return found

    def _key(self, name: str, password: str) -> bytes:
        return hmac.new(self._secret, f"{name}\0{password}".encode(), hashlib.sha256).digest()

    def _was_right(self, key: bytes, entry: str) -> bool:
        with self._lock:
            until, _, as_entered = self._remembered.get(key, (0.0, "", ""))
            if not entry or as_entered != entry or self.clock() >= until:
                self._remembered.pop(key, None)
                return False
            return True

    def _count(self, address: str) -> None:
        with self._lock:
            wait_s = self._throttle.wait_s(address, self.clock())
        if wait_s:
            raise TooManyGuesses(wait_s)


def _parted(header: str | None) -> tuple[str, str]:
    """Return scheme and value of an ``Authorization`` header. Raises WrongCredentials."""
    if header is None:
        raise WrongCredentials("who you are is asked for here: send a user and a password, or a bearer token")
    scheme, _, value = header.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if len(header) > _HEADER_MOST or scheme not in ("basic", "bearer") or not value:
        raise WrongCredentials("Authorization must be Basic or Bearer with credentials")
    return scheme, value


def _name_and_password(encoded: str) -> tuple[str, str]:
    """Read the value of Basic. Raises WrongCredentials."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise WrongCredentials("the credentials of Basic are no base64 of user:password in UTF-8") from None
    name, colon, password = text.partition(":")
    if not colon:
        raise WrongCredentials("the credentials of Basic hold no colon between user and password")
    return name, password
