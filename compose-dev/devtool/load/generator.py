"""Running the load generator in a container of its own, and what it reports."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import images
from ..settings import Settings
from ..shell import run
from ..terminal import Problem

IMAGE = "eratos/load"
#: Its containers' label; the value is the project.
LABEL = "eratos.load"
START_S = 60
#: Beyond the longest that a request under way may take.
END_S = 15

#: What --tune changes, in the generator's own network and for as long as that lives: ports for single connections, above all.
TUNED = (
    *("--sysctl", "net.ipv4.ip_local_port_range=1024 65535"),
    *("--sysctl", "net.ipv4.tcp_tw_reuse=1"),
    *("--ulimit", "nofile=1048576:1048576"),
)

if TYPE_CHECKING:
    OnSecond = Callable[[float, dict[str, Any]], None]


def build(settings: Settings, *more: str) -> None:
    """Make sure that the generator's image is there and up to date with its source, on a machine without a cluster as well.

    ``more`` names other services of compose.yaml whose images are not built with the cluster's own.
    """
    images.build_apart(settings, "load", *more)


def remove_left(project: str) -> None:
    """Remove the generators that an interrupted run has left. They end by themselves soon, but not at once."""
    left = run(["docker", "ps", "-aq", "--filter", f"label={LABEL}={project}"], check=False, timeout_s=60).split()
    if left:
        run(["docker", "rm", "-f", *left], check=False, timeout_s=60)


class Load:
    """A load that runs from entering to its own end, to :meth:`stop`, or to leaving."""

    def __init__(
        self, plan: dict[str, Any], network: str, project: str, on_second: OnSecond | None = None, *, tuned: bool = False
    ) -> None:
        """``on_second(at_s, figures)`` is called by another thread each second, with what became of requests in it.

        ``tuned`` gives the generator wider limits than the system has. Not where it shares this machine's own network.
        """
        self._tuned = TUNED if tuned else ()
        self._plan = plan
        self._network = network
        self._project = project
        self._on_second = on_second
        self._name = f"{project}-load-{uuid.uuid4().hex[:8]}"
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._answered = threading.Event()  #: it runs, or has ended
        self._running = False
        self._summary: dict[str, Any] | None = None

    def __enter__(self) -> Load:
        # The image has labels of compose, and this is none of its containers.
        labels = [f"{LABEL}={self._project}", "com.docker.compose.project=", "com.docker.compose.service="]
        command = [
            *("docker", "run", "-i", "--rm", "--name", self._name, "--network", self._network),
            *(word for label in labels for word in ("--label", label)),
            *("--user", "65534", "--cap-drop", "ALL", "--read-only", *self._tuned, IMAGE),
        ]
        # A session of its own: ctrl-C is for the process that runs the load, which ends it in order.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(self._plan) + "\n")
                self._process.stdin.flush()
            self._reader.start()
            self._answered.wait(START_S)
            if not self._running:
                raise self._failed("the load generator did not start")
        except BaseException:
            self._kill()
            self._close()
            raise
        return self

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "summary" in told:
                self._summary = told["summary"]
            elif "window" in told and self._on_second is not None:
                self._on_second(told["at_s"], told["window"])
            if "running" in told:
                self._running = True
                self._answered.set()
        self._process.wait()
        self._answered.set()

    @property
    def over(self) -> bool:
        """Return whether it has ended."""
        return not self._reader.is_alive()

    def wait(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Wait for the end of the load and return its summary; None where the time is over before. Raise Problem."""
        self._reader.join(timeout_s)
        if self._reader.is_alive():
            return None
        if self._summary is None:
            raise self._failed("the load generator ended early")
        return self._summary

    def stop(self) -> dict[str, Any]:
        """End the load once every request under way has its answer, and return the summary. Raise Problem."""
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        summary = self.wait(self._plan["timeout_s"] + END_S)
        if summary is None:
            self._kill()
            raise Problem("the load generator does not end", "look at docker ps, and run this again")
        return summary

    def _failed(self, what: str) -> Problem:
        assert self._process is not None and self._process.stderr is not None
        if self._process.poll() is None:
            return Problem(f"{what} within {START_S} s", "see whether docker run works at all")
        said = self._process.stderr.read().strip()
        fix = "choose fewer (--connections), or allow more (ulimit -n)" if "descriptors" in said else "put right what it says"
        lines = [line[len("error: ") :] if line.startswith("error: ") else line for line in said.splitlines()]
        return Problem(f"{what}: {'; '.join(lines[-3:])}", fix)

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        run(["docker", "rm", "-f", self._name], check=False, timeout_s=60)
        self._process.wait()
        if self._reader.is_alive():
            self._reader.join()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.over:
            self._kill()
        self._close()

    def _close(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
