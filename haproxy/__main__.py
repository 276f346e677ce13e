"""Starts the companion: ``python3 -m eratos.haproxy`` (``eratos-companion`` where the package is installed).

Five threads: the HTTP interface, the watches over candidate and certificates, the access log, the registration in Consul.
SIGTERM deregisters the balancer and ends it; HAProxy is not touched, it is supervised by itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import threading

from eratos.common import log as logs
from eratos.common.errors import FatalError
from eratos.common.signals import on_signal

from . import api, config, renderer
from .access_log import AccessLog
from .apply import Applier
from .certificates import Certificates
from .probe import accepting, taken
from .registration import Registration
from .runtime import Haproxy
from .sockets import MasterSocket

log = logging.getLogger(__name__)


def main() -> None:
    """Run until SIGTERM or SIGINT; exits with a sentence where the settings are wrong or the port is taken."""
    argparse.ArgumentParser(
        "eratos-companion",
        description="The companion of a balancer: checks and applies what consul-template rendered, and answers executors. "
        "It runs beside HAProxy in the balancer's image; its settings are environment variables, see docs/architecture.md.",
    ).parse_args()
    if shutil.which("haproxy") is None:
        sys.exit("eratos-companion: haproxy is not installed here: the companion runs beside it, in the image eratos/balancer")
    try:
        settings = config.read(os.environ)
    except FatalError as error:
        sys.exit(f"eratos-companion: {error}")
    logs.setup(settings.log_level)
    haproxy = Haproxy(MasterSocket(settings.master_socket), settings.base, settings.servers_state)
    applier = Applier(
        settings.candidate,
        settings.live,
        haproxy,
        accepting,
        taken,
        guard_hold_s=settings.guard_hold_s,
        # A file is what somebody wrote: unlike Consul it does not forget.
        guard_hold_wholesale_s=settings.guard_hold_s if settings.servers_file else settings.guard_hold_wholesale_s,
        reload_interval_s=settings.reload_interval_s,
    )
    certificates = Certificates(settings.certs_dir, settings.state_dir, haproxy.check)
    try:
        access_log = AccessLog(settings)
    except OSError as error:
        sys.exit(f"eratos-companion: no access log: {error}")
    try:
        server = api.server(api.Companion(applier, haproxy, certificates), settings.port)
    except OSError as error:
        sys.exit(f"eratos-companion: port {settings.port}: {error}")
    stop = threading.Event()
    on_signal(stop.set)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    threading.Thread(target=applier.watch, args=(stop,), name="watch", daemon=True).start()
    threading.Thread(target=certificates.watch, args=(stop,), name="certificates", daemon=True).start()
    threading.Thread(target=access_log.watch, args=(stop,), name="access-log", daemon=True).start()
    log.info("companion started %s", logs.fields(port=settings.port, consul=settings.consul, state_dir=settings.state_dir))
    if settings.servers_file:
        stop.wait()  # its workers are nobody's that would ask for their balancers
    else:
        Registration(
            settings.consul,
            settings.consul_token,
            settings.host,
            settings.port,
            # No service has a dot in its name, as the template's and certificates' files have: they can be told apart.
            lambda: [*renderer.ended(settings.renderer_note), *certificates.refused(), *applier.left_out()],
        ).keep(stop)
    server.shutdown()
    log.info("companion stopped")


if __name__ == "__main__":
    main()
