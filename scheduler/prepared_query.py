"""The prepared query of Consul by which ``name.query.consul`` is the nearest living instances of a service. Pure.

It is a template for all names, so one in each data center does for every app: instances that pass there, nearest to whoever asks
first, and where there are none, those of the nearest other data centers. Consul knows one such query for all names. It has no
room for who made it, but for a list of checks that are not looked at: the name there is no check's, and says whose the query is.

docs/adr/0051-far-servers-stand-in.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from eratos.common import names

#: Names that begin with nothing: all.
NAME: Final = ""
_MARK: Final = "eratos-query-of-"


class Step(NamedTuple):
    """What is to be done about the query."""

    verb: Literal["create", "update", "delete", "leave", "none"]  #: ``leave``: somebody else has one for all names
    query_id: str = ""


def definition(framework_id: str, nearest: int) -> dict[str, Any]:
    """Return the query as Consul takes it. ``nearest``: how many other data centers are asked at most."""
    return {
        "Name": NAME,
        "Template": {"Type": "name_prefix_match"},
        "Service": {
            "Service": "${name.full}",
            "Tags": [names.SERVICE_TAG],
            "OnlyPassing": True,
            "Near": "_agent",
            "Failover": {"NearestN": nearest},
            "IgnoreCheckIDs": [_MARK + framework_id],
        },
    }


def step(found: Iterable[Mapping[str, Any]], framework_id: str, nearest: int) -> Step:
    """Return what is to be done where Consul has these queries; ``nearest`` 0: none of ours is to be there."""
    wanted = definition(framework_id, nearest)
    for query in found:
        query_id = str(query.get("ID", ""))
        if _is_ours(query, framework_id):
            if not nearest:
                return Step("delete", query_id)
            return Step("none") if _has(query, wanted) else Step("update", query_id)
        if nearest and query.get("Name", "") == NAME and (query.get("Template") or {}).get("Type"):
            return Step("leave", query_id)
    return Step("create") if nearest else Step("none")


def _is_ours(query: Mapping[str, Any], framework_id: str) -> bool:
    return _MARK + framework_id in ((query.get("Service") or {}).get("IgnoreCheckIDs") or ())


def _has(found: Any, wanted: Any) -> bool:
    """Return whether all that is wanted is there; Consul's own fields beside it are no matter."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_has(found.get(key), value) for key, value in wanted.items())
    return bool((found or "") == wanted)
