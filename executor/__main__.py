"""The executor's process: reads the settings, wires the parts together, runs the loop. Started by a Mesos agent."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
from functools import partial

from eratos.common import exposition, names
from eratos.common.addresses import sent_in_clear
from eratos.common.errors import EratosError, FatalError
from eratos.common.log import fields, setup
from eratos.common.signals import await_children, on_signal

from . import secret_store
from .balancers import Balancers
from .commands import CommandRunner
from .config import Config, read
from .consul_agent import ConsulAgent, ConsulApi
from .core.events import Shutdown
from .core.host import Host
from .core.lifecycle import Machine
from .core.reach import reach
from .docker.client import DockerClient
from .docker.copies import DockerCopies
from .docker.logs import DockerLogs
from .docker.runtime import DockerRuntime
from .docker.sessions import DockerSessions
from .endpoint import Access, Endpoint
from .fetch_rules import FetchRules
from .figures import Figures
from .io_thread import IoThread
from .logs import LogSource
from .loop import Loop
from .mesos.driver import ExecutorDriver
from .played_host import PlayedHost
from .probes import Prober
from .process.logs import ProcessLogs
from .process.runtime import ProcessRuntime
from .process.sessions import ProcessSessions
from .readiness import ReadinessResults
from .requirements.consumer import Consumer
from .requirements.telling import Teller
from .requirements.watch import ConsulQueries, RequirementWatch
from .runtimes import Runtime, Runtimes
from .sessions import SessionSource
from .siblings import Siblings
from .tunnels import Tunnels
from .usage import UsageWatch

log = logging.getLogger(__name__)

#: For removing the last containers and for the agent's acknowledgements, before leaving.
_REMOVE_S = 1.0
_FLUSH_S = 2.0


def main() -> None:
    """Entry point ``eratos-executor``."""
    await_children()
    try:
        config = read(sys.argv[1:], os.environ)
        setup(config.log_level, config.log_format)
        # It writes whole URLs: those of files to fetch may be signed.
        logging.getLogger("urllib3").setLevel(logging.INFO)
        log.info("starting %s", fields(**config.shown()))
        if config.exposed:
            log.warning("process tasks that run as root find Consul's token in /proc: give --consul-token-file instead")
        if config.consul_token and sent_in_clear(config.consul):
            log.warning("Consul's token can be read on its way to %s: give https:// and --consul-ca-file", config.consul)
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
    machine = Machine(host, driver.shutdown_grace_s, random.random)
    figures = Figures()
    loop = Loop(machine, driver.send, figures, send_message=driver.send_message)
    siblings = Siblings(config.sandbox, host.executor_id)
    io = IoThread()
    rules = FetchRules(
        config.fetch_folders,
        config.fetch_private,
        frozenset({config.http_port, names.COMPANION_PORT}),
        config.fetch_proxy,
        config.fetch_ca_file,
    )
    found: dict[str, Runtime] = {}
    copies: DockerCopies | None = None
    sources: list[LogSource] = []
    sessions: list[SessionSource] = []
    store = secret_store.opened(config.secrets)
    if "process" in config.runtimes:
        processes = ProcessRuntime(
            config.sandbox, config.variables, host, loop.emit, siblings.alive, played=played, rules=rules, store=store
        )
        found["process"] = processes
        sources.append(ProcessLogs(processes.logs, processes.running))
        sessions.append(ProcessSessions(processes.beside))
    if "docker" in config.runtimes:
        docker = DockerClient(config.docker_host)
        runtime = found["docker"] = DockerRuntime(
            docker,
            config.sandbox,
            host,
            loop.emit,
            siblings.alive,
            logins_file=config.docker_config,
            pull_stall_s=config.pull_stall_s,
            played=played,
            rules=rules,
            store=store,
        )
        sources.append(DockerLogs(docker, host.framework_id))
        sessions.append(DockerSessions(docker, host.framework_id))
        copies = DockerCopies(docker, runtime.volumes, host, loop.emit, config.http_port)
    containers = Runtimes(found)
    usage = UsageWatch(lambda: list(machine.tasks.values()), containers.readings)
    readiness = ReadinessResults()

    def access() -> Access | None:
        names = (config.host, socket.gethostname(), driver.hostname, *config.http_hosts)
        return Access(names, driver.keys.endpoint, driver.keys.peers) if driver.keys is not None else None

    def metrics() -> bytes:
        counted = figures.families(list(machine.tasks.values()))
        return exposition.render([*counted, *usage.families(), *exposition.of_process()])

    consul = partial(ConsulApi, config.consul, config.consul_token, config.consul_ca_file, config.consul_cert_file)
    services = ConsulAgent(consul(), host, loop.emit, siblings.alive)
    consumer = Consumer(host, services.perform)
    queries = ConsulQueries(config.consul, config.consul_token, config.consul_ca_file, config.consul_cert_file)
    requirements = RequirementWatch(io, queries, loop.emit, consumer.consuming)
    endpoint = Endpoint(
        io,
        sources,
        readiness,
        config.http_host,
        config.http_port,
        access,
        tunnels=Tunnels(sessions, lambda task_id, port: reach(machine.tasks.get(task_id), port)),
        used=requirements.used,
        metrics=metrics,
        usage=usage.shown,
        volumes=copies,
        listening=consumer.listening,
    )
    # A client of its own: py-consul's is not for two threads.
    asked = consul()
    balancers = Balancers(
        io,
        lambda: asked.balancers() + asked.consumers(host.framework_id),
        loop.emit,
        lambda: driver.keys.companion if driver.keys is not None else "",
        lambda: driver.keys.peers if driver.keys is not None else "",
        lambda datacenter: partial(consul().balancers, datacenter),
    )
    commands = CommandRunner(containers)
    prober = Prober(io, commands, readiness, loop.emit)
    loop.connect(containers, prober, services, balancers, requirements, Teller(io, containers, commands, loop.emit), copies)
    for part in (io, services, containers, endpoint, usage, driver):
        part.start()
    on_signal(lambda: loop.emit(Shutdown("terminated by a signal")), (signal.SIGTERM,))
    reason = loop.run()
    usage.stop()
    containers.stop(_REMOVE_S)
    driver.flush(_FLUSH_S)
    driver.stop()
    return reason


if __name__ == "__main__":
    main()
