"""The credentials file: who may use the API, by which password or token. Reading, writing and checking single entries; pure.

One entry a line, fields apart by blanks, ``#`` begins a comment::

    alice   password  scrypt$16384$8$1$<salt>$<key>   operate
    ci      token     sha256$<digest>                 view:/  deploy:/shop

A name may have several tokens, so that one can be exchanged for another without a gap, and one password. Passwords are what
people choose, so what is stored of them is slow to try (scrypt, RFC 7914); tokens are random and long, so a fast digest
hides them as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from .roles import Grant, Identity

#: What scrypt costs: about 50 ms and 16 MiB for each password tried.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1
#: Entries that cost more to check than this are refused: a file must not make each request take seconds.
_SCRYPT_N_MOST, _SCRYPT_R_MOST, _SCRYPT_P_MOST = 2**17, 16, 4
_SCRYPT_MEMORY = 512 * 1024 * 1024
_SALT_BYTES = 16
_KEY_BYTES = 32
#: Begins every token, so that one that leaks is recognised, by scanners of code for instance.
TOKEN_PREFIX = "eratos_"
TOKEN_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
NAME_RULE = "letters, digits, dots, dashes, underscores and @, at most 128, a letter or digit first"
_DIGEST = re.compile(r"sha256\$[0-9a-f]{64}")


class BadCredentials(ValueError):
    """A credentials file that is not taken; one line for each problem, without the secrets."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a credentials file says."""

    identities: Mapping[str, Identity] = field(default_factory=dict)  #: by name
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)  #: name -> scrypt entry
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  #: ``sha256$...`` -> name

    def of_token(self, token: str) -> Identity | None:
        """Return whose token it is."""
        name = self.tokens.get(token_entry(token))
        return self.identities[name] if name is not None else None

    def of_password(self, name: str, password: str) -> Identity | None:
        """Return the identity if the password is right. Takes as long for a name that does not exist."""
        entry = self.passwords.get(name)
        right = password_matches(password, entry if entry is not None else _NOBODYS)
        return self.identities[name] if right and entry is not None else None


def parse(text: str) -> Credentials:
    """Read a credentials file. Raises BadCredentials that names every bad line."""
    problems: list[str] = []
    grants: dict[str, tuple[Grant, ...]] = {}
    passwords: dict[str, str] = {}
    tokens: dict[str, str] = {}
    if text and not text.endswith("\n"):
        # Whoever writes the file in place may be in the midst of its last line.
        problems.append("the last line does not end: the file seems to be cut off")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            name, kind, entry, found = _entry(words)
            if grants.setdefault(name, found) != found:
                raise ValueError(f"{name} has other roles on an earlier line: give all of its lines the same")
            if kind == "token":
                if tokens.setdefault(entry, name) != name:
                    raise ValueError(f"{name} has the token of {tokens[entry]}: make one of its own")
            elif passwords.setdefault(name, entry) != entry:
                raise ValueError(f"{name} has a password on an earlier line: keep one")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise BadCredentials("; ".join(problems))
    return Credentials({name: Identity(name, found) for name, found in grants.items()}, passwords, tokens)


def line(name: str, kind: str, entry: str, grants: tuple[Grant, ...]) -> str:
    """Return an entry as the file has it. Raises ValueError where :func:`parse` would refuse it."""
    written = " ".join((name, kind, entry, *map(str, grants)))
    _entry(written.split())
    return written + "\n"


def new_token() -> str:
    """Return a random token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def token_entry(token: str) -> str:
    """Return what is stored of a token."""
    return f"sha256${hashlib.sha256(token.encode()).hexdigest()}"


def password_entry(password: str) -> str:
    """Return what is stored of a password."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    return _written(salt, key)


def password_matches(password: str, entry: str) -> bool:
    """Return whether a password is the one of an entry. Slow on purpose."""
    n, r, p, salt, key = _scrypt_fields(entry)
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), key)


def _entry(words: list[str]) -> tuple[str, str, str, tuple[Grant, ...]]:
    if len(words) < 4:
        raise ValueError("must be: name, password or token, the entry, and at least one role such as deploy:/shop")
    name, kind, entry, *roles = words
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:130]!r} is no name: use {NAME_RULE}")
    if kind == "password":
        _scrypt_fields(entry)
    elif kind != "token":
        raise ValueError(f"{kind[:40]!r} is no kind of credential: use password or token")
    elif not _DIGEST.fullmatch(entry):
        raise ValueError("a token's entry must be sha256$ and 64 hexadecimal digits")
    return name, kind, entry, tuple(Grant.parse(role) for role in roles)


def _scrypt_fields(entry: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        kind, n, r, p, salt, key = entry.split("$")
        cost = (int(n), int(r), int(p))
        decoded = (base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True))
    except (ValueError, binascii.Error):
        raise ValueError("a password's entry must be scrypt$N$r$p$salt$key, salt and key in base64") from None
    if kind != "scrypt" or not (decoded[0] and len(decoded[1]) == _KEY_BYTES):
        raise ValueError(f"a password's entry must be scrypt$N$r$p$salt$key, with a key of {_KEY_BYTES} bytes")
    if not (1 < cost[0] <= _SCRYPT_N_MOST and cost[0] & (cost[0] - 1) == 0):
        raise ValueError(f"a password's N must be a power of two up to {_SCRYPT_N_MOST}")
    if not (0 < cost[1] <= _SCRYPT_R_MOST and 0 < cost[2] <= _SCRYPT_P_MOST):
        raise ValueError(f"a password's r must be 1 to {_SCRYPT_R_MOST}, and p 1 to {_SCRYPT_P_MOST}")
    return (*cost, *decoded)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY, dklen=_KEY_BYTES)


def _written(salt: bytes, key: bytes) -> str:
    encoded = (base64.b64encode(data).decode() for data in (salt, key))
    return "$".join(("scrypt", str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), *encoded))


#: Tried for names that do not exist, so that the time taken does not show which do.
_NOBODYS = _written(bytes(_SALT_BYTES), bytes(_KEY_BYTES))
