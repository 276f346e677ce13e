"""Faults of workers, hosts, parts and what they know: killed, hung, full, forgotten, in another time."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..cluster import host_of
from ..terminal import Problem
from .parts import Parts
from .strike import TOOLS, Strike, disk, docker, inside, signal, tool

if TYPE_CHECKING:
    from .strike import Commands

EXECUTOR = "/opt/eratos/bin/python*eratos-executor*"
COMPANION = "python3 -P -c import*"
MESOS_AGENT = "/etc/eratos/services/mesos-agent"

# Workers


def workers(parts: Parts) -> list[str]:
    return sorted(parts.workers)


def worker(text: str, do: Callable[[str], Commands], undo: Callable[[str], Commands]) -> Callable[[Parts, str], Strike]:
    def strike(parts: Parts, task: str) -> Strike:
        if task not in parts.workers:
            raise Problem(f"there is no worker {task}", "leave out the part: one is chosen")
        container, host = parts.workers[task]
        return Strike(f"{text}: {task} on {host}", do(container), undo(container))

    return strike


#: The container's first process becomes the one that the kernel ends when the container's memory is used up.
EAT_MEMORY = "echo 1000 > /proc/1/oom_score_adj; exec python3 -EsS -c 'x = [b\"x\" * 2**20 for _ in range(256)]'"
#: Without a module for HTTP: the worker's image has no more of the standard library than a worker needs.
HEALTH = (
    "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ['PORT0'])));"
    "s.sendall(b'{} /health HTTP/1.1\\r\\nHost: worker\\r\\nContent-Length: 0\\r\\n\\r\\n'); assert b' 200 ' in s.recv(99)"
)


def slow(container: str) -> Commands:
    return [docker("update", "--cpu-period", "100000", "--cpu-quota", "2000", container)]


# Parts that are one container, and those with it


def _with_consul(parts: Parts, service: str) -> list[str]:
    """Return the containers of a host: its own and its Consul agent's."""
    return [parts.id(service), *(one.id for name, one in parts.containers.items() if host_of(name) == service)]


def off(parts: Parts, service: str) -> Strike:
    """Cut the power of a part; of an agent's host with all its workers."""
    ids = _with_consul(parts, service)
    do: Commands = [docker("kill", *ids)]
    if service.startswith("agent"):
        label = f"eratos.host={parts.project}-{service}"
        # Nobody replaces them on a host that is off.
        do.append(("sh", "-c", f"docker ps -aq --filter label={shlex.quote(label)} | xargs -r docker rm -f"))
    # One after the other: a Consul agent needs its host's network.
    excused = frozenset({service}) if service.startswith("balancer") else frozenset()
    return Strike(f"{service} is off", do, [docker("start", one) for one in ids], excused)


def all_off(parts: Parts, kind: str) -> Strike:
    ids = [parts.id(service) for service in parts.named(kind)]
    return Strike(f"every {kind} is off", [docker("kill", *ids)], [docker("start", *ids)])


def frozen(parts: Parts, service: str) -> Strike:
    return Strike(f"{service} is frozen", [docker("pause", parts.id(service))], [docker("unpause", parts.id(service))])


def process(name: str, pattern: str, *, youngest: bool = False, excuses: bool = False) -> Callable[[Parts, str], Strike]:
    def strike(parts: Parts, service: str) -> Strike:
        excused = frozenset({service}) if excuses else frozenset()
        return Strike(
            f"{name} of {service} is killed", [inside(parts.id(service), signal("9", pattern, youngest=youngest))], [], excused
        )

    return strike


def executor_hung(parts: Parts, service: str) -> Strike:
    container = parts.id(service)
    return Strike(
        f"the executor of {service} hangs",
        [inside(container, signal("STOP", EXECUTOR))],
        [inside(container, signal("CONT", EXECUTOR))],
    )


def mesos_agent(parts: Parts, service: str) -> Strike:
    return Strike(f"mesos-agent of {service} is killed", [docker("exec", parts.id(service), "s6-svc", "-k", MESOS_AGENT)])


#: Where parts keep what they write.
DISKS = {"agent": "/var/lib/mesos", "balancer": "/var/lib/eratos-balancer"}
_FULL = "/run/eratos-full"


def full(parts: Parts, service: str) -> Strike:
    """Lay something over a part's disk that has no room: what is there can be read, and nothing can be written any more."""
    container, place = parts.id(service), DISKS[service.rstrip("0123456789")]
    do = (
        f"mkdir -p {_FULL} && mount -t tmpfs -o size=64k eratos-full {_FULL} && mkdir {_FULL}/upper {_FULL}/work && "
        f"chown --reference={place} {_FULL}/upper && chmod --reference={place} {_FULL}/upper && "
        f"mount -t overlay -o lowerdir={place},upperdir={_FULL}/upper,workdir={_FULL}/work eratos-full {place} && "
        f"{{ dd if=/dev/zero of={_FULL}/rest bs=1k 2>/dev/null; [ -s {_FULL}/rest ]; }}"
    )
    # Only what was laid there: below it may be a volume, which is to stay.
    undo = "; ".join(f"grep -q '^eratos-full {at} ' /proc/mounts && umount -l {at}" for at in (place, _FULL))
    return Strike(f"the disk of {service} is full", [disk(parts.project, container, do)], [disk(parts.project, container, undo)])


# What Consul knows


def consul_lost(parts: Parts, _: str) -> Strike:
    """Have all servers lose their disks; what the agents know they bring along again."""
    ids = [parts.id(service) for service in parts.named("consul")]
    empty = "find /consul -mindepth 1 -delete"
    wipe = [tool(parts.project, "--volumes-from", one, TOOLS, "sh", "-c", empty) for one in ids]
    start = docker("start", *ids)
    return Strike("Consul has lost everything that it knew", [docker("kill", *ids), *wipe], [start])


#: Asked of Consul as a scheduler asks it, which may remove any service of eratos from the catalogue, on a secure cluster as well.
EMPTY_CATALOGUE = """
import json, os, ssl, urllib.request as u
at, token, ca = (os.environ.get("ERATOS_CONSUL" + name, "") for name in ("", "_TOKEN_FILE", "_CA_FILE"))
headers = {"X-Consul-Token": open(token).read().strip()} if token else {}
context = ssl.create_default_context(cafile=ca or None)
def ask(method, path, body=None):
    url = at.split(",")[0] + "/v1/catalog/" + path
    request = u.Request(url, json.dumps(body).encode() if body else None, headers, method=method)
    return json.load(u.urlopen(request, timeout=10, context=context))
apps = [name for name, tags in ask("GET", "services").items() if "eratos" in tags]
for entry in [entry for name in apps for entry in ask("GET", "service/" + name)]:
    ask("PUT", "deregister", {"Node": entry["Node"], "ServiceID": entry["ServiceID"]})
"""


def catalogue_emptied(parts: Parts, _: str) -> Strike:
    """Have Consul's servers forget all apps, which its agents do not notice before they compare."""
    service = parts.scheduler or parts.named("scheduler")[0]
    return Strike(
        "all apps' services are removed from Consul's catalogue",
        [docker("exec", "-u", "0", parts.id(service), "python3", "-c", EMPTY_CATALOGUE)],
    )


# Clocks


_CLOCK = "/opt/eratos-clock"
_PRELOADED = f"LD_PRELOAD={_CLOCK}.so FAKETIME_TIMESTAMP_FILE={_CLOCK} FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
#: By its log: a scheduler that asks who asks answers nobody who has only its container.
_LEADS = (
    "for _ in $(seq 100); do "
    "docker logs --since $(docker inspect -f '{{.State.StartedAt}}' CONTAINER) CONTAINER 2>&1 | grep -q ' leading ' && exit 0; "
    "sleep 0.5; done; echo 'it does not lead' >&2; exit 1"
)


def another_scheduler(parts: Parts) -> list[str]:
    return [service for service in parts.named("scheduler") if service != parts.scheduler]


def clock_jumps(parts: Parts, service: str) -> Strike:
    """Have another scheduler lead whose clock can be moved, and move it; libfaketime does not reach into what runs already."""
    other = another_scheduler(parts)[0]
    container = parts.id(other)
    library = shlex.join(tool(parts.project, TOOLS, "sh", "-c", "cat /usr/lib/*/faketime/libfaketime.so.1"))
    copy = f"{library} | docker exec -i -u 0 {container} sh -c 'cat > {_CLOCK}.so'"
    # For the part's own command alone: what runs before it as root would leave it locks that it cannot take.
    preload = f"""sed -i '/^ *exec /s|"$@"|env {_PRELOADED} "$@"|' /usr/local/bin/part"""
    prepare = f"echo +0 > {_CLOCK} && chmod a+r {_CLOCK} {_CLOCK}.so && {preload}"
    # The way back is a jump as well, and the process has to live through that, too.
    unload = """sed -i 's|env LD_PRELOAD=[^"]*"|"|' /usr/local/bin/part"""
    undo = f"echo +0 > {_CLOCK}; sleep 5; {unload}; rm -f {_CLOCK} {_CLOCK}.so"
    return Strike(
        f"the clock of {other}, which leads now, is an hour ahead",
        [
            ("sh", "-c", copy),
            inside(container, prepare),
            docker("restart", "-t", "2", container),
            docker("restart", "-t", "2", parts.id(service)),
            ("sh", "-c", _LEADS.replace("CONTAINER", container)),
            inside(container, f"echo +3600 > {_CLOCK}"),
        ],
        [inside(container, undo), docker("restart", "-t", "2", container)],
    )
