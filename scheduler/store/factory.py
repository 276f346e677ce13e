"""Picks a store by its URL. Called by the scheduler's ``__main__`` and by tools."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from eratos.common.errors import PermanentError

from .base import Store
from .memory import MemoryStore
from .sqlite import SqliteStore
from .zookeeper import ZookeeperStore
from .zookeeper_client import ZookeeperTls, ZookeeperUrl, connect


def open_store(url: str, *, setting: str = "--store", read_only: bool = False, tls: ZookeeperTls | None = None) -> Store:
    """Open a store: ``zk://[user:password@]host:port,.../path``, ``sqlite:///path/to/file`` or ``memory:``.

    With ``read_only`` nothing is created or locked, and of the store's methods ``items`` and ``close`` may be called.
    ``tls`` is for ZooKeeper; None: in clear.
    Raises PermanentError naming ``setting`` for a bad URL, StoreUnusable, StoreUnavailable.
    """
    scheme = url.partition(":")[0]
    if url in ("memory:", "memory://"):
        return MemoryStore()
    if scheme == "sqlite":
        return SqliteStore(_sqlite_path(url, setting), read_only=read_only)
    if scheme == "zk":
        place = ZookeeperUrl.parse(url, setting)
        return ZookeeperStore(connect(place, tls), place.path, owns_client=True)
    raise PermanentError(
        f"{setting}: no kind of store begins with '{scheme}': use zk://host:port/path, sqlite:///path/to/file or memory:"
    )


def _sqlite_path(url: str, setting: str) -> Path:
    path = unquote(url.removeprefix("sqlite:"))
    if not path.startswith("///") or path.endswith("/"):
        raise PermanentError(f"{setting}: name a file by its absolute path, like sqlite:///var/lib/eratos/store.db")
    return Path("/" + path.lstrip("/"))
