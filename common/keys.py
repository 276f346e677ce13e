"""Keys that are derived from the framework's one, so that the holder of a derived one learns nothing of the others. Pure.

The schedulers hold the framework's key. Each executor gets the one of its agent, by which the schedulers show it who they are,
a token by which it shows companions who it is, and a key that all executors share. Companions hold the key that those tokens
are made with. What goes over the wire, which is not encrypted, is a proof for one request: whoever listens there can repeat
that one for a while, and no other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final, Self

KEY_BYTES: Final = 32
#: What schedulers call themselves towards companions, in place of an agent's id.
SCHEDULER: Final = "scheduler"
#: A request's proof holds for its moment: the clocks of two hosts may differ by so much, in seconds.
PROOF_S: Final = 300
_SCHEME: Final = "Eratos"
_PROOF = re.compile(rf"{_SCHEME} (?P<who>[^:\s]{{0,300}}):(?P<moment>[0-9]{{1,12}}):(?P<signed>[0-9a-f]{{64}})")


def derived(key: bytes, *what: str) -> str:
    """Return the key for something, as 64 hexadecimal digits; the words say for what."""
    return hmac.new(key, "\0".join(what).encode(), hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare two keys in a time that does not depend on how much of them is the same."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def companion_token(companions_key: str, agent_id: str) -> str:
    """Return what an agent's executor is given for companions: the agent's id and a key that no other agent has."""
    return f"{agent_id}.{companion_key(companions_key, agent_id)}"


def companion_key(companions_key: str, agent_id: str) -> str:
    """Return the key behind the token of an agent's executor."""
    return derived(companions_key.encode(), agent_id)


def volume_key(agent_key: str, volume_id: str) -> str:
    """Return the key by which the executor on an agent gives one volume away; empty where that agent's has none."""
    return derived(agent_key.encode(), "volume", volume_id) if agent_key else ""


def proof(key: str, method: str, target: str, body: bytes, now: float, who: str = "") -> str:
    """Return what one request shows, as ``Authorization``, in place of a key, which so never goes over the wire.

    ``target`` is the path with its query; ``who`` names the one whose key it is, where the other side knows several.
    """
    moment = str(int(now))
    return f"{_SCHEME} {who}:{moment}:{_signed(key, method, target, body, moment)}"


def headers(key: str, method: str, target: str, body: bytes, now: float, who: str = "") -> dict[str, str]:
    """Return the headers of a request with its :func:`proof`; none where ``key`` is empty, as the other side wants none then."""
    return {"Authorization": proof(key, method, target, body, now, who)} if key else {}


def unproven(shown: str, key_of: Callable[[str], str], method: str, target: str, body: bytes, now: float) -> str:
    """Return why what a request shows proves nothing, or an empty text; ``key_of`` returns the key of whom it names."""
    found = _PROOF.fullmatch(shown)
    if found is None:
        return "it shows no proof of a key"
    if not same(found["signed"], _signed(key_of(found["who"]), method, target, body, found["moment"])):
        return "it was made with another key"
    apart_s = abs(int(found["moment"]) - now)
    return f"it is of {apart_s:.0f} s before or after this host's clock: set the clocks" if apart_s > PROOF_S else ""


def _signed(key: str, method: str, target: str, body: bytes, moment: str) -> str:
    return derived(key.encode(), "request", moment, method, target, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class ExecutorKeys:
    """What an executor is given when it is started, as ``ExecutorInfo.data``; empty from schedulers that have no keys."""

    endpoint: str = field(default="", repr=False)  #: what schedulers show its endpoint; empty: it asks nobody
    companion: str = field(default="", repr=False)  #: what it shows companions
    peers: str = field(default="", repr=False)  #: what executors show each other

    def to_bytes(self) -> bytes:
        """Encode, always in the same way: Mesos compares an executor's definition byte by byte."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode; raises ValueError. Fields of later versions are left alone."""
        if not data:
            return cls()
        found = json.loads(data)
        names = ("endpoint", "companion", "peers")
        if not isinstance(found, dict) or not all(isinstance(found.get(name, ""), str) for name in names):
            raise ValueError("the executor's keys must be an object of texts")
        return cls(*(found.get(name, "") for name in names))
