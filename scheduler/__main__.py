"""``eratos-scheduler``: settings, logging, signals; everything else is :mod:`process` or, for its commands, :mod:`backup`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from eratos.common.halves import half


def main() -> None:
    """Run one scheduler until it is told to stop (0), must be started anew (1), or its settings cannot work (2).

    Or back up or restore its store: done (0), not possible now or with this store (1), not possible as asked for (2).
    """
    with half("eratos-scheduler", "scheduler"):
        from eratos.common import log
        from eratos.common.errors import EratosError, PermanentError
        from eratos.common.signals import on_signal

        from . import backup, config
        from .api.server import ApiServer, create_api
        from .process import Process
    try:
        invocation = config.read(sys.argv[1:], os.environ)
    except PermanentError as error:
        print(f"eratos-scheduler: these settings cannot work:\n{error}", file=sys.stderr)
        sys.exit(2)
    settings = invocation.config
    log.setup(settings.log_level)
    logger = logging.getLogger("eratos.scheduler")

    def serve(process: Process) -> Callable[[], None]:
        api = create_api(
            process, process.clock, executor_port=settings.executor_http_port, instances_most=settings.instances_limit
        )
        server = ApiServer(api, settings.http_host, settings.http_port)
        server.start()
        return server.stop

    def run() -> None:
        logger.info("starting with %s", settings)
        process = Process(settings)
        on_signal(process.stop)
        process.run(serve)
        logger.info("stopped; tasks go on")

    try:
        match invocation.command:
            case "backup":
                backup.backup(settings, invocation.file)
            case "restore":
                backup.restore(settings, invocation.file, replace=invocation.replace)
            case _:
                run()
    except EratosError as error:
        logger.error("ending: %s", error)
        sys.exit(2 if isinstance(error, PermanentError) else 1)


if __name__ == "__main__":
    main()
