"""How balancers route to an app's ports: labels of two vocabularies, marathon-lb's and our own, read into one model.

Meanings are those of marathon-lb's Longhelp.md; docs/routing-labels.md names what differs. An app that does not ask to be
balanced is not: it asks by a group, or by a stated route. An empty label states nothing, as in marathon-lb. A label may begin
with ``HAPROXY_``, so that marathon-lb reads it as well, or with ``ERATOS_``. What values may be is
:mod:`eratos.common.routing`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from eratos.common.routing import DEFAULT_GROUP, RULES, Routing
from eratos.common.service_meta import VALUE_BYTES_MAX

from .app_parts import AppPort
from .errors import Problem

PREFIXES: Final = ("HAPROXY_", "ERATOS_")

_LABEL = re.compile(r"(?:HAPROXY|ERATOS)_(?:(0|[1-9][0-9]{0,2})_)?([A-Z_]+)")
#: Labels that :func:`later` speaks of.
_LATER: Final = (
    *("AUTH", "BACKEND_NETWORK_ALLOWED_ACL", "HTTP_BACKEND_PROXYPASS_PATH", "HTTP_BACKEND_REDIR", "HTTP_BACKEND_REVPROXY_PATH"),
    "USE_HSTS",
)
#: Words that marathon-lb takes for yes (its config.py, ``string_to_bool``), in whatever case, and their opposites.
_WORDS: Final = {**dict.fromkeys(("t", "yes", "y"), "true"), **dict.fromkeys(("f", "no", "n"), "false")}
_IN_ANY_CASE: Final = ("ENABLED", "MODE", "REDIRECT_TO_HTTPS", "STICKY", "USE_HSTS")


def routing(
    labels: Mapping[str, str], index: int, port: AppPort, *, http_checked: bool = False, unasked: bool = False
) -> Routing:
    """Return the routing of one port. The labels have been checked by :func:`problems`.

    ``http_checked``: the port has a health check over HTTP or HTTPS, which makes it one of HTTP, as in marathon-lb.
    ``unasked``: the app was stored by a version that balanced every app, over HTTP unless stated otherwise.
    """
    stated = {name: _read(name, labels[key]) for name, key in _given(labels, index).items()}
    given = {name.lower(): value for name, value in stated.items() if name not in _LATER or _good(name, value)}
    if "group" not in given and (key := _one(labels, "GROUP")):
        given["group"] = _read("GROUP", labels[key])
    enabled = given.pop("enabled", "")
    if why_not := _why_not(labels, index, port, enabled, asked=unasked or bool(given.keys() & _ASKING) or enabled == "true"):
        return Routing(why_not=why_not)
    if "vhost" in given:
        given["vhost"] = ",".join(host.strip() for host in given["vhost"].split(",") if host.strip())
    mode = given.setdefault("mode", "http" if unasked or http_checked or given.keys() & _HTTP else "tcp")
    # Over HTTP it is found by host name and path; a port that nobody stated is needed over TCP alone.
    if port.service_port and not (mode == "http" and (unasked or port.assigned)):
        given.setdefault("port", str(port.service_port))
    if mode == "tcp" and not given.get("port"):
        ways = f"HAPROXY_{index}_PORT, the servicePort of the port mapping or the port of the port definition"
        why_not = "without a VHOST, a PATH or an HTTP health check it is a TCP service, and it has no service port"
        return Routing(why_not=f"{why_not}: state {ways}, or HAPROXY_{index}_MODE=http")
    given.setdefault("group", DEFAULT_GROUP)
    return Routing(**given)


def _good(name: str, value: str) -> bool:
    return len(value) <= VALUE_BYTES_MAX and bool(RULES[name].good(value))


def _why_not(labels: Mapping[str, str], index: int, port: AppPort, enabled: str, *, asked: bool) -> str:
    """Return why a port is not balanced whatever else is stated, or nothing."""
    if enabled == "false":
        return f"{label(labels, index, 'ENABLED')} is false"
    if port.protocol == "udp":
        return "a UDP port, and HAProxy balances TCP only"
    return "" if asked else f"nothing asks for it: state HAPROXY_GROUP, or a route such as HAPROXY_{index}_VHOST"


def label(labels: Mapping[str, str], index: int, name: str) -> str:
    """Return the label by which an app states something for one port (``VHOST``: ``HAPROXY_0_VHOST``), or nothing."""
    return _one(labels, f"{index}_{name}")


def port_labels(labels: Mapping[str, str]) -> Iterator[int]:
    """Yield the ports of balancers that labels state."""
    for key, value in labels.items():
        match = _LABEL.fullmatch(key)
        if match is not None and match[1] and match[2] == "PORT" and RULES["PORT"].good(port := _read("PORT", value)):
            yield int(port)


#: Fields of what is given that ask for balancing.
_ASKING: Final = frozenset(name.lower() for name, rule in RULES.items() if rule.route)
#: Fields that have a meaning in mode http alone, and so make it that mode.
_HTTP: Final = frozenset(name.lower() for name, rule in RULES.items() if rule.mode == "http")


def known(key: str) -> bool:
    """Return whether a label is one of these, whatever its value."""
    match = _LABEL.fullmatch(key)
    return match is not None and match[2] in (RULES if match[1] else ("GROUP",))


def later(key: str) -> bool:
    """Return whether versions before took no notice of a label, so that stored apps may have anything there."""
    match = _LABEL.fullmatch(key)
    return match is not None and bool(match[1]) and match[2] in _LATER


def known_names(prefix: str) -> list[str]:
    """Return what a label with this prefix may be, ``n`` standing for a port's index."""
    return [f"{prefix}GROUP", *(f"{prefix}n_{name}" for name in RULES)]


def problems(labels: Mapping[str, str], ports: Sequence[AppPort]) -> Iterator[Problem]:
    """Find what is wrong with an app's routing labels, alone and taken together."""
    for key, value in labels.items():
        if known(key) and (message := _wrong(key, value, ports) or _rivalry(labels, key)):
            yield Problem(f"/labels/{key}", message)
    for index in range(len(ports)):
        yield from _contradictions(labels, index)


def _one(labels: Mapping[str, str], name: str) -> str:
    return next((prefix + name for prefix in PREFIXES if labels.get(prefix + name)), "")


def _given(labels: Mapping[str, str], index: int) -> dict[str, str]:
    """Return rule -> label, for the labels that an app has for one port."""
    of_port = tuple(f"{prefix}{index}_" for prefix in PREFIXES)
    if not any(key.startswith(of_port) for key in labels):
        return {}  # as with most ports, of which an app may have a hundred
    return {name: key for name in RULES if (key := label(labels, index, name))}


def _read(name: str, value: str) -> str:
    """Return what a label says as the grammar has it: blanks around it and the case of its words are no matter to marathon-lb."""
    value = value.strip(" ")
    if name not in _IN_ANY_CASE:
        return value
    return _WORDS.get(value.lower(), value.lower())


def _wrong(key: str, value: str, ports: Sequence[AppPort]) -> str:
    match = _LABEL.fullmatch(key)
    assert match
    if not value or (match[2] == "ENABLED" and _read("ENABLED", value) == "false"):
        return ""  # what nobody balances is not balanced, whether there is such a port or not
    if len(value) > VALUE_BYTES_MAX:
        return f"is {len(value)} characters long: use at most {VALUE_BYTES_MAX}"
    if match[1] and (index := int(match[1])) >= len(ports):
        return f"speaks of port {index}, the app has {indices(len(ports))}: correct the number, or add the port"
    if match[1] and ports[index].protocol == "udp":
        return f"speaks of port {index}, a UDP port, and HAProxy balances TCP only: remove it"
    rule = RULES[match[2]]
    return "" if rule.good(_read(match[2], value)) else f"{rule.message}, not '{value}'"


def _rivalry(labels: Mapping[str, str], key: str) -> str:
    """Say what is wrong where our own label and marathon-lb's of the same name differ."""
    ours, theirs = PREFIXES[1], PREFIXES[0]
    rival = theirs + key.removeprefix(ours)
    if not key.startswith(ours) or (labels.get(rival) or labels[key]) == labels[key]:
        return ""
    return f"is '{labels[key]}', and {rival} is '{labels[rival]}': keep one of the two"


def _contradictions(labels: Mapping[str, str], index: int) -> Iterator[Problem]:
    """Find labels of one port that make no sense together; one that makes none alone has been found already."""
    given = _given(labels, index)
    mode = _read("MODE", labels[given["MODE"]]) if "MODE" in given else ""
    if mode not in ("http", "tcp"):
        return
    for name, key in given.items():
        rule = RULES[name]
        if rule.mode not in ("", mode) and rule.good(_read(name, labels[key])):
            mode_label = given.get("MODE") or key.replace(name, "MODE")
            yield Problem(f"/labels/{key}", f"is for mode {rule.mode} only: remove it, or set {mode_label} to {rule.mode}")


def indices(port_count: int) -> str:
    """Say which indices ports have, for a message about one that is none of them."""
    return f"ports 0 to {port_count - 1}" if port_count > 1 else "port 0 only" if port_count else "no ports"
