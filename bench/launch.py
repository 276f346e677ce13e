"""How fast a fleet comes up, set against the machine's own limit, and how fast a loss is noticed.

``launch_ratio`` is the time from POST until all tasks run, over the time that a parallel ``docker run -d`` loop takes for the
same number of the same containers (image, limits, network), interleaved, median of the pairs. Run by ``./dev bench launch``
on a running cluster; it uses an app of its own and leaves the cluster as it was. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from _fleet import CPUS, MEM_MIB, PACE_S, ROOT, Fleet, machine, waited
from support.cluster import Cluster
from support.containers import docker
from support.waiting import until


def launch(fleet: Fleet, count: int) -> tuple[float, float]:
    """Start the fleet through eratos; return (seconds to all running, seconds from there to all answering)."""
    cluster = fleet.cluster
    # Plainly, and for the counts alone: the docker loop is not looked at while it runs, and looking takes CPU away.
    api = http.client.HTTPConnection("127.0.0.1", cluster.ports[f"ERATOS_API{cluster.leader()}_PORT"], timeout=30)

    def call(method: str, path: str, body: Any = None) -> Any:
        api.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = api.getresponse()
        text = answer.read()
        assert answer.status in (200, 201), text
        return json.loads(text)

    def running() -> bool:
        [app] = call("GET", f"/v2/apps?embed=apps.counts&id={fleet.app['id']}")["apps"]
        return bool(app["tasksRunning"] == count)

    with contextlib.closing(api):
        api.connect()
        began = time.monotonic()
        call("POST", "/v2/apps", {**fleet.app, "instances": count})
        until(running, 60, f"{count} tasks run", pace_s=PACE_S)
    ran = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda url: all_answer(url, fleet.host, count), cluster.balancers))
    return ran - began, time.monotonic() - ran


def all_answer(url: str, host: str, count: int) -> None:
    """Send requests through a balancer until every instance has answered."""
    seen: set[str] = set()
    with requests.Session() as session:

        def complete() -> bool:
            answer = session.get(url, headers={"Host": host}, timeout=10)
            if answer.status_code == 200:
                seen.add(answer.headers["X-Instance"])
            return len(seen) == count

        until(complete, 60, f"{count} instances answer through {url}", pace_s=0)


def docker_loop(cluster: Cluster, count: int) -> float:
    """Start the same containers by parallel ``docker run -d``; return the seconds until the last one was started."""
    agents = [cluster.container_of(f"agent{number}") for number in (1, 2, 3)]
    commands = [
        [
            "docker", "run", "-d", "--network", f"container:{agents[number % 3]}", "--cpu-shares", str(round(CPUS * 1024)),
            "--memory", f"{MEM_MIB}m", "--memory-swap", f"{MEM_MIB}m", "--env", f"PORT={31900 + number}", "--env", "WORK_S=0",
            "--label", "eratos.bench=launch", "eratos/prime",
        ]
        for number in range(count)
    ]  # fmt: skip
    began = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    took = time.monotonic() - began
    docker("rm", "-f", *docker("ps", "-aq", "--filter", "label=eratos.bench=launch").split())
    return took


def loss(fleet: Fleet) -> float:
    """Kill one worker; return the seconds until neither balancer sends there any more."""
    task, container = sorted(fleet.cluster.containers(fleet.app["id"]).items())[0]
    server = f"eratos-{task}"
    docker("kill", container)

    def gone() -> bool:
        return all(server not in fleet.cluster.servers(balancer, fleet.backend) for balancer in (1, 2))

    return waited(gone, 60, f"{server} leaves the rotation")


def infra_mib(cluster: Cluster) -> float:
    """Return the memory of all containers of the compose project together, executors included, workers not."""
    ids = docker("ps", "-q", "--filter", f"label=com.docker.compose.project={cluster.project}").split()
    lines = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", *ids).splitlines()
    units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0, "B": 1 / 1024**2}
    total = 0.0
    for line in lines:
        used = line.split("/")[0].strip()
        unit = next(unit for unit in ("KiB", "MiB", "GiB", "B") if used.endswith(unit))
        total += float(used.removesuffix(unit)) * units[unit]
    return total


def recorded_timings() -> dict[str, Any]:
    """Return what ``./dev up`` wrote of its last runs: cold, warm, and where nothing was to be done."""
    path = ROOT / "compose-dev" / ".generated" / "timings.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench launch", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs, interleaved (default: 5)")
    parser.add_argument("--count", type=int, default=20, help="instances in each run (default: 20)")
    options = parser.parse_args()
    ours, loops, rotations, losses = [], [], [], []
    with Fleet("bench-launch", taskKillGracePeriodSeconds=2) as fleet:
        launch(fleet, options.count)  # warms executors and images, as the docker loop's are warm
        fleet.remove()
        for pair in range(options.pairs):
            loops.append(docker_loop(fleet.cluster, options.count))
            launched, rotation = launch(fleet, options.count)
            ours.append(launched)
            rotations.append(rotation)
            fleet.cluster.settle(fleet.app, options.count)
            losses.append(loss(fleet))
            fleet.remove()
            print(
                f"pair {pair + 1} of {options.pairs}: launch {launched:.2f} s, docker loop {loops[-1]:.2f} s, "
                f"rotation {rotation:.2f} s, loss {losses[-1]:.2f} s",
                flush=True,
            )
    recorded = recorded_timings()
    print(
        json.dumps(
            {
                "launch_ratio": round(statistics.median(a / b for a, b in zip(ours, loops, strict=True)), 3),
                "launch_s": round(statistics.median(ours), 3),
                "docker_loop_s": round(statistics.median(loops), 3),
                "rotation_s": round(statistics.median(rotations), 3),
                "loss_s": round(statistics.median(losses), 3),
                "up_cold_s": recorded.get("up_cold_s"),
                "up_warm_s": recorded.get("up_warm_s"),
                "up_idle_s": recorded.get("up_idle_s"),
                "infra_mib": round(infra_mib(fleet.cluster)),
                **machine(),
                "instances": options.count,
                "pairs": options.pairs,
            }
        )
    )


if __name__ == "__main__":
    main()
