"""What ``eratos doctor`` makes of the API's answers: for each part what is well, what is not, and what mends it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Json = Mapping[str, Any]

#: Of apps with trouble so many are named.
NAMED_MOST: Final = 10
_BAD: Final[tuple[Literal["wrong", "note"], ...]] = ("wrong", "note")
#: So many seconds between two clocks are wrong.
SKEW_S: Final = 30.0


@dataclass(frozen=True)
class Finding:
    """One thing about one part. ``note``: worth to know, and no fault. ``fix`` is for what is wrong, and some notes."""

    part: str
    state: Literal["well", "note", "wrong"]
    what: str
    fix: str = ""


@dataclass(frozen=True)
class Answer:
    """What one scheduler says of itself; ``info`` is None where it does not answer."""

    url: str
    info: Json | None = None


def versions(answers: Iterable[Answer], own: str) -> Iterator[Finding]:
    """Compare the schedulers' versions with each other and with this command's own."""
    found = {answer.url: str(answer.info.get("version")) for answer in answers if answer.info and is_eratos(answer.info)}
    different = sorted(set(found.values()))
    if len(different) > 1:
        named = ", ".join(f"{url} {version}" for url, version in sorted(found.items()))
        yield Finding(
            "version", "note", f"schedulers are of several versions: {named}", "end the upgrade: bring all to the newest"
        )
    for version in different:
        if version == own:
            yield Finding("version", "well", f"this command and the scheduler are {own}")
        else:
            fix = f"where something is refused or missing, take the command of {version}"
            yield Finding("version", "note", f"this command is {own}, the scheduler {version}", fix)


def is_eratos(info: Json) -> bool:
    return info.get("name") == "eratos"


def leaders(answers: Sequence[Answer]) -> Iterator[Finding]:
    """Say who leads by the word of every scheduler that answers."""
    told = [(answer.url, answer.info) for answer in answers if answer.info is not None]
    leading = [url for url, info in told if info.get("elected")]
    named = sorted({str(info["leader"]) for _, info in told if info.get("leader")})
    place = next((str(zk) for _, info in told if (zk := (info.get("zookeeper_config") or {}).get("zk"))), "")
    if len(leading) > 1:
        fix = "are these URLs of several clusters, or of one scheduler under several names? Give those of one, each once"
        yield Finding("leader", "note", f"several say that they lead: {', '.join(leading)}", fix)
    elif leading:
        yield Finding("leader", "well", f"{leading[0]} leads")
    elif len(named) == 1 and len(told) == 1:
        yield Finding("leader", "well", f"{named[0]} leads; {told[0][0]} follows and hands on to it")
    elif told:
        said = f"although {', '.join(named)} is named" if named else "and none is named"
        fix = (
            f"is ZooKeeper up, and do the schedulers reach it{f' at {place}' if place else ''}? Their logs say more; apps run on"
        )
        yield Finding("leader", "wrong", f"none of the schedulers leads, {said}", fix)
    if leading and place:
        yield Finding("store", "well", f"the leader is connected with {place}")


def caller(found: Json) -> Finding:
    """Say who the API takes us for."""
    roles = [str(role) for role in found.get("roles") or ()]
    if found.get("name") in (None, "", "-"):
        return Finding("login", "well", "the API asks nobody who they are")
    named = f"the API knows us as {found['name']}: {', '.join(roles) or 'no role'}"
    if not roles:
        return Finding("login", "wrong", named, "give this user a role in the schedulers' --http-credentials-file")
    if not any(re.fullmatch(r"(view|deploy|operate)(:/)?", role) for role in roles):
        return Finding("login", "note", f"{named}; the rest of the cluster is not shown", "view:/ shows all of it")
    return Finding("login", "well", named)


def skew(difference_s: float) -> Finding:
    """Say how far the scheduler's clock is from the one here; seconds, more than 0 where it is ahead."""
    if abs(difference_s) < SKEW_S:
        return Finding("clock", "well", f"the scheduler's clock and the one here are within {SKEW_S:g} s")
    where = "ahead of" if difference_s > 0 else "behind"
    fix = "have both hosts follow a time server (chrony, systemd-timesyncd); ages shown here are wrong by as much"
    return Finding("clock", "wrong", f"the scheduler's clock is {abs(difference_s):.0f} s {where} the one here", fix)


def certificate(what: str, ends_in_s: float, ends: str, renew: str, soon_days: float) -> Finding:
    """Say how long a certificate lasts; ``renew`` says how another one comes."""
    days = ends_in_s / 86_400
    if days < 0:
        return Finding("certificate", "wrong", f"{what} ended {-days:.0f} days ago, on {ends}", renew)
    if days < soon_days:
        return Finding("certificate", "wrong", f"{what} ends in {days:.0f} days, on {ends}", renew)
    return Finding("certificate", "well", f"{what} lasts until {ends}")


def mesos(scheduler: Json) -> Finding:
    """Say whether the leader is registered with a Mesos master."""
    if scheduler.get("connected"):
        where = f"with the master {scheduler.get('master')}, as framework {scheduler.get('frameworkId')}"
        return Finding("mesos", "well", f"the leader is registered {where}")
    reason = scheduler.get("reason") or "no reason is known"
    fix = "does a Mesos master lead, and does the scheduler reach it? It tries again by itself; what runs goes on"
    return Finding("mesos", "wrong", f"the leader is not registered with a Mesos master: {reason}", fix)


def consul(found: Json | None) -> Finding:
    if found is None:
        return Finding("consul", "note", "whether Consul answers is not said by this version, or not to us")
    if trouble := found.get("trouble"):
        fix = "is Consul up, has it a leader, and is the schedulers' --consul right? Balancers keep what they have meanwhile"
        return Finding("consul", "wrong", str(trouble), fix)
    return Finding("consul", "well", "Consul answers the scheduler")


def agents(found: Iterable[Json], missed: Collection[str]) -> Iterator[Finding]:
    """Say which agents take work; of hosts that are ``missed`` the brake says it."""
    usable = 0
    known = list(found)
    for agent in known:
        host = agent["host"]
        if sweep := agent.get("sweep"):
            fix = "it is removed without your doing; until then balancers may use what still runs there"
            why = sweep.get("message", "")  # a scheduler of the version before gives no reason
            said = f"{host}: an executor has died there at {sweep['since']}, and what it left is to be removed"
            yield Finding("agents", "note", f"{said}: {why}" if why else said, fix)
        if alone := agent.get("leftAlone"):
            failed = ", ".join(alone["startsFailedOf"])
            fix = "look at its disk, its Docker and its network; it is tried again by itself"
            yield Finding("agents", "wrong", f"{host} is left alone until {alone['until']}: starts of {failed} failed there", fix)
        elif drain := agent.get("drain"):
            by = f" by {drain['by']}" if drain["by"] else ""
            yield Finding("agents", "note", f"{host} is drained since {drain['since']}{by}, and takes nothing")
        elif window := agent.get("maintenance"):
            yield Finding("agents", "note", f"{host} is in maintenance from {window['begin']}, and takes nothing")
        elif "free" in agent and agent["free"] is None:
            if host not in missed:
                yield _silent(host, bool((agent.get("used") or {}).get("cpus")))
        else:
            usable += 1
    if usable:
        yield Finding("agents", "well", f"{usable} of {len(known)} agents take work")
    elif not known:
        fix = "are Mesos agents up and registered, and do they offer to the framework's role? Mesos' /state lists them"
        yield Finding("agents", "wrong", "no agent has offered anything", fix)
    else:
        yield Finding("agents", "wrong", f"none of {len(known)} agents takes work", "mend what is said of them")


def _silent(host: str, used: bool) -> Finding:
    """Say what it means that an agent offers nothing: it may be full, but not where nothing of eratos runs."""
    fix = "is its Mesos agent up, and does it reach the master?"
    if used:
        return Finding("agents", "note", f"{host} offers nothing: it is full, or away", fix)
    return Finding(
        "agents", "wrong", f"{host} offers nothing, and nothing of eratos runs there", f"{fix} Or do others use all of it?"
    )


def brake(found: Json) -> Iterator[Finding]:
    """Say whether the disaster brake holds, and which hosts are missed."""
    if found.get("engaged"):
        fix = "bring back what was lost, which releases it; or, if the loss is real: eratos brake release"
        yield Finding("brake", "wrong", f"engaged since {found.get('since')}, nothing is launched: {found.get('reason')}", fix)
    else:
        yield Finding("brake", "well", "not engaged")
    for lost in found.get("lost") or ():
        fix = "bring the host and its Mesos agent back; if it is gone for good there is nothing to do, its tasks are replaced"
        yield Finding("agents", "wrong", f"{lost['host']} is missed since {lost['since']} with {lost['tasks']} tasks", fix)


def apps(found: Sequence[Json], hosts: Mapping[str, str]) -> Iterator[Finding]:
    """Say which apps are not as they should be; ``hosts`` by agent."""
    bad = [finding for app in found for finding in _of_app(app, hosts)]
    for state in _BAD:
        some = [finding for finding in bad if finding.state == state]
        yield from some[:NAMED_MOST]
        if len(some) > NAMED_MOST:
            yield Finding("apps", state, f"and {len(some) - NAMED_MOST} more", "eratos app list; eratos queue")
    if not bad:
        yield Finding("apps", "well", f"all of {len(found)} are as they should be")


def _of_app(app: Json, hosts: Mapping[str, str]) -> Iterator[Finding]:
    name = app["id"]
    explain = f"eratos app explain {name}"
    conditions = Counter(task["condition"] for task in app["tasks"])
    if app.get("failing"):
        last = app.get("lastFailure") or {}
        said = f"{last.get('state')} on {last.get('host')}: {last.get('message')}"
        yield Finding(
            "apps", "wrong", f"{name}: what is launched ends again, the last as {said}", f"eratos logs {name}; {explain}"
        )
    if failed := app.get("deploymentFailed"):
        fix = f"mend the definition, or go back: eratos app rollback {name}"
        yield Finding("apps", "wrong", f"{name}: its deployment failed: {failed}", fix)
    if number := conditions["unhealthy"]:
        fix = f"eratos logs {name}; instances are replaced if they stay so"
        yield Finding("apps", "wrong", f"{name}: {number} of {len(app['tasks'])} instances are unhealthy", fix)
    if number := conditions["unreachable"]:
        there = {hosts.get(task["agent"], "?") for task in app["tasks"] if task["condition"] == "unreachable"}
        fix = "look at these hosts, their network and their Mesos agents; instances are replaced when they stay away"
        yield Finding("apps", "wrong", f"{name}: {number} instances are out of reach on {', '.join(sorted(there))}", fix)
    if app.get("waiting"):
        why = app.get("why") or "they wait for an offer"
        yield Finding("apps", "wrong", f"{name}: {app['waiting']} of {app['instances']} instances wait: {why}", explain)
    elif app.get("deployment"):
        yield Finding("apps", "note", f"{name} is being changed", f"eratos deployment show {app['deployment']}")


def waiting(queue: Sequence[tuple[Json, str]]) -> Iterator[Finding]:
    """Say what waits where an API says no more than Marathon's, from the items of its queue, each with the reason."""
    for item, reason in queue[:NAMED_MOST]:
        name = (item.get("app") or item.get("pod") or {}).get("id")
        yield Finding("apps", "wrong", f"{name}: {item.get('count')} instances wait: {reason}", f"eratos app show {name}")
    if not queue:
        yield Finding("apps", "well", "no instance waits")


def deployments(found: Iterable[Json]) -> Iterator[Finding]:
    """Say which deployments go on only when somebody says so."""
    for one in found:
        more = one.get("eratos") or {}
        if more.get("paused"):
            yield Finding("apps", "note", f"deployment {one['id']} is paused", f"eratos deployment resume {one['id']}")
        elif at_gate := more.get("atGateSince"):
            fix = f"eratos deployment promote {one['id']}, or rollback"
            yield Finding("apps", "note", f"deployment {one['id']} stands at a gate: {', '.join(at_gate)}", fix)


def balancers(found: Sequence[Json]) -> Iterator[Finding]:
    """Say which balancers are not well, and what they leave out or hold back."""
    well = []
    for one in found:
        name = one["name"]
        bad = list(_of_balancer(one))
        yield from bad
        if not any(finding.state == "wrong" for finding in bad):
            servers = sum(len(service["servers"]) for service in one["services"])
            well.append(f"{name} ({servers} servers)")
    if well:
        yield Finding("balancers", "well", f"{', '.join(well)}")
    if not found:
        fix = "where there should be some: does each run with its companion and a Consul agent beside it?"
        yield Finding("balancers", "note", "none is registered in Consul", fix)


def _of_balancer(one: Json) -> Iterator[Finding]:
    name = one["name"]
    if one.get("trouble"):
        fix = "is it up, with its companion and the Consul agent beside it? Its log says more; the other balancers serve on"
        yield Finding("balancers", "wrong", f"{name}: {one['trouble']}", fix)
    for text in one.get("leftOut") or ():
        yield Finding("balancers", "wrong", f"{name} leaves out {text}", "change the label or the port that is named")
    if held := one.get("held"):
        fix = "it serves them on until Consul is whole again; look at Consul's agents and servers"
        yield Finding("balancers", "note", f"{name} keeps {len(held)} servers that Consul no longer names", fix)
    for service in one.get("services") or ():
        servers = service["servers"]
        if servers and not any(str(server.get("status", "UP")).startswith(("UP", "no check")) for server in servers):
            state = ", ".join(sorted({str(server["status"]) for server in servers}))
            fix = "does the balancer reach these hosts and ports? eratos task list shows them"
            what = f"{name} reaches none of the {len(servers)} servers of {service['service']}: {state}"
            yield Finding("balancers", "wrong", what, fix)


def spoilt(metrics: str) -> Iterator[Finding]:
    """Say what the leader's metrics show of its store."""
    values = dict(re.findall(r"^(eratos_\w+) (\S+)$", metrics, re.MULTILINE))
    if number := float(values.get("eratos_records_spoilt", 0)):
        fix = "the leader's log names them at its start; docs/operations.md says what to do with each kind"
        yield Finding("store", "wrong", f"{number:g} records cannot be read", fix)
    if number := float(values.get("eratos_tasks_unknown", 0)):
        fix = 'the store may be older than the cluster: see "What to expect after a restore" in docs/operations.md'
        yield Finding("store", "note", f"Mesos runs {number:g} tasks that the store has no record of", fix)
