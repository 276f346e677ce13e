"""A client for Marathon's ``/v2`` API, as eratos, Marathon itself and anything compatible serve it.

Used by the command line and open to users' own programs. One method per call, plain JSON in and out; failures become
errors that say what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import requests

from eratos.common.errors import PermanentError, TemporaryError

from .errors import Problem

Json = dict[str, Any]


class Refused(PermanentError):
    """The server answered with an error. ``problems`` holds the details of a 422, one per place in the document."""

    def __init__(self, status: int, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.problems = tuple(problems)


class Unreachable(TemporaryError):
    """No answer came, or one that says *not now*."""


class MarathonClient:
    """Calls one Marathon-compatible API. Raises :class:`Refused` and :class:`Unreachable`; not for several threads."""

    def __init__(self, url: str, timeout_s: float = 30.0, session: requests.Session | None = None) -> None:
        """``url`` is the API's root such as http://127.0.0.1:8080; ``timeout_s`` bounds every single call."""
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = session or requests.Session()
        #: What the API said beside its answers that a user should know; eratos only. Whoever shows it, empties it.
        self.notices: list[str] = []

    def apps(self, **filters: str) -> list[Json]:
        """List the apps; ``filters`` are Marathon's: id, cmd, label, embed."""
        return list(self._part("apps", "/v2/apps", filters))

    def app(self, app_id: str) -> Json:
        return dict(self._part("app", _app(app_id)))

    def create_app(self, app: Mapping[str, Any]) -> Json:
        return self._object("POST", "/v2/apps", body=app)

    def put_app(self, app_id: str, app: Mapping[str, Any], *, partial: bool = True, force: bool = False) -> Json:
        """Create or change an app; with ``partial`` what is not given stays as it is."""
        return self._object("PUT", _app(app_id), {"partialUpdate": partial, "force": force}, app)

    def put_apps(self, apps: list[Any], *, partial: bool = True, force: bool = False) -> Json:
        return self._object("PUT", "/v2/apps", {"partialUpdate": partial, "force": force}, apps)

    def scale(self, app_id: str, instances: int, *, force: bool = False) -> Json:
        return self.put_app(app_id, {"instances": instances}, force=force)

    def delete_app(self, app_id: str, *, force: bool = False) -> Json:
        return self._object("DELETE", _app(app_id), {"force": force})

    def restart(self, app_id: str, *, force: bool = False) -> Json:
        return self._object("POST", _app(app_id) + "/restart", {"force": force})

    def versions(self, app_id: str) -> list[str]:
        return list(self._part("versions", _app(app_id) + "/versions"))

    def tasks(self, app_id: str | None = None) -> list[Json]:
        return list(self._part("tasks", _app(app_id) + "/tasks" if app_id else "/v2/tasks"))

    def kill_tasks(self, task_ids: list[str], *, scale: bool = False) -> Json:
        return self._object("POST", "/v2/tasks/delete", {"scale": scale}, {"ids": task_ids})

    def logs(self, task_id: str, *, stderr: bool = False, tail: int = 100, follow: bool = False) -> Iterator[bytes]:
        """Open a task's log and return its pieces as they come; with ``follow`` until the task ends. Only eratos has this.

        The pieces may be read on any thread. Raises Unreachable, then too where the log is cut short.
        """
        path = f"/v2/tasks/{quote(task_id, safe='')}/logs"
        query = {"stream": "stderr" if stderr else "stdout", "tail": tail, "follow": follow}
        return _pieces(self._ask("GET", path, query, stream=True), self.url)

    def group(self, group_id: str = "/") -> Json:
        return self._object("GET", _group(group_id))

    def put_group(self, group: Mapping[str, Any], *, force: bool = False) -> Json:
        return self._object("PUT", "/v2/groups", {"force": force}, group)

    def delete_group(self, group_id: str, *, force: bool = False) -> Json:
        return self._object("DELETE", _group(group_id), {"force": force})

    def deployments(self) -> list[Json]:
        return list(self._call("GET", "/v2/deployments"))

    def queue(self) -> list[Json]:
        return list(self._part("queue", "/v2/queue"))

    def explain(self, app_id: str) -> Json:
        """Ask why an app is not as it should be; eratos only."""
        return self._object("GET", _app(app_id) + "/explain")

    def brake(self) -> Json:
        """Ask for the disaster brake; eratos only."""
        return self._object("GET", "/v2/brake")

    def release_brake(self) -> Json:
        return self._object("DELETE", "/v2/brake")

    def info(self) -> Json:
        return self._object("GET", "/v2/info")

    def leader(self) -> str:
        return str(self._part("leader", "/v2/leader"))

    def _object(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Json:
        answer = self._call(method, path, params, body)
        if not isinstance(answer, dict):
            raise self._strange(path)
        return answer

    def _part(self, key: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
        answer = self._object("GET", path, params)
        if key not in answer:
            raise self._strange(path)
        return answer[key]

    def _strange(self, path: str) -> Refused:
        return Refused(200, f"{self.url} answered {path} in another form than Marathon does: is it Marathon's API?")

    def _call(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        answer = self._ask(method, path, params, body)
        try:
            return answer.json()
        except ValueError:
            raise self._strange(path) from None

    def _ask(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None, *, stream: bool = False
    ) -> requests.Response:
        """``stream``: leave the body to come, however long that takes."""
        query = {key: str(value).lower() if isinstance(value, bool) else value for key, value in (params or {}).items()}
        try:
            answer = self._session.request(
                method,
                self.url + path,
                params=query,
                json=body,
                headers={"Accept": "*/*" if stream else "application/json"},
                timeout=(self._timeout_s, None) if stream else self._timeout_s,
                stream=stream,
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise Refused(0, f"{self.url} is no URL of an API: write it like http://127.0.0.1:8080") from None
        except requests.RequestException as error:
            raise Unreachable(f"no answer from {self.url}: {_cause(error)}") from error
        if answer.status_code in (502, 503, 504):
            retry_after = answer.headers.get("Retry-After", "")
            raise Unreachable(_message(answer), float(retry_after) if retry_after.isdigit() else None)
        if answer.headers.get("Eratos-Notice"):
            self.notices += answer.headers["Eratos-Notice"].split("; ")
        if not answer.ok:
            raise Refused(answer.status_code, _message(answer), _details(answer))
        return answer


def _pieces(answer: requests.Response, url: str) -> Iterator[bytes]:
    with answer:
        try:
            yield from answer.iter_content(None)
        except requests.RequestException as error:
            raise Unreachable(f"the log was cut short: the connection to {url} was lost") from error


def _app(app_id: str) -> str:
    return "/v2/apps/" + quote(app_id.strip("/"))


def _group(group_id: str) -> str:
    return ("/v2/groups/" + quote(group_id.strip("/"))).rstrip("/")


def _cause(error: requests.RequestException) -> str:
    """Say in a few words why a call got no answer; requests wraps the reason several times."""
    if isinstance(error, requests.Timeout):
        return "it took too long"
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None) or cause.__cause__ or cause.__context__) and inner is not cause:
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return getattr(cause, "strerror", None) or str(cause)


def _json(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(answer: requests.Response) -> str:
    return str(_json(answer).get("message") or f"HTTP {answer.status_code} {answer.reason}")


def _details(answer: requests.Response) -> Iterable[Problem]:
    details = _json(answer).get("details")
    for detail in details if isinstance(details, list) else ():
        for error in detail.get("errors", ()):
            yield Problem(str(detail.get("path", "/")), str(error))
