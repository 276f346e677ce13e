"""The backup's file: every byte comes back, and nothing but a whole file is taken."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import an_app
from support.records import an_instance

from eratos.common.errors import PermanentError
from eratos.scheduler.core.records import APPS, FRAMEWORK_ID, INSTANCES
from eratos.scheduler.store import backup_file, codec

RECORDS = {
    INSTANCES + an_instance(1).instance_id: codec.encode(INSTANCES + an_instance(1).instance_id, an_instance(1)),
    APPS + "/shop/cart": codec.encode(APPS + "/shop/cart", an_app("/shop/cart")),
    FRAMEWORK_ID: b"f-0001",
    INSTANCES + "poisoned": b"\x00\xff",
}


def content(records: dict[str, bytes]) -> bytes:
    return b"".join(backup_file.lines(records, "2026-01-31T12:00:00Z", "zk://zk1/eratos"))


def parsed(data: bytes) -> dict[str, bytes]:
    return backup_file.parse(io.BytesIO(data), "f.jsonl")


@given(st.dictionaries(st.text(), st.binary()))
@example(
    {
        "not quite json": b"1}",
        "json in json": b'1,"text":"x"',
        "blanks": b' {"a": 1}\n',
        "lines": b'{"a":\n1}',
        "deep": b"[" * 5000,
    }
)
@example(
    {"numbers": b"1.0e5", "twice": b'{"a":1,"a":2}', "empty": b"", "null": b"null", "not text": b'"\xff"', "end": b"\xe2\x80\xa8"}
)
def test_every_byte_comes_back(records: dict[str, bytes]) -> None:
    assert parsed(content(records)) == records


def test_people_and_tools_can_read_it() -> None:
    header, framework, app, poisoned, instance, trailer = map(json.loads, content(RECORDS).splitlines())
    assert header == {"eratos_backup": 1, "schema": codec.SCHEMA, "taken_at": "2026-01-31T12:00:00Z", "source": "zk://zk1/eratos"}
    assert framework == {"key": "framework_id", "text": "f-0001"}
    assert (app["key"], app["json"]["record"]["id"]) == ("apps//shop/cart", "/shop/cart")
    assert instance["json"]["record"]["hostname"] == "host-a1"
    assert poisoned["base64"] == "AP8="
    assert trailer["records"] == 4


def test_a_file_cut_off_anywhere_is_refused() -> None:
    whole = content(RECORDS)
    header = whole.index(b"\n")
    for length in range(len(whole) - 1):  # without its last line's end it is whole all the same
        with pytest.raises(PermanentError, match=r"f\.jsonl is (cut off|no backup)" if length < header else "cut off"):
            parsed(whole[:length])


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_changed_file_is_refused(place: float) -> None:
    data = bytearray(content(RECORDS))
    data[int(len(data) * place)] ^= 1
    with pytest.raises(PermanentError, match=r"f\.jsonl is damaged or was changed"):
        parsed(bytes(data))


def test_a_file_with_a_line_missing_or_twice_is_refused() -> None:
    lines = content(RECORDS).splitlines(keepends=True)
    for changed in ([*lines[:2], *lines[3:]], [*lines[:2], lines[1], *lines[2:]]):
        with pytest.raises(PermanentError, match="is damaged or was changed"):
            parsed(b"".join(changed))


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b'{"id": "/app"}', b"SQLite format 3\x00", b"[1, 2]\n"])
def test_any_other_file_is_refused(data: bytes) -> None:
    with pytest.raises(PermanentError, match=r"f\.jsonl is no backup of eratos: name a file that `eratos-scheduler backup` made"):
        parsed(data)


@pytest.mark.parametrize(("name", "value"), [("VERSION", 2), ("SCHEMA", codec.SCHEMA + 1)])
def test_a_newer_file_is_refused(name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(backup_file if name == "VERSION" else codec, name, value)
        data = content(RECORDS)
    with pytest.raises(PermanentError, match=r"made by a newer eratos .* restore it with that version"):
        parsed(data)


def test_an_older_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = content(RECORDS)
    monkeypatch.setattr(codec, "SCHEMA", codec.SCHEMA + 1)
    assert parsed(data) == RECORDS
