"""The parts of an app definition as frozen models, named and defaulted as in Marathon 1.11's RAML types.

Only what eratos carries out has a field here; the rest of Marathon's fields is handled in :mod:`.normalise`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from eratos.common import mounts

from . import expressions
from .strict_json import shortened

PORT_MAX = 65535
#: Where a task finds its files: a relative path in a container lies below it (Marathon's external-volumes.md).
SANDBOX: Final = "/mnt/mesos/sandbox"

PORT_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
PATH: Final = r"^/[^\s]*$"
IMAGE: Final = r"^\S+$"
VOLUME_NAME: Final = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$"
HOST_PATH: Final = r"^[^:]+$"
NETWORK_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"

AnyPort = Annotated[int, Field(ge=0, le=PORT_MAX)]
NetworkName = Annotated[str, Field(pattern=NETWORK_NAME, max_length=255)]
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
    NETWORK_NAME: "must be the name of a Docker network: letters, digits, dots, dashes and underscores",
    HOST_PATH: "must be a path of the agent's host, such as /var/data, or one in the task's sandbox, such as data",
}


class Part(BaseModel):
    """Base of every model here: immutable, camelCase on the wire, and nothing unknown gets through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, allow_inf_nan=False)


@dataclass(frozen=True)
class Aside:
    """What is remembered of a definition and is no part of it: two that differ in it alone are the same."""

    dropped: tuple[tuple[str, str], ...] = field(default=(), compare=False)  #: fields without effect: place and reason


class AppPort(NamedTuple):
    """One port of an app, whatever the network."""

    host_port: int  #: 0: any free port of the agent
    container_port: int  #: 0: the same as the host port
    protocol: str
    name: str
    labels: Mapping[str, str]
    service_port: int  #: where balancers may offer it; 0: none
    assigned: bool = False  #: the service port is one that the scheduler chose, as none was stated


class Secret(Part):
    """Where executors find a secret: a name in their store of secrets, never the secret itself."""

    source: Annotated[str, Field(min_length=1, max_length=1024)]


class SecretVariable(Part):
    """A variable whose value is one of the app's secrets, by its name there."""

    secret: Annotated[str, Field(min_length=1)]


class PortDefinition(Part):
    """One port with host networking."""

    port: AnyPort = 0
    protocol: Protocol = "tcp"
    name: PortName | None = None
    labels: Labels = {}


class PortMapping(Part):
    """One port of a container with a network of its own."""

    container_port: AnyPort = 0
    host_port: AnyPort | None = None  #: None: on a network of containers, where Marathon would publish nothing
    service_port: AnyPort = 0
    protocol: Protocol = "tcp"
    name: PortName | None = None
    labels: Labels = {}
    network_names: tuple[NetworkName, ...] | None = None


class Parameter(Part):
    """One option of ``docker run``."""

    key: Annotated[str, Field(min_length=1)]
    value: str


class PullConfig(Part):
    """Logins to the image's registry: one of the secrets, with what ``docker login`` writes into a ``config.json``."""

    secret: Annotated[str, Field(min_length=1)]


class Docker(Part):
    image: Annotated[str, Field(min_length=1, pattern=IMAGE)]
    pull_config: PullConfig | None = None
    force_pull_image: bool = False
    privileged: bool = False
    parameters: tuple[Parameter, ...] = ()


#: What begins an option of Docker's volume drivers in Marathon, and the one that says which driver it is.
DVDI: Final = "dvdi/"
DRIVER: Final = "dvdi/driver"
#: With it a volume of the driver local is a mount of something else than a folder of Docker's own.
DEVICE: Final = "dvdi/device"
#: Docker's own driver, whose volumes lie on the host unless its options say otherwise.
LOCAL: Final = "local"
#: Its options, and which others each needs (moby, volume/local: what is missing it says at the start of a container alone).
LOCAL_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "type": ("device",),
    "o": ("type", "device"),
    "device": ("type",),
    "size": (),
}
_DRIVER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]*")
#: Options, and words of mount options, that hold passwords: these have no place in a definition, which answers show.
_PASSWORDS: Final = frozenset({"password", "password2", "passwd", "pass"})
#: The largest volume that a driver may be asked for, in GiB.
VOLUME_GIB_MAX: Final = 10**6


class ExternalVolume(Part):
    """A volume of one of Docker's volume drivers by name, as Marathon's ``dvdi`` provider writes it (DVDIProvider.scala)."""

    name: Annotated[str, Field(pattern=VOLUME_NAME)]
    provider: Literal["dvdi"]
    options: Mapping[str, str | SecretVariable] = {}  #: of the driver, each behind ``dvdi/``; a secret by its name in the app
    shared: bool = False  #: several may write to it at a time
    size: Annotated[int, Field(ge=1, le=VOLUME_GIB_MAX)] | None = None  #: GiB, for the driver

    @model_validator(mode="after")
    def _good_options(self) -> ExternalVolume:
        driver = self.options.get(DRIVER)
        if not isinstance(driver, str) or not _DRIVER_NAME.fullmatch(driver):
            raise ValueError('needs "options": {"dvdi/driver": "local"}, or the name of another of Docker\'s volume drivers')
        if strange := sorted(key for key in self.options if not key.removeprefix(DVDI) or not key.startswith(DVDI)):
            raise ValueError(f"has the option {strange[0]}, which no driver would be told: options of drivers begin with {DVDI}")
        for key, value in self.driver_options.items():
            if isinstance(value, str) and _password(key, value):
                raise ValueError(
                    f"holds a password in {DVDI}{key}, which everybody could read: put the option's whole value into a secret, "
                    f'"{DVDI}{key}": {{"secret": "NAME"}}, with NAME among the app\'s secrets'
                )
        if self.size is not None and self.options.get(f"{DVDI}size", str(self.size)) != str(self.size):
            raise ValueError(f"has two sizes, {self.size} and that in {DVDI}size: keep one of them")
        if self.local:
            self._good_for_local()
        return self

    def _good_for_local(self) -> None:
        given = self.driver_options
        if unknown := sorted(given.keys() - LOCAL_OPTIONS.keys()):
            raise ValueError(f"has the option {DVDI}{unknown[0]}, and Docker's driver local knows {', '.join(LOCAL_OPTIONS)}")
        for key in given:
            if missing := [f"{DVDI}{other}" for other in LOCAL_OPTIONS[key] if other not in given]:
                raise ValueError(f"has the option {DVDI}{key}, which needs {' and '.join(missing)} beside it")
        for key, value in given.items():
            if isinstance(value, SecretVariable) and key != "o":
                raise ValueError(f"has a secret in {DVDI}{key}: of Docker's driver local only {DVDI}o may be one")
            if value == "":
                raise ValueError(f"has nothing in {DVDI}{key}: give it a value, or leave it out")

    @property
    def driver(self) -> str:
        return str(self.options[DRIVER])

    @property
    def local(self) -> bool:
        return self.driver == LOCAL

    @property
    def driver_options(self) -> dict[str, str | SecretVariable]:
        """What the driver is told, without blanks around it, as in Marathon."""
        found = {
            key.removeprefix(DVDI): value.strip() if isinstance(value, str) else value
            for key, value in self.options.items()
            if key != DRIVER
        }
        return found if self.size is None else {**found, "size": str(self.size)}

    @property
    def elsewhere(self) -> bool:
        """Whether it lies somewhere that every host reaches, as far as its definition says: it is no folder of Docker's own."""
        return not self.local or DEVICE in self.options

    @property
    def bound(self) -> str:
        """The folder or file of the host that it is another name for; empty: it is none, as far as the definition says.

        A mount is a bind by the word in its options, whatever its type says (mount(2)).
        """
        words = self.driver_options.get("o", "")
        if not self.local or not isinstance(words, str) or not mounts.binds(words):
            return ""
        return str(self.driver_options["device"])


def _password(key: str, value: str) -> bool:
    words = {word.partition("=")[0].strip().lower() for word in value.split(",") if "=" in word}
    return key.lower() in _PASSWORDS or not words.isdisjoint(_PASSWORDS)


#: The largest volume that may be asked for, in MiB.
VOLUME_MIB_MAX: Final = 10**9


class PersistentVolume(Part):
    """A Docker volume that eratos makes for one instance and keeps for those that come in its place."""

    type: Literal["root"] = "root"  #: where Docker keeps its volumes; it has no other disks
    size: Annotated[int, Field(ge=1, le=VOLUME_MIB_MAX)]  #: MiB; recorded and shown, as nothing can hold Docker's volumes to it


class Residency(Part):
    """What becomes of an instance whose volumes are on a host that is away."""

    relaunch_escalation_timeout_seconds: Seconds = 3600
    task_lost_behavior: Literal["WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT"] = "WAIT_FOREVER"

    @property
    def gives_up_after_s(self) -> int | None:
        """Seconds after which the instance begins anew elsewhere, with empty volumes; None: it waits without end."""
        return self.relaunch_escalation_timeout_seconds if self.task_lost_behavior == "RELAUNCH_AFTER_TIMEOUT" else None


class Volume(Part):
    """A mount: a path of the agent's host or a Docker volume."""

    container_path: Annotated[str, Field(min_length=1)]
    host_path: Annotated[str, Field(pattern=HOST_PATH)] | None = None
    external: ExternalVolume | None = None
    persistent: PersistentVolume | None = None
    secret: Annotated[str, Field(min_length=1)] | None = None  #: one of the app's secrets, by its name there
    mode: Literal["RO", "RW"]

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        if [self.host_path, self.external, self.persistent, self.secret].count(None) != 3:
            raise ValueError("needs exactly one of hostPath, external, persistent and secret")
        if self.persistent is not None and self.mode != "RW":
            raise ValueError("is persistent, so its mode must be RW, as in Marathon: nothing could ever be written to it")
        if self.persistent is not None and (
            ":" in self.container_path or not self.container_path.strip("./") or ".." in PurePosixPath(self.container_path).parts
        ):
            raise ValueError(f"has containerPath {self.container_path!r}: give a path without : and .., such as data")
        if self.secret and not self.container_path.startswith("/"):
            # Whoever may read an agent's files may read the sandboxes.
            raise ValueError("holds a secret, so its containerPath must be absolute: a sandbox can be read from outside")
        if self.in_sandbox and (".." in PurePosixPath(self.source).parts or not self.source.strip("./")):
            raise ValueError(f"has hostPath {self.source!r}: where it is relative it must lie in the sandbox, such as data")
        return self

    @property
    def in_sandbox(self) -> bool:
        """Whether the source is a folder of the task's sandbox."""
        return self.host_path is not None and not self.host_path.startswith("/")

    @property
    def place(self) -> str:
        """Of a folder of the sandbox, where the container finds that."""
        return str(PurePosixPath(SANDBOX, self.source))

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
        return self.external is not None or self.persistent is not None

    @property
    def exclusive(self) -> str:
        """The name of the volume of which this is the only mount that may write, on whatever host; empty: it is none."""
        external = self.external
        return external.name if external and external.elsewhere and not external.shared and not self.read_only else ""

    @property
    def read_only(self) -> bool:
        return self.mode == "RO"


class Container(Part):
    """What an app runs in. Without ``docker`` there is none: its command is a process of the agent's host."""

    #: Whose containers Marathon would use. To eratos both are Docker's where there is an image, and processes where not.
    type: Literal["DOCKER", "MESOS"] = "DOCKER"
    docker: Docker | None = None
    volumes: tuple[Volume, ...] = ()
    port_mappings: tuple[PortMapping, ...] | None = None


class Network(Part):
    mode: Literal["host", "container/bridge", "container"] = "host"
    name: NetworkName | None = None  #: with mode container: Docker's network of that name
    labels: Labels | None = None  #: kept for whoever reads the definition


class Fetch(Part):
    """A file that is brought into a task's sandbox before it starts."""

    uri: Annotated[str, Field(min_length=1, max_length=4096)]
    extract: bool = True
    executable: bool = False
    cache: bool = False  #: no matter to eratos, which fetches anew for each task
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

    @property
    def has_expression(self) -> bool:
        """Whether its value is a regular expression."""
        return self.operator in ("LIKE", "UNLIKE")


def unusable(constraints: Iterable[Constraint], steps_most: int = expressions.STEPS_MAX) -> dict[Constraint, str]:
    """Return which constraints of one definition have an expression that cannot be used, and why."""
    found = [constraint for constraint in constraints if constraint.has_expression]
    refusals = expressions.refusals((constraint.value for constraint in found), steps_most)
    return {constraint: refused for constraint, refused in zip(found, refusals, strict=True) if refused}


OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")


def not_a_user(name: str | None) -> str:
    """Return why nobody can have a name, or an empty text: each start would fail for it."""
    if name is None or not any(char.isspace() or not char.isprintable() for char in name):
        return ""
    return f"is {shortened(name)!r}, and no user has blanks in its name: correct it, or write numbers, as in 1000:1000"


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


UNLIMITED = "unlimited"


def _limit(most: float, what: str) -> Callable[[Any], float | str]:
    def read(raw: Any) -> float | str:
        if raw == UNLIMITED:
            return UNLIMITED
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < most:
            raise ValueError(f'must be a number of {what} or "unlimited"')
        return float(raw)

    return read


class ResourceLimits(Part):
    """The most that an instance may take, beyond what is kept for it."""

    cpus: Annotated[float | str, PlainValidator(_limit(1e6, "CPUs"))] = UNLIMITED
    mem: Annotated[float | str, PlainValidator(_limit(1e9, "MiB"))] | None = None  #: None: ``mem`` itself


class ExecutorResources(Part):
    """What Marathon would keep for an app's executor."""

    cpus: Annotated[float, Field(ge=0, le=1e6)] = 0.1
    mem: Annotated[float, Field(ge=0, le=1e9)] = 32.0
    disk: Annotated[float, Field(ge=0, le=1e12)] = 10.0
