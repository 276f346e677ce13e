"""HTTP calls to the Consul agent beside the balancer, by the standard library, which is all that the companion has."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

from eratos.common.errors import TemporaryError

_TIMEOUT_S = 5.0


class ConsulAgent:
    """One agent. Its calls raise TemporaryError where it does not answer or refuses."""

    def __init__(self, url: str, token: str) -> None:
        parsed = urllib.parse.urlsplit(url)
        self._address = (parsed.hostname or "127.0.0.1", parsed.port or 8500)
        self._headers = {"X-Consul-Token": token} if token else {}

    def get(self, path: str) -> Any:
        """Return what is at a path, None where nothing is."""
        status, body = self._call("GET", path, None)
        if status == 404:
            return None
        return json.loads(_expected(status, body))

    def put(self, path: str, body: object = None) -> None:
        _expected(*self._call("PUT", path, body))

    def _call(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise TemporaryError(f"Consul agent at {self._address[0]}:{self._address[1]}: {error}") from error
        finally:
            connection.close()


def _expected(status: int, body: bytes) -> bytes:
    if status != 200:
        raise TemporaryError(f"Consul answers {status}: {body[:200]!r}")
    return body
