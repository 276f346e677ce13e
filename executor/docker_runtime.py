"""Runs tasks as Docker containers: performs the machine's container actions and reports each result as an event.

Called by the loop, which must not wait: every action goes to a thread of a small pool, pulls to threads of their own, so that
neither a slow registry nor a slow start delays another task's start or stop. A start is two calls, create and start, and
nothing else: a missing image is learned from the refused create. The runtime knows no task but by its id; containers are
found by the name derived from it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from docker import errors

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from . import ports
from .core import actions as do
from .core import events as on
from .core.host import Host
from .docker_client import DockerClient, DockerFailure, status
from .docker_files import DockerFiles
from .docker_pulls import ImagePulls
from .docker_watch import DockerWatch
from .played_host import PlayedHost
from .runtimes import ContainerAction

log = logging.getLogger(__name__)

START_THREADS = 8
CONTROL_THREADS = 4
LOG_TAIL_LINES = 20

Emit = Callable[[on.Event], None]


class DockerRuntime:
    """Containers of one executor."""

    def __init__(
        self,
        client: DockerClient,
        sandbox: Path,
        host: Host,
        emit: Emit,
        alive: Callable[[str], bool],
        *,
        logins_file: str = "",
        port_wait_s: float = ports.WAIT_S,
        played: PlayedHost | None = None,
    ) -> None:
        """Files are fetched into ``sandbox``; ``alive`` tells whether another executor of this agent is; ``logins_file`` is
        as in :mod:`registry_logins`; ``played`` is the host where a container plays it.
        """
        self._files = DockerFiles(client, sandbox, emit)
        self._played = played
        self._host_label = f"{names.LABEL_HOST}={host.name}"
        self._logins_file = logins_file
        self._client = client
        self._emit = emit if played is None else partial(self._emit_closed, played, emit)
        self._port_wait_s = port_wait_s
        self._watch = DockerWatch(client, host, self._emit, alive)
        self._starts = ThreadPoolExecutor(START_THREADS, "start")
        self._controls = ThreadPoolExecutor(CONTROL_THREADS, "control")
        self._pulls = ImagePulls(client, emit, lambda action: self._starts.submit(self._start, action, pulled=True))

    def start(self) -> None:
        """Begin to watch: deaths are reported from here on, and a first listing comes at once."""
        self._watch.start()

    def stop(self, timeout_s: float) -> None:
        """Let what was asked for finish, no longer than ``timeout_s``; accept nothing more."""
        self._watch.stop()
        self._starts.shutdown(wait=False, cancel_futures=True)
        done = threading.Thread(target=self._controls.shutdown, daemon=True)
        done.start()
        done.join(timeout_s)
        self._client.close()

    def has(self, task_id: str) -> bool:
        """Return True: only Docker knows which containers there are, and asking for one that is not there is fine."""
        return True

    def perform(self, action: ContainerAction) -> None:
        """Carry out an action on another thread. Never raises, never waits."""
        match action:
            case do.StartContainer():
                self._starts.submit(self._start, action)
            case do.CancelStart():
                self._pulls.cancel(action.task_id)
                self._files.cancel(action.task_id)
            case do.StopContainer():
                self._controls.submit(self._signal, action.task_id, graceful=True)
            case do.KillContainer():
                self._controls.submit(self._signal, action.task_id, graceful=False)
            case do.ExamineContainer():
                self._controls.submit(self._examine, action.task_id)
            case do.RemoveContainer():
                self._controls.submit(self._remove, action.task_id)

    # Starting --------------------------------------------------------------------------------------------------------

    def _start(self, action: do.StartContainer, *, pulled: bool = False) -> None:
        try:
            if self._played is not None:
                self._played.claim((*action.host_ports, *action.udp_ports))
            if taken := ports.taken_ports(action.host_ports, self._port_wait_s):
                self._emit(on.StartFailed(action.task_id, taken))
            elif not self._files.ready(action):
                self._files.wait_for(action, lambda: self._starts.submit(self._start, action))
            elif action.force_pull and not pulled:
                self._pull(action)
            else:
                self._emit(on.ContainerStarted(action.task_id, self._create_and_start(action)))
        except errors.ImageNotFound as error:
            if pulled:
                self._emit(on.StartFailed(action.task_id, self._client.explain(error)))
            else:
                self._pull(action)
        except TemporaryError as error:
            self._emit(on.StartFailed(action.task_id, f"the ports of the task cannot be published: {error}"))
        except DockerFailure as error:
            self._emit(on.StartFailed(action.task_id, self._start_message(action, error)))
        except Exception:  # thread edge: the machine waits for an answer (rule 60)
            log.exception("start of a container broke, please report this as a bug %s", fields(task_id=action.task_id))
            self._emit(on.StartFailed(action.task_id, "internal error of the executor, see its log"))

    def _pull(self, action: do.StartContainer) -> None:
        self._pulls.wait_for(action, self._files.logins_file(action) or self._logins_file)

    def _create_and_start(self, action: do.StartContainer) -> str:
        """Return the container's own address, or an empty text where it shares the host's. Raises TemporaryError too."""
        api = self._client.api
        try:
            container = api.create_container_from_config(action.config, action.name)
        except errors.APIError as error:
            if status(error) != 409:
                raise
            # A create whose answer was lost: names carry the task id, so the container is ours and never ran.
            api.remove_container(action.name, force=True, v=True)
            container = api.create_container_from_config(action.config, action.name)
        self._files.copy(action, container["Id"])
        api.start(container["Id"])
        if action.fetch:
            self._files.remove(action.task_id)
        network = action.config["HostConfig"]["NetworkMode"]
        if network in ("host", "none") or network.startswith("container:"):
            return ""
        # The field of the same name above it is deprecated (docs.docker.com/engine/deprecated). It is empty once the task ended.
        address = str(api.inspect_container(container["Id"])["NetworkSettings"]["Networks"][network]["IPAddress"])
        if self._played is not None and action.publish and address:
            self._played.publish(action.task_id, address, action.publish)
            if not api.inspect_container(container["Id"])["State"]["Running"]:
                self._played.withdraw(action.task_id)  # its end was reported before there was anything to close
        return address

    def _emit_closed(self, played: PlayedHost, emit: Emit, event: on.Event) -> None:
        """Emit an event, but close a task's ports before anybody hears of its end: they may be another's right afterwards."""
        match event:
            case on.ContainerDied(task_id):
                played.withdraw(task_id)
            case on.ContainersListed():
                played.sweep(self._running_on_host)
        emit(event)

    def _running_on_host(self) -> set[str]:
        """Return the tasks that run on this host, whosever they are. Raises one of DockerFailure."""
        found = self._client.api.containers(filters={"label": self._host_label})
        return {container["Labels"].get(names.LABEL_TASK, "") for container in found}

    def _start_message(self, action: do.StartContainer, error: Exception) -> str:
        text = self._client.explain(error)
        if "port is already allocated" in text or "address already in use" in text:
            return f"a port of the task is already taken on this host: {text}"
        if status(error):
            return f"Docker refused to start image {action.image}: {text}"
        return text

    # Stopping --------------------------------------------------------------------------------------------------------

    def _signal(self, task_id: str, *, graceful: bool) -> None:
        name = names.container_name(task_id)
        try:
            signal = "SIGKILL"
            if graceful:
                signal = self._client.api.inspect_container(name)["Config"].get("StopSignal") or "SIGTERM"
            self._client.api.kill(name, signal)
        except DockerFailure as error:
            if status(error) in (404, 409):
                self._emit(on.ContainerDied(task_id))  # gone, or there and not running
            else:
                # The machine asks again at its deadline.
                log.warning("cannot signal %s", fields(task_id=task_id, error=self._client.explain(error)))
        except Exception:  # thread edge: the machine asks again at its deadline
            log.exception("signalling broke, please report this as a bug %s", fields(task_id=task_id))

    def _examine(self, task_id: str) -> None:
        name = names.container_name(task_id)
        found = on.ContainerExamined(task_id)
        try:
            state = self._client.api.inspect_container(name)["State"]
            found = on.ContainerExamined(task_id, state["ExitCode"], state["OOMKilled"])
            if state["ExitCode"] != 0:
                tail = self._client.api.logs(name, tail=LOG_TAIL_LINES).decode(errors="replace")
                found = on.ContainerExamined(task_id, state["ExitCode"], state["OOMKilled"], tail)
        except DockerFailure as error:
            log.warning("cannot examine %s", fields(task_id=task_id, error=self._client.explain(error)))
        except Exception:  # thread edge: the machine waits for an answer (rule 61)
            log.exception("examining broke, please report this as a bug %s", fields(task_id=task_id))
        self._emit(found)

    def _remove(self, task_id: str) -> None:
        try:
            self._files.remove(task_id)
            self._client.api.remove_container(names.container_name(task_id), force=True, v=True)
            if self._played is not None:
                self._played.withdraw(task_id)  # its end is not reported any more when the executor is leaving
        except DockerFailure as error:
            if status(error) not in (404, 409):  # gone, or being removed
                # The next listing shows it again, and the machine asks again.
                log.warning("cannot remove %s", fields(task_id=task_id, error=self._client.explain(error)))
        except Exception:  # thread edge: the next listing repeats it
            log.exception("removing broke, please report this as a bug %s", fields(task_id=task_id))

    # Commands inside a container, for health checks ------------------------------------------------------------------

    def command_start(self, task_id: str, command: str) -> str:
        """Start a shell command inside a task's container and return its id. Raises TemporaryError."""
        try:
            created = self._client.api.exec_create(names.container_name(task_id), ["/bin/sh", "-c", command])
            self._client.api.exec_start(created["Id"], detach=True)
            return str(created["Id"])
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error

    def command_stop(self, command_id: str) -> None:
        """Do nothing: Docker has no call to end a command; it ends with its container at the latest."""

    def command_result(self, command_id: str) -> int | None:
        """Return the exit code of a command, None while it runs. Raises TemporaryError."""
        try:
            found = self._client.api.exec_inspect(command_id)
            return None if found["Running"] else int(found["ExitCode"])
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error
