"""From what users write to the one canonical form: legacy spellings, Marathon's defaults, and what eratos refuses.

Works on plain JSON values, before the models see them, and leaves whatever has the wrong type for the models to
complain about. Rules and defaults are those of Marathon 1.11's ``AppNormalization``; every refusal says why, and what
to do instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .errors import Problem, json_path
from .labels import SINGLE_INSTANCE
from .parts import PORT_MAX

Json = dict[str, Any]

#: What Marathon adds when it shows an app. Accepted, so that a shown app can be sent back, and dropped.
OUTPUT_ONLY: Final = frozenset(
    {
        "tasksStaged",
        "tasksRunning",
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

_SECRETS = "eratos has no secret store: mount the secret from the host, or have the worker fetch it"
_NETWORK = 'eratos knows the host\'s network and Docker\'s bridge: use [{"mode": "host"}] or [{"mode": "container/bridge"}]'
_PORTS = 'add "networks": [{"mode": "container/bridge"}], or use portDefinitions instead'
_LOGIN = (
    "eratos has no secret store, executors pull with their hosts' logins: remove it, and log in there with docker login, "
    "or name a config.json there in ERATOS_DOCKER_CONFIG"
)

#: Fields that eratos cannot carry out, each with the reason. Empty, false and zero values are harmless and dropped.
REFUSED: Final[Mapping[tuple[str, ...], str]] = {
    ("check",): "eratos acts on healthChecks only: state the check there",
    ("executorResources",): "the executor's own resources are a setting of the scheduler, not of an app: remove it",
    ("gpus",): "eratos gives out no GPUs, and Marathon itself has none for Docker containers: remove it",
    ("ipAddress",): _NETWORK,
    ("residency",): "eratos keeps no persistent volumes, so no task is bound to its agent: remove it",
    ("secrets",): _SECRETS,
    ("storeUrls",): "Marathon dropped it in 1.4: use fetch",
    ("tty",): "eratos gives a worker no terminal: remove it",
    ("container", "linuxInfo"): "it belongs to Mesos' own containers: use docker.parameters",
    ("container", "docker", "credential"): _LOGIN,
    ("container", "docker", "pullConfig"): _LOGIN,
    ("resourceLimits", "mem"): "a container may use just its mem: raise mem instead",
}

#: ``executor`` may only name Mesos' command executor, Marathon's default.
_DEFAULT_EXECUTORS: Final = ("", "//cmd")

#: Fields that users may write and no model has.
LEGACY_FIELDS: Final[Mapping[str, str]] = {
    "ports": "/ports",
    "executor": "/executor",
    "uris": "/uris",
    "network": "/container/docker/network",
    **{path[-1]: json_path(path) for path in REFUSED},
}

_REFUSED_VOLUMES: Final = {
    "persistent": 'eratos keeps no persistent volumes: use hostPath, or an external volume with "dvdi/driver": "local"',
    "secret": _SECRETS,
}


def normalise(raw: Mapping[str, Any]) -> tuple[Json, list[Problem]]:
    """Return the canonical JSON of an app, and the problems that only the original shows."""
    problems: list[Problem] = []

    def refuse(location: tuple[str | int, ...], message: str) -> None:
        problems.append(Problem(json_path(location), message))

    given = {key: value for key, value in raw.items() if value is not None and key not in OUTPUT_ONLY}
    app = {key: _without_nulls(value, key) for key, value in given.items()}
    for path, reason in REFUSED.items():
        _drop_refused(app, path, reason, refuse)
    if (executor := app.pop("executor", "")) not in _DEFAULT_EXECUTORS:
        refuse(("executor",), f"eratos runs every app with its own executor, not with {executor!r}: remove it")
    _check_env(app, refuse)
    _container(app, refuse)
    _networks(app, refuse)
    _ports(app, refuse)
    _health_checks(app, refuse)
    _fetch(app, refuse)
    if isinstance(app.get("labels"), dict) and app["labels"].get(SINGLE_INSTANCE) == "true":
        app.setdefault("upgradeStrategy", {"minimumHealthCapacity": 0, "maximumOverCapacity": 0})
    return app, problems


Refuse = Callable[[tuple[str | int, ...], str], None]


def _without_nulls(value: Any, key: str) -> Any:
    """Leave out nulls, which mean *absent* all over Marathon's API, except among free keys such as env's."""
    if isinstance(value, dict):
        if key in ("env", "labels", "options"):
            return dict(value)
        return {name: _without_nulls(item, name) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item, key) for item in value]
    return value


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
            refuse(("env", name), f"is refused: {_SECRETS}")
            del env[name]
        elif not isinstance(value, str):
            refuse(("env", name), "must be a string: put quotes around it")
            del env[name]
        elif not name or "=" in name:
            refuse(("env", name), "is no name of an environment variable: use letters, digits and underscores")
            del env[name]


def _container(app: Json, refuse: Refuse) -> None:
    container = app.get("container")
    if not isinstance(container, dict):
        return
    if container.get("type") == "MESOS":
        container["type"] = "DOCKER"
        without = " with a docker.image, or leave container out to run the command as a process of the agent's host"
        refuse(("container", "type"), f'is refused: eratos runs Docker containers: use "DOCKER"{without}')
    elif container.get("docker") is None:
        refuse(("container", "docker"), "is missing: add it, or leave container out to run the command as a process of the host")
    volumes = container.get("volumes")
    if isinstance(volumes, list):
        kept = []
        for index, volume in enumerate(volumes):
            found = [key for key in _REFUSED_VOLUMES if isinstance(volume, dict) and key in volume]
            for key in found:
                refuse(("container", "volumes", index, key), f"is refused: {_REFUSED_VOLUMES[key]}")
            if not found:
                kept.append(volume)
        container["volumes"] = kept
    docker = container.get("docker")
    if isinstance(docker, dict) and (legacy := docker.pop("portMappings", None)):
        if container.get("portMappings"):
            refuse(("container", "docker", "portMappings"), "is given twice: keep container.portMappings alone")
        else:
            container["portMappings"] = legacy


def _networks(app: Json, refuse: Refuse) -> None:
    """Bring ``networks`` and the older ``container.docker.network`` to one network with a mode."""
    docker = app["container"].get("docker") if isinstance(app.get("container"), dict) else None
    legacy = docker.pop("network", None) if isinstance(docker, dict) else None
    networks = app.get("networks") or []
    if legacy is not None:
        if networks:
            refuse(("container", "docker", "network"), "is given twice: keep networks alone")
        elif legacy in ("HOST", "BRIDGE"):
            networks = [{"mode": "host" if legacy == "HOST" else "container/bridge"}]
        else:
            refuse(("container", "docker", "network"), f"is refused: {_NETWORK}")
    if not isinstance(networks, list):
        return
    if len(networks) > 1:
        refuse(("networks",), "may hold one network: a container is on the host's network or on Docker's bridge")
    app["networks"] = [_network(network, refuse) for network in networks[:1]] or [{"mode": "host"}]


def _network(network: Any, refuse: Refuse) -> Any:
    if not isinstance(network, dict):
        return network
    if network.get("mode", "container") == "container":
        refuse(("networks", 0, "mode"), f"is refused: {_NETWORK}")
        return {"mode": "host"}
    for key in ("name", "labels"):
        if network.pop(key, None):
            refuse(("networks", 0, key), f"has no meaning with mode {network['mode']}: remove it")
    return network


def _ports(app: Json, refuse: Refuse) -> None:
    """Bring ``ports``, ``portDefinitions`` and ``portMappings`` to the one of the latter two that fits the network."""
    _legacy_ports(app, refuse)
    container = app.get("container", {})
    if not isinstance(container, dict):
        return
    mappings = container.get("portMappings")
    if _mode(app) == "host":
        if mappings:
            refuse(("container", "portMappings"), "goes with bridge networking: " + _PORTS)
        container.pop("portMappings", None)
        app.setdefault("portDefinitions", [{"port": 0, "name": "default"}])
        return
    if "container" not in app:
        return
    # Marathon before 1.5 shows service ports as portDefinitions beside the mappings; each stands for one mapping.
    definitions = app.pop("portDefinitions", None) or []
    app.pop("requirePorts", None)  # without meaning off the host's network, as in Marathon
    if mappings is None:
        mappings = container["portMappings"] = [] if definitions else [{"containerPort": 0, "name": "default"}]
    if isinstance(mappings, list) and isinstance(definitions, list):
        mappings.extend({"containerPort": 0} for _ in range(len(definitions) - len(mappings)))
        for index, mapping in enumerate(mappings):
            if isinstance(mapping, dict) and mapping.pop("networkNames", None):
                refuse(("container", "portMappings", index, "networkNames"), f"is refused: {_NETWORK}")


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


def _port_of(definition: Any) -> Any:
    return definition.get("port", 0) if isinstance(definition, dict) else None


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
    for index, file in enumerate(files):
        if isinstance(file, dict) and file.pop("cache", False):
            refuse(("fetch", index, "cache"), "is refused: eratos fetches anew for each task; remove it")


def _health_checks(app: Json, refuse: Refuse) -> None:
    checks = app.get("healthChecks")
    if not isinstance(checks, list):
        return
    for index, check in enumerate(checks):
        if not isinstance(check, dict):
            continue
        if check.pop("ipProtocol", "IPv4") != "IPv4":
            refuse(("healthChecks", index, "ipProtocol"), "is refused: eratos checks over IPv4 only")
        if check.pop("ignoreHttp1xx", False):
            refuse(("healthChecks", index, "ignoreHttp1xx"), "is refused: a status from 200 to 399 is healthy")
        # 15 is the default that Marathon writes out. eratos asks from the start, and ignores failures meanwhile.
        if check.pop("delaySeconds", 0) not in (0, 15):
            refuse(("healthChecks", index, "delaySeconds"), "is refused: checks begin at once; use gracePeriodSeconds")
        if check.get("protocol", "HTTP") != "COMMAND" and "port" not in check and "portIndex" not in check:
            check["portIndex"] = 0
