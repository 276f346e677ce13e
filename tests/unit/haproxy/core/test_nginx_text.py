"""A model as nginx reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eratos.haproxy import render
from eratos.haproxy.core import nginx_text
from eratos.haproxy.core.services import Backend, Claim, Instance, Model

APP = Backend(servers={"a": "10.0.0.1:80", "b": "[fd00::1]:80"}, weights={"b": "3"}, maxconn="7")


def text(routes: dict[str, tuple[str, int]] | None = None, ports: dict[str, str] | None = None, **backends: Backend) -> str:
    claims = {key: Claim(name, weight, "~") for key, (name, weight) in (routes or {}).items()}
    model = Model(backends, claims, {port: Claim(name, 1, "~") for port, name in (ports or {}).items()}, ('x: path "a"',))
    return nginx_text.render(model, {"ERATOS_HTTP_BIND": "127.0.0.1:80", "ERATOS_MAX_FAILS": "9"}, {"http": "gzip on;"})


@pytest.mark.parametrize(
    "line",
    [
        '# refused x: path "a"',
        "worker_processes 2;",
        "listen 127.0.0.1:80;",
        "listen *:9090;",
        "gzip on;",
        '"~^\\Qa.example/x/\\E" "app-',
        '"~^[^/]*\\Q/y/\\E" "app-',
        '"~^" "empty-',
        "server 10.0.0.1:80 weight=100 max_fails=9 fail_timeout=60s max_conns=7;",
        "server [fd00::1]:80 weight=3 max_fails=9 fail_timeout=60s max_conns=7;",
        "least_conn;",
        "listen *:81;",
        'return 503 "no instance of empty is ready\\n";',
        '" "empty";',
        "# refused db: port 5432, as nginx is set up for HTTP alone",
        "# refused empty: sticky true, which has no counterpart in nginx",
        "# refused empty: log-requests 5%, where nginx logs every request",
    ],
)
def test_what_is_served_and_what_is_not(line: str) -> None:
    found = text(
        {"a.example/x/": ("app", 1), "/y/": ("app", 0), "/": ("empty", -2)},
        {"81": "empty", "5432": "db"},
        app=APP,
        empty=Backend(sticky="true", log_requests="5%"),
        db=Backend(mode="tcp", servers={"d": "10.0.0.2:80"}),
    )
    assert [one for one in found.splitlines() if line in one], found
    assert "upstream db" not in found
    assert found.index("a.example") < found.index("/y/") < found.index('"~^"')


@pytest.mark.parametrize("guard", [{"allowed": "10.0.0.0/8"}, {"auth": "r:u:secret"}])
def test_who_is_not_for_everybody_is_for_nobody(guard: dict[str, str]) -> None:
    found = text({"/y/": ("app", 0)}, {"81": "app"}, app=Backend(servers={"a": "10.0.0.1:80"}, **guard))
    assert "# refused app: it is not for everybody, and nginx keeps nobody out" in found
    assert "10.0.0.1" not in found
    assert 'return 503 "no instance of app is ready' in found


def test_servers_have_the_weights_of_their_zones() -> None:
    near = Backend(servers={"a": "10.0.0.1:80", "b": "10.0.0.2:80"}, zone="x", zones={"a": "x"}, shares={"a": "256", "b": "1"})
    found = text(app=near)
    assert "server 10.0.0.1:80 weight=256 " in found
    assert "server 10.0.0.2:80 weight=1 " in found


def test_names_that_differ_in_capital_letters_are_told_apart() -> None:
    names = {line.split()[1].lower() for line in text(a=APP, A=APP).splitlines() if line.strip().startswith("upstream")}
    assert len(names) == 2


def test_it_is_written_from_the_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ERATOS_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("ERATOS_SNIPPETS_DIR", str(tmp_path / "snippets"))
    (tmp_path / "facts.json").write_text('{"servers_file": "10.0.0.1:80\\n"}')
    render.main(["nginx"])
    assert "server 10.0.0.1:80 weight=100 " in capsys.readouterr().out
    monkeypatch.setenv("ERATOS_DATACENTERS", "dc2,dc3,dc4")
    meta = {"haproxy-group": "external", "haproxy-failover": "dc3,dc4,dc2"}
    for name, port in (("facts", 80), ("facts-dc3", 81)):
        instance = Instance(name, "10.0.0.1", port, "passing", ["eratos"], meta)
        (tmp_path / f"{name}.json").write_text(json.dumps({"services": {"app": [instance._asdict()]}}))
    (tmp_path / "facts-dc2.json").write_text("{")
    render.main(["nginx"])
    written = capsys.readouterr()
    assert "server 10.0.0.1:80 weight=256 " in written.out
    assert "server 10.0.0.1:81 weight=1 " in written.out
    assert written.err.startswith("facts-dc2.json: it holds no facts")
    (tmp_path / "snippets").mkdir()
    (tmp_path / "snippets/htp.conf").touch()
    with pytest.raises(SystemExit, match=r"htp\.conf: its name must be main\.conf, http\.conf, server\.conf"):
        render.main(["nginx"])
    (tmp_path / "snippets/htp.conf").unlink()
    (tmp_path / "facts.json").write_text("{")
    with pytest.raises(SystemExit, match="half a file"):
        render.main(["nginx"])
    monkeypatch.setenv("ERATOS_ZONE_POLICY", "prefer")
    with pytest.raises(SystemExit, match="nothing is written: ERATOS_ZONE_POLICY=prefer: needs ERATOS_ZONE"):
        render.main(["nginx"])
    with pytest.raises(SystemExit, match="usage"):
        render.main([])
    assert capsys.readouterr().out == ""


def test_servers_whose_turn_has_not_come_get_nothing() -> None:
    found = text({}, app=Backend(servers={"a": "10.0.0.1:80", "b": "10.0.0.2:80"}, weights={"b": "0"}))
    assert "server 10.0.0.1:80 weight=100 max_fails" in found
    assert "server 10.0.0.2:80 down max_fails" in found
    near = Backend(servers={"a": "10.0.0.1:80", "b": "10.0.0.2:80"}, weights={"b": "0"}, shares={"a": "256", "b": "0"})
    assert "server 10.0.0.1:80 weight=256 max_fails" in text({}, app=near)
    assert "server 10.0.0.2:80 down max_fails" in text({}, app=near)
