"""``eratos-scheduler user`` makes lines that the credentials file takes."""

from __future__ import annotations

import io

import pytest

from eratos.common.errors import PermanentError
from eratos.scheduler import user_command
from eratos.scheduler.access import credentials
from eratos.scheduler.access.roles import Role
from eratos.scheduler.config import read


def test_a_token_is_shown_once_and_its_line_stands_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    call = read(["user", "ci", "token", "deploy:/shop", "view"], {})
    user_command.make(call.name, call.kind, call.roles)
    line, shown = capsys.readouterr()
    token = shown.split()[-1]
    found = credentials.parse(line).of_token(token)
    assert found is not None and found.name == "ci"
    assert found.may(Role.DEPLOY, "/shop/cart") and not found.may(Role.DEPLOY, "/bank") and found.may(Role.VIEW)
    assert token not in line


def test_a_password_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    user_command.make("alice", "password", ["operate"])
    line = capsys.readouterr().out
    assert credentials.parse(line).of_password("alice", "correct horse") is not None


@pytest.mark.parametrize(
    ("name", "roles", "password"), [("a b", ["view"], "long enough"), ("a", ["rule"], "long enough"), ("a", ["view"], "short")]
)
def test_what_the_file_would_not_take_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, roles: list[str], password: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    with pytest.raises(PermanentError):
        user_command.make(name, "password", roles)
