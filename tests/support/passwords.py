"""Passwords that are tried at once: what a real one costs, 50 ms and 16 MiB, is for one test (test_credentials.py)."""

from __future__ import annotations

import base64
import hashlib

import pytest

from eratos.scheduler.access import credentials

_SALT = b"salt"


def entry(password: str) -> str:
    """Return what a credentials file may say of a password."""
    return _written(hashlib.scrypt(password.encode(), salt=_SALT, n=2, r=1, p=1, dklen=32))


def let_strangers_be_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have passwords of names that nobody has cost as little."""
    monkeypatch.setattr(credentials, "_NOBODYS", _written(bytes(32)))


def _written(key: bytes) -> str:
    return "$".join(("scrypt", "2", "1", "1", *(base64.b64encode(data).decode() for data in (_SALT, key))))
