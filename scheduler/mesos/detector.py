"""Who leads: from ZooKeeper, or by asking the masters of a list in turn.

Masters put themselves into ZooKeeper, and pymesos' detector reads that. Its own start blocks while ZooKeeper is away
and gives up for good where the masters' path is not there yet; here both are waited for. Without ZooKeeper any master is
asked, and one that does not lead redirects to the one that does (rule 38).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable

from eratos.common.log import fields
from eratos.mesos.httpwire import Endpoint
from eratos.mesos.library import ChildrenWatch, MasterDetector, ZookeeperError

log = logging.getLogger(__name__)

MASTER_PORT = 5050
#: Between two looks for ZooKeeper or for the masters' path in it.
_LOOK_S = 0.5
_ZK_SCHEMES = ("zk://", "zoo://")


class ListedMasters:
    """Masters by address, tried in turn; the one a redirection named comes first, once."""

    def __init__(self, master: str) -> None:
        """Raises ValueError for a text that is no list of addresses."""
        self._masters = [Endpoint.parse(text, MASTER_PORT) for text in master.split(",") if text.strip()]
        if not self._masters:
            raise ValueError(f"no master in {master!r}")
        self._turn = 0
        self._named: Endpoint | None = None

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def current(self) -> Endpoint | None:
        return self._named or self._masters[self._turn % len(self._masters)]

    def redirected(self, leader: Endpoint) -> None:
        self._named = leader

    def known(self, master: Endpoint) -> bool:
        """Return whether a master is one of those that were given."""
        return any((master.host, master.port) == (other.host, other.port) for other in self._masters)

    def failed(self) -> None:
        """The current one could not be reached or does not know the leader: go on to the next."""
        if self._named is None:
            self._turn += 1
        self._named = None


class ZooKeeperMasters:
    """The leader as the masters' election in ZooKeeper has it; ``changed`` is called on one of kazoo's threads."""

    def __init__(self, master: str, changed: Callable[[], None], tls: bool) -> None:
        self._uri = master.partition("://")[2]
        if "/" not in self._uri:
            raise ValueError(f"{master} has no path: want zk://host:port/mesos")
        self._changed = changed
        self._tls = tls
        self._leader: Endpoint | None = None
        self._named: Endpoint | None = None
        self._stopping = threading.Event()
        self._detector = _Detector(self._uri, self)
        self._thread = threading.Thread(target=self._detect, name="master detector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def current(self) -> Endpoint | None:
        return self._named or self._leader

    def redirected(self, leader: Endpoint) -> None:
        self._named = leader

    def known(self, master: Endpoint) -> bool:
        """Return whether a master is the one that ZooKeeper names."""
        return master == self._leader

    def failed(self) -> None:
        self._named = None

    def _detect(self) -> None:
        detector = self._detector
        try:
            connected = detector.zk.start_async()  # and kazoo goes on trying, with pauses of its own
            while not self._stopping.is_set():
                if connected.wait(_LOOK_S) and detector.watch():
                    self._stopping.wait()
                elif connected.is_set():
                    self._stopping.wait(_LOOK_S)
        except Exception:
            # The thread's edge. The last leader known stays in use.
            log.exception("masters are watched no longer, please report this as a bug; restart the process")
        finally:
            detector.stop()

    # Called by pymesos' detector

    def onNewMasterDetectedMessage(self, data: bytes | None) -> None:  # noqa: N802 (pymesos' name)
        leader = parse_master_info(data, self._tls)
        if leader is not None and leader != self._leader:
            log.info("master elected %s", fields(master=leader))
            self._leader, self._named = leader, None
            self._changed()

    def onNoMasterDetectedMessage(self) -> None:  # noqa: N802 (pymesos' name)
        # The connection to the last one is not cut: it may well still be the leader (an empty or missing path).
        log.warning("ZooKeeper knows of no master")


class _Detector(MasterDetector):  # type: ignore[misc]
    told = False  #: that there is nothing to be seen yet

    def watch(self) -> bool:
        """Begin to watch the masters; False: not possible yet, such as before the first master ever."""
        try:
            # Looked for first: on a path that is not there, kazoo's watch ends without a word and for good.
            if self.zk.exists("/") is not None:
                ChildrenWatch(self.zk, "", self.choose)
                return True
            reason = "the path does not exist"
        except ZookeeperError as error:
            reason = repr(error)
        if not self.told:
            log.warning("no masters to be seen in ZooKeeper yet %s", fields(masters=self.uri, reason=reason))
            self.told = True
        return False

    def stop(self) -> None:
        super().stop()
        self.zk.close()  # pymesos leaves the sockets open


def parse_master_info(data: bytes | None, tls: bool) -> Endpoint | None:
    """Read the MasterInfo that a master leaves in ZooKeeper; None for anything else, with a line in the log."""
    try:
        info = json.loads(data or b"")
        return Endpoint(info["address"]["ip"], int(info["address"]["port"]), tls)
    except (ValueError, KeyError, TypeError):
        log.error("no master can be read from ZooKeeper's %r", (data or b"")[:200])
        return None


def masters(master: str, changed: Callable[[], None], tls: bool) -> ListedMasters | ZooKeeperMasters:
    """Return whoever knows the leader. Raises ValueError for an address that can't be read."""
    if master.startswith(_ZK_SCHEMES):
        return ZooKeeperMasters(master, changed, tls)
    return ListedMasters(master)
