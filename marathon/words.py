"""Fields that hold one word out of a few: each may be written in whatever case, as Marathon takes them since 1.5 (enum.liquid of
its type generator). Works on plain JSON, in place, and leaves what is no such word for the models to complain about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from .app_parts import OPERATORS
from .checks import CHECK_KINDS

#: A place in a document, ``*`` standing for each entry of a list, and the words that may stand there.
Places = tuple[tuple[str, Mapping[str, str]], ...]


def _words(*words: str) -> dict[str, str]:
    return {word.lower(): word for word in words}


_MODES: Final = _words("host", "container/bridge", "container")
_SCHEMES: Final = _words("HTTP", "HTTPS")
#: The last one is an older spelling, which Marathon took until 1.4.
_PROTOCOLS: Final = _words("tcp", "udp", "udp,tcp") | {"tcp,udp": "udp,tcp"}
_KILLED: Final = _words("YOUNGEST_FIRST", "OLDEST_FIRST")
_UNLIMITED: Final = _words("unlimited")

OF_APPS: Final[Places] = (
    ("check/http/scheme", _SCHEMES),
    ("container/docker/network", _words("HOST", "BRIDGE", "USER", "NONE")),
    ("container/docker/portMappings/*/protocol", _PROTOCOLS),
    ("container/linuxInfo/ipcInfo/mode", _words("PRIVATE", "SHARE_PARENT")),
    ("container/portMappings/*/protocol", _PROTOCOLS),
    ("container/type", _words("DOCKER", "MESOS")),
    ("container/volumes/*/mode", _words("RO", "RW")),
    ("container/volumes/*/persistent/type", _words("root", "path", "mount")),
    ("healthChecks/*/ipProtocol", _words("IPv4", "IPv6")),
    ("healthChecks/*/protocol", _words(*CHECK_KINDS)),
    ("ipAddress/discovery/ports/*/protocol", _PROTOCOLS),
    ("killSelection", _KILLED),
    ("networks/*/mode", _MODES),
    ("portDefinitions/*/protocol", _PROTOCOLS),
    ("readinessChecks/*/protocol", _SCHEMES),
    ("residency/taskLostBehavior", _words("WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT")),
    ("resourceLimits/cpus", _UNLIMITED),
    ("resourceLimits/mem", _UNLIMITED),
    ("unreachableStrategy", _words("disabled")),
)
OF_PODS: Final[Places] = (
    ("containers/*/endpoints/*/protocol/*", _words("tcp", "udp")),
    ("containers/*/healthCheck/http/scheme", _SCHEMES),
    ("containers/*/image/kind", _words("DOCKER")),
    ("containers/*/resourceLimits/cpus", _UNLIMITED),
    ("containers/*/resourceLimits/mem", _UNLIMITED),
    ("networks/*/mode", _MODES),
    ("scaling/kind", _words("fixed")),
    ("scheduling/killSelection", _KILLED),
    ("scheduling/placement/constraints/*/operator", _words(*OPERATORS)),
    ("scheduling/unreachableStrategy", _words("disabled")),
)


def spell(document: dict[str, Any], places: Places) -> None:
    """Write the words at some places of a document as the models have them."""
    for place, words in places:
        for holder, key in _found(document, place.split("/")):
            value = holder[key]
            if isinstance(value, str):
                holder[key] = words.get(value.lower(), value)


def _found(value: Any, steps: list[str]) -> Iterator[tuple[Any, Any]]:
    """Yield the holders of what is at a place of a value, each with its key there."""
    keys: Iterable[Any] = ()
    if isinstance(value, dict) and steps[0] in value:
        keys = steps[:1]
    elif isinstance(value, list) and steps[0] == "*":
        keys = range(len(value))
    for key in keys:
        if len(steps) == 1:
            yield value, key
        else:
            yield from _found(value[key], steps[1:])
