"""Where records lie in ZooKeeper, and how a write is cut into transactions. Pure; called by :mod:`zookeeper` alone.

::

    /eratos/schema                       newest schema ever written, "1"; "restoring" until a restore is complete
    /eratos/checksum                     of all records, see checksum.py; changed with each of them
    /eratos/term                         fencing: its version is the number of the present leader's term
    /eratos/election/<contender>         ephemeral and sequential, see eratos.scheduler.election
    /eratos/access                       the framework's key, see framework_key.py
    /eratos/framework_id
    /eratos/apps/<bucket>/<id>           %2Fshop%2Fcart
    /eratos/versions/<bucket>/<id>       %2Fshop%2Fcart%2F2026-01-31T12%3A00%3A00.123Z
    /eratos/deployments/<bucket>/<id>
    /eratos/changes/<bucket>/<id>        %2Fshop%2Fcart
    /eratos/groups/<bucket>/<id>         %2Fshop
    /eratos/instances/<bucket>/<id>
    /eratos/jobs/<bucket>/<id>           shop.backup
    /eratos/runs/<bucket>/<path>         %2Fshop%2Fbackup%2F20260131T120000Z
    /eratos/histories/<bucket>/<id>      shop.backup
    /eratos/quotas/<bucket>/<id>         %2Fshop
    /eratos/volumes/<bucket>/<id>        eratos-shop_db-2f4f4f1d7c11
    /eratos/sweeps/<bucket>/<host>
    /eratos/drains/<bucket>/<host>
    /eratos/budgets/<bucket>/<id>        %2Fshop%2Fcart

ZooKeeper refuses requests of 1 MiB and more, and a list of children beyond it cannot be read any more. With 256 buckets,
200,000 instances make lists of about 800 names or 80 KiB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from ..core.records import KINDS
from .checksum import Change

BUCKETS: Final = tuple(f"{number:02x}" for number in range(256))

#: Bytes of one transaction, unless a single record is larger. The server takes 1 MiB (jute.maxbuffer), but keeps its last
#: 500 transactions in memory (commitLogCount): with 768 KiB each, a heap of 512 MiB ran over under sustained writing.
TRANSACTION_BYTES_MAX: Final = 256 * 1024
#: What an operation adds to path and data: headers, lengths and a digest ACL, rounded up.
_OPERATION_BYTES: Final = 160


def node_of(key: str) -> str:
    """Return a key's place below the root: ``apps//shop/cart`` -> ``apps/<bucket>/%2Fshop%2Fcart``."""
    for kind in KINDS:
        if key.startswith(kind):
            name = key.removeprefix(kind)
            return f"{kind}{BUCKETS[zlib.crc32(name.encode()) % len(BUCKETS)]}/{_escaped(name)}"
    return key


def key_of(kind: str, name: str) -> str:
    """Return the key of a node by its kind, such as ``apps/``, and its own name."""
    return kind + unquote(name)


def _escaped(name: str) -> str:
    # "." and ".." are the only names without a special character that ZooKeeper refuses.
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def transactions(changes: Iterable[Change]) -> list[list[Change]]:
    """Cut changes, in order, into as few lists as fit one transaction each."""
    chunks: list[list[Change]] = []
    room = 0
    for key, data in changes:
        size = _OPERATION_BYTES + len(node_of(key)) + len(data or b"")
        if not chunks or size > room:
            chunks.append([])
            room = TRANSACTION_BYTES_MAX
        chunks[-1].append((key, data))
        room -= size
    return chunks
