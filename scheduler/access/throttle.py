"""How often credentials may be wrong. Pure; times are seconds of any clock that only goes forward."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

#: Addresses remembered; the ones that were not heard of for longest are forgotten.
_ADDRESSES_MOST = 10_000


@dataclass(slots=True)
class Bucket:
    """A token bucket: ``burst`` at once, ``per_s`` a second in the long run."""

    burst: float
    per_s: float
    left: float
    at: float

    def take(self, now: float) -> float:
        """Take one and return 0; or take none and return for how many seconds there will be none."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_s)
        self.at = now
        if self.left >= 1.0:
            self.left -= 1.0
            return 0.0
        return (1.0 - self.left) / self.per_s


class Throttle:
    """Bounds guesses, for each address and over all.

    The bound over all keeps the processor free, for trying a password is slow; it is wide enough that one address
    alone cannot use it up and so lock out others.
    """

    def __init__(
        self, *, burst: float = 10, per_s: float = 0.5, all_burst: float = 20, all_per_s: float = 4, now: float = 0.0
    ) -> None:
        self._burst, self._per_s = burst, per_s
        self._all = Bucket(all_burst, all_per_s, all_burst, now)
        self._by_address: OrderedDict[str, Bucket] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """Count a guess from an address; return 0 where it may be tried, else for how many seconds none may be."""
        bucket = self._by_address.pop(address, None) or Bucket(self._burst, self._per_s, self._burst, now)
        self._by_address[address] = bucket
        if len(self._by_address) > _ADDRESSES_MOST:
            self._by_address.popitem(last=False)
        return bucket.take(now) or self._all.take(now)

    def forgive(self, address: str) -> None:
        """Take back the last count of an address: what it tried was right."""
        for bucket in (self._by_address.get(address), self._all):
            if bucket is not None:
                bucket.left = min(bucket.burst, bucket.left + 1.0)
