"""The checks of an app definition: its health checks, its readiness checks, and what is only asked and shown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self
from typing import Protocol as Structure

from pydantic import AfterValidator, Field, model_validator

from eratos.common.payload import CheckKind

from .app_parts import PATH, PORT_MAX, AnyPort, HttpStatus, Part, PositiveSeconds, Seconds
from .strict_json import shortened


class Command(Part):
    value: Annotated[str, Field(min_length=1)]


#: What Marathon has for a check that states no delay.
DEFAULT_DELAY_S: Final = 15
#: Marathon's names for kinds of health checks. Whether Marathon or Mesos asks is the same to eratos: its executor does.
CHECK_KINDS: Final[Mapping[str, CheckKind]] = {
    "HTTP": CheckKind.HTTP,
    "HTTPS": CheckKind.HTTPS,
    "TCP": CheckKind.TCP,
    "COMMAND": CheckKind.COMMAND,
    "MESOS_HTTP": CheckKind.HTTP,
    "MESOS_HTTPS": CheckKind.HTTPS,
    "MESOS_TCP": CheckKind.TCP,
}


def _one_of_the_kinds(name: str) -> str:
    if name not in CHECK_KINDS:
        raise ValueError(f"must be one of {', '.join(CHECK_KINDS)}, not '{shortened(name)}'")
    return name


class HealthCheck(Part):
    """One health check. eratos' executor runs every kind itself, so ``HTTP`` and ``MESOS_HTTP`` are the same here."""

    #: As the user wrote it, so that a definition reads back unchanged; code asks for :attr:`protocol`.
    marathon_protocol: Annotated[str, AfterValidator(_one_of_the_kinds)] = Field(default="HTTP", alias="protocol")
    path: Annotated[str, Field(pattern=PATH, max_length=1024)] | None = None
    port_index: AnyPort | None = None
    port: Annotated[int, Field(ge=1, le=PORT_MAX)] | None = None
    command: Command | None = None
    grace_period_seconds: Seconds = 300
    interval_seconds: PositiveSeconds = 60
    timeout_seconds: PositiveSeconds = 20
    max_consecutive_failures: Annotated[int, Field(ge=0)] = 3
    ignore_http1xx: bool = Field(default=False, alias="ignoreHttp1xx")
    ip_protocol: Literal["IPv4", "IPv6"] = "IPv4"
    #: Marathon writes its default into every check that it shows, so that one asks for nothing: see :attr:`delay_s`.
    delay_seconds: Seconds = DEFAULT_DELAY_S

    @model_validator(mode="after")
    def _command_if_and_only_if(self) -> HealthCheck:
        if self.protocol is CheckKind.COMMAND and self.command is None:
            raise ValueError('protocol COMMAND needs "command": {"value": "..."}')
        if self.protocol is not CheckKind.COMMAND and self.command is not None:
            raise ValueError(f"command goes with protocol COMMAND only, not with {self.marathon_protocol}")
        if self.protocol not in CheckKind.over_http() and self.path is not None:
            raise ValueError(f"path goes with HTTP and HTTPS only, not with {self.marathon_protocol}")
        return self

    @property
    def delay_s(self) -> int:
        """Seconds from a task's start to the first probe."""
        return 0 if self.delay_seconds == DEFAULT_DELAY_S else self.delay_seconds

    @property
    def protocol(self) -> CheckKind:
        """What to do, whoever Marathon would have had do it."""
        return CHECK_KINDS[self.marathon_protocol]


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


class TcpCheck(Part):
    """A check of the app's that asks whether a port accepts."""

    port_index: AnyPort | None = None
    port: Annotated[int, Field(ge=1, le=PORT_MAX)] | None = None

    @model_validator(mode="after")
    def _one_port(self) -> Self:
        if self.port is not None and self.port_index is not None:
            raise ValueError("has port and portIndex: keep one of the two")
        return self


class HttpCheck(TcpCheck):
    path: Annotated[str, Field(pattern=PATH, max_length=1024)] = "/"
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class CheckCommand(Part):
    shell: Annotated[str, Field(min_length=1)] | None = None
    argv: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> CheckCommand:
        if (self.shell is None) == (self.argv is None):
            raise ValueError('needs one of shell and argv, such as {"shell": "test -e /ready"}')
        return self


class ExecCheck(Part):
    command: CheckCommand

    @property
    def line(self) -> str:
        """The command as a shell takes it."""
        return self.command.shell or shlex.join(self.command.argv or ())


class _Http(Structure):
    @property
    def scheme(self) -> str: ...


def kind_of_check(http: _Http | None, tcp: Part | None, command: ExecCheck | None) -> CheckKind:
    """Return in which of three ways a check asks. Raises ValueError unless it is exactly one."""
    if [http, tcp, command].count(None) != 2:
        raise ValueError("needs exactly one of http, tcp and exec")
    if http is not None:
        return CheckKind.HTTPS if http.scheme == "HTTPS" else CheckKind.HTTP
    return CheckKind.TCP if tcp is not None else CheckKind.COMMAND


class Check(Part):
    """Asked for as long as a task lives; what it answers is shown with the task, and nothing depends on it."""

    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    exec: ExecCheck | None = None
    interval_seconds: PositiveSeconds = 60
    timeout_seconds: PositiveSeconds = 20
    delay_seconds: Seconds = DEFAULT_DELAY_S

    @model_validator(mode="after")
    def _one_kind(self) -> Check:
        kind_of_check(self.http, self.tcp, self.exec)
        return self

    @property
    def kind(self) -> CheckKind:
        return kind_of_check(self.http, self.tcp, self.exec)

    @property
    def asked(self) -> TcpCheck | None:
        """What says which port is asked; None for a command."""
        return self.http or self.tcp

    @property
    def command(self) -> str:
        """The command as a shell takes it, empty where a port is asked."""
        return self.exec.line if self.exec is not None else ""
