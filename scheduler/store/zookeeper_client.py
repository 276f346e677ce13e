"""Makes the one ZooKeeper session that a scheduler has. Store and election share it: leadership and writes die together.

Called by :mod:`factory` and by :mod:`eratos.scheduler.election`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import unquote

from kazoo import exceptions as zk
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.retry import KazooRetry
from kazoo.security import make_digest_acl

from eratos.common.errors import PermanentError

from .errors import StoreUnavailable, StoreUnusable

#: After this long without a sign of life ZooKeeper ends the session and another scheduler takes over. Three times the
#: server's usual tick (tickTime 2 s); servers accept 2 to 20 ticks.
SESSION_TIMEOUT_S: Final = 6.0
CONNECT_TIMEOUT_S: Final = 15.0

_HOST = re.compile(r"^(?P<host>[^\s:/@\[\]]+|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>[0-9]{1,5}))?$")
_PATH = re.compile(r"^(/[0-9A-Za-z._-]*[0-9A-Za-z_-][0-9A-Za-z._-]*)+$")

#: After these nobody knows whether a request was carried out.
OUTCOME_UNKNOWN: Final = (
    zk.ConnectionLoss,
    zk.SessionExpiredError,
    zk.SessionMovedError,
    zk.OperationTimeoutError,
    zk.RequestTimeoutError,
    zk.ThrottledOpError,
)

# At DEBUG kazoo logs whole requests, credentials included.
_kazoo_log = logging.getLogger("kazoo.client")
_kazoo_log.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class ZookeeperUrl:
    """``zk://[user:password@]host[:port],host[:port]/path``; user and password may be percent-encoded."""

    hosts: str  #: host:port,host:port
    path: str  #: the folder that holds all of eratos' nodes
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, setting: str = "--zk") -> Self:
        """Read a URL; raises PermanentError that names the setting and the fix."""

        def refused(problem: str) -> PermanentError:
            return PermanentError(f"{setting}: {problem}; write it like zk://zk1:2181,zk2:2181,zk3:2181/eratos")

        scheme, found, rest = url.partition("://")
        if not found or scheme != "zk":
            raise refused("the URL must begin with zk://")
        place, slash, path = rest.partition("/")
        credentials, at, hosts = place.rpartition("@")
        user, colon, password = credentials.partition(":")
        if at and not (user and colon and password):
            raise refused("before the @ there must be user:password, with special characters percent-encoded")
        for host in hosts.split(","):
            match = _HOST.match(host)
            if match is None or not 0 < int(match["port"] or 2181) < 65536:
                raise refused(f"'{host}' is no host:port")
        path = slash + path.rstrip("/")
        if not _PATH.match(path) or path.split("/")[1] == "zookeeper":
            raise refused("a path of eratos' own is missing, of letters, digits, dots and dashes")
        return cls(hosts, path, unquote(user), unquote(password))

    def __str__(self) -> str:
        return f"zk://{self.hosts}{self.path}"


@dataclass(frozen=True, slots=True)
class ZookeeperTls:
    """How to speak TLS with ZooKeeper (its ``secureClientPort``)."""

    ca_file: str  #: authorities of the servers' certificates, which name their hosts
    cert_file: str = ""  #: a certificate and its key, for servers that ask for one; empty: none


class _PromptHandler(SequentialThreadingHandler):  # type: ignore[misc]
    """Gives up early on a server that does not answer at all.

    kazoo waits a whole session timeout for each connection; one dead host of three would then cost the session.
    """

    def __init__(self, connect_timeout_s: float) -> None:
        super().__init__()
        self._connect_timeout_s = connect_timeout_s

    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = min(self._connect_timeout_s, kwargs.get("timeout") or self._connect_timeout_s)
        return super().create_connection(*args, **kwargs)


def connect(
    url: ZookeeperUrl,
    tls: ZookeeperTls | None = None,
    *,
    session_timeout_s: float = SESSION_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
) -> KazooClient:
    """Open a session. It reconnects by itself, for as long as it takes. Raises StoreUnavailable."""
    secure = {} if tls is None else {"use_ssl": True, "ca": tls.ca_file, "verify_certs": True, "check_hostname": True}
    if tls is not None and tls.cert_file:
        secure |= {"certfile": tls.cert_file, "keyfile": tls.cert_file}
    credentials = f"{url.user}:{url.password}"
    client = KazooClient(
        hosts=url.hosts,
        timeout=session_timeout_s,
        handler=_PromptHandler(session_timeout_s / 6),
        # kazoo's own default waits up to an hour between attempts.
        connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=1.0),
        auth_data=[("digest", credentials)] if url.user else None,
        default_acl=[make_digest_acl(url.user, url.password, all=True)] if url.user else None,
        logger=_kazoo_log,
        **secure,
    )
    try:
        client.start(connect_timeout_s)
    except KazooTimeoutError as error:
        raise StoreUnavailable(
            f"ZooKeeper at {url.hosts} does not answer within {connect_timeout_s:g} s: check that it runs, has a quorum "
            "and can be reached from here"
        ) from error
    return client


def disconnect(client: KazooClient) -> None:
    """End the session, and with it at once whatever it held. Harmless when repeated."""
    client.stop()
    client.close()


@contextmanager
def errors_as_ours() -> Iterator[None]:
    """Turn kazoo's errors into ours, except for those after which the same thing is tried again."""
    try:
        yield
    except zk.ConnectionClosedError as error:
        raise StoreUnavailable("the session with ZooKeeper was closed by this process") from error
    except OUTCOME_UNKNOWN:
        raise
    except KazooTimeoutError as error:
        raise StoreUnavailable("ZooKeeper does not answer in time: check its load, its disk and its quorum") from error
    except (zk.NoAuthError, zk.AuthFailedError, zk.InvalidACLError) as error:
        raise StoreUnusable(
            "ZooKeeper does not let us in: put the user and password that own the nodes into --zk "
            "(zk://user:password@host:port/path), or name another path"
        ) from error
    except zk.UnimplementedError as error:
        raise StoreUnusable("this ZooKeeper is too old: eratos needs version 3.6 or later") from error
    except zk.KazooException as error:
        raise StoreUnavailable(f"ZooKeeper refused the request ({error!r}): see the server's log") from error
