"""Labels that eratos acts on, but for routing: test_marathon_routing.py."""

from __future__ import annotations

import pytest

from eratos.marathon import definition, labels, routing
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.notes import notes


def app(**labels: str) -> App:
    return definition.parse({"id": "/shop/cart", "container": {"docker": {"image": "x"}}, "labels": labels})


def test_consul_tags_are_split_and_trimmed() -> None:
    assert labels.consul_tags(app(CONSUL_TAGS="a, b=c ,,d").labels) == ("a", "b=c", "d")
    assert labels.consul_tags({}) == ()


def test_the_time_to_drain_is_a_label() -> None:
    assert app().drain_s == 10
    assert app(ERATOS_DRAIN_SECONDS="2.5").drain_s == 2.5


def test_how_long_a_deployment_may_take_and_what_comes_after_are_labels() -> None:
    assert labels.deployment_deadline_s({}) is labels.retries({}) is None
    given = app(ERATOS_DEPLOYMENT_DEADLINE_S="90.5", ERATOS_DEPLOYMENT_RETRIES="0", ERATOS_ROLLBACK="true").labels
    assert (labels.deployment_deadline_s(given), labels.retries(given), labels.rolls_back(given)) == (90.5, 0, True)
    assert not labels.rolls_back({}) and not labels.rolls_back({"ERATOS_ROLLBACK": "false"})


@pytest.mark.parametrize(
    ("label", "instances", "steps"),
    [("1", 10, (1,)), ("1, 25%,50%", 10, (1, 3, 5)), ("1%", 10, (1,)), ("5,20", 10, (5, 10)), ("50%", 0, (0,))],
)
def test_the_steps_of_a_canary_are_numbers_and_shares(label: str, instances: int, steps: tuple[int, ...]) -> None:
    assert labels.canary(app(ERATOS_CANARY=label).labels, instances) == steps
    assert labels.canary({}, instances) == ()


def test_services_are_named_after_the_app_and_the_port() -> None:
    definitions = [{"port": 0}, {"port": 0, "name": "admin"}, {"port": 0}]
    made = definition.parse({"id": "/shop/cart", "container": {"docker": {"image": "x"}}, "portDefinitions": definitions})
    assert made.service_names == ("shop-cart", "shop-cart-admin", "shop-cart-2")


def test_labels_of_others_are_left_alone() -> None:
    assert app(team="carts", DCOS_PACKAGE_NAME="x").labels == {"team": "carts", "DCOS_PACKAGE_NAME": "x"}


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("CONSUL_TAGS", "a b", "'a b'"),
        ("ERATOS_DRAIN_SECONDS", "soon", "seconds"),
        ("ERATOS_DRAIN_SECONDS", "9999999", "3600"),
        ("ERATOS_DRAIN", "5", "ERATOS_DRAIN_SECONDS"),
        ("ERATOS_DEPLOYMENT_DEADLINE_S", "0", "from 1 to 2678400"),
        ("ERATOS_DEPLOYMENT_DEADLINE_S", "1e3", "'1e3'"),
        ("ERATOS_DEPLOYMENT_DEADLINE_S", "99999999", "from 1 to 2678400"),
        ("ERATOS_DEPLOYMENT_RETRIES", "-1", "whole number"),
        ("ERATOS_DEPLOYMENT_RETRIES", "1.5", "whole number"),
        ("ERATOS_ROLLBACK", "yes", "true or false"),
        ("ERATOS_CANARY", "", "up to 20 numbers"),
        ("ERATOS_CANARY", "0", "up to 20 numbers"),
        ("ERATOS_CANARY", "1,100%", "shares such as"),
        ("ERATOS_CANARY", "1,,2", "up to 20 numbers"),
        ("ERATOS_CANARY", ",".join(["1"] * 21), "up to 20 numbers"),
        ("ERATOS_CANARY_HOLD_S", "soon", "from 0 to 2678400"),
        *(("ERATOS_CANARY_ERRORS", value, "a share of requests from 0%") for value in ("1", "101%", "-1%", "1.0001%", "%")),
        *(("ERATOS_CANARY_ANSWER_MS", value, "a whole number from 1 to 3600000") for value in ("0", "1.5", "3600001", "soon")),
        *(("ERATOS_BLUE_GREEN", value, "rising shares of the traffic") for value in ("", "0%", "10", "101%", "20%,10%", "5%,5%")),
        ("ERATOS_BLUE_GREEN", ",".join(f"{n}%" for n in range(1, 22)), "up to 20 rising"),
        ("ERATOS_CANARY_REQUESTS", "0", "a whole number from 1 to 1000000"),
    ],
)
def test_what_makes_no_sense_is_refused(label: str, value: str, words: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        app(**{label: value})
    beside = ("has no effect", "the way back")
    problem = next(found for found in invalid.value.problems if not any(words in found.message for words in beside))
    assert problem.path == f"/labels/{label}"
    assert words in problem.message
    assert {found.path for found in invalid.value.problems} == {problem.path}


GATE = {"ERATOS_CANARY": "1", "ERATOS_CANARY_HOLD_S": "60", "ERATOS_ROLLBACK": "true"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, None),
        ({"ERATOS_CANARY_ERRORS": "0.5%"}, labels.Demands(500, None, 50)),
        ({"ERATOS_CANARY_ERRORS": "0%", "ERATOS_CANARY_REQUESTS": "7"}, labels.Demands(0, None, 7)),
        ({"ERATOS_CANARY_ERRORS": "99.999%"}, labels.Demands(99_999, None, 50)),
        ({"ERATOS_CANARY_ANSWER_MS": "250"}, labels.Demands(None, 250, 50)),
        ({"ERATOS_CANARY_ERRORS": "100%", "ERATOS_CANARY_ANSWER_MS": "1"}, labels.Demands(100_000, 1, 50)),
    ],
)
def test_what_a_gate_demands(given: dict[str, str], wanted: labels.Demands | None) -> None:
    assert labels.demands(app(**GATE, **given).labels) == wanted


@pytest.mark.parametrize(
    ("label", "shares"),
    [("100%", (0, 100)), ("10%", (0, 10, 100)), ("5%, 50%,99%", (0, 5, 50, 99, 100)), ("1%,100%", (0, 1, 100))],
)
def test_the_shares_of_the_traffic_begin_with_none_and_end_with_all(label: str, shares: tuple[int, ...]) -> None:
    assert labels.blue_green(app(ERATOS_BLUE_GREEN=label, ERATOS_ROLLBACK="true").labels) == shares
    assert labels.blue_green({}) == ()


@pytest.mark.parametrize(
    ("others", "path", "words"),
    [
        ({}, "ERATOS_BLUE_GREEN", "add ERATOS_ROLLBACK=true"),
        ({"ERATOS_ROLLBACK": "true", "ERATOS_CANARY": "1"}, "ERATOS_BLUE_GREEN", "contradicts ERATOS_CANARY"),
        ({"ERATOS_ROLLBACK": "true", "ERATOS_0_SERVER_WEIGHT": "7"}, "ERATOS_0_SERVER_WEIGHT", "contradicts ERATOS_BLUE_GREEN"),
    ],
)
def test_what_contradicts_two_fleets_is_refused(others: dict[str, str], path: str, words: str) -> None:
    with pytest.raises(InvalidApp) as invalid:
        app(ERATOS_BLUE_GREEN="10%", **others)
    [problem] = invalid.value.problems
    assert (problem.path, words in problem.message) == (f"/labels/{path}", True)


def test_gates_of_two_fleets_may_be_judged_too() -> None:
    made = app(ERATOS_BLUE_GREEN="10%", ERATOS_ROLLBACK="true", ERATOS_CANARY_HOLD_S="5", ERATOS_CANARY_ERRORS="1%")
    assert labels.demands(made.labels) == labels.Demands(1000, None, 50)


@pytest.mark.parametrize("lacking", GATE)
def test_a_demand_without_a_gate_or_a_way_back_is_refused(lacking: str) -> None:
    with pytest.raises(InvalidApp, match=f"has no effect without {lacking}"):
        app(**{key: value for key, value in GATE.items() if key != lacking}, ERATOS_CANARY_ERRORS="1%")
    with pytest.raises(InvalidApp, match="has no effect without ERATOS_ROLLBACK=true"):
        app(**GATE | {"ERATOS_ROLLBACK": "false"}, ERATOS_CANARY_ANSWER_MS="1")
    with pytest.raises(InvalidApp, match="has no effect without ERATOS_CANARY_ERRORS or ERATOS_CANARY_ANSWER_MS"):
        app(**GATE, ERATOS_CANARY_REQUESTS="1")


#: marathon-lb's labels by its config.py, behind HAPROXY_ or HAPROXY_n_.
MARATHON_LBS = [
    "AUTH",
    "BACKEND_HEAD",
    "BACKEND_HEALTHCHECK_PORT_INDEX",
    "BACKEND_HSTS_OPTIONS",
    "BACKEND_HTTP_HEALTHCHECK_OPTIONS",
    "BACKEND_HTTP_OPTIONS",
    "BACKEND_NETWORK_ALLOWED_ACL",
    "BACKEND_REDIRECT_HTTP_TO_HTTPS",
    "BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH",
    "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS",
    "BACKEND_SERVER_OPTIONS",
    "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS",
    "BACKEND_STICKY_OPTIONS",
    "BACKEND_TCP_HEALTHCHECK_OPTIONS",
    "BACKEND_WEIGHT",
    "BALANCE",
    "BIND_ADDR",
    "BIND_OPTIONS",
    "DEPLOYMENT_ALT_PORT",
    "DEPLOYMENT_COLOUR",
    "DEPLOYMENT_GROUP",
    "DEPLOYMENT_STARTED_AT",
    "DEPLOYMENT_TARGET_INSTANCES",
    "ENABLED",
    "FRONTEND_BACKEND_GLUE",
    "FRONTEND_HEAD",
    "GROUP",
    "HTTPS_FRONTEND_ACL",
    "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH",
    "HTTPS_FRONTEND_ACL_WITH_AUTH",
    "HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH",
    "HTTPS_FRONTEND_ACL_WITH_PATH",
    "HTTP_BACKEND_NETWORK_ALLOWED_ACL",
    "HTTP_BACKEND_PROXYPASS_GLUE",
    "HTTP_BACKEND_PROXYPASS_PATH",
    "HTTP_BACKEND_REDIR",
    "HTTP_BACKEND_REVPROXY_GLUE",
    "HTTP_BACKEND_REVPROXY_PATH",
    "HTTP_FRONTEND_ACL",
    "HTTP_FRONTEND_ACL_ONLY",
    "HTTP_FRONTEND_ACL_ONLY_WITH_PATH",
    "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH",
    "HTTP_FRONTEND_ACL_WITH_AUTH",
    "HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH",
    "HTTP_FRONTEND_ACL_WITH_PATH",
    "HTTP_FRONTEND_APPID_ACL",
    "HTTP_FRONTEND_ROUTING_ONLY",
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH",
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH",
    "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH",
    "MAP_HTTPS_FRONTEND_ACL",
    "MAP_HTTP_FRONTEND_ACL",
    "MAP_HTTP_FRONTEND_ACL_ONLY",
    "MAP_HTTP_FRONTEND_APPID_ACL",
    "MODE",
    "PATH",
    "PORT",
    "REDIRECT_TO_HTTPS",
    "SSL_CERT",
    "STICKY",
    "TCP_BACKEND_NETWORK_ALLOWED_ACL",
    "USERLIST_HEAD",
    "USE_HSTS",
    "VHOST",
]


def test_all_labels_of_marathon_lb_are_here() -> None:
    assert len(set(MARATHON_LBS)) == 64


@pytest.mark.parametrize("name", MARATHON_LBS)
def test_a_label_of_marathon_lb_works_or_is_told_and_refuses_no_app(name: str) -> None:
    honoured = routing.known(f"HAPROXY_0_{name}")
    labels = {} if honoured else {f"HAPROXY_0_{name}": "x", f"HAPROXY_{name}": "x"}
    app = definition.parse({"id": "/a", "cmd": "x", "labels": labels})
    assert {note.path for note in notes(app)} == {f"/labels/{key}" for key in labels}
    assert all(len(note.text) > 25 for note in notes(app))


def test_labels_of_others_are_compared_with_ours_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(labels.near, "close", lambda word, *_: compared.append(word) or [])
    assert app(**{f"HAPROXY_OTHER{n}": "x" for n in range(1000)}).labels
    assert len(compared) == 100


def test_ports_that_no_label_speaks_of_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    label = routing.label
    monkeypatch.setattr(routing, "label", lambda labels, index, name: asked.append(index) or label(labels, index, name))
    made = definition.parse(
        {"id": "/a", "cmd": "x", "ports": [0] * 100, "labels": {"HAPROXY_1_VHOST": "a.b", "ERATOS_11_PATH": "/x", "team": "z"}}
    )
    assert [n for n, found in enumerate(made.routings) if found.hosts or found.path not in ("", "/")] == [1, 11]
    assert set(asked) <= {1, 11}


@pytest.mark.parametrize("key", ["HAPROXY_GOLOTYNP", "HAPROXY_TEAM", "HAPROXY_0_OWNER", "HAPROXY_GOLF"])
def test_a_prefix_makes_no_label_of_others_near_to_ours(key: str) -> None:
    assert [note.path for note in notes(app(**{key: "x"})) if key in note.path] == [f"/labels/{key}"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("HAPROXY_{n}_VHOST", "HAPROXY_n_VHOST? n stands for the port's index"),
        ("HAPROXY_{0}_VHOST", "HAPROXY_n_VHOST? n stands for the port's index"),
        ("HAPROXY_n_PORT", "HAPROXY_n_PORT? n stands for the port's index"),
        ("HAPROXY_VHOST", "HAPROXY_n_VHOST? n stands for the port's index"),
        ("HAPROXY_GRUOP", "HAPROXY_GROUP?"),
        ("HAPROXY_0_GRUOP", "HAPROXY_n_GROUP?"),
        ("HAPROXY_00_VHOST", "HAPROXY_n_VHOST?"),
        ("ERATOS_DRAIN_SECOND", "ERATOS_DRAIN_SECONDS?"),
    ],
)
def test_a_label_that_is_nearly_ours_is_refused_with_the_one_that_is_meant(key: str, meant: str) -> None:
    with pytest.raises(InvalidApp) as refused:
        app(**{key: "x"})
    assert f"did you mean {meant}" in str(refused.value)


@pytest.mark.parametrize("key", ["eratos_canary", "haproxy_0_vhost", "Haproxy_Group", "marathon_single_instance_app"])
def test_a_label_in_other_letters_than_capitals_is_told_and_read_from_a_store(key: str) -> None:
    assert dict(labels.not_heeded({key: "x", "team": "eratos"})) == {
        key: f"labels are told apart by case, and eratos knows {key.upper()}"
    }
    assert app(**{key: "x"}).labels[key] == "x"
