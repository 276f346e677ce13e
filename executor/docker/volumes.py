"""Docker's volumes that outlive tasks: made with the marks of their app, looked at before a task gets one, destroyed on a wish.

The marks are what keeps one app's data from another: a volume without those of this framework and app is neither mounted nor
destroyed, whatever its name is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from docker import errors

from eratos.common import mounts, names
from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.log import fields

from ..core.actions import DestroyVolume, HostDriverVolume, HostVolume
from ..core.container import LOCAL_DRIVER
from ..core.host import Host
from .client import DockerClient, status

log = logging.getLogger(__name__)

#: Docker reports an end before its lists show it.
_LOOK_S: Final = 0.1


class DockerVolumes:
    """The volumes of a host. Any thread may call it: Docker itself makes and removes one at a time."""

    def __init__(self, client: DockerClient, host: Host, wait_s: float) -> None:
        """``wait_s``: how long a container that has just ended may still look as if it had a volume."""
        self._client = client
        self._host = host
        self._wait_s = wait_s

    def ready(self, volume: HostVolume, container: str) -> None:
        """Have a volume there for a container, and for nobody else.

        Raises PermanentError where it is another app's, TemporaryError where it is missing or in use, and one of DockerFailure.
        """
        found = self._found(volume.name)
        if found is None and not volume.new:
            raise TemporaryError(
                f"volume {volume.name} is not on {self._host.name} any more, and its data with it: bring it back, or begin anew "
                f"with an empty one: kill the instance with wipe=true, or eratos volume delete {volume.volume_id}"
            )
        if found is None:
            log.info("a volume is made %s", fields(volume=volume.name, app=volume.labels[names.LABEL_APP]))
            # Docker answers with the one that there is, should somebody have been faster.
            found = self._client.api.create_volume(volume.name, driver="local", labels=dict(volume.labels))
        if wrong := _wrong(found, volume.labels):
            raise PermanentError(f"wrong volume: {volume.name} on {self._host.name} {wrong}; it is left alone")
        self._check_unused(volume.name, container)

    def find_or_make(self, volume: HostDriverVolume, secrets: Mapping[str, str], container: str) -> None:
        """Have a volume of a driver there for a container, and, where that is to be alone with it, nobody else writing to it.

        ``secrets`` are options that nobody but Docker gets. Raises PermanentError where it is another volume,
        TemporaryError where it cannot be made or is in use, and one of DockerFailure.
        """
        if any(mounts.binds(text) for name, text in secrets.items() if name == "o"):
            raise PermanentError(
                f"volume {volume.name}: the secret in its option o holds bind, which must stand in the definition, where it is "
                "held against what the app may mount"
            )
        options = {**volume.options, **secrets}
        found = self._found(volume.name)
        if found is None:
            about = fields(volume=volume.name, driver=volume.driver)
            log.info("a volume is made %s", about)
            try:
                found = self._client.api.create_volume(
                    volume.name, driver=volume.driver, driver_opts=options, labels=dict(volume.labels)
                )
            except errors.APIError as error:
                text = mounts.without(self._client.explain(error), secrets.values())
                raise TemporaryError(f"volume {volume.name} cannot be made on {self._host.name}: {text}") from None
        if other := _other(found, volume.driver, options):
            raise PermanentError(
                f"wrong volume: {volume.name} on {self._host.name} {other}; it is left alone: give the app's volume another "
                "name, or remove that one there, if nothing needs it (docker volume rm)"
            )
        if volume.alone:
            self._check_unused(volume.name, container, writers=True)

    def _check_unused(self, name: str, container: str, *, writers: bool = False) -> None:
        """Raise TemporaryError where another container has a volume, or may write to it, and one of DockerFailure."""
        if users := self.last_users(name, but=container, writers=writers):
            raise TemporaryError(f"volume {name} is still in use by container {users[0]}: one at a time may write to it")

    def destroy(self, action: DestroyVolume) -> str:
        """Destroy a volume, and return why it is still there, or an empty text. Raises one of DockerFailure."""
        found = self._found(action.name)
        if found is None:
            return ""
        if wrong := _wrong(found, action.labels):
            return f"wrong volume: {action.name} on {self._host.name} {wrong}; it is left alone"
        if users := self.users(action.name):
            return f"it is in use by container {users[0]}"
        for container in self._containers(action.name):
            # It has ended, and was kept for its log; as long as it is there, Docker keeps its volumes.
            if container["Labels"].get(names.LABEL_FRAMEWORK) == self._host.framework_id:
                self._client.api.remove_container(container["Id"], v=True)
        try:
            self._client.api.remove_volume(action.name)
        except errors.APIError as error:
            if status(error) != 404:
                return self._client.explain(error)
        log.info("a volume is destroyed %s", fields(volume=action.name, app=action.labels[names.LABEL_APP]))
        return ""

    def wrong(self, name: str, labels: Mapping[str, str]) -> str | None:
        """Return why a volume is not the one that is meant, or an empty text; None: it is not there.

        Raises one of DockerFailure.
        """
        found = self._found(name)
        return None if found is None else _wrong(found, labels)

    def _found(self, name: str) -> Mapping[str, Any] | None:
        try:
            return dict(self._client.api.inspect_volume(name))
        except errors.NotFound:
            return None

    def last_users(self, name: str, but: str = "", *, writers: bool = False) -> list[str]:
        """Return the same, once those that have just ended are gone from Docker's lists. Raises one of DockerFailure."""
        ends_at = time.monotonic() + self._wait_s
        while (users := self.users(name, but=but, writers=writers)) and time.monotonic() < ends_at:
            time.sleep(_LOOK_S)
        return users

    def users(self, name: str, but: str = "", *, writers: bool = False) -> list[str]:
        """Return the names of containers that have a volume and have not ended, or only those of ``writers`` to it.

        Raises one of DockerFailure.
        """
        found = (
            item
            for item in self._containers(name)
            if item["State"] not in ("exited", "dead", "created")
            and (not writers or any(mount["RW"] for mount in item["Mounts"] if mount.get("Name") == name))
        )
        return sorted(used for item in found if (used := item["Names"][0].lstrip("/")) != but)

    def _containers(self, name: str) -> list[dict[str, Any]]:
        """Return all that have a volume. Docker's filter takes parts of names as well, and paths."""
        found = self._client.api.containers(all=True, filters={"volume": name})
        return [item for item in found if any(mount.get("Name") == name for mount in item["Mounts"])]


def _other(found: Mapping[str, Any], driver: str, options: Mapping[str, str]) -> str:
    """Return why a driver's volume is not the one that is meant, or an empty text. What options hold is never said.

    Of a volume that was made on another host Docker knows no options: its driver has it, and Docker did not make it.
    """
    of_driver = str(found.get("Driver"))
    if of_driver.removesuffix(":latest") != driver.removesuffix(":latest"):
        return f"is one of Docker's driver {of_driver}, and the app's is one of {driver}"
    there = found.get("Options") or {}
    if there == options or (not there and driver != LOCAL_DRIVER):
        return ""
    names_of = sorted(key for key in {*there, *options} if there.get(key) != options.get(key))
    return f"was made with another {', '.join(names_of)} than the app states"


def _wrong(found: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return why a volume is not the one that is meant, or an empty text."""
    there = found.get("Labels") or {}
    if found.get("Driver") != "local":
        return f"is one of Docker's driver {found.get('Driver')}"
    if names.LABEL_FRAMEWORK not in there:
        return "was not made by eratos"
    if there[names.LABEL_FRAMEWORK] != labels[names.LABEL_FRAMEWORK]:
        return f"belongs to framework {there[names.LABEL_FRAMEWORK]}"
    if there.get(names.LABEL_APP) != labels[names.LABEL_APP]:
        return f"belongs to app {there.get(names.LABEL_APP)}"
    if there.get(names.LABEL_VOLUME) != labels[names.LABEL_VOLUME]:
        return f"is volume {there.get(names.LABEL_VOLUME)}"
    return ""
