"""``eratos-scheduler``: settings, logging, signals; everything else is :mod:`process`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable


def main() -> None:
    """Run one scheduler until it is told to stop (0), must be started anew (1), or its settings cannot work (2)."""
    try:
        from eratos.common import log
        from eratos.common.errors import EratosError, PermanentError

        from . import config
        from .api.server import ApiServer, create_api
        from .process import Process
    except ModuleNotFoundError as error:
        sys.exit(f"eratos-scheduler: {error.name} is not installed: pip install ./compat/http-parser '.[scheduler]'")
    try:
        settings = config.read(sys.argv[1:], os.environ)
    except PermanentError as error:
        print(f"eratos-scheduler: these settings cannot work:\n{error}", file=sys.stderr)
        sys.exit(2)
    log.setup(settings.log_level)
    logger = logging.getLogger("eratos.scheduler")
    logger.info("starting with %s", settings)
    process = Process(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())

    def serve(process: Process) -> Callable[[], None]:
        server = ApiServer(create_api(process), settings.http_host, settings.http_port)
        server.start()
        return server.stop

    try:
        process.run(serve)
    except EratosError as error:
        logger.error("ending: %s", error)
        sys.exit(2 if isinstance(error, PermanentError) else 1)
    logger.info("stopped; tasks go on")


if __name__ == "__main__":
    main()
