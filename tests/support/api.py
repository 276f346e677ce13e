"""Calls an API in this process: no socket, no server, each request on an event loop of its own."""

from __future__ import annotations

import asyncio
import io
from functools import partialmethod
from typing import Any

import httpx
import requests
from fastapi import FastAPI


class ApiClient:
    """``get``, ``post`` and so on as in requests; exceptions that the API answers with a 500 stay in the API."""

    def __init__(self, api: FastAPI) -> None:
        self._api = api

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self._api, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, "http://api.test" + path, **options)

        return asyncio.run(call())

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")


class AsgiAdapter(requests.adapters.BaseAdapter):
    """Lets a ``requests`` session call an API in this process: mount it where the session would use a socket."""

    def __init__(self, api: FastAPI) -> None:
        super().__init__()
        self._client = ApiClient(api)

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:  # type: ignore[override]
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
