"""A balancer without Consul: its servers stand in a file, and go the same way as Consul's."""

from __future__ import annotations

from collections import Counter

from support.balancer import Rig, a_balancer
from support.waiting import until


def write(rig: Rig, *ports: int, more: str = "") -> None:
    for port in ports:
        rig.owners[port].add("static")
    lines = "".join(f"{rig.workers_address}:{port}\\n" for port in ports)
    rig.shell(f"printf '{lines}{more}' > /tmp/new; mv /tmp/new /tmp/servers")


def await_servers(rig: Rig, *ports: int) -> None:
    wanted = {f"{rig.workers_address}:{port}" for port in ports}
    until(lambda: rig.in_rotation("static") == wanted, 15, f"the rotation is {sorted(wanted)}")


def test_servers_come_from_a_file_and_its_changes_are_followed() -> None:
    with a_balancer(ERATOS_SERVERS_FILE="/tmp/servers") as rig:
        until(lambda: rig.get().status == 503, 30, "HAProxy runs")
        write(rig, 9000, 9001, 9002, more="# a comment\\n\\nhost:80\\n1.2.3.4:80 weight 9\\n")
        await_servers(rig, 9000, 9001, 9002)
        assert Counter(rig.get().port for _ in range(12)) == {9000: 4, 9001: 4, 9002: 4}
        assert rig.status()["left_out"] == [
            'static: "host:80" is no address with a port, such as 10.0.0.1:8080',
            'static: "1.2.3.4:80 weight 9" is no address with a port, such as 10.0.0.1:8080',
        ]
        reloads = rig.status()["reloads"]
        with rig.load(app="static") as load:
            write(rig, 9002, 9003)
            await_servers(rig, 9002, 9003)
            # The guard works here as well: what is emptied and still answers stays for some seconds.
            write(rig)
            assert until(lambda: rig.status()["held"], 10, "the guard holds back", pace_s=0.01)
        assert load.failures == []
        until(lambda: rig.get().status == 503, 15, "the file is taken at its word")
        assert rig.status()["reloads"] == reloads
        # There is no Consul to be registered in, and nobody complains of that.
        assert "configuration applied" in rig.balancer.logs()
        assert "not registered" not in rig.balancer.logs()
