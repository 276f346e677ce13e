"""The connection to the Docker daemon and what its errors mean for people. Used by the Docker runtime and its watch only.

One low-level client for all threads: its ``requests`` session keeps a pool of connections to the socket, and nothing in it is
changed after it was made. It is made on first use, so that an executor registers with its agent while the daemon is still
away (rule 57).
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import requests
from docker import APIClient, errors
from docker.transport import UnixHTTPAdapter

from eratos.common import async_http

#: Longest wait for one answer; starting and pulling have their own limits.
TIMEOUT_S = 60
#: Connections kept open: one for each thread of the runtime, and one for the event stream.
_POOL_SIZE = 16
_PORT = 2375

#: What a call to the daemon may raise.
DockerFailure = (errors.DockerException, requests.RequestException, OSError)
#: Errors that no daemon's socket has: they are of files that are prepared for it.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _OnePool(UnixHTTPAdapter):  # type: ignore[misc]
    """The Docker library's adapter for sockets, with one pool of connections instead of one for each URL ever asked for.

    Theirs opens a new connection for nearly every call, and keeps two dozen idle ones.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"http+unix://{path}", timeout=TIMEOUT_S, max_pool_size=_POOL_SIZE)

    def get_connection(self, url: str, proxies: Any = None) -> Any:
        return super().get_connection("http+docker://localhost", proxies)


class DockerClient:
    """A lazily connected ``docker.APIClient``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._api: APIClient | None = None
        self._closed = False

    @property
    def api(self) -> APIClient:
        """Return the client. Raises one of DockerFailure while the daemon is away."""
        with self._lock:
            if self._closed:
                raise errors.DockerException("the executor is leaving")
            if self._api is None:
                self._try_socket()
                # "auto" asks the daemon once which API version both sides know.
                self._api = APIClient(base_url=self.url, version="auto", timeout=TIMEOUT_S, max_pool_size=_POOL_SIZE)
                if self.url.startswith("unix://"):
                    self._api.get_adapter("http+docker://").close()
                    self._api.mount("http+docker://", _OnePool(self.url.removeprefix("unix://")))
            return self._api

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        upgrade: str = "",
    ) -> AbstractAsyncContextManager[async_http.Answer]:
        """Ask over a connection of its own, whose answer can be given up at any time. Raises one of async_http.Failure."""
        url = urllib.parse.urlsplit(self.url)
        unix = url.path if url.scheme == "unix" else ""
        tls = ssl.create_default_context() if url.scheme == "https" else None
        host, port = url.hostname or "docker", url.port or _PORT
        return async_http.ask(host, port, path, method=method, headers=headers, body=body, tls=tls, unix=unix, upgrade=upgrade)

    def _try_socket(self) -> None:
        """Raise OSError where nobody listens. The library would leave a socket open for each attempt of an executor's."""
        if self.url.startswith("unix://"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
                attempt.settimeout(TIMEOUT_S)
                attempt.connect(self.url.removeprefix("unix://"))

    def close(self) -> None:
        """Close the connections that are not in use; further calls fail."""
        with self._lock:
            self._closed = True
            if self._api is not None:
                self._api.close()

    def explain(self, error: Exception) -> str:
        """Return a sentence for people out of a failed call."""
        if isinstance(error, errors.APIError):
            return str(error.explanation or error)
        if isinstance(error, requests.Timeout):
            return f"Docker at {self.url} did not answer within {TIMEOUT_S} s: look at the daemon's log"
        if isinstance(error, OSError) and error.errno in _DISK:
            return f"this host's disk takes no more: {error}"
        return f"Docker does not answer at {self.url}: start the daemon, or check ERATOS_DOCKER_HOST ({error})"


def status(error: Exception) -> int:
    """Return the HTTP status of a failed call, 0 where there was no answer."""
    if isinstance(error, errors.APIError) and error.response is not None:
        return int(error.response.status_code)
    return 0
