"""Where the API is, and what it is shown: by options, the environment and a context, in this order.

A context's credentials go to that context's own API, unless an option names both: whoever says ``--url``, or has
``ERATOS_URL`` set, uses no context that they did not type.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, NamedTuple

from eratos.common.secret_file import secret
from eratos.marathon.client import Login, MarathonClient, Refused

from .contexts import Context, Contexts, load

DEFAULT_URL: Final = "http://127.0.0.1:8080"
#: The fields of a context, which options and variables are named after.
_FIELDS: Final = tuple(item.name for item in fields(Context))
#: What a login is made of, the strongest first. It comes from one place as a whole.
_LOGIN: Final = ("token", "token_file", "credentials")


class Options(NamedTuple):
    """What was typed, empty where nothing was."""

    url: str = ""
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    context: str = ""


@dataclass(frozen=True)
class Connection:
    """What counts. ``context`` holds it all, ``origins`` where each field is from; ``name``: the context in it, if any."""

    context: Context
    origins: Mapping[str, str]
    name: str

    def client(self, timeout_s: float = 30.0) -> MarathonClient:
        """Return what speaks with the API. Raises PermanentError for a file that cannot be used."""
        for field in ("token_file", "ca_file", "cert_file"):
            path = getattr(self.context, field)
            if path and not Path(path).is_file():
                raise Refused(0, f"{self.origins[field]}: {path} is no file")
        shown = self.context
        if shown.credentials and ":" not in shown.credentials:
            raise Refused(0, f"{self.origins['credentials']}: must be user:password")
        token = shown.token or (secret(shown.token_file, self.origins["token_file"]) if shown.token_file else "")
        return MarathonClient(shown.url, timeout_s, login=Login(token, shown.credentials, shown.ca_file, shown.cert_file))


def typed(options: Options) -> Connection:
    """Return what options and environment say, contexts aside."""
    return _over([_options(options), _environment()], "")


def resolve(options: Options) -> Connection:
    """Return what counts. Raises Refused for a context that there is not, and for variables that contradict each other."""
    if options.context:
        return _over([_options(options), _of(load(), options.context)], options.context)
    url, named = os.environ.get("ERATOS_URL"), os.environ.get("ERATOS_CONTEXT", "")
    if options.url:
        return typed(options)
    if url and named:
        raise Refused(0, "ERATOS_URL and ERATOS_CONTEXT are both set: unset one of them, or give --url or --context")
    if url:
        return typed(options)
    known = load()
    name = named or known.current
    return _over([_options(options), _environment(), *([_of(known, name)] if name else [])], name)


class _Layer(NamedTuple):
    values: Mapping[str, str]
    origins: Mapping[str, str]


def _options(options: Options) -> _Layer:
    names = {field: "--" + field.replace("_", "-") for field in _FIELDS}
    return _Layer({field: getattr(options, field, "") for field in _FIELDS}, names)


def _environment() -> _Layer:
    names = {field: "ERATOS_" + field.upper() for field in _FIELDS}
    return _Layer({field: os.environ.get(name, "") for field, name in names.items()}, names)


def _of(contexts: Contexts, name: str) -> _Layer:
    context = contexts.get(name)
    return _Layer({field: getattr(context, field) for field in _FIELDS}, dict.fromkeys(_FIELDS, f"context {name}"))


def _over(layers: list[_Layer], name: str) -> Connection:
    default = _Layer({**dict.fromkeys(_FIELDS, ""), "url": DEFAULT_URL}, dict.fromkeys(_FIELDS, "default"))
    chosen: dict[str, str] = {}
    origins: dict[str, str] = {}
    for field in ("url", "ca_file", "cert_file"):
        layer = next((layer for layer in layers if layer.values[field]), default)
        chosen[field], origins[field] = layer.values[field], layer.origins[field]
    login = next((layer for layer in layers if any(layer.values[field] for field in _LOGIN)), default)
    for field in _LOGIN:
        chosen[field], origins[field] = login.values[field], login.origins[field]
    return Connection(Context(**chosen), origins, name)
