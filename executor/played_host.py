"""Ports of bridged containers where a container plays the host.

Docker publishes ports on the real host alone. So the executor of a played host does in its own network namespace what Docker
does there: each port is one rule that hands connections on to the container. Rules carry their task's id, so that another
executor finds what a dead one left. What they need around them (chain, way back, forwarding) the played host makes when it
starts: compose-dev/images/agent/docker0.
"""

from __future__ import annotations

import logging
import shlex
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from eratos.common.errors import TemporaryError
from eratos.common.log import fields
from eratos.common.payload import Port

log = logging.getLogger(__name__)

#: In table nat, asked for everything that is sent to an address of the host.
CHAIN: Final = "ERATOS"
#: iptables takes no longer comment.
_COMMENT_MAX: Final = 255
_IPTABLES: Final = ("iptables", "-w", "-t", "nat")
_TIMEOUT_S: Final = 30

Run = Callable[[Sequence[str]], str]


def run(command: Sequence[str]) -> str:
    """Run a command and return its output. Raises TemporaryError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TemporaryError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise TemporaryError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout


class PlayedHost:
    """The published ports of this network namespace. For all threads of the executor."""

    def __init__(self, run_command: Run = run) -> None:
        """``run_command`` runs one and returns its output; it raises TemporaryError."""
        self._run = run_command
        self._lock = threading.Lock()

    def publish(self, task_id: str, address: str, ports: Sequence[Port]) -> None:
        """Hand on what comes to the host's ports to a container's address. Raises TemporaryError."""
        with self._lock:
            for port in ports:
                for protocol in port.protocol.split(","):
                    try:
                        self._run([*_IPTABLES, "-A", CHAIN, *rule(task_id, address, port, protocol)])
                    except TemporaryError as error:
                        raise TemporaryError(f"the ports of the task cannot be published: {error}") from error
                    self._forget(protocol, port.host_port)

    def withdraw(self, task_id: str) -> None:
        """Close a task's ports. One that has none is fine."""
        self._remove(lambda found: comment(found) == _comment(task_id))

    def claim(self, ports: Collection[int]) -> None:
        """Close ports whoever had them: Mesos has given them to a new task, so what is left there is of a dead one."""
        if ports:
            self._remove(lambda found: int(_option(found, "--dport")) in ports)

    def sweep(self, running: Callable[[], Collection[str]]) -> None:
        """Close the ports of all tasks but those that run. Asked after the rules were read: a task runs before it has one."""
        with self._lock:
            tasks = {comment(found) for found in self._rules()}
        if not tasks:
            return
        left = tasks - {_comment(task_id) for task_id in running()}
        if left:
            log.warning("closing ports that dead tasks left %s", fields(tasks=sorted(left)))
            self._remove(lambda found: comment(found) in left)

    def _remove(self, unwanted: Callable[[list[str]], bool]) -> None:
        with self._lock:
            for found in self._rules():
                try:
                    if unwanted(found):
                        self._run([*_IPTABLES, "-D", CHAIN, *found])
                        self._forget(_option(found, "-p"), int(_option(found, "--dport")))
                except TemporaryError as error:
                    # The next sweep repeats it.
                    log.warning("published ports cannot be read or closed, the next sweep tries again %s", fields(error=error))

    def _rules(self) -> Iterator[list[str]]:
        try:
            yield from rules(self._run([*_IPTABLES, "-S", CHAIN]))
        except TemporaryError as error:
            log.warning("published ports cannot be read or closed, the next sweep tries again %s", fields(error=error))

    def _forget(self, protocol: str, port: int) -> None:
        """Let a change hold for clients that send already: without connections, the kernel takes their packets for one flow."""
        if protocol != "udp":
            return
        try:
            self._run(["conntrack", "-D", "-p", protocol, "--orig-port-dst", str(port)])
        except TemporaryError as error:
            if "0 flow entries" not in str(error):
                log.warning("clients that send already stay with what had the port %s", fields(port=port, error=error))


def rule(task_id: str, address: str, port: Port, protocol: str) -> list[str]:
    """Return the rule of one port and protocol, as iptables takes it after the chain's name."""
    target = f"{address}:{port.container_port or port.host_port}"
    return [
        *("-p", protocol, "-m", protocol, "--dport", str(port.host_port)),
        *("-m", "comment", "--comment", _comment(task_id)),
        *("-j", "DNAT", "--to-destination", target),
    ]


def rules(listed: str) -> list[list[str]]:
    """Return the rules in the output of ``iptables -S``, each as iptables takes it."""
    lines = [shlex.split(line) for line in listed.splitlines()]
    return [words[2:] for words in lines if words[:1] == ["-A"] and "--comment" in words and "--dport" in words]


def comment(found: Sequence[str]) -> str:
    """Return whose a rule is."""
    return _option(found, "--comment")


def _comment(task_id: str) -> str:
    # The end of an id is what no other has.
    return task_id[-_COMMENT_MAX:]


def _option(found: Sequence[str], name: str) -> str:
    return found[found.index(name) + 1]
