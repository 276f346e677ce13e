"""The executor's process: reads the settings, wires the parts together, runs the loop. Started by a Mesos agent."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
from functools import partial

from eratos.common.errors import EratosError, FatalError
from eratos.common.log import fields, setup
from eratos.common.signals import on_signal

from .balancers import Balancers
from .config import Config, read
from .consul_agent import ConsulAgent, ConsulApi
from .core.events import Shutdown
from .core.host import Host
from .core.lifecycle import Machine
from .docker_client import DockerClient
from .docker_logs import DockerLogs
from .docker_runtime import DockerRuntime
from .endpoint import Endpoint
from .io_thread import IoThread
from .logs import LogSource
from .loop import Loop
from .mesos.driver import ExecutorDriver
from .played_host import PlayedHost
from .probes import Prober
from .process_logs import ProcessLogs
from .process_runtime import ProcessRuntime
from .readiness import ReadinessResults
from .runtimes import Runtime, Runtimes
from .siblings import Siblings

log = logging.getLogger(__name__)

#: For removing the last containers and for the agent's acknowledgements, before leaving.
_REMOVE_S = 1.0
_FLUSH_S = 2.0


def main() -> None:
    """Entry point ``eratos-executor``."""
    try:
        config = read(sys.argv[1:], os.environ)
        setup(config.log_level)
        # It writes whole URLs: those of files to fetch may be signed.
        logging.getLogger("urllib3").setLevel(logging.INFO)
        log.info("starting %s", fields(**config.shown()))
        reason = _run(config)
    except EratosError as error:
        sys.exit(f"eratos-executor: {error}")
    log.info("leaving %s", fields(reason=reason))
    logging.shutdown()
    # At once: a thread may still hang in a call to a daemon that does not answer, and every task has been reported.
    os._exit(0)


def _run(config: Config) -> str:
    loop: Loop
    driver = ExecutorDriver(os.environ, lambda event: loop.emit(event))
    if not driver.agent_id:
        raise FatalError("MESOS_SLAVE_ID is not set: not started by a Mesos agent?")
    host = Host(
        framework_id=driver.framework_id,
        executor_id=driver.executor_id,
        agent_id=driver.agent_id,
        name=config.host,
        hostname=config.host,
        address=config.address,
        runtimes=config.runtimes,
        network=config.host_network,
        bridge=config.host_bridge,
        dns=config.host_dns,
    )
    played = PlayedHost() if config.host_bridge else None
    loop = Loop(Machine(host, driver.shutdown_grace_s, random.random), driver.send)
    siblings = Siblings(config.sandbox, host.executor_id)
    io = IoThread()
    found: dict[str, Runtime] = {}
    sources: list[LogSource] = []
    if "process" in config.runtimes:
        processes = ProcessRuntime(config.sandbox, config.variables, host, loop.emit, siblings.alive, played=played)
        found["process"] = processes
        sources.append(ProcessLogs(processes.logs, processes.running))
    if "docker" in config.runtimes:
        docker = DockerClient(config.docker_host)
        found["docker"] = DockerRuntime(
            docker, config.sandbox, host, loop.emit, siblings.alive, logins_file=config.docker_config, played=played
        )
        sources.append(DockerLogs(docker, host.framework_id))
    containers = Runtimes(found)
    readiness = ReadinessResults()
    endpoint = Endpoint(io, sources, readiness, config.http_host, config.http_port)
    consul = partial(ConsulApi, config.consul, config.consul_token, config.consul_ca_file, config.consul_cert_file)
    services = ConsulAgent(consul(), host, loop.emit, siblings.alive)
    # A client of its own: py-consul's is not for two threads.
    balancers = Balancers(io, consul().balancers, loop.emit)
    loop.connect(containers, Prober(io, containers, readiness, loop.emit), services, balancers)
    for part in (io, services, containers, endpoint, driver):
        part.start()
    on_signal(lambda: loop.emit(Shutdown("terminated by a signal")), (signal.SIGTERM,))
    reason = loop.run()
    containers.stop(_REMOVE_S)
    driver.flush(_FLUSH_S)
    driver.stop()
    return reason


if __name__ == "__main__":
    main()
