"""A check's answer in Mesos' words, by table (mesos.proto, CheckStatusInfo)."""

from __future__ import annotations

from typing import Any

import pytest

from eratos.common.payload import CheckKind, HealthCheck
from eratos.executor.core.check_status import check_status


@pytest.mark.parametrize(
    ("kind", "passed", "code", "said"),
    [
        (CheckKind.HTTP, True, 200, {"type": "HTTP", "http": {"status_code": 200}}),
        (CheckKind.HTTP, False, 500, {"type": "HTTP", "http": {"status_code": 500}}),
        (CheckKind.HTTP, False, None, {"type": "HTTP", "http": {}}),
        (CheckKind.HTTPS, True, 204, {"type": "HTTP", "http": {"status_code": 204}}),
        (CheckKind.COMMAND, True, 0, {"type": "COMMAND", "command": {"exit_code": 0}}),
        (CheckKind.COMMAND, False, None, {"type": "COMMAND", "command": {}}),
        (CheckKind.TCP, True, None, {"type": "TCP", "tcp": {"succeeded": True}}),
        (CheckKind.TCP, False, 7, {"type": "TCP", "tcp": {"succeeded": False}}),
    ],
)
def test_what_is_said_of_an_answer(kind: CheckKind, passed: bool, code: int | None, said: dict[str, Any]) -> None:
    assert check_status(HealthCheck(protocol=kind), passed=passed, code=code) == said
