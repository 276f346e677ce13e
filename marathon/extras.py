"""What an app may state beyond Marathon, all of it in its one field ``eratos``: a Marathon leaves that alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from eratos.common import service_meta

from . import consul_expressions, ids
from .app_parts import PORT_MAX, Part, PortName, PositiveSeconds
from .autoscale import Autoscale
from .error_budget import ErrorBudget

#: Signals that a program may take as news. Those that end or stop it whatever it does are not among them.
SIGNALS: Final = ("SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGQUIT", "SIGWINCH", "SIGCONT")

_NAME: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
_PREFIX: Final = r"^[A-Z_][A-Z0-9_]*$"
_SERVICE: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(@[A-Za-z0-9_-]+)?$"
_META_KEY: Final = r"^[A-Za-z0-9_-]+$"
_TAG: Final = r"^[!-_a-~]+$"
_KEY: Final = r"^[^/\s?#%][^\s?#%]*$"
#: Of tags and of values of a service's meta; :mod:`.rules` has what Consul takes of these.
_META_CHARACTERS_MAX: Final = 512
#: What the patterns of this module mean, for messages.
PATTERNS: Final[Mapping[str, str]] = {
    _NAME: "must be lowercase letters, digits and dashes, a letter first, such as mysql",
    _PREFIX: "must be capital letters, digits and underscores, such as REQUIRE_",
    _SERVICE: "must be the name of a Consul service, its data center behind an @ where that is another, such as mysql@dc2",
    _META_KEY: "must be letters, digits, dashes and underscores",
    _TAG: "must be visible ASCII characters without blanks and backticks",
    _KEY: "must be a key such as shop/settings, without a slash at its begin and without blanks, ?, # and %",
}

MetaKey = Annotated[str, Field(pattern=_META_KEY, max_length=service_meta.KEY_CHARACTERS_MAX)]
MetaValue = Annotated[str, Field(max_length=_META_CHARACTERS_MAX)]
Tag = Annotated[str, Field(pattern=_TAG, max_length=_META_CHARACTERS_MAX)]


_WAYS: Final = 'must be "restart", "nothing", {"command": "..."} or {"signal": "SIGHUP"}'


class OnChange(Part):
    """What becomes of a running instance when what it requires has changed."""

    command: Annotated[str, Field(min_length=1)] | None = None
    timeout_seconds: PositiveSeconds = 60
    signal: Literal[SIGNALS] | None = None  # type: ignore[valid-type]
    otherwise: Literal["restart", "nothing"] | None = None  #: stands in JSON as the whole value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if [self.command, self.signal, self.otherwise].count(None) != 2:
            raise ValueError(_WAYS)
        if self.command is None and "timeout_seconds" in self.model_fields_set:
            raise ValueError("has timeoutSeconds, which goes with a command only: remove it")
        return self

    @property
    def kind(self) -> str:
        return "command" if self.command else "signal" if self.signal else str(self.otherwise)

    @property
    def value(self) -> str:
        return self.command or self.signal or ""


def _spelt_out(raw: Any) -> Any:
    if isinstance(raw, str) and raw in ("restart", "nothing"):
        return {"otherwise": raw}
    if isinstance(raw, str) or (isinstance(raw, Mapping) and "otherwise" in raw):
        raise ValueError(_WAYS)
    return raw


def _shortly(change: OnChange) -> Any:
    if change.otherwise is not None:
        return change.otherwise
    if change.signal is not None:
        return {"signal": change.signal}
    return {"command": change.command, "timeoutSeconds": change.timeout_seconds}


OnChangeChoice = Annotated[OnChange, BeforeValidator(_spelt_out), PlainSerializer(_shortly)]


def _is_address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    bare = re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+", host)
    if not (colon and bare and port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise ValueError(f"must be host:port such as 10.0.0.7:3306, not '{text[:60]}'")
    return text


def _expression(text: str) -> str:
    if problem := consul_expressions.read(text).problem:
        raise ValueError(problem)
    return text


class Requirement(Part):
    """Something that an app needs of others: another app's port, a Consul service, addresses, or a key's value."""

    app: Annotated[str, Field(min_length=1)] | None = None
    port: PortName | None = None  #: of that app; None: its first
    service: Annotated[str, Field(pattern=_SERVICE, max_length=255)] | None = None
    static: Annotated[tuple[Annotated[str, AfterValidator(_is_address)], ...], Field(max_length=100)] | None = None
    key: Annotated[str, Field(pattern=_KEY, max_length=512)] | None = None
    tags: Annotated[tuple[Tag, ...], Field(max_length=20)] = ()
    attributes: Annotated[
        Mapping[MetaKey, Annotated[str, Field(max_length=consul_expressions.CHARACTERS_MAX), AfterValidator(_expression)]],
        Field(max_length=20),
    ] = {}
    zone: Literal["any", "prefer", "require"] = "any"
    at_least: Annotated[int, Field(ge=1, le=1000)] = 1
    wait: bool = True
    on_change: OnChangeChoice = OnChange(otherwise="restart")
    prefix: Annotated[str, Field(pattern=_PREFIX, max_length=64)] = "REQUIRE_"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("app", "service", "static", "key") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of app, service, static and key, and has {' and '.join(given) or 'none'}")
        goes_with = {
            "port": ("app",),
            **dict.fromkeys(("tags", "attributes", "zone"), ("app", "service")),
            "at_least": ("app", "service"),
            "on_change": ("app", "service", "key"),
            "wait": ("app", "service", "key"),
        }
        for name, sources in goes_with.items():
            if name in self.model_fields_set and given[0] not in sources:
                alias = type(self).model_fields[name].alias
                raise ValueError(f"has {alias}, which goes with {' or '.join(sources)} only, not with {given[0]}: remove it")
        return self

    @property
    def kind(self) -> str:
        """Where it is looked for: ``app``, ``service``, ``static`` or ``key``."""
        return next(name for name in ("app", "service", "static", "key") if getattr(self, name) is not None)

    @property
    def source(self) -> str:
        """What is looked for, for people."""
        if self.app is not None:
            return f"{self.app}:{self.port}" if self.port else self.app
        return self.service or (f"key {self.key}" if self.key else ", ".join(self.static or ()))

    def variable(self, name: str) -> str:
        """Return the variable of a requirement of this name."""
        return self.prefix + name.upper().replace("-", "_")


class Ordinals(Part):
    """Each instance of an app has a number of its own, which its replacement has, too."""

    first_alone: bool = True  #: the others start only while the instance with ordinal 0 is ready


def _spelt_out_ordinals(raw: Any) -> Any:
    if isinstance(raw, bool):
        return {} if raw else None
    if not isinstance(raw, Mapping):
        raise ValueError('must be true, false or {"firstAlone": false}')
    return raw


def _ordinals_shortly(ordinals: Ordinals | None) -> Any:
    if ordinals is None:
        return None
    return True if ordinals.first_alone else {"firstAlone": False}


OrdinalsChoice = Annotated[Ordinals | None, BeforeValidator(_spelt_out_ordinals), PlainSerializer(_ordinals_shortly)]


class Extras(Part):
    """The field ``eratos`` of an app."""

    requires: Annotated[Mapping[Annotated[str, Field(pattern=_NAME, max_length=64)], Requirement], Field(max_length=50)] = {}
    attributes: Annotated[Mapping[MetaKey, MetaValue], Field(max_length=20)] = {}  #: meta of its services in Consul
    autoscale: Autoscale | None = None
    error_budget: ErrorBudget | None = None
    per_host: bool = False  #: one instance on each host that can have one; ``instances`` is 1 then, or 0 for none at all
    ordinals: OrdinalsChoice = None  #: None: instances are all alike
    follow: Literal["copy"] | None = None  #: how volumes go where their instance is planned to go; None: it stays with them

    @model_validator(mode="after")
    def _own_names(self) -> Self:
        for key in self.attributes:
            if key.startswith(("eratos-", "haproxy")):
                raise ValueError(f"has the attribute {key}, and names that begin with eratos- or haproxy are eratos' own")
        taken: dict[str, str] = {}
        for name, requirement in self.requires.items():
            for variable in variables(requirement.variable(name)):
                if (other := taken.setdefault(variable, name)) != name:
                    raise ValueError(f"has requires {other} and {name}, which both give the variable {variable}: rename one")
        return self

    def awaited(self) -> Iterator[str]:
        """Yield the apps without whose instances no new one of this app starts."""
        return (requirement.app for requirement in self.requires.values() if requirement.app and requirement.wait)


def variables(variable: str) -> tuple[str, str, str]:
    """Return all variables that a requirement gives."""
    return variable, f"{variable}_HOST", f"{variable}_PORT"


def resolve_ids(raw: Any, base: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Make the apps' ids in a raw field ``eratos`` absolute; yield the place and the fault of those that are none."""
    requires = raw.get("requires") if isinstance(raw, Mapping) else None
    for name, requirement in requires.items() if isinstance(requires, dict) else ():
        if isinstance(requirement, dict) and isinstance(requirement.get("app"), str):
            try:
                requirement["app"] = ids.app_id(requirement["app"], base)
            except ValueError as error:
                yield ("eratos", "requires", name, "app"), str(error)
