"""Tests ask the API on their own thread, also where a browser keeps a loop at work there."""

from __future__ import annotations

import asyncio

import pytest
from support.api import ApiClient, an_api
from support.controller import FakeController


def test_the_api_answers_where_no_loop_runs() -> None:
    assert ApiClient(an_api(FakeController())).get("/ping").text == "pong"


def test_the_api_answers_where_a_loop_runs_already() -> None:
    async def ask() -> str:
        return ApiClient(an_api(FakeController())).get("/ping").text

    assert asyncio.run(ask()) == "pong"


def test_a_fault_of_the_api_is_answered_with_500(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = FakeController()
    monkeypatch.setattr(controller, "read", lambda *_: 1 / 0)
    assert ApiClient(an_api(controller)).get("/v2/apps").status_code == 500
