"""HTTP to the cluster's published ports, with the standard library. Proxies are passed by: everything is on this machine."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

TIMEOUT_S = 5


class Unanswered(Exception):
    """Nobody answered, or with something else than HTTP."""


@dataclass(frozen=True)
class Access:
    """What is shown to whoever is asked, and how they are known."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    authorities: Path | None = None  #: of the certificate of whoever listens with TLS


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Redirects lead to names inside the cluster's network, which mean nothing out here: their answer is the answer."""

    def redirect_request(self, *_args: Any) -> None:
        return None


@lru_cache(maxsize=8)
def _opener(authorities: Path | None, _age: float) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _StayHere()]
    if authorities is not None:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(authorities))))
    return urllib.request.build_opener(*handlers)


def request(method: str, url: str, body: Any = None, timeout_s: float = TIMEOUT_S, access: Access = Access()) -> tuple[int, str]:
    """Return (status, text). Raise Unanswered where no HTTP answer comes."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **access.headers}
    call = urllib.request.Request(url, data=data, method=method, headers=headers)
    file = access.authorities
    try:
        # Made anew when the file is another one.
        opener = _opener(file, file.stat().st_mtime if file is not None else 0)
        with opener.open(call, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise Unanswered(f"{url}: {getattr(error, 'reason', error)}") from None
