"""What every command works with: the client, where results go, how long to wait; and the steps that several share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from eratos.common.secret_file import secret
from eratos.marathon.client import Login, MarathonClient, Refused

from . import wait
from .output import Output

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass
class Session:
    """One run of ``eratos``; tests hand in their own."""

    client: MarathonClient
    out: Output
    source: Any = None  #: the session of ``requests`` with a Marathon that is copied from; None: one of its own
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def patience(self, wait_: bool, timeout_s: float) -> wait.Patience | None:
        """Return how long a command waits, from now on; None: not at all."""
        if not wait_:
            return None
        return wait.Patience(self.clock() + timeout_s, timeout_s, self.out.say, self.clock, self.sleep)

    def change(self, change: Callable[[], Any], app_id: str, done: str, patience: wait.Patience | None) -> None:
        """Change an app or a pod, wait until it is so, and show the API's answer."""
        answer = wait.until_taken(change, patience)
        self.out.say(f"{app_id}: {done}")
        if patience is not None:
            wait.until_ready(self.client, [app_id], patience, deployments_of([answer]))
        self.out.result(answer)


def deployments_of(answers: Sequence[dict[str, Any]]) -> list[str]:
    """Return the deployments that answers to changes name; that of a new app lists them as the app's."""
    found = [answer.get("deploymentId") or ((answer.get("deployments") or [{}])[0]).get("id") for answer in answers]
    return [str(deployment_id) for deployment_id in found if deployment_id]


def confirm_apps(doomed: Sequence[str]) -> None:
    """Ask before apps are deleted. Raises Refused unless the answer is yes."""
    confirm(f"Delete {len(doomed)} app{'' if len(doomed) == 1 else 's'}{': ' if doomed else ''}{', '.join(doomed)}?")


def confirm(question: str) -> None:
    """Ask before something is deleted. Raises Refused unless the answer is yes."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        raise Refused(0, "nobody answered, so nothing was deleted: give --yes where nobody can") from None
    if not agreed:
        raise Refused(0, "nothing was deleted")


def login(token_file: str, ca_file: str, cert_file: str) -> Login:
    """Return what the API is shown, out of options and environment. Raises PermanentError for a file that cannot be used."""
    files = []
    for flag, given in (("--token-file", token_file), ("--ca-file", ca_file), ("--cert-file", cert_file)):
        path = given or os.environ.get("ERATOS_" + flag[2:].upper().replace("-", "_"), "")
        if path and not Path(path).is_file():
            raise Refused(0, f"{flag}: {path} is no file")
        files.append(path)
    # What was typed comes before what stands in the environment.
    token = "" if token_file else os.environ.get("ERATOS_TOKEN", "")
    credentials = os.environ.get("ERATOS_CREDENTIALS", "")
    if credentials and ":" not in credentials:
        raise Refused(0, "ERATOS_CREDENTIALS: must be user:password")
    return Login(token or (secret(files[0], "--token-file") if files[0] else ""), credentials, files[1], files[2])
