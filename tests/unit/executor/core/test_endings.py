"""How a task ended, in words for people who were not there: a table of exit codes, and how long the words may be."""

from __future__ import annotations

import pytest

from eratos.executor.core.endings import MESSAGE_MAX, cut, death

MEMORY = "REASON_CONTAINER_LIMITATION_MEMORY"


@pytest.mark.parametrize(
    ("runtime", "code", "out_of_memory", "state", "reason", "message"),
    [
        ("docker", 0, False, "TASK_FINISHED", None, "exit code 0"),
        ("docker", 0, True, "TASK_FINISHED", None, "exit code 0"),  # a child hit the limit, and was survived
        ("docker", 137, True, "TASK_FAILED", MEMORY, "out of memory: the container hit its limit; raise the app's mem"),
        ("docker", None, True, "TASK_FAILED", MEMORY, "out of memory: the container hit its limit; raise the app's mem"),
        ("docker", 137, False, "TASK_FAILED", None, "exit code 137 (SIGKILL: killed from outside, or out of memory)"),
        ("docker", 1, False, "TASK_FAILED", None, "exit code 1"),
        ("docker", 125, False, "TASK_FAILED", None, "exit code 125 (the container could not be set up)"),
        ("process", 125, False, "TASK_FAILED", None, "exit code 125 (the process could not be set up)"),
        ("docker", 126, False, "TASK_FAILED", None, "exit code 126 (the command is not executable)"),
        ("process", 126, False, "TASK_FAILED", None, "exit code 126 (the command is not executable)"),
        ("docker", 127, False, "TASK_FAILED", None, "exit code 127 (the command was not found in the image)"),
        ("process", 127, False, "TASK_FAILED", None, "exit code 127 (the command was not found on the agent's host)"),
        ("docker", 128, False, "TASK_FAILED", None, "exit code 128"),
        ("docker", 129, False, "TASK_FAILED", None, "exit code 129 (SIGHUP)"),
        ("docker", 130, False, "TASK_FAILED", None, "exit code 130 (SIGINT)"),
        ("docker", 131, False, "TASK_FAILED", None, "exit code 131 (SIGQUIT)"),
        ("docker", 134, False, "TASK_FAILED", None, "exit code 134 (SIGABRT)"),
        ("docker", 139, False, "TASK_FAILED", None, "exit code 139 (SIGSEGV)"),
        ("docker", 143, False, "TASK_FAILED", None, "exit code 143 (SIGTERM)"),
        ("docker", 192, False, "TASK_FAILED", None, "exit code 192 (signal 64)"),
        ("docker", 193, False, "TASK_FAILED", None, "exit code 193"),
        ("docker", None, False, "TASK_FAILED", None, "the container is gone: somebody removed it"),
        ("process", None, False, "TASK_FAILED", None, "the process is gone: somebody removed it"),
    ],
)
def test_an_end_is_explained(
    runtime: str, code: int | None, out_of_memory: bool, state: str, reason: str | None, message: str
) -> None:
    update = death("t", runtime, code, out_of_memory, "")
    assert (update.state, update.reason or None, update.message) == (state, reason, message)


@pytest.mark.parametrize(
    ("log", "message"),
    [("", "exit code 1"), (" \n", "exit code 1"), ("\nboom\n", "exit code 1; last lines of its log:\nboom")],
)
def test_the_end_of_the_log_goes_with_it(log: str, message: str) -> None:
    assert death("t", "docker", 1, False, log).message == message


def test_nothing_is_longer_than_a_message_may_be() -> None:
    long = "a" * MESSAGE_MAX
    assert cut(long) == long
    assert cut(long + "b") == "..." + long[4:] + "b" and len(cut(long + "b")) == MESSAGE_MAX
    message = death("t", "docker", 1, False, long + "end").message
    assert len(message) == MESSAGE_MAX and message.endswith("aend") and message.startswith("exit code 1; last lines")
