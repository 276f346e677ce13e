"""Faults of the network between parts: cut, lossy, narrow, late, unplugged."""

from __future__ import annotations

import uuid

from ..settings import FAR_CONSUL, REGIONS, region
from ..terminal import Problem
from .parts import Parts
from .strike import TOOLS, Strike, docker, network, tool


#: What a cut is between, as "one:other" or, in one direction only, "one>other".
def cut_pairs(parts: Parts) -> list[str]:
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


def cut(parts: Parts, between: str) -> Strike:
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


def links(parts: Parts) -> list[str]:
    """Return what is between regions, as "one:other"; nothing on a cluster without."""
    return [":".join(REGIONS)] if FAR_CONSUL in parts.containers else []


def link_cut(parts: Parts, _between: str) -> Strike:
    return _on_link(parts, "is cut", "")


#: So much passes in a second, each way, to and from each part of the second region.
LINK_KB_S = 32


def link_narrow(parts: Parts, _between: str) -> Strike:
    # By dropping what is too much: a queue of its own for some addresses takes more of the kernel than every one has.
    limit = f"-m hashlimit --hashlimit-above {LINK_KB_S}kb/s --hashlimit-burst {LINK_KB_S}kb --hashlimit-name"
    return _on_link(parts, f"lets {LINK_KB_S} kB/s pass each way to each part of {REGIONS[1]}", limit)


def _on_link(parts: Parts, what: str, limit: str) -> Strike:
    """Change what passes between the regions, in the networks of the second one's parts; the load comes from elsewhere."""
    name = f"eratos-chaos-{uuid.uuid4().hex[:8]}"
    with_network = [service for service, container in parts.containers.items() if parts.network in container.networks]
    there = ",".join(parts.address(service) for service in with_network if region(service) == REGIONS[0])
    rules = [
        f"{chain} {way} {there}{f' {limit} link{way}' if limit else ''} -m comment --comment {name} -j DROP"
        for way, chains in (("-d", ("OUTPUT", "FORWARD")), ("-s", ("INPUT", "FORWARD")))
        for chain in chains
    ]
    made = [_tables(parts, service, "", rules) for service in with_network if region(service) == REGIONS[1]]
    return Strike(
        f"the link between {' and '.join(REGIONS)} {what}",
        [command for one in made for command in one.do],
        [command for one in made for command in one.undo],
    )


def lossy(parts: Parts, service: str) -> Strike:
    comment = f"eratos-chaos-{uuid.uuid4().hex[:8]}"
    # What is within the part, and the load that measures from outside, are left alone.
    rule = f"INPUT ! -i lo -m statistic --mode random --probability 0.2 -m comment --comment {comment} -j DROP"
    return _tables(parts, service, f"a fifth of all packets to {service} is lost", [rule])


#: Has the shell take the older of the two kinds of tables where the kernel knows no other.
OR_LEGACY = 'iptables -S >/dev/null 2>&1 || iptables() { iptables-legacy "$@"; }; '


def _tables(parts: Parts, service: str, what: str, rules: list[str]) -> Strike:
    container = parts.id(service)
    do = OR_LEGACY + " && ".join(f"iptables -w -I {rule}" for rule in rules)
    undo = OR_LEGACY + "; ".join(f"iptables -w -D {rule}" for rule in rules)
    return Strike(
        what, [network(parts.project, container, do)], [network(parts.project, container, undo)], _clients(service, rules)
    )


def _clients(service: str, rules: list[str]) -> frozenset[str]:
    """Return whose clients a change of the network concerns as well: a balancer's, where it is not about one address."""
    everybody = any(" -s " not in rule and " -d " not in rule for rule in rules)
    return frozenset({service}) if service.startswith("balancer") and everybody else frozenset()


def narrow(parts: Parts, service: str) -> Strike:
    container, address = parts.id(service), parts.address(service)
    device = f"$(ip -o -4 address show | grep -F ' {address}/' | awk '{{print $2}}')"
    excused = frozenset({service}) if service.startswith("balancer") else frozenset()
    return Strike(
        f"{service} sends 512 kbit/s at most",
        [network(parts.project, container, f"tc qdisc add dev {device} root tbf rate 512kbit burst 16kb latency 300ms")],
        [network(parts.project, container, f"tc qdisc del dev {device} root")],
        excused,
    )


#: Late packets are no lost ones: this is a slow line to the other end of the world.
DELAY = "150ms"
#: Of compose-dev/images/chaos/main.go.
QUEUE = 4242


def late(parts: Parts, service: str) -> Strike:
    container, name = parts.id(service), f"{parts.project}-delay-{uuid.uuid4().hex[:8]}"
    # What nobody takes from the queue passes at once: nothing is lost when the delay begins, nor when it ends in whatever way.
    rule = f"OUTPUT ! -o lo -m comment --comment {name} -j NFQUEUE --queue-num {QUEUE} --queue-bypass"
    joined = ("--network", f"container:{container}", "--cap-add", "NET_ADMIN")
    return Strike(
        f"whatever {service} sends is {DELAY} late",
        [
            tool(parts.project, "-d", "--name", name, *joined, TOOLS, "delay", DELAY),
            network(parts.project, container, f"{OR_LEGACY}iptables -w -I {rule}"),
        ],
        [network(parts.project, container, f"{OR_LEGACY}iptables -w -D {rule}"), docker("rm", "-f", name)],
    )


def unplugged(parts: Parts, service: str) -> Strike:
    container, address = parts.id(service), parts.address(service)
    excused = frozenset({service}) if service.startswith("balancer") else frozenset()
    return Strike(
        f"{service} is disconnected from the network",
        [docker("network", "disconnect", "-f", parts.network, container)],
        [docker("network", "connect", "--ip", address, "--alias", service, parts.network, container)],
        excused,
    )
