"""When a server counts as used, over all HAProxy processes."""

from __future__ import annotations

from eratos.haproxy.runtime import dead_servers, retirable
from eratos.haproxy.usage import Process, ServerRow, Usage, parse_process, parse_rows, usage


def row(name: str, status: str = "UP", requests: int = 0, backend: str = "app", mode: str = "http") -> ServerRow:
    return ServerRow(backend, name, "10.0.0.1:80", status, requests, mode)


def process(*rows: ServerRow) -> Process:
    return Process(rows)


def old(*rows: ServerRow, http: int = 0, tcp: int = 0) -> Process:
    return Process(rows, http, tcp, old=True)


ANSWER = """\
# pxname,svname,qcur,scur,status,new_column,addr,mode,type
eratos:statistics,FRONTEND,,7,OPEN,,,http,0
eratos:traffic,FRONTEND,,3,OPEN,,,http,0
eratos:tcp:5432:db,FRONTEND,,2,OPEN,,,tcp,0
app,a,1,2,UP 1/2,x,10.0.0.1:80,http,2
db,FRONTEND,0,2,MAINT,,10.0.0.2:80,tcp,2

"""


def test_rows_are_read_by_the_names_of_their_columns() -> None:
    # A server may have any name.
    rows = (row("a", "UP 1/2", requests=3), ServerRow("db", "FRONTEND", "10.0.0.2:80", "MAINT", 2, "tcp"))
    assert parse_process(ANSWER, old=True) == Process(rows, http_clients=3, tcp_clients=2, old=True)
    assert parse_rows(ANSWER) == list(rows)


def test_a_server_out_of_maintenance_is_used_in_the_current_process() -> None:
    assert usage("a", [process(row("a"))]) == Usage(True, 0)
    # It may come back any moment.
    assert usage("a", [process(row("a", "DOWN"))]) == Usage(True, 0)


def test_a_server_in_maintenance_is_used_until_its_last_request_ends() -> None:
    assert usage("a", [process(row("a", "MAINT", requests=1))]) == Usage(True, 1)
    assert usage("a", [process(row("a", "MAINT"))]) == Usage(False, 0)


def test_an_old_process_may_send_to_any_http_server_while_it_has_an_http_client() -> None:
    assert usage("a", [process(row("b")), old(row("a"), http=1)]) == Usage(True, 0)
    assert usage("a", [process(row("b")), old(row("a", "MAINT"), http=1)]) == Usage(False, 0)
    assert usage("a", [process(row("b")), old(row("a"), tcp=1)]) == Usage(False, 0)


def test_a_long_connection_in_an_old_process_holds_up_its_own_server_alone() -> None:
    rows = (row("web"), row("db1", requests=1, mode="tcp"), row("db2", mode="tcp"))
    assert usage("db1", [old(*rows, tcp=1)]) == Usage(True, 1)
    assert usage("db2", [old(*rows, tcp=1)]) == Usage(False, 0)
    assert usage("web", [old(*rows, tcp=1)]) == Usage(False, 0)
    # A second connection has no server yet.
    assert usage("db2", [old(*rows, tcp=2)]) == Usage(True, 0)


def test_requests_of_all_processes_and_backends_count() -> None:
    processes = [process(row("a", requests=2)), old(row("a", "MAINT", requests=1), row("a", backend="b", requests=4))]
    assert usage("a", processes) == Usage(True, 7)


def test_an_unknown_server_is_not_used() -> None:
    assert usage("a", [process(row("b")), process()]) == Usage(False, 0)


def test_servers_are_retired_where_their_pool_has_another() -> None:
    rows = [row("a"), row("b"), row("c", "MAINT"), row("a", backend="other")]
    assert retirable(rows, {"app": {"a"}, "other": {"a"}}) == [row("a")]
    assert retirable(rows, {"app": {"a", "b"}}) == []
    assert retirable([row("a"), row("b", "DOWN")], {"app": {"a"}}) == []


def test_only_servers_found_dead_by_checks_are_kept_for_the_next_process() -> None:
    heading = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
    up = "4 app 1 a 10.0.0.1 2 0 1"
    dead = "4 app 2 b 10.0.0.2 0 0 1"
    in_maintenance = "4 app 3 c 10.0.0.3 0 1 1"
    assert dead_servers(f"{heading}\n{up}\n{dead}\n{in_maintenance}\n\n") == f"{heading}\n{dead}\n"
