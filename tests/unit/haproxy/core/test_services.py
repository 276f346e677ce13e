"""Facts of Consul -> what a balancer serves: each rule of routes, ports, settings and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eratos.haproxy.core import services
from eratos.haproxy.core.services import Claim, Facts, Instance, Model, Scope, decide, order, read_facts, shared, with_far

SCOPE = Scope(own_ports=frozenset({"8000", "8443", "9090", "9100"}))
#: What a scheduler of the version before wrote for an app that did not ask: it balanced every one.
UNASKED = {"haproxy-group": "external", "haproxy-mode": "http"}


def one(name: str = "a1", status: str = "passing", address: str = "10.0.0.1", at: int = 80, **meta: str) -> Instance:
    """Return an instance; ``path`` stands for ``haproxy-path`` and so on, ``version`` and the like for eratos' own keys."""
    own = ("version", "placeholder", "since", "framework", "weights")
    full = {f"{'eratos' if k in own else 'haproxy'}-{k.replace('_', '-')}": v for k, v in {"group": "external", **meta}.items()}
    return Instance(name, address, at, status, ["eratos"], {key: value for key, value in full.items() if value})


def placeholder(**meta: str) -> Instance:
    return one("eratos-app-x", "critical", "127.0.0.1", 0, placeholder="true", **meta)


def model(scope: Scope = SCOPE, **services: list[Instance] | Instance) -> Model:
    return decide(Facts({name: found if isinstance(found, list) else [found] for name, found in services.items()}), scope)


def holders(claims: dict[str, Claim]) -> dict[str, str]:
    return {key: claim.name for key, claim in claims.items()}


@pytest.mark.parametrize(
    ("meta", "routes", "ports"),
    [
        ({}, {"/": -2}, {}),
        ({"path": "/"}, {"/": 0}, {}),
        ({"path": "/cart"}, {"/cart/": 0}, {}),
        ({"path": "/cart/"}, {"/cart/": 0}, {}),
        ({"path": "/a/b.c~d"}, {"/a/b.c~d/": 0}, {}),
        ({"vhost": "Shop.example"}, {"shop.example/": 0}, {}),
        ({"vhost": "a.example, b.example,a.example"}, {"a.example/": 0, "b.example/": 0}, {}),
        ({"vhost": "a.example", "path": "/"}, {"a.example/": 0}, {}),
        ({"vhost": "a.example", "path": "/x"}, {"a.example/x/": 1}, {}),
        ({"vhost": "*.example,a.example", "path": "/x"}, {"*.example/x/": 0, "a.example/x/": 1}, {}),
        ({"vhost": "*.example", "path": "/x", "backend_weight": "3"}, {"*.example/x/": 3}, {}),
        ({"vhost": "a.example", "path": "/x", "backend_weight": "0"}, {"a.example/x/": 0}, {}),
        ({"vhost": "a.example", "backend_weight": "-1"}, {"a.example/": -1}, {}),
        ({"backend_weight": "7"}, {"/": -2}, {}),
        ({"port": "81"}, {}, {"81": 1}),
        ({"port": "81", "vhost": "a.example"}, {"a.example/": 0}, {"81": 0}),
        ({"mode": "tcp", "port": "5432"}, {}, {"5432": 1}),
        ({"mode": "tcp", "port": "5432", "vhost": "a.example"}, {}, {"5432": 1}),
    ],
)
def test_what_a_service_claims(meta: dict[str, str], routes: dict[str, int], ports: dict[str, int]) -> None:
    found = model(app=one(**meta))
    assert {key: claim.weight for key, claim in found.routes.items()} == routes
    assert {key: claim.weight for key, claim in found.ports.items()} == ports
    assert found.refused == ()
    assert found.backends["app"].servers == {"a1": "10.0.0.1:80"}


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"path": "/x }\n  http-request deny"}, 'app: path "/x }\\n  http-request deny"'),
        ({"path": "cart"}, 'app: path "cart"'),
        ({"vhost": "a b"}, 'app: host "a b"'),
        ({"vhost": "*"}, 'app: host "*"'),
        ({"vhost": "*.*.example"}, 'app: host "*.*.example"'),
        ({"vhost": "a.*.example"}, 'app: host "a.*.example"'),
        ({"vhost": "*a.example"}, 'app: host "*a.example"'),
        ({"vhost": 'a"b'}, 'app: host "a\\"b"'),
        ({"vhost": "a" * 254}, f'app: host "{"a" * 254}"'),
        ({"mode": "udp"}, 'app: mode "udp" is not supported, only http and tcp'),
        ({"mode": "tcp"}, "app: no service port"),
        ({"mode": "tcp", "port": "65536"}, 'app: port "65536"'),
        ({"mode": "tcp", "port": "5432\n bind :1"}, 'app: port "5432\\n bind :1"'),
        ({"mode": "tcp", "port": "9100"}, "app: the balancer itself uses port 9100"),
        ({"port": "99999"}, 'app: port "99999"'),
        ({"path": "/x }", "port": "x", "vhost": "a.example"}, 'app: path "/x }"'),
    ],
)
def test_what_would_spoil_a_configuration_gets_no_route_and_no_port(meta: dict[str, str], reason: str) -> None:
    found = model(app=one(**meta))
    assert reason in found.refused
    assert (found.routes, found.ports) == ({}, {})


@pytest.mark.parametrize(
    "key",
    [
        "balance",
        "sticky",
        "server_weight",
        "maxconn",
        "timeout_s",
        "zone",
        "backend_weight",
        "redirect_to_https",
        "log_requests",
        "failover",
        "use_hsts",
        "http_backend_proxypass_path",
        "http_backend_revproxy_path",
        "http_backend_redir",
    ],
)
def test_a_bad_setting_is_refused_alone(key: str) -> None:
    found = model(app=one(path="/x", **{key: "odd\n"}))
    assert found.refused == (f'app: {key.replace("_", "-")} "odd\\n"',)
    assert holders(found.routes) == {"/x/": "app"}
    assert found.backends == model(app=one(path="/x")).backends


@pytest.mark.parametrize("key", ["auth", "backend_network_allowed_acl"])
def test_what_cannot_be_guarded_as_it_asks_is_not_served(key: str) -> None:
    found = model(app=one(path="/x", **{key: "odd\n"}), other=one(path="/y"))
    assert found.refused == (f'app: {key.replace("_", "-")} "odd\\n"',)
    assert (holders(found.routes), [*found.backends]) == ({"/y/": "other"}, ["other"])


def test_of_one_version_what_is_guarded_says_who_is_let_in() -> None:
    open_to_all, guarded = one("a1", version="1"), one("a2", version="1", backend_network_allowed_acl="10.0.0.0/8")
    assert {model(app=found).backends["app"].allowed for found in ([open_to_all, guarded], [guarded, open_to_all])} == {
        "10.0.0.0/8"
    }


def test_hosts_are_known_where_requests_or_answers_are_rewritten() -> None:
    assert model(app=one(vhost="a.example,b c")).backends["app"].hosts == ""
    found = model(app=one(vhost="A.example,b c,*.d.example", http_backend_proxypass_path="/x")).backends["app"]
    assert (found.hosts, found.proxypass) == ("a.example,*.d.example", "/x")


def test_the_newest_version_says_which_requests_are_logged() -> None:
    old, new = one("a1", log_requests="all", version="1"), one("a2", log_requests="5%", version="2")
    assert model(app=[old]).backends["app"].log_requests == "all"
    assert {model(app=found).backends["app"].log_requests for found in ([new, old], [old, new])} == {"5%"}


def test_of_several_hosts_the_good_ones_are_served() -> None:
    found = model(app=one(vhost="a.example,b c,d.example"))
    assert holders(found.routes) == {"a.example/": "app", "d.example/": "app"}
    assert found.refused == ('app: host "b c"',)


@pytest.mark.parametrize("name", ["bad host", "a\nb", "", "x" * 129])
def test_a_service_needs_a_name_that_a_configuration_can_hold(name: str) -> None:
    found = decide(Facts({name: [one()]}), SCOPE)
    assert found.backends == {}
    assert found.refused == (f"{json.dumps(name)}: a service's name may hold letters, digits, dashes and underscores only",)


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (one(address="no.such.host"), 'app: instance "a1" at "no.such.host":80'),
        (one(address=""), 'app: instance "a1" at "":80'),
        (one(address="1.2.3.256"), 'app: instance "a1" at "1.2.3.256":80'),
        (one(at=0), 'app: instance "a1" at "10.0.0.1":0'),
        (one("a b"), 'app: instance "a b" at "10.0.0.1":80'),
        (one(""), 'app: instance "" at "10.0.0.1":80'),
        (one("x" * 513), f'app: instance "{"x" * 513}" at "10.0.0.1":80'),
    ],
)
def test_an_instance_that_cannot_be_a_server_is_left_out_and_the_others_serve(instance: Instance, reason: str) -> None:
    found = model(app=[instance, one("b"), one("c", address="fd00::1"), one("b", address="10.0.0.2")])
    assert found.backends["app"].servers == {"b": "10.0.0.1:80", "c": "[fd00::1]:80"}
    assert found.refused == (reason, 'app: a second instance "b" at 10.0.0.2:80')


# -- who is balanced ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "group", "served"),
    [
        ({"group": ""}, "external", False),
        ({"group": "", "path": "/x"}, "*", False),
        ({"enabled": "false", "group": ""}, "external", False),
        ({"enabled": "false"}, "*", False),
        ({"enabled": "true"}, "external", True),
        ({}, "external", True),
        ({}, "internal", False),
        ({"group": "internal,external"}, "external", True),
        ({"group": "internalexternal"}, "external", False),
        ({}, "*", True),
    ],
)
def test_a_service_is_served_by_the_groups_that_its_meta_names(meta: dict[str, str], group: str, served: bool) -> None:
    assert bool(model(Scope(group), app=one(**meta)).backends) is served


def test_an_app_that_did_not_ask_keeps_what_the_version_before_gave_it() -> None:
    found = decide(Facts({"app": [Instance("a1", "10.0.0.1", 80, "passing", ["eratos"], UNASKED)]}), SCOPE)
    assert found.routes == {"/": Claim("app", -2, "~")}


def test_a_balancer_with_a_tag_serves_the_instances_that_have_it() -> None:
    tagged = one("b")._replace(tags=["staging", "eratos"])
    assert model(Scope(tag="staging"), app=[one("a"), tagged], other=one()).backends.keys() == {"app"}
    assert model(Scope(tag="staging"), app=[one("a"), tagged]).backends["app"].servers == {"b": "10.0.0.1:80"}


def two_frameworks(**of_the_elder: str) -> list[Instance]:
    """Return an app of each of two frameworks with one name and a host name each; one's entry is the older."""
    elder = {"framework": "f-0001", "vhost": "one.example"}
    younger = {"framework": "f-0002", "vhost": "two.example"}
    return [
        one("b", address="10.0.0.2", **younger),
        placeholder(since="2", **younger),
        one("a", address="10.0.0.1", **elder, **of_the_elder),
        placeholder(since="1", **elder),
    ]


def test_apps_of_two_frameworks_with_one_name_are_two_backends() -> None:
    found = model(shop=two_frameworks())
    assert holders(found.routes) == {"one.example/": "shop_f-0001", "two.example/": "shop_f-0002"}
    servers = {name: list(backend.servers) for name, backend in found.backends.items()}
    assert servers == {"shop_f-0001": ["a"], "shop_f-0002": ["b"]}
    assert found.refused == ()


def test_a_framework_whose_app_has_nothing_ready_is_not_answered_for_by_another() -> None:
    found = model(shop=[i._replace(status="critical") if i.id == "a" else i for i in two_frameworks()])
    assert holders(found.routes) == {"one.example/": "shop_f-0001", "two.example/": "shop_f-0002"}
    assert found.backends["shop_f-0001"].servers == {}


def test_what_a_framework_left_behind_takes_no_route_from_the_one_that_serves() -> None:
    entry = placeholder(framework="f-0001", since="1", path="/cart")
    now = [placeholder(framework="f-0002", since="2", path="/cart"), one("b", framework="f-0002", path="/cart")]
    found = model(shop=[entry, *now])
    assert holders(found.routes) == {"/cart/": "shop"}
    assert {name: list(backend.servers) for name, backend in found.backends.items()} == {"shop": ["b"], "shop_f-0001": []}


def test_what_nobody_registered_as_a_framework_s_belongs_to_whoever_has_the_name() -> None:
    found = model(shop=[one("a"), one("b", address="10.0.0.2", framework="f-0001")])
    assert sorted(found.backends["shop"].servers) == ["a", "b"]


def test_a_framework_s_id_that_no_backend_could_have_is_refused() -> None:
    found = model(shop=[*two_frameworks(), one("c", framework="f 3\n")])
    assert sorted(found.backends) == ["shop_f-0001", "shop_f-0002"]
    assert found.refused == ('shop: framework "f 3\\n"',)


def test_a_balancer_of_a_framework_serves_no_other_and_nobodys() -> None:
    ours = Scope(framework="ours")
    mixed = [one("a", framework="ours"), one("b"), one("c", framework="theirs")]
    found = model(ours, app=mixed, theirs=one(framework="theirs", path="/theirs"), nobodys=one(path="/nobodys"))
    assert {name: set(backend.servers) for name, backend in found.backends.items()} == {"app": {"a"}}
    assert set(found.routes) == {"/"}


def test_only_passing_instances_are_servers_and_the_route_stays_without_any() -> None:
    found = model(app=[one("a", "critical", path="/x"), one("b", "warning", path="/x"), one("c", "maintenance", path="/x")])
    assert found.backends["app"].servers == {}
    assert holders(found.routes) == {"/x/": "app"}


# -- placeholders and updates ------------------------------------------------------------------------------------------


def test_a_placeholder_keeps_the_route_of_an_app_without_instances() -> None:
    found = model(app=placeholder(path="/x", sticky="true", since="2026"))
    assert found.routes == {"/x/": Claim("app", 0, "2026")}
    assert (found.backends["app"].servers, found.backends["app"].sticky) == ({}, "true")


def test_a_placeholder_has_routes_beside_those_of_instances_and_no_setting() -> None:
    found = model(app=[placeholder(path="/new", sticky="true"), one(path="/old", version="2026")])
    assert holders(found.routes) == {"/new/": "app", "/old/": "app"}
    assert found.backends["app"].sticky == ""


def test_a_placeholder_of_another_mode_is_no_reason_for_a_complaint() -> None:
    found = model(app=[placeholder(mode="tcp", port="5432"), one(path="/x")])
    assert (found.ports, found.refused) == ({}, ())


def test_where_instances_differ_all_routes_hold_and_the_newest_version_decides_the_rest() -> None:
    old, new = one("a", path="/old", version="1"), one("b", path="/new", version="2", sticky="true", server_weight="7")
    for instances in ([old, new], [new, old]):
        found = model(app=[*instances, one("c", mode="tcp", port="1", version="0")])
        assert holders(found.routes) == {"/old/": "app", "/new/": "app"}
        assert (found.backends["app"].sticky, found.backends["app"].weights) == ("true", {"b": "7"})
        assert found.refused == ("app: some instances are in mode tcp, the newest in mode http",)


def test_instances_of_one_version_may_differ_in_anything() -> None:
    found = model(app=[one("a", path="/x", server_weight="7"), one("b", path="/x", server_weight="8"), one("c", path="/x")])
    assert found.backends["app"].weights == {"a": "7", "b": "8"}
    assert model(app=[one("a", sticky="true"), one("b", timeout_s="odd")]).refused == ('app: timeout-s "odd"',)


# -- other data centers ------------------------------------------------------------------------------------------------

FAR = SCOPE._replace(datacenters=("dc2", "dc3"))


def joined(near: list[Instance], scope: Scope = FAR, **far: list[Instance]) -> Model:
    """Return the model of one app; ``far``: what other data centers have under its name."""
    return decide(Facts({"app": near}, far={dc: {"app": found} for dc, found in far.items()}), scope)


def test_instances_elsewhere_stand_in_where_app_and_balancer_name_their_data_center() -> None:
    elsewhere = {dc: [one(f"in-{dc}", address="10.0.0.2")] for dc in ("dc2", "dc3", "dc4")}
    found = joined([one(failover="dc1,dc3,dc2", path="/x")], **elsewhere)
    assert found.backends["app"].servers == {"a1": "10.0.0.1:80", "in-dc2": "10.0.0.2:80", "in-dc3": "10.0.0.2:80"}
    assert found.backends["app"].datacenters == {"in-dc2": "dc2", "in-dc3": "dc3"}
    assert found.backends["app"].failover == "dc2,dc3"
    assert (holders(found.routes), found.refused) == ({"/x/": "app"}, ())
    for near, scope in (([one(path="/x")], FAR), ([one(failover="dc2", path="/x")], SCOPE)):
        alone = joined(near, scope, **elsewhere)
        assert (alone.backends["app"].servers, alone.backends["app"].failover) == ({"a1": "10.0.0.1:80"}, "")
        assert alone.backends == joined([one(path="/x")], SCOPE).backends


def test_an_app_without_an_instance_here_is_served_from_elsewhere_on_the_routes_that_it_has_here() -> None:
    found = joined([placeholder(failover="dc2", path="/here")], dc2=[one("far", path="/there", balance="source")])
    assert found.backends["app"].servers == {"far": "10.0.0.1:80"}
    assert (holders(found.routes), found.backends["app"].balance) == ({"/here/": "app"}, "")


@pytest.mark.parametrize(
    ("far", "refused"),
    [
        (one("far", status="critical"), ()),
        (one("far", group="internal"), ()),
        (one("far", placeholder="true"), ()),
        (one("a1", address="10.0.0.9"), ('app: a second instance "a1" at 10.0.0.9:80',)),
        (one("far", address="far.example"), ('app: instance "far" at "far.example":80',)),
        (one("far", mode="tcp"), ("app: mode http, and in data center dc2 mode tcp",)),
    ],
)
def test_what_elsewhere_is_no_server(far: Instance, refused: tuple[str, ...]) -> None:
    found = joined([one(failover="dc2")], dc2=[far])
    assert (found.backends["app"].servers, found.refused) == ({"a1": "10.0.0.1:80"}, refused)


@pytest.mark.parametrize(
    ("near", "far", "only", "expected"),
    [
        ("f", "f", "", {"app": "f"}),
        ("f", "fg", "", {"app": "f"}),
        # Each data center has a framework of its own.
        ("f", "g", "", {"app": "g"}),
        ("", "g", "", {"app": "g"}),
        # Nobody knows whose they are.
        ("f", "gh", "", {"app": ""}),
        ("fg", "h", "", {"app_f": "", "app_g": ""}),
        ("fg", "gh", "", {"app_f": "", "app_g": "g"}),
        ("f", "g", "f", {"app": ""}),
    ],
)
def test_whose_instances_stand_in(near: str, far: str, only: str, expected: dict[str, str]) -> None:
    here = [one(f"near{whose}", framework=whose, failover="dc2", at=number) for number, whose in enumerate(near or [""], 80)]
    found = joined(here, FAR._replace(framework=only), dc2=[one(whose, framework=whose) for whose in far])
    assert {name: "".join(backend.datacenters) for name, backend in found.backends.items()} == expected


def test_zones_are_those_of_the_balancers_own_data_center() -> None:
    near = [at("a", "x", failover="dc2"), at("b", "y", failover="dc2")]
    for policy, servers, zones in (("prefer", "xyz", {"x": "a", "y": "b"}), ("require", "xz", {}), ("ignore", "xyz", {})):
        backend = joined(near, FAR._replace(zone="a", zone_policy=policy), dc2=[at("a", "z")]).backends["app"]
        assert ("".join(backend.servers), backend.zones, backend.datacenters) == (servers, zones, {"z": "dc2"})


def test_weights_of_versions_are_those_of_all_data_centers() -> None:
    entry = placeholder(weights="1=100,2=50", failover="dc2")
    found = joined([one("a1", version="1", failover="dc2"), entry], dc2=[one("a2", version="2"), one("a3", version="3")])
    backend = found.backends["app"]
    assert (backend.weights, backend.versions) == ({"a1": "100", "a2": "50", "a3": "0"}, {"a1": "1", "a2": "2", "a3": "3"})


def test_the_guard_looks_at_all_data_centers() -> None:
    facts = with_far(Facts({"app": [one()]}), "dc2", json.dumps({"services": {"app": [one("far", at=81)._asdict()]}}))
    assert services.known(facts) == {"a1", "far"}
    assert services.holders(facts) == {"10.0.0.1:80": {"a1"}, "10.0.0.1:81": {"far"}}
    with pytest.raises(ValueError, match="half a file"):
        with_far(facts, "dc3", "{")


# -- zones -------------------------------------------------------------------------------------------------------------


def at(zone: str, name: str, policy: str = "", **meta: str) -> Instance:
    """Return an instance in a zone; ``policy`` is its app's label."""
    found = one(name, zone=policy, **meta)
    return found._replace(meta=found.meta | ({"eratos-zone": zone} if zone else {}))


@pytest.mark.parametrize(
    ("own", "default", "label", "servers", "prefers", "refused"),
    [
        ("a", "ignore", "", "xyz", "", ()),
        ("", "ignore", "", "xyz", "", ()),
        ("a", "prefer", "", "xyz", "a", ()),
        ("a", "require", "", "x", "", ()),
        ("c", "require", "", "", "", ("app: zone require, and none of its 3 instances is in zone c",)),
        ("a", "require", "ignore", "xyz", "", ()),
        ("a", "prefer", "require", "x", "", ()),
        ("a", "ignore", "prefer", "xyz", "a", ()),
        ("", "ignore", "prefer", "xyz", "", ("app: zone prefer, and this balancer is in none (ERATOS_ZONE)",)),
        ("", "ignore", "require", "xyz", "", ("app: zone require, and this balancer is in none (ERATOS_ZONE)",)),
        ("a", "prefer", "near", "xyz", "a", ('app: zone "near"',)),
    ],
)
def test_what_a_zone_means_says_the_app_and_otherwise_the_balancer(
    own: str, default: str, label: str, servers: str, prefers: str, refused: tuple[str, ...]
) -> None:
    instances = [at("a", "x", label, server_weight="7"), at("b", "y", label), at("", "z", label)]
    found = model(SCOPE._replace(zone=own, zone_policy=default), app=instances)
    backend = found.backends["app"]
    assert ("".join(backend.servers), backend.zone, found.refused) == (servers, prefers, refused)
    assert backend.zones == ({"x": "a", "y": "b"} if prefers else {})
    assert backend.weights == ({"x": "7"} if "x" in servers else {})


def test_the_newest_version_says_what_a_zone_means() -> None:
    instances = [at("a", "x", "prefer", version="1"), at("b", "y", "require", version="2"), placeholder(zone="ignore")]
    assert model(SCOPE._replace(zone="a"), app=instances).backends["app"].servers == {"x": "10.0.0.1:80"}


def test_an_app_without_ready_instances_wants_none_elsewhere() -> None:
    found = model(SCOPE._replace(zone="a", zone_policy="require"), app=one(status="critical"))
    assert (found.backends["app"].servers, found.refused) == ({}, ())


# -- who comes first ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blue", "green", "holder", "reason"),
    [
        ([one()], [one()], "blue", "green: blue already answers on {}"),
        ([one()], [one(backend_weight="2")], "green", "blue: green answers on {} with more weight"),
        ([one(backend_weight="2")], [one()], "blue", "green: blue already answers on {}"),
        ([one()], [one(), placeholder(since="2026-01-01")], "green", "blue: green answers on {} for longer"),
        ([one(), placeholder(since="2")], [one(), placeholder(since="1")], "green", "blue: green answers on {} for longer"),
        ([one(), placeholder(since="1")], [one(), placeholder(since="2")], "blue", "green: blue already answers on {}"),
        ([one(backend_weight="1")], [one(), placeholder(since="2026")], "blue", "green: blue already answers on {}"),
    ],
)
def test_of_two_that_claim_a_route_the_heavier_has_it_then_the_older_then_the_first(
    blue: list[Instance], green: list[Instance], holder: str, reason: str
) -> None:
    services = {"blue": blue, "green": green}
    for name, instances in services.items():
        services[name] = [instance._replace(meta=instance.meta | {"haproxy-path": "/x"}) for instance in instances]
    found = decide(Facts(services), SCOPE)
    assert holders(found.routes) == {"/x/": holder}
    assert found.refused == (reason.format("/x/"),)
    assert found.backends.keys() == {"blue", "green"}


def test_a_stated_default_goes_before_one_that_nobody_stated() -> None:
    assert holders(model(a=one(), b=one(path="/")).routes) == {"/": "b"}


def test_of_two_that_claim_a_port_one_that_has_a_route_needs_it_less() -> None:
    for path in ("/a", "/a }"):
        found = model(a=one(port="81", path=path), b=one(port="81"))
        assert holders(found.ports) == {"81": "b"}
        assert "a: b answers on port 81 with more weight" in found.refused


def test_routes_are_asked_the_heaviest_first_then_hosts_then_the_deeper() -> None:
    found = model(
        default=one(),
        path=one(path="/x"),
        deep=one(path="/x/y"),
        host=one(vhost="a.example"),
        hostpath=one(vhost="a.example", path="/x"),
        wildcard=one(vhost="*.example"),
        wildcardpath=one(vhost="*.example", path="/x"),
        heavy=one(path="/heavy", backend_weight="5"),
    )
    names = ["heavy", "hostpath", "host", "wildcardpath", "wildcard", "deep", "path", "default"]
    assert [name for _, _, name in order(found.routes)] == names
    assert order(found.routes)[1] == ("a.example", "/x/", "hostpath")


# -- files -------------------------------------------------------------------------------------------------------------


def test_servers_from_a_file_are_one_app() -> None:
    text = "10.0.0.2:80\n# a comment\n\n  10.0.0.1:80 \n[fd00::1]:80\nhost:80\n1.2.3.4:80 weight 9\n"
    found = decide(read_facts(json.dumps({"servers_file": text})), SCOPE)
    addresses = ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]
    assert found.backends["static"].servers == {address.replace("[", "").replace("]", ""): address for address in addresses}
    assert found.routes == {"/": Claim("static", 0, "")}
    assert found.refused == (
        'static: "host:80" is no address with a port, such as 10.0.0.1:8080',
        'static: "1.2.3.4:80 weight 9" is no address with a port, such as 10.0.0.1:8080',
    )


def test_facts_are_read_as_the_template_writes_them() -> None:
    row = {"id": "a", "address": "10.0.0.1", "port": 80, "status": "passing", "tags": ["eratos"], "meta": None}
    assert read_facts(json.dumps({"services": {"app": [row], "b c": []}})) == Facts({"app": [Instance(**row)], "b c": []})
    assert decide(read_facts('{"services": {}}'), SCOPE) == Model()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"services": 1}', '{"services": {"a": [{}]}}', '{"services": {"a": 1}}'])
def test_half_a_file_holds_no_facts(text: Any) -> None:
    with pytest.raises(ValueError, match="half a file"):
        read_facts(text)


@pytest.mark.parametrize(
    ("versions", "weights", "found"),
    [
        ({"a": "1", "b": "2"}, {}, {}),
        ({"a": "1", "b": "2"}, {"1": "100", "2": "0"}, {"a": "100", "b": "0"}),
        ({"a": "1", "b": "2"}, {"1": "0", "2": "100"}, {"a": "0", "b": "100"}),
        ({"a": "1", "b": "2"}, {"1": "100", "2": "25"}, {"a": "100", "b": "25"}),
        ({"a": "1", "b": "2"}, {"1": "100"}, {"a": "100", "b": "0"}),  # a version that nobody has named yet
        ({"a": "1", "b": ""}, {"1": "100"}, {"a": "100", "b": "0"}),
        ({"b": "2"}, {"1": "100", "2": "0"}, {"b": "100"}),  # better one that waits for its turn than nobody
        ({"b": "2", "c": "3"}, {"1": "100"}, {"b": "100", "c": "100"}),
        ({}, {"1": "100"}, {}),
    ],
)
def test_versions_have_weights(versions: dict[str, str], weights: dict[str, str], found: dict[str, str]) -> None:
    assert shared(versions, weights) == found


def test_an_apps_entry_says_how_much_traffic_each_version_gets() -> None:
    instances = [one("a1", version="2026-01-01T00:00:00.000Z"), one("b1", address="10.0.0.2", version="2026-01-02T00:00:00.000Z")]
    says = {"weights": "2026-01-01T00:00:00.000Z=100,2026-01-02T00:00:00.000Z=0"}
    assert model(app=[*instances, placeholder(**says)]).backends["app"].weights == {"a1": "100", "b1": "0"}
    assert model(app=[placeholder(**says), *instances]).backends["app"].weights == {"a1": "100", "b1": "0"}
    assert model(app=instances).backends["app"].weights == {}
    # Only the app's entry says so, whatever an instance claims of itself.
    assert model(app=[one("c1", **says), *instances]).backends["app"].weights == {}


def test_a_versions_weight_counts_in_place_of_what_its_instances_state() -> None:
    found = model(app=[one("a1", version="1", server_weight="7"), placeholder(weights="1=100")])
    assert found.backends["app"].weights == {"a1": "100"}


def test_versions_are_kept_apart_where_zones_matter() -> None:
    instances = [at("a", "x", version="1"), at("b", "y", version="2")]
    prefers = SCOPE._replace(zone="a", zone_policy="prefer")
    assert model(prefers, app=[*instances, placeholder(weights="1=100")]).backends["app"].versions == {"x": "1", "y": "2"}
    assert model(prefers, app=instances).backends["app"].versions == {}
    assert model(app=[*instances, placeholder(weights="1=100")]).backends["app"].versions == {}


def test_where_a_zone_is_required_one_there_that_waits_for_its_turn_gets_nothing() -> None:
    instances = [at("a", "x", version="2"), at("b", "y", version="1"), at("b", "z", version="1")]
    found = model(SCOPE._replace(zone="a", zone_policy="require"), app=[*instances, placeholder(weights="1=100")])
    assert (found.backends["app"].servers, found.backends["app"].weights) == ({"x": "10.0.0.1:80"}, {"x": "0"})
    assert found.refused == ("app: zone require, and none of its 2 instances is in zone a",)


@pytest.mark.parametrize("text", ["", "v", "v=", "v=101", "v=-1", "v=01", "v=1;w=2", "v=1,", "v w=1", "v=1 check", "v=1\n"])
def test_weights_that_break_the_grammar_are_refused(text: str) -> None:
    found = model(app=[one("a1", version="v"), placeholder(weights=text)])
    assert found.backends["app"].weights == {}
    assert found.refused == ((f"app: weights {json.dumps(text)}",) if text else ())
