"""The parts of an app definition as frozen models, named and defaulted as in Marathon 1.11's RAML types.

Only what eratos carries out has a field here; the rest of Marathon's fields is handled in :mod:`.normalise`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, model_validator
from pydantic.alias_generators import to_camel

PORT_MAX = 65535
#: Where a task finds its files: a relative path in a container lies below it (Marathon's external-volumes.md).
SANDBOX: Final = "/mnt/mesos/sandbox"

PORT_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
PATH: Final = r"^/[^\s]*$"
IMAGE: Final = r"^\S+$"
VOLUME_NAME: Final = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$"
HOST_PATH: Final = r"^/"

AnyPort = Annotated[int, Field(ge=0, le=PORT_MAX)]
PortName = Annotated[str, Field(pattern=PORT_NAME, max_length=63)]
Protocol = Literal["tcp", "udp", "udp,tcp"]
Labels = Mapping[str, str]
Seconds = Annotated[int, Field(ge=0)]
PositiveSeconds = Annotated[int, Field(ge=1)]
HttpStatus = Annotated[int, Field(ge=100, le=999)]

#: What the patterns of this module mean, for messages.
PATTERNS: Final[Mapping[str, str]] = {
    PORT_NAME: "must be lowercase letters, digits and dashes, with a letter or digit at both ends, such as http-api",
    PATH: "must be a path such as /health, without blanks",
    IMAGE: "must be an image such as nginx:1.27, without blanks",
    VOLUME_NAME: "must be a volume's name: letters, digits, dots, dashes and underscores, a letter or digit first",
    HOST_PATH: "must be an absolute path of the agent's host, such as /var/data",
}


class Part(BaseModel):
    """Base of every model here: immutable, camelCase on the wire, and nothing unknown gets through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, allow_inf_nan=False)


class PortDefinition(Part):
    """One port with host networking."""

    port: AnyPort = 0
    protocol: Protocol = "tcp"
    name: PortName | None = None
    labels: Labels = {}


class PortMapping(Part):
    """One port with bridge networking."""

    container_port: AnyPort = 0
    host_port: AnyPort = 0
    service_port: AnyPort = 0
    protocol: Protocol = "tcp"
    name: PortName | None = None
    labels: Labels = {}


class Parameter(Part):
    """One option of ``docker run``."""

    key: Annotated[str, Field(min_length=1)]
    value: str


class Docker(Part):
    image: Annotated[str, Field(min_length=1, pattern=IMAGE)]
    force_pull_image: bool = False
    privileged: bool = False
    parameters: tuple[Parameter, ...] = ()


class ExternalVolume(Part):
    """A Docker volume by name, as Marathon's ``dvdi`` provider writes it."""

    name: Annotated[str, Field(pattern=VOLUME_NAME)]
    provider: Literal["dvdi"]
    options: Labels = {}
    shared: bool = False

    @model_validator(mode="after")
    def _only_local_volumes(self) -> ExternalVolume:
        other = {key: value for key, value in self.options.items() if (key, value) != ("dvdi/driver", "local")}
        if other or self.options.get("dvdi/driver") != "local":
            raise ValueError('needs "options": {"dvdi/driver": "local"}: eratos knows Docker\'s local volumes only')
        return self


class Volume(Part):
    """A mount: a path of the agent's host or a Docker volume."""

    container_path: Annotated[str, Field(min_length=1)]
    host_path: Annotated[str, Field(pattern=HOST_PATH)] | None = None
    external: ExternalVolume | None = None
    mode: Literal["RO", "RW"]

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        if (self.host_path is None) == (self.external is None):
            raise ValueError("needs exactly one of hostPath and external")
        return self

    @property
    def target(self) -> str:
        """The absolute path in the container."""
        return str(PurePosixPath(SANDBOX, self.container_path))

    @property
    def source(self) -> str:
        """The host's path, or the Docker volume's name."""
        return self.external.name if self.external else str(self.host_path)

    @property
    def named(self) -> bool:
        return self.external is not None

    @property
    def read_only(self) -> bool:
        return self.mode == "RO"


class Container(Part):
    """What an app runs in. Without ``docker`` there is none: its command is a process of the agent's host."""

    type: Literal["DOCKER"] = "DOCKER"
    docker: Docker | None = None
    volumes: tuple[Volume, ...] = ()
    port_mappings: tuple[PortMapping, ...] | None = None


class Network(Part):
    mode: Literal["host", "container/bridge"] = "host"


class Command(Part):
    value: Annotated[str, Field(min_length=1)]


class HealthCheck(Part):
    """One health check. eratos' executor runs every kind itself, so ``HTTP`` and ``MESOS_HTTP`` are the same here."""

    #: As the user wrote it, so that a definition reads back unchanged; code asks for :attr:`protocol`.
    marathon_protocol: Literal["HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"] = Field(
        default="HTTP", alias="protocol"
    )
    path: Annotated[str, Field(pattern=PATH, max_length=1024)] | None = None
    port_index: AnyPort | None = None
    port: Annotated[int, Field(ge=1, le=PORT_MAX)] | None = None
    command: Command | None = None
    grace_period_seconds: Seconds = 300
    interval_seconds: PositiveSeconds = 60
    timeout_seconds: PositiveSeconds = 20
    max_consecutive_failures: Annotated[int, Field(ge=0)] = 3

    @model_validator(mode="after")
    def _command_if_and_only_if(self) -> HealthCheck:
        if self.protocol == "command" and self.command is None:
            raise ValueError('protocol COMMAND needs "command": {"value": "..."}')
        if self.protocol != "command" and self.command is not None:
            raise ValueError(f"command goes with protocol COMMAND only, not with {self.marathon_protocol}")
        if self.protocol in ("tcp", "command") and self.path is not None:
            raise ValueError(f"path goes with HTTP and HTTPS only, not with {self.marathon_protocol}")
        return self

    @property
    def protocol(self) -> Literal["http", "https", "tcp", "command"]:
        """What to do, whoever Marathon would have had do it."""
        return _CHECKS[self.marathon_protocol]


_CHECKS: Mapping[str, Literal["http", "https", "tcp", "command"]] = {
    "HTTP": "http",
    "MESOS_HTTP": "http",
    "HTTPS": "https",
    "MESOS_HTTPS": "https",
    "TCP": "tcp",
    "MESOS_TCP": "tcp",
    "COMMAND": "command",
}


class ReadinessCheck(Part):
    """Asked until it passes once; before that an instance gets no traffic and a deployment waits for it."""

    name: Annotated[str, Field(min_length=1)] = "readinessCheck"
    protocol: Literal["HTTP", "HTTPS"] = "HTTP"
    path: Annotated[str, Field(pattern=PATH, max_length=1024)] = "/"
    port_name: str = "http-api"
    interval_seconds: PositiveSeconds = 30
    timeout_seconds: PositiveSeconds = 10
    http_status_codes_for_ready: Annotated[tuple[HttpStatus, ...], Field(min_length=1)] = (200,)
    preserve_last_response: bool = False


class Fetch(Part):
    """A file that is brought into a task's sandbox before it starts."""

    uri: Annotated[str, Field(min_length=1, max_length=4096)]
    extract: bool = True
    executable: bool = False
    dest_path: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _can_be_fetched(self) -> Fetch:
        if not re.match(r"^(https?://[^/]+/|file:///|/)", self.uri):
            raise ValueError(f"has uri {self.uri!r}: give http://, https:// or file:// with a path, or a path of the host")
        if not self.path or PurePosixPath(self.path).is_absolute() or ".." in PurePosixPath(self.path).parts:
            raise ValueError(f"has no place in the sandbox for {self.path!r}: give a relative destPath without ..")
        return self

    @property
    def path(self) -> str:
        """Where it goes in the sandbox."""
        return self.dest_path or unquote(urlsplit(self.uri).path.rpartition("/")[2])


class UpgradeStrategy(Part):
    """Shares of the instance count: how many must stay healthy during an upgrade, how many may run beyond it."""

    minimum_health_capacity: Annotated[float, Field(ge=0, le=1)] = 1.0
    maximum_over_capacity: Annotated[float, Field(ge=0, le=1)] = 1.0


class UnreachableStrategy(Part):
    """When a task on an unreachable agent is replaced, and when it is given up for good."""

    inactive_after_seconds: Seconds = 0
    expunge_after_seconds: Seconds = 0

    @model_validator(mode="after")
    def _in_order(self) -> UnreachableStrategy:
        if self.inactive_after_seconds > self.expunge_after_seconds:
            raise ValueError(
                f"inactiveAfterSeconds ({self.inactive_after_seconds}) must not be more than "
                f"expungeAfterSeconds ({self.expunge_after_seconds})"
            )
        return self


DISABLED = "disabled"


def _unless_disabled(value: Any) -> Any:
    if isinstance(value, str):
        if value != DISABLED:
            raise ValueError('must be "disabled" or an object with inactiveAfterSeconds and expungeAfterSeconds')
        return None
    return value


#: None: ``"disabled"``, an unreachable task is waited for without end.
UnreachableChoice = Annotated[UnreachableStrategy | None, BeforeValidator(_unless_disabled)]


class Constraint(NamedTuple):
    """A rule on where instances may run: an agent's attribute (or ``@hostname``, ``@zone``, ``@region``) and a test."""

    field: str
    operator: str
    value: str = ""


OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")


def parse_constraint(raw: Any) -> Constraint:
    """Read Marathon's ``[field, operator, value?]``; the rules are those of its SchedulingValidation."""
    if not isinstance(raw, list | tuple) or len(raw) not in (2, 3) or not all(isinstance(item, str) for item in raw):
        raise ValueError('must be 2 or 3 strings: ["field", "OPERATOR"] or ["field", "OPERATOR", "value"]')
    field, operator, value = raw[0], raw[1].upper(), raw[2] if len(raw) == 3 else ""
    if not field:
        raise ValueError('has no field: name an attribute of the agents, "@hostname", "@zone" or "@region"')
    if operator not in OPERATORS:
        instead = "LIKE with the values as an expression, a|b" if operator == "IN" else f"one of {', '.join(OPERATORS)}"
        raise ValueError(f"operator '{raw[1]}' is unknown: use {instead}")
    if operator == "UNIQUE" and value:
        raise ValueError("UNIQUE takes no value: leave it out, or use CLUSTER or IS")
    if operator == "GROUP_BY" and value and not _is_positive(value):
        raise ValueError(f"GROUP_BY takes the number of groups, not '{value}'")
    if operator == "MAX_PER" and not _is_positive(value):
        raise ValueError(f"MAX_PER takes the most instances per value of the field, a number from 1, not '{value}'")
    if operator in ("LIKE", "UNLIKE") and not value:
        raise ValueError(f"{operator} takes a regular expression")
    if operator == "IS" and not re.fullmatch(r"[a-zA-Z0-9_/.-]*", value):
        raise ValueError(f"IS takes a Mesos text or number value, not '{value}'")
    return Constraint(field, operator, value)


def _is_positive(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


ConstraintItem = Annotated[
    Constraint,
    PlainValidator(parse_constraint),
    PlainSerializer(lambda c: [c.field, c.operator, c.value] if c.value else [c.field, c.operator]),
]


def _parse_cpus_limit(raw: Any) -> float | str:
    if raw == "unlimited":
        return "unlimited"
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < 1e6:
        raise ValueError('must be a number of CPUs or "unlimited"')
    return float(raw)


class ResourceLimits(Part):
    cpus: Annotated[float | str, PlainValidator(_parse_cpus_limit)] = "unlimited"
