"""When a server counts as used, over all HAProxy processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eratos.haproxy.core.usage import (
    Figures,
    Process,
    ServerRow,
    Usage,
    may_ask_again,
    parse_figures,
    parse_process,
    parse_rows,
    requests_of,
    usage,
)
from eratos.haproxy.haproxy_process import dead_servers, retirable


def row(name: str, status: str = "UP", requests: int = 0, backend: str = "app", mode: str = "http") -> ServerRow:
    return ServerRow(backend, name, "10.0.0.1:80", status, requests, mode)


def process(*rows: ServerRow) -> Process:
    return Process(rows)


def old(*rows: ServerRow, again: int = 0, under_way: int = 0, tcp: int = 0, **backends: int) -> Process:
    return Process(rows, True, again, under_way, tcp, backends)


STATISTICS = """\
# pxname,svname,qcur,scur,status,new_column,addr,mode,uweight,type
eratos:statistics,FRONTEND,,7,OPEN,,,http,,0
eratos:traffic,FRONTEND,,3,OPEN,,,http,,0
eratos:tcp:5432:db,FRONTEND,,2,OPEN,,,tcp,,0
app,a,1,2,UP 1/2,x,10.0.0.1:80,http,256,2
app,BACKEND,1,4,UP,,,http,256,1
db,FRONTEND,0,2,MAINT,,10.0.0.2:80,tcp,1,2
db,BACKEND,0,2,UP,,,tcp,1,1

"""

# What HAProxy 3.0.11 writes, addresses of memory left out.
START = "22 : st=0x20(cl heopi) gid=1 back=0 cflg=0x80000300 fam=ipv4 lport=8000 rport=44522 fe=eratos:traffic mux="
H1 = "H1 ctx=0x7 h1c.flg=0x0 .sub=0 .ibuf=0@(nil)+0/0 .obuf=0@(nil)+0/0 .task=0x7 .exp=<NEVER>"
H2 = "H2 ctx=0x7 h2c.st0=FRH .err=0 .maxid=3 .lastid=2147483647 .flg={} .nbst={} .nbsc=2, .glitches=0 .dsi=3 .exp=<NEVER>"
STREAM = " last_h2s=0x7 h2s.id=3 .st=HCR .flg=0x207001 .rxbuf=0@(nil)+0/0 .sc=0x7(.flg=0x482 .app=0x7) .subs=(nil)"


def h1(flags: str, request: str, response: str) -> str:
    return f"{START}{H1} h1s=0x7 h1s.flg={flags} .req.state={request} .res.state={response} .meth=GET status=0 xprt=RAW"


IDLE = f"{START}{H1} xprt=RAW"
WAITING = h1("0x100010", "MSG_DONE", "MSG_RPBEFORE")
H2_BUSY = START + H2.format("0x1e00", 2) + STREAM + " xprt=SSL"


@pytest.mark.parametrize(
    ("connection", "told", "again", "requests"),
    [
        (IDLE, True, True, 0),
        (h1("0x10", "MSG_RQVER", "MSG_RPBEFORE"), True, True, 0),  # half a request
        (h1("0x10", "MSG_HDR_L2_LWS", "MSG_RPBEFORE"), True, True, 0),
        (WAITING, False, False, 1),
        (h1("0x10", "MSG_DATA", "MSG_RPBEFORE"), False, False, 1),  # its body is still coming
        (h1("0x124010", "MSG_DONE", "MSG_CHUNK_SIZE"), True, True, 1),  # its answer has begun without `Connection: close`
        (h1("0x124010", "MSG_DONE", "MSG_DONE"), True, True, 1),
        (h1("0x100040", "MSG_DONE", "MSG_DATA"), False, False, 1),
        (h1("0xc010", "MSG_TUNNEL", "MSG_TUNNEL"), False, False, 1),  # a WebSocket
        (START + H2.format("0x1600", 0) + " xprt=SSL", True, False, 0),
        (START + H2.format("0x1600", 0) + " xprt=SSL", False, True, 0),  # what it has sent before it could know may arrive
        (START + H2.format("0x600", 0) + " xprt=SSL", True, True, 0),  # it was not told
        (H2_BUSY, True, False, 2),
        (H2_BUSY, False, True, 2),
        (START.removesuffix(" mux=") + " nomux xprt=SSL", True, True, 0),  # in the midst of TLS's greeting
        (START + "H3 flags=0x0", True, True, 0),
        (WAITING.replace("res.state", "answer"), True, True, 0),  # another HAProxy's words
        (WAITING.replace("MSG_DONE", "MSG_NEW"), True, True, 0),
    ],
)
def test_whether_a_connection_may_bring_another_request(connection: str, told: bool, again: bool, requests: int) -> None:
    assert (may_ask_again(connection, told=told), requests_of(connection)) == (again, requests)


def test_rows_are_read_by_the_names_of_their_columns() -> None:
    # A server may have any name.
    rows = (
        ServerRow("app", "a", "10.0.0.1:80", "UP 1/2", 3, weight=256),
        ServerRow("db", "FRONTEND", "10.0.0.2:80", "MAINT", 2, "tcp", 1),
    )
    connections = "\n".join(
        [
            *(IDLE, WAITING, H2_BUSY),
            IDLE.replace("eratos:traffic", "eratos:statistics"),  # who looks at statistics is no client
            IDLE.replace("eratos:traffic", "GLOBAL"),  # nor is who asks all this
            IDLE.replace("eratos:traffic", "eratos:tcp:5432:db"),
        ]
    )
    found = parse_process(STATISTICS, connections, stopping=True, told=True)
    assert found == Process(rows, True, may_ask_again=1, under_way=3, tcp_clients=2, backends={"app": 4})
    assert parse_rows(STATISTICS) == list(rows)
    # Of a process that does not stop; its clients have not been told of anything.
    assert parse_process(STATISTICS, H2_BUSY) == Process(
        rows, False, may_ask_again=1, under_way=2, tcp_clients=2, backends={"app": 4}
    )


def test_what_has_no_name_no_status_or_no_numbers_counts_as_nothing() -> None:
    found = parse_process("""\
# pxname,svname,qcur,scur,status,addr,mode,uweight,type
eratos:traffic,FRONTEND,,,OPEN,,http,,0
app,nameless,1,1,,10.0.0.1:80,http,1,2
app,,1,1,UP,10.0.0.1:80,http,1,2
app,a,,,UP,10.0.0.1:80,,,2
app,BACKEND,,,UP,,http,1,1
""")
    assert found == Process((row("a"),), backends={"app": 0})


def test_an_old_process_of_which_nothing_is_known_uses_no_server() -> None:
    rows = (row("web"), row("db", mode="tcp"))
    assert [usage(server, [Process(rows, stopping=True)]) for server in ("web", "db")] == [Usage(False, 0)] * 2


def test_figures_are_read_by_backend_and_server() -> None:
    found = parse_figures("""\
# pxname,svname,rate,weight,new_column,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,eresp,rtime,stot,qcur,srv_abrt
app,a,7,100,x,1,100,20,10,3,2,5,25,150,2,1
db,a,,100,,,,,,,,,,9,,
app,BACKEND,7,100,x,1,100,20,10,3,2,5,25,150,4,1
""")
    assert found == {
        ("app", "a"): Figures(100, 7, 3, 25, 136, 5, 150, 2, 1, 2),
        ("db", "a"): Figures(100, 0, 0, 0, 0, 0, 9),
        ("app", "BACKEND"): Figures(100, 7, 3, 25, 136, 5, 150, 4, 1, 2),
    }


def test_a_server_out_of_maintenance_is_used_in_the_current_process() -> None:
    assert usage("a", [process(row("a"))]) == Usage(True, 0, last=True)
    # It may come back any moment.
    assert usage("a", [process(row("a", "DOWN"))]) == Usage(True, 0, last=True)


def test_a_server_in_maintenance_is_used_until_its_last_request_ends() -> None:
    assert usage("a", [process(row("a", "MAINT", requests=1))]) == Usage(True, 1)
    assert usage("a", [process(row("a", "MAINT"))]) == Usage(False, 0)


def test_an_old_process_may_send_to_any_http_server_while_a_client_may_ask_again() -> None:
    assert usage("a", [process(row("b")), old(row("a"), again=1)]) == Usage(True, 0)
    assert usage("a", [process(row("b")), old(row("a", "MAINT"), again=1)]) == Usage(False, 0)
    assert usage("a", [process(row("b")), old(row("a"), tcp=1)]) == Usage(False, 0)


def test_requests_under_way_in_an_old_process_hold_up_their_own_servers_alone() -> None:
    rows = (row("a", requests=1), row("b"), row("c", requests=2, backend="other"), row("d", backend="other"))
    finishing = old(*rows, under_way=3, app=1, other=2)
    assert [usage(server, [finishing]).used for server in "abcd"] == [True, False, True, False]


def test_a_request_that_waits_for_a_server_holds_up_those_of_its_backend() -> None:
    rows = (row("a", requests=1), row("b"), row("c", backend="other"))
    assert [usage(server, [old(*rows, under_way=2, app=2)]).used for server in "abc"] == [True, True, False]
    # One that is not known to have a backend yet may come anywhere.
    assert [usage(server, [old(*rows, under_way=2, app=1)]).used for server in "abc"] == [True, True, True]


def test_a_process_that_does_not_stop_yet_may_send_anywhere() -> None:
    assert usage("a", [Process((row("a"),))]) == Usage(True, 0, last=True)


def test_a_long_connection_in_an_old_process_holds_up_its_own_server_alone() -> None:
    rows = (row("web"), row("db1", requests=1, mode="tcp"), row("db2", mode="tcp"))
    assert usage("db1", [old(*rows, tcp=1)]) == Usage(True, 1)
    assert usage("db2", [old(*rows, tcp=1)]) == Usage(False, 0)
    assert usage("web", [old(*rows, tcp=1)]) == Usage(False, 0)
    # A second connection has no server yet.
    assert usage("db2", [old(*rows, tcp=2)]) == Usage(True, 0)


def test_requests_of_all_processes_and_backends_count() -> None:
    processes = [process(row("a", requests=2)), old(row("a", "MAINT", requests=1), row("a", backend="b", requests=4))]
    assert usage("a", processes) == Usage(True, 7, last=True)


@pytest.mark.parametrize(
    ("others", "last"),
    [
        ([], True),
        ([row("b")], False),
        ([row("b", "no check")], False),
        ([row("b", "UP 1/2")], False),
        ([row("b", "DOWN")], True),
        ([row("b", "MAINT")], True),
        ([replace(row("b"), weight=0)], True),  # it waits for its turn
        ([row("gone")], True),
        ([row("gone"), row("b")], False),
        ([row("b", backend="other")], True),
        ([row("b"), row("a", backend="admin")], True),  # of its two backends one has nobody else
        ([row("b"), row("a", backend="admin"), row("b", backend="admin")], False),
        ([row("b"), row("a", "MAINT", backend="admin")], False),
    ],
)
def test_a_server_is_the_last_of_a_backend_where_nobody_stays(others: list[ServerRow], last: bool) -> None:
    assert usage("a", [process(row("a"), *others)], {"gone", "a"}).last == last


def test_who_gets_nothing_more_is_not_the_last() -> None:
    assert not usage("a", [process(row("a", "MAINT"))]).last
    assert not usage("a", [process(row("b"))]).last


def test_what_is_left_to_an_old_process_says_nothing_of_who_is_there() -> None:
    assert not usage("a", [process(row("a"), row("b")), old(row("a"), again=1)]).last


def test_an_unknown_server_is_not_used() -> None:
    assert usage("a", [process(row("b")), process()]) == Usage(False, 0)


def test_servers_are_retired_where_their_pool_has_another() -> None:
    rows = [row("a"), row("b"), row("c", "MAINT"), row("a", backend="other")]
    assert retirable(rows, {"app": {"a"}, "other": {"a"}}) == [row("a")]
    assert retirable(rows, {"app": {"a", "b"}}) == []
    assert retirable([row("a"), row("b", "DOWN")], {"app": {"a"}}) == []
    assert retirable([row("a"), replace(row("b"), weight=0)], {"app": {"a"}}) == []  # nothing would come there


def test_only_servers_found_dead_by_checks_are_kept_for_the_next_process() -> None:
    heading = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time"
    up = "4 app 1 a 10.0.0.1 2 0 1 100 7"
    dead = "4 app 2 b 10.0.0.2 0 0 {} {} 7"
    in_maintenance = "4 app 3 c 10.0.0.3 0 1 1 100 7"
    found = dead_servers(f"{heading}\n{up}\n{dead.format(1, 100)}\n{in_maintenance}\n\n")
    assert found == f"{heading}\n{dead.format(0, 0)}\n"
