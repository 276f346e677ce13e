"""What Registrator reads of containers, ``SERVICE_TAGS`` and its kin, as variables or labels of an app: the spellings of what
eratos has are taken, and the others reported as not heeded.

As there (its docs/user/services.md) a label counts before a variable, and what names a port before what names none; the port
is the container's, or the host's where the container has no network of its own. Attributes are taken of labels alone: any
variable that begins with ``SERVICE_`` would be one, secrets included, and Consul shows them to whoever may read there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .app_parts import AppPort

_KEY: Final = re.compile(r"SERVICE_(?:([0-9]{1,5})_)?(NAME|TAGS|ID|IGNORE|CHECK_[A-Z_]+)")
#: Everything else is an attribute there, its name in small letters.
_ATTRIBUTE: Final = re.compile(r"SERVICE_(?:([0-9]{1,5})_)?([A-Za-z][A-Za-z0-9_-]{0,127})")
#: The one that its documents show; of variables it is reported, where no other can be told from those of anybody else.
_REGION: Final = re.compile(r"SERVICE_(?:[0-9]{1,5}_)?REGION")
#: A tag, of which several stand with commas between.
TAG: Final = re.compile(r"^[\x21-\x2b\x2d-\x7e]+$")
#: As many as an app may state otherwise (``eratos.attributes``), and as much in each as Consul takes.
ATTRIBUTES_MAX: Final = 20
_VALUE_CHARACTERS_MAX: Final = 512

_INSTEAD: Final = {
    "NAME": "services are named after the app and its ports, as else anybody's app could stand in another's service",
    "ID": "services have the ids of their tasks",
    "IGNORE": "each port is registered; balancers serve those that ask for it (HAPROXY_n_ENABLED)",
}
_BOUNDS: Final = (
    f"an app has {ATTRIBUTES_MAX} attributes at most, of {_VALUE_CHARACTERS_MAX} characters each; names that begin with eratos "
    "or haproxy are eratos' own"
)
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


def attributes(labels: Mapping[str, str], port: AppPort) -> dict[str, str]:
    """Return the attributes that labels ask for a port's service: they come into its meta in Consul."""
    wanted = number(port)
    for_all: dict[str, str] = {}
    own: dict[str, str] = {}
    for key in _taken(labels):
        stated, name = _attribute(key)
        if stated in (None, wanted):
            (for_all if stated is None else own)[name] = labels[key]
    return for_all | own


def number(port: AppPort) -> int:
    """Return the number by which Registrator knows a port."""
    return port.container_port or port.host_port


def of_variables(env: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[tuple[str, bool, str]]:
    """Yield each of Registrator's keys among variables, whether it is heeded, and what becomes of it."""
    numbers = {number(port) for port in ports}
    for key, value in env.items():
        if value and _KEY.fullmatch(key):
            yield key, *_verdict(key, value, numbers)
        elif value and _REGION.fullmatch(key):
            yield key, False, "Registrator's: attributes of services are taken of labels, not of variables"


def of_labels(labels: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[tuple[str, bool, str]]:
    """Yield the same of labels, where all else that begins with ``SERVICE_`` is an attribute."""
    numbers = {number(port) for port in ports}
    taken = _taken(labels)
    for key, value in labels.items():
        if value and _KEY.fullmatch(key):
            yield key, *_verdict(key, value, numbers)
        elif value and _ATTRIBUTE.fullmatch(key):
            stated, name = _attribute(key)
            if stated is not None and stated not in numbers:
                yield key, False, f"Registrator's: the app has no port {stated}"
            elif key in taken:
                yield key, True, f"attribute {name} of {_services(stated)} in Consul, as those of eratos.attributes"
            else:
                yield key, False, f"Registrator's: {_BOUNDS}"


def _taken(labels: Mapping[str, str]) -> frozenset[str]:
    """Return the labels that are attributes which a service may have."""
    found = [
        key
        for key, value in labels.items()
        if value
        and len(value) <= _VALUE_CHARACTERS_MAX
        and _ATTRIBUTE.fullmatch(key)
        and not _KEY.fullmatch(key)
        and not _attribute(key)[1].startswith(("eratos", "haproxy"))
    ]
    return frozenset(sorted(found)[:ATTRIBUTES_MAX])


def _attribute(key: str) -> tuple[int | None, str]:
    """Return the port that a label names, if any, and the attribute's name."""
    match = _ATTRIBUTE.fullmatch(key)
    assert match is not None
    return (None if match[1] is None else int(match[1])), match[2].lower()


def _verdict(key: str, value: str, numbers: set[int]) -> tuple[bool, str]:
    match = _KEY.fullmatch(key)
    assert match is not None
    stated = None if match[1] is None else int(match[1])
    if stated is not None and stated not in numbers:
        return False, f"Registrator's: the app has no port {stated}"
    if match[2] != "TAGS":
        return False, f"Registrator's: {_INSTEAD.get(match[2], _CHECK)}"
    if not usable(value):
        return False, "Registrator's: tags are visible ASCII characters without blanks, commas between"
    return True, f"tags of {_services(stated)} in Consul, as those of CONSUL_TAGS"


def _services(port: int | None) -> str:
    return "its services" if port is None else f"the service of port {port}"
