"""Who sends a request: passwords are tried once and remembered, files are read anew, guesses are bounded."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from support import passwords

from eratos.common.errors import PermanentError
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile, TooManyGuesses, WrongCredentials
from eratos.scheduler.access.credentials import line, new_token, token_entry
from eratos.scheduler.access.roles import Grant, Role
from eratos.scheduler.access.throttle import Bucket, Throttle

OPERATE = (Grant(Role.OPERATE, "/"),)
ALICE = line("alice", "password", passwords.entry("correct horse"), OPERATE)
TOKEN = new_token()
CI = line("ci", "token", token_entry(TOKEN), (Grant(Role.DEPLOY, "/shop"),))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords.let_strangers_be_cheap(monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    """Replace the file as our own command does: a new one takes its name."""
    path = folder / "credentials"
    fresh = folder / "credentials.new"
    fresh.write_text(text)
    fresh.chmod(mode)
    return fresh.replace(path)


@pytest.fixture
def made(tmp_path: Path, clock: Clock) -> Authenticator:
    return Authenticator(CredentialsFile(written(tmp_path, ALICE + CI), clock), clock=clock)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were tried the slow way."""
    seen: list[str] = []
    slow: Callable[[str, str], bool] = credentials.password_matches

    def matches(password: str, entry: str) -> bool:
        seen.append(password)
        return slow(password, entry)

    monkeypatch.setattr(credentials, "password_matches", matches)
    return seen


def test_both_kinds(made: Authenticator):
    assert made.identify(basic("alice", "correct horse"), "10.0.0.1").name == "alice"
    assert made.identify(f"bearer {TOKEN}", "10.0.0.1").name == "ci"


def test_a_password_is_tried_once_and_again_after_a_while(made: Authenticator, clock: Clock, tried: list[str]):
    for _ in range(5):
        made.identify(basic("alice", "correct horse"), "10.0.0.1")
    assert len(tried) == 1
    clock.now += 301
    made.identify(basic("alice", "correct horse"), "10.0.0.1")
    assert len(tried) == 2


def test_a_remembered_password_ends_with_its_entry(made: Authenticator, clock: Clock, tmp_path: Path):
    made.identify(basic("alice", "correct horse"), "10.0.0.1")
    written(tmp_path, line("alice", "password", passwords.entry("new"), OPERATE))
    clock.now += 2
    with pytest.raises(WrongCredentials):
        made.identify(basic("alice", "correct horse"), "10.0.0.1")
    assert made.identify(basic("alice", "new"), "10.0.0.1").name == "alice"


def test_a_removed_users_token_ends(made: Authenticator, clock: Clock, tmp_path: Path):
    made.identify(f"Bearer {TOKEN}", "10.0.0.1")
    written(tmp_path, ALICE)
    clock.now += 2
    with pytest.raises(WrongCredentials, match="not known"):
        made.identify(f"Bearer {TOKEN}", "10.0.0.1")


def test_a_bad_file_leaves_the_last_good_one_and_is_named(made: Authenticator, clock: Clock, tmp_path: Path):
    written(tmp_path, ALICE + "ci token nonsense")
    clock.now += 2
    assert made.identify(f"Bearer {TOKEN}", "10.0.0.1").name == "ci"
    assert made.file is not None
    assert "line 2" in made.file.complaint
    (tmp_path / "credentials").unlink()
    clock.now += 2
    assert made.identify(f"Bearer {TOKEN}", "10.0.0.1").name == "ci"
    written(tmp_path, ALICE + CI)
    clock.now += 2
    made.identify(f"Bearer {TOKEN}", "10.0.0.1")
    assert made.file.complaint == ""


def test_a_file_that_is_emptied_locks_nobody_out_and_a_comment_does(made: Authenticator, clock: Clock, tmp_path: Path):
    assert made.file is not None
    written(tmp_path, "")
    clock.now += 2
    assert made.identify(f"Bearer {TOKEN}", "10.0.0.1").name == "ci"
    assert "is empty" in made.file.complaint
    written(tmp_path, "# nobody\n")
    clock.now += 2
    assert made.known(f"Bearer {TOKEN}") is None
    assert made.file.complaint == ""


@pytest.mark.parametrize(
    ("mode", "taken"), [(0o600, True), (0o400, True), (0o640, True), (0o644, False), (0o660, False), (0o606, False)]
)
def test_a_file_that_others_get_at_is_refused(tmp_path: Path, mode: int, taken: bool):
    path = written(tmp_path, ALICE, mode)
    if taken:
        CredentialsFile(path)
    else:
        with pytest.raises(PermanentError, match="chmod 600"):
            CredentialsFile(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"alice\n"])
def test_a_bad_file_at_the_start_is_an_error(tmp_path: Path, content: bytes):
    path = written(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(PermanentError, match="the credentials file"):
        CredentialsFile(path)


def test_no_file_at_the_start_is_an_error(tmp_path: Path):
    with pytest.raises(PermanentError, match="No such file"):
        CredentialsFile(tmp_path / "none")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, "who you are"),
        ("", "Basic or Bearer"),
        ("Digest x", "Basic or Bearer"),
        ("Basic", "Basic or Bearer"),
        ("Basic !!!", "base64"),
        ("Basic " + base64.b64encode(b"nocolon").decode(), "colon"),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), "UTF-8"),
        ("Bearer eratos_wrong", "not known"),
        ("Bearer " + "x" * 10_000, "Basic or Bearer"),
        (basic("alice", "wrong"), "not known"),
        (basic("nobody", "correct horse"), "not known"),
        (basic("alice", ""), "not known"),
    ],
)
def test_what_is_wrong_is_refused(made: Authenticator, header: str | None, words: str):
    with pytest.raises(WrongCredentials, match=words) as raised:
        made.identify(header, "10.0.0.1")
    assert "correct horse" not in str(raised.value)


def test_guesses_of_one_address_are_bounded_and_others_still_get_in(made: Authenticator, clock: Clock, tried: list[str]):
    made.identify(basic("alice", "correct horse"), "10.0.0.7")
    outcomes = []
    for number in range(10_000):
        clock.now += 60 / 10_000
        try:
            made.identify(basic("alice", f"guess {number}"), "10.0.0.1")
        except (WrongCredentials, TooManyGuesses) as error:
            outcomes.append(type(error))
    # Ten at once, and one every two seconds.
    assert outcomes.count(WrongCredentials) <= 41
    assert len(tried) <= 42
    assert made.identify(basic("alice", "correct horse"), "10.0.0.7").name == "alice"
    assert made.identify(f"Bearer {TOKEN}", "10.0.0.1").name == "ci"
    # From an address that was not seen yet, too.
    clock.now += 1
    assert made.identify(basic("alice", "correct horse"), "10.0.0.8").name == "alice"


def test_wrong_tokens_are_bounded_as_well(made: Authenticator):
    outcomes = []
    for number in range(50):
        with pytest.raises((WrongCredentials, TooManyGuesses)) as raised:
            made.identify(f"Bearer eratos_{number}", "10.0.0.1")
        outcomes.append(raised.type)
    assert outcomes.count(WrongCredentials) == 10


def test_marathons_single_user(tmp_path: Path, clock: Clock):
    made = Authenticator(None, "admin:se:cret", clock)
    assert made.identify(basic("admin", "se:cret"), "10.0.0.1").may(Role.OPERATE)
    with pytest.raises(WrongCredentials):
        made.identify(basic("admin", "se"), "10.0.0.1")
    assert "se:cret" not in repr(made)


@pytest.mark.parametrize(
    ("at", "left", "wait_s"),
    [(0.0, 9.0, 0.0), (1.0, 9.0, 0.0)],
)
def test_a_bucket_fills_up_to_its_burst(at: float, left: float, wait_s: float):
    bucket = Bucket(10, 0.5, 10, 0.0)
    assert bucket.take(at) == wait_s
    assert bucket.left == left


def test_an_empty_bucket_says_for_how_long():
    bucket = Bucket(1, 0.5, 1, 0.0)
    assert [bucket.take(now) for now in (0.0, 0.0, 1.0, 2.0)] == [0.0, 2.0, 1.0, 0.0]


def test_what_was_right_is_not_counted():
    throttle = Throttle(burst=1, per_s=0.001)
    for _ in range(5):
        assert throttle.wait_s("a", 0.0) == 0.0
        throttle.forgive("a")
    assert throttle.wait_s("a", 0.0) == 0.0
    assert throttle.wait_s("a", 0.0) > 0.0


def test_all_addresses_together_are_bounded_and_forgotten_in_the_end():
    throttle = Throttle(all_burst=20, all_per_s=4)
    passed = sum(throttle.wait_s(f"10.0.{n >> 8}.{n & 255}", 0.0) == 0.0 for n in range(20_000))
    assert passed == 20
    assert len(throttle._by_address) == 10_000
