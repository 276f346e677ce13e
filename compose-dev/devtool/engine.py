"""The Docker engine: uses what is there; on Debian and Ubuntu as root, installs and starts what is missing.

Called first by every command that needs Docker. It never restarts or reconfigures an engine that answers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import packages
from .shell import run
from .terminal import Problem, Progress

ENGINE_LOG = Path("/var/log/dockerd.log")
PID_FILES = {"dockerd": "/var/run/docker.pid", "containerd": "/var/run/docker/containerd/containerd.pid"}
#: With containers left over from a crash, the engine first waits for each of them to end.
START_S = 120
INSTALL_DOCS = "https://docs.docker.com/engine/install/"


def ensure(progress: Progress) -> None:
    """Make sure that `docker` works and its engine answers. Raise Problem where that takes the user."""
    if not shutil.which("docker"):
        _install(progress)
    error = _error()
    if not error:
        return
    _raise_for_what_only_the_user_can_do(error)
    _start(progress)


def require() -> None:
    """Raise Problem unless an engine answers, for commands that look at a cluster without bringing it up."""
    error = _error() if shutil.which("docker") else "Docker is not installed"
    if error:
        _raise_for_what_only_the_user_can_do(error)
        raise Problem("the Docker engine is not running, and so is no cluster", "./dev up starts both")


def _raise_for_what_only_the_user_can_do(error: str) -> None:
    if "permission denied" in error.lower():
        raise Problem(
            "this user may not talk to the Docker engine",
            f"sudo usermod -aG docker {os.environ.get('USER', '$USER')}, then log in again; or run this as root",
        )
    if os.environ.get("DOCKER_HOST"):
        raise Problem(f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}", "start it, or unset DOCKER_HOST")
    if sys.platform == "darwin":
        raise Problem("the Docker engine is not running", "start it: open -a Docker (or: colima start), then run this again")


def info(field: str) -> str:
    """Return one field of `docker info`, or "" where this engine does not say."""
    return run(["docker", "info", "--format", "{{." + field + "}}"], check=False, timeout_s=30).strip()


def _error() -> str:
    """Return why the engine does not answer; "" when it does."""
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 30 s"
    return "" if done.returncode == 0 else done.stderr.strip() or "no answer"


def _install(progress: Progress) -> None:
    if sys.platform == "darwin":
        raise Problem(
            "Docker is not installed",
            "install Docker Desktop (https://docs.docker.com/desktop/) or: brew install colima docker docker-compose",
        )
    packages.require_root_and_apt(
        "Docker is not installed", f"install it ({INSTALL_DOCS}), or on Debian and Ubuntu: sudo ./dev up"
    )
    with progress.step("install the Docker engine"):
        packages.update()
        # Debian 13 has the command line in a package of its own.
        packages.install("docker.io", "iptables", "ca-certificates", *packages.known("docker-cli"))


def _start(progress: Progress) -> None:
    fix_by_hand = "start it: sudo systemctl start docker; or let this do it: sudo ./dev up"
    if os.geteuid() != 0:
        raise Problem("the Docker engine is not running, and only root may start it", fix_by_hand)
    if not shutil.which("dockerd"):
        _install(progress)
        if not _error():
            # A package's installation starts its service where there is systemd.
            return
    with progress.step("start the Docker engine") as step:
        if Path("/run/systemd/system").is_dir():
            run(["systemctl", "reset-failed", "docker"], check=False)
            run(["systemctl", "start", "docker"])
            _await(None)
            return
        alive = _living("dockerd")
        if alive:
            step.detail = f"dockerd runs as process {alive}, waiting for it to answer"
            _await(
                None,
                f"dockerd (process {alive}) runs but does not answer",
                f"end it: kill -9 {alive}; then run this again",
            )
            return
        remove_stale_pid_files()
        _mount_cgroups()
        ENGINE_LOG.parent.mkdir(parents=True, exist_ok=True)
        with ENGINE_LOG.open("ab") as log:
            # A session and files of its own: it outlives this program and holds none of the caller's pipes open.
            daemon = subprocess.Popen(
                ["dockerd"], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
            )
        _await(daemon)


def _await(daemon: subprocess.Popen[bytes] | None, problem: str = "the Docker engine did not come up", fix: str = "") -> None:
    """Wait until the engine answers. Raise Problem, with the end of its log, when it dies or takes too long."""
    give_up = time.monotonic() + START_S
    while _error():
        if time.monotonic() > give_up or (daemon is not None and daemon.poll() is not None):
            shown = "".join(f"\n       {line}" for line in _log_end())
            raise Problem(
                f"{problem}{shown}",
                fix or f"read {ENGINE_LOG} (or: journalctl -u docker), put right what it says and run this again",
            )
        time.sleep(0.25)


def _log_end() -> list[str]:
    """Return the last lines of the engine's log that are more than chatter."""
    try:
        lines = ENGINE_LOG.read_text(errors="replace").splitlines()[-40:]
    except FileNotFoundError:
        return []
    return [line for line in lines if "level=info" not in line and "Your kernel does not support" not in line][-5:]


def remove_stale_pid_files() -> None:
    """Remove pid files whose process is gone, or is another program by now: dockerd takes them for a running engine."""
    for program, path in PID_FILES.items():
        if Path(path).exists() and not _living(program):
            Path(path).unlink()


def _living(program: str) -> int:
    """Return the process id in a program's pid file if that process is still that program, else 0."""
    try:
        pid = int(Path(PID_FILES[program]).read_text().strip())
        # "PID (NAME) STATE ...": one that was killed stays as Z until its parent has noticed, and is dead all the same.
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(" (")[2].rpartition(") ")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return 0
    return pid if name == program and rest[0] not in "ZX" else 0


def _mount_cgroups() -> None:
    """Mount control groups where no init did: without them no container starts."""
    mounts = Path("/proc/mounts").read_text()
    if " cgroup " not in mounts and " cgroup2 " not in mounts:
        packages.update()
        packages.install("cgroupfs-mount")
        run(["cgroupfs-mount"])
