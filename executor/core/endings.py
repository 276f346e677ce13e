"""Terminal updates that say why, for people who were not there."""

from __future__ import annotations

from typing import Final

from .updates import StatusUpdate

#: Status messages travel through the agent, the master and the store: keep them small.
MESSAGE_MAX: Final = 2048
_SIGNALLED: Final = 128
_SIGNALS: Final = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
_HINTS: Final = {
    # Docker does not always notice that the kernel's memory killer was at work.
    137: "SIGKILL: killed from outside, or out of memory",
    125: "the container could not be set up",
    126: "the command is not executable",
    127: "the command was not found in the image",
}
_HINTS_OF_PROCESSES: Final = _HINTS | {
    125: "the process could not be set up",
    127: "the command was not found on the agent's host",
}


def cut(message: str) -> str:
    """Shorten a message from its front: what was said last explains most."""
    return message if len(message) <= MESSAGE_MAX else "..." + message[3 - MESSAGE_MAX :]


def of_container(container: str, message: str) -> str:
    """Say of which container of a pod a message is."""
    return cut(f"container {container}: {message}")


def death(task_id: str, runtime: str, exit_code: int | None, out_of_memory: bool, log_tail: str) -> StatusUpdate:
    """Return the terminal update of a container that ended by itself, or of a process."""
    # Docker sets the mark for any process of the container, a child that was survived included.
    if out_of_memory and exit_code != 0:
        message = "out of memory: the container hit its limit; raise the app's mem"
        return StatusUpdate(task_id, "TASK_FAILED", _with_log(message, log_tail), reason="REASON_CONTAINER_LIMITATION_MEMORY")
    if exit_code == 0:
        return StatusUpdate(task_id, "TASK_FINISHED", "exit code 0")
    if exit_code is None:
        message = f"the {'container' if runtime == 'docker' else 'process'} is gone: somebody removed it"
    else:
        hint = (_HINTS if runtime == "docker" else _HINTS_OF_PROCESSES).get(exit_code) or _signal(exit_code)
        message = f"exit code {exit_code} ({hint})" if hint else f"exit code {exit_code}"
    return StatusUpdate(task_id, "TASK_FAILED", _with_log(message, log_tail))


def _signal(exit_code: int) -> str:
    number = exit_code - _SIGNALLED
    return _SIGNALS.get(number, f"signal {number}") if 0 < number < 65 else ""


def _with_log(message: str, log_tail: str) -> str:
    if not log_tail.strip():
        return message
    head = f"{message}; last lines of its log:\n"
    room = MESSAGE_MAX - len(head)
    return head + log_tail.strip()[-room:]
