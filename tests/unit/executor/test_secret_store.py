"""The store of secrets on an agent's host: what is found, what is refused, and that no refusal tells a secret."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from eratos.common.errors import PermanentError
from eratos.common.payload import SecretFile
from eratos.executor import secret_store
from eratos.executor.secret_store import BYTES_MOST, SecretsFile, SecretsFolder


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "secrets" / "shop" / "db", b"hush\n")
    write(tmp_path / "secrets" / "..2026" / "key", b"linked")
    (tmp_path / "secrets" / "key").symlink_to("..2026/key")
    write(tmp_path / "secrets" / "loose", b"hush", 0o644)
    write(tmp_path / "secrets" / "long", b"h" * (BYTES_MOST + 1))
    write(tmp_path / "outside", b"hush")
    (tmp_path / "secrets" / "out").symlink_to(tmp_path / "outside")
    return tmp_path / "secrets"


@pytest.mark.parametrize(("source", "secret"), [("shop/db", b"hush\n"), ("/shop/db", b"hush\n"), ("key", b"linked")])
def test_a_folder_has_a_file_for_each(folder: Path, source: str, secret: bytes) -> None:
    assert secret_store.opened(str(folder)).read(source) == secret


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("none", "No such file"),
        ("shop", "directory"),
        ("../outside", "out of the folder"),
        ("/../outside", "out of the folder"),
        ("out", "out of the folder"),
        (".", "out of the folder"),
        ("loose", "chmod 600"),
        ("long", "longer"),
    ],
)
def test_what_a_folder_has_not_is_refused_by_name(folder: Path, source: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as refused:
        SecretsFolder(folder).read(source)
    assert source in str(refused.value) and "hush" not in str(refused.value)


def test_a_file_has_all(tmp_path: Path) -> None:
    store = secret_store.opened(str(write(tmp_path / "s.json", json.dumps({"shop/db": "hush", "n": 1}).encode())))
    assert store.read("shop/db") == store.read("/shop/db") == b"hush"
    for source in ("n", "other"):
        with pytest.raises(PermanentError, match=source):
            store.read(source)


@pytest.mark.parametrize(("content", "mode"), [(b"hush", 0o600), (b'["hush"]', 0o600), (b'{"a": "hush"}', 0o640 | 0o004)])
def test_a_bad_file_is_refused_without_a_word_of_it(tmp_path: Path, content: bytes, mode: int) -> None:
    with pytest.raises(PermanentError) as refused:
        SecretsFile(write(tmp_path / "s.json", content, mode)).read("a")
    assert "hush" not in str(refused.value)


def test_without_a_store_the_setting_is_named() -> None:
    with pytest.raises(PermanentError, match="ERATOS_SECRETS"):
        secret_store.opened("").read("shop/db")


def test_variables_lose_the_line_break_of_an_editor(folder: Path) -> None:
    assert secret_store.variables(SecretsFolder(folder), {"PASSWORD": "shop/db"}) == {"PASSWORD": "hush"}


@pytest.mark.parametrize("content", [b"\xff", b"a\0b"])
def test_what_no_variable_can_hold_is_refused(folder: Path, content: bytes) -> None:
    write(folder / "bad", content)
    with pytest.raises(PermanentError, match="mount it as a file"):
        secret_store.variables(SecretsFolder(folder), {"A": "bad"})


def test_files_are_sent_with_their_whole_path_and_for_reading_alone(folder: Path) -> None:
    made = secret_store.archive(SecretsFolder(folder), (SecretFile("/run/secrets/db", "shop/db"),))
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        [entry] = tar.getmembers()
        file = tar.extractfile(entry)
        assert file is not None
        assert (entry.name, entry.mode, entry.uid, file.read()) == ("run/secrets/db", 0o444, 0, b"hush\n")
