"""Starts the companion: ``python3 -m eratos.haproxy`` (``eratos-companion`` where the package is installed).

Six threads: the HTTP interface, the watches over facts, certificates and other data centers, the access log, the registration
in Consul.
SIGTERM deregisters the balancer and ends it; HAProxy is not touched, it is supervised by itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import socket
import sys
import threading
from pathlib import Path

from eratos.common import log as logs
from eratos.common.errors import FatalError
from eratos.common.signals import on_signal

from . import api, config, consul_template
from .access_log import AccessLog
from .apply import Applier
from .certificates import Certificates
from .consul_agent import ConsulAgent
from .haproxy_process import Haproxy
from .network import accepting, taken
from .registration import Registration
from .request_lookup import Lookup
from .sockets import MasterSocket

log = logging.getLogger(__name__)


def main() -> None:
    """Run until SIGTERM or SIGINT; exits with a sentence where the settings are wrong or the port is taken."""
    argparse.ArgumentParser(
        "eratos-companion",
        description="The balancer companion: decides from what consul-template found what HAProxy serves, and answers executors. "
        "It runs beside HAProxy in the balancer's image; its settings are environment variables, see docs/balancer.md.",
    ).parse_args()
    if shutil.which("haproxy") is None:
        sys.exit("eratos-companion: haproxy is not installed here: the companion runs beside it, in the image eratos/balancer")
    try:
        settings = config.read(os.environ)
    except FatalError as error:
        sys.exit(f"eratos-companion: {error}")
    logs.setup(settings.log_level, settings.log_format)
    map_file = Path(settings.text.map_file)
    haproxy = Haproxy(MasterSocket(settings.master_socket), settings.base, settings.servers_state, map_file)
    applier = Applier(settings, haproxy, accepting, taken)
    certificates = Certificates(settings.certs_dir, settings.state_dir, haproxy.check)
    try:
        access_log = AccessLog(settings, applier.health_changed)
    except OSError as error:
        sys.exit(f"eratos-companion: no access log: {error}")
    try:
        access = api.Access((settings.host, socket.gethostname(), *settings.hosts), settings.key)
        companion = api.Companion(applier, haproxy, certificates, Lookup(access_log.files))
        server = api.server(companion, settings.port, access)
    except OSError as error:
        sys.exit(f"eratos-companion: port {settings.port}: {error}")
    stop = threading.Event()
    on_signal(stop.set)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    threading.Thread(target=applier.watch, args=(stop,), name="watch", daemon=True).start()
    threading.Thread(target=certificates.watch, args=(stop,), name="certificates", daemon=True).start()
    threading.Thread(target=access_log.watch, args=(stop,), name="access-log", daemon=True).start()
    if not settings.key:
        log.info("whoever reaches the companion's port may announce removals: ERATOS_COMPANION_KEY_FILE leaves it to executors")
    log.info("companion started %s", logs.fields(port=settings.port, consul=settings.consul, state_dir=settings.state_dir))
    if settings.servers_file:
        stop.wait()  # its workers are nobody's that would ask for their balancers
    else:
        agent = ConsulAgent(settings.consul, settings.consul_token)
        connections = consul_template.Connections(agent, far=applier.far_services)
        datacenters = consul_template.Datacenters(agent, settings.scope.datacenters)
        threading.Thread(target=datacenters.watch, args=(stop,), name="datacenters", daemon=True).start()

        def left_out() -> list[str]:
            # No service has a dot in its name, as files have: they can be distinguished.
            note = settings.consul_template_note
            of_consul = (*consul_template.ended(note), *connections.scarce(), *datacenters.silent())
            return [*of_consul, *certificates.refused(), *applier.left_out()]

        Registration(agent, settings.host, settings.port, left_out, settings.scope.zone).keep(stop)
    server.shutdown()
    log.info("companion stopped")


if __name__ == "__main__":
    main()
