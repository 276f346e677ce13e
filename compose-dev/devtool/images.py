"""Building the images, with a line for each part that takes long, since a first build takes minutes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from . import base, engine
from .cluster import PROJECT_LABEL, Compose
from .settings import DEFAULT_PROJECT, GENERATED, MIRROR_VARIABLE, Settings
from .shell import CommandFailed, run, stream
from .terminal import Problem, Progress, Step

BUILT = ["zookeeper", "master1", "agent1", "consul1", "balancer1", "balancer-nginx", "scheduler1", "prime", "hello", "front"]
IMAGES = ["zookeeper", "mesos-master", "agent", "consul", "balancer", "balancer-nginx", "scheduler", "prime", "hello", "front"]

#: Room that a first build needs, with some air: 7 GB were measured when Consul is compiled (Go's caches are most of it), else 2.
DISK_GIB = {"source": 9, "image": 4}
#: Compiling Consul takes that much memory at its peak.
MEMORY_GIB = {"source": 3, "image": 2}

_BEGINS = re.compile(r"^#(\d+) \[(?:\S+ )?(\S+) +\d+/\d+\] (.*)")
_ENDS = re.compile(r"^#(\d+) (?:CACHED|DONE ([\d.]+)s)")


class BuildOutput:
    """Reads BuildKit's plain progress: what is being built now, and how long each part took."""

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        self.over: set[str] = set()
        self.took: list[tuple[str, float]] = []

    def feed(self, line: str) -> None:
        """Take in one line."""
        begins, ends = _BEGINS.match(line), _ENDS.match(line)
        if begins and begins[1] not in self.over:
            self.running[begins[1]] = f"{begins[2]}: {_short(begins[3])}"
        elif ends:
            # A part that several images need is announced, and ended, for each of them: the first time counts.
            self.over.add(ends[1])
            part = self.running.pop(ends[1], "")
            if part and ends[2]:
                self.took.append((part, float(ends[2])))

    def now(self) -> str:
        """Return what has been at work the longest."""
        return next(iter(self.running.values()), "")

    def longest(self, at_least_s: float) -> list[tuple[str, float]]:
        """Return the parts that took that long, longest first."""
        return sorted((part for part in self.took if part[1] >= at_least_s), key=lambda part: -part[1])


def _short(instruction: str) -> str:
    """Return an instruction without its mounts and in one screen line."""
    return re.sub(r"\s+", " ", re.sub(r"--(mount|chmod|from)=\S+ ", "", instruction))[:70]


def ensure(settings: Settings, compose: Compose, progress: Progress, force: bool = False) -> bool:
    """Make sure that every image is there and up to date with the sources. Return whether this was the first build."""
    base.ensure_image(progress, settings.variables.get(MIRROR_VARIABLE, ""))
    base.ensure_compose(progress)
    base.pass_certificates()
    first = not all(run(["docker", "image", "inspect", f"eratos/{name}"], check=False) for name in IMAGES)
    wanted = [*BUILT, *(["prometheus"] if settings.observe else []), *(["registry"] if settings.registry else [])]
    if first and not force:
        _check_room(settings.variables.get("ERATOS_CONSUL_FROM", "source"))
    with progress.step("build the images" if first else "check the images against the sources") as step:
        output = _build(compose, step, wanted)
        if output.longest(1):
            step.text = "build the images"
    for text, seconds in output.longest(3):
        progress.note(text, seconds)
    return first


def build_apart(settings: Settings, *services: str) -> None:
    """Build images that are not built with the cluster's own, by their services, on a machine without a cluster as well."""
    progress = Progress()
    base.ensure_image(progress, settings.variables.get(MIRROR_VARIABLE, ""))
    base.ensure_compose(progress)
    base.pass_certificates()
    profiles = [word for name in ("bench", "observe", "registry") for word in ("--profile", name)]
    Compose(settings).run(*profiles, "build", *services, timeout_s=900)


def _build(compose: Compose, step: Step, services: list[str]) -> BuildOutput:
    output = BuildOutput()

    def on_line(line: str) -> None:
        output.feed(line)
        step.detail = output.now()

    log = GENERATED / "build.log"
    try:
        # Compose labels images with the project. Clusters share images, so the label must not depend on whose turn it is.
        stream(compose.command("-p", DEFAULT_PROJECT, "--progress=plain", "build", *services), on_line, log, env=compose.env)
    except CommandFailed as error:
        raise Problem(str(error), _build_fix(error.output)) from None
    return output


def remove_outdated() -> None:
    """Remove earlier versions of the images, which no name and no container stands for any more."""
    run(["docker", "image", "prune", "-f", "--filter", f"label={PROJECT_LABEL}={DEFAULT_PROJECT}"], check=False, timeout_s=120)


def _build_fix(output: str) -> str:
    """Return what to do about a failed build, as far as its output shows."""
    if "x509" in output or "CERTIFICATE_VERIFY_FAILED" in output or "certificate verif" in output.lower():
        return (
            "a proxy seems to re-sign HTTPS: put its certificate authority into compose-dev/ca/ as a .crt file and run this again"
        )
    if "no space left" in output:
        return "free some disk space (docker system prune frees what Docker no longer uses) and run this again"
    if re.search(r"no such host|Temporary failure|timed out|i/o timeout|connection refused|Could not resolve", output):
        return "check that this machine reaches deb.debian.org, pypi.org and proxy.golang.org, then run this again"
    return "put right what the lines above say and run this again: finished parts are kept"


def _check_room(consul_from: str) -> None:
    """Raise Problem before a first build that would end for lack of disk or memory."""
    root = engine.info("DockerRootDir")
    if root and Path(root).is_dir():
        free_gib = shutil.disk_usage(root).free / 2**30
        if free_gib < DISK_GIB[consul_from]:
            raise Problem(
                f"{root} has {free_gib:.1f} GiB free, and a first build needs {DISK_GIB[consul_from]}",
                "free some (docker system prune -a frees what Docker no longer uses); or build less: ERATOS_CONSUL_FROM=image "
                "./dev up; or go on all the same: ./dev up --force",
            )
    memory_gib = available_memory_gib()
    if memory_gib < MEMORY_GIB[consul_from]:
        raise Problem(
            f"{memory_gib:.1f} GiB of memory are free, and a first build needs {MEMORY_GIB[consul_from]}",
            "end other programs (Docker Desktop: raise Settings > Resources > Memory); or build less: ERATOS_CONSUL_FROM=image "
            "./dev up; or go on all the same: ./dev up --force",
        )


def available_memory_gib() -> float:
    """Return the memory that the engine can still give out; on a virtual engine, all that it has."""
    total_gib = int(engine.info("MemTotal") or 0) / 2**30
    try:
        with Path("/proc/meminfo").open() as file:
            table = dict(line.split(":", 1) for line in file)
        return min(total_gib, int(table["MemAvailable"].split()[0]) / 2**20)
    except FileNotFoundError:
        return total_gib
