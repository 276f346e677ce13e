"""Delay sequences, pure: the caller keeps the count of attempts and supplies the randomness."""

from __future__ import annotations


def exponential_s(attempt: int, *, first_s: float, factor: float, most_s: float) -> float:
    """Return the delay before attempt ``attempt`` (from 0): ``first_s * factor ** attempt``, truncated at ``most_s``."""
    if attempt < 0:
        raise ValueError(f"attempt must not be negative: {attempt}")
    # Past some 60 doublings every sequence in use has met its bound, and the power would overflow.
    return min(most_s, first_s * factor ** min(attempt, 60))


def jittered_s(delay_s: float, draw: float) -> float:
    """Spread a delay evenly over [delay/2, delay]; ``draw`` is a random number in [0, 1)."""
    return delay_s * (0.5 + draw / 2)
