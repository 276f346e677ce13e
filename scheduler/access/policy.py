"""What apps may ask for: checked when they are created or changed, never when they are scaled, restarted or merely there. Pure.

The basic policy refuses only what nobody needs. The strict one refuses whatever makes an app as mighty as its host, but for
what an operator allows by name. Each refusal says which setting allows it. What a name resolves to, and where a redirect leads,
only the executor sees: it holds the addresses that it connects to against the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from eratos.common import names
from eratos.common.addresses import Kind, kind_of_host
from eratos.marathon.app import App
from eratos.marathon.app_parts import DEVICE, DRIVER, DVDI, LOCAL, ExternalVolume, Fetch
from eratos.marathon.errors import Problem
from eratos.marathon.pod import Pod

#: Folders of agents' hosts that ``fetch`` may read from, and the one file that Marathon's documentation has people fetch.
DEFAULT_FETCH_FOLDERS = ("/mnt", "/opt", "/srv", "/usr/share", "/usr/local", "/etc/docker.tar.gz", "/etc/dockercfg.tar.gz")
#: Options of ``docker run`` that give a container nothing of its host.
DEFAULT_PARAMETERS = frozenset(
    {"add-host", "cap-drop", "cpuset-cpus", "dns", "dns-option", "dns-search", "entrypoint", "env", "hostname", "init", "label"}
    | {"memory-reservation", "memory-swappiness", "pids-limit", "read-only", "shm-size", "stop-signal"}
    | {"tmpfs", "ulimit", "user", "workdir"}
)
#: Log drivers that write to the host alone, and what may be said to them: others have the Docker daemon, which is root, speak to
#: whatever address or socket they are given.
_LOG_DRIVERS = frozenset({"json-file", "local", "journald", "none"})
_LOG_OPTIONS = frozenset(
    {"compress", "env", "env-regex", "labels", "labels-regex", "max-buffer-size", "max-file", "max-size", "mode", "tag"}
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the policy."""

    strict: bool = False
    fetch_folders: tuple[str, ...] = DEFAULT_FETCH_FOLDERS
    fetch_private: bool = False  #: strict: whether private networks and the host itself may be fetched from
    privileged: bool = False  #: strict: whether containers may be privileged
    parameters: frozenset[str] = DEFAULT_PARAMETERS  #: strict: options of ``docker run`` that are allowed
    host_paths: tuple[str, ...] = ()  #: strict: folders of the host that may be mounted
    #: strict: Docker's volume drivers that may be named; ``local:nfs``: its own driver with that type of file system
    drivers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()  #: strict: Docker volumes that may be mounted; db-* stands for all that begin so
    networks: tuple[str, ...] = ()  #: strict: Docker networks that may be joined by name, the same way
    secrets: tuple[str, ...] = ()  #: strict: secrets that apps of other groups may use as well, the same way
    root_processes: bool = False  #: strict: whether apps without a container may run as root
    listeners: frozenset[tuple[str, int]] = frozenset()  #: host and port of the schedulers' APIs
    executor_port: int = names.EXECUTOR_PORT

    def problems(self, app: App) -> Iterator[Problem]:
        """Yield what an app asks for beyond the policy."""
        for place, file in _fetched(app):
            reason = self._fetch_reason(file.uri)
            if reason:
                yield Problem(f"{place}/uri", f"is refused: {reason}")
        if self.strict:
            yield from self._strict(app)

    def _fetch_reason(self, uri: str) -> str:
        """Return why a URI may not be fetched, or an empty text."""
        parts = urlsplit(uri)
        if parts.scheme in ("", "file"):
            path = unquote(parts.path) if parts.scheme else uri
            if within(path, self.fetch_folders):
                return ""
            folders = ", ".join(self.fetch_folders)
            return f"{path} lies in none of the folders that may be fetched from, {folders}: see --fetch-folders"
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        kind = kind_of_host(host)
        if kind in (Kind.METADATA, Kind.LINK_LOCAL):
            return f"{host} leads to {kind}, which no app may have an executor ask"
        if (host, port) in self.listeners or (port in (self.executor_port, names.COMPANION_PORT) and kind is not Kind.PUBLIC):
            return f"{host}:{port} is where eratos itself listens"
        if self.strict and not self.fetch_private and kind in (Kind.LOOPBACK, Kind.PRIVATE):
            return f"{host} leads to {kind}: --allow-private-fetch allows it"
        return ""

    def _strict(self, app: App) -> Iterator[Problem]:
        docker = app.container.docker
        if docker is not None:
            if docker.privileged and not self.privileged:
                yield Problem("/container/docker/privileged", "is refused by the strict policy: --allow-privileged allows it")
            for index, parameter in enumerate(docker.parameters):
                reason = self._parameter_reason(parameter.key, parameter.value)
                if reason:
                    yield Problem(f"/container/docker/parameters({index})", reason)
        elif not isinstance(app, Pod) and app.user in (None, "root", "0") and not self.root_processes:
            reason = "is refused by the strict policy where it is root, as it is unless stated: name another user; "
            yield Problem("/user", reason + "--allow-root-processes allows it")
        for place, path in _mounted(app):
            if path.startswith("/") and not within(path, self.host_paths):
                yield Problem(place, f"{path} is refused by the strict policy: --allow-host-paths allows it")
        for place, path in () if within("/", self.host_paths) else _exchangeable(app):
            reason = f"{path} is refused by the strict policy: one container could lay a link there, to any folder of the host, "
            yield Problem(
                place, reason + "before another mounts it: take a folder beside the others; --allow-host-paths / allows it"
            )
        for index, volume in enumerate(app.container.volumes):
            if volume.external is not None and not _listed(volume.external.name, self.volumes):
                reason = f"the Docker volume {volume.external.name} is refused by the strict policy: --allow-volumes allows it"
                yield Problem(f"/container/volumes({index})/external/name", reason)
            if volume.external is not None and (refused := self._driver_reason(volume.external)):
                place, reason = refused
                yield Problem(f"/container/volumes({index})/external/options/{place}", reason)
        for index, network in enumerate(app.networks):
            if network.name and not _listed(network.name, self.networks):
                reason = f"the Docker network {network.name} is refused by the strict policy: --allow-networks allows it"
                yield Problem(f"/networks({index})/name", reason)
        for name, secret in app.secrets.items():
            if not _own_secret(secret.source, app.id) and not _listed(secret.source.lstrip("/"), self.secrets):
                reason = f"{secret.source} is refused by the strict policy, as it lies in no folder of this app or of a group "
                yield Problem(f"/secrets/{name}/source", reason + "above it: --allow-secrets allows it")

    def _driver_reason(self, external: ExternalVolume) -> tuple[str, str] | None:
        """Return which option of a Docker volume is refused, and why; None: none is.

        A bind is a volume of the host by another name, and only that. What an option hides in a secret is held against this by
        the executor, which binds nothing that does not stand in the definition.
        """
        if external.bound:
            if within(external.bound, self.host_paths):
                return None
            return DEVICE, f"the host's {external.bound} is refused by the strict policy: --allow-host-paths allows it"
        if external.local and not external.elsewhere:
            return None
        driver = f"{LOCAL}:{external.driver_options['type']}" if external.local else external.driver
        if driver in self.drivers:
            return None
        place = f"{DVDI}type" if external.local else DRIVER
        return place, f"the volume driver {driver} is refused by the strict policy: --allow-volume-drivers allows it"

    def _parameter_reason(self, key: str, value: str) -> str:
        """Return why a parameter of ``docker run`` is refused, or an empty text."""
        if key == "privileged":
            return "" if self.privileged else "privileged is refused by the strict policy: --allow-privileged allows it"
        if key == "volume":
            source, colon, _ = value.partition(":")
            if not colon or within(source, self.host_paths) or _listed(source, self.volumes):
                return ""  # without a source it is a volume of this container alone
            setting = "--allow-host-paths" if source.startswith("/") else "--allow-volumes"
            return f"the host's {source} is refused by the strict policy: {setting} allows it"
        harmless = (key == "log-driver" and value in _LOG_DRIVERS) or (
            key == "log-opt" and value.partition("=")[0] in _LOG_OPTIONS
        )
        if harmless or key in self.parameters:
            return ""
        shown = f"{key} {value}" if key in ("log-driver", "log-opt") else key
        return f"{shown} is refused by the strict policy: --allow-parameters {key} allows it"


def _fetched(app: App) -> Iterator[tuple[str, Fetch]]:
    """Yield the files that an app fetches, each with its place in the definition."""
    if isinstance(app, Pod):
        for index, container in enumerate(app.spec.containers):
            yield from ((f"/containers({index})/artifacts({i})", file) for i, file in enumerate(container.artifacts))
    else:
        yield from ((f"/fetch({index})", file) for index, file in enumerate(app.fetch))


def _mounted(app: App) -> Iterator[tuple[str, str]]:
    """Yield the paths of the host that an app mounts, relative ones in its sandbox, each with its place in the definition."""
    if isinstance(app, Pod):
        found = ((f"/volumes({index})/host", volume.host) for index, volume in enumerate(app.spec.volumes))
    else:
        found = (
            (f"/container/volumes({index})/hostPath", volume.host_path) for index, volume in enumerate(app.container.volumes)
        )
    yield from ((place, path) for place, path in found if path is not None)


def _exchangeable(app: App) -> Iterator[tuple[str, str]]:
    """Yield the folders of a pod's sandbox that one of its containers may exchange, each with its place in the definition.

    Its containers start one after the other, and Docker follows whatever links there are by then. Who has a folder mounted
    exchanges what lies in it, and not that folder itself.
    """
    volumes = app.spec.volumes if isinstance(app, Pod) else ()
    folders = {
        index: PurePosixPath(volume.source)
        for index, volume in enumerate(volumes)
        if volume.secret is None and not volume.source.startswith("/")
    }
    for index, path in folders.items():
        within_another = any(path != other and path.is_relative_to(other) for other in folders.values())
        if within_another or path.parts[0] == names.CONTAINERS:
            yield f"/volumes({index})/host", str(path)


def _listed(name: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a name is one of some, of which those that end in ``*`` stand for all that begin so."""
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in allowed)


def _own_secret(source: str, app_id: str) -> bool:
    """Return whether a secret lies in a folder that is named after the app or a group above it."""
    path = PurePosixPath("/", source.lstrip("/"))
    folder = path.parent
    return ".." not in path.parts and folder != PurePosixPath("/") and PurePosixPath(app_id).is_relative_to(folder)


def within(path: str, folders: tuple[str, ...]) -> bool:
    """Return whether an absolute path is one of some folders or files, or lies below one, whatever dots are in it."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        return False
    return any(pure.is_relative_to(folder) for folder in folders)
