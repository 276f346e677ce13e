"""The API of a scheduler whose core is real, and has neither loop, store nor Mesos."""

from __future__ import annotations

import pytest
from support.api import ApiClient, an_api
from support.controller import FakeController


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def api(controller: FakeController) -> ApiClient:
    return ApiClient(an_api(controller))
