"""Copies of volumes from one host to another: Docker's archive of a container that never starts, with the volume mounted.

Docker keeps owners, modes, times and links in it, and unpacks it within the volume. The source gives what no container has;
the executor that copies asks the one there, and makes a volume with the app's marks first.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final

import requests
from docker import errors

from eratos.common import keys, names
from eratos.common.addresses import host_and_port
from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.log import fields

from ..core import actions as do
from ..core import events as on
from ..core.container import volume_labels, volume_name
from ..core.host import Host
from ..volume_stream import PIECE_BYTES, NoVolume, Received
from .client import DockerClient, DockerFailure, status
from .volumes import DockerVolumes

log = logging.getLogger(__name__)

#: Where a volume is in the container that holds it, and so how names in its archive begin.
FOLDER: Final = "/volume"
#: An image without a file, made where it is missing: containers are of images.
IMAGE: Final = "eratos/nothing"
_TAG: Final = "1"
_EMPTY_ARCHIVE: Final = bytes(1024)
#: Volumes that are read at a time.
READ_MOST: Final = 4
CONNECT_S: Final = 10.0
#: Longest silence of the source.
SILENT_S: Final = 60.0


class DockerCopies:
    """Performs CopyVolumes and CancelCopy on threads of its own, and reads volumes for other executors on the io thread."""

    def __init__(
        self,
        client: DockerClient,
        volumes: DockerVolumes,
        host: Host,
        emit: Callable[[on.Event], None],
        port: int,
    ) -> None:
        """``port`` is where each executor of the framework listens."""
        self._client = client
        self._volumes = volumes
        self._host = host
        self._emit = emit
        self._port = port
        self._reading = 0
        self._cancelled: dict[str, threading.Event] = {}

    # Reading ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def read(self, volume_id: str, app_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the archive of a volume; see :class:`.volume_stream.VolumeSource`."""
        if self._reading >= READ_MOST:
            raise TemporaryError(f"{READ_MOST} volumes are copied from this host already: try again later")
        self._reading += 1
        name, container = volume_name(volume_id, self._host), ""
        try:
            container = await asyncio.to_thread(self._held_if_free, name, volume_labels(volume_id, app_id, self._host))
            async with self._client.ask(f"/containers/{container}/archive?path={FOLDER}") as answer:
                if answer.status != 200:
                    raise TemporaryError(await answer.message(f"Docker answers {answer.status}"))
                async with aclosing(answer.pieces()) as pieces:
                    yield self._read(pieces, name)
        finally:
            self._reading -= 1
            if container:
                await asyncio.shield(asyncio.to_thread(self._drop, container))

    async def _read(self, pieces: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
        if users := await asyncio.to_thread(self._volumes.users, name):
            raise TemporaryError(f"container {users[0]} got the volume while it was read")

    def _held_if_free(self, name: str, labels: dict[str, str]) -> str:
        """Return the container that holds a volume which nobody uses. Raises NoVolume or TemporaryError."""
        try:
            wrong = self._volumes.wrong(name, labels)
            if wrong is None:
                raise NoVolume(f"volume {name} is not on {self._host.name}")
            if wrong:
                raise NoVolume(f"wrong volume: {name} on {self._host.name} {wrong}")
            return self._held_alone(name)
        except DockerFailure as error:
            raise TemporaryError(self._client.explain(error)) from error

    def _held_alone(self, name: str) -> str:
        """Raises TemporaryError where somebody uses it, or one of DockerFailure."""
        if users := self._volumes.last_users(name):
            raise TemporaryError(f"volume {name} is in use by container {users[0]}: a copy of it would not be whole")
        return self._hold(name)

    # Writing ---------------------------------------------------------------------------------------------------------

    def perform(self, action: do.CopyVolumes | do.CancelCopy) -> None:
        """Carry out an action on another thread. Never raises, never waits."""
        match action:
            case do.CopyVolumes(task_id):
                cancelled = self._cancelled[task_id] = threading.Event()
                threading.Thread(target=self._copy, args=(action, cancelled), name="copy", daemon=True).start()
            case do.CancelCopy(task_id):
                if (found := self._cancelled.get(task_id)) is not None:
                    found.set()

    def _copy(self, action: do.CopyVolumes, cancelled: threading.Event) -> None:
        error = ""
        try:
            for copy in action.copies:
                self._copy_one(action, copy, cancelled.is_set)
        except (TemporaryError, PermanentError) as failure:
            error = str(failure)
        except DockerFailure as failure:
            error = self._client.explain(failure)
        except Exception:  # thread edge: the machine waits for an answer
            log.exception("a copy broke, please report this as a bug %s", fields(task_id=action.task_id))
            error = "internal error of the executor, see its log"
        self._cancelled.pop(action.task_id, None)
        self._emit(on.CopyDone(action.task_id, error))

    def _copy_one(self, action: do.CopyVolumes, copy: do.HostCopy, cancelled: Callable[[], bool]) -> None:
        began = time.monotonic()

        def progress(count: int) -> None:
            self._emit(on.CopyProgress(action.task_id, f"{count} bytes of {copy.path} were copied from {copy.host}"))

        with self._asked(copy) as pieces:
            received = Received(pieces, copy.key, progress, cancelled)
            try:
                self._volumes.ready(copy.volume, "")
                container = self._hold(copy.volume.name)
                try:
                    self._client.api.put_archive(container, "/", received.pieces())
                finally:
                    self._drop(container)
            except (TemporaryError, PermanentError, *DockerFailure) as error:
                if received.failure is not None and error is not received.failure:
                    raise received.failure from error  # Docker only knows that nothing more came
                raise
        took = f"{time.monotonic() - began:.1f}"
        log.info("a volume was copied %s", fields(volume=copy.volume.name, source=copy.host, bytes=received.count, took_s=took))

    @contextmanager
    def _asked(self, copy: do.HostCopy) -> Iterator[Iterator[bytes]]:
        """Give what the source's executor sends. Raises TemporaryError where it does not, now or while that is read."""
        app_id = urllib.parse.quote(copy.app_id, safe="")
        target = f"/volumes/{urllib.parse.quote(copy.source_id, safe='')}?app={app_id}"
        where = f"the executor on {copy.host}"
        proof = keys.headers(copy.key, "GET", target, b"", time.time())
        with requests.Session() as session:
            session.trust_env = False  # no proxy leads to executors
            url = f"http://{host_and_port(copy.host, self._port)}{target}"
            try:
                answer = session.get(url, headers=proof, stream=True, timeout=(CONNECT_S, SILENT_S))
            except requests.RequestException as error:
                raise TemporaryError(f"{where} does not answer: {error}") from error
            with answer:
                if answer.status_code != 200:
                    raise TemporaryError(f"{where} gives no volume: {_said(answer)}")
                yield _received(answer, where)

    # Both ------------------------------------------------------------------------------------------------------------

    def _hold(self, name: str) -> str:
        """Return a container that has a volume and never starts. Raises one of DockerFailure."""
        api, held = self._client.api, f"{names.PREFIX}-copy-{name}"
        config = {
            "Image": f"{IMAGE}:{_TAG}",
            "Cmd": ["nothing"],
            "Labels": {names.LABEL_FRAMEWORK: self._host.framework_id},
            "HostConfig": {"Binds": [f"{name}:{FOLDER}"], "NetworkMode": "none"},
        }
        try:
            return str(api.create_container_from_config(config, held)["Id"])
        except errors.ImageNotFound:
            api.import_image_from_data(_EMPTY_ARCHIVE, repository=IMAGE, tag=_TAG)
        except errors.APIError as error:
            if status(error) != 409:
                raise
            self._drop(held)  # of an executor that died
        return str(api.create_container_from_config(config, held)["Id"])

    def _drop(self, container: str) -> None:
        try:
            self._client.api.remove_container(container, force=True)
        except DockerFailure as error:
            if status(error) != 404:
                # It keeps its volume from being destroyed only: that removes it first.
                log.warning("cannot remove %s", fields(container=container, error=self._client.explain(error)))


def _received(answer: requests.Response, where: str) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(PIECE_BYTES)
    except (requests.RequestException, OSError) as error:
        raise TemporaryError(f"{where} broke off: {error}") from error


def _said(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}"
