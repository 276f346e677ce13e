"""``eratos-scheduler backup`` and ``restore``: the whole store into a file and back. Called by ``__main__``.

A backup reads beside a running leader and begins no term, so nobody notices it. From SQLite it is of one moment. From
ZooKeeper each record is whole, as it was before or after what changed meanwhile; instances are read before apps, so no
instance is in it whose app was only made later.

A restore takes part in the election (with SQLite: holds the lock), so that no scheduler leads beside it; one that starts
meanwhile waits for its end. The framework id comes back with the rest (rules 1 and 2).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.log import fields

from . import framework_key
from .config import Config
from .core.records import APPS, FRAMEWORK_ID, INSTANCES, KINDS
from .election import open_store_and_election
from .store import backup_file, codec
from .store.errors import StoreUnusable
from .store.factory import open_store
from .store.zookeeper_client import SESSION_TIMEOUT_S, ZookeeperUrl

log = logging.getLogger(__name__)

#: How long a restore waits for a scheduler to leave the election: one that was killed is out when its session has ended.
ELECTION_S: Final = SESSION_TIMEOUT_S + 2
#: What followers take for the leader's URL meanwhile. Nothing can answer there (RFC 2606), so they say that none does.
IDENTITY: Final = "http://eratos-scheduler-restore.invalid"


class SchedulerRuns(TemporaryError):
    """A restore found a scheduler at work."""


def backup(config: Config, name: str) -> None:
    """Write the whole store to the file ``name``, or to standard output for ``-``. The file appears when it is complete.

    Raises PermanentError where there is nothing to back up or the file cannot be written, StoreUnavailable, StoreUnusable.
    """
    setting = _setting(config)
    with closing(open_store(config.store_url, setting=setting, read_only=True, tls=config.zk_tls())) as store:
        records = store.items()
    if not records:
        raise PermanentError(f"{setting}: nothing is stored there: give what the scheduler was started with")
    source = str(ZookeeperUrl.parse(config.zk)) if config.zk else config.store
    taken_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _write(name, backup_file.lines(records, taken_at, source))
    log.info("backed up %s", _contents(records, file=name))


def restore(config: Config, name: str, *, replace: bool = False, election_s: float = ELECTION_S) -> None:
    """Put the records of the backup ``name``, or of standard input for ``-``, into the store, and read them back.

    Raises PermanentError for a file that is no whole backup, and for a store that holds something unless it may
    ``replace`` that; SchedulerRuns, StoreUnavailable, StoreFenced, StoreUnusable.
    """
    records = _read(name)
    for key in [key for key in records if not _is_of_known_kind(key)]:
        log.error("left out, as it is no record of a known kind %s", fields(key=key))
        del records[key]
    store, election = open_store_and_election(config.store_url, IDENTITY, setting=_setting(config), tls=config.zk_tls())
    try:
        election.start()
        if not election.wait_until_leader(election_s):
            leader = election.leader() or "unknown which"
            raise SchedulerRuns(f"a scheduler leads ({leader}): stop every scheduler, then run this again")
        if not replace and (there := store.items()):
            raise PermanentError(
                f"{_setting(config)}: the store is not empty ({_contents(there)}): back it up, then run this with --replace "
                "to have the backup take the place of all that"
            )
        framework_key.read(store)  # or the next scheduler would take the store for one of an older version
        store.restore(records, election.ballot)
        if store.items() != records:
            raise StoreUnusable("the store does not hold what was just restored: run this again with --replace")
    finally:
        store.close()
        election.close()
    log.info("restored %s", _contents(records, file=name))
    if FRAMEWORK_ID not in records:
        log.warning("the backup holds no framework id: the next leader registers a new framework, tasks of another are not its")


def _setting(config: Config) -> str:
    return "--zk" if config.zk else "--store"


def _is_of_known_kind(key: str) -> bool:
    return key == FRAMEWORK_ID or (key.startswith(KINDS) and key not in KINDS)


def _contents(records: dict[str, bytes], file: str | None = None) -> str:
    """Say what is in a store, for a log line."""
    framework_id = records.get(FRAMEWORK_ID)
    others = {key: data for key, data in records.items() if key != FRAMEWORK_ID}
    return fields(
        file=file,
        framework_id="none" if framework_id is None else framework_id.decode(errors="backslashreplace"),
        apps=sum(key.startswith(APPS) for key in others),
        instances=sum(key.startswith(INSTANCES) for key in others),
        unreadable=len(codec.decode_all(others.items()).spoilt) or None,
    )


def _read(name: str) -> dict[str, bytes]:
    if name == "-":
        return backup_file.parse(sys.stdin.buffer, "standard input")
    try:
        with Path(name).open("rb") as file:
            return backup_file.parse(file, name)
    except OSError as error:
        raise PermanentError(f"{name} cannot be read: {error.strerror}") from error


def _write(name: str, lines: Iterable[bytes]) -> None:
    try:
        with _output(name) as file:
            file.writelines(lines)
    except OSError as error:
        raise PermanentError(f"{name} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    """Open a file that only its owner may read, for apps' environments hold secrets, and that appears when complete."""
    path = Path(name).resolve()
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        with path.open("wb") as file:  # a pipe or a device is written to, not replaced
            yield file
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
