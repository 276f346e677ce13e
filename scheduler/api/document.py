"""``/openapi.json``: what FastAPI knows of the routes, and of each what it takes and answers.

The handlers read bodies themselves and answer with JSON of their own, so both stand here, by method and address; a test asks
every operation whether the document tells the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from eratos.marathon.app import App
from eratos.marathon.bounds import NUMBER_MAX
from eratos.marathon.job import Job
from eratos.marathon.pod_parts import PodSpec

Schema = dict[str, Any]

_STRING: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_INTEGER: Final[Schema] = {"type": "integer"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_ANYTHING: Final[Schema] = {}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}, **more: Any) -> Schema:
    shown: Schema = {"type": "object", "properties": {**required, **optional}}
    return shown | ({"required": list(required)} if required else {}) | more


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


#: Of a stream each event is described, as it is read: its lines by name.
_STREAMED = _object({}, {"event": _STRING, "id": _STRING, "data": _STRING, "retry": _INTEGER})
_ACTION = _object(
    {"action": _STRING}, {"app": _or_null(_STRING), "pod": _or_null(_STRING), "readinessCheckResults": _list(_ANYTHING)}
)
_STEP = _object({"actions": _list(_ACTION)})
_EFFECT = _object({"version": _or_null(_STRING), "starts": _INTEGER, "stops": _INTEGER, "keeps": _INTEGER})
_GATE = _object(
    {"requests": _INTEGER, "failed": _INTEGER, "answerMs": _NUMBER, "missing": _STRING, "overdue": _BOOLEAN},
)
_PROGRESS = _object(
    {"begunAt": _TIME},
    {
        **{"deadline": _TIME, "instancesLeft": _map(_INTEGER), "waiting": _map(_list(_STRING)), "paused": _BOOLEAN},
        **{"newInstancesAtMost": _map(_INTEGER), "atGateSince": _map(_TIME), "gateFigures": _map(_GATE)},
        **{"trafficOfNew": _map(_INTEGER), "rollsBack": _STRING, "cause": _STRING},
        **{"endedAt": _TIME, "outcome": _STRING, "reason": _STRING},
    },
)
_FUNNEL = _list(_object({"reason": _STRING, "declined": _INTEGER, "processed": _INTEGER}))
_STATS = _object({"stats": _object({"counts": _map(_INTEGER)}, {"lifeTime": _map(_NUMBER)})})
_OF_APP: Final[Mapping[str, Schema]] = {
    "executor": _STRING,
    "versionInfo": _object({"lastScalingAt": _TIME, "lastConfigChangeAt": _TIME}),
    **dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "tasksWanted"), _INTEGER),
    "deployments": _list(_object({"id": _STRING})),
    "tasks": _list(_ref("Task")),
    "taskStats": _map(_STATS),
    "readinessCheckResults": _list(_ANYTHING),
    "lastTaskFailure": _object(
        dict.fromkeys(("appId", "host", "slaveId", "message", "state", "taskId", "version"), _STRING) | {"timestamp": _TIME}
    ),
}

_NEED: Final = _object(
    {
        **dict.fromkeys(("app", "name", "of", "kind", "variable", "onChange"), _STRING),
        **{"atLeast": _INTEGER, "wait": _BOOLEAN, "outdated": _INTEGER},
    },
    {"ready": _or_null(_INTEGER)},
)

_AUTOSCALE: Final = _object(
    {
        **{"mode": {"enum": ["act", "advise"]}, **dict.fromkeys(("min", "max", "instances", "wanted"), _INTEGER)},
        **{"measured": _map(_object({"value": _NUMBER, "target": _NUMBER})), "missing": _STRING, "message": _STRING},
        "until": _or_null(_TIME),
        "last": _or_null(_object({"at": _TIME, "from": _INTEGER, "to": _INTEGER, "message": _STRING, "made": _BOOLEAN})),
    }
)
_LOCAL_VOLUME: Final = _object(dict.fromkeys(("runSpecId", "containerPath", "persistenceId"), _STRING))
_TUNNEL: Final = _object(dict.fromkeys(("app", "task", "host"), _STRING))

_USED: Final = _object({"instances": _INTEGER, "cpus": _NUMBER, "mem": _INTEGER, "disk": _INTEGER})
_LEFT_THERE: Final = _object({"task": _STRING, "app": _STRING, "state": {"enum": ["moving", "staying", "stopping"]}})
_LEFT: Final = _object({}, {"instances": _INTEGER, "cpus": _NUMBER, "mem": _INTEGER, "disk": _INTEGER})
_WHOLE: Final = _or_null({"type": "integer", "minimum": 0, "maximum": NUMBER_MAX})
_LIMITS: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(("instances", "mem", "disk"), _WHOLE),
    "cpus": _or_null({"type": "number", "minimum": 0, "maximum": NUMBER_MAX}),
}

#: Beside those of apps, which come from their model.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": _object(
        {"message": _STRING},
        {"details": _list(_object({"path": _STRING, "errors": _list(_STRING)})), "deployments": _list(_object({"id": _STRING}))},
    ),
    "Message": _object({"message": _STRING}),
    "DeploymentResult": _object({"version": _STRING, "deploymentId": _STRING}),
    "DeploymentSteps": _object({"steps": _list(_STEP), "eratos": _object({"apps": _map(_EFFECT), "lockedBy": _map(_STRING)})}),
    "Deployment": _object(
        {"id": _STRING, "version": _STRING, "affectedApps": _list(_STRING), "affectedPods": _list(_STRING)},
        {
            # Of one that has ended there are none.
            **{"steps": _list(_STEP), "currentActions": _list(_ACTION), "currentStep": _INTEGER, "totalSteps": _INTEGER},
            "eratos": _PROGRESS,
        },
    ),
    "AppInfo": {"allOf": [_ref("App"), _object({}, _OF_APP)]},
    "Task": _object(
        {
            **dict.fromkeys(("id", "appId", "host", "slaveId", "state", "version", "role"), _STRING),
            **{
                "ports": _list(_INTEGER),
                "servicePorts": _list(_INTEGER),
                "localVolumes": _list(_LOCAL_VOLUME),
                "stagedAt": _TIME,
            },
            "ipAddresses": _list(_object({"ipAddress": _STRING, "protocol": {"enum": ["IPv4", "IPv6"]}})),
            "healthCheckResults": _list(_ref("HealthCheckResult")),
        },
        {"startedAt": _TIME, "region": _STRING, "zone": _STRING, "eratos": _object({"ordinal": _INTEGER, "name": _STRING})},
    ),
    "HealthCheckResult": _object(
        {"alive": _BOOLEAN, "instanceId": _STRING},
        {
            **dict.fromkeys(("firstSuccess", "lastSuccess", "lastFailure"), _TIME),
            **{"consecutiveFailures": _INTEGER, "lastFailureCause": _STRING},
        },
    ),
    "TaskList": _object({"tasks": _list(_ref("Task"))}),
    "DeleteTasks": _object({"ids": _list(_STRING)}),
    "GroupInfo": _object(
        {
            **{"id": _STRING, "apps": _list(_ref("AppInfo")), "groups": _list(_ref("GroupInfo")), "pods": _list(_ref("Pod"))},
            **{"dependencies": _list(_STRING), "version": _STRING, "enforceRole": _BOOLEAN},
        }
    ),
    "GroupUpdate": _object(
        {},
        {
            **{"id": _STRING, "apps": _list(_ref("App")), "pods": _list(_ref("Pod")), "groups": _list(_ref("GroupUpdate"))},
            **{"dependencies": _list(_STRING), "scaleBy": {"type": "number", "minimum": 0}},
        },
    ),
    "GroupPartialUpdate": _object({}, {"enforceRole": {"enum": [False, None]}}),
    "PodStatus": _object(
        {
            **{"id": _STRING, "spec": _ref("Pod"), "status": {"enum": ["DEGRADED", "STABLE", "TERMINAL"]}},
            **{"instances": _list(_ref("PodInstanceStatus")), "terminationHistory": _list(_map(_ANYTHING))},
            **dict.fromkeys(("statusSince", "lastUpdated", "lastChanged"), _TIME),
        },
        {"message": _STRING},
    ),
    "PodInstanceStatus": _object(
        {
            "id": _STRING,
            "status": {"enum": ["PENDING", "STAGING", "STABLE", "DEGRADED", "TERMINAL"]},
            "role": _STRING,
            **dict.fromkeys(("statusSince", "lastUpdated", "lastChanged"), _TIME),
        },
        {
            **dict.fromkeys(("agentHostname", "agentId", "agentRegion", "agentZone", "message", "specReference"), _STRING),
            "resources": _map(_NUMBER),
            "networks": _list(_object({}, {"name": _STRING, "addresses": _list(_STRING)})),
            "containers": _list(_map(_ANYTHING)),
            "localVolumes": _list(_ANYTHING),
        },
    ),
    "PodInstance": _object(
        {
            **{"instanceId": _object({"idString": _STRING}), "state": _map(_ANYTHING), "runSpecVersion": _STRING},
            "unreachableStrategy": _ANYTHING,
        },
        {"agentInfo": _map(_ANYTHING)},
    ),
    "Queue": _object({"queue": _list(_ref("QueueItem"))}),
    "QueueItem": _object(
        {
            **{"count": _INTEGER, "role": _STRING, "since": _TIME},
            "delay": _object({"timeLeftSeconds": _INTEGER, "overdue": _BOOLEAN}),
            "processedOffersSummary": _object(
                {
                    **{"processedOffersCount": _INTEGER, "unusedOffersCount": _INTEGER},
                    **{"rejectSummaryLastOffers": _FUNNEL, "rejectSummaryLaunchAttempt": _FUNNEL},
                },
                dict.fromkeys(("lastUsedOfferAt", "lastUnusedOfferAt"), _TIME),
            ),
            "waiting": _object({"reason": _or_null(_STRING), "message": _STRING}),
        },
        {
            **{"app": _ref("AppInfo"), "pod": _ref("Pod")},
            "lastUnusedOffers": _list(
                _object({"offer": _ANYTHING, "reason": _list(_STRING), "timestamp": _TIME}, {"detail": _STRING})
            ),
        },
    ),
    "Info": _object(
        {"name": _STRING, "version": _STRING},
        {
            **{"buildref": _STRING, "elected": _BOOLEAN, "leader": _or_null(_STRING), "frameworkId": _or_null(_STRING)},
            **dict.fromkeys(("marathon_config", "zookeeper_config", "http_config"), _map(_ANYTHING)),
        },
    ),
    "Leader": _object({"leader": _STRING}),
    "Plugins": _object({"plugins": _list(_ANYTHING)}),
    "Config": _object({"eratos": _map(_ANYTHING)}),
    "Loggers": _map(_STRING),
    "LoggerChange": _object(
        {"logger": _STRING, "level": {"enum": ["trace", "debug", "info", "warn", "error"]}},
        {"durationSeconds": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}},
    ),
    "Metrics": _object(
        {
            **{"version": _STRING, "gauges": _map(_object({"value": _NUMBER})), "counters": _map(_object({"count": _NUMBER}))},
            **dict.fromkeys(("histograms", "meters", "timers"), _map(_ANYTHING)),
        }
    ),
    "Brake": _object(
        {
            **{"engaged": _BOOLEAN, "since": _or_null(_TIME), "reason": _STRING, "lost": _list(_ANYTHING)},
            "unknownTasks": _list(_STRING),
        }
    ),
    "Explanation": _object(
        {"app": _STRING, "version": _STRING, "wanted": _INTEGER, "reasons": _list(_ANYTHING), "quotas": _list(_ref("Quota"))},
        {
            "autoscale": _or_null(_AUTOSCALE),
            # Of an app with one instance on each host.
            "hosts": _object(
                {"without": _list(_object(dict.fromkeys(("host", "reason", "message"), _STRING))), "more": _INTEGER},
            ),
            # Of an app with ordinals.
            "ordinals": _object(
                {
                    "notReady": _list(_object({"ordinal": _INTEGER, **dict.fromkeys(("reason", "message"), _STRING)})),
                    "more": _INTEGER,
                },
            ),
        },
    ),
    "Drain": _object(
        {**dict.fromkeys(("host", "by"), _STRING), "since": _TIME, "left": _list(_LEFT_THERE), "empty": _BOOLEAN},
        {"deadline": _TIME},
    ),
    "DrainUpdate": _object({}, {"deadlineSeconds": _or_null(_INTEGER)}),
    "Quota": _object({"group": _STRING, "used": _USED, "left": _LEFT, **_LIMITS}, {"apps": _map(_USED)}),
    "PersistentVolumeInfo": _object(
        {
            **dict.fromkeys(("id", "appId", "containerPath", "host", "agentId", "message"), _STRING),
            **{"size": _INTEGER, "away": _BOOLEAN, "createdAt": _TIME, "unusedSince": _or_null(_TIME)},
            **{"use": {"enum": ["used", "waiting", "unused", "left", "deleting", "destroyed"]}},
            **dict.fromkeys(("instanceId", "taskId"), _or_null(_STRING)),
        }
    ),
    "QuotaUpdate": _object({}, _LIMITS, minProperties=1),
}

_AMOUNTS = _object({"cpus": _NUMBER, "mem": _NUMBER, "ports": _INTEGER})
_PLACE = _object(
    dict.fromkeys(("id", "host", "region", "zone"), _STRING),
    {
        **{"attributes": _map(_STRING), "used": _AMOUNTS, "free": _or_null(_AMOUNTS)},
        "leftAlone": _object({"until": _TIME, "startsFailedOf": _list(_STRING)}),
        "maintenance": _object({"begin": _TIME}),
        "drain": _object({"since": _TIME, "by": _STRING}, {"deadline": _TIME}),
    },
)
_CONDITION: Final[Schema] = {"enum": ["launching", "unready", "ready", "unhealthy", "stopping", "unreachable"]}
_OVERVIEW_TASK = _object(
    {**dict.fromkeys(("id", "agent", "version"), _STRING), "condition": _CONDITION, "since": _TIME, "ports": _list(_INTEGER)},
    {"note": _STRING},
)
_OVERVIEW_APP = _object(
    {
        **{"id": _STRING, "version": _STRING, "instances": _INTEGER, "cpus": _NUMBER, "mem": _NUMBER, "labels": _map(_STRING)},
        **{"waiting": _INTEGER, "atRest": _BOOLEAN, "tasks": _list(_OVERVIEW_TASK)},
    },
    {
        **dict.fromkeys(("deployment", "why", "deploymentFailed", "notBalanced"), _STRING),
        **dict.fromkeys(("deleted", "failing", "pod", "perHost"), _BOOLEAN),
        "lastFailure": _object(dict.fromkeys(("taskId", "state", "message", "host"), _STRING) | {"at": _TIME}),
    },
)
_SERVER = _object(
    {"id": _STRING},
    dict.fromkeys(("address", "status", "zone"), _STRING)
    | dict.fromkeys(("requests", "weight", "rate", "failed", "answer_ms", "answered", "broken"), _INTEGER),
)
_BALANCER = _object(
    {
        **{"name": _STRING, "trouble": _STRING},
        "services": _list(_object({"service": _STRING, "app": _or_null(_STRING), "servers": _list(_SERVER)})),
    },
    {
        **dict.fromkeys(("reloads", "updates", "refusals", "oldProcesses"), _or_null(_INTEGER)),
        **{"lastReason": _STRING, "held": _list(_STRING), "leftOut": _list(_STRING)},
        **{"zone": _STRING, "zonePolicy": _STRING},
    },
)
#: What the dashboard asks, beside Marathon's API.
OVERVIEWS: Final[Mapping[str, Schema]] = {
    "Caller": _object({"name": _STRING, "roles": _list(_STRING)}),
    "Overview": _object(
        {
            **{"position": _STRING, "earlier": _STRING, "agents": _list(_PLACE), "apps": _list(_OVERVIEW_APP)},
            "scheduler": _object(
                {"frameworkId": _or_null(_STRING), "master": _or_null(_STRING), "connected": _BOOLEAN, "reason": _STRING}
            ),
        },
        {"brake": _ref("Brake"), "consul": _object({"trouble": _STRING})},
    ),
    "Balancers": _object({"balancers": _list(_BALANCER)}),
}

_RUN_TASK = _object(
    {
        **dict.fromkeys(("id", "status", "host", "message"), _STRING),
        **{"startedAt": _or_null(_TIME), "completedAt": _or_null(_TIME), "exitCode": _or_null(_INTEGER)},
    }
)
_FINISHED_RUN = _object(
    {
        **{"id": _STRING, "createdAt": _TIME, "finishedAt": _TIME, "scheduledAt": _or_null(_TIME), "message": _STRING},
        **{"tries": _INTEGER, "tasks": _list(_RUN_TASK)},
    }
)
_SUMMARY: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(("successCount", "failureCount", "missedCount"), _INTEGER),
    **dict.fromkeys(("lastSuccessAt", "lastFailureAt", "lastMissedAt"), _or_null(_TIME)),
}
_MISSED = _object({"scheduledAt": _TIME, "scheduleId": _STRING, "reason": _STRING})
#: Of Metronome's API, beside the schemas of jobs, which come from their model.
JOBS: Final[Mapping[str, Schema]] = {
    "JobRun": _object(
        {
            **{"id": _STRING, "jobId": _STRING, "status": {"enum": ["INITIAL", "STARTING", "ACTIVE", "SUCCESS", "FAILED"]}},
            **{"createdAt": _TIME, "completedAt": _or_null(_TIME), "scheduledAt": _or_null(_TIME), "message": _STRING},
            **{"missed": _BOOLEAN, "tries": _INTEGER, "tasks": _list(_RUN_TASK)},
        }
    ),
    "JobHistorySummary": _object(_SUMMARY),
    "JobHistory": _object(
        {
            **_SUMMARY,
            **dict.fromkeys(("successfulFinishedRuns", "failedFinishedRuns"), _list(_FINISHED_RUN)),
            "missed": _list(_MISSED),
        }
    ),
    "JobInfo": {
        "allOf": [
            _ref("Job"),
            _object(
                {},
                {
                    **{"activeRuns": _list(_ref("JobRun")), "schedules": _list(_ref("Schedule"))},
                    **{"history": _ref("JobHistory"), "historySummary": _ref("JobHistorySummary")},
                },
            ),
        ]
    },
}

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_MEANINGS: Final[Mapping[int, str]] = {
    200: "Done.",
    201: "Created.",
    202: "It is ended, or will be; there is nothing to say.",
    204: "Done; there is nothing to say.",
    400: "What was sent is no JSON, or contradicts itself.",
    401: "Nobody knows these credentials, or there are none.",
    403: "Whoever asks may not do this, or is a page of a foreign origin.",
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


_DEPLOYED = {200: _ref("DeploymentResult")}
_STEERED = Operation({200: _object({"deploymentId": _STRING})}, None, (404, 409))
_CHANGED = {200: {"anyOf": [_ref("DeploymentResult"), _ref("DeploymentSteps")]}}
_KILLED = {200: {"anyOf": [_ref("TaskList"), _ref("DeploymentResult")]}}
_APPS = _object({"apps": _list(_ref("AppInfo"))})
_TEXTS = {_TEXT: _STRING}
_TARGETS = _object({"targets": _list(_STRING), "labels": {"type": "object", "additionalProperties": _STRING}})


def _both(method: str, below: str, operation: Operation) -> dict[tuple[str, str], Operation]:
    """Return an operation of the root group and of any other."""
    found = {(method, f"/v2/groups{below}"): operation}
    failures = tuple(dict.fromkeys((*operation.failures, 404, 422)))
    return found | {(method, f"/v2/groups/{{group_id}}{below}"): operation._replace(failures=failures)}


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("get", "/v2/tasks/{task_id}/logs"): Operation({}, None, (404, 410), _TEXTS),
    ("get", "/v2/logs"): Operation({}, None, (422,), {"text/event-stream": _STREAMED}),
    ("get", "/v2/tasks"): Operation({200: _ref("TaskList")}, None, (), _TEXTS),
    ("post", "/v2/tasks/delete"): Operation(_KILLED, _ref("DeleteTasks"), (404, 409)),
    ("get", "/v2/apps/{app_id}/tasks"): Operation({200: _ref("TaskList")}, None, (404,)),
    ("delete", "/v2/apps/{app_id}/tasks"): Operation(_KILLED, None, (400, 404, 409, 422)),
    ("delete", "/v2/apps/{app_id}/tasks/{task_id}"): Operation(
        {200: {"anyOf": [_object({"task": _ref("Task")}), _ref("DeploymentResult")]}}, None, (400, 404, 409, 422)
    ),
    ("get", "/v1/jobs"): Operation({200: _list(_ref("JobInfo"))}, None, (422,)),
    ("post", "/v1/jobs"): Operation({201: _ref("JobInfo")}, _ref("Job"), (409,)),
    ("get", "/v1/jobs/{job_id}"): Operation({200: _ref("JobInfo")}, None, (404,)),
    ("put", "/v1/jobs/{job_id}"): Operation({200: _ref("JobInfo")}, _ref("JobUpdate"), (404, 409)),
    ("delete", "/v1/jobs/{job_id}"): Operation({200: _ref("JobInfo")}, None, (404, 409)),
    ("get", "/v1/jobs/{job_id}/schedules"): Operation({200: _list(_ref("Schedule"))}, None, (404,)),
    ("post", "/v1/jobs/{job_id}/schedules"): Operation({201: _ref("Schedule")}, _ref("Schedule"), (404, 409)),
    ("get", "/v1/jobs/{job_id}/schedules/{schedule_id}"): Operation({200: _ref("Schedule")}, None, (404,)),
    ("put", "/v1/jobs/{job_id}/schedules/{schedule_id}"): Operation({200: _ref("Schedule")}, _ref("ScheduleUpdate"), (404, 409)),
    ("delete", "/v1/jobs/{job_id}/schedules/{schedule_id}"): Operation({200: _object({})}, None, (404, 409)),
    ("get", "/v1/jobs/{job_id}/runs"): Operation({200: _list(_ref("JobRun"))}, None, (404,)),
    ("post", "/v1/jobs/{job_id}/runs"): Operation({201: _ref("JobRun")}, None, (404, 409, 422)),
    ("get", "/v1/jobs/{job_id}/runs/{run_id}"): Operation({200: _ref("JobRun")}, None, (404,)),
    ("post", "/v1/jobs/{job_id}/runs/{run_id}/actions/stop"): Operation({200: _object({})}, None, (404,)),
    ("get", "/v0/scheduled-jobs"): Operation({200: _list(_ref("JobInfo"))}),
    ("post", "/v0/scheduled-jobs"): Operation({201: _ref("JobInfo")}, _ref("Job"), (409,)),
    ("get", "/v0/scheduled-jobs/{job_id}"): Operation({200: _ref("JobInfo")}, None, (404,)),
    ("put", "/v0/scheduled-jobs/{job_id}"): Operation({200: _ref("JobInfo")}, _ref("JobUpdate"), (404, 409)),
    ("get", "/v2/needs"): Operation({200: _object({"needs": _list(_NEED)})}),
    ("get", "/v2/explain/{app_id}"): Operation({200: _ref("Explanation")}, None, (404,)),
    ("get", "/v2/apps"): Operation({200: _APPS}, None, (422,)),
    ("post", "/v2/apps"): Operation({200: _ref("DeploymentSteps"), 201: _ref("AppInfo")}, _ref("App"), (409,)),
    ("put", "/v2/apps"): Operation(_CHANGED, _list(_ref("AppUpdate")), (409,)),
    ("patch", "/v2/apps"): Operation(_DEPLOYED, _list(_ref("AppUpdate")), (404, 409)),
    ("post", "/v2/apps/{app_id}/restart"): Operation(_DEPLOYED, None, (404, 409, 422)),
    ("get", "/v2/apps/{app_id}/versions"): Operation({200: _object({"versions": _list(_STRING)})}, None, (404,)),
    ("get", "/v2/apps/{app_id}/versions/{version}"): Operation({200: _ref("AppInfo")}, None, (404,)),
    ("get", "/v2/apps/{app_id}"): Operation(
        {200: {"anyOf": [_object({"app": _ref("AppInfo")}), _object({"*": _list(_ref("AppInfo"))}), _ref("Explanation")]}},
        None,
        (404,),
    ),
    ("put", "/v2/apps/{app_id}"): Operation(_CHANGED | {201: _ref("DeploymentResult")}, _ref("AppUpdate"), (404, 409)),
    ("patch", "/v2/apps/{app_id}"): Operation(_DEPLOYED, _ref("AppUpdate"), (404, 409)),
    ("delete", "/v2/apps/{app_id}"): Operation(_DEPLOYED, None, (404, 409, 422)),
    ("get", "/v2/pods"): Operation({200: _list(_ref("Pod"))}),
    ("post", "/v2/pods"): Operation({200: _ref("DeploymentSteps"), 201: _ref("Pod")}, _ref("Pod"), (409,)),
    ("get", "/v2/pods/::status"): Operation({200: _list(_ref("PodStatus"))}),
    ("get", "/v2/pods/{pod_id}::status"): Operation({200: _ref("PodStatus")}, None, (404,)),
    ("get", "/v2/pods/{pod_id}::versions"): Operation({200: _list(_STRING)}, None, (404,)),
    ("get", "/v2/pods/{pod_id}::versions/{version}"): Operation({200: _ref("Pod")}, None, (404,)),
    ("delete", "/v2/pods/{pod_id}::instances"): Operation({200: _list(_ref("PodInstance"))}, _list(_STRING), (404,)),
    ("delete", "/v2/pods/{pod_id}::instances/{instance_id}"): Operation({200: _ref("PodInstance")}, None, (404,)),
    ("get", "/v2/pods/{pod_id}"): Operation({200: _ref("Pod")}, None, (404,)),
    ("put", "/v2/pods/{pod_id}"): Operation(
        {200: {"anyOf": [_ref("Pod"), _ref("DeploymentSteps")]}}, _ref("Pod"), (400, 404, 409)
    ),
    ("delete", "/v2/pods/{pod_id}"): Operation({202: None}, None, (404, 409)),
    **_both("get", "/apps", Operation({200: _list(_ref("AppInfo"))})),
    **_both("get", "/versions", Operation({200: _list(_STRING)})),
    **_both("get", "/versions/{version}", Operation({200: _ref("GroupInfo")}, None, (404,))),
    **_both("get", "", Operation({200: _ref("GroupInfo")})),
    **_both("post", "", Operation({201: _ref("DeploymentResult")}, _ref("GroupUpdate"), (404, 409))),
    **_both(
        "put",
        "",
        Operation(_CHANGED, _ref("GroupUpdate"), (404, 409)),
    ),
    **_both("delete", "", Operation(_DEPLOYED, None, (404, 409, 422))),
    ("patch", "/v2/groups/{group_id}"): Operation({200: None}, _ref("GroupPartialUpdate"), (404,)),
    ("get", "/v2/deployments"): Operation({200: _list(_ref("Deployment"))}),
    ("get", "/v2/deployments/{deployment_id}"): Operation({200: _ref("Deployment")}, None, (404,)),
    ("delete", "/v2/deployments/{deployment_id}"): Operation(_DEPLOYED | {202: None}, None, (404, 409, 422)),
    **{("post", f"/v2/deployments/{{deployment_id}}/{what}"): _STEERED for what in ("pause", "resume", "promote")},
    ("get", "/v2/quotas"): Operation({200: _object({"quotas": _list(_ref("Quota"))})}),
    ("get", "/v2/quotas/{group_id}"): Operation({200: _ref("Quota")}, None, (404,)),
    ("put", "/v2/quotas/{group_id}"): Operation({200: _ref("Quota")}, _ref("QuotaUpdate"), (404,)),
    ("delete", "/v2/quotas/{group_id}"): Operation({200: _ref("Quota")}, None, (404,)),
    ("get", "/v2/volumes"): Operation({200: _object({"volumes": _list(_ref("PersistentVolumeInfo"))})}),
    ("get", "/v2/volumes/{volume_id}"): Operation({200: _ref("PersistentVolumeInfo")}, None, (404,)),
    ("delete", "/v2/volumes/{volume_id}"): Operation({200: _ref("PersistentVolumeInfo")}, None, (404, 409)),
    ("get", "/v2/drains"): Operation({200: _object({"drains": _list(_ref("Drain"))})}),
    ("get", "/v2/drains/{host}"): Operation({200: _ref("Drain")}, None, (404,)),
    ("put", "/v2/drains/{host}"): Operation({200: _ref("Drain")}, _ref("DrainUpdate"), (404,)),
    ("delete", "/v2/drains/{host}"): Operation({200: _ref("Drain")}, None, (404,)),
    ("get", "/v2/queue"): Operation({200: _ref("Queue")}),
    ("delete", "/v2/queue/{app_id}/delay"): Operation({204: None}, None, (404,)),
    ("get", "/v2/brake"): Operation({200: _ref("Brake")}),
    ("delete", "/v2/brake"): Operation({200: _ref("Brake")}),
    ("get", "/v2/events"): Operation({}, None, (405, 422), {"text/event-stream": _STREAMED}),
    ("get", "/ping"): Operation({200: {"const": "pong"}, 204: None}, None, (), {_TEXT: _STRING, "text/html": _STRING}),
    ("get", "/v2/info"): Operation({200: _ref("Info")}),
    ("get", "/v2/whoami"): Operation({200: _ref("Caller")}),
    ("get", "/v2/overview"): Operation({200: _ref("Overview")}, None, (404, 422)),
    ("get", "/v2/balancers"): Operation({200: _ref("Balancers")}, None, (), {"text/event-stream": _STREAMED}),
    ("get", "/v2/tunnels/exec"): Operation({200: _TUNNEL}, None, (404, 409)),
    ("get", "/v2/tunnels/forward"): Operation({200: _TUNNEL}, None, (404, 409)),
    ("get", "/v2/leader"): Operation({200: _ref("Leader")}, None, (404,)),
    ("delete", "/v2/leader"): Operation({200: _ref("Message")}, None, (422,)),
    ("get", "/v2/plugins"): Operation({200: _ref("Plugins")}),
    ("get", "/config"): Operation({200: _ref("Config")}),
    ("get", "/logging"): Operation({200: _ref("Loggers")}),
    ("post", "/logging"): Operation({200: _ref("LoggerChange")}, _ref("LoggerChange")),
    ("get", "/metrics"): Operation({200: _ref("Metrics")}, None, (), _TEXTS),
    ("get", "/metrics/prometheus"): Operation({}, None, (), _TEXTS),
    ("get", "/v2/metrics/targets"): Operation({200: _list(_TARGETS)}),
    ("get", "/v2/metrics/leader"): Operation({}, None, (), _TEXTS),
    ("get", "/v2/metrics/executors/{host}"): Operation({}, None, (404,), _TEXTS),
    ("get", "/v2/metrics/balancers/{name}"): Operation({}, None, (404,), _TEXTS),
}


def install(api: FastAPI) -> None:
    """Have ``/openapi.json`` tell what each operation takes and answers."""

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
        answers[str(status)] = _answer(status, _ref("Error"), {})
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
    whole["properties"]["unreachableStrategy"] = {"anyOf": [_ref("UnreachableStrategy"), {"const": "disabled"}]}
    parts["App"] = whole
    parts["AppUpdate"] = {**whole, "title": "AppUpdate", "required": []}
    return {name: _open(schema) for name, schema in parts.items()}


def _of_pods() -> dict[str, Schema]:
    whole = PodSpec.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs")
    parts["Scheduling"]["properties"]["unreachableStrategy"] = {"anyOf": [_ref("UnreachableStrategy"), {"const": "disabled"}]}
    whole["properties"]["version"] = _STRING
    parts["Pod"] = {**whole, "title": "Pod"}
    return {name: _open(schema) for name, schema in parts.items()}


def _of_jobs() -> dict[str, Schema]:
    """Return the schemas of jobs. What is read as an app's has no type here: the app's own fields say which."""
    whole = Job.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs")
    parts["Job"], parts["JobUpdate"] = whole, {**whole, "title": "JobUpdate", "required": ["run"]}
    parts["Schedule"]["properties"]["nextRunAt"] = _TIME
    parts["ScheduleUpdate"] = {**parts["Schedule"], "title": "ScheduleUpdate", "required": ["cron"]}
    return {name: _open(schema) for name, schema in parts.items()}


def _open(schema: Any) -> Any:
    """Return a schema that says nothing of fields beyond its own."""
    if isinstance(schema, Mapping):
        return {key: _open(value) for key, value in schema.items() if (key, value) != ("additionalProperties", False)}
    return list(map(_open, schema)) if isinstance(schema, list) else schema
