"""Which of several schedulers leads. Called by ``__main__``: the process starts, stands for election, and runs once elected.

::

    election.start()
    if election.wait_until_leader():
        store.begin_term(election.ballot)
        ...                                  # and when election.lost is set: exit; the supervisor starts it anew

A leader that loses its leadership ends its process. There is no way back to following within one process, so no
half-forgotten state can survive (rule 40; Marathon does the same).

Each contender owns an ephemeral, sequential node; the lowest leads, and its data is the URL that followers send users to.
kazoo's own recipe (kazoo.recipe.lock) is sound for the waiting, but does not let followers know who leads, may pause for a
minute between attempts, and blocks in ``release`` while ZooKeeper is away. This one looks at the list of contenders on
every change, which is cheap for the handful of schedulers that a cluster has.
"""

from __future__ import annotations

import enum
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Final, Protocol

from kazoo import exceptions as zk
from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

from eratos.common.log import fields

from .store.base import Store
from .store.factory import open_store
from .store.zookeeper import ZookeeperStore
from .store.zookeeper_client import SESSION_TIMEOUT_S, ZookeeperTls, ZookeeperUrl, connect, disconnect

log = logging.getLogger(__name__)

#: Watches make changes known at once; this is how often the list is looked at all the same, in seconds.
RECHECK_S: Final = 10.0


class Leadership(enum.Enum):
    FOLLOWING = "following"  #: stands for election; another one leads, or nobody yet
    LEADING = "leading"
    SUSPENDED = "suspended"  #: elected, but ZooKeeper is out of reach: another one may be elected, so do nothing
    LOST = "lost"  #: was leader, or has left: the process must end


OnChange = Callable[[Leadership], None]


class Election(Protocol):
    """One process' part in the election."""

    lost: threading.Event  #: set when a leadership once won is gone for good

    @property
    def state(self) -> Leadership: ...

    @property
    def ballot(self) -> str:
        """What proves the leadership to the store, once elected; else empty."""
        ...

    def start(self) -> None:
        """Begin to stand."""

    def wait_until_leader(self, timeout_s: float | None = None) -> bool:
        """Block until elected; False when the time is over or :meth:`close` was called."""
        ...

    def leader(self) -> str | None:
        """Return the present leader's URL as last heard, from memory."""
        ...

    def close(self) -> None:
        """Leave the election; a leader gives way at once. Harmless when repeated."""


class NoElection:
    """For a store that one scheduler has to itself: always leads."""

    def __init__(self, identity: str) -> None:
        self.lost = threading.Event()
        self.state = Leadership.LEADING
        self.ballot = ""
        self._identity = identity

    def start(self) -> None:
        pass

    def wait_until_leader(self, timeout_s: float | None = None) -> bool:
        return self.state is Leadership.LEADING

    def leader(self) -> str | None:
        return self._identity

    def close(self) -> None:
        self.state = Leadership.LOST


class ZookeeperElection:
    """Stands for election below the node ``root`` over a connected client, which it ends with :meth:`close`.

    ``on_change`` hears every change of the state, on kazoo's thread or the election's own: it must not block.
    """

    def __init__(self, client: KazooClient, root: str, identity: str, on_change: OnChange = lambda state: None) -> None:
        self.lost = threading.Event()
        self._client = client
        self._folder = f"{root}/election"
        self._identity = identity
        self._on_change = on_change
        # A create may succeed though its answer is lost: the node is then recognised by this prefix.
        self._prefix = f"{uuid.uuid4().hex}-"
        self._guard = threading.RLock()
        self._state = Leadership.FOLLOWING
        self._ballot = ""
        self._leader: str | None = None
        self._breaks = 0  #: how often the connection broke; what was seen before a break proves nothing after it
        self._closed = False
        self._decided = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)

    @property
    def state(self) -> Leadership:
        return self._state

    @property
    def ballot(self) -> str:
        return self._ballot

    def start(self) -> None:
        self._client.add_listener(self._on_connection)
        self._thread.start()

    def wait_until_leader(self, timeout_s: float | None = None) -> bool:
        self._decided.wait(timeout_s)
        return bool(self._ballot) and self._state is not Leadership.LOST

    def leader(self) -> str | None:
        return self._leader

    def close(self) -> None:
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._become(Leadership.LOST)
        self._decided.set()
        self._wake.set()
        disconnect(self._client)
        if self._thread.is_alive():
            self._thread.join()

    # State

    def _become(self, state: Leadership) -> None:
        with self._guard:
            if state is self._state or self._state is Leadership.LOST:
                return
            log.info("leadership changed %s", fields(was=self._state.value, now=state.value, identity=self._identity))
            self._state = state
            if state is Leadership.LEADING:
                self._decided.set()
            if state is Leadership.LOST and not self._closed:
                self._decided.set()
                self.lost.set()
            self._on_change(state)

    def _on_connection(self, state: str) -> None:
        with self._guard:
            if self._closed:
                return
            if state != KazooState.CONNECTED:
                self._breaks += 1
                if self._ballot:
                    self._become(Leadership.LOST if state == KazooState.LOST else Leadership.SUSPENDED)
        self._wake.set()

    # The election's own thread

    def _run(self) -> None:
        while not self._closed and not self.lost.is_set():
            self._wake.clear()
            breaks = self._breaks
            try:
                self._look(breaks)
            except zk.KazooException as error:
                if not self._closed:
                    log.warning("cannot look at the election, trying again %s", fields(error=repr(error)))
            except Exception:  # the loop's edge: standing must go on, or nobody might ever lead
                log.exception("the election could not be looked at, please report this as a bug")
            self._wake.wait(RECHECK_S)

    def _look(self, breaks: int) -> None:
        """Make sure to be among the contenders, and see who leads."""
        contenders = self._contenders()
        mine = next((name for name in contenders if name.startswith(self._prefix) and self._owned(name)), None)
        if mine is None:
            if self._ballot:
                log.error("the node that proves the leadership is gone %s", fields(node=self._ballot))
                self._become(Leadership.LOST)
                return
            self._client.create(
                f"{self._folder}/{self._prefix}", self._identity.encode(), ephemeral=True, sequence=True, makepath=True
            )
            self._wake.set()
            return
        try:
            self._leader = self._client.get(f"{self._folder}/{contenders[0]}")[0].decode()
        except zk.NoNodeError:
            self._wake.set()  # it left in between
            return
        with self._guard:
            if contenders[0] == mine and breaks == self._breaks and not self._closed:
                self._ballot = f"{self._folder}/{mine}"
                self._become(Leadership.LEADING)

    def _contenders(self) -> list[str]:
        """Return the contenders' nodes, the longest standing first, and be woken when they change."""
        try:
            names = self._client.get_children(self._folder, watch=self._on_contenders)
        except zk.NoNodeError:
            return []
        return sorted(names, key=lambda name: name.rpartition("-")[2])

    def _on_contenders(self, event: object) -> None:
        self._wake.set()

    def _owned(self, name: str) -> bool:
        """Return whether a node of ours belongs to the present session: one of an expired session is about to vanish."""
        stat = self._client.exists(f"{self._folder}/{name}")
        session = self._client.client_id
        return stat is not None and session is not None and stat.ephemeralOwner == session[0]


def open_store_and_election(
    url: str,
    identity: str,
    on_change: OnChange = lambda state: None,
    *,
    setting: str = "--zk",
    session_timeout_s: float = SESSION_TIMEOUT_S,
    tls: ZookeeperTls | None = None,
) -> tuple[Store, Election]:
    """Open both by the store's URL; with ZooKeeper they share a session. Close the store first, then the election.

    ``identity`` is the URL under which others reach this scheduler. Raises PermanentError, naming ``setting``, for a bad
    URL, StoreUnavailable, StoreUnusable.
    """
    if not url.startswith("zk:"):
        return open_store(url, setting=setting), NoElection(identity)
    place = ZookeeperUrl.parse(url, setting)
    client = connect(place, tls, session_timeout_s=session_timeout_s)
    return ZookeeperStore(client, place.path), ZookeeperElection(client, place.path, identity, on_change)
