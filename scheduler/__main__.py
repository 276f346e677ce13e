"""``eratos-scheduler``: settings, logging, signals; everything else is :mod:`process` or, for its commands, :mod:`backup`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import cache, partial

from eratos.common.halves import half


def main() -> None:
    """Run one scheduler until it is asked to stop (0), must be started anew (1), or its settings cannot work (2).

    Or back up or restore its store, or make a user: done (0), not possible now or with this store (1), or not as asked for (2).
    """
    with half("eratos-scheduler", "scheduler"):
        from eratos.common import log
        from eratos.common.errors import EratosError, PermanentError
        from eratos.common.signals import on_signal

        from . import api_access, backup, config, framework_key, user_command
        from .api.server import ApiServer, create_api
        from .certificates import Certificate, to_leader
        from .process import Process
    try:
        invocation = config.read(sys.argv[1:], os.environ)
    except PermanentError as error:
        print(f"eratos-scheduler: these settings cannot work:\n{error}", file=sys.stderr)
        sys.exit(2)
    settings = invocation.config
    log.setup(settings.log_level, settings.log_format)
    logger = logging.getLogger("eratos.scheduler")

    def serve(process: Process) -> Callable[[], None]:
        certificate = None
        if settings.http_cert_file:
            certificate = Certificate(settings.http_cert_file, settings.http_client_ca_file, settings.http_ca_file)
            certificate.start()
        place = api_access.listening(settings, upgraded=process.key.upgraded)
        api = create_api(
            process,
            process.clock,
            executor_port=settings.executor_http_port,
            instances_most=settings.instances_limit,
            policy=api_access.policy(settings),
            ports=range(settings.local_port_min, settings.local_port_max + 1),
            agent_key=process.key.agent,
            companion_key=process.key.schedulers_companion_key,
            role=settings.role,
            group_roles=settings.roles[1:],
            enforces_new=settings.new_group_enforce_role == "top",
            tunnel_limits=api_access.tunnels(settings),
            access=api_access.access(settings, process.key),
            leader_tls=certificate.to_leader if certificate else cache(partial(to_leader, settings.http_ca_file)),
        )
        tls = certificate.server if certificate else None
        server = ApiServer(api, place.host, settings.http_port, settings.http_connections, tls)
        server.start()
        if place.note:
            logger.info("%s", place.note)
        if place.warning:
            logger.warning("the API asks nobody who they are: %s", place.warning)
        return server.stop

    def run() -> None:
        logger.info("starting with %s", settings)
        if settings.clear_consul:
            where = ", ".join(settings.clear_consul)
            logger.warning("Consul's token can be read on its way to %s: give https:// and --consul-ca-file", where)
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
            case "companions-key":
                print(framework_key.stored(settings).companions)
            case "user":
                user_command.make(invocation.name, invocation.kind, invocation.roles)
            case _:
                run()
    except EratosError as error:
        logger.error("ending: %s", error)
        sys.exit(2 if isinstance(error, PermanentError) else 1)


if __name__ == "__main__":
    main()
