"""The connection to the Docker daemon and what its errors mean for people. Used by the Docker runtime and its watch only.

One low-level client for all threads: its ``requests`` session keeps a pool of connections to the socket, and nothing in it is
changed after it was made. It is made on first use, so that an executor registers with its agent while the daemon is still
away (rule 57).
"""

from __future__ import annotations

import threading

import requests
from docker import APIClient, errors

#: Longest wait for one answer; starting and pulling have their own limits.
TIMEOUT_S = 60
#: Connections kept open: one for each thread of the runtime, and one for the event stream.
_POOL_SIZE = 16

#: What a call to the daemon may raise.
DockerFailure = (errors.DockerException, requests.RequestException, OSError)


class DockerClient:
    """A lazily connected ``docker.APIClient``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._api: APIClient | None = None

    @property
    def api(self) -> APIClient:
        """Return the client. Raises one of DockerFailure while the daemon is away."""
        with self._lock:
            if self._api is None:
                # "auto" asks the daemon once which API version both sides know.
                self._api = APIClient(base_url=self.url, version="auto", timeout=TIMEOUT_S, max_pool_size=_POOL_SIZE)
            return self._api

    def explain(self, error: Exception) -> str:
        """Return a sentence for people out of a failed call."""
        if isinstance(error, errors.APIError):
            return str(error.explanation or error)
        if isinstance(error, requests.Timeout):
            return f"Docker at {self.url} did not answer within {TIMEOUT_S} s: look at the daemon's log"
        return f"Docker does not answer at {self.url}: start the daemon, or check ERATOS_DOCKER_HOST ({error})"


def status(error: Exception) -> int:
    """Return the HTTP status of a failed call, 0 where there was no answer."""
    if isinstance(error, errors.APIError) and error.response is not None:
        return int(error.response.status_code)
    return 0
