"""The faults: what each breaks, for how long, and what undoes it.

A fault knows its parts by name and finds who leads when it strikes. What it does and what undoes it are commands: those of the
second kind may be run at any time and again, by a later run as well.
"""

from __future__ import annotations

import random
import shlex
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..cluster import host_of
from ..terminal import Problem
from . import ground
from .parts import Parts

#: Has iptables, tc, nsenter and what delays packets, which the parts' own images have not.
TOOLS = "eratos/chaos"
#: Its service in compose.yaml, for its build.
SERVICE = "chaos"

EXECUTOR = "/opt/eratos/bin/python*eratos-executor*"
COMPANION = "python3 -P -c import*"
MESOS_AGENT = "/etc/eratos/services/mesos-agent"

if TYPE_CHECKING:
    Commands = list[tuple[str, ...]]


@dataclass(frozen=True)
class Strike:
    """One fault about to happen."""

    what: str
    do: Commands
    undo: Commands = field(default_factory=list)
    excused: frozenset[str] = frozenset()  #: balancers that it takes away: their clients have to go to another one
    put: Mapping[str, Any] | None = None  #: a change of the app under load, which replaces all of its instances


@dataclass(frozen=True)
class Fault:
    """A way to break something."""

    name: str
    text: str
    candidates: Callable[[Parts], list[str]]  #: what it may strike now
    strike: Callable[[Parts, str], Strike]
    hold_s: float = (
        0.0  #: how long it lasts, unless stated otherwise; 0: it is over at once, and what it broke comes back by itself
    )
    within_s: float = 90.0  #: all has to be well again so long after its end
    planned: bool = False  #: no fault at all, but what operators do: no request may fail
    ends_its_command: bool = False  #: the command that does it dies with what it is for


def _docker(*words: str) -> tuple[str, ...]:
    return ("docker", *words)


def _inside(container: str, script: str) -> tuple[str, ...]:
    return _docker("exec", "-u", "0", container, "sh", "-c", script)


def _tool(project: str, *words: str) -> tuple[str, ...]:
    """Return a command that runs a container of the tools; ``words`` are further options, the image and what it runs."""
    labels = [f"eratos.chaos-tool={project}", "com.docker.compose.project=", "com.docker.compose.service="]
    return _docker("run", "--rm", "--user", "0", *(word for label in labels for word in ("--label", label)), *words)


def _network(project: str, container: str, script: str) -> tuple[str, ...]:
    """Return a command that runs a script in a container's network, with the right to change that."""
    return _tool(project, "--network", f"container:{container}", "--cap-add", "NET_ADMIN", TOOLS, "sh", "-c", script)


def _disk(project: str, container: str, script: str) -> tuple[str, ...]:
    """Return a command that runs a script among a container's files, with the right to mount there."""
    rights = ("--pid", f"container:{container}", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE")
    return _tool(project, *rights, TOOLS, "nsenter", "-t", "1", "-m", "sh", "-c", script)


def signal(name: str, pattern: str, *, youngest: bool = False) -> str:
    """Return a shell script that signals the processes whose command line begins so; it fails where there is none."""
    quoted = pattern.replace(" ", "\\ ")
    last = "${n##* }" if youngest else "$n"
    return (
        "n=; for p in $(ls /proc | grep '^[0-9]' | sort -n); do "
        f'case "$(tr "\\0" " " 2>/dev/null < /proc/$p/cmdline)" in {quoted}) n="$n $p";; esac; done; '
        f'[ -n "$n" ] && kill -{name} {last}'
    )


# Workers


def _workers(parts: Parts) -> list[str]:
    return sorted(parts.workers)


def _worker(text: str, do: Callable[[str], Commands], undo: Callable[[str], Commands]) -> Callable[[Parts, str], Strike]:
    def strike(parts: Parts, task: str) -> Strike:
        if task not in parts.workers:
            raise Problem(f"there is no worker {task}", "leave out the part: one is chosen")
        container, host = parts.workers[task]
        return Strike(f"{text}: {task} on {host}", do(container), undo(container))

    return strike


#: The container's first process becomes the one that the kernel ends when the container's memory is used up.
_EAT_MEMORY = "echo 1000 > /proc/1/oom_score_adj; exec python3 -EsS -c 'x = [b\"x\" * 2**20 for _ in range(256)]'"
#: Without a module for HTTP: the worker's image has no more of the standard library than a worker needs.
_HEALTH = (
    "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ['PORT0'])));"
    "s.sendall(b'{} /health HTTP/1.1\\r\\nHost: worker\\r\\nContent-Length: 0\\r\\n\\r\\n'); assert b' 200 ' in s.recv(99)"
)


def _slow(container: str) -> Commands:
    return [_docker("update", "--cpu-period", "100000", "--cpu-quota", "2000", container)]


# Parts that are one container, and those with it


def _with_consul(parts: Parts, service: str) -> list[str]:
    """Return the containers of a host: its own and its Consul agent's."""
    return [parts.id(service), *(one.id for name, one in parts.containers.items() if host_of(name) == service)]


def _off(parts: Parts, service: str) -> Strike:
    """Cut the power of a part; of an agent's host with all its workers."""
    ids = _with_consul(parts, service)
    do: Commands = [_docker("kill", *ids)]
    if service.startswith("agent"):
        label = f"eratos.host={parts.project}-{service}"
        # Nobody replaces them on a host that is off.
        do.append(("sh", "-c", f"docker ps -aq --filter label={shlex.quote(label)} | xargs -r docker rm -f"))
    # One after the other: a Consul agent needs its host's network.
    excused = frozenset({service}) if service.startswith("balancer") else frozenset()
    return Strike(f"{service} is off", do, [_docker("start", one) for one in ids], excused)


def _all_off(parts: Parts, kind: str) -> Strike:
    ids = [parts.id(service) for service in parts.named(kind)]
    return Strike(f"every {kind} is off", [_docker("kill", *ids)], [_docker("start", *ids)])


def _frozen(parts: Parts, service: str) -> Strike:
    return Strike(f"{service} is frozen", [_docker("pause", parts.id(service))], [_docker("unpause", parts.id(service))])


def _process(name: str, pattern: str, *, youngest: bool = False, excuses: bool = False) -> Callable[[Parts, str], Strike]:
    def strike(parts: Parts, service: str) -> Strike:
        excused = frozenset({service}) if excuses else frozenset()
        return Strike(
            f"{name} of {service} is killed", [_inside(parts.id(service), signal("9", pattern, youngest=youngest))], [], excused
        )

    return strike


def _executor_hung(parts: Parts, service: str) -> Strike:
    container = parts.id(service)
    return Strike(
        f"the executor of {service} hangs",
        [_inside(container, signal("STOP", EXECUTOR))],
        [_inside(container, signal("CONT", EXECUTOR))],
    )


def _mesos_agent(parts: Parts, service: str) -> Strike:
    return Strike(f"mesos-agent of {service} is killed", [_docker("exec", parts.id(service), "s6-svc", "-k", MESOS_AGENT)])


# Clocks


_CLOCK = "/opt/eratos-clock"
_PRELOADED = f"LD_PRELOAD={_CLOCK}.so FAKETIME_TIMESTAMP_FILE={_CLOCK} FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
#: By its log: a scheduler that asks who asks answers nobody who has only its container.
_LEADS = (
    "for _ in $(seq 100); do "
    "docker logs --since $(docker inspect -f '{{.State.StartedAt}}' CONTAINER) CONTAINER 2>&1 | grep -q ' leading ' && exit 0; "
    "sleep 0.5; done; echo 'it does not lead' >&2; exit 1"
)


def _another_scheduler(parts: Parts) -> list[str]:
    return [service for service in parts.named("scheduler") if service != parts.scheduler]


def _clock_jumps(parts: Parts, service: str) -> Strike:
    """Have another scheduler lead whose clock can be moved, and move it; libfaketime does not reach into what runs already."""
    other = _another_scheduler(parts)[0]
    container = parts.id(other)
    library = shlex.join(_tool(parts.project, TOOLS, "sh", "-c", "cat /usr/lib/*/faketime/libfaketime.so.1"))
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
            _inside(container, prepare),
            _docker("restart", "-t", "2", container),
            _docker("restart", "-t", "2", parts.id(service)),
            ("sh", "-c", _LEADS.replace("CONTAINER", container)),
            _inside(container, f"echo +3600 > {_CLOCK}"),
        ],
        [_inside(container, undo), _docker("restart", "-t", "2", container)],
    )


# The network


#: What a cut is between, as "one:other" or, in one direction only, "one>other".
def _cut_pairs(parts: Parts) -> list[str]:
    agents, balancers = parts.named("agent"), parts.named("balancer")
    pairs = [(parts.scheduler, parts.master), (parts.scheduler, "zookeeper"), (parts.scheduler, "consul1")]
    pairs += [(agent, parts.master) for agent in agents[:1]]
    pairs += [(agent, "zookeeper") for agent in agents[1:2]]
    pairs += [(agent, "consul2") for agent in agents[:1]]
    pairs += [(balancer, agent) for balancer in balancers[:1] for agent in agents[:1]]
    pairs += [(balancer, "consul3") for balancer in balancers[1:]]
    pairs += [("consul1", "consul2")]
    known = [(one, other) for one, other in pairs if one in parts.containers and other in parts.containers]
    return [f"{one}{sign}{other}" for one, other in known for sign in (":", ">")] + [f"{other}>{one}" for one, other in known]


def _cut(parts: Parts, between: str) -> Strike:
    sign = ">" if ">" in between else ":"
    one, _, other = between.partition(sign)
    if not one or not other or one == other:
        raise Problem(f"{between} are no two parts", "name two, as agent1:master1, or for one direction agent1>master1")
    address, comment = parts.address(other), f"eratos-chaos-{uuid.uuid4().hex[:8]}"
    parts.address(one)
    # Each way is closed in the network of the first of the two: what does not leave, and what does not come in.
    rules = [f"OUTPUT -d {address}", f"FORWARD -d {address}"]
    if sign == ":":
        rules += [f"INPUT -s {address}", f"FORWARD -s {address}"]
    rules = [f"{rule} -m comment --comment {comment} -j DROP" for rule in rules]
    what = f"nothing comes from {one} to {other}" + (", nor back" if sign == ":" else "")
    return _tables(parts, one, what, rules)


def _lossy(parts: Parts, service: str) -> Strike:
    comment = f"eratos-chaos-{uuid.uuid4().hex[:8]}"
    # What is within the part, and the load that measures from outside, are left alone.
    rule = f"INPUT ! -i lo -m statistic --mode random --probability 0.2 -m comment --comment {comment} -j DROP"
    return _tables(parts, service, f"a fifth of all packets to {service} is lost", [rule])


def _tables(parts: Parts, service: str, what: str, rules: list[str]) -> Strike:
    container = parts.id(service)
    do = " && ".join(f"iptables -w -I {rule}" for rule in rules)
    undo = "; ".join(f"iptables -w -D {rule}" for rule in rules)
    return Strike(
        what, [_network(parts.project, container, do)], [_network(parts.project, container, undo)], _clients(service, rules)
    )


def _clients(service: str, rules: list[str]) -> frozenset[str]:
    """Return whose clients a change of the network concerns as well: a balancer's, where it is not about one address."""
    everybody = any(" -s " not in rule and " -d " not in rule for rule in rules)
    return frozenset({service}) if service.startswith("balancer") and everybody else frozenset()


def _narrow(parts: Parts, service: str) -> Strike:
    container, address = parts.id(service), parts.address(service)
    device = f"$(ip -o -4 address show | grep -F ' {address}/' | awk '{{print $2}}')"
    excused = frozenset({service}) if service.startswith("balancer") else frozenset()
    return Strike(
        f"{service} sends 512 kbit/s at most",
        [_network(parts.project, container, f"tc qdisc add dev {device} root tbf rate 512kbit burst 16kb latency 300ms")],
        [_network(parts.project, container, f"tc qdisc del dev {device} root")],
        excused,
    )


#: Late packets are no lost ones: this is a slow line to the other end of the world.
DELAY = "150ms"
#: Of compose-dev/images/chaos/main.go.
QUEUE = 4242


def _late(parts: Parts, service: str) -> Strike:
    container, name = parts.id(service), f"{parts.project}-delay-{uuid.uuid4().hex[:8]}"
    # What nobody takes from the queue passes at once: nothing is lost when the delay begins, nor when it ends in whatever way.
    rule = f"OUTPUT ! -o lo -m comment --comment {name} -j NFQUEUE --queue-num {QUEUE} --queue-bypass"
    network = ("--network", f"container:{container}", "--cap-add", "NET_ADMIN")
    return Strike(
        f"whatever {service} sends is {DELAY} late",
        [
            _tool(parts.project, "-d", "--name", name, *network, TOOLS, "delay", DELAY),
            _network(parts.project, container, f"iptables -w -I {rule}"),
        ],
        [_network(parts.project, container, f"iptables -w -D {rule}"), _docker("rm", "-f", name)],
    )


#: Where parts keep what they write.
_DISKS = {"agent": "/var/lib/mesos", "balancer": "/var/lib/eratos-balancer"}
_FULL = "/run/eratos-full"


def _full(parts: Parts, service: str) -> Strike:
    """Lay something over a part's disk that has no room: what is there can be read, and nothing can be written any more."""
    container, disk = parts.id(service), _DISKS[service.rstrip("0123456789")]
    do = (
        f"mkdir -p {_FULL} && mount -t tmpfs -o size=64k eratos-full {_FULL} && mkdir {_FULL}/upper {_FULL}/work && "
        f"chown --reference={disk} {_FULL}/upper && chmod --reference={disk} {_FULL}/upper && "
        f"mount -t overlay -o lowerdir={disk},upperdir={_FULL}/upper,workdir={_FULL}/work eratos-full {disk} && "
        f"{{ dd if=/dev/zero of={_FULL}/rest bs=1k 2>/dev/null; [ -s {_FULL}/rest ]; }}"
    )
    # Only what was laid there: below it may be a volume, which is to stay.
    undo = "; ".join(f"grep -q '^eratos-full {place} ' /proc/mounts && umount -l {place}" for place in (disk, _FULL))
    return Strike(
        f"the disk of {service} is full", [_disk(parts.project, container, do)], [_disk(parts.project, container, undo)]
    )


def _consul_lost(parts: Parts, _: str) -> Strike:
    """Have all servers lose their disks; what the agents know they bring along again."""
    ids = [parts.id(service) for service in parts.named("consul")]
    empty = "find /consul -mindepth 1 -delete"
    wipe = [_tool(parts.project, "--volumes-from", one, TOOLS, "sh", "-c", empty) for one in ids]
    start = _docker("start", *ids)
    return Strike("Consul has lost everything that it knew", [_docker("kill", *ids), *wipe], [start])


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


def _catalogue_emptied(parts: Parts, _: str) -> Strike:
    """Have Consul's servers forget all apps, which its agents do not notice before they compare."""
    service = parts.scheduler or parts.named("scheduler")[0]
    return Strike(
        "all apps' services are removed from Consul's catalogue",
        [_docker("exec", "-u", "0", parts.id(service), "python3", "-c", EMPTY_CATALOGUE)],
    )


def _unplugged(parts: Parts, service: str) -> Strike:
    container, address = parts.id(service), parts.address(service)
    excused = frozenset({service}) if service.startswith("balancer") else frozenset()
    return Strike(
        f"{service} is disconnected from the network",
        [_docker("network", "disconnect", "-f", parts.network, container)],
        [_docker("network", "connect", "--ip", address, "--alias", service, parts.network, container)],
        excused,
    )


def _replaced(_parts: Parts, _app: str) -> Strike:
    env = {**ground.ENV, "ROUND": uuid.uuid4().hex[:8]}
    return Strike(f"every instance of {ground.APP} is replaced", [], put={"env": env})


def _kind(*kinds: str) -> Callable[[Parts], list[str]]:
    return lambda parts: [service for kind in kinds for service in parts.named(kind)]


def _leader(of: str) -> Callable[[Parts], list[str]]:
    return lambda parts: [service for service in [getattr(parts, of)] if service]


def _followers(parts: Parts) -> list[str]:
    return [service for service in parts.named("consul") if service != parts.consul]


def _nothing(_container: str) -> Commands:
    return []


ALL = (
    Fault(
        "app-replaced",
        "no fault: every instance of the app is replaced, as a deployment does it; no request may fail",
        lambda parts: [ground.APP],
        _replaced,
        within_s=150,
        planned=True,
    ),
    Fault("worker-killed", "a worker is killed", _workers, _worker("killed", lambda c: [_docker("kill", c)], _nothing)),
    Fault(
        "worker-hung",
        "a worker stops in the midst of everything (SIGSTOP); its health check has to find out",
        _workers,
        _worker("hangs", lambda c: [_docker("kill", "-s", "STOP", c)], lambda c: [_docker("kill", "-s", "CONT", c)]),
        20,
    ),
    Fault(
        "worker-out-of-memory",
        "a worker uses up its memory and is ended by the kernel",
        _workers,
        _worker("out of memory", lambda c: [_inside(c, _EAT_MEMORY)], _nothing),
        ends_its_command=True,
    ),
    Fault(
        "worker-slow",
        "a worker gets a fiftieth of a core",
        _workers,
        _worker("slow", _slow, lambda c: [_docker("update", "--cpu-quota", "-1", c)]),
        20,
    ),
    Fault(
        "worker-wrong",
        "a worker answers its health check with 500",
        _workers,
        _worker(
            "unwell",
            lambda c: [_docker("exec", c, "python3", "-EsS", "-c", _HEALTH.format("PUT"))],
            lambda c: [_docker("exec", c, "python3", "-EsS", "-c", _HEALTH.format("DELETE"))],
        ),
        20,
    ),
    Fault(
        "executor-killed",
        "a host's executor is killed; its workers are swept",
        _kind("agent"),
        _process("the executor", EXECUTOR),
    ),
    Fault("executor-hung", "a host's executor hangs (SIGSTOP)", _kind("agent"), _executor_hung, 20),
    Fault("host-off", "the power of a host is cut: its agent, its Consul agent and its workers", _kind("agent"), _off, 30, 180),
    Fault(
        "mesos-agent-killed",
        "mesos-agent is killed and started again; executors and workers live on",
        _kind("agent"),
        _mesos_agent,
    ),
    Fault("consul-agent-off", "the Consul agent of a host is off", _kind("consul-agent"), _off, 10),
    Fault("consul-server-off", "a Consul server that does not lead is off", _followers, _off, 15),
    Fault("consul-leader-off", "the leading Consul server is off", _leader("consul"), _off, 15),
    Fault(
        "consul-all-off",
        "all Consul servers are off",
        lambda parts: ["consul"],
        lambda parts, _: _all_off(parts, "consul"),
        15,
        120,
    ),
    Fault(
        "consul-data-lost",
        "all Consul servers are off, lose their disks, and begin with nothing",
        # A secure one then knows nobody whom it answered before, until ./dev up says it again: that does not end by itself.
        lambda parts: [] if parts.secure else ["consul"],
        _consul_lost,
        5,
        180,
    ),
    Fault(
        "catalogue-emptied",
        "all apps' services are removed from Consul's catalogue, as a careless script does it; its agents bring them back",
        lambda parts: ["consul"],
        _catalogue_emptied,
        within_s=180,
    ),
    Fault("zookeeper-off", "ZooKeeper is off", lambda parts: ["zookeeper"], _off, 20, 120),
    Fault(
        "zookeeper-session-expired",
        "the leading scheduler is cut off from ZooKeeper for longer than its session",
        _leader("scheduler"),
        lambda parts, service: _cut(parts, f"{service}:zookeeper"),
        30,
        120,
    ),
    Fault("master-off", "the leading Mesos master is off", _leader("master"), _off, 15, 120),
    Fault("scheduler-off", "the leading scheduler is off", _leader("scheduler"), _off, 10, 120),
    Fault(
        "scheduler-frozen",
        "the leading scheduler is frozen, another one leads, and it is thawed",
        _leader("scheduler"),
        _frozen,
        30,
        120,
    ),
    Fault(
        "clock-jump",
        "another scheduler comes to lead, and its clock jumps an hour ahead, and back again",
        lambda parts: _leader("scheduler")(parts) if _another_scheduler(parts) else [],
        _clock_jumps,
        15,
        120,
    ),
    Fault("balancer-off", "a balancer is off, and its Consul agent with it", _kind("balancer"), _off, 10),
    Fault(
        "haproxy-killed",
        "the process of a balancer that serves is killed",
        _kind("balancer"),
        _process("HAProxy", "haproxy*", youngest=True, excuses=True),
    ),
    Fault("companion-killed", "the companion of a balancer is killed", _kind("balancer"), _process("the companion", COMPANION)),
    Fault(
        "consul-template-killed",
        "consul-template of a balancer is killed",
        _kind("balancer"),
        _process("consul-template", "consul-template*"),
    ),
    Fault(
        "cut", "nothing gets from one part to another (one>other), or in both directions (one:other)", _cut_pairs, _cut, 20, 150
    ),
    Fault("loss", "a fifth of the packets to a part is lost", _kind("agent", "scheduler", "master", "consul"), _lossy, 20, 150),
    Fault("bandwidth", "a part sends 512 kbit/s at most", _kind("agent", "scheduler", "master", "consul"), _narrow, 20, 150),
    Fault(
        "delay",
        f"whatever a part sends is {DELAY} late",
        _kind("agent", "balancer", "scheduler", "master", "consul"),
        _late,
        20,
        150,
    ),
    Fault("disk-full", "the disk of a host or of a balancer is full", _kind(*_DISKS), _full, 20, 150),
    Fault(
        "network-disconnected",
        "docker network disconnect: a part has no cable",
        _kind("agent", "balancer", "scheduler", "master", "consul"),
        _unplugged,
        15,
        180,
    ),
)

BY_NAME = {fault.name: fault for fault in ALL}


def named(name: str) -> Fault:
    """Return a fault. Raise Problem where there is none of this name."""
    if name not in BY_NAME:
        raise Problem(f"there is no fault {name}", f"choose one of {', '.join(BY_NAME)}")
    return BY_NAME[name]


def choose(fault: Fault, parts: Parts, part: str, chance: random.Random) -> str:
    """Return what a fault is to strike: the part that was asked for, else one of its candidates by chance.

    Raise Problem for a part that it cannot strike, and where there is nothing to strike now.
    """
    candidates = fault.candidates(parts)
    if part:
        if fault.name != "cut" and part not in candidates:
            raise Problem(f"{fault.name} cannot strike {part}", f"choose one of {', '.join(candidates) or 'nothing, right now'}")
        return part
    if not candidates:
        raise Problem(f"{fault.name} finds nothing to strike", "./dev status shows what is missing")
    return chance.choice(candidates)
