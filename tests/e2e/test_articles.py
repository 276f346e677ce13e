"""The articles' pages in examples/, walked by the test: their commands, one after another, against the tests' cluster."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.folders import ROOT
from support.pages import page
from support.waiting import until

pytestmark = pytest.mark.e2e

EXAMPLES = ROOT / "examples"
INSTANCE = r"(?im)^x-instance: (afternoon\.instance-\S+)"
WRITTEN = "It is written"


def test_the_blog_keeps_what_was_written_wherever_its_database_goes(cluster: Cluster, tmp_path: Path) -> None:
    walked = page(EXAMPLES / "blog" / "README.md", cluster, tmp_path)
    backups = tmp_path / "backups"
    shutil.copytree(EXAMPLES / "blog", tmp_path / "examples" / "blog")
    jobs = tmp_path / "examples" / "blog" / "jobs.json"
    jobs.write_text(jobs.read_text().replace("/srv/blog", str(backups)))
    try:
        begin, write = walked.blocks("All of it")
        walked.walk(begin[: begin.index("eratos app needs")])
        shown = begin[begin.index("eratos app needs") :]
        walked.told(shown, "^HTTP/1.1 200", "<title>A blog that moves", "/blog/db:mysql")
        walked.walk(write)

        away, back, still, kill, after = walked.blocks("The database goes, and comes back")
        walked.told(away, "^HTTP/1.1 502", "^0$", "Slave_IO_Running: (No|Connecting)", "Slave_SQL_Running: Yes")
        containers = cluster.containers("/blog/web")
        walked.walk(back)
        walked.told(still, "^HTTP/1.1 200", WRITTEN, "Slave_IO_Running: Yes")
        cluster.assert_kept("/blog/web", containers)
        (task,) = cluster.tasks("/blog/db")
        walked.walk(kill)
        until(lambda: task not in cluster.tasks("/blog/db"), SOON_S, "the killed database is another task")
        walked.told(after, "^HTTP/1.1 200", WRITTEN, "blog_db", "blog_replica")

        there, restored = walked.blocks("Backup, and back to it")
        walked.walk("eratos app wait /blog/db /blog/replica")
        said = walked.walk(there)
        assert "12 tables are in" in said and "restored from" in said, said
        assert "An error" not in walked.told(restored, "^HTTP/1.1 200", WRITTEN)

        move, moved = walked.blocks("To another host")
        (container,) = cluster.containers("/blog/db").values()
        (other,) = {"agent1", "agent2"} - {cluster.host_of(container)}
        walked.walk("eratos app wait /blog/db /blog/replica")
        assert other in walked.walk(move)
        address = cluster.agent_ip(other)
        walked.told(moved, "^HTTP/1.1 200", WRITTEN, f"Master_Host: {address}", "Slave_IO_Running: Yes")
        cluster.assert_kept("/blog/web", containers)
        (tidy,) = walked.blocks("Tidy up")
        walked.walk(tidy)
        until(lambda: not [name for name in cluster.worker_volumes() if "eratos-blog_" in name], SOON_S, "no volume is left")
    finally:
        for job in ("blog.backup", "blog.restore"):
            cluster.any_api("DELETE", f"/v1/jobs/{job}?stopCurrentJobRuns=true")
        for app in ("web", "replica", "db"):
            cluster.any_api("DELETE", f"/v2/apps/blog/{app}?force=true&wipe=true")
            until(lambda app=app: not cluster.states(f"/blog/{app}"), SOON_S, f"nothing of /blog/{app} runs")
        if backups.exists():
            # Root's, as Docker made it.
            docker("run", "--rm", "-u", "0", "-v", f"{tmp_path}:/there", "eratos/blog", "rm", "-rf", "/there/backups")


def test_an_afternoon_with_twenty_workers_ends_without_a_failed_request(cluster: Cluster, tmp_path: Path) -> None:
    walked = page(EXAMPLES / "afternoon" / "README.md", cluster, tmp_path)
    shutil.copytree(EXAMPLES / "afternoon", tmp_path / "examples" / "afternoon")
    try:
        start, ask = walked.blocks("One worker")
        walked.walk(start)
        first = walked.told(ask, r"^\d{8}$")
        until(lambda: walked.walk(ask) != first, SOON_S, "another prime is found")

        more, members = walked.blocks("Twenty")
        walked.walk(more)
        walked.told(members, r"^20 running", r"^20 in Consul")
        (who,) = walked.blocks("Who answered")
        # Each reload of a balancer begins the turns anew.
        until(lambda: len(set(re.findall(INSTANCE, walked.walk(who)))) == 3, SOON_S, "three instances answer three requests")

        (kill,) = walked.blocks("Killing some")
        assert walked.walk(kill).split() == ["100", "200"]
        walked.told(members, r"^20 running", r"^20 in Consul")
        (tidy,) = walked.blocks("Tidy up")
        walked.walk(tidy)
    finally:
        cluster.delete("/afternoon")
        until(lambda: not cluster.states("/afternoon"), SOON_S, "nothing of it runs")


def test_the_deploy_walk_scales_releases_and_goes_back(cluster: Cluster, tmp_path: Path) -> None:
    walked = page(EXAMPLES / "deploy-walk" / "README.md", cluster, tmp_path)
    shutil.copytree(EXAMPLES / "deploy-walk", tmp_path / "examples" / "deploy-walk")
    until(lambda: not cluster.any_api("GET", "/v2/deployments").json(), SOON_S, "nothing is under way")
    try:
        plan, deploy, ask = walked.blocks("Deploy")
        assert "/walk" in walked.walk(plan)
        walked.walk(deploy)
        walked.told(ask, '"version": "1"')

        (scale,) = walked.blocks("Scale")
        walked.told(scale, "10 of 10 ready")
        (roll,) = walked.blocks("A release, step by step")
        said = walked.walk(roll)
        assert "200 200" in said and "env" in said, said

        begin, gate, promote = walked.blocks("A canary")
        walked.walk(begin)
        walked.told(gate, "at a gate: /walk")
        walked.walk(promote)
        walked.told(ask, '"version": "3"')
        back, then = walked.blocks("And back")
        walked.walk(back)
        walked.told(then, '"version": "2"')
        (tidy,) = walked.blocks("Tidy up")
        walked.walk(tidy)
    finally:
        cluster.any_api("DELETE", "/v2/apps/walk?force=true")
        until(lambda: not cluster.states("/walk"), SOON_S, "nothing of it runs")


def test_lines_of_all_hosts_come_to_one_archive(cluster: Cluster, tmp_path: Path) -> None:
    walked = page(EXAMPLES / "logs" / "README.md", cluster, tmp_path)
    shutil.copytree(EXAMPLES / "logs", tmp_path / "examples" / "logs")
    apps = ("hello-logs", "logs/ship", "logs/archive")
    try:
        (begin,) = walked.blocks("Ship and keep")
        walked.walk(begin)
        hello, read = walked.blocks("An app that says something")
        walked.walk(hello)
        walked.told(read, r"^\S+ agent\d hello-logs\.instance-\S+ stdout hello$")
        shippers = cluster.containers("/logs/ship")
        (archive,) = cluster.containers("/logs/archive").values()
        docker("kill", archive)
        (container,) = cluster.containers("/hello-logs").values()
        docker("exec", container, "sh", "-c", "echo said while nobody keeps >/proc/1/fd/1")
        until(lambda: archive not in cluster.containers("/logs/archive").values(), SOON_S, "the killed archive is another one")
        walked.walk("eratos app wait /logs/archive")
        docker("exec", container, "sh", "-c", "echo said afterwards >/proc/1/fd/1")
        walked.told(read, "stdout said while nobody keeps$", "stdout said afterwards$")
        cluster.assert_kept("/logs/ship", shippers)
        (tidy,) = walked.blocks("Tidy up")
        walked.walk(tidy)
    finally:
        for app in apps:
            cluster.any_api("DELETE", f"/v2/apps/{app}?force=true&wipe=true")
            until(lambda app=app: not cluster.states(f"/{app}"), SOON_S, f"nothing of /{app} runs")
