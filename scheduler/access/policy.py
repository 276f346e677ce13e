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
from eratos.marathon.errors import Problem

#: Folders of agents' hosts that ``fetch`` may read from, and the one file that Marathon's documentation has people fetch.
DEFAULT_FETCH_FOLDERS = ("/mnt", "/opt", "/srv", "/usr/share", "/usr/local", "/etc/docker.tar.gz", "/etc/dockercfg.tar.gz")
#: Options of ``docker run`` that give a container nothing of its host.
DEFAULT_PARAMETERS = frozenset(
    {"add-host", "cap-drop", "cpuset-cpus", "dns", "dns-option", "dns-search", "entrypoint", "env", "hostname", "init", "label"}
    | {"log-driver", "log-opt", "memory-reservation", "memory-swappiness", "pids-limit", "read-only", "shm-size", "stop-signal"}
    | {"tmpfs", "ulimit", "user", "workdir"}
)
#: The balancer companion's port.
COMPANION_PORT = 9100
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
    root_processes: bool = False  #: strict: whether apps without a container may run as root
    listeners: frozenset[tuple[str, int]] = frozenset()  #: host and port of the schedulers' APIs
    executor_port: int = names.EXECUTOR_PORT

    def problems(self, app: App) -> Iterator[Problem]:
        """Yield what an app asks for beyond the policy."""
        for index, file in enumerate(app.fetch):
            reason = self._fetch_reason(file.uri)
            if reason:
                yield Problem(f"/fetch({index})/uri", f"is refused: {reason}")
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
        if (host, port) in self.listeners or (port in (self.executor_port, COMPANION_PORT) and kind is not Kind.PUBLIC):
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
                path = f"/container/docker/parameters({index})"
                if parameter.key == "privileged" and not self.privileged:
                    yield Problem(path, "privileged is refused by the strict policy: --allow-privileged allows it")
                elif parameter.key == "volume":
                    source = parameter.value.partition(":")[0]
                    if source.startswith("/") and not within(source, self.host_paths):
                        yield Problem(path, f"the host's {source} is refused by the strict policy: --allow-host-paths allows it")
                elif parameter.key not in self.parameters and parameter.key != "privileged":
                    reason = f"{parameter.key} is refused by the strict policy: --allow-parameters allows it"
                    yield Problem(path, reason)
        elif app.user in (None, "root", "0") and not self.root_processes:
            reason = "is refused by the strict policy where it is root, as it is unless stated: name another user; "
            yield Problem("/user", reason + "--allow-root-processes allows it")
        for index, volume in enumerate(app.container.volumes):
            if volume.host_path is not None and not within(volume.host_path, self.host_paths):
                reason = f"{volume.host_path} is refused by the strict policy: --allow-host-paths allows it"
                yield Problem(f"/container/volumes({index})/hostPath", reason)


def within(path: str, folders: tuple[str, ...]) -> bool:
    """Tell whether an absolute path is one of some folders or files, or lies below one, whatever dots are in it."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        return False
    return any(pure.is_relative_to(folder) for folder in folders)
