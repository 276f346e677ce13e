"""``eratos context``, and what counts of options, environment and contexts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from eratos.cli import arguments, connection, contexts
from eratos.cli.connection import Options
from eratos.cli.contexts import Context, Contexts
from eratos.cli.main import eratos, run
from eratos.marathon.client import Refused

SECRET = "correct-horse"
BOOK = Contexts(
    "prod",
    {"prod": Context("http://prod", token="prod-token", ca_file="/ca"), "lab": Context("http://lab", credentials="joe:lab")},
)


def add(*words: str) -> int:
    return run(["context", "add", *words])


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize(
    ("options", "environment", "url", "login", "ca_file"),
    [
        (Options(), {}, "http://prod", "prod-token", "/ca"),
        (Options(context="lab"), {}, "http://lab", "joe:lab", ""),
        (Options(), {"CONTEXT": "lab"}, "http://lab", "joe:lab", ""),
        (Options(context="prod"), {"CONTEXT": "lab"}, "http://prod", "prod-token", "/ca"),
        # What was typed comes first, and of a context that was typed nothing else is changed by the environment.
        (Options(context="lab"), {"URL": "http://env", "TOKEN": "env", "CA_FILE": "/env"}, "http://lab", "joe:lab", ""),
        (Options(context="lab", url="http://typed"), {}, "http://typed", "joe:lab", ""),
        # The environment comes before the context in use, a login as a whole.
        (Options(), {"TOKEN": "env"}, "http://prod", "env", "/ca"),
        (Options(), {"CREDENTIALS": "a:b"}, "http://prod", "a:b", "/ca"),
        (Options(), {"CA_FILE": "/env"}, "http://prod", "prod-token", "/env"),
        # No context's credentials go to another API.
        (Options(), {"URL": "http://env"}, "http://env", "", ""),
        (Options(url="http://typed"), {}, "http://typed", "", ""),
        (Options(url="http://typed"), {"CONTEXT": "lab"}, "http://typed", "", ""),
        (Options(url="http://typed"), {"URL": "http://env", "TOKEN": "env"}, "http://typed", "env", ""),
    ],
)
def test_what_counts(
    monkeypatch: pytest.MonkeyPatch, options: Options, environment: dict[str, str], url: str, login: str, ca_file: str
) -> None:
    contexts.save(BOOK)
    for name, value in environment.items():
        monkeypatch.setenv(f"ERATOS_{name}", value)
    found = connection.resolve(options).context
    assert (found.url, found.token or found.credentials, found.ca_file) == (url, login, ca_file)


def test_without_anything_it_is_this_machine() -> None:
    assert connection.resolve(Options()).context == Context(connection.DEFAULT_URL)


def test_variables_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERATOS_URL", "http://a")
    monkeypatch.setenv("ERATOS_CONTEXT", "lab")
    with pytest.raises(Refused, match="ERATOS_URL and ERATOS_CONTEXT"):
        connection.resolve(Options())


@pytest.mark.parametrize("options", [Options(context="no"), Options()])
def test_a_context_that_there_is_not_is_named_with_those_there_are(monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    contexts.save(BOOK)
    monkeypatch.setenv("ERATOS_CONTEXT", "no")
    with pytest.raises(Refused, match=r"'no'.*lab, prod"):
        connection.resolve(options)


def test_a_context_is_kept_used_shown_and_forgotten(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, SECRET + "\n")
    assert add("prod", "--url", "https://a,https://b", "--user", "alice") == 0
    assert add("lab", "--url", "http://lab") == 0
    assert (config.stat().st_mode & 0o777, config.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert contexts.load().by_name["prod"].credentials == f"alice:{SECRET}"
    assert contexts.load().current == "prod"
    assert run(["context", "use", "lab"]) == 0
    assert contexts.load().current == "lab"
    capsys.readouterr()
    for words in (
        ["list"],
        ["show"],
        ["show", "prod"],
        ["list", "-o", "yaml"],
        ["list", "-oyaml"],
        ["list", "--json"],
        ["show", "prod", "--json"],
    ):
        assert run(["context", *words]) == 0
    shown = capsys.readouterr()
    assert "user alice" in shown.out and SECRET not in shown.out + shown.err
    assert run(["context", "remove", "lab", "--yes"]) == 0
    assert (contexts.load().current, list(contexts.load().by_name)) == ("", ["prod"])


def test_what_the_environment_says_is_kept_as_well_with_paths_that_hold_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "ca.pem").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ERATOS_URL", "https://a")
    monkeypatch.setenv("ERATOS_TOKEN_FILE", "token")
    monkeypatch.setenv("ERATOS_CA_FILE", "ca.pem")
    assert add("dev") == 0
    kept = contexts.load().by_name["dev"]
    assert kept == Context("https://a", token_file=str(tmp_path / "token"), ca_file=str(tmp_path / "ca.pem"))
    assert connection.resolve(Options(context="dev")).client().login.token == SECRET
    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a"], "give --url"),
        (["a", "--url", "ftp://x"], "no URL"),
        (["a b", "--url", "http://x"], "no name of a context"),
        (["a", "--url", "http://x", "--token", "--user", "joe"], "--token, --user: give one"),
        (["a", "--url", "http://x", "--token", "--token-file", "f"], "--token, --token-file: give one"),
        (["a", "--url", "http://x", "--token"], "holds no token"),
        (["a", "--url", "http://x", "--ca-file", "/no/such"], "--ca-file: /no/such is no file"),
        (["lab", "--url", "http://x"], "--replace"),
        (["a", "--url", "http://x", "--context", "lab"], "--context"),
    ],
)
def test_what_makes_no_context_is_refused_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    contexts.save(BOOK)
    typed(monkeypatch, "")
    assert add(*words) == 1
    assert complaint in capsys.readouterr().err
    assert contexts.load() == BOOK


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_until_it_is_closed(
    config: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    contexts.save(BOOK)
    config.chmod(mode)
    assert run(["app", "list"]) == 1
    assert run(["context", "list"]) == 1
    assert f"chmod 600 {config}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"contexts": {}}',
        b"\xff",
        b'{"current": "", "contexts": {"a": {"token": 5}}}',
        b'{"current": "", "contexts": {"a": {"password": "correct-horse"}}}',
    ],
)
def test_a_file_that_is_none_of_ours_is_named_and_nothing_of_it_shown(
    config: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    contexts.save(BOOK)
    config.write_bytes(data)
    assert run(["context", "list"]) == 1
    said = capsys.readouterr().err
    assert str(config) in said and SECRET not in said


def test_a_link_to_the_file_stays_one(config: Path, tmp_path: Path) -> None:
    contexts.save(BOOK)
    config.rename(tmp_path / "elsewhere.json")
    config.symlink_to(tmp_path / "elsewhere.json")
    contexts.save(BOOK.using("lab"))
    assert config.is_symlink() and json.loads((tmp_path / "elsewhere.json").read_text())["current"] == "lab"


def test_the_file_is_where_settings_of_users_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ERATOS_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/does/not/count")
    assert contexts.place() == tmp_path / ".config/eratos/contexts.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert contexts.place() == tmp_path / "xdg/eratos/contexts.json"


def test_a_user_without_a_home_has_no_contexts_and_is_told_where_to_keep_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> Path:
        raise RuntimeError

    monkeypatch.delenv("ERATOS_CONFIG")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert connection.resolve(Options()).context.url == connection.DEFAULT_URL
    assert add("a", "--url", "http://x") == 1
    assert "set ERATOS_CONFIG" in capsys.readouterr().err


def test_a_password_in_a_url_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert add("a", "--url", f"http://joe:{SECRET}@x") == 0
    assert run(["context", "list"]) == 0
    assert SECRET not in capsys.readouterr().out


def test_names_are_completed(config: Path) -> None:
    contexts.save(BOOK)
    with eratos.make_context("eratos", ["context", "list"]) as ctx:
        assert arguments.complete_context(ctx, eratos.params[1], "p") == ["prod"]
        config.chmod(0o644)
        assert arguments.complete_context(ctx, eratos.params[1], "p") == []
