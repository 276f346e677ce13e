"""The sandbox of Docker tasks, with what they fetch: into a folder of the executor's, and from there into the container
before it starts.

Copied over the Docker API and not mounted: the daemon may be on another machine, or in front of one that only plays a host.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from .core import actions as do
from .core import events as on
from .core.container import SANDBOX
from .docker_client import DockerClient
from .fetcher import Fetches

#: Where logins to registries are among an app's files, as Marathon's documentation has it (native-docker-private-registry.md).
_LOGINS = (".docker/config.json", ".dockercfg")


class DockerFiles:
    """The files of each start that has some. Not for two threads with one task at once."""

    def __init__(self, client: DockerClient, sandbox: Path, emit: Callable[[on.Event], None]) -> None:
        self._client = client
        self._folder = sandbox / "fetched"
        self._fetches = Fetches(emit)
        self._ready: set[str] = set()

    def ready(self, action: do.StartContainer) -> bool:
        """Tell whether a start has what it needs."""
        return not action.fetch or action.task_id in self._ready

    def wait_for(self, action: do.StartContainer, go_on: Callable[[], object]) -> None:
        """Fetch a start's files and let it go on then, or fail it."""

        def fetched() -> None:
            self._ready.add(action.task_id)
            go_on()

        folder = self._of(action.task_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fetches.wait_for(action, folder, fetched)

    def cancel(self, task_id: str) -> None:
        self._fetches.cancel(task_id)

    def logins_file(self, action: do.StartContainer) -> str:
        """Return the logins to registries that the app brought along, or an empty text."""
        found = (self._of(action.task_id) / name for name in _LOGINS if action.fetch)
        return next((str(file) for file in found if file.is_file()), "")

    def copy(self, action: do.StartContainer, container_id: str) -> None:
        """Put the sandbox into a container, with the files if there are some. Raises one of DockerFailure."""
        if not action.fetch and SANDBOX in action.config["HostConfig"].get("Tmpfs", {}):
            return  # the container makes its own
        with tempfile.TemporaryFile(dir=self._folder if action.fetch else None) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                sandbox = PurePosixPath(SANDBOX.strip("/"))
                for folder in (*list(reversed(sandbox.parents))[1:], sandbox):
                    entry = tarfile.TarInfo(str(folder))
                    entry.type = tarfile.DIRTYPE
                    # The task's user is known in its image only, so all may write, as in /tmp.
                    entry.mode = 0o1777 if folder == sandbox else 0o755
                    tar.addfile(entry)
                for path in sorted(self._of(action.task_id).iterdir()) if action.fetch else ():
                    tar.add(path, str(sandbox / path.name), filter=_of_root)
            file.seek(0)
            self._client.api.put_archive(container_id, "/", file)

    def remove(self, task_id: str) -> None:
        """Remove a task's files, once they are in its container or will never be. One without files is fine."""
        self._ready.discard(task_id)
        shutil.rmtree(self._of(task_id), ignore_errors=True)

    def _of(self, task_id: str) -> Path:
        return self._folder / PurePosixPath(task_id).name


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
