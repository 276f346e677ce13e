"""Runs tasks as Docker containers: performs the machine's container actions and reports each result as an event.

Called by the loop, which must not wait: every action goes to a thread of a small pool (:mod:`work_queue`), pulls to threads of
their own, so that neither a slow registry nor a slow start delays another task's start or stop. A start is two calls, create and
start, and nothing else: a missing image is learned from the refused create. The runtime knows no task but by its id; containers
are found by the name derived from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from docker import errors

from eratos.common import mounts, names
from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.log import fields

from .. import ports, secret_store
from ..core import actions as do
from ..core import events as on
from ..core.host import Host
from ..core.usage import Reading
from ..fetch_rules import FetchRules
from ..played_host import PlayedHost
from ..runtimes import NO_VARIABLES, ContainerAction
from ..secret_store import NoSecrets, Secrets
from ..work_queue import Urgency, WorkQueue
from . import pulls, usage
from .client import DockerClient, DockerFailure, status
from .commands import DockerCommands
from .files import DockerFiles
from .members import Members
from .pulls import ImagePulls
from .registry_logins import Logins
from .volumes import DockerVolumes
from .watch import DockerWatch

log = logging.getLogger(__name__)

THREADS = 12
#: What else hangs with the daemon leaves a thread for stops.
THREADS_MOST = {Urgency.START: 8, Urgency.TIDY: 3}
LOG_TAIL_LINES = 20
#: Longest that a file may take to be moved to its place in a container.
_PUT_S = 5.0
#: Images of a pod come one after another, so that two stages by turns are enough.
_STAGES = ("start", "fetched", "pulled", "pulled again")

Emit = Callable[[on.Event], None]


class _Missing(Exception):
    """The image of one of a start's containers is not on this host."""

    def __init__(self, start: do.StartContainer, message: str) -> None:
        super().__init__(message)
        self.start = start


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
        pull_stall_s: float = pulls.STALL_S,
        played: PlayedHost | None = None,
        store: Secrets = NoSecrets(),  # noqa: B008  nothing in it can change
        rules: FetchRules = FetchRules(),  # noqa: B008
    ) -> None:
        """``sandbox`` holds the tasks' sandboxes; ``alive`` returns whether another executor of this agent is; ``logins_file`` is
        as in :mod:`registry_logins`, ``pull_stall_s`` as in :mod:`.core.pull_progress`; ``played`` is the host where a
        container plays it.
        """
        self._files = DockerFiles(client, sandbox, host, emit, rules)
        self._played = played
        self._store = store
        self._host_label = f"{names.LABEL_HOST}={host.name}"
        self._logins_file = logins_file
        self._client = client
        self._emit = emit if played is None else partial(self._emit_closed, played, emit)
        self._port_wait_s = port_wait_s
        self._commands = DockerCommands(client)
        self._members = Members()
        self.volumes = DockerVolumes(client, host, port_wait_s)
        self._watch = DockerWatch(client, host, self._told, alive, self._members)
        self._unheard: set[str] = set()  #: tasks whose stop Docker was away for
        self._work = WorkQueue("docker", THREADS, THREADS_MOST)
        self._pulls = ImagePulls(client, emit, self._pulled, stall_s=pull_stall_s)

    def start(self) -> None:
        """Begin to watch: deaths are reported from here on, and a first listing comes at once."""
        self._watch.start()

    def stop(self, timeout_s: float) -> None:
        """Let what was asked for finish, no longer than ``timeout_s``; accept nothing more."""
        self._watch.stop()
        self._work.stop(timeout_s)
        self._client.close()

    def has(self, task_id: str) -> bool:
        """Return True: only Docker knows which containers there are, and asking for one that is not there is fine."""
        return True

    def perform(self, action: ContainerAction) -> None:
        """Carry out an action on another thread. Never raises, never waits."""
        match action:
            case do.StartContainer():
                self._begin("start", action)
            case do.CancelStart(task_id):
                self._pulls.cancel(task_id)
                self._files.cancel(task_id)
                if any(self._work.drop((stage, task_id)) for stage in _STAGES):
                    self._emit(on.StartFailed(task_id, "cancelled before Docker was asked to start it"))
            case do.StopContainer(task_id):
                self._work.submit(Urgency.STOP, ("stop", task_id), partial(self._signal, task_id, graceful=True))
            case do.KillContainer(task_id):
                self._work.submit(Urgency.STOP, ("kill", task_id), partial(self._signal, task_id, graceful=False))
            case do.ExamineContainer(task_id, container):
                self._work.submit(Urgency.TIDY, ("examine", task_id), partial(self._examine, task_id, container))
            case do.DestroyVolume(volume_id):
                self._work.submit(Urgency.TIDY, ("destroy", volume_id), partial(self._destroy, action))
            case do.RemoveContainer(task_id):
                self._work.submit(Urgency.TIDY, ("remove", task_id), partial(self._remove, task_id))

    def _begin(self, stage: str, action: do.StartContainer) -> None:
        """Have a stage of a start done; each has a key of its own, as it may be asked for while the one before ends."""
        self._work.submit(Urgency.START, (stage, action.task_id), partial(self._start, action))

    def _pulled(self, action: do.StartContainer, image: str) -> None:
        """Go on with a start one of whose images has come."""
        done = replace(action, pulled=action.pulled | {image})
        self._begin(_STAGES[-1 - len(done.pulled) % 2], done)

    # Starting --------------------------------------------------------------------------------------------------------

    def _start(self, action: do.StartContainer) -> None:
        for each in action.all:
            self._members.seen(action.task_id, each.container)
        try:
            if self._played is not None:
                self._played.claim((*action.host_ports, *action.udp_ports))
            if taken := ports.taken_ports(action.host_ports, self._port_wait_s, partial(self._preparing, action.task_id)):
                self._emit(on.StartFailed(action.task_id, taken))
            elif not self._files.ready(action):
                self._files.wait_for(action, lambda: self._begin("fetched", action))
            elif forced := [each for each in action.all if each.force_pull and each.image not in action.pulled]:
                self._pull(action, forced[0])
            else:
                self._emit(on.ContainerStarted(action.task_id, self._create_and_start(action)))
        except _Missing as missing:
            if missing.start.image in action.pulled:
                self._emit(on.StartFailed(action.task_id, str(missing)))
            else:
                self._pull(action, missing.start)
        except (TemporaryError, PermanentError) as error:
            self._emit(on.StartFailed(action.task_id, str(error)))
        except DockerFailure as error:
            self._emit(on.StartFailed(action.task_id, self._start_message(action, error)))
        except Exception:  # thread edge: the machine waits for an answer (rule 60)
            log.exception("start of a container broke, please report this as a bug %s", fields(task_id=action.task_id))
            self._emit(on.StartFailed(action.task_id, "internal error of the executor, see its log"))

    def _preparing(self, task_id: str, what: str) -> None:
        self._emit(on.Preparing(task_id, what))

    def _pull(self, action: do.StartContainer, of: do.StartContainer) -> None:
        """Pull the image of one of a start's containers, or fail the start where the logins to its registry are not there."""
        try:
            content = self._store.read(of.pull_secret) if of.pull_secret else b""
        except (TemporaryError, PermanentError) as error:
            self._emit(on.StartFailed(action.task_id, str(error)))
            return
        logins = Logins("" if content else self._files.logins_file(action, of) or self._logins_file, content)
        self._pulls.wait_for(action, of.image, logins)

    def _create_and_start(self, action: do.StartContainer) -> str:
        """Return the container's own address, or an empty text where it shares the host's. Raises one of DockerFailure,
        TemporaryError or PermanentError, and _Missing.
        """
        container_id, *others = [self._create(each) for each in action.all]
        self._files.done(action)
        self._client.api.start(container_id)
        try:
            for other in others:
                self._client.api.start(other)
        except errors.APIError:
            if self._client.api.inspect_container(container_id)["State"]["Running"]:
                raise
            # The first one has ended already, and its network with it: its end is the answer, not this.
            log.debug("the rest of a pod is not started %s", fields(task_id=action.task_id))
            return ""
        return self._address(action, container_id)

    def _create(self, action: do.StartContainer) -> str:
        """Create a container with all that it needs, and return its id. Raises as :meth:`_create_and_start`."""
        api = self._client.api
        for volume in action.volumes:
            self.volumes.ready(volume, action.name)
        for of_driver in action.of_drivers:
            self.volumes.find_or_make(of_driver, self._secret_options(of_driver), action.name)
        if action.secret_env:
            held = (f"{name}={value}" for name, value in secret_store.variables(self._store, action.secret_env).items())
            action = replace(action, config={**action.config, "Env": [*action.config["Env"], *held]})
        files = secret_store.archive(self._store, action.secret_files) if action.secret_files else b""
        try:
            container_id = self._files.create(action)
        except errors.ImageNotFound as error:
            raise _Missing(action, self._client.explain(error)) from error
        except errors.APIError as error:
            if status(error) != 409:
                raise
            # A create whose answer was lost, or one of a pod before an image was pulled for another container of it: names
            # carry the task id, so the container is ours and never ran.
            api.remove_container(action.name, force=True, v=True)
            container_id = self._files.create(action)
        if files:
            api.put_archive(container_id, "/", files)
        for network in action.networks:
            api.connect_container_to_network(container_id, network)
        return container_id

    def _destroy(self, action: do.DestroyVolume) -> None:
        try:
            error = self.volumes.destroy(action)
        except DockerFailure as failure:
            error = self._client.explain(failure)
        except Exception:  # thread edge: the scheduler asks again
            log.exception("destroying a volume broke, please report this as a bug %s", fields(volume=action.name))
            error = "internal error of the executor, see its log"
        self._emit(on.VolumeDestroyed(action.volume_id, error))

    def _address(self, action: do.StartContainer, container_id: str) -> str:
        api = self._client.api
        network = action.config["HostConfig"]["NetworkMode"]
        if network in ("host", "none") or network.startswith("container:"):
            return ""
        # The field of the same name above it is deprecated (docs.docker.com/engine/deprecated). It is empty once the task ended.
        address = str(api.inspect_container(container_id)["NetworkSettings"]["Networks"][network]["IPAddress"])
        if self._played is not None and action.publish and address:
            self._played.publish(action.task_id, address, action.publish)
            if not api.inspect_container(container_id)["State"]["Running"]:
                self._played.withdraw(action.task_id)  # its end was reported before there was anything to close
        return address

    def _told(self, event: on.Event) -> None:
        """Hand on what the watch has seen. A listing comes as soon as Docker is back, so this is when it hears of lost stops."""
        self._emit(event)
        if isinstance(event, on.ContainersListed):
            while self._unheard:
                task_id = self._unheard.pop()
                if task_id in event.running | event.partly:
                    self.perform(do.StopContainer(task_id))

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

    def _secret_options(self, volume: do.HostDriverVolume) -> Mapping[str, str]:
        """Return the options of a volume that are secrets. Raises PermanentError."""
        return secret_store.variables(self._store, volume.secret_options)

    def _start_message(self, action: do.StartContainer, error: Exception) -> str:
        text = self._client.explain(error)
        for volume in action.of_drivers:
            # Docker mounts as late as this, and says what it tried to mount.
            try:
                text = mounts.without(text, self._secret_options(volume).values())
            except (TemporaryError, PermanentError) as unreadable:
                return f"Docker refused to start image {action.image}, and why may hold a secret: {unreadable}"
        if "port is already allocated" in text or "address already in use" in text:
            return f"a port of the task is already taken on this host: {text}"
        if status(error):
            images = ", ".join(dict.fromkeys(each.image for each in action.all))
            return f"Docker refused to start image {images}: {text}"
        return text

    # Stopping --------------------------------------------------------------------------------------------------------

    def _signal(self, task_id: str, *, graceful: bool) -> None:
        for container in self._members.of(task_id):
            self._signal_one(task_id, container, graceful=graceful)

    def _signal_one(self, task_id: str, container: str, *, graceful: bool) -> None:
        name = names.container_name(task_id, container)
        try:
            signal = "SIGKILL"
            if graceful:
                signal = self._client.api.inspect_container(name)["Config"].get("StopSignal") or "SIGTERM"
            self._client.api.kill(name, signal)
        except DockerFailure as error:
            if status(error) in (404, 409):
                self._emit(on.ContainerDied(task_id, container=container))  # gone, or there and not running
            else:
                if graceful:
                    self._unheard.add(task_id)
                # The machine kills at its deadline, again and again.
                log.warning("cannot signal %s", fields(task_id=task_id, error=self._client.explain(error)))
        except Exception:  # thread edge: the machine asks again at its deadline
            log.exception("signalling broke, please report this as a bug %s", fields(task_id=task_id))

    def _examine(self, task_id: str, container: str) -> None:
        name = names.container_name(task_id, container)
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
            for name in self._members.docker_names(task_id):
                self._remove_one(name)
            self._members.forget(task_id)
            if self._played is not None:
                self._played.withdraw(task_id)  # its end is not reported any more when the executor is leaving
        except DockerFailure as error:
            # The next listing shows it again, and the machine asks again.
            log.warning("cannot remove %s", fields(task_id=task_id, error=self._client.explain(error)))
        except Exception:  # thread edge: the next listing repeats it
            log.exception("removing broke, please report this as a bug %s", fields(task_id=task_id))

    def _remove_one(self, name: str) -> None:
        """Remove a container by its name. Raises one of DockerFailure."""
        try:
            self._client.api.remove_container(name, force=True, v=True)
        except DockerFailure as error:
            if status(error) not in (404, 409):  # gone, or being removed
                raise

    # News for a container, and commands inside it -------------------------------------------------------------------

    def put_file(self, task_id: str, path: str, text: str) -> None:
        """Put a file into a running task's sandbox at once, in place of one that is there. Raises TemporaryError."""
        try:
            self._files.put(task_id, path, text, lambda script: self._commands.run(task_id, script, _PUT_S))
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error

    def signal(self, task_id: str, name: str) -> None:
        """Send a signal to the container's first process. Raises TemporaryError."""
        try:
            self._client.api.kill(names.container_name(task_id), name)
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error

    def readings(self, task_ids: Collection[str]) -> Mapping[str, Reading]:
        """Return what tasks take, of a pod all of its containers together."""
        return usage.readings(self._client, {task_id: self._members.docker_names(task_id) for task_id in task_ids})

    def command_start(self, task_id: str, command: str, container: str = "", env: Mapping[str, str] = NO_VARIABLES) -> str:
        """Start a shell command inside a task's container, or one of a pod's, and return its id. Raises TemporaryError."""
        return self._commands.start(task_id, command, container, env)

    def command_told(self, command_id: str) -> int | None:
        """Return None: Docker tells nobody of a command's end."""
        return None

    def command_result(self, command_id: str) -> int | None:
        """Return the exit code of a command, None while it runs. Raises TemporaryError."""
        return self._commands.result(command_id)

    def command_stop(self, command_id: str) -> bool:
        """End a command that takes too long, with all that it has started; return whether it has ended. Raises TemporaryError."""
        return self._commands.end(command_id)
