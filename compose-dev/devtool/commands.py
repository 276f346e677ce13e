"""The commands of ./dev: what they are called, which options they take, what they do step by step."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import audit as vulnerabilities
from . import cluster, development, engine, fleet, health, images, members, network, ports, repair, report, secure, timings
from . import logs as log_reader
from . import sbom as bills
from .alone import alone
from .chaos import command as chaos_command
from .chaos import game
from .cluster import Compose
from .load import command as load_command
from .settings import Settings, read_settings
from .shell import replace_this_process
from .terminal import Problem, Progress, say

INFRASTRUCTURE_S = 180
ROTATION_S = 180
#: After something was started, everything has to be well for that long.
SETTLE_S = 2
#: In a balancer's container.
ACCESS_LOG = "/var/log/eratos-balancer/current"

EXAMPLES = """\
a first tour:
  ./dev up                  everything, 20 workers behind two balancers (a first time takes minutes, later seconds)
  curl http://127.0.0.1:8000/
  ./dev scale /prime 40     twice the workers
  ./dev kill agent2         a power cut; watch ./dev status, then heal it with ./dev up
  ./dev down                stop it all; what was deployed comes back with the next up

a second cluster beside the first: ERATOS_PROJECT=eratos-test and other ports (compose-dev/README.md)
"""


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code. Problems become two lines: what is wrong, and how to put it right."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    if rest and options.command not in ("test", "bench"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = [*getattr(options, "pytest", []), *rest]
    try:
        given = {
            name: getattr(options, name, None) for name in ("agents", "balancers", "zones", "regions", "observe", "registry")
        }
        settings = read_settings(os.environ, **given, secure=options.command == "up" and options.secure)
        return options.run(settings, options) or 0
    except Problem as problem:
        say()
        print(f"error: {problem}\nfix:   {problem.fix}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run it again, and it goes on where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read this program's output has gone. What Python would still write at its end has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"error: {error}\nfix:   free the disk or change the owner of what it names, then run this again", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev",
        description="The whole of eratos on this machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    added = command("up", up, "start the cluster, or heal it, and wait until all workers are in rotation")
    added.add_argument(
        "--workers", type=int, metavar="N", help="instances of the sample app (20 the first time, then as it was scaled)"
    )
    added.add_argument("--agents", type=int, metavar="N", help="simulated hosts (3 the first time, then remembered)")
    added.add_argument("--balancers", type=int, metavar="N", help="balancers (2 the first time, then remembered)")
    added.add_argument(
        "--zones", type=int, metavar="N", help="2: balancers prefer their zone, a or b; 0: they do not (0, then remembered)"
    )
    added.add_argument(
        "--regions",
        type=int,
        metavar="N",
        help="2: a cluster in two regions, east and west, each with a Consul data center (chosen when it is made)",
    )
    added.add_argument(
        "--secure", action="store_true", help="a cluster whose parts ask who asks: TLS, passwords, tokens (remembered)"
    )
    added.add_argument(
        "--observe", action="store_true", default=None, help="with Prometheus, which asks every part how it is (remembered)"
    )
    added.add_argument("--no-observe", dest="observe", action="store_false", help="without it again")
    added.add_argument(
        "--registry",
        action="store_true",
        default=None,
        help="with a registry for images, to which eratos build pushes (remembered)",
    )
    added.add_argument("--no-registry", dest="registry", action="store_false", help="without it again")
    added.add_argument("--force", action="store_true", help="go on in spite of too little disk or memory")
    added = command("down", down, "stop and remove the cluster and its workers")
    added.add_argument("--volumes", action="store_true", help="also forget what was deployed and chosen")
    command("status", status, "show whether each part is well, and where it is")
    command("ps", ps, "list the containers, workers included, with their memory")
    added = command("logs", logs, "show logs: of everything, or of a service, executorN or a worker")
    added.add_argument("service", nargs="?", metavar="SERVICE")
    added.add_argument("-f", "--follow", action="store_true", help="go on showing what is new")
    added.add_argument(
        "-r",
        "--requests",
        action="store_true",
        help="the access log of a balancer (balancer1): failed requests, or all after ERATOS_LOG_REQUESTS=all ./dev up",
    )
    added.add_argument("-n", "--tail", default="100", metavar="N", help="lines to begin with (100), or all")
    added = command("scale", scale, "change the number of an app's instances and wait until they are in rotation")
    added.add_argument("app", metavar="APP")
    added.add_argument("instances", type=int, metavar="N")
    added = command("shell", shell, "open a shell in a service's container")
    added.add_argument("service", metavar="SERVICE")
    added = command("kill", kill, "kill a service, or all of a zone or region, as a power cut would; ./dev up heals it")
    added.add_argument("service", nargs="+", metavar="SERVICE", help="such as agent2, or: zone b, region west")
    added = command("revive", revive, "start again what ./dev kill has ended, and nothing else")
    added.add_argument("service", nargs="+", metavar="SERVICE", help="such as agent2, or: zone b, region west")
    added = command("load", load_command.run, "load an app, or a URL of this machine, and report what became of each request")
    load_command.add_options(added)
    added = command("chaos", chaos_command.run, "break the cluster on purpose, under load, and say whether it came through")
    chaos_command.add_options(added)
    added = command("game", game.run, "break something without saying what, and let you find it")
    game.add_options(added)
    _development(command)
    return parser


def _development(command: Callable[[str, object, str], argparse.ArgumentParser]) -> None:
    """Add the commands for whoever changes eratos."""
    added = command("test", test, "run the tests: all, or those that pytest's arguments select")
    added.add_argument("pytest", nargs="*", metavar="PYTEST ARGUMENT")
    added.add_argument("--secure", action="store_true", help="the end-to-end tests on a cluster that ./dev up --secure makes")
    length = added.add_mutually_exclusive_group()
    length.add_argument("--fast", action="store_true", help="what needs nothing but Python, less what is marked slow")
    length.add_argument("--all", action="store_true", help="with what takes hours, which is left out otherwise")
    added = command("bench", bench, "run a benchmark of bench/ against the cluster; without NAME, list them")
    added.add_argument("name", nargs="?", metavar="NAME")
    command("lint", lint, "check style, types, the documents' links, and that all tests can be imported")
    added = command("mutate", mutate, "change the pure modules that hold a formula, and see whether a test notices")
    added.add_argument("modules", nargs="*", metavar="MODULE", help="such as scheduler/core/brake (default: all)")
    added.add_argument("--most", type=int, metavar="N", help="mutants of each module, 0 for all (default: 30)")
    added.add_argument("--seed", type=int, metavar="N", help="which ones, where there are more (default: 1)")
    added = command("lock", lock, "write requirements/ anew from setup.cfg: the dependencies with their digests")
    added.add_argument("--upgrade", action="store_true", help="take the newest versions that setup.cfg allows")
    added = command("audit", audit, "ask a public database for vulnerabilities of all that is locked (needs the internet)")
    added.add_argument(
        "--service", default=vulnerabilities.SERVICE, metavar="URL", help=f"the database ({vulnerabilities.SERVICE})"
    )
    added = command("package", package, "build the wheel and the source distribution, and check them for the package index")
    added.add_argument("folder", nargs="?", default="dist", metavar="FOLDER", help="where to (dist)")
    command("licences", licences, "write docs/licences.md anew: what everything is made of, and under which licences")
    added = command("sbom", sbom, "write bills of materials (CycloneDX): of each image, and of the Python package")
    added.add_argument("folder", nargs="?", default="dist/sbom", metavar="FOLDER", help="where to (dist/sbom)")
    added = command("docs", docs, "write anew the pages that are made of the code, and wrap all; with --site, build a site")
    added.add_argument(
        "--site", nargs="?", const="dist/site", metavar="FOLDER", help="build the documents as a site, here; by default dist/site"
    )


def up(settings: Settings, options: argparse.Namespace) -> None:
    """Bring everything up, from nothing if need be. Changes nothing on a cluster that is up already."""
    if options.workers is not None and options.workers < 0:
        raise Problem(f"--workers {options.workers} is out of range", "choose 0 or more")
    progress = Progress()
    with alone(settings):
        engine.ensure(progress)
        network.choose(settings, os.environ)
        compose = Compose(settings)
        built = images.ensure(settings, compose, progress, options.force)
        ports.check(settings, cluster.containers(settings.project))
        settings.remember()
        if settings.secure:
            with progress.step("make the secrets, and give each part its own"):
                secure.prepare(settings)
                compose = Compose(settings)
        with progress.step("start the containers") as step:
            changed = repair.start(compose, step)
            if changed:
                images.remove_outdated()
        with progress.step("wait until every part is up") as step:
            remake = partial(repair.remake, compose)
            if settings.secure:
                secure.restore(settings)
            health.await_infrastructure(settings, step, INFRASTRUCTURE_S, SETTLE_S if changed else 0, remake)
            members.forget_surplus(settings, step)
        with progress.step("wait until all workers are in rotation") as step:
            deadline = time.monotonic() + ROTATION_S
            app_id = fleet.patiently(lambda: fleet.ensure_sample(settings, options.workers), step, deadline)
            step.text = f"{fleet.await_rotation(settings, app_id, step, ROTATION_S)} workers of {app_id} in rotation"
        timings.record(built, changed, time.monotonic() - progress.started)
    progress.summary()
    report.addresses(settings)


def down(settings: Settings, options: argparse.Namespace) -> None:
    """Stop and remove the cluster; what it stored stays, unless stated otherwise."""
    engine.require()
    with alone(settings), Progress().step("stop and remove the cluster"):
        cluster.stop(Compose(settings), options.volumes)
        if options.volumes:
            settings.forget()
            secure.forget(settings)


def status(settings: Settings, _options: argparse.Namespace) -> int:
    """Say how each part is; exit code 1 if one is not well."""
    engine.require()
    return report.status(settings)


def ps(settings: Settings, _options: argparse.Namespace) -> None:
    """List the containers."""
    engine.require()
    report.containers(settings)


def logs(settings: Settings, options: argparse.Namespace) -> None:
    """Show logs, and with --follow go on showing them."""
    engine.require()
    tail = _tail(options.tail)
    service = options.service or ""
    if options.requests:
        balancer = service or "balancer1"
        if not balancer.startswith("balancer"):
            raise Problem(f"{balancer} has no access log", "name a balancer: ./dev logs --requests balancer1")
        _require_running(settings, balancer)
        first = "+1" if tail is None else str(tail)
        compose = Compose(settings)
        shown = ["tail", "-n", first, *(["-F"] if options.follow else []), ACCESS_LOG]
        replace_this_process(compose.command("exec", "-T", balancer, *shown), compose.env)
    found = {container.service: container.name for container in cluster.containers(settings.project)}
    if not found:
        raise Problem(f"the cluster {settings.project} is down", "./dev up starts it")
    if not service:
        log_reader.show(found, tail, options.follow)
        return
    executor = re.fullmatch(r"executor(\d+)", service)
    if executor or service in settings.services():
        holder = f"agent{executor[1]}" if executor else service
        if holder not in found:
            raise _no_such_service(settings, holder) if executor else Problem(f"{holder} is missing", "./dev up makes it")
        # The executor writes to its agent's output, among what Mesos and its ZooKeeper client write.
        wanted = log_reader.of_executor if executor else log_reader.every_line
        log_reader.show({service: found[holder]}, tail, options.follow, wanted)
        return
    workers = [one.name for one in cluster.workers(settings) if service in (one.name, cluster.short_name(one.name))]
    if not workers:
        raise _no_such_service(settings, service, "; or executorN, or a worker (./dev ps)")
    log_reader.show({service: workers[0]}, tail, options.follow)


def _tail(given: str) -> int | None:
    """Return a number of lines, None for all."""
    if given == "all":
        return None
    if not given.isdigit():
        raise Problem(f"--tail {given} is no number of lines", "choose 0 or more, or all")
    return int(given)


def scale(settings: Settings, options: argparse.Namespace) -> None:
    """Scale an app, and wait for the balancers."""
    if options.instances < 0:
        raise Problem(f"{options.instances} instances are not possible", "choose 0 or more")
    app_id = "/" + options.app.strip("/")
    with Progress().step(f"scale {app_id} to {options.instances}") as step:
        fleet.scale(settings, app_id, options.instances)
        fleet.await_rotation(settings, app_id, step, ROTATION_S)


def shell(settings: Settings, options: argparse.Namespace) -> None:
    """Become a shell in a container."""
    engine.require()
    _require_running(settings, options.service)
    compose = Compose(settings)
    tty = [] if sys.stdin.isatty() else ["-T"]
    replace_this_process(compose.command("exec", *tty, options.service, "bash"), compose.env)


def kill(settings: Settings, options: argparse.Namespace) -> None:
    """Play a power cut."""
    engine.require()
    services = _named(settings, options.service)
    running = {container.service for container in cluster.containers(settings.project) if container.running}
    if not running & set(services):
        raise Problem(f"{' '.join(options.service)} is not running", "./dev up starts it")
    with alone(settings):
        dead = cluster.kill(settings, services)
        say(f"killed: {', '.join(dead)}")
        for host in (host for host in filter(members.is_host, services) if _consul_lives(settings, host, services)):
            # So that nothing of it is left behind if it never comes back. That it died, Consul has to find out by itself.
            with Progress().step(f"wait until Consul has noticed the death of {host}") as step:
                try:
                    members.forget_dead(settings, host, step)
                except Problem as problem:
                    step.text = f"Consul still lists {host}: {problem}"
    say(f"heal it with: ./dev revive {' '.join(options.service)}; or all that is broken with: ./dev up")


def revive(settings: Settings, options: argparse.Namespace) -> None:
    """Give power back."""
    engine.require()
    services = _named(settings, options.service)
    with alone(settings):
        back = cluster.revive(settings, services)
        if not back:
            raise Problem(f"nothing of {' '.join(options.service)} is stopped", "./dev status shows what is missing")
        say(f"started: {', '.join(back)}")
        with Progress().step("wait until Consul sees it") as step:
            for host in filter(members.is_host, services):
                members.await_back(settings, host, step)


def _consul_lives(settings: Settings, host: str, dead: list[str]) -> bool:
    """Return whether a Consul server is left that could notice the death of a host."""
    return any(f"consul{number}" not in dead for number in settings.consul_servers(settings.region(host)))


#: What gives a cluster places of a kind.
_GIVES = {
    "zone": "./dev up --zones 2 gives it some",
    "region": "make one that has: ERATOS_PROJECT=eratos-regions and other ports, ./dev up --regions 2 (compose-dev/README.md)",
}


def _named(settings: Settings, words: list[str]) -> list[str]:
    """Return the services that the words of a command name: one, or with `zone b` or `region west` all that is there."""
    if len(words) == 2 and words[0] in settings.places:
        kind, name = words
        places = settings.places[kind]
        if not places:
            raise Problem(f"the cluster {settings.project} has no {kind}s", _GIVES[kind])
        if name not in places:
            raise Problem(f"there is no {kind} {name}", f"choose one of {', '.join(places)}")
        return places[name]
    if len(words) > 1 or words[0] not in settings.services():
        more = "".join(f"; or: {kind} {min(places)}" for kind, places in settings.places.items() if places)
        raise _no_such_service(settings, " ".join(words), more)
    return words


def test(settings: Settings, options: argparse.Namespace) -> int:
    """Run the tests."""
    return development.test(settings, options.rest, fast=options.fast, everything=options.all, secure=options.secure)


def bench(settings: Settings, options: argparse.Namespace) -> int:
    """Run a benchmark."""
    return development.bench(settings, options.name, options.rest)


def lint(_settings: Settings, _options: argparse.Namespace) -> int:
    """Check style and types."""
    return development.lint()


def mutate(_settings: Settings, options: argparse.Namespace) -> int:
    """Change the pure modules that hold a formula, and see whether a test notices."""
    chosen = [f"--{name}={getattr(options, name)}" for name in ("most", "seed") if getattr(options, name) is not None]
    return development.mutate([*options.modules, *chosen])


def lock(_settings: Settings, options: argparse.Namespace) -> int:
    """Lock the dependencies."""
    return development.renew_lock(options.upgrade)


def audit(_settings: Settings, options: argparse.Namespace) -> int:
    """Ask for vulnerabilities."""
    return vulnerabilities.run(options.service)


def package(_settings: Settings, options: argparse.Namespace) -> int:
    """Build what would be uploaded."""
    return development.package(Path(options.folder))


def licences(_settings: Settings, _options: argparse.Namespace) -> int:
    """Write the page of all parts and their licences."""
    return development.licences()


def sbom(_settings: Settings, options: argparse.Namespace) -> int:
    """Write a bill of materials for each image and for the package."""
    return bills.run(Path(options.folder))


def docs(_settings: Settings, options: argparse.Namespace) -> int:
    """Write the pages that are made of the code, and wrap all; or build the site."""
    return development.site(Path(options.site).absolute()) if options.site else development.docs()


def _require_running(settings: Settings, service: str) -> None:
    if service not in settings.services():
        raise _no_such_service(settings, service)
    if not any(container.service == service and container.running for container in cluster.containers(settings.project)):
        raise Problem(f"{service} is not running", "./dev up starts it")


def _no_such_service(settings: Settings, service: str, more: str = "") -> Problem:
    return Problem(f"there is no service {service}", f"choose one of {', '.join(settings.services())}{more}")
