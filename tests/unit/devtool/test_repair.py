"""./dev up: what is done with containers that `docker compose up` would leave as they are or fail over."""

from __future__ import annotations

import pytest
from devtool.cluster import Attachment, Container
from devtool.repair import diagnose, fixed_addresses, raise_with_fix
from devtool.shell import CommandFailed
from devtool.terminal import Problem

NETWORK, ID = "eratos_default", "n1"
ADDRESSES = {"agent1": "10.0.7.101", "master1": "10.0.7.11"}
HERE, ELSEWHERE, OLD, NOWHERE = (Attachment(i, a) for i, a in ((ID, "10.0.7.101"), (ID, "10.0.7.193"), ("n0", ""), (ID, "")))


def host(state: str = "running", attached: Attachment | None = HERE, **others: Attachment) -> Container:
    networks = {**({NETWORK: attached} if attached else {}), **others}
    return Container("eratos-agent1-1", "agent1", state, "", 0, "", 0, "h1", NETWORK, networks)


def beside(state: str = "running", host_id: str = "h1") -> Container:
    return Container("eratos-consul-agent1-1", "consul-agent1", state, "", 0, "", 0, "c1", f"container:{host_id}")


def remedies(*found: Container, network_id: str = ID) -> list[tuple[str, str]]:
    return [(remedy.kind, remedy.container.service) for remedy in diagnose(list(found), ADDRESSES, NETWORK, network_id)]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (host(), []),
        (host(other=Attachment("n7", "10.9.9.9")), []),
        (host(attached=None), [("reattach", "agent1")]),
        (host(attached=ELSEWHERE), [("reattach", "agent1")]),
        (host(attached=OLD), [("reattach", "agent1")]),
        (host("paused"), [("unpause", "agent1")]),
        (host("paused", None), [("unpause", "agent1"), ("reattach", "agent1")]),
        (host("restarting", NOWHERE), [("restart", "agent1")]),
        (host("exited", NOWHERE), []),
        (host("created", NOWHERE), []),
        (host("created", Attachment("", "")), []),
        (host("exited", None), [("remove", "agent1")]),
        (host("exited", OLD), [("remove", "agent1")]),
        (host("restarting", OLD), [("remove", "agent1")]),
        (host("dead", None), [("remove", "agent1")]),
        (host("removing"), [("remove", "agent1")]),
    ],
    ids=lambda value: f"{value.state}-{value.networks.get(NETWORK)}" if isinstance(value, Container) else None,
)
def test_each_state_of_a_part_has_its_remedy(found: Container, wanted: list[tuple[str, str]]) -> None:
    assert remedies(found, beside()) == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([host(), beside()], []),
        ([host(), beside("exited")], []),
        ([host(), beside("paused")], [("unpause", "consul-agent1")]),
        ([host(), beside("restarting")], [("restart", "consul-agent1")]),
        ([host(), beside(host_id="h0")], [("remove", "consul-agent1")]),
        ([beside()], [("remove", "consul-agent1")]),
        # It goes with its host, whichever of them is listed first.
        ([beside(host_id="h0"), host("dead")], [("remove", "agent1")]),
    ],
)
def test_a_consul_agent_follows_its_host(found: list[Container], wanted: list[tuple[str, str]]) -> None:
    assert remedies(*found) == wanted


def test_without_their_network_all_parts_are_made_anew() -> None:
    master = Container("eratos-master1-1", "master1", "running", "", 0, "", 0, "m1", NETWORK)
    assert remedies(host(attached=None), beside(), master, network_id="") == [("remove", "agent1"), ("remove", "master1")]


def test_fixed_addresses_are_those_of_the_compose_file() -> None:
    part = {"networks": {"default": {"ipv4_address": "10.0.7.101"}}}
    services = {"agent1": part, "consul-agent1": {"network_mode": "service:agent1"}, "prime": {"networks": {"default": None}}}
    assert fixed_addresses({"services": services}) == {"agent1": "10.0.7.101"}


@pytest.mark.parametrize(
    ("output", "fix"),
    [
        (
            'Error response from daemon: Conflict. The container name "/eratos-agent1-1" is already in use by container "abc".',
            "docker rm -f eratos-agent1-1",
        ),
        ("Bind for 127.0.0.1:8501 failed: port is already allocated", "move the port"),
        ("write /var/lib/docker/tmp: no space left on device", "disk space"),
    ],
)
def test_what_no_new_container_puts_right_is_told_with_a_fix(output: str, fix: str) -> None:
    with pytest.raises(Problem) as caught:
        raise_with_fix(CommandFailed(["docker", "compose", "up"], "failed", output))
    assert fix in caught.value.fix


def test_any_other_failure_is_left_to_new_containers() -> None:
    raise_with_fix(CommandFailed(["docker", "compose", "up"], "failed", "network 123 not found"))
