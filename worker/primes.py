"""Primes: a proof of primality and a search that spends a given CPU time. Called by prime.py; knows nothing of HTTP."""

from __future__ import annotations

import random
import time

#: With these bases the Miller-Rabin test is a proof for every number below PROVEN_BELOW:
#: J. Sorenson, J. Webster, "Strong pseudoprimes to twelve prime bases", Mathematics of Computation 86 (2017), 985-1003.
BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
PROVEN_BELOW = 3_317_044_064_679_887_385_961_981
DIGITS_MAX = 24  #: 10**24 < PROVEN_BELOW

_random = random.SystemRandom()


def is_prime(number: int) -> bool:
    """Return whether a number below PROVEN_BELOW is prime; never wrong. Raises ValueError past that bound."""
    if number >= PROVEN_BELOW:
        raise ValueError(f"{number} is past the bound of the proof, {PROVEN_BELOW}")
    if number < 2:
        return False
    for base in BASES:
        if number % base == 0:
            return number == base
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in BASES)


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    """Return whether ``number`` is a strong probable prime to ``base``, where ``number - 1 == odd * 2**twos``."""
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def find_prime(digits: int, work_s: float) -> tuple[int, float]:
    """Look for primes for ``work_s`` seconds of this thread's CPU time; return the last one and the seconds spent.

    Numbers are drawn evenly and composite ones thrown away, so every prime of so many digits is equally likely.
    At least one is found, however small ``work_s`` is.
    """
    begin_s = time.thread_time()
    prime = 0
    while True:
        number = _random.randrange(10 ** (digits - 1), 10**digits)
        if is_prime(number):
            prime = number
        spent_s = time.thread_time() - begin_s
        if prime and spent_s >= work_s:
            return prime, spent_s
