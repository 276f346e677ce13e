"""Many hosts and paths through one map, changed while HAProxy runs; and administrators' own lines, good and bad."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from support.balancer import SNIPPETS, STATE, TCP_PORTS, Rig, a_balancer, ask
from support.waiting import until

PORTS = tuple(range(9000, 9030))


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_balancer() as rig:
        yield rig


def hosts(port: int) -> list[str]:
    return [f"h{number}.p{port}.example" for number in range(20)]


def test_hundreds_of_hosts_lead_to_their_apps_and_move_without_a_reload(rig: Rig) -> None:
    for port in PORTS:
        rig.register(port, app=f"app{port}", meta={"haproxy-vhost": ",".join(hosts(port))})
    until(lambda: rig.get("/", hosts(PORTS[-1])[-1]).status == 200, 20, "the last host is there")
    for port in PORTS:
        assert {rig.get("/x", host).port for host in hosts(port)} == {port}
    assert rig.get("/", "h1.example").status == 503
    rules = rig.shell(f"grep -c use_backend {STATE}/live.cfg")
    assert int(rules) == 1
    haproxy, reloads = rig.shell("pidof haproxy"), rig.status()["reloads"]
    # A host is handed over, another one is new, and all others of the first app are gone.
    with rig.load(path="/") as load:
        moved = hosts(PORTS[0])[0]
        rig.register(PORTS[0], app=f"app{PORTS[0]}", meta={"haproxy-vhost": "new.example"})
        rig.register(PORTS[1], app=f"app{PORTS[1]}", meta={"haproxy-vhost": ",".join([*hosts(PORTS[1]), moved])})
        until(lambda: rig.get("/", "new.example").body.startswith(str(PORTS[0])), 10, "the new host is there")
        until(lambda: rig.get("/", moved).body.startswith(str(PORTS[1])), 10, "the other app has the host")
    assert rig.get("/", hosts(PORTS[0])[1]).status == 503
    assert (rig.status()["reloads"], rig.shell("pidof haproxy")) == (reloads, haproxy)
    assert not [failure for failure in load.failures if "no application answers here" not in failure]
    # What HAProxy was told is what it finds when it starts anew.
    rig.kill("haproxy")
    until(lambda: rig.shell("pidof haproxy") != haproxy and rig.get("/", moved).status == 200, 10, "HAProxy serves again")
    assert (rig.get("/", moved).port, rig.get("/", "new.example").port) == (PORTS[1], PORTS[0])


def test_of_all_routes_that_match_the_first_by_weight_host_and_depth_is_taken(rig: Rig) -> None:
    for port, meta in {
        9000: {"haproxy-path": "/"},
        9001: {"haproxy-path": "/x"},
        9002: {"haproxy-path": "/x/y"},
        9003: {"haproxy-vhost": "a.example"},
        9004: {"haproxy-vhost": "a.example", "haproxy-path": "/x"},
        9005: {"haproxy-vhost": "b.example", "haproxy-path": "/only"},
        9006: {"haproxy-path": "/heavy", "haproxy-backend-weight": "9"},
        9007: {"haproxy-vhost": "*.example"},
        9008: {"haproxy-vhost": "*.example", "haproxy-path": "/wild"},
    }.items():
        rig.register(port, app=f"app{port}", meta=meta)
    until(lambda: rig.get("/wild", "z.example").body.startswith("9008"), 10, "the last app is there")
    expected = {
        ("", "/"): 9000,
        ("", "/xy"): 9000,
        ("", "/x"): 9001,
        ("", "/x?y"): 9001,
        ("", "/x/y/z"): 9002,
        ("a.example", "/"): 9003,
        ("A.EXAMPLE:8000", "/xy"): 9003,
        ("a.example.", "/xy"): 9003,
        ("a.example", "/x/y"): 9004,
        ("a.example.evil", "/"): 9000,
        ("b.example", "/only/this"): 9005,
        ("b.example", "/x/y"): 9007,
        ("a.example", "/heavy/"): 9006,
        ("b.example", "/heavy"): 9006,
        ("c.example", "/"): 9007,
        ("C.Example:8000", "/wild/x"): 9008,
        ("c.example", "/heavy"): 9006,
        ("a.example", "/wild"): 9003,
        ("b.example", "/wild"): 9008,
        ("d.c.example", "/"): 9000,
        ("example", "/"): 9000,
    }
    assert {(host, path): rig.get(path, host).port for host, path in expected} == expected
    # One that names no path, and one that names no host.
    assert asked(rig, "OPTIONS", "*", "a.example").startswith("9003")
    assert asked(rig, "GET", "/x", "").startswith("9001")


def asked(rig: Rig, method: str, target: str, host: str) -> str:
    """Send a request as HTTP's own library would not."""
    connection = http.client.HTTPConnection("127.0.0.1", rig.balancer.ports[8000], timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        return connection.getresponse().read().decode()
    finally:
        connection.close()


# -- administrators' own lines -----------------------------------------------------------------------------------------


def lay(rig: Rig, name: str, text: str) -> None:
    rig.shell(f"cat > /tmp/laid <<'END'\n{text}\nEND\nmv /tmp/laid {SNIPPETS}/{name}", root=True)


def left_out(rig: Rig, file: str) -> list[str]:
    return [reason for reason in rig.status()["left_out"] if reason.startswith(f"{file}: ")]


def test_administrators_lay_lines_into_every_part(rig: Rig) -> None:
    rig.register(9000, 9001)
    rig.register(9002, app="other", meta={"haproxy-path": "/other"})
    rig.register(9003, app="db", meta={"haproxy-mode": "tcp", "haproxy-port": str(TCP_PORTS[0])})
    rig.await_rotation(9003, backend="db")
    lay(rig, "global.cfg", "# larger than ours\ntune.maxrewrite 2048")
    lay(rig, "defaults.cfg", "timeout queue 9s")
    lay(rig, "frontend.cfg", "http-request return status 418 if { path /teapot }")
    lay(rig, "backend-other.cfg", "http-response set-header X-Laid other")
    lay(rig, f"frontend-{TCP_PORTS[0]}.cfg", "tcp-request connection reject")
    lay(rig, "backend.cfg", "default-server slowstart 100ms\nfullconn 500")
    until(lambda: rig.get("/teapot").status == 418, 10, "the frontend has its line")
    until(lambda: rig.get("/other").headers.get("x-laid") == "other", 10, "the backend has its line")
    assert "x-laid" not in rig.get("/").headers
    until(lambda: refused(rig, TCP_PORTS[0]), 10, "the port's frontend has its line")
    until(lambda: "fullconn 500" in rig.shell(f"cat {STATE}/live.cfg"), 10, "all backends have theirs")
    assert left_out(rig, "") == [] == [reason for reason in rig.status()["left_out"] if ".cfg" in reason]
    # Servers still come and go without a reload. Once one has come, those that the lines asked for are counted.
    rig.register(9004)
    rig.await_rotation(9000, 9001, 9004)
    reloads = rig.status()["reloads"]
    rig.register(9005)
    rig.await_rotation(9000, 9001, 9004, 9005)
    assert rig.status()["reloads"] == reloads
    rig.shell(f"rm {SNIPPETS}/*", root=True)
    until(lambda: rig.get("/teapot").status == 200, 10, "lines that are gone count no more")


def refused(rig: Rig, port: int) -> bool:
    try:
        ask(rig.balancer.ports[port], "GET", "/")
    except (OSError, http.client.HTTPException):
        return True
    return False


def test_a_bad_file_is_named_its_last_good_content_goes_on_and_so_does_everything_else(rig: Rig) -> None:
    rig.register(9000)
    lay(rig, "frontend.cfg", "http-request return status 418 if { path /teapot }")
    until(lambda: rig.get("/teapot").status == 418, 10, "the line is served")
    lay(rig, "frontend.cfg", "nonsense here")
    lay(rig, "backend.cfg", "http-request deny unless { nonsense }")
    lay(rig, "global.cfg", "maxconn 10\nbackend evil")
    lay(rig, "odd-name.cfg", "")
    until(lambda: left_out(rig, "frontend.cfg"), 10, "the bad file is named")
    (reason,) = until(lambda: left_out(rig, "frontend.cfg"), 10, "the bad file is named")
    assert "unknown keyword 'nonsense'" in reason
    assert reason.endswith("; the one from before goes on")
    assert "unknown keyword 'nonsense'" in rig.status()["last_reason"] or "nonsense" in rig.status()["last_reason"]
    until(lambda: left_out(rig, "backend.cfg"), 10, "so is the other")
    assert left_out(rig, "global.cfg") == [
        "global.cfg: backend may not stand in a snippet: it holds lines of one section, and no servers"
    ]
    assert left_out(rig, "odd-name.cfg")

    def told() -> bool:
        (balancer,) = rig.services("eratos-balancer")
        return any(note.startswith("frontend.cfg: ") for note in balancer["Service"]["Meta"].values())

    until(told, 15, "whoever asks Consul is told")
    assert rig.get("/teapot").status == 418
    rig.register(9001, app="new", meta={"haproxy-path": "/new"})
    until(lambda: rig.get("/new").body.startswith("9001"), 10, "a new app is served all the same")
    # The last good lines outlive the companion as well.
    rig.kill("python3")
    until(lambda: rig.companion("GET", "/health")["http_status"] == 200, 10, "the companion runs again")
    rig.register(9002, app="newer", meta={"haproxy-path": "/newer"})
    until(lambda: rig.get("/newer").body.startswith("9002"), 10, "changes go on")
    assert rig.get("/teapot").status == 418
    rig.shell(f"rm {SNIPPETS}/*", root=True)
    until(lambda: not [reason for reason in rig.status()["left_out"] if ".cfg" in reason], 10, "all is well again")
    until(lambda: rig.get("/teapot").status == 200, 10, "lines that are gone count no more")
