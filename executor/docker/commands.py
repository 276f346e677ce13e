"""Shell commands in running containers, for health checks and news of what tasks require. Used by the Docker runtime only.

Docker has no call to end a command (``docker exec``), and its process id is one of the daemon's machine, which may be another.
So each command is marked in its environment, and ended by a second one in the same container: nothing but ``/bin/sh`` is needed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from docker import APIClient

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .client import DockerClient, DockerFailure, status

log = logging.getLogger(__name__)

#: In a command's environment, so that it can be found.
MARK = "ERATOS_CHECK"
#: How long an end is looked for at a time.
_END_S = 3.0
_PAUSE_S = 0.05

#: Finds what bears a mark, with all that is below it or in its sessions, whatever that has made of its environment; kills it at
#: once, and looks again until there is none, for one may have forked just before it died. Built-ins of a POSIX shell alone.
_END = """
mark=$1 rounds=0
while [ $rounds -lt 20 ]; do
  rounds=$((rounds + 1)) found= more=1
  while [ -n "$more" ]; do
    more=
    for folder in /proc/[0-9]*; do
      pid=${folder#/proc/}
      case " $found " in *" $pid "*) continue;; esac
      [ "$pid" = $$ ] && continue
      read -r line <$folder/stat || continue
      set -- ${line##*) }
      [ "$1" = Z ] && continue
      ours=
      case " $found " in *" $2 "*|*" $4 "*) ours=1;; esac
      if [ -z "$ours" ]; then
        while read -r line || [ -n "$line" ]; do
          case $line in *"$mark"*) ours=1; break;; esac
        done <$folder/environ
      fi
      [ -n "$ours" ] && found="$found $pid" more=1
    done
  done
  [ -n "$found" ] || exit 0
  kill -9 $found
done 2>/dev/null
exit 1
"""


class DockerCommands:
    """Commands under way, by id: Docker's own and the mark. Safe for several threads."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client

    def start(self, task_id: str, command: str, container: str, env: Mapping[str, str]) -> str:
        """Start a command in a task's container, or one of a pod's, and return its id; ``env`` beside its own.

        Raises TemporaryError.
        """
        mark, name = uuid.uuid4().hex, names.container_name(task_id, container)
        found = self._begin(name, [command], {**env, MARK: mark})
        return f"{found} {mark} {name}"

    def run(self, task_id: str, script: list[str], timeout_s: float) -> int | None:
        """Run a short script in a task's container; return its exit code, None where it takes longer. Raises TemporaryError."""
        running = self._begin(names.container_name(task_id), script)
        deadline = time.monotonic() + timeout_s
        while (code := self._result(running)) is None and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return code

    def result(self, command_id: str) -> int | None:
        """Return a command's exit code, None while it runs. Raises TemporaryError."""
        return self._result(command_id.split()[0])

    def end(self, command_id: str) -> bool:
        """Kill a command with all that it has started; return whether it has ended. Raises TemporaryError."""
        own_id, mark, container = command_id.split()
        try:
            killing = self._begin(container, [_END, "end", mark])
            deadline = time.monotonic() + _END_S
            while self._result(killing) is None and time.monotonic() < deadline:
                time.sleep(_PAUSE_S)
        except _Refused:
            pass  # it has ended with its container, or that is paused and it hangs in there
        try:
            return not self._inspect(own_id)["Running"]
        except _Refused:
            return True

    def _begin(self, container: str, script: list[str], environment: dict[str, str] | None = None) -> str:
        try:
            api = self._client.api
            created = api.exec_create(container, ["/bin/sh", "-c", *script], environment=environment)
            self._start(api, created["Id"])
        except DockerFailure as error:
            raise self._failure(error) from error
        return str(created["Id"])

    def _start(self, api: APIClient, exec_id: str) -> None:
        try:
            api.exec_start(exec_id, detach=True)
        except DockerFailure as error:
            if status(error):
                raise
            # Without an answer it may run all the same, so its end is to be seen to as any other's.
            log.warning("a command may have been started %s", fields(error=self._client.explain(error)))

    def _result(self, exec_id: str) -> int | None:
        found = self._inspect(exec_id)
        return None if found["Running"] or found["ExitCode"] is None else int(found["ExitCode"])

    def _inspect(self, exec_id: str) -> dict[str, Any]:
        try:
            return dict(self._client.api.exec_inspect(exec_id))
        except DockerFailure as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> TemporaryError:
        kind = _Refused if status(error) in (404, 409) else TemporaryError
        return kind(self._client.explain(error))


class _Refused(TemporaryError):
    """There is no such container or command, or it does not run."""
