"""Calls an API in this process: no socket, no server, each request on an event loop of its own."""

from __future__ import annotations

import asyncio
from functools import partialmethod
from typing import Any

import httpx
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
