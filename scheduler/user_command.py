"""``eratos-scheduler user``: makes one line of the credentials file. Called by ``__main__``.

The line goes to standard output, to be added to the file; a new token to standard error, once: only its digest is kept.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence

from eratos.common.errors import PermanentError

from .access import credentials
from .access.roles import Grant

_CHARACTERS_LEAST = 8


def make(name: str, kind: str, roles: Sequence[str]) -> None:
    """Print the line of a user. A password is read from the terminal, else from standard input.

    Raises PermanentError for a name, a role or a password that the file would not take.
    """
    try:
        grants = tuple(map(Grant.parse, roles))
        token = credentials.new_token() if kind == "token" else ""
        entry = credentials.token_entry(token) if token else credentials.password_entry(_password())
        line = credentials.line(name, kind, entry, grants)
    except ValueError as error:
        raise PermanentError(str(error)) from error
    if token:
        print(f"the token, which nothing can show again: {token}", file=sys.stderr)
    print(line, end="")


def _password() -> str:
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < _CHARACTERS_LEAST:
        raise ValueError(f"a password has at least {_CHARACTERS_LEAST} characters")
    return password
