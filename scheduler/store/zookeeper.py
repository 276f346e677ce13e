"""The store for clusters: ZooKeeper through kazoo. Where what lies is :mod:`layout`'s part.

**Atomicity.** A write is one transaction while it fits (256 KiB, some 400 instances). A larger one is several, sent one
behind the other: first all that puts, then all that forgets. If it is interrupted, some of them are done; the caller
repeats it, which is harmless since every record is a whole value under its own key.

**Fencing.** Every transaction checks the version of the node ``term``. A new leader raises that version before it reads,
so whatever the leader before wrote is either read or refused, however long it was asleep.

**Lost answers.** When the connection breaks the outcome is unknown: existing nodes are looked up again and the same
changes are sent again. An old value cannot follow a new one: within a session requests are carried out in the order they
were made, and ZooKeeper refuses what comes late over an earlier connection.

**Checksum.** Each transaction carries the checksum of the records up to it, so it fits however far a write came.

**Reading beside a leader.** ``items`` looks at one record after the other, instances before apps: one that changes
meanwhile is read as it was or as it is, whole in either case, and no instance is read whose app was only made later.

**Restoring** marks the store at ``schema`` until it is complete, so a scheduler refuses what an interrupted one left.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, compress
from typing import Any, Final, TypeVar

from kazoo import exceptions as zk
from kazoo.client import KazooClient, TransactionRequest
from kazoo.protocol.states import KazooState
from kazoo.security import OPEN_ACL_UNSAFE

from eratos.common.log import fields

from ..core.actions import Write
from ..core.records import FRAMEWORK_ID, KINDS, Stored
from . import codec, layout, multiread
from .base import checked_records, final_values
from .checksum import Change, Checksum, Ledger
from .errors import StoreFenced, StoreUnavailable, StoreUnusable
from .zookeeper_client import OUTCOME_UNKNOWN, disconnect, errors_as_ours

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a write waits for an answer before it reports to its caller, in seconds. The caller tries again.
WRITE_TIMEOUT_S: Final = 5.0
LOAD_TIMEOUT_S: Final = 60.0
#: Nodes read by one request.
READ_TOGETHER: Final = 200
#: Records that a restore writes before it logs how far it is.
RESTORE_TOGETHER: Final = 10_000
#: What the node ``schema`` holds while a restore is under way.
RESTORING: Final = b"restoring"
FENCED: Final = "another scheduler became leader: this one may write no more and must end"


class ZookeeperStore:
    """Keeps records below the node ``root``. The client is connected and, if ``owns_client``, ended by :meth:`close`."""

    def __init__(
        self, client: KazooClient, root: str, *, owns_client: bool = False, write_timeout_s: float = WRITE_TIMEOUT_S
    ) -> None:
        self._client = client
        self._root = root
        self._owns_client = owns_client
        self._write_timeout_s = write_timeout_s
        self._term: int | None = None
        #: Whether a key has a node, as far as known: decides between create and set. A wrong guess costs a look-up.
        self._exists: dict[str, bool] = {}
        self._ledger: Ledger | None = None  #: None until everything was read: then nothing can be said of the whole
        self._deadline = 0.0  #: of what is being done now, in seconds of the monotonic clock
        self._connected = threading.Event()
        client.add_listener(self._on_state)
        self._on_state(client.state)

    def begin_term(self, ballot: str = "") -> None:
        self._give(LOAD_TIMEOUT_S)
        self._repeat(self._check_schema)
        self._begin(ballot, str(codec.SCHEMA).encode())

    def load(self) -> Stored:
        found = self.items()
        self._exists = dict.fromkeys(found, True)
        self._ledger = Ledger(found.items())
        if self._term is not None:  # else somebody may be writing
            left = self._repeat(lambda: self._get_or((b"", None), self._client.get_async(self._path("checksum")))[0])
            self._ledger.verify(left, f"{self._root} in ZooKeeper")
        return codec.decode_all(found.items())

    def items(self) -> dict[str, bytes]:
        self._give(LOAD_TIMEOUT_S)
        self._repeat(self._check_schema)
        return self._repeat(self._read_all)

    def write(self, batch: Sequence[Write]) -> None:
        if self._term is None:
            raise RuntimeError("begin_term must come before the first write")
        changes = list(final_values(batch).items())
        chunks = layout.transactions(changes)
        if len(chunks) <= 1:
            self._apply(chunks)
        else:
            self._apply(layout.transactions(change for change in changes if change[1] is not None))
            self._apply(layout.transactions(change for change in changes if change[1] is None))

    def restore(self, records: Mapping[str, bytes], ballot: str = "") -> None:
        wanted = checked_records(records)
        self._give(LOAD_TIMEOUT_S)
        self._repeat(self._check_schema, RESTORING)
        self._begin(ballot, RESTORING)
        self._ledger = None
        self._exists = {}
        for key, node in self._repeat(self._nodes).items():
            if node == layout.node_of(key):
                self._exists[key] = True
            else:
                self._repeat(self._delete, node)  # it comes back under its key, which is the wrong place's name
        self._repeat(self._look_up, [FRAMEWORK_ID])
        changes: list[Change] = [(key, None) for key, exists in self._exists.items() if exists and key not in wanted]
        changes += wanted.items()
        for start in range(0, len(changes), RESTORE_TOGETHER):
            log.info("restoring %s", fields(done=start, of=len(changes)))
            self._apply(layout.transactions(changes[start : start + RESTORE_TOGETHER]))
        self._repeat(self._complete, Ledger(wanted.items()).checksum)

    def keep_once(self, name: str, make: Callable[[bool], bytes]) -> bytes:
        self._give(LOAD_TIMEOUT_S)
        return self._repeat(self._keep_once, self._path(name), make)

    def _keep_once(self, path: str, make: Callable[[bool], bytes]) -> bytes:
        while True:
            found = self._get_or(None, self._client.get_async(path))
            if found is not None:
                return bytes(found[0])
            # The first leader makes that node, after every scheduler has been here.
            used = self._get(self._client.exists_async(self._path("schema"))) is not None
            try:
                self._get(self._client.create_async(path, make(used), makepath=True))
            except zk.NodeExistsError:
                continue  # another scheduler was first, or the answer to an earlier attempt was lost

    def close(self) -> None:
        self._client.remove_listener(self._on_state)
        if self._owns_client:
            disconnect(self._client)

    # Connection

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._connected.set()
        else:
            self._connected.clear()

    def _give(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _await_connection(self) -> None:
        if not self._connected.wait(self._left_s()) or not self._left_s():
            raise StoreUnavailable(
                "ZooKeeper is away or the connection to it does not last: check that it runs, has a quorum and can be "
                "reached from here"
            )

    def _repeat(self, attempt: Callable[..., T], *args: Any) -> T:
        """Run an attempt until the connection lasts for all of it."""
        while True:
            self._await_connection()
            try:
                with errors_as_ours():
                    return attempt(*args)
            except OUTCOME_UNKNOWN as error:
                log.warning("connection to ZooKeeper broke, trying again %s", fields(error=type(error).__name__))

    def _get(self, answer: Any) -> Any:
        return answer.get(timeout=self._left_s())

    def _get_or(self, default: T, answer: Any) -> T:
        """Return an answer's value, or the default where the node is missing."""
        try:
            value: T = self._get(answer)
        except zk.NoNodeError:
            return default
        return value

    def _path(self, node: str) -> str:
        return f"{self._root}/{node}" if node else self._root

    # Beginning a term

    def _check_schema(self, allowed: bytes = b"") -> None:
        """Refuse what a newer version wrote, and what is half restored unless that is ``allowed``."""
        data = self._get_or((b"", None), self._client.get_async(self._path("schema")))[0]
        if not data or data == allowed:
            return
        if data == RESTORING:
            raise StoreUnusable(
                f"{self._root} in ZooKeeper is half restored: run `eratos-scheduler restore FILE --replace` again, to its end"
            )
        if not data.isdigit():
            raise StoreUnusable(f"{self._path('schema')} in ZooKeeper holds {data[:40]!r}, no version: name another path in --zk")
        if int(data) > codec.SCHEMA:
            raise StoreUnusable(
                f"{self._root} in ZooKeeper was written by a newer eratos (schema {int(data)}, this one knows up to "
                f"{codec.SCHEMA}): run that version or a later one"
            )

    def _begin(self, ballot: str, schema: bytes) -> None:
        self._repeat(self._make_folders)
        self._term = self._repeat(self._raise_term, ballot, schema)
        log.info("term began %s", fields(term=self._term, root=self._root))

    def _make_folders(self) -> None:
        parent = self._root.rpartition("/")[0]
        if parent:
            # Shared with others, so without our ACL; what is ours begins below.
            self._get(self._client.ensure_path_async(parent, acl=OPEN_ACL_UNSAFE))
        kinds = [kind.rstrip("/") for kind in KINDS]
        self._make(["", "schema", "term", "checksum", *kinds])
        self._make(
            f"{kind}/{bucket}"
            for kind in kinds
            for bucket in sorted({*layout.BUCKETS}.difference(self._get(self._client.get_children_async(self._path(kind)))))
        )

    def _make(self, nodes: Iterable[str]) -> None:
        paths = [self._path(node) for node in nodes]
        for path, answer in [(path, self._client.create_async(path)) for path in paths]:
            try:
                self._get(answer)
            except zk.NodeExistsError:
                pass
            except zk.NoAuthError:
                # Whoever may make no nodes above ours is told so even where it is there already.
                if self._get(self._client.exists_async(path)) is None:
                    raise

    def _raise_term(self, ballot: str, schema: bytes) -> int:
        transaction = self._client.transaction()
        if ballot:
            transaction.check(ballot, -1)
        transaction.set_data(self._path("schema"), schema)
        transaction.set_data(self._path("term"), ballot.encode())
        results = self._get(transaction.commit_async())
        error = _failure(results)
        if ballot and error is results[0]:
            raise StoreFenced("leadership was lost before the term began: the process must end and stand again")
        if error is not None:
            raise error
        term: int = results[-1].version
        return term

    # Reading

    def _nodes(self) -> dict[str, str]:
        """Return where each app and instance lies, by key; one in a place that is not its own has its place for a key."""
        folders = [kind + bucket for kind in KINDS for bucket in layout.BUCKETS]
        self._get(self._client.sync_async(self._root))  # this server may lag behind
        lists = [self._client.get_children_async(self._path(folder)) for folder in folders]
        nodes: dict[str, str] = {}
        for folder, answer in zip(folders, lists, strict=True):
            names: list[str] = self._get_or([], answer)
            for name in names:
                node, key = f"{folder}/{name}", layout.key_of(folder[:-2], name)
                nodes[key if layout.node_of(key) == node else node] = node
        return nodes

    def _read_all(self) -> dict[str, bytes]:
        nodes = [(FRAMEWORK_ID, FRAMEWORK_ID), *self._nodes().items()]
        parts = [nodes[start : start + READ_TOGETHER] for start in range(0, len(nodes), READ_TOGETHER)]
        answers = [multiread.read_async(self._client, [self._path(node) for _, node in part]) for part in parts]
        found: dict[str, bytes] = {}
        for part, answer in zip(parts, answers, strict=True):
            values = zip(part, self._get(answer), strict=True)
            found.update((key, data) for (key, _), data in values if data is not None)
        return found

    # Writing

    def _apply(self, chunks: list[list[Change]]) -> None:
        self._give(self._write_timeout_s)
        while chunks:
            self._await_connection()
            checksums = self._checksums(chunks)
            answers = [self._send(chunk, checksum) for chunk, checksum in zip(chunks, checksums, strict=True)]
            done = [self._done(answer) for answer in answers]
            for chunk in compress(chunks, done):
                self._enter(chunk)
            chunks = [chunk for chunk, is_done in zip(chunks, done, strict=True) if not is_done]
            if not chunks:
                return
            unsure = [key for chunk in chunks for key, _ in chunk]
            self._repeat(self._look_up, unsure)

    def _checksums(self, chunks: list[list[Change]]) -> list[bytes]:
        """Return what to store as the checksum with each of several transactions that follow each other."""
        ledger = self._ledger
        if ledger is None:
            return [b""] * len(chunks)

        def after(before: Checksum, chunk: list[Change]) -> Checksum:
            return ledger.after(chunk, before)

        return [str(checksum).encode() for checksum in accumulate(chunks, after, initial=ledger.checksum)][1:]

    def _enter(self, chunk: list[Change]) -> None:
        """Take a transaction as done."""
        if self._ledger is not None:
            self._ledger.enter(chunk)
        for key, data in chunk:
            if data is None:
                self._exists.pop(key, None)
            else:
                self._exists[key] = True

    def _send(self, chunk: list[Change], checksum: bytes) -> Any:
        transaction = self._client.transaction()
        transaction.check(self._path("term"), self._term)
        for key, data in chunk:
            path = self._path(layout.node_of(key))
            if data is None:
                if self._exists.get(key, True):
                    transaction.delete(path)
            elif self._exists.get(key, False):
                transaction.set_data(path, data)
            else:
                transaction.create(path, data)
        transaction.set_data(self._path("checksum"), checksum)
        return transaction.commit_async()

    def _done(self, answer: Any) -> bool:
        """Wait for a transaction; False: look up which of its nodes exist and send it again."""
        try:
            with errors_as_ours():
                results = self._get(answer)
                error = _failure(results)
                if error is not None and error is results[0]:
                    raise StoreFenced(FENCED)
                if isinstance(error, zk.NodeExistsError | zk.NoNodeError):
                    return False
                if error is not None:
                    raise error
        except OUTCOME_UNKNOWN as error:
            log.warning("outcome of a write is unknown, repeating it %s", fields(error=type(error).__name__))
            return False
        self._give(self._write_timeout_s)  # each transaction has its time
        return True

    def _look_up(self, keys: Iterable[str]) -> None:
        """Learn which keys have a node; make the nodes anew that somebody deleted and that writes rely on."""
        answers = [(key, self._client.exists_async(self._path(layout.node_of(key)))) for key in keys]
        for key, answer in answers:
            self._exists[key] = self._get(answer) is not None
        missing = (layout.node_of(key) for key in keys if not self._exists[key])
        self._make({"checksum"}.union(node.rpartition("/")[0] for node in missing if "/" in node))

    # Restoring

    def _delete(self, node: str) -> None:
        self._commit(lambda transaction: transaction.delete(self._path(node)))

    def _complete(self, checksum: Checksum) -> None:
        def add(transaction: TransactionRequest) -> None:
            transaction.set_data(self._path("checksum"), str(checksum).encode())
            transaction.set_data(self._path("schema"), str(codec.SCHEMA).encode())

        self._commit(add)

    def _commit(self, add: Callable[[TransactionRequest], None]) -> None:
        """Make one transaction of this term, of what ``add`` adds to it; a node that is gone is deleted already."""
        transaction = self._client.transaction()
        transaction.check(self._path("term"), self._term)
        add(transaction)
        results = self._get(transaction.commit_async())
        error = _failure(results)
        if error is not None and error is results[0]:
            raise StoreFenced(FENCED)
        if error is not None and not isinstance(error, zk.NoNodeError):
            raise error


def _failure(results: list[Any]) -> Exception | None:
    """Return what made a transaction fail: its other operations report that they were rolled back or not tried."""
    errors = [result for result in results if isinstance(result, Exception)]
    for error in errors:
        if not isinstance(error, zk.RolledBackError | zk.RuntimeInconsistency):
            return error
    return errors[0] if errors else None
