"""When a server counts as used, over all HAProxy processes."""

from __future__ import annotations

from eratos.haproxy.runtime import dead_servers, retirable
from eratos.haproxy.usage import ServerRow, Usage, parse_rows, usage


def row(name: str, status: str = "UP", requests: int = 0, backend: str = "app") -> ServerRow:
    return ServerRow(backend, name, "10.0.0.1:80", status, requests)


def test_rows_are_read_by_the_names_of_their_columns() -> None:
    answer = (
        "# pxname,svname,qcur,scur,status,new_column,addr\n"
        "app,a,1,2,UP 1/2,x,10.0.0.1:80\n"
        "app,b,0,0,MAINT,,10.0.0.2:80\n\n"
    )
    assert parse_rows(answer) == [
        ServerRow("app", "a", "10.0.0.1:80", "UP 1/2", 3),
        ServerRow("app", "b", "10.0.0.2:80", "MAINT", 0),
    ]


def test_a_server_out_of_maintenance_is_used_in_any_process() -> None:
    assert usage("a", [[row("a")]]) == Usage(True, 0)
    assert usage("a", [[row("b")], [row("a")]]) == Usage(True, 0)
    # It may come back any moment.
    assert usage("a", [[row("a", "DOWN")]]) == Usage(True, 0)


def test_a_server_in_maintenance_is_used_until_its_last_request_ends() -> None:
    assert usage("a", [[row("a", "MAINT", requests=1)]]) == Usage(True, 1)
    assert usage("a", [[row("a", "MAINT")]]) == Usage(False, 0)


def test_requests_of_all_processes_and_backends_count() -> None:
    assert usage("a", [[row("a", requests=2)], [row("a", "MAINT", requests=1), row("a", backend="b", requests=4)]]) == (
        Usage(True, 7)
    )


def test_an_unknown_server_is_not_used() -> None:
    assert usage("a", [[row("b")], []]) == Usage(False, 0)


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
