"""What the API takes and answers, as schemas that ``/openapi.json`` gives names; those of apps, pods and jobs come of models.

Each stands here by its name, and :mod:`document` says which operation has which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eratos.marathon.bounds import NUMBER_MAX

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_INTEGER: Final[Schema] = {"type": "integer"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_ANYTHING: Final[Schema] = {}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}


def object_of(required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}, **more: Any) -> Schema:
    shown: Schema = {"type": "object", "properties": {**required, **optional}}
    return shown | ({"required": list(required)} if required else {}) | more


def list_of(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def map_of(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


#: Of a stream each event is described, as it is read: its lines by name.
STREAMED = object_of({}, {"event": STRING, "id": STRING, "data": STRING, "retry": _INTEGER})
_ACTION = object_of(
    {"action": STRING}, {"app": or_null(STRING), "pod": or_null(STRING), "readinessCheckResults": list_of(_ANYTHING)}
)
_STEP = object_of({"actions": list_of(_ACTION)})
_EFFECT = object_of({"version": or_null(STRING), "starts": _INTEGER, "stops": _INTEGER, "keeps": _INTEGER})
_GATE = object_of(
    {"requests": _INTEGER, "failed": _INTEGER, "answerMs": _NUMBER, "missing": STRING, "overdue": _BOOLEAN},
)
_PROGRESS = object_of(
    {"begunAt": TIME},
    {
        **{"deadline": TIME, "instancesLeft": map_of(_INTEGER), "waiting": map_of(list_of(STRING)), "paused": _BOOLEAN},
        **{"newInstancesAtMost": map_of(_INTEGER), "atGateSince": map_of(TIME), "gateFigures": map_of(_GATE)},
        **{"trafficOfNew": map_of(_INTEGER), "rollsBack": STRING, "cause": STRING},
        **{"endedAt": TIME, "outcome": STRING, "reason": STRING},
    },
)
_FUNNEL = list_of(object_of({"reason": STRING, "declined": _INTEGER, "processed": _INTEGER}))
_STATS = object_of({"stats": object_of({"counts": map_of(_INTEGER)}, {"lifeTime": map_of(_NUMBER)})})
_OF_APP: Final[Mapping[str, Schema]] = {
    "executor": STRING,
    "versionInfo": object_of({"lastScalingAt": TIME, "lastConfigChangeAt": TIME}),
    **dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "tasksWanted"), _INTEGER),
    "deployments": list_of(object_of({"id": STRING})),
    "tasks": list_of(ref("Task")),
    "taskStats": map_of(_STATS),
    "readinessCheckResults": list_of(_ANYTHING),
    "lastTaskFailure": object_of(
        dict.fromkeys(("appId", "host", "slaveId", "message", "state", "taskId", "version"), STRING) | {"timestamp": TIME}
    ),
}

NEED: Final = object_of(
    {
        **dict.fromkeys(("app", "name", "of", "kind", "variable", "onChange"), STRING),
        **{"atLeast": _INTEGER, "wait": _BOOLEAN, "outdated": _INTEGER},
    },
    {"ready": or_null(_INTEGER)},
)

_AUTOSCALE: Final = object_of(
    {
        **{"mode": {"enum": ["act", "advise"]}, **dict.fromkeys(("min", "max", "instances", "wanted"), _INTEGER)},
        **{"measured": map_of(object_of({"value": or_null(_NUMBER), "target": _NUMBER})), "missing": STRING, "message": STRING},
        "until": or_null(TIME),
        "last": or_null(object_of({"at": TIME, "from": _INTEGER, "to": _INTEGER, "message": STRING, "made": _BOOLEAN})),
    }
)
_ERROR_BUDGET: Final = object_of(
    {
        **{"objective": _NUMBER, "window": STRING, "minRequests": _INTEGER, "requests": _INTEGER, "failed": _INTEGER},
        **{"allowed": _NUMBER, "remaining": or_null(_NUMBER), "burnRate": _NUMBER, "spent": _BOOLEAN, "missing": STRING},
        "until": or_null(TIME),
    }
)
_LOCAL_VOLUME: Final = object_of(dict.fromkeys(("runSpecId", "containerPath", "persistenceId"), STRING))
TUNNEL: Final = object_of(dict.fromkeys(("app", "task", "host"), STRING))

_USED: Final = object_of({"instances": _INTEGER, "cpus": _NUMBER, "mem": _INTEGER, "disk": _INTEGER})
_LEFT_THERE: Final = object_of(
    {
        **{"task": STRING, "app": STRING},
        "state": {"enum": ["moving", "staying", "stopping", "unreachable", "copying", "waiting"]},
    }
)
_LEFT: Final = object_of({}, {"instances": _INTEGER, "cpus": _NUMBER, "mem": _INTEGER, "disk": _INTEGER})
_WHOLE: Final = or_null({"type": "integer", "minimum": 0, "maximum": NUMBER_MAX})
_LIMITS: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(("instances", "mem", "disk"), _WHOLE),
    "cpus": or_null({"type": "number", "minimum": 0, "maximum": NUMBER_MAX}),
}

#: Beside those of apps, which come from their model.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": object_of(
        {"message": STRING},
        {
            "details": list_of(object_of({"path": STRING, "errors": list_of(STRING)})),
            "deployments": list_of(object_of({"id": STRING})),
        },
    ),
    "Message": object_of({"message": STRING}),
    "DeploymentResult": object_of({"version": STRING, "deploymentId": STRING}),
    "DeploymentSteps": object_of(
        {
            "steps": list_of(_STEP),
            "eratos": object_of({"apps": map_of(_EFFECT), **dict.fromkeys(("lockedBy", "heldBy"), map_of(STRING))}),
        }
    ),
    "Deployment": object_of(
        {"id": STRING, "version": STRING, "affectedApps": list_of(STRING), "affectedPods": list_of(STRING)},
        {
            # Of one that has ended there are none.
            **{"steps": list_of(_STEP), "currentActions": list_of(_ACTION), "currentStep": _INTEGER, "totalSteps": _INTEGER},
            "eratos": _PROGRESS,
        },
    ),
    "AppInfo": {"allOf": [ref("App"), object_of({}, _OF_APP)]},
    "Task": object_of(
        {
            **dict.fromkeys(("id", "appId", "host", "slaveId", "state", "version", "role"), STRING),
            **{
                "ports": list_of(_INTEGER),
                "servicePorts": list_of(_INTEGER),
                "localVolumes": list_of(_LOCAL_VOLUME),
                "stagedAt": TIME,
            },
            "ipAddresses": list_of(object_of({"ipAddress": STRING, "protocol": {"enum": ["IPv4", "IPv6"]}})),
            "healthCheckResults": list_of(ref("HealthCheckResult")),
        },
        {"startedAt": TIME, "region": STRING, "zone": STRING, "eratos": object_of({"ordinal": _INTEGER, "name": STRING})},
    ),
    "HealthCheckResult": object_of(
        {"alive": _BOOLEAN, "instanceId": STRING},
        {
            **dict.fromkeys(("firstSuccess", "lastSuccess", "lastFailure"), TIME),
            **{"consecutiveFailures": _INTEGER, "lastFailureCause": STRING},
        },
    ),
    "TaskList": object_of({"tasks": list_of(ref("Task"))}),
    "DeleteTasks": object_of({"ids": list_of(STRING)}),
    "GroupInfo": object_of(
        {
            **{"id": STRING, "apps": list_of(ref("AppInfo")), "groups": list_of(ref("GroupInfo")), "pods": list_of(ref("Pod"))},
            **{"dependencies": list_of(STRING), "version": STRING, "enforceRole": _BOOLEAN},
        }
    ),
    "GroupUpdate": object_of(
        {},
        {
            **{"id": STRING, "apps": list_of(ref("App")), "pods": list_of(ref("Pod")), "groups": list_of(ref("GroupUpdate"))},
            **{"dependencies": list_of(STRING), "scaleBy": {"type": "number", "minimum": 0}, "enforceRole": _BOOLEAN},
        },
    ),
    "GroupPartialUpdate": object_of({}, {"enforceRole": {"enum": [True, False, None]}}),
    "PodStatus": object_of(
        {
            **{"id": STRING, "spec": ref("Pod"), "status": {"enum": ["DEGRADED", "STABLE", "TERMINAL"]}},
            **{"instances": list_of(ref("PodInstanceStatus")), "terminationHistory": list_of(map_of(_ANYTHING))},
            **dict.fromkeys(("statusSince", "lastUpdated", "lastChanged"), TIME),
        },
        {"message": STRING},
    ),
    "PodInstanceStatus": object_of(
        {
            "id": STRING,
            "status": {"enum": ["PENDING", "STAGING", "STABLE", "DEGRADED", "TERMINAL"]},
            "role": STRING,
            **dict.fromkeys(("statusSince", "lastUpdated", "lastChanged"), TIME),
        },
        {
            **dict.fromkeys(("agentHostname", "agentId", "agentRegion", "agentZone", "message", "specReference"), STRING),
            "resources": map_of(_NUMBER),
            "networks": list_of(object_of({}, {"name": STRING, "addresses": list_of(STRING)})),
            "containers": list_of(map_of(_ANYTHING)),
            "localVolumes": list_of(_ANYTHING),
        },
    ),
    "PodInstance": object_of(
        {
            **{"instanceId": object_of({"idString": STRING}), "state": map_of(_ANYTHING), "runSpecVersion": STRING},
            "unreachableStrategy": _ANYTHING,
        },
        {"agentInfo": map_of(_ANYTHING)},
    ),
    "Queue": object_of({"queue": list_of(ref("QueueItem"))}),
    "QueueItem": object_of(
        {
            **{"count": _INTEGER, "role": STRING, "since": TIME},
            "delay": object_of({"timeLeftSeconds": _INTEGER, "overdue": _BOOLEAN}),
            "processedOffersSummary": object_of(
                {
                    **{"processedOffersCount": _INTEGER, "unusedOffersCount": _INTEGER},
                    **{"rejectSummaryLastOffers": _FUNNEL, "rejectSummaryLaunchAttempt": _FUNNEL},
                },
                dict.fromkeys(("lastUsedOfferAt", "lastUnusedOfferAt"), TIME),
            ),
            "waiting": object_of({"reason": or_null(STRING), "message": STRING}),
        },
        {
            **{"app": ref("AppInfo"), "pod": ref("Pod")},
            "lastUnusedOffers": list_of(
                object_of({"offer": _ANYTHING, "reason": list_of(STRING), "timestamp": TIME}, {"detail": STRING})
            ),
        },
    ),
    "Info": object_of(
        {"name": STRING, "version": STRING},
        {
            **{"buildref": STRING, "elected": _BOOLEAN, "leader": or_null(STRING), "frameworkId": or_null(STRING)},
            **dict.fromkeys(("marathon_config", "zookeeper_config", "http_config"), map_of(_ANYTHING)),
        },
    ),
    "Leader": object_of({"leader": STRING}),
    "Plugins": object_of({"plugins": list_of(_ANYTHING)}),
    "Config": object_of({"eratos": map_of(_ANYTHING)}),
    "Loggers": map_of(STRING),
    "LoggerChange": object_of(
        {"logger": STRING, "level": {"enum": ["trace", "debug", "info", "warn", "error"]}},
        {"durationSeconds": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}},
    ),
    "Metrics": object_of(
        {
            **{
                "version": STRING,
                "gauges": map_of(object_of({"value": _NUMBER})),
                "counters": map_of(object_of({"count": _NUMBER})),
            },
            **dict.fromkeys(("histograms", "meters", "timers"), map_of(_ANYTHING)),
        }
    ),
    "Brake": object_of(
        {
            **{"engaged": _BOOLEAN, "since": or_null(TIME), "reason": STRING, "lost": list_of(_ANYTHING)},
            "unknownTasks": list_of(STRING),
        }
    ),
    "Explanation": object_of(
        {"app": STRING, "version": STRING, "wanted": _INTEGER, "reasons": list_of(_ANYTHING), "quotas": list_of(ref("Quota"))},
        {
            "autoscale": or_null(_AUTOSCALE),
            "errorBudget": or_null(_ERROR_BUDGET),
            # Of an app with one instance on each host.
            "hosts": object_of(
                {"without": list_of(object_of(dict.fromkeys(("host", "reason", "message"), STRING))), "more": _INTEGER},
            ),
            # Of an app with ordinals.
            "ordinals": object_of(
                {
                    "notReady": list_of(object_of({"ordinal": _INTEGER, **dict.fromkeys(("reason", "message"), STRING)})),
                    "more": _INTEGER,
                },
            ),
        },
    ),
    "Drain": object_of(
        {**dict.fromkeys(("host", "by"), STRING), "since": TIME, "left": list_of(_LEFT_THERE), "empty": _BOOLEAN},
        {"deadline": TIME, "waits": list_of(object_of(dict.fromkeys(("app", "message"), STRING)))},
    ),
    "DrainUpdate": object_of({}, {"deadlineSeconds": or_null(_INTEGER)}),
    "Quota": object_of({"group": STRING, "used": _USED, "left": _LEFT, **_LIMITS}, {"apps": map_of(_USED)}),
    "PersistentVolumeInfo": object_of(
        {
            **dict.fromkeys(("id", "appId", "containerPath", "host", "agentId", "message"), STRING),
            **{"size": _INTEGER, "away": _BOOLEAN, "createdAt": TIME, "unusedSince": or_null(TIME)},
            **{"use": {"enum": ["used", "waiting", "unused", "left", "copying", "deleting", "destroyed"]}},
            **dict.fromkeys(("instanceId", "taskId", "copyOf"), or_null(STRING)),
        }
    ),
    "Move": object_of(
        {
            **dict.fromkeys(("app", "from", "message"), STRING),
            **dict.fromkeys(("instance", "to"), or_null(STRING)),
            **{"wipe": _BOOLEAN, "since": TIME, "volumes": list_of(STRING)},
            "phase": {"enum": ["host", "stop", "room", "copy"]},
            "cause": {"enum": ["user", "maintenance", "rebalance"]},
        }
    ),
    "MoveRequest": object_of({}, {**dict.fromkeys(("app", "instance", "to"), or_null(STRING)), "wipe": or_null(_BOOLEAN)}),
    "QuotaUpdate": object_of({}, _LIMITS, minProperties=1),
}

_AMOUNTS = object_of({"cpus": _NUMBER, "mem": _NUMBER, "ports": _INTEGER})
_PLACE = object_of(
    dict.fromkeys(("id", "host", "region", "zone"), STRING),
    {
        **{"attributes": map_of(STRING), "used": _AMOUNTS, "free": or_null(_AMOUNTS)},
        "leftAlone": object_of({"until": TIME, "startsFailedOf": list_of(STRING)}),
        "maintenance": object_of({"begin": TIME}),
        "drain": object_of({"since": TIME, "by": STRING}, {"deadline": TIME}),
        "sweep": object_of({"since": TIME, "launches": _INTEGER, "message": STRING}),
    },
)
_CONDITION: Final[Schema] = {"enum": ["launching", "unready", "ready", "unhealthy", "stopping", "unreachable"]}
_OVERVIEW_TASK = object_of(
    {**dict.fromkeys(("id", "agent", "version"), STRING), "condition": _CONDITION, "since": TIME, "ports": list_of(_INTEGER)},
    {"note": STRING},
)
_OVERVIEW_APP = object_of(
    {
        **{"id": STRING, "version": STRING, "instances": _INTEGER, "cpus": _NUMBER, "mem": _NUMBER, "labels": map_of(STRING)},
        **{"waiting": _INTEGER, "atRest": _BOOLEAN},
    },
    {
        "tasks": list_of(_OVERVIEW_TASK),
        # In place of the tasks.
        **{"conditions": map_of(_INTEGER), "old": _INTEGER},
        **dict.fromkeys(("deployment", "why", "deploymentFailed", "notBalanced"), STRING),
        **dict.fromkeys(("deleted", "failing", "pod", "perHost"), _BOOLEAN),
        "lastFailure": object_of(dict.fromkeys(("taskId", "state", "message", "host"), STRING) | {"at": TIME}),
    },
)
_SERVER = object_of(
    {"id": STRING},
    dict.fromkeys(("address", "status", "zone"), STRING)
    | dict.fromkeys(("requests", "weight", "rate", "failed", "answer_ms", "answered", "broken"), _INTEGER),
)
_BALANCER = object_of(
    {
        **{"name": STRING, "trouble": STRING},
        "services": list_of(object_of({"service": STRING, "app": or_null(STRING), "servers": list_of(_SERVER)})),
    },
    {
        **dict.fromkeys(("reloads", "updates", "refusals", "oldProcesses"), or_null(_INTEGER)),
        **{"lastReason": STRING, "held": list_of(STRING), "leftOut": list_of(STRING)},
        **{"zone": STRING, "zonePolicy": STRING},
    },
)
_SERVED = object_of(
    {
        **dict.fromkeys(("balancer", "service", "ending"), STRING),
        **{"at": TIME, "retries": _INTEGER},
        **dict.fromkeys(("app", "task", "host", "agent", "address"), or_null(STRING)),
        **dict.fromkeys(("status", "queueMs", "connectMs", "answerMs", "totalMs"), or_null(_INTEGER)),
    }
)
_ASKED = object_of(
    {"name": STRING, "trouble": STRING}, {"oldest": or_null(TIME), **dict.fromkeys(("requestId", "logRequests"), or_null(STRING))}
)
_USAGE = object_of(
    {
        **{"id": STRING, "app": STRING, "missing": STRING},
        **dict.fromkeys(("ageSeconds", "cpus", "cpusLimit"), or_null(_NUMBER)),
        **dict.fromkeys(("memBytes", "memLimitBytes"), or_null(_INTEGER)),
    }
)
#: What the dashboard asks, beside Marathon's API.
OVERVIEWS: Final[Mapping[str, Schema]] = {
    "Caller": object_of({"name": STRING, "roles": list_of(STRING)}),
    "Overview": object_of(
        {
            **{"position": STRING, "earlier": STRING, "agents": list_of(_PLACE), "apps": list_of(_OVERVIEW_APP)},
            "scheduler": object_of(
                {"frameworkId": or_null(STRING), "master": or_null(STRING), "connected": _BOOLEAN, "reason": STRING}
            ),
        },
        {"brake": ref("Brake"), "consul": object_of({"trouble": STRING})},
    ),
    "Balancers": object_of(
        {"balancers": list_of(_BALANCER)},
        {
            "rotation": list_of(object_of({"app": STRING, "message": STRING, "awaited": _BOOLEAN})),
            "errorBudgets": map_of(_ERROR_BUDGET),
            "autoscaling": map_of(_AUTOSCALE),
            # For whoever may view everything.
            "consul": object_of({"trouble": STRING}),
        },
    ),
    "ServedRequest": object_of(
        {
            **{"id": STRING, "madeAt": or_null(TIME), "requests": list_of(_SERVED)},
            **{"balancers": list_of(_ASKED), "reasons": list_of(STRING)},
        }
    ),
    "Usages": object_of({"tasks": list_of(_USAGE)}),
}

_RUN_TASK = object_of(
    {
        **dict.fromkeys(("id", "status", "host", "message"), STRING),
        **{"startedAt": or_null(TIME), "completedAt": or_null(TIME), "exitCode": or_null(_INTEGER)},
    }
)
_FINISHED_RUN = object_of(
    {
        **{"id": STRING, "createdAt": TIME, "finishedAt": TIME, "scheduledAt": or_null(TIME), "message": STRING},
        **{"tries": _INTEGER, "tasks": list_of(_RUN_TASK)},
    }
)
_SUMMARY: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(("successCount", "failureCount", "missedCount"), _INTEGER),
    **dict.fromkeys(("lastSuccessAt", "lastFailureAt", "lastMissedAt"), or_null(TIME)),
}
_MISSED = object_of({"scheduledAt": TIME, "scheduleId": STRING, "reason": STRING})
#: Of Metronome's API, beside the schemas of jobs, which come from their model.
JOBS: Final[Mapping[str, Schema]] = {
    "JobRun": object_of(
        {
            **{"id": STRING, "jobId": STRING, "status": {"enum": ["INITIAL", "STARTING", "ACTIVE", "SUCCESS", "FAILED"]}},
            **{"createdAt": TIME, "completedAt": or_null(TIME), "scheduledAt": or_null(TIME), "message": STRING},
            **{"missed": _BOOLEAN, "tries": _INTEGER, "tasks": list_of(_RUN_TASK)},
        }
    ),
    "JobHistorySummary": object_of(_SUMMARY),
    "JobHistory": object_of(
        {
            **_SUMMARY,
            **dict.fromkeys(("successfulFinishedRuns", "failedFinishedRuns"), list_of(_FINISHED_RUN)),
            "missed": list_of(_MISSED),
        }
    ),
    "JobInfo": {
        "allOf": [
            ref("Job"),
            object_of(
                {},
                {
                    **{"activeRuns": list_of(ref("JobRun")), "schedules": list_of(ref("Schedule"))},
                    **{"history": ref("JobHistory"), "historySummary": ref("JobHistorySummary")},
                },
            ),
        ]
    },
}
