"""What becomes of an app's fields where it is not what Marathon does: translated, or kept and not heeded. Pure.

Said in the answer to a change, by explain and by ``eratos marathon check``: nothing is taken and then forgotten in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from . import labels, registrator
from .app import App
from .errors import Problem, json_path
from .pod import Pod


class Verdict(StrEnum):
    """What becomes of a field."""

    SAME = "same"
    TRANSLATED = "translated"  #: it does what was meant, in another way
    NOT_HEEDED = "not heeded"  #: kept or dropped, and without effect
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Note:
    """What becomes of one field, and why."""

    path: str
    verdict: Verdict
    text: str

    def problem(self, parent: str) -> Problem:
        """Return what is wrong with the field of an app."""
        return Problem(f"{parent}{self.path}", self.text)

    def __str__(self) -> str:
        return f"{self.path} {self.verdict}: {self.text}"


def notes(app: App) -> Iterator[Note]:
    """Yield what a user should know of an app's fields."""
    for place, reason in app.dropped:
        yield Note(place, Verdict.NOT_HEEDED, reason)
    yield from _of_labels(app)
    if app.executor_resources is not None:
        text = "kept and shown; one executor looks after all tasks of an agent, and takes what the scheduler's settings say"
        yield Note("/executorResources", Verdict.NOT_HEEDED, text)
    for index, check in enumerate(app.health_checks):
        if check.ip_protocol == "IPv6" and app.network == "bridge":
            text = "asked at the host's published port, as containers are known by their IPv4 addresses"
            yield Note(f"/healthChecks({index})/ipProtocol", Verdict.TRANSLATED, text)
    for index, file in enumerate(app.fetch):
        if file.cache:
            yield Note(f"/fetch({index})/cache", Verdict.NOT_HEEDED, "files are fetched anew for each task")
    for index, volume in enumerate(app.container.volumes):
        if volume.external is not None and volume.external.shared and not volume.external.elsewhere:
            text = "all containers of a host that name one of Docker's local volumes share it, whatever this says"
            yield Note(f"/container/volumes({index})/external/shared", Verdict.NOT_HEEDED, text)
        if volume.persistent is not None:
            text = (
                "one of Docker's local volumes, which eratos makes and keeps on the instance's host; nothing is reserved of Mesos"
            )
            yield Note(f"/container/volumes({index})/persistent", Verdict.TRANSLATED, text)
            text = "kept and shown; Docker holds its local volumes to no size"
            yield Note(f"/container/volumes({index})/persistent/size", Verdict.NOT_HEEDED, text)
    if isinstance(app, Pod):
        yield from _of_pod(app)
    if app.container.type == "MESOS":
        how = "the image runs as a Docker container" if app.image else "without an image the command runs as a process"
        yield Note("/container/type", Verdict.TRANSLATED, how)
    for index, network in enumerate(app.networks):
        if network.name:
            text = (
                f"the Docker network {network.name}; ports are published on the agent's host as well, where balancers find them"
            )
            yield Note(json_path(("networks", index)), Verdict.TRANSLATED, text)
        if network.labels:
            text = "kept and shown; Docker takes no labels for a container's place in a network"
            yield Note(json_path(("networks", index, "labels")), Verdict.NOT_HEEDED, text)


def _of_labels(app: App) -> Iterator[Note]:
    """Yield what other programs' labels, and variables that say the same, come to here."""
    for key, text in labels.not_heeded(app.labels):
        yield Note(f"/labels/{key}", Verdict.NOT_HEEDED, text)
    read = {
        "env": registrator.of_variables(app.env, app.ports),
        "labels": registrator.of_labels(app.labels, app.ports, app.eratos.attributes),
    }
    for field, found in read.items():
        for key, heeded, text in found:
            yield Note(f"/{field}/{key}", Verdict.TRANSLATED if heeded else Verdict.NOT_HEEDED, text)


def _of_pod(pod: Pod) -> Iterator[Note]:
    graces = set()
    for index, container in enumerate(pod.spec.containers):
        graces.add(container.lifecycle.kill_grace_period_seconds if container.lifecycle is not None else None)
        for number, file in enumerate(container.artifacts):
            if file.cache:
                place = json_path(("containers", index, "artifacts", number, "cache"))
                yield Note(place, Verdict.NOT_HEEDED, "files are fetched anew for each instance")
    if len(graces) > 1:
        text = "containers of a pod are stopped together, and the longest time of theirs counts for all"
        yield Note("/containers", Verdict.TRANSLATED, text)
