"""Marathon's Docker ``parameters``: options of ``docker run`` by their long names, translated to the Engine API. Pure.

The one table of them: executors write a container's create body by it, and the API holds a definition against it, so that
what would fail on an agent is refused at once. An unknown option is refused with the list of the known, instead of being lost.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any, Final

from .errors import PermanentError

_UNITS: Final = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_Config = dict[str, Any]


def blank() -> _Config:
    """Return the least create body that parameters can be written into."""
    return {"Env": [], "Labels": {}, "HostConfig": {"Binds": [], "LogConfig": {"Type": "json-file", "Config": {}}}}


def apply(config: _Config, parameters: Iterable[tuple[str, str]]) -> None:
    """Write each parameter into a create body. Raises PermanentError for an unknown name or a bad value."""
    for name, value in parameters:
        setter = _PARAMETERS.get(name)
        if setter is None:
            raise PermanentError(f"Docker parameter {name!r} is not supported; known are: {', '.join(sorted(_PARAMETERS))}")
        try:
            setter(config, value)
        except (ValueError, KeyError) as error:
            raise PermanentError(f"Docker parameter {name!r} has a bad value {value!r}: {error}") from error


def _pair(value: str) -> tuple[str, str]:
    key, separator, rest = value.partition("=")
    if not key or not separator:
        raise ValueError("must look like key=value")
    return key, rest


def _bytes(value: str) -> int:
    """Read ``64m`` as Docker does; a bare number is bytes."""
    unit = _UNITS.get(value[-1:].lower())
    return int(value) if unit is None else int(value[:-1]) * unit


def _flag(value: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise ValueError("must be true or false")
    return value.lower() != "false"


def _on_container(key: str, read: Callable[[str], Any] = str) -> Callable[[_Config, str], None]:
    def setter(config: _Config, value: str) -> None:
        config[key] = read(value)

    return setter


def _on_host(key: str, read: Callable[[str], Any] = str) -> Callable[[_Config, str], None]:
    def setter(config: _Config, value: str) -> None:
        config["HostConfig"][key] = read(value)

    return setter


def _append(key: str, read: Callable[[str], Any] = str) -> Callable[[_Config, str], None]:
    def setter(config: _Config, value: str) -> None:
        config["HostConfig"].setdefault(key, []).append(read(value))

    return setter


def _map(key: str) -> Callable[[_Config, str], None]:
    def setter(config: _Config, value: str) -> None:
        name, rest = _pair(value)
        config["HostConfig"].setdefault(key, {})[name] = rest

    return setter


def _tmpfs(config: _Config, value: str) -> None:
    path, _, options = value.partition(":")
    config["HostConfig"].setdefault("Tmpfs", {})[path] = options


def _ulimit(value: str) -> dict[str, Any]:
    name, limits = _pair(value)
    soft, _, hard = limits.partition(":")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _device(value: str) -> dict[str, str]:
    host_path, _, rest = value.partition(":")
    container_path, _, permissions = rest.partition(":")
    return {
        "PathOnHost": host_path,
        "PathInContainer": container_path or host_path,
        "CgroupPermissions": permissions or "rwm",
    }


def _label(config: _Config, value: str) -> None:
    key, _, rest = value.partition("=")
    # Ours say who owns the container: no app may change them.
    config["Labels"].setdefault(key, rest)


def _env(config: _Config, value: str) -> None:
    _pair(value)
    config["Env"].append(value)


def _log_driver(config: _Config, value: str) -> None:
    config["HostConfig"]["LogConfig"] = {"Type": value, "Config": {}}


def _log_option(config: _Config, value: str) -> None:
    key, rest = _pair(value)
    log_config = config["HostConfig"]["LogConfig"]
    config["HostConfig"]["LogConfig"] = log_config | {"Config": log_config["Config"] | {key: rest}}


_PARAMETERS: Final[dict[str, Callable[[_Config, str], None]]] = {
    "add-host": _append("ExtraHosts"),
    "cap-add": _append("CapAdd"),
    "cap-drop": _append("CapDrop"),
    "cpuset-cpus": _on_host("CpusetCpus"),
    "device": _append("Devices", _device),
    "dns": _append("Dns"),
    "dns-option": _append("DnsOptions"),
    "dns-search": _append("DnsSearch"),
    "entrypoint": _on_container("Entrypoint", shlex.split),
    "env": _env,
    "group-add": _append("GroupAdd"),
    "hostname": _on_container("Hostname"),
    "init": _on_host("Init", _flag),
    "ipc": _on_host("IpcMode"),
    "label": _label,
    "log-driver": _log_driver,
    "log-opt": _log_option,
    "memory-reservation": _on_host("MemoryReservation", _bytes),
    "memory-swappiness": _on_host("MemorySwappiness", int),
    "oom-score-adj": _on_host("OomScoreAdj", int),
    "pid": _on_host("PidMode"),
    "pids-limit": _on_host("PidsLimit", int),
    "privileged": _on_host("Privileged", _flag),
    "read-only": _on_host("ReadonlyRootfs", _flag),
    "security-opt": _append("SecurityOpt"),
    "shm-size": _on_host("ShmSize", _bytes),
    "stop-signal": _on_container("StopSignal"),
    "sysctl": _map("Sysctls"),
    "tmpfs": _tmpfs,
    "ulimit": _append("Ulimits", _ulimit),
    "user": _on_container("User"),
    "volume": _append("Binds"),
    "workdir": _on_container("WorkingDir"),
}

#: The long names of the options that there are.
NAMES: Final = frozenset(_PARAMETERS)
