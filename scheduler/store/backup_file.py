"""The file that a backup is: JSON lines that people and tools can read. Called by :mod:`eratos.scheduler.backup`.

::

    {"eratos_backup":1,"schema":1,"taken_at":"2026-01-31T12:00:00Z","source":"zk://zk1:2181/eratos"}
    {"key":"framework_id","text":"d4a4a1b4-6fd6-4d2a-a8b8-4d3d2a0e3f11-0000"}
    {"key":"apps//shop/cart","json":{"schema":1,"record":{"id":"/shop/cart", ...}}}
    {"key":"instances/...","base64":"AP8="}
    {"records":3,"sha256":"..."}

A record stands there byte by byte as the store holds it: as ``json`` where it is just that, else as ``text``, else in
base64; so whatever cannot be read is kept, too. The last line has the digest of all before it, and shows whether the file is
whole or was cut off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from eratos.common.errors import PermanentError

from ..core.records import APPS, FRAMEWORK_ID
from . import codec

#: The form of this file; that of the records in it is ``codec.SCHEMA``.
VERSION: Final = 1


class _Header(msgspec.Struct):
    eratos_backup: int
    schema: int
    taken_at: str = ""
    source: str = ""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    json: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    base64: bytes | msgspec.UnsetType = msgspec.UNSET

    def data(self) -> bytes:
        if isinstance(self.json, msgspec.Raw):
            return bytes(self.json)
        if isinstance(self.text, str):
            return self.text.encode()
        return self.base64 if isinstance(self.base64, bytes) else b""


class _Trailer(msgspec.Struct, forbid_unknown_fields=True):
    records: int
    sha256: str


_encode = msgspec.json.Encoder().encode
_header_decoder = msgspec.json.Decoder(_Header)
_line_decoder = msgspec.json.Decoder(_Line)
_trailer_decoder = msgspec.json.Decoder(_Trailer)


def lines(records: Mapping[str, bytes], taken_at: str, source: str) -> Iterator[bytes]:
    """Yield the lines of a backup. ``source`` says where the records come from, without a password."""
    digest = hashlib.sha256()
    body = (_line(key, records[key]) for key in sorted(records, key=_order))
    for line in (_encode(_Header(VERSION, codec.SCHEMA, taken_at, source)), *body):
        digest.update(line + b"\n")
        yield line + b"\n"
    yield _encode(_Trailer(len(records), digest.hexdigest())) + b"\n"


def parse(content: Iterable[bytes], name: str) -> dict[str, bytes]:
    """Return the records of a backup, given its lines. Raises PermanentError with the file's ``name`` and the fix."""
    found = list(content)
    try:
        header = _header_decoder.decode(found[0] if found else b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise PermanentError(f"{name} is no backup of eratos: name a file that `eratos-scheduler backup` made") from None
    if header.eratos_backup > VERSION or header.schema > codec.SCHEMA:
        raise PermanentError(
            f"{name} was made by a newer eratos (form {header.eratos_backup}, schema {header.schema}; this one reads up to "
            f"{VERSION} and {codec.SCHEMA}): restore it with that version or a later one"
        )
    try:
        trailer = _trailer_decoder.decode(found[-1])
    except msgspec.MsgspecError:
        raise PermanentError(f"{name} is cut off, its last line is missing: use a whole copy, or another backup") from None
    digest = hashlib.sha256()
    for line in found[:-1]:
        digest.update(line)
    damaged = PermanentError(f"{name} is damaged or was changed, its checksum does not fit: use another copy or another backup")
    if digest.hexdigest() != trailer.sha256:
        raise damaged
    try:
        records = {line.key: line.data() for line in map(_line_decoder.decode, found[1:-1])}
    except msgspec.MsgspecError as error:
        raise damaged from error
    if len(records) != trailer.records:
        raise damaged
    return records


def _order(key: str) -> tuple[bool, bool, str]:
    return key != FRAMEWORK_ID, not key.startswith(APPS), key


def _line(key: str, data: bytes) -> bytes:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _encode(_Line(key, base64=data))
    line = _encode(_Line(key, json=msgspec.Raw(data)))
    return line if b"\n" not in line and _survives(line, data) else _encode(_Line(key, text=text))


def _survives(line: bytes, data: bytes) -> bool:
    """Return whether what was put in as JSON comes out again as it was."""
    try:
        return _line_decoder.decode(line).json == msgspec.Raw(data)
    except (msgspec.MsgspecError, RecursionError):
        return False
