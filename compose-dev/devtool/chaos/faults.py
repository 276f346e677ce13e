"""The faults: what each breaks, for how long, and when all has to be well again.

A fault knows its parts by name and finds who leads when it strikes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..settings import FAR_CONSUL
from ..terminal import Problem
from . import ground, network_strikes, part_strikes
from .parts import Parts
from .strike import Fault, Strike, docker, inside

if TYPE_CHECKING:
    from .strike import Commands


def _replaced(_parts: Parts, _app: str) -> Strike:
    env = {**ground.ENV, "ROUND": uuid.uuid4().hex[:8]}
    return Strike(f"every instance of {ground.APP} is replaced", [], put={"env": env})


def _kind(*kinds: str) -> Callable[[Parts], list[str]]:
    return lambda parts: [service for kind in kinds for service in parts.named(kind)]


def _leader(of: str) -> Callable[[Parts], list[str]]:
    return lambda parts: [service for service in [getattr(parts, of)] if service]


def _followers(parts: Parts) -> list[str]:
    # The only server of another data center leads there.
    return [service for service in parts.named("consul") if service not in (parts.consul, FAR_CONSUL)]


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
    Fault(
        "worker-killed",
        "a worker is killed",
        part_strikes.workers,
        part_strikes.worker("killed", lambda c: [docker("kill", c)], _nothing),
    ),
    Fault(
        "worker-hung",
        "a worker stops in the midst of everything (SIGSTOP); its health check has to find out",
        part_strikes.workers,
        part_strikes.worker("hangs", lambda c: [docker("kill", "-s", "STOP", c)], lambda c: [docker("kill", "-s", "CONT", c)]),
        20,
    ),
    Fault(
        "worker-out-of-memory",
        "a worker uses up its memory and is ended by the kernel",
        part_strikes.workers,
        part_strikes.worker("out of memory", lambda c: [inside(c, part_strikes.EAT_MEMORY)], _nothing),
        ends_its_command=True,
    ),
    Fault(
        "worker-slow",
        "a worker gets a fiftieth of a core",
        part_strikes.workers,
        part_strikes.worker("slow", part_strikes.slow, lambda c: [docker("update", "--cpu-quota", "-1", c)]),
        20,
    ),
    Fault(
        "worker-wrong",
        "a worker answers its health check with 500",
        part_strikes.workers,
        part_strikes.worker(
            "unwell",
            lambda c: [docker("exec", c, "python3", "-EsS", "-c", part_strikes.HEALTH.format("PUT"))],
            lambda c: [docker("exec", c, "python3", "-EsS", "-c", part_strikes.HEALTH.format("DELETE"))],
        ),
        20,
    ),
    Fault(
        "executor-killed",
        "a host's executor is killed; its workers are swept",
        _kind("agent"),
        part_strikes.process("the executor", part_strikes.EXECUTOR),
    ),
    Fault("executor-hung", "a host's executor hangs (SIGSTOP)", _kind("agent"), part_strikes.executor_hung, 20),
    Fault(
        "host-off",
        "the power of a host is cut: its agent, its Consul agent and its workers",
        _kind("agent"),
        part_strikes.off,
        30,
        180,
    ),
    Fault(
        "mesos-agent-killed",
        "mesos-agent is killed and started again; executors and workers live on",
        _kind("agent"),
        part_strikes.mesos_agent,
    ),
    Fault("consul-agent-off", "the Consul agent of a host is off", _kind("consul-agent"), part_strikes.off, 10),
    Fault("consul-server-off", "a Consul server that does not lead is off", _followers, part_strikes.off, 15),
    Fault("consul-leader-off", "the leading Consul server is off", _leader("consul"), part_strikes.off, 15),
    Fault(
        "consul-all-off",
        "all Consul servers are off",
        lambda parts: ["consul"],
        lambda parts, _: part_strikes.all_off(parts, "consul"),
        15,
        120,
    ),
    Fault(
        "consul-data-lost",
        "all Consul servers are off, lose their disks, and begin with nothing",
        # A secure one then knows nobody whom it answered before, until ./dev up says it again: that does not end by itself.
        lambda parts: [] if parts.secure else ["consul"],
        part_strikes.consul_lost,
        5,
        180,
    ),
    Fault(
        "catalogue-emptied",
        "all apps' services are removed from Consul's catalogue, as a careless script does it; its agents bring them back",
        lambda parts: ["consul"],
        part_strikes.catalogue_emptied,
        within_s=180,
    ),
    Fault("zookeeper-off", "ZooKeeper is off", lambda parts: ["zookeeper"], part_strikes.off, 20, 120),
    Fault(
        "zookeeper-session-expired",
        "the leading scheduler is cut off from ZooKeeper for longer than its session",
        _leader("scheduler"),
        lambda parts, service: network_strikes.cut(parts, f"{service}:zookeeper"),
        30,
        120,
    ),
    Fault("master-off", "the leading Mesos master is off", _leader("master"), part_strikes.off, 15, 120),
    Fault("scheduler-off", "the leading scheduler is off", _leader("scheduler"), part_strikes.off, 10, 120),
    Fault(
        "scheduler-frozen",
        "the leading scheduler is frozen, another one leads, and it is thawed",
        _leader("scheduler"),
        part_strikes.frozen,
        30,
        120,
    ),
    Fault(
        "clock-jump",
        "another scheduler comes to lead, and its clock jumps an hour ahead, and back again",
        lambda parts: _leader("scheduler")(parts) if part_strikes.another_scheduler(parts) else [],
        part_strikes.clock_jumps,
        15,
        120,
    ),
    Fault("balancer-off", "a balancer is off, and its Consul agent with it", _kind("balancer"), part_strikes.off, 10),
    Fault(
        "haproxy-killed",
        "the process of a balancer that serves is killed",
        _kind("balancer"),
        part_strikes.process("HAProxy", "haproxy*", youngest=True, excuses=True),
    ),
    Fault(
        "companion-killed",
        "the companion of a balancer is killed",
        _kind("balancer"),
        part_strikes.process("the companion", part_strikes.COMPANION),
    ),
    Fault(
        "consul-template-killed",
        "consul-template of a balancer is killed",
        _kind("balancer"),
        part_strikes.process("consul-template", "consul-template*"),
    ),
    Fault(
        "cut",
        "nothing gets from one part to another (one>other), or in both directions (one:other)",
        network_strikes.cut_pairs,
        network_strikes.cut,
        20,
        150,
    ),
    Fault(
        "loss",
        "a fifth of the packets to a part is lost",
        _kind("agent", "scheduler", "master", "consul"),
        network_strikes.lossy,
        20,
        150,
    ),
    Fault(
        "bandwidth",
        "a part sends 512 kbit/s at most",
        _kind("agent", "scheduler", "master", "consul"),
        network_strikes.narrow,
        20,
        150,
    ),
    Fault(
        "delay",
        f"whatever a part sends is {network_strikes.DELAY} late",
        _kind("agent", "balancer", "scheduler", "master", "consul"),
        network_strikes.late,
        20,
        150,
    ),
    Fault(
        "link-cut",
        "nothing gets from one region to the other (./dev up --regions 2); both go on serving",
        network_strikes.links,
        network_strikes.link_cut,
        60,
        150,
        by_name=True,
    ),
    Fault(
        "link-narrow",
        f"the link between the regions is narrow: {network_strikes.LINK_KB_S} kB/s each way for each part of the second one",
        network_strikes.links,
        network_strikes.link_narrow,
        60,
        150,
        by_name=True,
    ),
    Fault("disk-full", "the disk of a host or of a balancer is full", _kind(*part_strikes.DISKS), part_strikes.full, 20, 150),
    Fault(
        "network-disconnected",
        "docker network disconnect: a part has no cable",
        _kind("agent", "balancer", "scheduler", "master", "consul"),
        network_strikes.unplugged,
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
