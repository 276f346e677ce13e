"""Settings of both sample apps, from the environment alone: Marathon, Docker and a shell all hand them over that way.

Called by prime.py and hello.py, once. Every problem is collected, so that one failed start shows all of them. An empty
variable counts as unset.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping

__version__ = "0.1.0"


class Settings:
    """What both apps read; an app reads its own settings with the same methods and then calls :meth:`check`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.port = self.integer("PORT", 8080, 0, 65535)  #: 0: any free one; the start line says which
        # MESOS_TASK_ID and MARATHON_APP_VERSION are set by Marathon in the environment of every task.
        self.instance = self._label("INSTANCE_ID", "MESOS_TASK_ID") or socket.gethostname()
        self.version = self._label("VERSION", "MARATHON_APP_VERSION") or __version__
        self.log = self.switch("LOG")  #: one line on standard output for each request
        self.health_switch = self.switch("HEALTH_SWITCH")  #: PUT and DELETE /health make it fail and recover

    def text(self, name: str) -> str:
        return self._environ.get(name, "")

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        value = self._number(name, default, least, most, "a whole number")
        if value != int(value):
            self.problems.append(f"{name} must be a whole number from {least} to {most}, not {self.text(name)!r}")
        return int(value)

    def number(self, name: str, default: float, least: float, most: float, unit: str) -> float:
        return self._number(name, default, least, most, f"a number of {unit}")

    def switch(self, name: str) -> bool:
        value = self.text(name)
        if value not in ("", "0", "1"):
            self.problems.append(f"{name} must be 0 or 1, not {value!r}")
        return value == "1"

    def check(self, program: str) -> None:
        """End the process with status 2 and every problem on standard error, if there are any."""
        if self.problems:
            for problem in self.problems:
                print(f"{program}: {problem}", file=sys.stderr)
            sys.exit(2)

    def _number(self, name: str, default: float, least: float, most: float, kind: str) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:  # false for NaN too
            self.problems.append(f"{name} must be {kind} from {least} to {most}, not {text!r}")
            return default
        return value

    def _label(self, *names: str) -> str:
        """Return the first of the variables that is set. It ends up in a header, so it must be plain text."""
        for name in names:
            value = self.text(name)
            if value:
                if not (value.isascii() and value.isprintable()):
                    self.problems.append(f"{name} must be printable ASCII, not {value!r}")
                return value
        return ""
