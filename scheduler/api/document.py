"""``/openapi.json``: what FastAPI knows of the routes, and of each what it takes and answers.

The handlers read bodies themselves and answer with JSON of their own, so both stand here, by method and address; a test asks
every operation whether the document is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from eratos.marathon.app import App
from eratos.marathon.job import Job
from eratos.marathon.pod_parts import PodSpec

from .schemas import JOBS, NEED, OVERVIEWS, SCHEMAS, STREAMED, STRING, TIME, TUNNEL, Schema, list_of, object_of, ref

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_MEANINGS: Final[Mapping[int, str]] = {
    200: "Done.",
    201: "Created.",
    202: "It is ended, or will be; there is nothing to say.",
    204: "Done; there is nothing to say.",
    400: "What was sent is no JSON, or contradicts itself.",
    401: "Nobody knows these credentials, or there are none.",
    403: "The caller may not do this, or is a page of a foreign origin.",
    404: "What this is about does not exist.",
    405: "This address does not know the method, or only in another form.",
    408: "The body did not come in time.",
    409: "What there is stands in the way.",
    410: "It was there, and is gone.",
    413: "The body is too long.",
    414: "The address is too long.",
    415: "The body is not said to be JSON.",
    422: "The body or a parameter is not valid; each problem with its place.",
    429: "Too many requests: wait.",
    503: "There is no leader, or the store is away: try again.",
}
_ALWAYS: Final = (401, 403, 414, 429, 503)
_WITH_BODY: Final = (400, 408, 413, 415, 422)


class Operation(NamedTuple):
    """What an operation takes and answers."""

    answers: Mapping[int, Schema | None]  #: status of success -> JSON; None: no body
    body: Schema | None = None
    failures: tuple[int, ...] = ()  #: beside those of every operation
    also: Mapping[str, Schema] = {}  #: other forms of the answer by their media type


_DEPLOYED = {200: ref("DeploymentResult")}
_STEERED = Operation({200: object_of({"deploymentId": STRING})}, None, (404, 409))
_CHANGED = {200: {"anyOf": [ref("DeploymentResult"), ref("DeploymentSteps")]}}
_MOVES = object_of({"moves": list_of(ref("Move"))})
_KILLED = {200: {"anyOf": [ref("TaskList"), ref("DeploymentResult")]}}
_APPS = object_of({"apps": list_of(ref("AppInfo"))})
_TEXTS = {_TEXT: STRING}
_TARGETS = object_of({"targets": list_of(STRING), "labels": {"type": "object", "additionalProperties": STRING}})


def _both(method: str, below: str, operation: Operation) -> dict[tuple[str, str], Operation]:
    """Return an operation of the root group and of any other."""
    found = {(method, f"/v2/groups{below}"): operation}
    failures = tuple(dict.fromkeys((*operation.failures, 404, 422)))
    return found | {(method, f"/v2/groups/{{group_id}}{below}"): operation._replace(failures=failures)}


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("get", "/v2/tasks/{task_id}/logs"): Operation({}, None, (404, 410), _TEXTS),
    ("get", "/v2/logs"): Operation({}, None, (422,), {"text/event-stream": STREAMED}),
    ("get", "/v2/tasks"): Operation({200: ref("TaskList")}, None, (), _TEXTS),
    ("post", "/v2/tasks/delete"): Operation(_KILLED, ref("DeleteTasks"), (404, 409)),
    ("get", "/v2/apps/{app_id}/tasks"): Operation({200: ref("TaskList")}, None, (404,)),
    ("delete", "/v2/apps/{app_id}/tasks"): Operation(_KILLED, None, (400, 404, 409, 422)),
    ("delete", "/v2/apps/{app_id}/tasks/{task_id}"): Operation(
        {200: {"anyOf": [object_of({"task": ref("Task")}), ref("DeploymentResult")]}}, None, (400, 404, 409, 422)
    ),
    ("get", "/v1/jobs"): Operation({200: list_of(ref("JobInfo"))}, None, (422,)),
    ("post", "/v1/jobs"): Operation({200: ref("JobInfo"), 201: ref("JobInfo")}, ref("Job"), (409,)),
    ("get", "/v1/jobs/{job_id}"): Operation({200: ref("JobInfo")}, None, (404,)),
    ("put", "/v1/jobs/{job_id}"): Operation({200: ref("JobInfo")}, ref("JobUpdate"), (404, 409)),
    ("delete", "/v1/jobs/{job_id}"): Operation({200: ref("JobInfo")}, None, (404, 409)),
    ("get", "/v1/jobs/{job_id}/schedules"): Operation({200: list_of(ref("Schedule"))}, None, (404,)),
    ("post", "/v1/jobs/{job_id}/schedules"): Operation({201: ref("Schedule")}, ref("Schedule"), (404, 409)),
    ("get", "/v1/jobs/{job_id}/schedules/{schedule_id}"): Operation({200: ref("Schedule")}, None, (404,)),
    ("put", "/v1/jobs/{job_id}/schedules/{schedule_id}"): Operation({200: ref("Schedule")}, ref("ScheduleUpdate"), (404, 409)),
    ("delete", "/v1/jobs/{job_id}/schedules/{schedule_id}"): Operation({200: object_of({})}, None, (404, 409)),
    ("get", "/v1/jobs/{job_id}/runs"): Operation({200: list_of(ref("JobRun"))}, None, (404,)),
    ("post", "/v1/jobs/{job_id}/runs"): Operation({201: ref("JobRun")}, None, (404, 409, 422)),
    ("get", "/v1/jobs/{job_id}/runs/{run_id}"): Operation({200: ref("JobRun")}, None, (404,)),
    ("post", "/v1/jobs/{job_id}/runs/{run_id}/actions/stop"): Operation({200: object_of({})}, None, (404,)),
    ("get", "/v0/scheduled-jobs"): Operation({200: list_of(ref("JobInfo"))}),
    ("post", "/v0/scheduled-jobs"): Operation({200: ref("JobInfo"), 201: ref("JobInfo")}, ref("Job"), (409,)),
    ("get", "/v0/scheduled-jobs/{job_id}"): Operation({200: ref("JobInfo")}, None, (404,)),
    ("put", "/v0/scheduled-jobs/{job_id}"): Operation({200: ref("JobInfo")}, ref("JobUpdate"), (404, 409)),
    ("get", "/v2/needs"): Operation({200: object_of({"needs": list_of(NEED)})}),
    ("get", "/v2/explain/{app_id}"): Operation({200: ref("Explanation")}, None, (404,)),
    ("get", "/v2/apps"): Operation({200: _APPS}, None, (422,)),
    ("post", "/v2/apps"): Operation({200: ref("DeploymentSteps"), 201: ref("AppInfo")}, ref("App"), (409,)),
    ("put", "/v2/apps"): Operation(_CHANGED, list_of(ref("AppUpdate")), (409,)),
    ("patch", "/v2/apps"): Operation(_DEPLOYED, list_of(ref("AppUpdate")), (404, 409)),
    ("post", "/v2/apps/{app_id}/restart"): Operation(_DEPLOYED, None, (404, 409, 422)),
    ("get", "/v2/apps/{app_id}/versions"): Operation({200: object_of({"versions": list_of(STRING)})}, None, (404,)),
    ("get", "/v2/apps/{app_id}/versions/{version}"): Operation({200: ref("AppInfo")}, None, (404,)),
    ("get", "/v2/apps/{app_id}"): Operation(
        {200: {"anyOf": [object_of({"app": ref("AppInfo")}), object_of({"*": list_of(ref("AppInfo"))}), ref("Explanation")]}},
        None,
        (404,),
    ),
    ("put", "/v2/apps/{app_id}"): Operation(_CHANGED | {201: ref("DeploymentResult")}, ref("AppUpdate"), (404, 409)),
    ("patch", "/v2/apps/{app_id}"): Operation(_DEPLOYED, ref("AppUpdate"), (404, 409)),
    ("delete", "/v2/apps/{app_id}"): Operation(_DEPLOYED, None, (404, 409, 422)),
    ("get", "/v2/pods"): Operation({200: list_of(ref("Pod"))}),
    ("post", "/v2/pods"): Operation({200: ref("DeploymentSteps"), 201: ref("Pod")}, ref("Pod"), (409,)),
    ("get", "/v2/pods/::status"): Operation({200: list_of(ref("PodStatus"))}),
    ("get", "/v2/pods/{pod_id}::status"): Operation({200: ref("PodStatus")}, None, (404,)),
    ("get", "/v2/pods/{pod_id}::versions"): Operation({200: list_of(STRING)}, None, (404,)),
    ("get", "/v2/pods/{pod_id}::versions/{version}"): Operation({200: ref("Pod")}, None, (404,)),
    ("delete", "/v2/pods/{pod_id}::instances"): Operation({200: list_of(ref("PodInstance"))}, list_of(STRING), (404,)),
    ("delete", "/v2/pods/{pod_id}::instances/{instance_id}"): Operation({200: ref("PodInstance")}, None, (404,)),
    ("get", "/v2/pods/{pod_id}"): Operation({200: ref("Pod")}, None, (404,)),
    ("put", "/v2/pods/{pod_id}"): Operation({200: {"anyOf": [ref("Pod"), ref("DeploymentSteps")]}}, ref("Pod"), (400, 404, 409)),
    ("delete", "/v2/pods/{pod_id}"): Operation({202: None}, None, (404, 409)),
    **_both("get", "/apps", Operation({200: list_of(ref("AppInfo"))})),
    **_both("get", "/versions", Operation({200: list_of(STRING)})),
    **_both("get", "/versions/{version}", Operation({200: ref("GroupInfo")}, None, (404,))),
    **_both("get", "", Operation({200: ref("GroupInfo")})),
    **_both("post", "", Operation({201: ref("DeploymentResult")}, ref("GroupUpdate"), (404, 409))),
    **_both(
        "put",
        "",
        Operation(_CHANGED, ref("GroupUpdate"), (404, 409)),
    ),
    **_both("delete", "", Operation(_DEPLOYED, None, (404, 409, 422))),
    ("patch", "/v2/groups/{group_id}"): Operation({200: None}, ref("GroupPartialUpdate"), (404,)),
    ("get", "/v2/deployments"): Operation({200: list_of(ref("Deployment"))}),
    ("get", "/v2/deployments/{deployment_id}"): Operation({200: ref("Deployment")}, None, (404,)),
    ("delete", "/v2/deployments/{deployment_id}"): Operation(_DEPLOYED | {202: None}, None, (404, 409, 422)),
    **{("post", f"/v2/deployments/{{deployment_id}}/{what}"): _STEERED for what in ("pause", "resume", "promote")},
    ("get", "/v2/quotas"): Operation({200: object_of({"quotas": list_of(ref("Quota"))})}),
    ("get", "/v2/quotas/{group_id}"): Operation({200: ref("Quota")}, None, (404,)),
    ("put", "/v2/quotas/{group_id}"): Operation({200: ref("Quota")}, ref("QuotaUpdate"), (404,)),
    ("delete", "/v2/quotas/{group_id}"): Operation({200: ref("Quota")}, None, (404,)),
    ("get", "/v2/volumes"): Operation({200: object_of({"volumes": list_of(ref("PersistentVolumeInfo"))})}),
    ("get", "/v2/volumes/{volume_id}"): Operation({200: ref("PersistentVolumeInfo")}, None, (404,)),
    ("delete", "/v2/volumes/{volume_id}"): Operation({200: ref("PersistentVolumeInfo")}, None, (404, 409)),
    ("get", "/v2/moves"): Operation({200: _MOVES}),
    ("post", "/v2/moves"): Operation({200: _MOVES}, ref("MoveRequest"), (404, 409)),
    ("delete", "/v2/moves/{app_id}"): Operation({200: _MOVES}, None, (404, 409)),
    ("get", "/v2/drains"): Operation({200: object_of({"drains": list_of(ref("Drain"))})}),
    ("get", "/v2/drains/{host}"): Operation({200: ref("Drain")}, None, (404,)),
    ("put", "/v2/drains/{host}"): Operation({200: ref("Drain")}, ref("DrainUpdate"), (404,)),
    ("delete", "/v2/drains/{host}"): Operation({200: ref("Drain")}, None, (404,)),
    ("get", "/v2/queue"): Operation({200: ref("Queue")}),
    ("delete", "/v2/queue/{app_id}/delay"): Operation({204: None}, None, (404,)),
    ("get", "/v2/brake"): Operation({200: ref("Brake")}),
    ("delete", "/v2/brake"): Operation({200: ref("Brake")}),
    ("get", "/v2/events"): Operation({}, None, (405, 422), {"text/event-stream": STREAMED}),
    ("get", "/ping"): Operation({200: {"const": "pong"}, 204: None}, None, (), {_TEXT: STRING, "text/html": STRING}),
    ("get", "/v2/info"): Operation({200: ref("Info")}),
    ("get", "/v2/whoami"): Operation({200: ref("Caller")}),
    ("get", "/v2/overview"): Operation({200: ref("Overview")}, None, (404, 422)),
    ("get", "/v2/balancers"): Operation({200: ref("Balancers")}, None, (404, 422), {"text/event-stream": STREAMED}),
    ("get", "/v2/requests/{request_id}"): Operation({200: ref("ServedRequest")}),
    ("get", "/v2/usage"): Operation({200: ref("Usages")}, None, (404, 422), {"text/event-stream": STREAMED}),
    ("get", "/v2/tunnels/exec"): Operation({200: TUNNEL}, None, (404, 409)),
    ("get", "/v2/tunnels/forward"): Operation({200: TUNNEL}, None, (404, 409)),
    ("get", "/v2/leader"): Operation({200: ref("Leader")}, None, (404,)),
    ("delete", "/v2/leader"): Operation({200: ref("Message")}, None, (422,)),
    ("get", "/v2/plugins"): Operation({200: ref("Plugins")}),
    ("get", "/config"): Operation({200: ref("Config")}),
    ("get", "/logging"): Operation({200: ref("Loggers")}),
    ("post", "/logging"): Operation({200: ref("LoggerChange")}, ref("LoggerChange")),
    ("get", "/metrics"): Operation({200: ref("Metrics")}, None, (), _TEXTS),
    ("get", "/metrics/prometheus"): Operation({}, None, (), _TEXTS),
    ("get", "/v2/metrics/targets"): Operation({200: list_of(_TARGETS)}),
    ("get", "/v2/metrics/leader"): Operation({}, None, (), _TEXTS),
    ("get", "/v2/metrics/executors/{host}"): Operation({}, None, (404,), _TEXTS),
    ("get", "/v2/metrics/balancers/{name}"): Operation({}, None, (404,), _TEXTS),
}


def install(api: FastAPI) -> None:
    """Have ``/openapi.json`` say what each operation takes and answers."""

    def openapi() -> Schema:
        if api.openapi_schema is None:
            found = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
            api.openapi_schema = _completed(found)
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _completed(document: Schema) -> Schema:
    for path, methods in document["paths"].items():
        for method, shown in methods.items():
            _complete(shown, OPERATIONS[method, path], path)
    document["components"] = {"schemas": {**_of_jobs(), **_of_pods(), **_of_apps(), **SCHEMAS, **OVERVIEWS, **JOBS}}
    return document


def _complete(shown: Schema, operation: Operation, path: str) -> None:
    # A handler of two addresses has a parameter that only one of them has in it.
    shown["parameters"] = [item for item in shown.get("parameters", ()) if item["in"] == "path" or item["name"] != "group_id"]
    answers = {str(status): _answer(status, schema, operation.also) for status, schema in operation.answers.items()}
    if operation.also and "200" not in answers:
        answers["200"] = {"description": _MEANINGS[200], "content": _content(operation.also)}
    failures = (*_ALWAYS, *operation.failures, *(_WITH_BODY if operation.body is not None else ()))
    with_parameters = (422,) if shown["parameters"] else ()
    for status in sorted({*failures, *with_parameters}):
        answers[str(status)] = _answer(status, ref("Error"), {})
    shown["responses"] = answers
    if operation.body is not None:
        shown["requestBody"] = {"required": True, "content": {_JSON: {"schema": operation.body}}}


def _answer(status: int, schema: Schema | None, also: Mapping[str, Schema]) -> Schema:
    shown: Schema = {"description": _MEANINGS[status]}
    if schema is not None:
        shown["content"] = _content({_JSON: schema, **(also if status == 200 else {})})
    return shown


def _content(forms: Mapping[str, Schema]) -> Schema:
    return {kind: {"schema": schema} for kind, schema in forms.items()}


def _of_apps() -> dict[str, Schema]:
    """Return the schemas of apps and their parts. More fields are read than the model has: older spellings of the same."""
    whole = App.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs")
    # None is how the model has it.
    whole["properties"]["unreachableStrategy"] = {"anyOf": [ref("UnreachableStrategy"), {"const": "disabled"}]}
    # Ordinals of which nothing else is said are shown, and may be given, as true.
    parts["Extras"]["properties"]["ordinals"] = {"anyOf": [ref("Ordinals"), {"const": True}, {"type": "null"}]}
    parts["App"] = whole
    parts["AppUpdate"] = {**whole, "title": "AppUpdate", "required": []}
    return {name: _open(schema) for name, schema in parts.items()}


def _of_pods() -> dict[str, Schema]:
    whole = PodSpec.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs")
    parts["Scheduling"]["properties"]["unreachableStrategy"] = {"anyOf": [ref("UnreachableStrategy"), {"const": "disabled"}]}
    whole["properties"]["version"] = STRING
    parts["Pod"] = {**whole, "title": "Pod"}
    return {name: _open(schema) for name, schema in parts.items()}


def _of_jobs() -> dict[str, Schema]:
    """Return the schemas of jobs. What is read as an app's has no type here: the app's own fields say which."""
    whole = Job.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs")
    parts["Job"], parts["JobUpdate"] = whole, {**whole, "title": "JobUpdate", "required": ["run"]}
    parts["Schedule"]["properties"]["nextRunAt"] = TIME
    parts["ScheduleUpdate"] = {**parts["Schedule"], "title": "ScheduleUpdate", "required": ["cron"]}
    return {name: _open(schema) for name, schema in parts.items()}


def _open(schema: Any) -> Any:
    """Return a schema that says nothing of fields beyond its own."""
    if isinstance(schema, Mapping):
        return {key: _open(value) for key, value in schema.items() if (key, value) != ("additionalProperties", False)}
    return list(map(_open, schema)) if isinstance(schema, list) else schema
