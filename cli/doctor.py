"""``eratos doctor``: asks after every part, from where its user stands. What is made of the answers is in :mod:`findings`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from eratos.marathon.client import MarathonClient, Refused, Unreachable, without_password

from . import findings, reach
from .findings import Answer, Finding
from .wait import reason

T = TypeVar("T")

#: For a scheduler's answer about itself, which waits for nobody.
ANSWER_S: Final = 10.0
#: Executors that are asked, as one that is away takes some seconds.
EXECUTORS_MOST: Final = 50
#: What was just asked for is there after so long: what waits for an offer, and agents that the question itself has asked for one.
SETTLED_S: Final = 3.0


def examine(client: MarathonClient, sleep: Callable[[float], object]) -> Iterator[Finding]:
    """Yield a finding for each part, what is on the way to it first."""
    answers = []
    for url in list(client.urls):
        answer, found = _address(client.alone(url, ANSWER_S), url)
        yield from found
        answers.append(answer)
    told = [answer.info for answer in answers if answer.info is not None]
    if not told:
        return
    yield from findings.leaders(answers)
    if not all(map(findings.is_eratos, told)):
        yield from _marathon(client, str(told[0].get("name")), str(told[0].get("version")))
        return
    yield from findings.versions(answers, importlib.metadata.version("eratos"))
    try:
        yield from _asked("login", client.who_am_i, lambda found: [findings.caller(found)])
        yield from _asked("leader", lambda: _overview(client, sleep), lambda seen: _cluster(client, seen))
    except Unreachable as error:
        yield Finding("leader", "wrong", str(error), "first mend what is said above: what is missing here only a leader knows")


def _overview(client: MarathonClient, sleep: Callable[[float], object]) -> dict[str, Any]:
    seen = client.overview()
    silent = any("free" in agent and agent["free"] is None for agent in seen["agents"])
    if silent or any(app["waiting"] for app in seen["apps"]):
        sleep(SETTLED_S)
        return client.overview()
    return seen


def _address(client: MarathonClient, url: str) -> tuple[Answer, list[Finding]]:
    found = list(reach.look(client))
    if any(finding.state == "wrong" and finding.part == "address" for finding in found):
        return Answer(url), found
    try:
        info = client.info()
    except Refused as refused:
        if refused.status in (401, 403):
            return Answer(url), [*found, _refused("login", refused)]
        return Answer(url), [*found, Finding("address", "wrong", str(refused), "is this the URL of a scheduler's API?")]
    except Unreachable as error:
        if not any(finding.state == "wrong" for finding in found):
            fix = "does its process or its host hang? Its log says more; if so, restart it, another one takes over meanwhile"
            found.append(reach.speaks_https(client) or Finding("address", "wrong", str(error), fix))
        return Answer(url), found
    here = without_password(url)
    return Answer(here, info), [
        Finding("address", "well", f"{here} answers: {info.get('name')} {info.get('version')}"),
        *found,
        *reach.clock(client),
    ]


def _marathon(client: MarathonClient, name: str, version: str) -> Iterator[Finding]:
    what = f"this is {name} {version}, not eratos: agents, balancers, Consul and the brake are not shown by it"
    yield Finding("version", "note", what, "apps, tasks, deployments and the queue work as with eratos")
    try:
        yield from _asked("apps", client.queue, lambda queue: findings.waiting([(item, reason(item)) for item in queue]))
    except Unreachable as error:
        yield Finding("leader", "wrong", str(error), "the leader's log says more; try again")


def _cluster(client: MarathonClient, seen: dict[str, Any]) -> Iterator[Finding]:
    yield findings.mesos(seen["scheduler"])
    whole = "brake" in seen
    if whole:
        yield findings.consul(seen.get("consul"))
        yield from findings.agents(seen["agents"], {lost["host"] for lost in seen["brake"].get("lost") or ()})
        yield from findings.brake(seen["brake"])
        yield from _asked("executors", client.metrics_targets, lambda targets: _executors(client, targets))
        yield from _asked("store", lambda: client.metrics("/v2/metrics/leader"), findings.spoilt)
    hosts = {agent["id"]: agent["host"] for agent in seen["agents"]}
    yield from findings.apps(seen["apps"], hosts)
    yield from _asked("apps", client.deployments, findings.deployments)
    yield from _asked("balancers", client.balancers, findings.balancers)


def _executors(client: MarathonClient, targets: list[dict[str, Any]]) -> Iterator[Finding]:
    labels = [target["labels"] for target in targets if target["labels"]["job"] == "eratos-executor"]
    answering = 0
    for label in labels[:EXECUTORS_MOST]:
        try:
            client.metrics(label["__metrics_path__"])
            answering += 1
        except Unreachable as error:
            fix = "is the host up, with its Mesos agent, and may schedulers reach --executor-http-port there?"
            yield Finding("executors", "wrong", str(error), fix)
        except Refused as refused:
            if refused.status != 404:  # else it has no tasks any more, and no executor that is known
                raise
    if answering:
        yield Finding("executors", "well", f"{answering} of {len(labels)} hosts with tasks answer")
    if len(labels) > EXECUTORS_MOST:
        yield Finding(
            "executors",
            "note",
            f"only {EXECUTORS_MOST} of {len(labels)} were asked",
            "Prometheus watches them all: docs/metrics.md",
        )


def _asked(part: str, ask: Callable[[], T], judge: Callable[[T], Any]) -> Iterator[Finding]:
    """Yield what a question's answer shows, or why there is none. Raises Unreachable."""
    try:
        yield from judge(ask())
    except Refused as refused:
        yield _refused(part, refused)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"the answer is in another form than this command knows: {error!r}"
        yield Finding(part, "note", what, "bring the command and the schedulers to one version")


def _refused(part: str, refused: Refused) -> Finding:
    if refused.status == 401:
        fix = "is the token or password right, and still in --http-credentials-file? eratos context show says where it is from"
        return Finding("login", "wrong", f"the API does not believe who we are: {refused}", fix)
    if refused.status == 403:
        return Finding(part, "note", f"not shown to us: {refused}", "the role view:/ shows all of it")
    if refused.status == 404:
        return Finding(
            part, "note", f"this version of eratos does not say: {refused}", "bring the schedulers to this command's version"
        )
    return Finding(part, "wrong", str(refused), "is this the URL of eratos' API?")
