"""The runtimes behind one front: each task belongs to the one that can run it. Called by the loop and by the prober."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from .core import actions as do
from .core.usage import Reading

ContainerAction = (
    do.StartContainer
    | do.StartProcess
    | do.CancelStart
    | do.StopContainer
    | do.KillContainer
    | do.ExamineContainer
    | do.RemoveContainer
    | do.DestroyVolume
)


NO_VARIABLES: Mapping[str, str] = {}


class Runtime(Protocol):
    """Runs tasks; tests/contract/test_runtimes.py says what that means.

    Every start ends in ContainerStarted or StartFailed, every end of a task in ContainerDied, every ExamineContainer in
    ContainerExamined; after :meth:`start` a ContainersListed names what a dead executor left.
    """

    def start(self) -> None: ...

    def stop(self, timeout_s: float) -> None:
        """Let what was asked for finish, no longer than ``timeout_s``; accept nothing more."""

    def has(self, task_id: str) -> bool:
        """Return whether a task is surely this runtime's."""

    def perform(self, action: ContainerAction) -> None:
        """Carry out an action on another thread. Never raises, never waits."""

    def put_file(self, task_id: str, path: str, text: str) -> None:
        """Put a file into a running task's sandbox, in place of one that is there: readers see the one or the other, whole.

        Raises TemporaryError.
        """

    def signal(self, task_id: str, name: str) -> None:
        """Send a signal such as ``SIGHUP`` to a running task. Raises TemporaryError."""

    def command_start(self, task_id: str, command: str, container: str = "", env: Mapping[str, str] = NO_VARIABLES) -> str:
        """Start a shell command in a task's container, or one of a pod's, and return its id; ``env`` beside its own.

        Raises TemporaryError.
        """

    def command_told(self, command_id: str) -> int | None:
        """Return a descriptor that can be read from once a command has ended; None: it has to be asked now and then.

        It is there until :meth:`command_result` has returned a code, or :meth:`command_stop` that it has ended. Never waits.
        """

    def command_result(self, command_id: str) -> int | None:
        """Return a command's exit code, None while it runs. Raises TemporaryError."""

    def command_stop(self, command_id: str) -> bool:
        """End a command that takes too long, with all that it has started; return whether it has ended. Raises TemporaryError."""

    def readings(self, task_ids: Collection[str]) -> Mapping[str, Reading]:
        """Return what tasks take of CPU and memory, by their ids. Those of which that is not known, or which do not run, are
        left out. Never raises.
        """


class Runtimes:
    """A Runtime out of those that are switched on; the machine asks none that is not (core/start.py)."""

    def __init__(self, found: Mapping[str, Runtime]) -> None:
        """``found`` by name, at least one; for a task that none surely has the last one is asked."""
        self._found = dict(found)

    def start(self) -> None:
        for runtime in self._found.values():
            runtime.start()

    def stop(self, timeout_s: float) -> None:
        for runtime in self._found.values():
            runtime.stop(timeout_s)

    def has(self, task_id: str) -> bool:
        return any(runtime.has(task_id) for runtime in self._found.values())

    def perform(self, action: ContainerAction) -> None:
        match action:
            case do.StartContainer():
                self._found["docker"].perform(action)
            case do.DestroyVolume():
                if "docker" in self._found:  # else another executor of this host has to, and is asked as well
                    self._found["docker"].perform(action)
            case do.StartProcess():
                self._found["process"].perform(action)
            case _:
                self._found[self._of(action.task_id)].perform(action)

    def put_file(self, task_id: str, path: str, text: str) -> None:
        self._found[self._of(task_id)].put_file(task_id, path, text)

    def signal(self, task_id: str, name: str) -> None:
        self._found[self._of(task_id)].signal(task_id, name)

    def command_start(self, task_id: str, command: str, container: str = "", env: Mapping[str, str] = NO_VARIABLES) -> str:
        name = self._of(task_id)
        return f"{name} {self._found[name].command_start(task_id, command, container, env)}"

    def command_told(self, command_id: str) -> int | None:
        name, _, own_id = command_id.partition(" ")
        return self._found[name].command_told(own_id)

    def command_result(self, command_id: str) -> int | None:
        name, _, own_id = command_id.partition(" ")
        return self._found[name].command_result(own_id)

    def command_stop(self, command_id: str) -> bool:
        name, _, own_id = command_id.partition(" ")
        return self._found[name].command_stop(own_id)

    def readings(self, task_ids: Collection[str]) -> Mapping[str, Reading]:
        found: dict[str, Reading] = {}
        for name, runtime in self._found.items():
            found |= runtime.readings([task_id for task_id in task_ids if self._of(task_id) == name])
        return found

    def _of(self, task_id: str) -> str:
        return next((name for name, runtime in self._found.items() if runtime.has(task_id)), list(self._found)[-1])
