"""What the API answers as people read it: tables and lines, made of its JSON."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .output import Output
from .table import Column, Table
from .wait import reason, seems_at_rest, wanted

if TYPE_CHECKING:
    from .findings import Finding
    from .migration import Checked, Plan

Json = Mapping[str, Any]
#: What a quota may bound; memory and disk in MiB.
QUOTA_KINDS = ("instances", "cpus", "mem", "disk")


def age(moment: object) -> str:
    """Return how long ago an ISO time was, in one unit: 45s, 12m, 3h, 20d; an empty text for none."""
    try:
        seconds = int(time.time() - datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp())
    except ValueError:
        return ""
    sign, seconds = "-" if seconds < 0 else "", abs(seconds)
    for most, unit, size in ((120, "s", 1), (7200, "m", 60), (172_800, "h", 3600)):
        if seconds < most:
            return f"{sign}{seconds // size}{unit}"
    return f"{sign}{seconds // 86_400}d"


def apps(found: Iterable[Json]) -> Table:
    rows = []
    for app in found:
        checked = bool(app.get("healthChecks"))
        rows.append(
            (
                app["id"],
                f"{app.get('tasksRunning', 0)}/{wanted(app)}",
                app.get("tasksHealthy") if checked else None,
                _state(app),
                f"{app['cpus']:g}",
                f"{app['mem']:g}",
                _image(app),
            )
        )
    names = ("RUNNING", "HEALTHY", "STATE", "CPUS", "MEM", "IMAGE")
    return Table((Column("ID", "never"), *map(Column, names)), rows)


#: What differs between any two versions.
_OF_VERSIONS = ("version", "versionInfo")


def _image(app: Json) -> str:
    return str(((app.get("container") or {}).get("docker") or {}).get("image") or "")


def _state(app: Json) -> str:
    """Say whether an app is what it was asked to be, as far as its counts show it."""
    return "deploying" if app.get("deployments") else "at rest" if seems_at_rest(app) else "not at rest"


def app(shown: Json, queue: Iterable[Json], out: Output, *, at_rest: bool) -> list[Table | str]:
    """Return one app in full: what it is, what it waits for, its tasks."""
    why = next((reason(dict(item)) for item in queue if (item.get("app") or {}).get("id") == shown["id"]), "")
    failure = shown.get("lastTaskFailure") or {}
    rows = [
        ("id", shown["id"]),
        ("image", _image(shown)),
        ("command", shown.get("cmd") or " ".join(shown.get("args") or ())),
        ("version", shown.get("version")),
        ("resources", f"{shown['cpus']:g} CPUs, {shown['mem']:g} MiB"),
        ("instances", f"{shown.get('tasksRunning', 0)} of {_counted(shown)} running, {shown.get('tasksStaged', 0)} starting"),
        ("health", _health(shown)),
        ("state", "at rest" if at_rest else "deploying" if shown.get("deployments") else "not at rest"),
        *([("waits for", why)] if why else []),
        *([("last failure", f"{failure['timestamp']} {failure['state']} {failure['message']}")] if failure else []),
    ]
    table = Table((Column("", "never"), Column("", "fold")), rows, header=False)
    return [table, "", tasks(shown.get("tasks") or (), out)]


def _counted(shown: Json) -> str:
    return f"{wanted(shown)} hosts, one on each," if "tasksWanted" in shown else str(wanted(shown))


def _health(shown: Json) -> str:
    if not shown.get("healthChecks"):
        return "no health checks"
    return f"{shown.get('tasksHealthy', 0)} healthy, {shown.get('tasksUnhealthy', 0)} unhealthy"


def tasks(found: Iterable[Json], out: Output) -> Table:
    found = list(found)
    numbered = any("eratos" in task for task in found)
    rows = [
        (
            out.task(task["id"]),
            *((task.get("eratos", {}).get("ordinal", ""),) if numbered else ()),
            task["state"].removeprefix("TASK_").lower(),
            {True: "yes", False: "no", None: ""}[_alive(task)],
            task.get("host"),
            ",".join(map(str, task.get("ports") or ())),
            age(task.get("startedAt") or task.get("stagedAt")),
            task["appId"],
        )
        for task in found
    ]
    names = (*(("ORDINAL",) if numbered else ()), "STATE", "HEALTHY", "HOST", "PORTS", "AGE", "APP")
    return Table((Column("TASK", "never"), *map(Column, names)), rows)


def _alive(task: Json) -> bool | None:
    results = task.get("healthCheckResults") or ()
    return all(result.get("alive") for result in results) if results else None


def versions(definitions: Sequence[Json]) -> Table:
    """Return the versions of an app, newest first, each with the fields in which it differs from the one before."""
    rows = []
    for index, shown in enumerate(definitions):
        before = definitions[index + 1] if index + 1 < len(definitions) else {}
        changed = sorted(k for k in shown.keys() | before.keys() if shown.get(k) != before.get(k) and k not in _OF_VERSIONS)
        rows.append((shown.get("version"), age(shown.get("version")), _image(shown), ", ".join(changed) if before else ""))
    return Table((Column("VERSION", "never"), Column("AGE"), Column("IMAGE"), Column("CHANGED", "fold")), rows)


def agents(found: Json) -> Table:
    """Return the agents of an overview, with what eratos uses there and what is free."""
    tasks = Counter(task["agent"] for app in found["apps"] for task in app["tasks"])
    rows = []
    for agent in sorted(found["agents"], key=lambda agent: str(agent["host"])):
        used, free = agent.get("used") or {}, agent.get("free") or {}
        amounts = [_used(used.get(name, 0), free.get(name)) for name in ("cpus", "mem")]
        place = agent.get("zone") or agent.get("region")  # a zone of a region is named with it
        rows.append((agent["host"], place, tasks[agent["id"]], *amounts, _of_agent(agent)))
    columns = (Column("HOST", "never"), Column("ZONE"), Column("TASKS"), Column("CPUS"), Column("MEM"), Column("NOTE", "fold"))
    return Table(columns, rows)


def _used(used: float, free: float | None) -> str:
    return f"{used:g}" if free is None else f"{used:g} of {used + free:g}"


def _of_agent(agent: Json) -> str:
    notes = []
    if alone := agent.get("leftAlone"):
        notes.append(f"left alone until {alone['until']}, as starts of {', '.join(alone['startsFailedOf'])} failed")
    if drain := agent.get("drain"):
        by = f" by {drain['by']}" if drain["by"] else ""
        until = f", what is left is stopped at {drain['deadline']}" if "deadline" in drain else ""
        notes.append(f"drained since {drain['since']}{by}{until}")
    if window := agent.get("maintenance"):
        notes.append(f"maintenance from {window['begin']}")
    if sweep := agent.get("sweep"):
        notes.append(f"to be swept since {sweep['since']}, as an executor died there")
    return "; ".join(notes)


def planned(found: Iterable[Json]) -> list[Table | str]:
    """Return what would be done of each app, and what would refuse it unless it is forced."""
    told = [plan["eratos"] for plan in found]
    rows = [
        (app_id, effect["starts"], effect["stops"], effect["keeps"]) for plan in told for app_id, effect in plan["apps"].items()
    ]
    held = [f"{app} is in deployment {by}: refused without --force" for plan in told for app, by in plan["lockedBy"].items()]
    held += [f"{why}: refused without --force" for plan in told for why in (plan.get("heldBy") or {}).values()]
    return [Table((Column("APP", "never"), Column("START"), Column("STOP"), Column("STAY")), rows), *held]


def deployments(found: Iterable[Json]) -> Table:
    rows = [(item["id"], age(item.get("version")), progress(item), ", ".join(_affected(item))) for item in found]
    return Table((Column("DEPLOYMENT", "never"), Column("AGE"), Column("STATE", "fold"), Column("APPS", "fold")), rows)


def _affected(item: Json) -> list[str]:
    return [*(item.get("affectedApps") or ()), *(item.get("affectedPods") or ())]


def pods(found: Iterable[Json]) -> Table:
    """Return pods by their status."""
    rows = []
    for status in found:
        pod, instances = status["spec"], status.get("instances") or ()
        stable = sum(item["status"] == "STABLE" for item in instances)
        wanted = (pod.get("scaling") or {}).get("instances", 1)
        containers = ", ".join(container["name"] for container in pod["containers"])
        rows.append((status["id"], f"{stable}/{wanted}", status["status"].lower(), containers))
    return Table((Column("ID", "never"), Column("STABLE"), Column("STATE"), Column("CONTAINERS", "fold")), rows)


def pod(status: Json) -> list[Table | str]:
    """Return one pod in full: what it is, its instances, their containers."""
    shown = status["spec"]
    ended = (status.get("terminationHistory") or [{}])[0]
    head = [
        ("id", status["id"]),
        ("version", shown.get("version")),
        ("state", status["status"].lower() + (f": {status['message']}" if status.get("message") else "")),
        *((f"container {c['name']}", f"{_pod_image(c)}, {_resources(c['resources'])}") for c in shown["containers"]),
        *([("last end", f"{ended['terminatedAt']} {ended.get('message', '')}")] if ended else []),
    ]
    rows = [
        (
            item["id"],
            item["status"].lower(),
            item.get("agentHostname"),
            ", ".join(f"{e['name']}:{e['allocatedHostPort']}" for e in _endpoints(item) if "allocatedHostPort" in e),
            age(item.get("statusSince")),
        )
        for item in status.get("instances") or ()
    ]
    columns = (Column("INSTANCE", "never"), Column("STATE"), Column("HOST"), Column("ENDPOINTS", "fold"), Column("AGE"))
    return [Table((Column("", "never"), Column("", "fold")), head, header=False), "", Table(columns, rows)]


def _pod_image(container: Json) -> str:
    return str((container.get("image") or {}).get("id") or "no image")


def _resources(found: Json) -> str:
    return f"{found.get('cpus', 0):g} CPUs, {found.get('mem', 0):g} MiB"


def _endpoints(instance: Json) -> list[Json]:
    return [endpoint for container in instance.get("containers") or () for endpoint in container.get("endpoints") or ()]


def progress(item: Json) -> str:
    """Say how far a deployment is, or how it ended."""
    more = item.get("eratos") or {}
    if outcome := more.get("outcome"):
        return f"{outcome}: {more['reason']}" if more.get("reason") else str(outcome)
    left = sum((more.get("instancesLeft") or {}).values())
    at_gate = ", ".join(app_id + _figures(more, app_id) for app_id in more.get("atGateSince") or ())
    state = "paused, " if more.get("paused") else f"at a gate: {at_gate}, " if at_gate else ""
    step = f"{state}step {item.get('currentStep')} of {item.get('totalSteps')}"
    return f"{step}, {left} instance{'' if left == 1 else 's'} left" if left else step


def _figures(more: Json, app_id: str) -> str:
    """Say what balancers counted of an app at a gate that is judged by it."""
    found, part = (more.get("gateFigures") or {}).get(app_id), (more.get("trafficOfNew") or {}).get(app_id)
    traffic = f" ({part}% of the traffic to the new version)" if part is not None else ""
    if not found:
        return traffic
    missing = f"; {found['missing']}" if found["missing"] else ""
    return f"{traffic} ({found['failed']} of {found['requests']} requests failed, {found['answerMs']:.0f} ms{missing})"


def deployment(found: Json) -> list[Table | str]:
    """Return one deployment in full."""
    more = found.get("eratos") or {}
    left, waiting = more.get("instancesLeft") or {}, more.get("waiting") or {}
    head = [
        ("deployment", found["id"]),
        ("version", found.get("version")),
        ("state", progress(found)),
        *([("takes back", more["rollsBack"])] if more.get("rollsBack") else []),
        *([("cause", more["cause"])] if more.get("cause") else []),
        *([("fails", f"{_until(more['deadline'])} unless it comes further")] if more.get("deadline") else []),
    ]
    rows = []
    for number, step in enumerate(found.get("steps") or (), start=1):
        for action in step.get("actions") or ():
            app_id = str(action.get("app") or action.get("pod"))
            others = ", ".join(waiting.get(app_id) or ())
            state = f"waits for {others}" if others else f"{left[app_id]} left" if left.get(app_id) else "done" if more else ""
            rows.append((number, action.get("action"), app_id, state))
    table = Table((Column("", "never"), Column("", "fold")), head, header=False)
    columns = (Column("STEP"), Column("ACTION"), Column("APP", "never"), Column("STATE", "fold"))
    return [table, "", Table(columns, rows)] if rows else [table]


def queue(found: Iterable[Json]) -> Table:
    rows = [
        ((item.get("app") or item.get("pod") or {}).get("id"), item.get("count"), age(item.get("since")), reason(dict(item)))
        for item in found
    ]
    return Table((Column("APP", "never"), Column("WAITING"), Column("AGE"), Column("REASON", "fold")), rows)


def requests(found: Iterable[Json], out: Output) -> Table:
    """Return who served a request; TOOK is until the end of the answer, in milliseconds."""
    rows = [
        (
            request["at"],
            request["app"] or request["service"],
            out.task(request["task"]) if request["task"] else "no instance",
            request["host"],
            request["address"],
            request["status"] or "no answer",
            f"{request['totalMs']} ms",
            request["retries"] or "",
            request["balancer"],
        )
        for request in found
    ]
    names = ("HOST", "ADDRESS", "STATUS", "TOOK", "RETRIES", "BALANCER")
    return Table((Column("AT"), Column("APP"), Column("TASK", "never"), *map(Column, names)), rows)


def needs(found: Iterable[Json]) -> Table:
    """Return who requires whom; READY of at least so many, where it is an app."""
    rows = [
        (
            need["app"],
            need["name"],
            f"key {need['of'].removeprefix('key ')}" if need["kind"] == "key" else need["of"],
            f"{need['ready']} of {need['atLeast']}" if need.get("ready") is not None else "",
            "yes" if need["wait"] and need["kind"] != "static" else "no",
            need["onChange"] if need["kind"] != "static" else "",
            need["outdated"] or "",
        )
        for need in found
    ]
    columns = ("APP", "REQUIRES", "OF", "READY", "WAITS", "ON CHANGE", "OUTDATED")
    return Table([Column(name, "never" if name in ("APP", "REQUIRES") else "cut") for name in columns], rows)


def explained(found: Json) -> list[Table | str]:
    """Return how an app stands, and a line for each reason."""
    state = "at rest" if found["atRest"] else "not at rest"
    counts = f"{found['ready']} of {found['wanted']} ready, {found['waiting']} waiting, {found['old']} old"
    head = f"{found['app']} is {state}: {counts}"
    rows = [(item["reason"], item["count"], _until(item.get("until")), item["message"]) for item in found["reasons"]]
    columns = (Column("REASON", "never"), Column("COUNT"), Column("UNTIL"), Column("WHAT IT MEANS", "fold"))
    balancers = [f"balancers: {line}" for line in found.get("balancers", ())]
    fields = [f"field: {item['path']} {item['verdict']}: {item['message']}" for item in found.get("definition", ())]
    bounds = [f"quota of {item['group']}: {_bounds(item)}" for item in found.get("quotas", ())]
    bounds += _autoscaled(found.get("autoscale"))
    bounds += _error_budget(found.get("errorBudget"))
    shown: list[Table | str] = [head, *bounds, *balancers, *fields, *([Table(columns, rows)] if rows else [])]
    hosts = found.get("hosts") or {}
    if without := [(item["host"], item["reason"], item["message"]) for item in hosts.get("without", ())]:
        shown.append(Table((Column("HOST WITHOUT ONE", "never"), Column("REASON"), Column("WHAT IT MEANS", "fold")), without))
    shown += [f"and {hosts['more']} more hosts without one"] if hosts.get("more") else []
    ordinals = found.get("ordinals") or {}
    if unready := [(item["ordinal"], item["reason"], item["message"]) for item in ordinals.get("notReady", ())]:
        shown.append(Table((Column("ORDINAL NOT READY", "never"), Column("REASON"), Column("WHAT IT MEANS", "fold")), unready))
    return [*shown, *([f"and {ordinals['more']} more ordinals not ready"] if ordinals.get("more") else [])]


def _autoscaled(found: Json | None) -> list[str]:
    """Return what an app's autoscaling says; nothing where it has none, or the scheduler is an earlier one."""
    if not found:
        return []
    advises = "; mode advise: nothing is changed" if found["mode"] == "advise" else ""
    lines = [f"autoscale from {found['min']} to {found['max']}: {found['message']}{advises}"]
    if found["missing"]:
        lines.append(f"autoscale misses figures, so nothing is scaled down: {found['missing']}")
    if last := found["last"]:
        what = "changed" if last["made"] else "would have changed"
        lines.append(f"autoscale {what} {last['from']} to {last['to']}, {age(last['at'])} ago: {last['message']}")
    return lines


def _error_budget(found: Json | None) -> list[str]:
    """Return how an app's error budget stands; nothing where it has none, or the scheduler is an earlier one."""
    if not found:
        return []
    left = f"{found['remaining']:.1%} left" if found["remaining"] is not None else "too few requests to judge it"
    counted = f"{found['failed']} of {found['requests']} requests failed, {found['allowed']:g} may"
    spent = "; spent: what is planned waits" if found["spent"] else ""
    budget = f"error budget of {found['objective']:g}% in {found['window']}"
    lines = [f"{budget}: {left}, {counted}; burn rate {found['burnRate']:g}{spent}"]
    if found["missing"]:
        lines.append(f"error budget misses figures, of which nothing is spent or earned: {found['missing']}")
    return lines


def _bounds(quota: Json) -> str:
    return ", ".join(f"{_of_quota(quota, kind)} {kind}" for kind in QUOTA_KINDS if quota[kind] is not None)


def moment(at: object, out: Output) -> str:
    """Return a moment as it is shown here: how far it is away in a terminal, whole in a pipe."""
    if out.width is None or not at:
        return str(at or "")
    away = age(at)
    return f"in {away[1:]}" if away.startswith("-") else f"{away} ago"


def _until(moment: object) -> str:
    since = age(moment) if moment else ""
    return f"in {since[1:]}" if since.startswith("-") else "now" if since else ""


def quotas(found: Sequence[Json]) -> Table:
    """Return a line for each quota: what is used of what there may be."""
    rows = [(item["group"], *(_of_quota(item, kind) for kind in QUOTA_KINDS)) for item in found]
    return Table((Column("GROUP", "never"), *(Column(kind.upper()) for kind in QUOTA_KINDS)), rows)


def quota(found: Json) -> list[Table | str]:
    """Return a quota and what each app uses of it."""
    rows = [(app_id, *(_number(used[kind]) for kind in QUOTA_KINDS)) for app_id, used in found["apps"].items()]
    apps = Table((Column("APP", "never"), *(Column(kind.upper()) for kind in QUOTA_KINDS)), rows)
    return [quotas([found]), *([apps] if rows else [])]


def _of_quota(found: Json, kind: str) -> str:
    limit = found[kind]
    return _number(found["used"][kind]) + (f" of {_number(limit)}" if limit is not None else "")


def _number(amount: float) -> str:
    return f"{amount:.3f}".rstrip("0").rstrip(".")


def volumes(found: Sequence[Json]) -> Table:
    """Return a line for each persistent volume: where it is and who uses it."""
    rows = [
        (
            item["id"],
            item["appId"],
            item["containerPath"],
            f"{item['size']} MiB",
            item["host"] + (" (away)" if item["away"] else ""),
            item["use"],
            item["taskId"] or item["instanceId"] or (age(item["unusedSince"]) if item["unusedSince"] else ""),
            item["message"],
        )
        for item in found
    ]
    names = ("APP", "PATH", "SIZE", "HOST", "USE", "BY OR SINCE")
    return Table((Column("VOLUME", "never"), *map(Column, names), Column("MESSAGE", "fold")), rows)


def drain(found: Json) -> list[Table | str]:
    """Return the tasks that are left on a host that is drained, and what their replacements wait for."""
    rows = [(item["task"], item["app"], item["state"]) for item in found["left"]]
    waits = [f"{item['app']} waits: {item['message']}" for item in found.get("waits", ())]
    return [Table((Column("TASK", "never"), Column("APP"), Column("STATE")), rows), *waits] if rows else []


def brake(found: Json) -> list[Table | str]:
    """Return the state of the disaster brake, the hosts that are missed and those that are left alone."""
    head = f"engaged since {found['since']}: {found['reason']}" if found["engaged"] else "not engaged"
    rows = [(item["host"], item["tasks"], age(item["since"])) for item in found["lost"]]
    shown: list[Table | str] = [head]
    if rows:
        shown.append(Table((Column("HOST", "never"), Column("TASKS LOST"), Column("AGE")), rows))
    # A scheduler of an earlier version says nothing of them.
    if alone := [(item["host"], ", ".join(item["startsFailedOf"]), item["until"]) for item in found.get("leftAlone", ())]:
        shown.append(Table((Column("LEFT ALONE", "never"), Column("STARTS FAILED OF", "fold"), Column("UNTIL")), alone))
    return shown


def pairs(data: Json) -> Table:
    """Return a flat object as two columns; nested ones are left to --json."""
    rows = [(key, value) for key, value in data.items() if not isinstance(value, dict | list)]
    return Table((Column("WHAT", "never"), Column("VALUE", "fold")), rows)


def findings(found: Iterable[Finding], out: Output) -> Table:
    """Return a row for each finding; in a terminal its fix stands below it, where there is room for it."""
    columns = (Column("STATE"), Column("PART", "never"), Column("WHAT", "fold"))
    if out.width is None:
        return Table((*columns, Column("FIX", "fold")), [(one.state, one.part, one.what, one.fix) for one in found])
    rows = [row for one in found for row in ((one.state, one.part, one.what), (" ", "fix", one.fix)) if row[2]]
    return Table(columns, rows)


def contexts(found: Iterable[Json]) -> Table:
    rows = [(one["name"], "yes" if one["inUse"] else "", one["url"], one["login"], one["caFile"]) for one in found]
    names = ("IN USE", "URL", "LOGIN", "CA FILE")
    return Table((Column("NAME", "never"), *(Column(name, "cut" if name == "IN USE" else "fold") for name in names)), rows)


def counting(found: Json) -> Table:
    """Return what counts of options, environment and contexts, each with where it is from."""
    rows = [(key, value, found["from"].get(key, "")) for key, value in found.items() if key not in ("from", "inUse")]
    return Table((Column("WHAT", "never"), Column("VALUE", "fold"), Column("FROM", "fold")), rows)


def checked(result: Checked) -> list[Table | str]:
    """Show what becomes of each field of an app."""
    head = f"{result.source}: {result.app_id}" if result.app_id else f"{result.source}: no app"
    if result.problem:
        return [head, f"  {result.problem}", ""]
    columns = (Column("FIELD", "never"), Column("VERDICT", "never"), Column("WHY", "fold"))
    return [head, Table(columns, [(note.path, note.verdict.value, note.text) for note in result.fields]), ""]


def imported(plan: Plan, *, start: bool, dry_run: bool) -> list[Table | str]:
    """Show what was copied, what was not, and what to do next."""
    done = "would be copied" if dry_run else "copied"
    pods = {str(pod["id"]) for pod in plan.pods}
    lines: list[Table | str] = [f"{len(plan.apps)} apps {f'and {len(pods)} pods ' if pods else ''}{done}"]
    if plan.groups:
        lines.append(f"groups {done}: {', '.join(str(group['id']) for group in plan.groups)}")
    for app_id, notes in plan.refused.items():
        lines += [f"not copied: {app_id}{note.path} {note.text}" for note in notes]
    lines += [f"left as it is here: {app_id}" for app_id in plan.there_already]
    running = {app_id: count for app_id, count in plan.instances.items() if count}
    if running and not start and not dry_run:
        lines.append("")
        lines.append("Next, app by app: start it here, have balancers send to it, and stop it there:")
        lines += [
            f"  eratos {'pod' if app_id in pods else 'app'} scale {app_id} {count} --wait"
            for app_id, count in sorted(running.items())
        ]
    return lines
