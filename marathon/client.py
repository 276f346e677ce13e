"""A client for Marathon's ``/v2`` API, as eratos, Marathon itself and anything compatible serve it.

Used by the command line and open to users' own programs. One method per call, plain JSON in and out; failures become
errors that say what to do.

Of several schedulers each answers, followers through the leader. Given all of their URLs the client asks the one that
answered last, and goes on to the next where there is no answer. A change goes on only if it was certainly not made: else
it might be made twice, and that is the caller's to judge.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from eratos.common.errors import PermanentError, TemporaryError

from . import ids
from .errors import Problem

if TYPE_CHECKING:
    import requests  # what it imports takes longer than most commands; so it is imported with the first call

Json = dict[str, Any]

#: With several URLs, in seconds: a scheduler that is gone, or stands still, is left for the next one.
CONNECT_S: Final = 3.0
READ_S: Final = 10.0

#: In one call, as an address has to stay short.
_APPS_ASKED: Final = 100

#: What Marathon has not, and older versions of eratos not all of.
_OURS: Final = (
    *(
        "/v2/balancers",
        "/v2/brake",
        "/v2/drains",
        "/v2/explain",
        "/v2/logs",
        "/v2/metrics/",
        "/v2/moves",
        "/v2/needs",
        "/v2/overview",
        "/v2/tunnels/",
        "/v2/usage",
        "/v2/whoami",
    ),
    "/v1/jobs",
)
_DEPLOYMENT_ID: Final = "Marathon-Deployment-Id"

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


class MarathonClient:
    """Calls a Marathon-compatible API. Raises :class:`Refused` and :class:`Unreachable`; not for several threads."""

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

    def delete_app(self, app_id: str, *, force: bool = True, wipe: bool = False) -> Json:
        """Delete an app, as in Marathon whatever a deployment does with it unless ``force`` is False.

        ``wipe``: destroy its persistent volumes, which stay otherwise; eratos only.
        """
        return self._object("DELETE", _app(app_id), {"force": force} | ({"wipe": True} if wipe else {}))

    def restart(self, app_id: str, *, force: bool = False) -> Json:
        return self._object("POST", _app(app_id) + "/restart", {"force": force})

    def versions(self, app_id: str) -> list[str]:
        return list(self._part("versions", _app(app_id) + "/versions"))

    def version(self, app_id: str, version: str) -> Json:
        """Ask for an app as it was in a version."""
        return self._object("GET", f"{_app(app_id)}/versions/{quote(version)}")

    def put_version(self, app_id: str, version: str, *, force: bool = False) -> Json:
        """Make an app what it was in a version."""
        return self._object("PUT", _app(app_id), {"force": force}, {"version": version})

    def pods(self) -> list[Json]:
        return list(self._call("GET", "/v2/pods"))

    def pod(self, pod_id: str) -> Json:
        return self._object("GET", _pod(pod_id))

    def create_pod(self, pod: Mapping[str, Any], *, force: bool = False) -> Json:
        """Create a pod, and return its definition with ``deploymentId``, as the API says that in a header."""
        return self._deployed("POST", "/v2/pods", force, pod)

    def put_pod(self, pod_id: str, pod: Mapping[str, Any], *, force: bool = False) -> Json:
        """Create or change a pod, which is always given whole; returns as :meth:`create_pod`."""
        return self._deployed("PUT", _pod(pod_id), force, pod)

    def delete_pod(self, pod_id: str, *, force: bool = False) -> Json:
        """Delete a pod, and return the ``deploymentId``."""
        answer = self._ask("DELETE", _pod(pod_id), {"force": force})
        return {"deploymentId": answer.headers.get(_DEPLOYMENT_ID)}

    def pod_status(self, pod_id: str) -> Json:
        return self._object("GET", _pod(pod_id) + "::status")

    def pod_statuses(self) -> list[Json]:
        return list(self._call("GET", "/v2/pods/::status"))

    def pod_versions(self, pod_id: str) -> list[str]:
        return list(self._call("GET", _pod(pod_id) + "::versions"))

    def pod_version(self, pod_id: str, version: str) -> Json:
        """Ask for a pod as it was in a version."""
        return self._object("GET", f"{_pod(pod_id)}::versions/{quote(version)}")

    def kill_pod_instances(self, pod_id: str, instance_ids: list[str]) -> list[Json]:
        return list(self._call("DELETE", _pod(pod_id) + "::instances", body=instance_ids))

    def jobs(self, *embeds: str) -> list[Json]:
        """List the jobs of Metronome's API, with what ``embeds`` name beside each. Only eratos has it at the same URL."""
        return list(self._call("GET", "/v1/jobs", {"embed": list(embeds)}))

    def job(self, job_id: str, *embeds: str) -> Json:
        return self._object("GET", _job(job_id), {"embed": list(embeds)})

    def create_job(self, job: Mapping[str, Any]) -> Json:
        return self._object("POST", "/v1/jobs", body=job)

    def put_job(self, job_id: str, job: Mapping[str, Any]) -> Json:
        """Change a job; without schedules it keeps those that it has. Raises Refused where there is none."""
        return self._object("PUT", _job(job_id), body=job)

    def delete_job(self, job_id: str, *, stop: bool = False) -> Json:
        """Delete a job; with ``stop`` its runs are stopped, else it is refused while there are any."""
        return self._object("DELETE", _job(job_id), {"stopCurrentJobRuns": stop})

    def start_run(self, job_id: str) -> Json:
        return self._object("POST", _job(job_id) + "/runs")

    def run(self, job_id: str, run_id: str) -> Json:
        """Return a run; eratos remembers those that have ended for a while."""
        return self._object("GET", f"{_job(job_id)}/runs/{quote(run_id, safe='')}")

    def stop_run(self, job_id: str, run_id: str) -> None:
        self._call("POST", f"{_job(job_id)}/runs/{quote(run_id, safe='')}/actions/stop")

    def _deployed(self, method: str, path: str, force: bool, body: Mapping[str, Any]) -> Json:
        answer = self._ask(method, path, {"force": force}, body)
        deployment_id = answer.headers.get(_DEPLOYMENT_ID)
        return dict(_json(answer)) | ({"deploymentId": deployment_id} if deployment_id else {})

    def tasks(self, app_id: str | None = None) -> list[Json]:
        return list(self._part("tasks", _app(app_id) + "/tasks" if app_id else "/v2/tasks"))

    def kill_tasks(self, task_ids: list[str], *, scale: bool = False, wipe: bool = False) -> Json:
        """Kill tasks; ``wipe``: destroy their persistent volumes as well, so that what replaces them begins anew."""
        query = {"scale": scale} | ({"wipe": True} if wipe else {})
        return self._object("POST", "/v2/tasks/delete", query, {"ids": task_ids})

    def logs(
        self, task_id: str, *, stderr: bool = False, tail: int = 100, follow: bool = False, container: str = ""
    ) -> Iterator[bytes]:
        """Open a task's log and return its pieces as they come; with ``follow`` until the task ends. Only eratos has this.

        ``container`` names one of a pod's, whose instance's id goes as the task's; without it its first one is read.
        The pieces may be read on any thread. Raises Unreachable, then too where the log is cut short.
        """
        path = f"/v2/tasks/{quote(task_id, safe='')}/logs"
        query = {"stream": "stderr" if stderr else "stdout", "tail": tail, "follow": follow}
        query |= {"container": container} if container else {}
        return _pieces(self._ask("GET", path, query, stream=True))

    def events(self, *, after: str = "", kinds: Iterable[str] = ()) -> Iterator[tuple[str, Json]]:
        """Follow what happens: open the stream of events and return each with its id as they come. Marathon's have no ids.

        ``after`` is the id of the last one that is known, which eratos goes on behind; ``kinds`` are the types wanted, none: all
        of Marathon's. Raises Unreachable, then too where the stream is cut off.
        """
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        answer = self._ask("GET", "/v2/events", {"event_type": list(kinds)}, stream=True, headers=headers)
        return _events(_pieces(answer))

    def tunnel_to(self, app_id: str) -> Json:
        """Return to which ready instance of an app a tunnel leads; eratos only. :mod:`.tunnels` opens them."""
        return self._object("GET", "/v2/tunnels/forward", {"app": app_id})

    def overview(self, *app_ids: str) -> Json:
        """Ask for agents, apps and instances in short, and for the event stream's position; eratos only. No id: all apps."""
        return self._object("GET", "/v2/overview", {"app": list(app_ids)})

    def group(self, group_id: str = "/") -> Json:
        return self._object("GET", _group(group_id))

    def put_group(self, group: Mapping[str, Any], *, force: bool = False) -> Json:
        return self._object("PUT", "/v2/groups", {"force": force}, group)

    def delete_group(self, group_id: str, *, force: bool = False) -> Json:
        return self._object("DELETE", _group(group_id), {"force": force})

    def deployments(self) -> list[Json]:
        """Ask for the deployments under way, with what eratos alone says of them."""
        return list(self._call("GET", "/v2/deployments", {"embed": "eratos"}))

    def ended_deployments(self) -> list[Json]:
        """Ask for the last deployments that have ended; eratos only."""
        return list(self._call("GET", "/v2/deployments", {"ended": True}))

    def deployment(self, deployment_id: str) -> Json:
        """Ask for one deployment; where only Marathon answers, one that is under way. Raises Refused where there is none."""
        try:
            return self._object("GET", _deployment(deployment_id))
        except Refused as error:
            found = [item for item in self.deployments() if item.get("id") == deployment_id] if error.status in (404, 405) else []
            if not found:
                raise
            return dict(found[0])

    def roll_back(self, deployment_id: str) -> Json:
        """Have a deployment taken back by another one."""
        return self._object("DELETE", _deployment(deployment_id))

    def steer(self, deployment_id: str, action: str, *, force: bool = False) -> Json:
        """Have a deployment ``pause``, ``resume``, or ``promote`` its canaries; eratos only.

        ``force``: promote though the error budget of an app is spent.
        """
        return self._object("POST", f"{_deployment(deployment_id)}/{action}", {"force": True} if force else None)

    def cancel(self, deployment_id: str) -> None:
        """Have a deployment end where it is."""
        self._ask("DELETE", _deployment(deployment_id), {"force": True})

    def queue(self) -> list[Json]:
        return list(self._part("queue", "/v2/queue"))

    def explain(self, app_id: str) -> Json:
        """Ask why an app is not as it should be; eratos only."""
        try:
            return self._object("GET", "/v2/explain/" + quote(app_id.strip("/")))
        except Refused as error:
            if error.status != 404:
                raise
            # A scheduler of the version before has it behind the app's own address only.
            return self._object("GET", _app(app_id) + "/explain")

    def needs(self) -> list[Json]:
        """Ask who requires whom; eratos only."""
        return list(self._part("needs", "/v2/needs"))

    def quotas(self) -> list[Json]:
        """Ask for all quotas; eratos only."""
        return list(self._part("quotas", "/v2/quotas"))

    def quota(self, group_id: str) -> Json:
        return self._object("GET", _quota(group_id))

    def put_quota(self, group_id: str, limits: Mapping[str, Any]) -> Json:
        """Bound ``instances``, ``cpus``, ``mem`` and ``disk`` (MiB) of a group; what is left out or None is not bounded."""
        return self._object("PUT", _quota(group_id), body=limits)

    def delete_quota(self, group_id: str) -> Json:
        return self._object("DELETE", _quota(group_id))

    def volumes(self) -> list[Json]:
        """Ask for all persistent volumes; eratos only."""
        return list(self._part("volumes", "/v2/volumes"))

    def delete_volume(self, volume_id: str, *, force: bool = False) -> Json:
        """Have a volume destroyed that nobody uses; with ``force`` it is forgotten although its host does not answer."""
        return self._object("DELETE", "/v2/volumes/" + quote(volume_id, safe=""), {"force": force})

    def moves(self) -> list[Json]:
        """Ask which instances are being moved with their volumes; eratos only."""
        return list(self._part("moves", "/v2/moves"))

    def move(self, *, app: str = "", instance: str = "", to: str = "", wipe: bool = False) -> list[Json]:
        """Have an app's only instance with volumes, or the one named, moved to a host with copies of these; eratos only.

        Without ``to`` it goes wherever there is room. ``wipe``: the old volumes are destroyed once it is ready.
        """
        named = {"app": app, "instance": instance, "to": to}
        body = {**{field: value for field, value in named.items() if value}, "wipe": wipe}
        return list(self._object("POST", "/v2/moves", body=body)["moves"])

    def cancel_moves(self, app: str) -> list[Json]:
        """Have the instances of an app that are being moved stay, or come back; eratos only."""
        return list(self._object("DELETE", "/v2/moves/" + quote(app.strip("/"), safe=""))["moves"])

    def drain(self, host: str, deadline_s: int | None = None) -> Json:
        """Have nothing more launched on a host, and what can move replaced elsewhere; eratos only.

        After ``deadline_s`` seconds what is left is stopped; 0: never; None: never, or as it was said before.
        """
        return self._object("PUT", _drain(host), body={} if deadline_s is None else {"deadlineSeconds": deadline_s or None})

    def drained(self, host: str) -> Json:
        """Ask for the drain of a host, and what is still there."""
        return self._object("GET", _drain(host))

    def undrain(self, host: str) -> Json:
        return self._object("DELETE", _drain(host))

    def brake(self) -> Json:
        """Ask for the disaster brake; eratos only."""
        return self._object("GET", "/v2/brake")

    def release_brake(self) -> Json:
        return self._object("DELETE", "/v2/brake")

    def info(self) -> Json:
        return self._object("GET", "/v2/info")

    def alone(self, url: str, timeout_s: float) -> MarathonClient:
        """Return a client for one of the URLs, whoever answers at the others."""
        return MarathonClient(url, timeout_s, self._session, self.login)

    def surroundings(self) -> tuple[str, str]:
        """Return the proxy that the first URL is asked through, empty: none, and the file of the authorities that count there."""
        import requests

        self._session = self._session or requests.Session()
        found = self._session.merge_environment_settings(self.urls[0], {}, False, self.login.ca_file or None, None)
        authorities = found["verify"] if isinstance(found["verify"], str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        return requests.utils.select_proxy(self.urls[0], found["proxies"]) or "", authorities

    def clock(self) -> str:
        """Ask ``/ping``, which asks nobody who they are, and return the moment that the answer names (RFC 9110, Date)."""
        return str(self._ask("GET", "/ping").headers.get("Date", ""))

    def who_am_i(self) -> Json:
        """Ask for whom the API takes this client; eratos only."""
        return self._object("GET", "/v2/whoami")

    def balancers(self) -> list[Json]:
        """Ask what each balancer serves, leaves out and counts; eratos only."""
        return list(self._part("balancers", "/v2/balancers"))

    def request(self, request_id: str) -> Json:
        """Ask who served a request, by its id; eratos only."""
        return self._object("GET", "/v2/requests/" + quote(request_id, safe=""))

    def usage(self, *app_ids: str) -> list[Json]:
        """Ask what the instances of apps take of CPU and memory, none: of all; eratos only."""
        return list(self._part("tasks", "/v2/usage", {"app": list(app_ids)}))

    def rotation(self, app_ids: Iterable[str]) -> list[Json]:
        """Ask where balancers do not send to all ready instances of apps; eratos only."""
        found: list[Json] = []
        left = list(app_ids)
        while left:
            some, left = left[:_APPS_ASKED], left[_APPS_ASKED:]
            found += self._object("GET", "/v2/balancers", {"app": some}).get("rotation") or ()
        return found

    def metrics_targets(self) -> list[Json]:
        """Ask for all there is to scrape, as Prometheus' ``http_sd_configs`` do; eratos only."""
        return list(self._call("GET", "/v2/metrics/targets"))

    def metrics(self, path: str) -> str:
        """Ask for what a part counts, by the path of one of the targets, in Prometheus' text."""
        return self._ask("GET", path, headers={"Accept": "text/plain"}).text

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


def _events(pieces: Iterator[bytes]) -> Iterator[tuple[str, Json]]:
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


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    import requests

    with answer:
        try:
            yield from answer.iter_content(None)
        except requests.RequestException as error:
            url = "{0.scheme}://{0.netloc}".format(urlsplit(str(answer.url)))
            raise Unreachable(f"the log was cut short: the connection to {without_password(url)} was lost") from error


def _app(app_id: str) -> str:
    if not app_id.strip("/"):
        raise Refused(0, f"'{app_id}' names no app: give its id, such as /shop/cart")
    # What Marathon reserves as a last name it has no app of; eratos knows such ids of before by their encoded slashes.
    return "/v2/apps/" + quote(app_id if ids.reserved(app_id) else app_id.strip("/"), safe="" if ids.reserved(app_id) else "/")


def _job(job_id: str) -> str:
    if not job_id.strip("/"):
        raise Refused(0, f"'{job_id}' names no job: give its id, such as shop.backup")
    return "/v1/jobs/" + quote(job_id, safe="")


def _pod(pod_id: str) -> str:
    if not pod_id.strip("/"):
        raise Refused(0, f"'{pod_id}' names no pod: give its id, such as /shop/cart")
    return "/v2/pods/" + quote(pod_id.strip("/"))


def _deployment(deployment_id: str) -> str:
    return "/v2/deployments/" + quote(deployment_id, safe="")


def _drain(host: str) -> str:
    return "/v2/drains/" + quote(host, safe="")


def _quota(group_id: str) -> str:
    return "/v2/quotas/" + quote("/" + group_id.strip("/"), safe="")


def _group(group_id: str) -> str:
    return ("/v2/groups/" + quote(group_id.strip("/"))).rstrip("/")


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


def _json(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(answer: requests.Response) -> str:
    if said := _json(answer).get("message"):
        return str(said)
    parts = urlsplit(answer.url)
    if answer.status_code == 404 and parts.path.startswith(_OURS):
        here = without_password(f"{parts.scheme}://{parts.netloc}")
        return f"{here} has no {parts.path}, which is eratos' own: this is Marathon, or an older eratos"
    url, _, path = answer.url.partition("/v2/")
    return f"{without_password(url)} answered HTTP {answer.status_code} {answer.reason} for /v2/{path}: is it Marathon's API?"


def _deployments(answer: requests.Response) -> Iterable[str]:
    found = _json(answer).get("deployments")
    return [str(item["id"]) for item in found if isinstance(item, dict) and "id" in item] if isinstance(found, list) else ()


def _details(answer: requests.Response) -> Iterable[Problem]:
    details = _json(answer).get("details")
    for detail in details if isinstance(details, list) else ():
        for error in detail.get("errors", ()):
            yield Problem(str(detail.get("path", "/")), str(error))
