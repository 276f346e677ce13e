"""Short names of tasks, which fit beside other columns: app, begin of the instance's id, attempt: shop_cart.6f1c0a52.1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eratos.common import names
from eratos.marathon.client import MarathonClient, Refused

_SHORT = re.compile(r"[^/]+\.[0-9a-z-]{1,8}\.\d+")


def short(task_id: str) -> str:
    """Shorten a task's id; what is none of eratos' stays as it is."""
    parsed = names.parse_task_id(task_id)
    if parsed is None:
        return task_id
    app, _, unique = parsed[0].rpartition(".instance-")
    return f"{app}.{unique[:8]}.{parsed[1]}"


def whole(client: MarathonClient, given: Sequence[str]) -> list[str]:
    """Return the ids, short ones made whole by the tasks there are. Raises Refused where one means several."""
    if not any(_SHORT.fullmatch(name) for name in given):
        return list(given)
    known = [str(task["id"]) for task in client.tasks()]
    return [_whole(name, known) for name in given]


def _whole(name: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    meant = [task_id for task_id in known if short(task_id) == name]
    if len(meant) > 1:
        raise Refused(0, f"{name} is short for several tasks, name one of them in full: {', '.join(meant)}")
    return meant[0] if meant else name
