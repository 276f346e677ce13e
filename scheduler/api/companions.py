"""Asks the companions of balancers what these serve, count and have logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from eratos.common import async_http

from .controller import Balancer

#: For a companion's answer.
ANSWER_S: Final = 2.0
STATUS: Final = "/status"
_BODY_BYTES: Final = 16 * 1024 * 1024

Document = dict[str, Any]


async def ask_all(
    balancers: Sequence[Balancer], headers: Callable[[str], Mapping[str, str]], path: str = STATUS
) -> list[Document | str]:
    """Return what each balancer's companion says, or the reason why it says nothing. ``headers``: for a path."""
    return await asyncio.gather(*(_ask(balancer, path, headers(path)) for balancer in balancers))


async def _ask(balancer: Balancer, path: str, headers: Mapping[str, str]) -> Document | str:
    where = f"its companion at {balancer.address}:{balancer.port}"
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await async_http.request(balancer.address, balancer.port, path, headers=headers, most=_BODY_BYTES)
    except async_http.Failure as error:
        return f"{where} does not answer: {async_http.reason(error)}"
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return f"{where} answers no JSON"
    return found if answer.status == 200 else f"{where} answers {answer.status}: {found.get('reason', '')}"
