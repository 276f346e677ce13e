"""HTTP to the cluster's published ports, with the standard library. Proxies are passed by: everything is on this machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

TIMEOUT_S = 5


class Unanswered(Exception):
    """Nobody answered, or with something else than HTTP."""


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Redirects lead to names inside the cluster's network, which mean nothing out here: their answer is the answer."""

    def redirect_request(self, *_args: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _StayHere())


def request(method: str, url: str, body: Any = None, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Return (status, text). Raise Unanswered where no HTTP answer comes."""
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with _opener.open(call, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise Unanswered(f"{url}: {getattr(error, 'reason', error)}") from None


def get_json(url: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the JSON of a 200 answer. Raise Unanswered for anything else."""
    status, text = request("GET", url, timeout_s=timeout_s)
    if status != 200:
        raise Unanswered(f"{url}: HTTP {status}")
    try:
        return json.loads(text)
    except ValueError:
        raise Unanswered(f"{url}: not JSON") from None
