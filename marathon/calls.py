"""A call of an API of Marathon's kind: to whom it goes, what it shows of who asks, and what becomes of its answer.

Of several schedulers each answers, followers through the leader. Given all of their URLs a call goes to the one that
answered last, and on to the next where there is no answer. A change goes on only if it was certainly not made: else it might
be made twice, and that is the caller's to judge. The methods of the API are in :mod:`.client`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from eratos.common.errors import PermanentError, TemporaryError

from .errors import Problem

if TYPE_CHECKING:
    import requests  # what it imports takes longer than most commands; so it is imported with the first call

Json = dict[str, Any]

#: With several URLs, in seconds: a scheduler that is gone, or stands still, is left for the next one.
CONNECT_S: Final = 3.0
READ_S: Final = 10.0

#: What Marathon has not, and older versions of eratos not all of.
_OURS: Final = re.compile(
    r"/v2/(balancers|brake|drains|explain|logs|metrics|moves|needs|overview|quotas|requests|tunnels|usage|volumes|whoami)\b"
    r"|/v2/(tasks/[^/]+/logs|deployments/[^/]+/(pause|resume|promote)|apps/.+/explain)$"
    r"|/v1/jobs\b"
)

#: What an address that there is not is answered with: by Marathon (MarathonExceptionMapper.scala), and by older eratos.
_NO_ADDRESS: Final = re.compile(r"URI not found\b|(HTTP 404 |[A-Z]+ /\S+: )?Not Found$")

#: Answers with 503 that say for certain that a change was not made: eratos' own, and Marathon's (LeaderProxyFilter.scala).
_NOT_MADE: Final = re.compile(
    "there is no leader|leader just changed|does not lead|other changes took|Could not determine the current leader"
    # No connection to the leader came about, or its name has no address.
    r"|does not answer \((Multiple exceptions: )?\[Errno (-\d+\]|\d+\] Connect call failed)"
)


class Refused(PermanentError):
    """The server answered with an error.

    ``problems`` holds the details of a 422, one per place in the document, ``deployments`` what locks the app of a 409.
    """

    def __init__(self, status: int, message: str, problems: Iterable[Problem] = (), deployments: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.problems = tuple(problems)
        self.deployments = tuple(deployments)


class Unreachable(TemporaryError):
    """No answer came, or one that says *not now*."""

    def __init__(self, message: str, retry_after_s: float | None = None, *, perhaps_made: bool = False) -> None:
        """``perhaps_made``: what was asked for may have been done all the same."""
        super().__init__(message, retry_after_s)
        self.perhaps_made = perhaps_made


@dataclass(frozen=True)
class Login:
    """What a client shows an API, and what it wants to see of it."""

    token: str = field(default="", repr=False)  #: for ``Authorization: Bearer``
    credentials: str = field(default="", repr=False)  #: ``user:password``, for Basic
    ca_file: str = ""  #: the authorities of an https API's certificate; empty: the public ones
    cert_file: str = ""  #: a certificate with its key, for an API that asks for one

    @property
    def header(self) -> str:
        """The header ``Authorization``, or an empty text."""
        if self.token:
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(self.credentials.encode()).decode() if self.credentials else ""


class Caller:
    """Makes calls of one API. Raises :class:`Refused` and :class:`Unreachable`; not for several threads."""

    def __init__(
        self, url: str, timeout_s: float = 30.0, session: requests.Session | None = None, login: Login | None = None
    ) -> None:
        """``url`` is the API's root such as http://127.0.0.1:8080, or several of one cluster with commas between.

        ``timeout_s`` bounds every single call to one of them. Raises Refused for what is no URL.
        """
        self.urls = [part.strip().rstrip("/") for part in url.split(",") if part.strip()] or [""]
        for part in self.urls:
            if not re.match(r"https?://[^/]", part):
                raise Refused(
                    0, f"{without_password(part) or 'nothing'} is no URL of an API: write it like http://127.0.0.1:8080"
                )
        self._timeout_s = timeout_s
        self._session = session
        self.login = login or Login()
        #: What the API said beside its answers that a user should know; eratos only. The caller empties it after it is shown.
        self.notices: list[str] = []

    def surroundings(self) -> tuple[str, str]:
        """Return the proxy that the first URL is asked through, empty: none, and the file of the authorities that count there."""
        import requests

        self._session = self._session or requests.Session()
        found = self._session.merge_environment_settings(self.urls[0], {}, False, self.login.ca_file or None, None)
        authorities = found["verify"] if isinstance(found["verify"], str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        return requests.utils.select_proxy(self.urls[0], found["proxies"]) or "", authorities

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
        return Refused(
            200, f"{without_password(self.urls[0])} answered {path} in another form than Marathon does: is it Marathon's API?"
        )

    def _call(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        answer = self._ask(method, path, params, body)
        try:
            return answer.json()
        except ValueError:
            raise self._strange(path) from None

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """``stream``: leave the body to come, however long that takes. ``headers`` are more than those of every request."""
        shown = {"Accept": "*/*" if stream else "application/json", **(headers or {})}
        query = {key: str(value).lower() if isinstance(value, bool) else value for key, value in (params or {}).items()}
        failures: list[Unreachable] = []
        for url in tuple(self.urls):
            # A change's answer is waited for: where it does not come, nobody knows whether it was made.
            others = url != self.urls[-1]
            connect_s = min(CONNECT_S, self._timeout_s) if others else self._timeout_s
            read_s = min(READ_S, self._timeout_s) if others and method == "GET" else self._timeout_s
            try:
                answer = self._once(url, method, path, query, body, (connect_s, None if stream else read_s), stream, shown)
            except Unreachable as failure:
                failures.append(failure)
                if failure.perhaps_made and method != "GET":
                    raise
                continue
            self.urls.remove(url)
            self.urls.insert(0, url)
            return answer
        if len(failures) == 1:
            raise failures[0]
        raise Unreachable("; ".join(dict.fromkeys(map(str, failures))), max(f.retry_after_s or 0 for f in failures) or None)

    def _once(
        self,
        url: str,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any,
        timeout: tuple[float, float | None],
        stream: bool,
        headers: Mapping[str, str],
    ) -> requests.Response:
        import requests

        if self._session is None:
            self._session = requests.Session()
        try:
            answer = self._session.request(
                method,
                url + path,
                params=query,
                json=body,
                headers=dict(headers),
                timeout=timeout,
                stream=stream,
                auth=self._show_login if self.login.header else None,
                verify=self.login.ca_file or None,
                cert=self.login.cert_file or None,
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise Refused(0, f"{without_password(url)} is no URL of an API: write it like http://127.0.0.1:8080") from None
        except requests.RequestException as error:
            raise _unreachable(
                method, f"no answer from {without_password(url)}: {_cause(error)}", made=not _never_sent(error)
            ) from error
        if answer.status_code in (429, 502, 503, 504):
            message, retry_after = _message(answer), answer.headers.get("Retry-After", "")
            made = answer.status_code != 429 and (answer.status_code != 503 or not _NOT_MADE.search(message))
            raise _unreachable(method, message, float(retry_after) if retry_after.isdigit() else None, made=made)
        if answer.headers.get("Eratos-Notice"):
            self.notices += answer.headers["Eratos-Notice"].split("; ")
        if not answer.ok:
            raise Refused(answer.status_code, _message(answer), _details(answer), _deployments(answer))
        return answer

    def _show_login(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As authentication, not as a header, which a .netrc file would take the place of.
        request.headers["Authorization"] = self.login.header
        return request


def _unreachable(method: str, message: str, retry_after_s: float | None = None, *, made: bool) -> Unreachable:
    if method == "GET" or not made:
        return Unreachable(message, retry_after_s)
    doubt = "" if "may still be made" in message else "; the change may have been made: look before you repeat it"
    return Unreachable(message + doubt, retry_after_s, perhaps_made=True)


def _never_sent(error: requests.RequestException) -> bool:
    """Return whether a request failed before anything of it left: nobody was there, or not to be found."""
    import requests
    import urllib3

    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    inner = error.args[0] if error.args else None
    return isinstance(getattr(inner, "reason", inner), urllib3.exceptions.NewConnectionError)


def without_password(url: str) -> str:
    """Return a URL without what it may hold of a password."""
    return re.sub(r"//[^/@]*@", "//", url)


def events_of(pieces: Iterator[bytes]) -> Iterator[tuple[str, Json]]:
    """Yield id and document of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    rest, event_id, data = b"", "", ""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            name, _, value = line.decode(errors="replace").rstrip("\r").partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                event_id = value
            elif name == "data":
                data += value
            elif not name and data:
                yield event_id, json.loads(data)
                data = ""


def pieces_of(answer: requests.Response) -> Iterator[bytes]:
    import requests

    with answer:
        try:
            yield from answer.iter_content(None)
        except requests.RequestException as error:
            url = "{0.scheme}://{0.netloc}".format(urlsplit(str(answer.url)))
            raise Unreachable(f"the log was cut short: the connection to {without_password(url)} was lost") from error


def _cause(error: requests.RequestException) -> str:
    """Say in a few words why a call got no answer; requests wraps the reason several times."""
    import requests

    if isinstance(error, requests.Timeout):
        return "it took too long"
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None) or cause.__cause__ or cause.__context__) and inner is not cause:
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return getattr(cause, "strerror", None) or str(cause)


def json_of(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(answer: requests.Response) -> str:
    said, parts = str(json_of(answer).get("message") or ""), urlsplit(answer.url)
    ours = answer.status_code == 404 and _OURS.match(parts.path)
    if said and not (ours and _NO_ADDRESS.match(said)):
        return said
    if ours:
        here = without_password(f"{parts.scheme}://{parts.netloc}")
        return f"{here} has no {parts.path}, which is eratos' own: this is Marathon, or an older eratos"
    url, _, path = answer.url.partition("/v2/")
    return f"{without_password(url)} answered HTTP {answer.status_code} {answer.reason} for /v2/{path}: is it Marathon's API?"


def _deployments(answer: requests.Response) -> Iterable[str]:
    found = json_of(answer).get("deployments")
    return [str(item["id"]) for item in found if isinstance(item, dict) and "id" in item] if isinstance(found, list) else ()


def _details(answer: requests.Response) -> Iterable[Problem]:
    details = json_of(answer).get("details")
    for detail in details if isinstance(details, list) else ():
        for error in detail.get("errors", ()):
            yield Problem(str(detail.get("path", "/")), str(error))
