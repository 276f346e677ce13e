"""ZooKeeper's multi-read (op code 22, since 3.6), which kazoo lacks: many nodes in one request and one answer.

Called by :mod:`zookeeper` for loading. It reads a leader's memory 20 to 40 times faster than one request a node, and a new
leader does nothing before it has read all of it. Wire format: MultiOperationRecord and MultiResponse of ZooKeeper's
source. It leans on kazoo's internal request interface; the contract tests notice when that changes.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import EXCEPTIONS, NoNodeError
from kazoo.protocol.serialization import (
    GetData,
    MultiHeader,
    int_struct,
    multiheader_struct,
    read_buffer,
    stat_struct,
)


class _MultiRead(namedtuple("_MultiRead", "paths")):
    type = 22

    def serialize(self) -> bytes:
        request = bytearray()
        for path in self.paths:
            request += MultiHeader(GetData.type, False, -1).serialize() + GetData(path, None).serialize()
        return bytes(request + multiheader_struct.pack(-1, True, -1))

    @classmethod
    def deserialize(cls, answer: bytes, offset: int) -> list[bytes | None]:
        values: list[bytes | None] = []
        header, offset = MultiHeader.deserialize(answer, offset)
        while not header.done:
            if header.type == GetData.type:
                data, offset = read_buffer(answer, offset)
                offset += stat_struct.size
                values.append(data or b"")
            else:
                error = EXCEPTIONS[int_struct.unpack_from(answer, offset)[0]]
                offset += int_struct.size
                if not issubclass(error, NoNodeError):
                    raise error()
                values.append(None)
            header, offset = MultiHeader.deserialize(answer, offset)
        return values


def read_async(client: KazooClient, paths: list[str]) -> Any:
    """Ask for the data of nodes; the result's ``get`` returns one item a path, None where there is no such node."""
    result = client.handler.async_result()
    client._call(_MultiRead(paths), result)
    return result
