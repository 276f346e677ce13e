"""The sandbox of Docker tasks, with what they fetch: a folder of the executor's that is mounted into the container, as with
Mesos' own Docker executor.

A daemon that does not see the executor's files, because it is on another machine or the executor in a container that nobody
named to it, gets them by its API before the container starts. That costs a third of a start, and a sandbox with files in it is
root's in a container that is read only.
"""

from __future__ import annotations

import io
import logging
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from docker import errors

from eratos.common import names
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from ..core import actions as do
from ..core import events as on
from ..core.container import IN_SANDBOX, SANDBOX, with_sandbox
from ..core.host import Host
from ..fetch_rules import FetchRules
from ..fetcher import Fetches
from ..sandbox_files import place
from .client import DockerClient

log = logging.getLogger(__name__)

#: Where logins to registries are among an app's files, as Marathon's documentation has it (native-docker-private-registry.md).
_LOGINS = (".docker/config.json", ".dockercfg")
_SANDBOX: Final = PurePosixPath(SANDBOX)
#: What Docker answers to a mount of a folder that it does not see.
_UNSEEN: Final = "bind source path does not exist"


class DockerFiles:
    """The sandboxes of this executor. Not for two threads with one task at once."""

    def __init__(
        self, client: DockerClient, sandbox: Path, host: Host, emit: Callable[[on.Event], None], rules: FetchRules
    ) -> None:
        """``sandbox`` is the executor's own; ``host`` says which container it is in, if any."""
        self._client = client
        self._folder = sandbox / "sandboxes"
        self._host = host
        self._fetches = Fetches(emit, rules)
        self._ready: set[str] = set()
        self._seen: Path | None = None  #: where the daemon sees the sandboxes; asked once
        self._shared = True

    def ready(self, action: do.StartContainer) -> bool:
        """Return whether a start has what it needs."""
        return not action.fetch or action.task_id in self._ready

    def wait_for(self, action: do.StartContainer, go_on: Callable[[], object]) -> None:
        """Fetch a start's files and let it go on then, or fail it."""

        def fetched() -> None:
            self._ready.add(action.task_id)
            go_on()

        self._fetches.wait_for(action, self._made(action.task_id), fetched)

    def cancel(self, task_id: str) -> None:
        self._fetches.cancel(task_id)

    def logins_file(self, action: do.StartContainer, of: do.StartContainer) -> str:
        """Return the logins to registries that the app brought along for one of its containers, or an empty text."""
        found = (self._of(action.task_id) / of.folder / name for name in _LOGINS if action.fetch)
        return next((str(file) for file in found if file.is_file()), "")

    def create(self, action: do.StartContainer) -> str:
        """Create a container with its sandbox, one of a pod with its part of it, and return its id. Raises one of DockerFailure,
        or TemporaryError.
        """
        api, folder = self._client.api, self._made(action.task_id)
        for path, text in action.files.items():
            place(folder, path, text)
        if self._shared:
            own = self._own_part(action, folder)
            own.chmod(0o1777)  # as /tmp: who the task's user is, only the image knows
            self._make_mounted(action, folder)
            try:
                config = with_sandbox(action.config, self._seen_by_daemon(folder), action.folder)
                return _id(api.create_container_from_config(config, action.name))
            except errors.APIError as error:
                if _UNSEEN not in str(error.explanation):
                    raise
                log.warning("sandboxes are copied into containers, as Docker does not see them %s", fields(folder=self._folder))
                self._shared = False
        container_id = _id(api.create_container_from_config(with_sandbox(action.config, ""), action.name))
        self._fill(action, container_id)
        return container_id

    def put(self, task_id: str, path: str, text: str, run: Callable[[list[str]], int | None]) -> None:
        """Put a file into a running task's sandbox, whole. ``run`` runs a script in its container and returns the exit code.

        Raises one of DockerFailure, or TemporaryError.
        """
        if self._shared:
            place(self._of(task_id), path, text)
            return
        target = _SANDBOX / path
        moved = f".{target.name}.new"
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            entry = tarfile.TarInfo(moved)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
        self._client.api.put_archive(names.container_name(task_id), str(target.parent), made.getvalue())
        code = run(['exec mv -f "$1" "$2"', "mv", str(target.parent / moved), str(target)])
        if code != 0:
            raise TemporaryError(f"its file {path} could not be replaced: mv ended with {code}")

    def _own_part(self, action: do.StartContainer, folder: Path) -> Path:
        """Return the folder that is to be the container's sandbox, and make it where it is not the task's whole one."""
        own = folder / action.folder
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TemporaryError(f"the sandbox of container {own.name} cannot be made: {error}") from error
        return own

    def done(self, action: do.StartContainer) -> None:
        """Forget what a start needed, once all of its containers are made."""
        if not self._shared:
            self.remove(action.task_id)

    def _make_mounted(self, action: do.StartContainer, folder: Path) -> None:
        """Make the folders of the sandbox that are mounted elsewhere as well, open as the sandbox is."""
        for bind in action.config["HostConfig"].get("Binds", ()):
            if bind.startswith(IN_SANDBOX):
                made = folder / bind.removeprefix(IN_SANDBOX).split(":")[0]
                try:
                    if not made.exists():
                        made.mkdir(parents=True)
                        made.chmod(0o1777)
                except OSError as error:
                    raise TemporaryError(f"the folder {made.name} of the sandbox cannot be made: {error}") from error

    def remove(self, task_id: str) -> None:
        """Remove a task's sandbox. One without is fine."""
        self._ready.discard(task_id)
        shutil.rmtree(self._of(task_id), ignore_errors=True)

    def _seen_by_daemon(self, folder: Path) -> str:
        """Return a folder's path on the daemon's host: its own, but where a container plays the host."""
        seen = self._seen
        if seen is None:
            seen = self._folder
            if not self._host.real:
                mounts = self._client.api.inspect_container(self._host.network.removeprefix("container:"))["Mounts"]
                seen = on_host(seen.resolve(), mounts)
            self._seen = seen
        return str(seen / folder.name)

    def _fill(self, action: do.StartContainer, container_id: str) -> None:
        read_only = action.config["HostConfig"].get("ReadonlyRootfs")
        place = self._own_part(action, self._of(action.task_id))
        if read_only and not any(place.iterdir()):
            return
        # Docker changes the mode of what it is sent, and not of the folder that it is sent to; the one above the sandbox is
        # closed in a container that is read only.
        target, inside = (_SANDBOX, PurePosixPath()) if read_only else (_SANDBOX.parent, PurePosixPath(_SANDBOX.name))
        with tempfile.TemporaryFile(dir=self._folder) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                sandbox = tarfile.TarInfo(str(inside))
                sandbox.type = tarfile.DIRTYPE
                sandbox.mode = 0o1777
                tar.addfile(sandbox)
                for path in sorted(place.iterdir()):
                    tar.add(path, str(inside / path.name), filter=_of_root)
            file.seek(0)
            self._client.api.put_archive(container_id, str(target), file)

    def _made(self, task_id: str) -> Path:
        folder = self._of(task_id)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody but root gets through it
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise TemporaryError(f"the task's sandbox cannot be made: {error}") from error
        return folder

    def _of(self, task_id: str) -> Path:
        return self._folder / PurePosixPath(task_id).name


def on_host(folder: Path, mounts: list[Mapping[str, Any]]) -> Path:
    """Return where a folder of a container lies on the host, by the container's mounts as Docker lists them."""
    for mount in sorted(mounts, key=lambda mount: len(mount["Destination"]), reverse=True):
        if folder.is_relative_to(mount["Destination"]):
            return Path(mount["Source"]) / folder.relative_to(mount["Destination"])
    return folder


def _id(created: Mapping[str, Any]) -> str:
    return str(created["Id"])


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
