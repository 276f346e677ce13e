"""A model as HAProxy reads it: shape, servers, the map of routes, administrators' lines."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest

from eratos.common.routing import credentials
from eratos.haproxy.core.haproxy_text import DIGEST_KEY, Rendered, Settings, entries, read_back, render
from eratos.haproxy.core.services import Backend, Claim, Model, order

SETTINGS = Settings("/s/routes.map")
AUTH = "My realm:joe:$6$saltsalt$" + "a" * 86
APP = Backend(servers={"a": "10.0.0.1:80", "b": "10.0.0.2:80"}, weights={"b": "3"})


def model(*names: str, routes: dict[str, tuple[str, int]] | None = None, **backends: Backend) -> Model:
    backends = {**{name: Backend() for name in names}, **backends}
    return Model(backends, {key: Claim(name, weight, "~") for key, (name, weight) in (routes or {}).items()})


def section(text: str, heading: str) -> list[str]:
    """Return the lines of one section."""
    return next(part for part in text.split("\n\n") if part.startswith(heading)).splitlines()


def rules(found: Rendered) -> list[str]:
    return [line.strip() for line in section(found.text, "frontend eratos:traffic") if "backend" in line or "txn" in line]


@pytest.mark.parametrize(
    ("backend", "line"),
    [
        (Backend(), "balance roundrobin"),
        (Backend(balance="leastconn"), "balance leastconn"),
        (Backend(balance="source"), "hash-type consistent"),
        (Backend(timeout_s="7"), "timeout server 7s"),
        (Backend(mode="tcp", timeout_s="7"), "timeout tunnel 7s"),
        (Backend(sticky="true"), "cookie eratos-app insert indirect nocache httponly dynamic"),
        (
            Backend(),
            'http-request return status 503 content-type text/plain string "no instance of app is ready\\n" if { nbsrv eq 0 }',
        ),
        (
            Backend(redirect_to_https="true"),
            'http-request redirect code 301 location "https://%[req.hdr(host),host_only]:8443%[pathq]" unless { ssl_fc }',
        ),
        (Backend(allowed="127.0.0.1/8, ::1"), "http-request deny status 403 unless { src 127.0.0.1/8 ::1 }"),
        (Backend(mode="tcp", allowed="10.0.0.0/8"), "tcp-request content reject unless { src 10.0.0.0/8 }"),
        (Backend(auth=AUTH), 'http-request auth realm "My realm" unless { http_auth(eratos:app) }'),
        (Backend(auth="r:u:secret"), 'http-request auth realm "r"'),
        (Backend(redirect_root="/home"), "http-request redirect code 301 location /home if { path / }"),
        (Backend(proxypass="/foo/"), "http-request set-path / if { path /foo }"),
        (Backend(proxypass="/foo/"), "http-request set-path %[path,bytes(4)] if { path_beg /foo/ }"),
        (Backend(proxypass="/foo", hosts="*.b.example,a.example"), "http-request set-header Host a.example"),
        (Backend(revproxy="/foo/"), "http-response replace-header Location ^(/(?!/).*)$ /foo\\1"),
        (
            Backend(revproxy="/foo", hosts="a.example,*.b.example"),
            "http-response replace-header Content-Location "
            "^(?:https?://(?:a[.]example|[^./:]+[.]b[.]example)(?::[0-9]+)?)?(/(?!/).*)$ /foo\\1",
        ),
        (Backend(use_hsts="true"), 'http-response set-header Strict-Transport-Security "max-age=15768000" if { ssl_fc }'),
        (APP, "server a 10.0.0.1:80"),
        (APP, "server b 10.0.0.2:80 weight 3"),
        (replace(APP, weights={"b": "0"}), "server b 10.0.0.2:80 weight 0"),
    ],
)
def test_a_backend_has_its_settings_and_servers(backend: Backend, line: str) -> None:
    assert f"  {line}" in section(render(model(app=backend), SETTINGS).text, "backend app from")


def test_users_stand_beside_the_backend_that_asks_for_them() -> None:
    _, user, password = credentials(AUTH)
    text = render(model(app=Backend(auth=AUTH)), SETTINGS).text
    assert section(text, "userlist eratos:app")[1:] == [f"  user {user} password {password}"]
    assert "userlist" not in render(model(app=Backend(auth="r:u:secret")), SETTINGS).text


def test_whoever_is_kept_out_learns_nothing_else() -> None:
    found = section(
        render(model(app=Backend(allowed="10.0.0.0/8", auth=AUTH, redirect_root="/x")), SETTINGS).text, "backend app from"
    )
    first = [
        next(n for n, line in enumerate(found) if word in line) for word in ("deny status 403", "auth realm", "redirect", "503")
    ]
    assert first == sorted(first)


def test_limits_of_servers_are_told_to_those_that_come_later_as_well() -> None:
    found = render(model(app=Backend(maxconn="5")), SETTINGS._replace(dead_host_s=2, check_interval_ms=100))
    settings = found.default_servers(SETTINGS._replace(dead_host_s=2, check_interval_ms=100))["app"]
    assert settings.startswith("check inter 100ms ")
    assert settings.endswith(" tcp-ut 2000ms weight 100 maxconn 5")
    assert f"  default-server {settings}" in section(found.text, "backend app from")


def test_a_tcp_service_has_a_frontend_and_nothing_of_http() -> None:
    served = replace(model(db=Backend(mode="tcp")), ports={"5432": Claim("db", 1, "~")})
    text = render(served, SETTINGS, "/s/certs").text
    assert section(text, "frontend eratos:tcp:5432:db from tcp")[1:] == ["  bind :5432 tcp-ut 900s", "  default_backend db"]
    assert not [line for line in section(text, "backend db from tcp") if "http" in line]


def test_a_redirect_without_a_certificate_is_noted() -> None:
    served = model(app=Backend(redirect_to_https="true"))
    assert render(served, SETTINGS).refused == ("app: its clients are sent to https, where this balancer has no certificate",)
    found = render(served, SETTINGS, "/s/certs/list")
    assert found.refused == ()
    assert "crt-list /s/certs/list alpn" in found.text


# -- shape -------------------------------------------------------------------------------------------------------------


def test_servers_and_the_map_are_no_part_of_the_shape() -> None:
    before = render(model("b", app=APP, routes={"a.example/": ("app", 0)}), SETTINGS)
    for changed in (
        model("b", app=replace(APP, servers={"c": "10.0.0.3:80"}), routes={"a.example/": ("app", 0)}),
        model("b", app=APP, routes={"other.example/": ("app", 0), "a.example/": ("b", 0)}),
    ):
        after = render(changed, SETTINGS)
        assert after.shape == before.shape
        assert after.text != before.text


@pytest.mark.parametrize(
    "changed",
    [
        model("b", app=replace(APP, balance="random"), routes={"a.example/": ("app", 0)}),
        model(app=APP, routes={"a.example/": ("app", 0)}),
        model("b", app=APP, routes={"a.example/": ("app", 0), "/": ("b", 0)}),
        model("b", app=APP, routes={"a.example/": ("app", 0), "/x/": ("b", 0)}),
    ],
)
def test_everything_else_is_part_of_the_shape(changed: Model) -> None:
    before = render(model("b", app=APP, routes={"a.example/": ("app", 0)}), SETTINGS)
    assert render(changed, SETTINGS).shape != before.shape


def test_what_was_written_can_be_read_back_whole() -> None:
    served = model(app=APP, routes={"a.example/x/": ("app", 1)})
    served = replace(served, ports={"81": Claim("app", 0, "2026")})
    found = render(served, SETTINGS, snippets={"backend": 'option x "\u4e2d"\n# model {}\n'})
    again = read_back(found.text)
    assert (again.model, again.snippets, again.shape, again.routes) == (served, found.snippets, found.shape, found.routes)
    assert again.pools == {"eratos:none": {}, "app": {"a": "10.0.0.1:80", "b": "10.0.0.2:80 weight 3"}}
    assert f"\nglobal\n  description {found.shape}\n" in found.text


def test_what_a_companion_of_the_version_before_does_not_know_is_written_only_where_it_is_there() -> None:
    far = replace(APP, failover="dc2", datacenters={"b": "dc2"})
    assert read_back(render(model(app=far), SETTINGS).text).model == model(app=far)
    assert "failover" not in render(model(app=APP), SETTINGS).text
    assert "datacenters" not in render(model(app=replace(far, datacenters={})), SETTINGS).text


@pytest.mark.parametrize("text", ["", "frontend x\n", "frontend x\n\n# Which shape this is.\nglobal\n  description eratos-1\n"])
def test_a_text_of_others_or_of_the_version_before_has_no_model(text: str) -> None:
    assert read_back(text) == Rendered(text=text)
    assert read_back(f"{text}\n# model {{}}") == Rendered(text=f"{text}\n# model {{}}")
    assert read_back(f"{text}\n# model {{") == Rendered(text=f"{text}\n# model {{")
    assert read_back(text).pools == {}


# -- ids and lines of requests -----------------------------------------------------------------------------------------


KEPT = (
    "http-request set-var(txn.request_id) req.fhdr(X-Request-Id) if { req.fhdr_cnt(X-Request-Id) eq 1 } "
    "{ req.fhdr(X-Request-Id) -m reg ^[A-Za-z0-9._-]{8,64}$ }"
)
GIVEN = [
    "http-request set-header X-Request-Id %[var(txn.request_id)]",
    "http-after-response set-header X-Request-Id %[var(txn.request_id)] if { var(txn.request_id) -m found }",
]


@pytest.mark.parametrize(
    ("setting", "lines"),
    [
        ("keep", [KEPT, "http-request set-var(txn.request_id) uuid(7) unless { var(txn.request_id) -m found }", *GIVEN]),
        ("own", ["http-request set-var(txn.request_id) uuid(7)", *GIVEN]),
        ("off", []),
    ],
)
def test_every_http_request_gets_an_id(setting: str, lines: list[str]) -> None:
    served = replace(model(a=APP, db=Backend(mode="tcp")), ports={"81": Claim("a", 1, "~"), "5432": Claim("db", 1, "~")})
    text = render(served, SETTINGS._replace(request_id=setting)).text
    for frontend in ("eratos:traffic", "eratos:http:81:a"):
        assert [line.strip() for line in section(text, f"frontend {frontend} ") if "request_id" in line] == lines
    assert "request_id" not in "".join(section(text, "frontend eratos:tcp:5432:db"))


LOGGING = "  no option dontlog-normal"


@pytest.mark.parametrize(
    ("of_all", "of_app", "line"),
    [
        ("failed", "", ""),
        ("failed", "all", "  http-request set-log-level notice"),
        ("failed", "5%", "  http-request set-log-level notice if { rand(100000) lt 5000 }"),
        ("failed", "0.001%", "  http-request set-log-level notice if { rand(100000) lt 1 }"),
        ("failed", "99.999%", "  http-request set-log-level notice if { rand(100000) lt 99999 }"),
        ("failed", "100%", "  http-request set-log-level notice"),
        ("all", "", "  http-request set-log-level notice"),
        ("0.5%", "", "  http-request set-log-level notice if { rand(100000) lt 500 }"),
        ("all", "failed", ""),
    ],
)
def test_an_app_s_requests_are_logged_as_it_says_and_otherwise_as_the_balancer_does(of_all: str, of_app: str, line: str) -> None:
    served = model(app=Backend(log_requests=of_app), routes={"/": ("app", 0)})
    served = replace(served, ports={"81": Claim("app", 1, "~")})
    text = render(served, SETTINGS._replace(log_requests=of_all)).text
    assert [one for one in section(text, "backend app ") if "set-log-level" in one] == ([line] if line else [])
    for frontend in ("eratos:traffic", "eratos:http:81:app"):
        assert (LOGGING in section(text, f"frontend {frontend} ")) is bool(line)


def test_only_frontends_whose_apps_ask_for_lines_pay_for_them() -> None:
    """HAProxy writes each request's line before it looks at whether that is to be logged."""
    served = model(a=Backend(log_requests="all"), b=Backend(), db=Backend(mode="tcp"), routes={"/": ("b", 0)})
    served = replace(served, ports={"81": Claim("a", 1, "~"), "82": Claim("b", 1, "~"), "5432": Claim("db", 1, "~")})
    text = render(served, SETTINGS).text
    found = [line for line in text.splitlines() if line.startswith("frontend") or line == LOGGING]
    assert [found[index - 1].split()[1] for index, line in enumerate(found) if line == LOGGING] == ["eratos:http:81:a"]


# -- routes ------------------------------------------------------------------------------------------------------------


def test_nothing_that_no_route_asks_for_is_asked_of_a_request() -> None:
    by_host = "req.hdr(host),host_only,lower,rtrim(.),concat(/),map_beg(/s/routes.map)"
    by_wildcard = "req.hdr(host),host_only,lower,rtrim(.),regsub(^[^.]+,*),concat(/),map_beg(/s/routes.map)"
    deep = "req.hdr(host),host_only,lower,rtrim(.),concat(/,txn.path),map_beg(/s/routes.map)"
    path = "http-request set-var(txn.path) path,concat(/)"
    for routes, expected in (
        ({}, ["default_backend eratos:none"]),
        ({"/": ("a", 0)}, ["default_backend a"]),
        ({"h/": ("b", 0), "/": ("a", 0)}, [f"use_backend %[{by_host}]", "default_backend a"]),
        (
            {"*.h/": ("b", 0)},
            [
                f"http-request set-var(txn.backend) {by_host}",
                f"http-request set-var(txn.backend) {by_wildcard} unless {{ var(txn.backend) -m found }}",
                "use_backend %[var(txn.backend)] if { var(txn.backend) -m found }",
                "default_backend eratos:none",
            ],
        ),
        ({"h/x/": ("b", 0)}, [path, f"use_backend %[{deep}]", "default_backend eratos:none"]),
        ({"/x/": ("b", 0)}, [path, "use_backend %[var(txn.path),map_beg(/s/routes.map)]", "default_backend eratos:none"]),
        (
            {"h/": ("a", 0), "/x/": ("b", 0)},
            [
                path,
                f"http-request set-var(txn.backend) {by_host}",
                "use_backend %[var(txn.backend)] if { var(txn.backend) -m found }",
                "use_backend %[var(txn.path),map_beg(/s/routes.map)]",
                "default_backend eratos:none",
            ],
        ),
    ):
        assert rules(render(model("a", "b", routes=routes), SETTINGS._replace(request_id="off"))) == expected


def test_the_map_says_its_own_digest() -> None:
    found = render(model("a", routes={"h/": ("a", 0)}), SETTINGS)
    assert dict(entries(found.map_text)) == {"h/": "a", DIGEST_KEY: found.routes}
    assert render(model("a", routes={"/": ("a", 0)}), SETTINGS).map_text == ""


def looked_up(found: Rendered, host: str, path: str) -> str:
    """Do what HAProxy does with a request: take the longest key that it begins with."""
    table = dict(entries(found.map_text))

    def longest(text: str) -> str:
        return table[max(keys, key=len)] if (keys := [key for key in table if text.startswith(key)]) else ""

    rule = "\n".join(rules(found))
    by_host = longest(f"{host}/{path}/") if "host_only" in rule else ""
    if not by_host and "regsub" in rule:
        by_host = longest(f"{re.sub('^[^.]+', '*', host, count=1)}/{path}/")
    by_path = longest(f"{path}/") if "%[var(txn.path)" in rule else ""
    return by_host or by_path or rule.rpartition(" ")[2]


def matches(route: str, host: str) -> bool:
    """Return whether a route's host is the one of a request, by its definition."""
    return route in ("", host, f"*.{host.partition('.')[2]}")


KEYS = ["/", "/x/", "/x/y/", "h/", "h/x/", "h/x/y/"]
WILDCARDS = ["*.h/", "*.h/x/", "a.h/", "a.h/x/", "/x/"]


@pytest.mark.parametrize(
    "keys",
    [
        KEYS,
        KEYS[1:],
        [*KEYS[1:3], "h/x/"],
        ["/x/", "h/"],
        ["/", "h/x/y/"],
        ["/x/y/", "h/x/"],
        WILDCARDS,
        [*WILDCARDS[1:3], "/", "/x/"],
    ],
)
def test_a_request_gets_the_first_of_the_routes_that_match_it_whatever_they_weigh(keys: list[str]) -> None:
    for weights in product((0, 1, 2)[: 8 - len(keys)], repeat=len(keys)):
        routes = {key: (name, weight) for key, name, weight in zip(keys, "abcdef", weights, strict=False)}
        served = model(*"abcdef", routes=routes)
        found = render(served, SETTINGS)
        for host, path in product(("h", "other", "hh", "a.h", "b.h", "b.a.h"), ("/", "/x", "/x/", "/x/y", "/x/y/z", "/xy", "/z")):
            matching = [
                name
                for route_host, route_path, name in order(served.routes)
                if matches(route_host, host) and f"{path}/".startswith(route_path)
            ]
            assert looked_up(found, host, path) == next(iter(matching), "eratos:none"), (weights, host, path)


# -- administrators' lines ---------------------------------------------------------------------------------------------

LAID = {
    "global": "# why\n  tune.bufsize 32768\n",
    "defaults": "timeout queue 9s",
    "frontend": "http-request deny if { src 192.0.2.1 }",
    "frontend-5432": "tcp-request connection reject if { src 192.0.2.2 }",
    "backend": "option abortonclose\n\ndefault-server maxqueue 10",
    "backend-app": "default-server\tslowstart  5s",
}


@pytest.mark.parametrize(
    ("heading", "line"),
    [
        ("global\n  tune", "tune.bufsize 32768"),
        ("defaults eratos:traffic from traffic", "timeout queue 9s"),
        ("defaults eratos:tcp from tcp", "timeout queue 9s"),
        ("frontend eratos:traffic from eratos:traffic", "http-request deny if { src 192.0.2.1 }"),
        ("frontend eratos:tcp:5432:db from eratos:tcp", "tcp-request connection reject if { src 192.0.2.2 }"),
        ("backend db from eratos:tcp", "option abortonclose"),
        ("backend app from eratos:traffic", "option abortonclose"),
    ],
)
def test_lines_go_where_their_file_says(heading: str, line: str) -> None:
    served = replace(model(app=APP, db=Backend(mode="tcp")), ports={"5432": Claim("db", 1, "~")})
    found = render(served, SETTINGS, snippets=LAID)
    assert f"  {line}" in section(found.text, heading)
    assert "# why" not in found.text.partition("# model")[0]


def test_settings_of_servers_go_to_those_that_come_later_as_well() -> None:
    found = render(model("other", app=APP), SETTINGS, snippets=LAID)
    assert found.default_servers(SETTINGS)["app"].endswith("weight 100 maxqueue 10 slowstart 5s")
    assert found.default_servers(SETTINGS)["other"].endswith("weight 100 maxqueue 10")
    assert section(found.text, "backend app")[-3].endswith("maxqueue 10 slowstart 5s")
