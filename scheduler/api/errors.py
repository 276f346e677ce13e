"""Every failure as Marathon's error JSON: ``{"message": ..., "details": [{"path": ..., "errors": [...]}]}``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from eratos.marathon import strict_json
from eratos.marathon.errors import InvalidApp, InvalidInItself, Problem, json_path
from eratos.scheduler.core.actions import Refusal
from eratos.scheduler.core.refusals import CommandRefused, Unavailable

log = logging.getLogger(__name__)

DEFAULT_RETRY_AFTER_S = 1.0


class ApiError(Exception):
    """An answer other than success. ``message`` is for the user and says what to do, ``problems`` is more of that."""

    def __init__(self, status: int, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.problems = tuple(problems)


def invalid(path: str, message: str) -> InvalidApp:
    """Return the error of one problem, to raise."""
    return InvalidApp([Problem(path, message)])


def error(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    return JSONResponse({"message": message, **more}, status, dict(headers or {}))


def unavailable(message: str, retry_after_s: float | None = None) -> JSONResponse:
    wait_s = math.ceil(retry_after_s or DEFAULT_RETRY_AFTER_S)
    return error(503, message, {"Retry-After": str(wait_s)})


def not_valid(problems: Iterable[Problem]) -> JSONResponse:
    return error(422, "Object is not valid", details=_details(problems))


def _told(problems: Iterable[Problem], told: Callable[[str], str]) -> list[Problem]:
    return [Problem(problem.path, told(problem.message)) for problem in problems]


def _details(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    by_path: dict[str, list[str]] = {}
    for problem in problems:
        by_path.setdefault(problem.path, []).append(problem.message)
    return [{"path": path, "errors": messages} for path, messages in by_path.items()]


_STATUS = {
    Refusal.NOT_FOUND: 404,
    Refusal.EXISTS: 409,
    Refusal.LOCKED: 409,
    Refusal.NOT_POSSIBLE: 409,
    Refusal.QUOTA: 422,
    Refusal.BUDGET: 409,
    Refusal.BROKEN: 500,
}


def install(api: FastAPI, hide: Callable[[Request], Callable[[str], str]]) -> None:
    """Have every exception that a handler raises answered in Marathon's form.

    ``hide`` returns what takes the names of apps out of sentences that a request's sender may not know.
    """

    @api.exception_handler(ApiError)
    def _api_error(request: Request, failure: ApiError) -> JSONResponse:
        if failure.status == 403:
            return error(403, str(failure))  # it names what was asked for, whether that is there or not
        told = hide(request)
        more: dict[str, Any] = {"details": _details(_told(failure.problems, told))} if failure.problems else {}
        return error(failure.status, told(str(failure)), **more)

    @api.exception_handler(InvalidApp)
    def _invalid(request: Request, failure: InvalidApp) -> JSONResponse:
        if isinstance(failure, InvalidInItself):
            return not_valid(failure.problems)  # of which each word is the sender's or ours: to take one out would tell of others
        return not_valid(_told(failure.problems, hide(request)))

    @api.exception_handler(CommandRefused)
    def _refused(request: Request, failure: CommandRefused) -> JSONResponse:
        message = hide(request)(str(failure))
        if not failure.deployments:
            return error(_STATUS[failure.refusal], message)
        rivals = [{"id": found} for found in failure.deployments]
        return error(_STATUS[failure.refusal], message, deployments=rivals)

    @api.exception_handler(Unavailable)
    def _unavailable(_: Request, failure: Unavailable) -> JSONResponse:
        return unavailable(str(failure), failure.retry_after_s)

    @api.exception_handler(RequestValidationError)
    def _bad_parameter(_: Request, failure: RequestValidationError) -> JSONResponse:
        return not_valid(Problem(json_path(item["loc"][1:]), _parameter(item)) for item in failure.errors())

    @api.exception_handler(HTTPException)
    def _http(request: Request, failure: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.scope['path']}: {failure.detail}"
        return error(failure.status_code, message, failure.headers)

    @api.exception_handler(Exception)
    def _bug(request: Request, failure: Exception) -> JSONResponse:
        # The HTTP edge: a request that fails unexpectedly must not take the scheduler with it.
        where = f"method={request.method} path={request.scope['path']}"
        log.error("request failed, state is unchanged unless a command was sent %s", where)
        log.error("please report this as a bug", exc_info=failure)
        return error(500, f"{type(failure).__name__}: please report this as a bug; the scheduler's log has the details")


def _parameter(detail: Mapping[str, Any]) -> str:
    """Say what is wrong with a parameter of an address."""
    if detail["type"].startswith("bool"):
        return f"must be true or false, not {strict_json.shortened(str(detail['input']))!r}"
    return str(detail["msg"])
