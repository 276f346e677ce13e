"""The prime worker: an HTTP server that spends CPU time to find a random prime, the load of the sample fleet.

An app like any other: it listens on $PORT, answers ``/`` and ``/health``, ends on SIGTERM, and does not know who runs it.
"""

from __future__ import annotations

import os

import serving
from http1 import Request, Response
from metrics import Metrics
from primes import DIGITS_MAX, find_prime
from settings import Settings


def quoted(text: str) -> str:
    """Return printable ASCII as a JSON string. By hand, because importing json takes longer than starting to listen."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def main() -> None:
    """Read the settings and serve."""
    settings = Settings(os.environ)
    work_s = settings.number("WORK_S", 0.05, 0, 3600, "seconds")
    digits = settings.integer("PRIME_DIGITS", 8, 1, DIGITS_MAX)
    settings.check("prime")
    metrics = Metrics()
    instance, version = quoted(settings.instance), quoted(settings.version)

    def answer(request: Request) -> Response:
        prime, spent_s = find_prime(digits, work_s)
        metrics.add_work(spent_s)
        headers = (("Cache-Control", "no-store"), ("Vary", "Accept"))
        if "application/json" not in request.headers.get("accept", ""):
            return Response(200, f"{prime}\n".encode(), headers=headers)
        body = f'{{"prime": {prime}, "instance": {instance}, "work_s": {spent_s:.4f}, "version": {version}}}\n'
        return Response(200, body.encode(), "application/json", headers)

    serving.run("prime", settings, {"/": serving.Route({"GET": answer}, slow=True)}, metrics)


if __name__ == "__main__":
    main()
