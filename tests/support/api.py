"""Calls an API in this process, without sockets."""

from __future__ import annotations

import functools
import io
from typing import Any

import requests
from fastapi import FastAPI
from fastapi.testclient import TestClient

from eratos.common import names
from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api

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
def _shared(executor_port: int) -> tuple[FastAPI, _Current]:
    current = _Current()
    api = create_api(current, clock=lambda: current.controller.now, executor_port=executor_port, access=OPEN)
    return api, current


def an_api(controller: FakeController, executor_port: int = names.EXECUTOR_PORT) -> FastAPI:
    """Return the whole API for a controller and its clock: the same for all tests, as to make one takes longer than most.

    So it serves the controller that was given last; a test that needs two at a time makes the other by ``create_api``.
    """
    api, current = _shared(executor_port)
    current.controller = controller
    return api


class ApiClient(TestClient):
    """``get``, ``post`` and so on; an exception that the API answers with a 500 stays in the API, as on a server."""

    def __init__(self, api: FastAPI) -> None:
        # Bytes are JSON here unless a test says otherwise; httpx says nothing of them.
        json = {"Content-Type": "application/json"}
        super().__init__(api, base_url="http://api.test", headers=json, raise_server_exceptions=False)


class AsgiAdapter(requests.adapters.BaseAdapter):
    """Lets a ``requests`` session call an API in this process: mount it where the session would use a socket."""

    def __init__(self, api: FastAPI) -> None:
        super().__init__()
        self._client = ApiClient(api)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        answer = self._client.request(
            str(request.method), str(request.path_url), content=request.body, headers=dict(request.headers)
        )
        response = requests.Response()
        response.status_code, response.reason = answer.status_code, answer.reason_phrase
        response.headers = requests.structures.CaseInsensitiveDict(answer.headers)
        response.raw = io.BytesIO(answer.content)
        response.request, response.url = request, str(request.url)
        return response

    def close(self) -> None:
        pass


def session(api: FastAPI) -> requests.Session:
    """Return a session in which http://api.test is the API."""
    made = requests.Session()
    made.trust_env = False
    made.mount("http://api.test", AsgiAdapter(api))
    return made
