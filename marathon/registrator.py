"""What Registrator reads of containers, ``SERVICE_TAGS`` and its kin, as variables or labels of an app: the spellings of what
eratos has are taken, and the others reported as not heeded.

As there (its docs/user/services.md) a label counts before a variable, and what names a port before what names none; the port
is the container's, or the host's where the container has no network of its own. Attributes are taken of labels alone: any
variable that begins with ``SERVICE_`` would be one, secrets included, and Consul shows them to whoever may read there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from eratos.common import service_meta

from .app_parts import AppPort

_KEY: Final = re.compile(r"SERVICE_(?:([0-9]{1,5})_)?(NAME|TAGS|ID|IGNORE|CHECK_[A-Z_]+)")
#: Everything else is an attribute there, its name in small letters.
_ATTRIBUTE: Final = re.compile(r"SERVICE_(?:([0-9]{1,5})_)?([A-Za-z][A-Za-z0-9_-]{0,127})")
#: The one that its documents show; of variables it is reported, where no other can be told from those of anybody else.
_REGION: Final = re.compile(r"SERVICE_(?:[0-9]{1,5}_)?REGION")
#: A tag, of which several stand with commas between.
TAG: Final = re.compile(r"^[\x21-\x2b\x2d-\x7e]+$")
#: Together with those that an app states otherwise (``eratos.attributes``), which may be as many: Consul takes a bounded number
#: of pairs, and its port's routing and what says whose a service is have to find room beside them.
ATTRIBUTES_MAX: Final = 20
_ERATOS_OWN: Final = ("eratos", "haproxy")

_INSTEAD: Final = {
    "NAME": "services are named after the app and its ports, as else anybody's app could stand in another's service",
    "ID": "services have the ids of their tasks",
    "IGNORE": "each port is registered; balancers serve those that ask for it (HAPROXY_n_ENABLED)",
}
_BOUNDS: Final = (
    f"an app has {ATTRIBUTES_MAX} attributes at most, of {service_meta.VALUE_BYTES_MAX} bytes each; names that begin with eratos "
    f"or haproxy are eratos' own, with {service_meta.RESERVED} Consul's"
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


def attributes(labels: Mapping[str, str], port: AppPort, own: Collection[str] = ()) -> dict[str, str]:
    """Return the attributes that labels ask for a port's service: they come into its meta in Consul.

    ``own``: names of those that the app states otherwise, which count before.
    """
    wanted = number(port)
    for_all: dict[str, str] = {}
    of_port: dict[str, str] = {}
    for (stated, name), key in _taken(labels, own).items():
        if stated in (None, wanted):
            (for_all if stated is None else of_port)[name] = labels[key]
    return for_all | of_port


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


def of_labels(labels: Mapping[str, str], ports: Sequence[AppPort], own: Collection[str] = ()) -> Iterator[tuple[str, bool, str]]:
    """Yield the same of labels, where all else that begins with ``SERVICE_`` is an attribute; ``own`` as above."""
    numbers = {number(port) for port in ports}
    taken = _taken(labels, own)
    for key, value in labels.items():
        if value and _KEY.fullmatch(key):
            yield key, *_verdict(key, value, numbers)
        elif value and _ATTRIBUTE.fullmatch(key):
            stated, name = _attribute(key)
            if stated is not None and stated not in numbers:
                yield key, False, f"Registrator's: the app has no port {stated}"
            elif name in own:
                yield key, False, f"Registrator's: eratos.attributes has {name}, too, and counts before"
            elif (first := taken.get((stated, name), key)) != key:
                yield key, False, f"Registrator's: {first} is the same attribute, and counts before"
            elif (stated, name) in taken:
                yield key, True, f"attribute {name} of {_services(stated)} in Consul, as those of eratos.attributes"
            else:
                yield key, False, f"Registrator's: {_BOUNDS}"


def _taken(labels: Mapping[str, str], own: Collection[str]) -> dict[tuple[int | None, str], str]:
    """Return the attributes that services may have, by port and name, with the label of each.

    Of labels that come to the same, as they differ in their letters' case alone, the first in order of the alphabet counts.
    """
    found: dict[tuple[int | None, str], str] = {}
    for key in sorted(key for key in labels if labels[key] and _ATTRIBUTE.fullmatch(key) and not _KEY.fullmatch(key)):
        stated, name = _attribute(key)
        if name not in own and not name.startswith(_ERATOS_OWN) and not service_meta.fault(name, labels[key]):
            found.setdefault((stated, name), key)
    return dict(islice(found.items(), max(0, ATTRIBUTES_MAX - len(own))))


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
