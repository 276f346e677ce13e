"""Calls an API in this process, without sockets."""

from __future__ import annotations

import copy
import functools
import io
from http import HTTPStatus
from typing import Any

import httpx2 as httpx
import requests
import urllib3
from fastapi import FastAPI
from starlette.middleware import Middleware

from eratos.common import names
from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api

from . import asgi
from .controller import FakeController

#: Of an API that tests call as ``api.test``.
OPEN = Access(BrowserGuard.of([".test"]))


class _Current:
    """Stands for the controller of the test that runs."""

    def __init__(self) -> None:
        self.controller = FakeController()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controller, name)


@functools.cache
def _shared(executor_port: int, **settings: Any) -> tuple[FastAPI, _Current]:
    current = _Current()
    api = create_api(current, clock=lambda: current.controller.now, executor_port=executor_port, access=OPEN, **settings)
    return api, current


def an_api(
    controller: FakeController, executor_port: int = names.EXECUTOR_PORT, access: Access = OPEN, **settings: Any
) -> FastAPI:
    """Return the whole API for a controller and its clock, and ``settings`` of :func:`create_api` that nothing can change: the
    same for all tests that give these, as to make one takes longer than most tests.

    So it serves the controller that was given last; a test that needs two at a time makes the other by ``create_api``. What
    stands in front of the routes, and what it remembers of who asked, is made for each other ``access`` than ``OPEN``.
    """
    api, current = _shared(executor_port, **settings)
    current.controller = controller
    if access is OPEN:
        return api
    made = copy.copy(api)
    made.middleware_stack = None
    changes: dict[str, Any] = {"access": access, "token": access.token}
    made.user_middleware = [
        Middleware(part.cls, *part.args, **{key: changes.get(key, value) for key, value in part.kwargs.items()})
        for part in api.user_middleware
    ]
    return made


class ApiClient(httpx.Client):
    """``get``, ``post`` and so on; an exception that the API answers with a 500 stays in the API, as on a server."""

    def __init__(self, api: FastAPI) -> None:
        # Bytes are JSON here unless a test says otherwise; httpx says nothing of them.
        json = {"Content-Type": "application/json"}
        super().__init__(transport=asgi.Transport(api), base_url="http://api.test", headers=json, follow_redirects=True)


class AsgiAdapter(requests.adapters.HTTPAdapter):
    """Lets a ``requests`` session call an API in this process: mount it where the session would use a socket."""

    def __init__(self, api: FastAPI, *, hang_up: bool = False) -> None:
        super().__init__()
        self._api, self._hang_up = api, hang_up

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        url = httpx.URL(str(request.url))
        headers = [(b"host", url.netloc)] if "host" not in request.headers else []
        headers += [(_bytes(name), _bytes(value)) for name, value in request.headers.items()]
        answer = asgi.ask(self._api, str(request.method), url, headers, body, hang_up=self._hang_up)
        raw = urllib3.HTTPResponse(
            io.BytesIO(answer.body),
            urllib3.HTTPHeaderDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers),
            answer.status,
            reason=HTTPStatus(answer.status).phrase,
            preload_content=False,
            decode_content=False,
        )
        return self.build_response(request, raw)

    def close(self) -> None:
        pass


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def session(api: FastAPI, *, hang_up: bool = False) -> requests.Session:
    """Return a session in which http://api.test is the API. With ``hang_up`` it reads no more than the head of a stream."""
    made = requests.Session()
    made.trust_env = False
    made.mount("http://api.test", AsgiAdapter(api, hang_up=hang_up))
    return made
