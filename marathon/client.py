"""A client for Marathon's ``/v2`` API, as eratos, Marathon itself and anything compatible serve it.

Used by the command line and open to users' own programs. One method per call, plain JSON in and out; failures become
errors that say what to do. How a call is made, and to which of several schedulers, is in :mod:`.calls`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from eratos.common.names import LOG_POSITIONS

from . import ids
from .calls import Caller, Json, Login, Refused, Unreachable, events_of, json_of, pieces_of, without_password

#: What users' programs need of :mod:`.calls`, too.
__all__ = ["Login", "MarathonClient", "Refused", "Unreachable", "without_password"]

#: In one call, as an address has to stay short.
_APPS_ASKED: Final = 100

_DEPLOYMENT_ID: Final = "Marathon-Deployment-Id"


class MarathonClient(Caller):
    """Calls a Marathon-compatible API. Raises :class:`Refused` and :class:`Unreachable`; not for several threads."""

    def apps(self, **filters: str) -> list[Json]:
        """List the apps; ``filters`` are Marathon's: id, cmd, label, embed."""
        return list(self._part("apps", "/v2/apps", filters))

    def app(self, app_id: str) -> Json:
        return dict(self._part("app", _app(app_id)))

    def create_app(self, app: Mapping[str, Any]) -> Json:
        return self._object("POST", "/v2/apps", body=app)

    def put_app(
        self, app_id: str, app: Mapping[str, Any], *, partial: bool = True, force: bool = False, dry_run: bool = False
    ) -> Json:
        """Create or change an app; with ``partial`` what is not given stays as it is.

        ``dry_run``, as elsewhere: change nothing, and return what would be done. Marathon has that of groups alone, and makes a
        change of anything else all the same: :meth:`require_eratos` first.
        """
        return self._object("PUT", _app(app_id), {"partialUpdate": partial, "force": force} | _dry(dry_run), app)

    def put_apps(self, apps: list[Any], *, partial: bool = True, force: bool = False, dry_run: bool = False) -> Json:
        return self._object("PUT", "/v2/apps", {"partialUpdate": partial, "force": force} | _dry(dry_run), apps)

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

    def put_pod(self, pod_id: str, pod: Mapping[str, Any], *, force: bool = False, dry_run: bool = False) -> Json:
        """Create or change a pod, which is always given whole; returns as :meth:`create_pod`."""
        return self._deployed("PUT", _pod(pod_id), force, pod, dry_run=dry_run)

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

    def _deployed(self, method: str, path: str, force: bool, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        answer = self._ask(method, path, {"force": force} | _dry(dry_run), body)
        deployment_id = answer.headers.get(_DEPLOYMENT_ID)
        return dict(json_of(answer)) | ({"deploymentId": deployment_id} if deployment_id else {})

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
        query = {"stream": "stderr" if stderr else "stdout", "tail": tail, "follow": follow}
        query |= {"container": container} if container else {}
        return pieces_of(self._ask("GET", _logs(task_id), query, stream=True))

    def log_from(
        self, task_id: str, position: str = "", *, stderr: bool = False, tail: int = 100, container: str = ""
    ) -> tuple[Iterator[bytes], bool]:
        """Follow a task's log from a position on, without one from its last lines on.

        Return its pieces, and whether each line comes after its position and a space: an executor of an earlier version sends
        lines as they are, and knows of no positions. The first line is the one at the position, or, where that is gone, the next
        that is left. Otherwise as :meth:`logs`.
        """
        query: dict[str, Any] = {"stream": "stderr" if stderr else "stdout", "follow": True, "positions": True}
        query |= {"from": position} if position else {"tail": tail}
        query |= {"container": container} if container else {}
        answer = self._ask("GET", _logs(task_id), query, stream=True)
        return pieces_of(answer), LOG_POSITIONS in answer.headers

    def events(self, *, after: str = "", kinds: Iterable[str] = ()) -> Iterator[tuple[str, Json]]:
        """Follow what happens: open the stream of events and return each with its id as they come. Marathon's have no ids.

        ``after`` is the id of the last one that is known, which eratos goes on behind; ``kinds`` are the types wanted, none: all
        of Marathon's. Raises Unreachable, then too where the stream is cut off.
        """
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        answer = self._ask("GET", "/v2/events", {"event_type": list(kinds)}, stream=True, headers=headers)
        return events_of(pieces_of(answer))

    def tunnel_to(self, app_id: str) -> Json:
        """Return to which ready instance of an app a tunnel leads; eratos only. :mod:`.tunnels` opens them."""
        return self._object("GET", "/v2/tunnels/forward", {"app": app_id})

    def overview(self, *app_ids: str) -> Json:
        """Ask for agents, apps and instances in short, and for the event stream's position; eratos only. No id: all apps."""
        return self._object("GET", "/v2/overview", {"app": list(app_ids)})

    def group(self, group_id: str = "/") -> Json:
        return self._object("GET", _group(group_id))

    def put_group(self, group: Mapping[str, Any], *, force: bool = False, dry_run: bool = False) -> Json:
        return self._object("PUT", "/v2/groups", {"force": force} | _dry(dry_run), group)

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

    def require_eratos(self, what: str) -> None:
        """Raise Refused unless eratos answers; ``what`` needs it."""
        name = self.info().get("name")
        if name != "eratos":
            raise Refused(0, f"{what} needs eratos, and here answers {name or 'something without a name'}")

    def info(self) -> Json:
        return self._object("GET", "/v2/info")

    def alone(self, url: str, timeout_s: float) -> MarathonClient:
        """Return a client for one of the URLs, whatever answers at the others."""
        return MarathonClient(url, timeout_s, self._session, self.login)

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


def _dry(dry_run: bool) -> dict[str, bool]:
    return {"dryRun": True} if dry_run else {}


def _logs(task_id: str) -> str:
    return f"/v2/tasks/{quote(task_id, safe='')}/logs"


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
