"""What every command works with: the client, where results go, how long to wait; and the steps that several share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from eratos.marathon.client import MarathonClient, Refused

from . import apply, wait
from .files import Document
from .output import Output
from .patience import Patience, until_taken


@dataclass
class Session:
    """One run of ``eratos``; tests hand in their own."""

    client: MarathonClient
    out: Output
    source: Any = None  #: the session of ``requests`` with a Marathon that is copied from; None: one of its own
    docker: Any = None  #: what builds images; None: this machine's Docker
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def patience(self, wait_: bool, timeout_s: float) -> Patience | None:
        """Return how long a command waits, from now on; None: not at all."""
        if not wait_:
            return None
        return Patience(self.clock() + timeout_s, timeout_s, self.out.say, self.clock, self.sleep)

    def change(self, change: Callable[[], Any], app_id: str, done: str, patience: Patience | None) -> None:
        """Change an app or a pod, wait until it is so, and show the API's answer."""
        answer = until_taken(change, patience)
        self.out.say(f"{app_id}: {done}")
        if patience is not None:
            wait.until_ready(self.client, [app_id], patience, deployments_of([answer]))
        self.out.result(answer)

    def apply(self, documents: Iterable[Document], patience: Patience | None, *, force: bool) -> list[dict[str, Any]]:
        """Send definitions, wait until what they want is ready, and return the API's answers."""
        answers, app_ids = [], dict[str, None]()
        for document in documents:
            try:
                answers.append(until_taken(partial(apply.apply, self.client, document, force=force), patience))
            except Refused as refused:
                raise Refused(refused.status, f"{document.source}: {refused}", refused.problems, refused.deployments) from refused
            sent = [app_id for app_id, _ in document.apps()]
            app_ids |= dict.fromkeys(sent)
            self.out.say(f"{document.source}: applied {', '.join(sent) or 'no app'}")
            for notice in self.client.notices:
                self.out.say(f"  {notice}")
            self.client.notices.clear()
        if patience is not None:
            wait.until_ready(self.client, app_ids, patience, deployments_of(answers))
        return answers


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
