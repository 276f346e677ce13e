"""What fits on a host, which ports it gets, and which host is the next choice: tables of each."""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import an_app

from eratos.common.resources import PortRanges, Resources
from eratos.scheduler.core import placement
from eratos.scheduler.core.constraints import Constraints
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.launches import Trouble
from eratos.scheduler.core.mesos_types import Agent, Offer, TaskState, Window
from eratos.scheduler.core.placement import Candidates, Host, choose_ports, next_port, place_instances, refuse
from eratos.scheduler.core.reasons import Reason

NOW = 1000.0


def a_host(agent: str = "a1", ports: str = "31000-31009", **fields: Any) -> Host:
    ranges = [tuple(map(int, part.split("-"))) for part in ports.split()]
    fixed: dict[str, Any] = {"cpus_m": 1000, "mem_mib": 1024, "disk_mib": 1000, "gpus": 0}
    fixed |= {"used": True, "first_port": 0, "window": None}
    found = PortRanges(ranges)  # type: ignore[arg-type]
    return Host(Agent(agent, f"host-{agent}"), ports=found, offer_ids=("o1",), **(fixed | fields))


def with_ports(*ports: int, **fields: Any) -> Any:
    definitions = [{"port": port, "protocol": "tcp", "name": f"p{index}"} for index, port in enumerate(ports)]
    return an_app(portDefinitions=definitions, requirePorts=any(ports), **fields)


@pytest.mark.parametrize(
    ("asked", "offered", "first_port", "chosen"),
    [
        ((), "31000-31009", 0, ()),
        ((0,), "31000-31009", 0, (31000,)),
        ((0, 0, 0), "31000-31009", 0, (31000, 31001, 31002)),
        ((0, 0), "31000-31000 31005-31009", 0, (31000, 31005)),
        ((0,), "31000-31009", 31004, (31004,)),  # a port that was just freed is not the next one taken
        ((0, 0, 0), "31000-31009", 31008, (31008, 31009, 31000)),  # on from the lowest at the top
        ((0,), "31000-31009", 32000, (31000,)),
        ((0, 0), "31000-31002", 31002, (31002, 31000)),
        ((0, 0), "31000-31000", 0, None),
        ((31005,), "31000-31009", 0, (31005,)),
        ((31005,), "31000-31004", 0, None),
        ((0, 31000, 0), "31000-31009", 0, (31001, 31000, 31002)),  # what is asked for by number is no dynamic one
        ((0, 31009), "31000-31009", 31009, (31000, 31009)),
        ((31000, 0), "31000-31001", 0, (31000, 31001)),
        ((31000, 0), "31000-31000", 0, None),
    ],
)
def test_ports_are_chosen(asked: tuple[int, ...], offered: str, first_port: int, chosen: tuple[int, ...] | None) -> None:
    assert choose_ports(with_ports(*asked), a_host(ports=offered, first_port=first_port)) == chosen


@pytest.mark.parametrize(
    ("asked", "given", "first"),
    [
        ((), (), 7),
        ((0,), (31000,), 31001),
        ((0, 0), (31009, 31000), 31001),  # on from the lowest
        ((31005,), (31005,), 7),
        ((0, 31005), (31000, 31005), 31001),
        ((31005, 0), (31005, 31000), 31001),
    ],
)
def test_the_next_dynamic_port_follows_the_last_one(asked: tuple[int, ...], given: tuple[int, ...], first: int) -> None:
    assert next_port(with_ports(*asked), given, 7) == first


@pytest.mark.parametrize(
    ("app", "host", "reason"),
    [
        ({}, {}, None),
        ({"cpus": 1}, {}, None),  # all that there is, is enough
        ({"cpus": 1.001}, {}, "cpus: 1.001 wanted, 1 free on host-a1"),
        ({"mem": 1024}, {}, None),
        ({"mem": 1025}, {}, "mem: 1025 wanted, 1024 free on host-a1"),
        ({"disk": 1000}, {}, None),
        ({"disk": 1001}, {}, "disk: 1001 wanted, 1000 free on host-a1"),
        ({"gpus": 1}, {"gpus": 1}, None),
        ({"gpus": 2}, {"gpus": 1}, "gpus: 2 wanted, 1 free on host-a1"),
        ({"cpus": 2, "mem": 9999}, {}, "cpus: 2 wanted, 1 free on host-a1"),  # the first in the funnel
        ({}, {"cpus_m": -100}, "cpus: 0.1 wanted, 0 free on host-a1"),
        ({}, {"window": Window(NOW + 301)}, None),
        ({}, {"window": Window(NOW + 300)}, "maintenance of host-a1 begins in 300 s"),
        ({}, {"window": Window(NOW)}, "maintenance of host-a1 is under way"),
        ({}, {"window": Window(NOW - 10, NOW + 0.1)}, "maintenance of host-a1 is under way"),
        ({}, {"window": Window(NOW - 10, NOW)}, None),  # it is over
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(app: dict[str, Any], host: dict[str, Any], reason: str | None) -> None:
    found = an_app(**app)
    refusal = refuse(found, a_host(**host), Constraints(found, ()), NOW, lead_s=300.0)
    assert (refusal and refusal.detail) == reason


def test_a_host_is_open_until_its_maintenance_begins_where_nobody_says_how_long_before_it_closes() -> None:
    app, window = an_app(), Window(NOW + 0.5)
    assert refuse(app, a_host(window=window), Constraints(app, ()), NOW) is None
    assert place_instances(app, 1, candidates(offer("a", window=window)), (), NOW)[0]


@pytest.mark.parametrize(
    ("asked", "offered", "reason"),
    [
        ((0, 0), "31000-31001", None),
        ((0, 0), "31000-31000", "ports: 2 wanted, 1 free on host-a1"),
        ((31005,), "31000-31004 31006-31009", "ports: 31005 not free on host-a1"),
        ((31000, 31005), "31001-31004 31006-31009", "ports: 31000, 31005 not free on host-a1"),
        ((31000,), "31000-31004", None),
        ((30999,), "31000-31009", "ports: 30999 not among those that host-a1 offers, 31000 to 31009: "),
        ((31010,), "31000-31009", "ports: 31010 not among those that host-a1 offers, 31000 to 31009: "),
        ((31009,), "31000-31008", "ports: 31009 not among those that host-a1 offers, 31000 to 31008: "),
        ((31000,), "", "ports: 31000 not free on host-a1"),
    ],
)
def test_ports_that_are_not_there_are_named(asked: tuple[int, ...], offered: str, reason: str | None) -> None:
    app = with_ports(*asked)
    refusal = refuse(app, a_host(ports=offered), Constraints(app, ()), NOW)
    assert refusal is None if reason is None else refusal is not None and refusal.detail.startswith(reason)


@pytest.mark.parametrize(
    ("accepts", "free", "ports"),
    [
        ("", (1000, 1024, 1000, 3), (31000, 31009)),
        ("reserved", (400, 100, 10, 2), (31000, 31004)),
        ("unreserved", (600, 924, 990, 1), (31005, 31009)),
    ],
)
def test_what_is_free_of_the_resources_that_an_app_accepts(accepts: str, free: tuple[int, ...], ports: tuple[int, int]) -> None:
    kept = PortRanges([(31000, 31004)])
    found = a_host(gpus=3, reserved=Resources(400, 100, 10, 2), reserved_ports=kept).of(accepts)
    assert (found.cpus_m, found.mem_mib, found.disk_mib, found.gpus) == free
    assert found.ports == PortRanges([ports])


@pytest.mark.parametrize(("accepts", "left", "reserved"), [("", 700, 100), ("reserved", 700, 100), ("unreserved", 700, 400)])
def test_what_is_reserved_goes_first(accepts: str, left: int, reserved: int) -> None:
    host = a_host(reserved=Resources(400, 0, 0, 0), used=False)
    host.take(Resources(300, 24, 1, 0), (31002, 31004), size=10, accepts=accepts)
    assert (host.cpus_m, host.mem_mib, host.disk_mib, host.reserved.cpus_m) == (left, 1000, 999, reserved)
    assert host.used and host.bytes_left == placement.HOST_BYTES - 10
    assert 31002 not in host.ports and 31004 not in host.ports


def candidates(*offers: Offer, **fields: Any) -> Candidates:
    groups: dict[str, tuple[Offer, ...]] = {}
    for offer in offers:
        groups[offer.agent_id] = (*groups.get(offer.agent_id, ()), offer)

    def agent(offer: Offer) -> Agent:
        return Agent(offer.agent_id, offer.hostname, offer.region, offer.zone)

    return Candidates(groups, agent, "executor", Resources(100, 64), **fields)


def offer(agent: str, cpus_m: int = 1000, zone: str = "", **fields: Any) -> Offer:
    fixed: dict[str, Any] = {"executor_ids": frozenset(["executor"]), "ports": PortRanges([(31000, 31099)])}
    resources = Resources(cpus_m, 1024, 1000, fields.pop("gpus", 0))
    return Offer(f"o-{agent}", agent, agent, resources, zone=zone, **(fixed | fields))


def test_a_port_that_an_app_names_brings_no_dynamic_one_back() -> None:
    """Both are launched again as soon as they have ended: whatever is left of them still has their ports."""
    found = candidates(offer("a", ports=PortRanges([(31000, 31009)])))
    dynamic = []
    for _ in range(3):
        for app in (with_ports(31005), with_ports(0)):
            ((placed,), _) = place_instances(app, 1, found, (), NOW)
            placed.host.ports = PortRanges([(31000, 31009)])
        dynamic += placed.ports
    assert dynamic == [31000, 31001, 31002]


@pytest.mark.parametrize(
    ("offers", "options", "chosen"),
    [
        ([offer("a"), offer("b", 2000)], {}, ["b", "a", "b"]),  # the most free first, then the one with fewer
        ([offer("a"), offer("b", 900)], {"pack": True}, ["b", "b", "b"]),  # the least left first
        ([offer("a", executor_ids=frozenset()), offer("b", 2000)], {"pack": True}, ["b", "b", "b"]),
        ([offer("a", 4000, "z1"), offer("b", 3000, "z1"), offer("c", 1000, "z2")], {}, ["a", "c", "b"]),
        ([offer("a", 4000), offer("b")], {"failed": {"a": 1}}, ["b", "b", "b"]),  # a start failed there
        ([offer("a", 4000), offer("b")], {"failed": {"a": 1, "b": 2}}, ["a", "a", "a"]),
        ([offer("a", 4000, window=Window(9e9)), offer("b")], {}, ["b", "b", "b"]),
        ([offer("a", 4000, window=Window(9e9)), offer("b")], {"failed": {"b": 1}}, ["a", "a", "a"]),
        ([offer("a", 4000, gpus=1), offer("b")], {}, ["b", "b", "b"]),
        # a failed start weighs as much as both of these
        ([offer("a", 4000), offer("b", window=Window(9e9), gpus=1)], {"failed": {"a": 1}}, ["a", "b", "a"]),
        ([offer("a", 200), offer("b", 200)], {}, ["a", "b", "a"]),  # equal ones by name
        ([offer("a", 150)], {}, ["a"]),
        ([offer("a", 250, executor_ids=frozenset())], {}, ["a"]),  # the executor takes its share first
    ],
)
def test_the_best_host_comes_first(offers: list[Offer], options: dict[str, Any], chosen: list[str]) -> None:
    placed, refusals = place_instances(an_app(), 3, candidates(*offers), (), NOW, **options)
    assert [place.host.agent.agent_id for place in placed] == chosen
    assert bool(refusals) == (len(chosen) < 3)


def test_two_offers_of_one_agent_are_one_host() -> None:
    [placed], _ = place_instances(an_app(cpus=1.5), 1, candidates(offer("a"), offer("a")), (), NOW)
    assert placed.host.cpus_m == 500 and placed.host.offer_ids == ("o-a", "o-a")


def test_what_one_offer_of_an_agent_says_holds_for_all_of_them() -> None:
    window = Window(9e9)
    [host] = candidates(offer("a", executor_ids=frozenset()), offer("a", window=window)).look(mixed=False)
    assert host.used and host.window is window and host.cpus_m == 2000
    [host] = candidates(offer("a", window=window), offer("a", executor_ids=frozenset())).look(mixed=False)
    assert host.used and host.window is window and host.cpus_m == 2000
    [host] = candidates(*(offer("a", executor_ids=frozenset()) for _ in range(2))).look(mixed=False)
    assert not host.used and host.window is None and host.cpus_m == 1900  # less what the executor will take, once


def test_what_is_reserved_is_known_of_a_host() -> None:
    kept: dict[str, Any] = {"reserved": Resources(400, 512, 500), "reserved_ports": PortRanges([(31000, 31001)])}
    app = an_app(cpus=0.3, acceptedResourceRoles=["web"])
    [host] = candidates(offer("a", **kept), offer("a", **kept)).look(mixed=False)
    assert (host.reserved, host.reserved_ports) == (Resources(800, 1024, 1000), kept["reserved_ports"])
    assert app.accepts == "reserved"
    placed, refusals = place_instances(app, 3, candidates(offer("a", **kept), offer("a", **kept)), (), NOW)
    assert len(placed) == 2 and refusals["a"].reason is Reason.CPUS


def an_instance(agent: str, zone: str = "", version: str = "v1") -> Instance:
    return Instance(f"i-{agent}", "/prime", version, state=TaskState.RUNNING, agent=Agent(agent, agent, zone=zone))


@pytest.mark.parametrize(
    ("offers", "existing", "chosen"),
    [
        # what is there counts as much as what is placed
        ([offer("a", 1000, "z1"), offer("b", 1000, "z2")], [an_instance("x", "z1")] * 2, ["b", "b", "a"]),
        ([offer("a", 4000), offer("b")], [an_instance("a")] * 2, ["b", "b", "a"]),
    ],
)
def test_instances_that_are_there_are_spread_away_from(offers: list[Offer], existing: list[Instance], chosen: list[str]) -> None:
    placed, _ = place_instances(an_app(), 3, candidates(*offers), existing, NOW)
    assert [place.host.agent.agent_id for place in placed] == chosen


@pytest.mark.parametrize(("version", "placed"), [("v1", False), ("v0", True)])
def test_instances_of_the_version_before_stand_in_the_way_of_no_constraint(version: str, placed: bool) -> None:
    app = an_app(constraints=[["@hostname", "UNIQUE"]]).with_version("v1")
    found, _ = place_instances(app, 1, candidates(offer("a")), [an_instance("a", version=version)], NOW)
    assert bool(found) == placed


def test_a_constraint_that_a_placement_loosens_is_looked_at_again() -> None:
    app = an_app(constraints=[["@hostname", "GROUP_BY", "2"]])
    placed, _ = place_instances(app, 4, candidates(offer("a"), offer("b")), (), NOW)
    assert sorted(place.host.agent.agent_id for place in placed) == ["a", "a", "b", "b"]
    # Also where all that are left were held back for it; and not while another will do.
    placed, _ = place_instances(app, 4, candidates(offer("a", 4000), offer("b", 150)), (), NOW)
    assert [place.host.agent.agent_id for place in placed] == ["a", "b", "a"]
    placed, _ = place_instances(app, 4, candidates(offer("a", 500), offer("b")), (), NOW, pack=True)
    assert [place.host.agent.agent_id for place in placed] == ["a", "b", "b", "a"]


def test_looks_of_one_pass_are_bounded() -> None:
    found = candidates(*(offer(f"a{number}") for number in range(10)), looks_left=4)
    placed, _ = place_instances(an_app(cpus=1), 10, found, (), NOW)
    assert len(placed) == 4 and found.looks_left == 0


@pytest.mark.parametrize(("count", "found"), [(1, 64), (32, 64), (40, 80)])
@pytest.mark.parametrize("pack", [False, True])
def test_no_more_hosts_are_looked_at_than_are_to_choose_from(count: int, found: int, pack: bool) -> None:
    among = candidates(*(offer(f"a{number:03}") for number in range(200)))
    place_instances(an_app(), count, among, (), NOW, pack=pack)
    assert placement.LOOKS_MOST - among.looks_left == found


def test_hosts_that_will_not_do_are_none_to_choose_from() -> None:
    app = an_app()
    among = candidates(*(offer(f"a{number:03}", 50 if number < 10 else 1000) for number in range(200)))
    among._hosts[10] = a_host(bytes_left=app.launch_bytes - 1)
    [placed], _ = place_instances(app, 1, among, (), NOW, pack=True)
    assert placement.LOOKS_MOST - among.looks_left == 11 + 64
    assert placed.host.agent.agent_id == "a011"


def test_instances_are_packed_onto_the_first_hosts_and_spread_over_all() -> None:
    zones = [offer(f"a{999 - number}", zone="z1" if number < 100 else "z2") for number in range(200)]
    [placed], _ = place_instances(an_app(), 1, candidates(*zones), (), NOW, pack=True)
    assert placed.host.agent.agent_id == "a936"  # the last of those that were looked at, by its name
    two, _ = place_instances(an_app(), 2, candidates(*zones), (), NOW)
    assert {place.host.agent.zone for place in two} == {"z1", "z2"}


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (3, 2), (10, 7), (100, 63), (1000, 619)])
def test_mixed_hosts_are_visited_each_once_and_neighbours_far_apart(size: int, stride: int) -> None:
    assert placement._stride(size) == stride
    looked = [host.agent.agent_id for host in candidates(*(offer(f"a{number}") for number in range(size))).look(mixed=True)]
    assert len(set(looked)) == size


def test_an_agent_gets_so_many_bytes_of_instructions_in_one_pass() -> None:
    app = an_app()
    host = a_host(bytes_left=2 * app.launch_bytes)
    found = candidates(offer("a"))
    found._hosts[0] = host
    placed, refusals = place_instances(app, 3, found, (), NOW)
    assert len(placed) == 2 and not refusals


def test_a_host_that_is_left_alone_says_until_when_and_for_whom() -> None:
    trouble = Trouble(until=NOW + 30, against=("/a", "/b", "/c", "/d"))
    _, refusals = place_instances(an_app(), 1, candidates(offer("h"), left_alone={"h": trouble}), (), NOW)
    expected = "h is left alone and tried again in 30 s: starts of /a, /b, /c and others failed there and nowhere else"
    assert refusals["h"].detail == expected


def test_hosts_that_group_by_counts_alike_are_not_looked_at_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each instance closes half of the hosts here and opens the other half; in front are always those that are closed."""
    looks = 0
    violated = Constraints.violated

    def counted(limits: Constraints, agent: Agent) -> Any:
        nonlocal looks
        looks += 1
        return violated(limits, agent)

    monkeypatch.setattr(Constraints, "violated", counted)
    racks = {"A": 4000, "B": 1000}
    offers = [offer(f"{rack}{n}", cpus, attributes={"rack": rack}) for rack, cpus in racks.items() for n in range(100)]
    placed, _ = place_instances(an_app(constraints=[["rack", "GROUP_BY", "2"]]), 200, in_racks(*offers), (), NOW)
    racks_used = [place.host.agent.attributes["rack"] for place in placed]
    assert all(set(racks_used[at : at + 2]) == {"A", "B"} for at in range(0, 200, 2)), "evenly at each time"
    assert looks < 10 * (len(offers) + len(placed))


def test_of_hosts_that_group_by_counts_alike_the_next_one_follows_a_full_one() -> None:
    offers = [offer("A1", 150, attributes={"rack": "A"}), offer("A2", 110, attributes={"rack": "A"})]
    offers += [offer("B1", 1000, attributes={"rack": "B"}), offer("none")]
    app = an_app(constraints=[["rack", "GROUP_BY", "2"]])
    placed, refusals = place_instances(app, 9, in_racks(*offers), (), NOW)
    assert sorted(place.host.agent.agent_id for place in placed) == ["A1", "A2", "B1", "B1", "B1"]
    said = {agent: refusal.detail for agent, refusal in refusals.items()}
    assert said["B1"] == "constraints: rack GROUP_BY 2 not fulfilled by B1 (rack=B)"
    assert said["none"] == "constraints: rack GROUP_BY 2 not fulfilled by none (no such attribute)"
    assert said["A1"].startswith("cpus:") and said["A2"].startswith("cpus:")


def test_hosts_behind_others_say_why_they_take_none() -> None:
    offers = [offer(name, 1000, attributes={"rack": "A"}) for name in ("A1", "A2", "A3")]
    app = an_app(constraints=[["rack", "GROUP_BY", "2"]])
    placed, refusals = place_instances(app, 3, in_racks(*offers), (), NOW)
    assert len(placed) == 1 and sorted(refusals) == ["A1", "A2", "A3"]


def in_racks(*offers: Offer) -> Candidates:
    found = candidates(*offers)
    found.agent_of = lambda offer: Agent(offer.agent_id, offer.hostname, attributes=offer.attributes)
    return found
