"""What an app's check was answered, as Mesos' CheckStatusInfo has it (mesos.proto); without an answer its kind alone."""

from __future__ import annotations

from typing import Any

from eratos.common.payload import CheckKind, HealthCheck


def check_status(check: HealthCheck, *, passed: bool, code: int | None) -> dict[str, Any]:
    if check.protocol == CheckKind.TCP:
        return {"type": "TCP", "tcp": {"succeeded": passed}}
    if check.protocol == CheckKind.COMMAND:
        return {"type": "COMMAND", "command": {} if code is None else {"exit_code": code}}
    return {"type": "HTTP", "http": {} if code is None else {"status_code": code}}
