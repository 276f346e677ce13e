"""What a fault is, and the commands that faults are made of.

What a fault does and what undoes it are commands: those of the second kind may be run at any time and again, by a later run as
well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .parts import Parts

#: Has iptables, tc, nsenter and what delays packets, which the parts' own images have not.
TOOLS = "eratos/chaos"
#: Its service in compose.yaml, for its build.
SERVICE = "chaos"

if TYPE_CHECKING:
    Commands = list[tuple[str, ...]]


@dataclass(frozen=True)
class Strike:
    """One fault about to happen."""

    what: str
    do: Commands
    undo: Commands = field(default_factory=list)
    excused: frozenset[str] = frozenset()  #: balancers that it takes away: their clients have to go to another one
    put: Mapping[str, Any] | None = None  #: a change of the app under load, which replaces all of its instances


@dataclass(frozen=True)
class Fault:
    """A way to break something."""

    name: str
    text: str
    candidates: Callable[[Parts], list[str]]  #: what it may strike now
    strike: Callable[[Parts, str], Strike]
    hold_s: float = (
        0.0  #: how long it lasts, unless stated otherwise; 0: it is over at once, and what it broke comes back by itself
    )
    within_s: float = 90.0  #: all has to be well again so long after its end
    planned: bool = False  #: no fault at all, but what operators do: no request may fail
    by_name: bool = False  #: never by chance: most clusters have nothing that it could strike
    ends_its_command: bool = False  #: the command that does it dies with what it is for


def docker(*words: str) -> tuple[str, ...]:
    return ("docker", *words)


def inside(container: str, script: str) -> tuple[str, ...]:
    return docker("exec", "-u", "0", container, "sh", "-c", script)


def tool(project: str, *words: str) -> tuple[str, ...]:
    """Return a command that runs a container of the tools; ``words`` are further options, the image and what it runs."""
    labels = [f"eratos.chaos-tool={project}", "com.docker.compose.project=", "com.docker.compose.service="]
    return docker("run", "--rm", "--user", "0", *(word for label in labels for word in ("--label", label)), *words)


def network(project: str, container: str, script: str) -> tuple[str, ...]:
    """Return a command that runs a script in a container's network, with the right to change that."""
    return tool(project, "--network", f"container:{container}", "--cap-add", "NET_ADMIN", TOOLS, "sh", "-c", script)


def disk(project: str, container: str, script: str) -> tuple[str, ...]:
    """Return a command that runs a script among a container's files, with the right to mount there."""
    rights = ("--pid", f"container:{container}", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE")
    return tool(project, *rights, TOOLS, "nsenter", "-t", "1", "-m", "sh", "-c", script)


def signal(name: str, pattern: str, *, youngest: bool = False) -> str:
    """Return a shell script that signals the processes whose command line begins so; it fails where there is none."""
    quoted = pattern.replace(" ", "\\ ")
    last = "${n##* }" if youngest else "$n"
    return (
        "n=; for p in $(ls /proc | grep '^[0-9]' | sort -n); do "
        f'case "$(tr "\\0" " " 2>/dev/null < /proc/$p/cmdline)" in {quoted}) n="$n $p";; esac; done; '
        f'[ -n "$n" ] && kill -{name} {last}'
    )
