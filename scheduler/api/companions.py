"""Asks the companions of balancers what these serve, count and have logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from eratos.common import async_http, keys

from .controller import Balancer

#: For a companion's answer.
ANSWER_S: Final = 2.0
STATUS: Final = "/status"
_BODY_BYTES: Final = 16 * 1024 * 1024

Document = dict[str, Any]


def proof(key: str, target: str, now: float) -> dict[str, str]:
    """Return the headers that show a companion that a scheduler asks for a path. ``key``: empty where it wants none."""
    return {"Authorization": keys.proof(key, "GET", target, b"", now, keys.SCHEDULER)} if key else {}


async def ask_all(
    balancers: Sequence[Balancer], headers: Callable[[str], Mapping[str, str]], path: str = STATUS
) -> list[Document | str]:
    """Return what each balancer's companion says, or the reason why it says nothing. ``headers``: for a path."""
    return await asyncio.gather(*(_ask(balancer, path, headers(path)) for balancer in balancers))


async def _ask(balancer: Balancer, path: str, headers: Mapping[str, str]) -> Document | str:
    where = f"its companion at {balancer.address}:{balancer.port}"
    try:
        async with asyncio.timeout(ANSWER_S):
            async with async_http.ask(balancer.address, balancer.port, path, headers=headers) as answer:
                body = await answer.body(_BODY_BYTES)
    except async_http.Failure as error:
        return f"{where} does not answer: {str(error) or type(error).__name__}"
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return f"{where} answers no JSON"
    return found if answer.status == 200 else f"{where} answers {answer.status}: {found.get('reason', '')}"
