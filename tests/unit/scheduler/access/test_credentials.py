"""The credentials file: what is taken, what is refused, and that secrets show nowhere."""

from __future__ import annotations

import pytest

from eratos.scheduler.access import credentials
from eratos.scheduler.access.credentials import BadCredentials, line, new_token, parse, password_entry, token_entry
from eratos.scheduler.access.roles import Grant, Role

OPERATE = (Grant(Role.OPERATE, "/"),)
PASSWORD = password_entry("correct horse")
TOKEN = new_token()


def test_a_file_of_both_kinds():
    alice_line = line("alice", "password", PASSWORD, OPERATE)
    text = f"# people\n\n{alice_line}ci token {token_entry(TOKEN)} view deploy:/shop # robot\n"
    found = parse(text)
    alice = found.of_password("alice", "correct horse")
    assert alice is not None
    assert alice.may(Role.OPERATE)
    ci = found.of_token(TOKEN)
    assert ci is not None
    assert ci.name == "ci"
    assert [ci.may(Role.DEPLOY, "/shop/x"), ci.may(Role.DEPLOY, "/x"), ci.may(Role.VIEW, "/x")] == [True, False, True]


def test_wrong_ones_are_nobodys():
    found = parse(line("alice", "password", PASSWORD, OPERATE))
    assert found.of_password("alice", "Correct horse") is None
    assert found.of_password("bob", "correct horse") is None
    assert found.of_token(TOKEN) is None
    assert found.of_token("") is None


def test_a_name_may_have_two_tokens_so_that_one_can_be_exchanged():
    other = new_token()
    found = parse(line("ci", "token", token_entry(TOKEN), OPERATE) + line("ci", "token", token_entry(other), OPERATE))
    assert found.of_token(TOKEN) == found.of_token(other) is not None


def test_tokens_are_long_random_and_recognisable():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.startswith("eratos_") and len(token) > 40 for token in tokens)


def test_two_entries_of_one_password_differ():
    assert password_entry("x") != password_entry("x")


def test_an_empty_file_lets_nobody_in():
    assert parse("").of_password("", "") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"alice password {PASSWORD} admin\n", "line 1: 'admin' is no role: use view, deploy, operate"),
        (f"alice password {PASSWORD}\n", "line 1: must be: name, password or token"),
        (f"alice pasword {PASSWORD} view\n", "'pasword' is no kind"),
        ("alice password hunter2 view\n", r"must be scrypt\$N"),
        ("alice password scrypt$1$8$1$AA==$AA== view\n", "a key of 32 bytes"),
        (f"alice password {PASSWORD.replace('$16384$', '$16385$')} view\n", "power of two"),
        (f"alice password {PASSWORD.replace('$16384$', '$1073741824$')} view\n", "power of two up to"),
        (f"alice password {PASSWORD.replace('$8$1$', '$8$1000$')} view\n", "p 1 to"),
        (f"ci token {TOKEN} view\n", "sha256"),
        (f"-x token {token_entry(TOKEN)} view\n", "is no name"),
        (f"a token {token_entry(TOKEN)} view\nb token {token_entry(TOKEN)} view\n", "line 2: b has the token of a"),
        (f"a password {PASSWORD} view\na password {password_entry('other')} view\n", "line 2: a has a password on an earlier"),
        (f"a password {PASSWORD} view\na token {token_entry(TOKEN)} deploy\n", "line 2: a has other roles"),
        (f"a password {PASSWORD} view", "cut off"),
        ("a\nb\n", "line 1: .*; line 2: "),
    ],
    # Names of their own: tokens and salts are random, and several processes must agree on the names.
    ids=map(str, range(15)),
)
def test_a_bad_file_is_refused_with_its_lines(text: str, words: str):
    with pytest.raises(BadCredentials, match=words) as raised:
        parse(text)
    for secret in (PASSWORD.rpartition("$")[2], TOKEN, "hunter2"):
        assert secret not in str(raised.value)


def test_nothing_secret_shows_where_it_is_printed():
    found = parse(line("alice", "password", PASSWORD, OPERATE) + line("ci", "token", token_entry(TOKEN), OPERATE))
    assert "scrypt" not in repr(found)
    assert "sha256" not in repr(found)


def test_what_parse_refuses_is_not_written():
    with pytest.raises(ValueError, match="is no name"):
        line("-b", "token", token_entry(TOKEN), OPERATE)


def test_scrypt_costs_what_was_meant():
    assert (credentials.SCRYPT_N, credentials.SCRYPT_R, credentials.SCRYPT_P) >= (2**14, 8, 1)
