"""What Registrator reads of containers, ``SERVICE_TAGS`` and its kin, as variables or labels of an app: the spellings of what
eratos has are taken, and the others reported as not heeded.

As there (its docs/user/services.md) a label counts before a variable, and what names a port before what names none; the port
is the container's, or the host's where the container has no network of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .app_parts import AppPort

_KEY: Final = re.compile(r"SERVICE_(?:([0-9]{1,5})_)?(NAME|TAGS|ID|IGNORE|REGION|CHECK_[A-Z_]+)")
#: A tag, of which several stand with commas between.
TAG: Final = re.compile(r"^[\x21-\x2b\x2d-\x7e]+$")

_INSTEAD: Final = {
    "NAME": "services are named after the app and its ports",
    "ID": "services have the ids of their tasks",
    "IGNORE": "each port is registered; balancers serve those that ask for it (HAPROXY_n_ENABLED)",
    "REGION": "zones are those of the agents",
}
_CHECK: Final = "instances are checked by the app's healthChecks"


def split(value: str) -> tuple[str, ...]:
    """Return the tags of a list with commas between."""
    return tuple(tag.strip() for tag in value.split(",") if tag.strip())


def tags(stated: Mapping[str, str], port: AppPort) -> tuple[str, ...]:
    """Return the tags that variables and labels, ``stated``, ask for a port's service."""
    value = stated.get(f"SERVICE_{number(port)}_TAGS", stated.get("SERVICE_TAGS", ""))
    return split(value) if usable(value) else ()


def usable(value: str) -> bool:
    return all(TAG.match(tag) for tag in split(value))


def number(port: AppPort) -> int:
    """Return the number by which Registrator knows a port."""
    return port.container_port or port.host_port


def notes(stated: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[tuple[str, bool, str]]:
    """Yield each of Registrator's keys, whether it is heeded, and what becomes of it."""
    numbers = {number(port) for port in ports}
    for key, value in stated.items():
        if (match := _KEY.fullmatch(key)) is None or not value:
            continue
        if match[1] is not None and int(match[1]) not in numbers:
            yield key, False, f"Registrator's: the app has no port {match[1]}"
        elif match[2] != "TAGS":
            yield key, False, f"Registrator's: {_INSTEAD.get(match[2], _CHECK)}"
        elif not usable(value):
            yield key, False, "Registrator's: tags are visible ASCII characters without blanks, commas between"
        else:
            which = f"the service of port {match[1]}" if match[1] is not None else "its services"
            yield key, True, f"tags of {which} in Consul, as those of CONSUL_TAGS"
