"""From what users write to the one canonical form: legacy spellings, Marathon's defaults, and what eratos refuses.

Works on plain JSON values, before the models see them, and leaves whatever has the wrong type for the models to
complain about. Rules and defaults are those of Marathon 1.11's ``AppNormalization``; every refusal says why, and what
to do instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from . import words
from .app_parts import DEVICE, DISABLED, DRIVER, LOCAL, PORT_MAX
from .autoscale_bounds import stated_bounds
from .errors import Problem, json_path
from .labels import SINGLE_INSTANCE
from .strict_json import shortened

Json = dict[str, Any]

#: What Marathon adds when it shows an app. Accepted, so that a shown app can be sent back, and dropped.
OUTPUT_ONLY: Final = frozenset(
    {
        "tasksStaged",
        "tasksRunning",
        "tasksWanted",
        "tasksHealthy",
        "tasksUnhealthy",
        "deployments",
        "readinessCheckResults",
        "tasks",
        "lastTaskFailure",
        "tasksStats",
        "taskStats",
        "version",
        "versionInfo",
    }
)

_NETWORK = 'use [{"mode": "host"}], [{"mode": "container/bridge"}] or [{"mode": "container", "name": "..."}]'
_NO_NAME = "is missing: name the Docker network that containers shall join, which every agent must have"
_LOGIN = (
    "Mesos' own form of a login, which holds a password as it is: use pullConfig with one of the app's secrets, or "
    "log in on the hosts with docker login"
)

#: Fields that eratos cannot carry out, each with the reason. Empty, false and zero values are harmless and dropped.
REFUSED: Final[Mapping[tuple[str, ...], str]] = {
    ("storeUrls",): "Marathon dropped it in 1.4: use fetch",
    ("apps",): "it makes a group of this: PUT it to /v2/groups",
    ("groups",): "it makes a group of this: PUT it to /v2/groups",
    ("containers",): "it makes a pod of this: POST it to /v2/pods",
    ("container", "appc"): "eratos runs Docker images: use docker.image",
    ("container", "docker", "credential"): _LOGIN,
}

#: ``executor`` may only name Mesos' command executor, Marathon's default.
_DEFAULT_EXECUTORS: Final = ("", "//cmd")

#: Fields that users may write and no model has.
LEGACY_FIELDS: Final[Mapping[str, str]] = {
    "ports": "/ports",
    "executor": "/executor",
    "uris": "/uris",
    "network": "/container/docker/network",
    "linuxInfo": "/container/linuxInfo",
    **{path[-1]: json_path(path) for path in REFUSED},
}

#: Of a persistent volume. Mesos' disks have these; Docker keeps its volumes in one place on each host.
_OF_DISKS: Final = {
    "maxSize": "it chooses among Mesos' disks, and Docker's volumes are all in one place: remove it",
    "profileName": "it chooses among Mesos' disks, and Docker's volumes are all in one place: remove it",
    "constraints": "they choose among Mesos' disks, and Docker's volumes are all in one place: use the app's own",
    "type": "it chooses among Mesos' disks, and Docker's volumes are all in one place: write root, or leave it out",
}

_CSI: Final = (
    "its plugins are for Mesos' own containers, and eratos runs Docker's: write dvdi, and in options "
    '"dvdi/driver" with the name of the storage\'s plugin for Docker'
)


def normalise(raw: Mapping[str, Any]) -> tuple[Json, list[Problem], list[tuple[str, str]]]:
    """Return the canonical JSON of an app, the problems that only the original shows, and what was dropped, with the reason."""
    problems: list[Problem] = []
    dropped: list[tuple[str, str]] = []

    def refuse(location: tuple[str | int, ...], message: str) -> None:
        problems.append(Problem(json_path(location), message))

    def drop(location: tuple[str | int, ...], reason: str) -> None:
        dropped.append((json_path(location), reason))

    given = {key: value for key, value in raw.items() if value is not None and key not in OUTPUT_ONLY}
    app = {key: without_nulls(value, key) for key, value in given.items()}
    words.spell(app, words.OF_APPS)
    for path, reason in REFUSED.items():
        _drop_refused(app, path, reason, refuse)
    if (executor := app.pop("executor", "")) not in _DEFAULT_EXECUTORS:
        refuse(("executor",), f"eratos runs every app with its own executor, not with {executor!r}: remove it")
    _check_env(app, refuse)
    _ip_address(app, refuse, drop)
    _linux_info(app, refuse)
    _container(app, refuse, drop)
    _networks(app, refuse)
    _ports(app, refuse, drop)
    _health_checks(app, refuse, drop)
    _readiness_checks(app)
    _fetch(app, refuse)
    if isinstance(app.get("labels"), dict) and app["labels"].get(SINGLE_INSTANCE) == "true":
        app.setdefault("upgradeStrategy", {"minimumHealthCapacity": 0, "maximumOverCapacity": 0})
    least, _ = stated_bounds(app)
    if least is not None:
        app.setdefault("instances", least)  # an app that is autoscaled begins with the fewest
    persistent = has_volumes(app, "persistent")
    if persistent:
        # There are no more instances than volumes, and none is given up because it is out of reach.
        app.setdefault("unreachableStrategy", DISABLED)
        app.setdefault("residency", {})
    if persistent or has_volumes(app, "external"):
        app.setdefault("upgradeStrategy", {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0})  # Marathon's for these
    if has_exclusive_volumes(app):
        # Whoever is out of reach may still write: that nobody else does is not to depend on a guess.
        app.setdefault("unreachableStrategy", DISABLED)
    if isinstance(app.get("eratos"), dict) and app["eratos"].get("ordinals", False) is not False:
        # Whoever is out of reach may be at work: that there is no second one is not to depend on a guess.
        app.setdefault("unreachableStrategy", DISABLED)
    return app, problems, dropped


def has_volumes(app: Mapping[str, Any], kind: str) -> bool:
    """Tell whether an app has volumes of a kind, such as external ones, which an instance more than usual would have to share."""
    container = app.get("container")
    volumes = container.get("volumes") if isinstance(container, dict) else None
    return isinstance(volumes, list) and any(isinstance(volume, dict) and volume.get(kind) for volume in volumes)


def has_exclusive_volumes(app: Mapping[str, Any]) -> bool:
    """Tell whether one instance at a time may have a volume of an app (:attr:`.app_parts.Volume.exclusive`), not read yet."""
    container = app.get("container")
    volumes = container.get("volumes") if isinstance(container, dict) else None
    return any(
        str(volume.get("mode")).upper() == "RW"
        and external.get("shared") is not True
        and (options.get(DRIVER) != LOCAL or DEVICE in options)
        for volume in (volumes if isinstance(volumes, list) else ())
        if isinstance(volume, dict) and isinstance(external := volume.get("external"), dict)
        if isinstance(options := external.get("options"), dict)
    )


Refuse = Callable[[tuple[str | int, ...], str], None]


def without_nulls(value: Any, key: str) -> Any:
    """Leave out nulls, which mean *absent* all over Marathon's API, except among free keys such as env's.

    A number like ``1.0`` is a whole one, as some programs write them and Marathon takes them.
    """
    if isinstance(value, dict):
        if key in ("env", "environment", "labels", "options"):
            return dict(value)
        return {name: without_nulls(item, name) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item, key) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_MOST:
        return int(value)
    return value


#: Up to here every whole number is a double of its own.
_WHOLE_MOST: Final = 2.0**53


def _drop_refused(app: Json, path: tuple[str, ...], reason: str, refuse: Refuse) -> None:
    holder: Any = app
    for step in path[:-1]:
        holder = holder.get(step) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and holder.pop(path[-1], None):
        refuse(path, f"is refused: {reason}")


def _check_env(app: Json, refuse: Refuse) -> None:
    env = app.get("env")
    if not isinstance(env, dict):
        return
    for name, value in list(env.items()):
        if isinstance(value, dict):
            if not isinstance(value.get("secret"), str) or len(value) > 1:
                refuse(("env", name), 'must be text, or {"secret": "..."} with the name of one of the app\'s secrets')
                del env[name]
        elif not isinstance(value, str):
            refuse(("env", name), "must be a string: put quotes around it")
            del env[name]
        elif not name or "=" in name:
            refuse(("env", name), "is no name of an environment variable: use letters, digits and underscores")
            del env[name]


def _ip_address(app: Json, refuse: Refuse, drop: Refuse) -> None:
    """Bring the older ``ipAddress`` to ``networks``, and its ports to mappings."""
    given = app.pop("ipAddress", None)
    if not given:
        return
    if not isinstance(given, dict):
        refuse(("ipAddress",), f"must be an object; better {_NETWORK}")
        return
    for field, value in given.items():
        if field == "groups" and value:
            drop(("ipAddress", field), "Docker's networks have no groups that keep containers apart")
        elif field not in ("networkName", "labels", "discovery", "groups"):
            refuse(("ipAddress", field), f"is none of its fields: networkName, labels, discovery and groups; better {_NETWORK}")
    container = app.setdefault("container", {"type": "MESOS"})
    docker = container.get("docker") if isinstance(container, dict) else None
    legacy = docker.pop("network", "USER") if isinstance(docker, dict) else "USER"
    if app.get("networks"):
        refuse(("ipAddress",), "is given twice: keep networks alone")
        return
    if not isinstance(legacy, str) or legacy not in _MODES:
        refuse(("container", "docker", "network"), f"is refused: {_NETWORK}")
        return
    network = {"mode": _MODES[legacy]}
    network |= {key: value for key, value in (("name", given.get("networkName")), ("labels", given.get("labels"))) if value}
    if network["mode"] != "container":
        network.pop("name", None)
    app["networks"] = [network]
    discovery = given.get("discovery")
    ports = discovery.get("ports") if isinstance(discovery, dict) else None
    if isinstance(container, dict) and isinstance(ports, list) and ports:
        if container.get("portMappings"):
            refuse(("ipAddress", "discovery", "ports"), "are given twice: keep container.portMappings alone")
        else:
            container["portMappings"] = [_mapping(port) for port in ports]


def _mapping(port: Any) -> Any:
    """Return a port of ``ipAddress.discovery`` as a mapping."""
    if not isinstance(port, dict):
        return port
    return {"containerPort" if key == "number" else key: value for key, value in port.items()}


#: ``container.docker.network`` of before Marathon 1.5.
_MODES: Final = {"HOST": "host", "BRIDGE": "container/bridge", "USER": "container"}


def _linux_info(app: Json, refuse: Refuse) -> None:
    """Bring ``linuxInfo`` of Mesos' own containers to the parameters of Docker that do the same (appContainer.raml)."""
    container = app.get("container")
    if not isinstance(container, dict) or not (given := container.pop("linuxInfo", None)):
        return
    place = ("container", "linuxInfo")
    docker = container.get("docker")
    parameters = docker.setdefault("parameters", []) if isinstance(docker, dict) else None
    if not isinstance(given, dict):
        refuse(place, "must be an object with seccomp and ipcInfo")
    elif not isinstance(parameters, list):
        refuse(place, "needs container.docker.image: a process shares its host's IPC, and has no seccomp profile")
    else:
        for field, value in given.items():
            known = _LINUX_INFO.get(field)
            if known is None or not isinstance(value, dict):
                refuse((*place, field), "is no object that eratos knows: give seccomp and ipcInfo")
                continue
            try:
                parameters += [{"key": key, "value": text} for key, text in known(value)]
            except ValueError as error:
                refuse((*place, field), str(error))


def _seccomp(given: Json) -> list[tuple[str, str]]:
    """Raises ValueError."""
    if given.keys() - {"unconfined", "profileName"} or not isinstance(given.get("unconfined", False), bool):
        raise ValueError('must be {"unconfined": true}, or left out')
    if given.get("profileName"):
        raise ValueError(
            "names a profile of Mesos' agents, which Docker does not have: leave it out, for Docker's own profile, or put the "
            "profile's JSON into docker.parameters, as security-opt seccomp=..."
        )
    return [("security-opt", "seccomp=unconfined")] if given.get("unconfined") else []


def _ipc(given: Json) -> list[tuple[str, str]]:
    """Raises ValueError."""
    size = given.get("shmSize")
    if given.keys() - {"mode", "shmSize"} or given.get("mode") not in ("PRIVATE", "SHARE_PARENT"):
        raise ValueError("needs a mode, PRIVATE or SHARE_PARENT, and takes a shmSize in MiB beside it")
    if given["mode"] == "SHARE_PARENT":
        if size is not None:
            raise ValueError("may have a shmSize with mode PRIVATE alone")
        return [("ipc", "host")]
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ValueError(f"has shmSize {size!r}: it must be a whole number of MiB, 1 at least")
    return [("ipc", "private"), *([("shm-size", f"{size}m")] if size is not None else [])]


_LINUX_INFO: Final[Mapping[str, Callable[[Json], list[tuple[str, str]]]]] = {"seccomp": _seccomp, "ipcInfo": _ipc}


def _container(app: Json, refuse: Refuse, drop: Refuse) -> None:
    container = app.get("container")
    if not isinstance(container, dict):
        return
    if container.get("docker") is None and container.get("type") != "MESOS":
        refuse(("container", "docker"), "is missing: add it, or leave container out to run the command as a process of the host")
    volumes = container.get("volumes")
    if isinstance(volumes, list):
        for index, volume in enumerate(volumes):
            persistent = volume.get("persistent") if isinstance(volume, dict) else None
            if isinstance(persistent, dict):
                for key, reason in _OF_DISKS.items():
                    if key != "type" and persistent.pop(key, None):
                        refuse(("container", "volumes", index, "persistent", key), f"is refused: {reason}")
                if persistent.get("type") in ("path", "mount"):
                    where = ("container", "volumes", index, "persistent", "type")
                    refuse(where, f"is refused, {persistent.pop('type')!r}: {_OF_DISKS['type']}")
            if isinstance(volume, dict) and volume.get("secret"):
                volume["mode"] = "RO"
            external = volume.get("external") if isinstance(volume, dict) else None
            if isinstance(external, dict) and external.get("provider") == "csi":
                refuse(("container", "volumes", index, "external", "provider"), f"is refused, 'csi': {_CSI}")
                volume["external"] = {"name": "x", "provider": "dvdi", "options": {"dvdi/driver": "local"}}  # no more of it
            elif isinstance(external, dict):
                _external(external, ("container", "volumes", index, "external"), refuse, drop)
    docker = container.get("docker")
    if isinstance(docker, dict) and (legacy := docker.pop("portMappings", None)):
        if container.get("portMappings"):
            refuse(("container", "docker", "portMappings"), "is given twice: keep container.portMappings alone")
        else:
            container["portMappings"] = legacy


def _external(external: Json, place: tuple[str | int, ...], refuse: Refuse, drop: Refuse) -> None:
    options: Any = external.get("options")
    for name, value in list(options.items()) if isinstance(options, dict) else ():
        of_secret = isinstance(value, dict) and isinstance(value.get("secret"), str) and len(value) == 1
        if not isinstance(value, str) and not of_secret:
            refuse((*place, "options", name), 'must be text, or {"secret": "..."} with the name of one of the app\'s secrets')
            del options[name]
    local = not isinstance(options, dict) or options.get(DRIVER, LOCAL) == LOCAL
    if local and external.pop("size", None) is not None:
        drop((*place, "size"), "Docker's local volumes have no size of their own")


def _networks(app: Json, refuse: Refuse) -> None:
    """Bring ``networks`` and the older ``container.docker.network`` to networks with a mode."""
    docker = app["container"].get("docker") if isinstance(app.get("container"), dict) else None
    legacy = docker.pop("network", None) if isinstance(docker, dict) else None
    networks = app.get("networks") or []
    if legacy is not None:
        if networks:
            refuse(("container", "docker", "network"), "is given twice: keep networks alone")
        elif isinstance(legacy, str) and legacy in _MODES:
            networks = [{"mode": _MODES[legacy]}]
        else:
            refuse(("container", "docker", "network"), f"is refused: {_NETWORK}")
    if not isinstance(networks, list):
        return
    app["networks"] = [network(each, index, refuse) for index, each in enumerate(networks)] or [{"mode": "host"}]
    modes = [network.get("mode") for network in app["networks"] if isinstance(network, dict)]
    others = [mode for mode in modes if mode in ("host", "container/bridge")]
    if len(modes) > 1 and others:
        refuse(("networks",), f"may hold one network of mode {others[0]}, alone")
        app["networks"] = app["networks"][:1]


def network(given: Any, index: int, refuse: Refuse) -> Any:
    """Bring one network to its canonical form, in place."""
    if not isinstance(given, dict):
        return given
    mode = given.setdefault("mode", "container")
    if mode == "container":
        if not given.get("name"):
            refuse(("networks", index, "name"), _NO_NAME)
    elif given.pop("name", None):
        refuse(("networks", index, "name"), f"has no meaning with mode {mode}: remove it")
    if not given.get("labels"):
        given.pop("labels", None)
    return given


def _ports(app: Json, refuse: Refuse, drop: Refuse) -> None:
    """Bring ``ports``, ``portDefinitions`` and ``portMappings`` to the one of the latter two that fits the network."""
    field = "portDefinitions" if app.get("portDefinitions") else "ports"
    _legacy_ports(app, refuse)
    container = app.get("container", {})
    if not isinstance(container, dict):
        return
    mappings = container.get("portMappings")
    if _mode(app) == "host":
        if container.pop("portMappings", None):
            drop(
                ("container", "portMappings"), "without meaning on the host's network, as in Marathon: use portDefinitions there"
            )
        app.setdefault("portDefinitions", [{"port": 0, "name": "default"}])
        return
    if "container" not in app:
        return
    # Marathon before 1.5 shows service ports as portDefinitions beside the mappings; each stands for one mapping.
    definitions = app.pop("portDefinitions", None) or []
    if app.pop("requirePorts", None):
        text = "without meaning off the host's network, as in Marathon: state hostPort in container.portMappings"
        drop(("requirePorts",), text)
    if mappings is None:
        mappings = container["portMappings"] = [] if definitions else [{"containerPort": 0, "name": "default"}]
    if isinstance(mappings, list) and isinstance(definitions, list):
        mappings.extend({"containerPort": 0} for _ in range(len(definitions) - len(mappings)))
        pairs = [(_port_of(one), _port_of(mapping, "servicePort")) for one, mapping in zip(definitions, mappings, strict=False)]
        if any(port and port != service_port for port, service_port in pairs):
            text = "without meaning off the host's network, as in Marathon: state servicePort in container.portMappings"
            drop((field,), text)
    for mapping in mappings if isinstance(mappings, list) else ():
        if isinstance(mapping, dict):
            if _mode(app) == "container/bridge":
                mapping.setdefault("hostPort", 0)
            if not mapping.get("networkNames", True):
                del mapping["networkNames"]


def _legacy_ports(app: Json, refuse: Refuse) -> None:
    ports = app.pop("ports", None)
    if ports is None:
        return
    if not isinstance(ports, list):
        refuse(("ports",), "must be a list of ports; better use portDefinitions")
        return
    for index, port in enumerate(ports):
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= PORT_MAX:
            refuse(("ports", index), f"must be a port from 0 (any) to {PORT_MAX}, not {port!r}")
            return
    definitions = app.get("portDefinitions")
    if not definitions:
        app["portDefinitions"] = [{"port": port} for port in ports]
    elif isinstance(definitions, list) and [_port_of(item) for item in definitions] != ports:
        refuse(("ports",), "differs from portDefinitions: keep portDefinitions alone")


def _port_of(definition: Any, field: str = "port") -> Any:
    return definition.get(field, 0) if isinstance(definition, dict) else None


def _mode(app: Json) -> Any:
    network = app["networks"][0] if isinstance(app.get("networks"), list) else None
    return network.get("mode", "host") if isinstance(network, dict) else "host"


def _fetch(app: Json, refuse: Refuse) -> None:
    """Bring the older ``uris`` to ``fetch``."""
    uris = app.pop("uris", None) or []
    if not isinstance(uris, list):
        refuse(("uris",), "must be a list of URIs; better use fetch")
        return
    if app.get("fetch") in (None, []):
        app["fetch"] = [{"uri": uri} for uri in uris]
    files = app["fetch"]
    if not isinstance(files, list):
        return
    if uris and [file.get("uri") if isinstance(file, dict) else None for file in files] != uris:
        refuse(("uris",), "differs from fetch: keep fetch alone")


def _health_checks(app: Json, refuse: Refuse, drop: Refuse) -> None:
    checks = app.get("healthChecks")
    if not isinstance(checks, list):
        return
    for index, check in enumerate(checks):
        if not isinstance(check, dict):
            continue
        if (name := check.pop("portName", None)) is not None:
            refuse(
                ("healthChecks", index, "portName"),
                f"is none of a health check's fields: write portIndex, which place {shortened(repr(name))} has among the app's "
                "ports, counted from 0",
            )
        if check.get("protocol") in _WITHOUT_PATH and check.pop("path", None) is not None:
            drop(("healthChecks", index, "path"), "without meaning over TCP and for commands, as in Marathon")
        if isinstance(check.get("path"), str) and not check["path"].startswith("/"):
            check["path"] = f"/{check['path']}"  # as Marathon asks for it (HealthCheckWorker.scala)
        if check.get("protocol", "HTTP") != "COMMAND" and "port" not in check and "portIndex" not in check:
            check["portIndex"] = 0


_WITHOUT_PATH: Final = ("TCP", "MESOS_TCP", "COMMAND")


def _readiness_checks(app: Json) -> None:
    checks = app.get("readinessChecks")
    for check in checks if isinstance(checks, list) else ():
        if isinstance(check, dict) and check.get("httpStatusCodesForReady") == []:
            del check["httpStatusCodesForReady"]  # Marathon's default, as there
