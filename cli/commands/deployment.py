"""``eratos deployment``: changes under way."""

from __future__ import annotations

from typing import Any

import click

from eratos.marathon.client import Refused

from .. import arguments, views, wait
from ..patience import Look, Patience, until
from ..session import Session

commands = click.Group()


@commands.command("list")
@click.option("--ended", is_flag=True, help="the last ones that have ended, and how")
@click.pass_obj
def list_deployments(session: Session, ended: bool) -> None:
    """List the changes under way.

    \b
    eratos deployment list
    eratos deployment list --ended
    """
    found = session.client.ended_deployments() if ended else session.client.deployments()
    session.out.result(found, views.deployments(found))


@commands.command("show")
@arguments.deployment_id
@click.pass_obj
def show_deployment(session: Session, deployment_id: str) -> None:
    """Show a change: its steps, how far it is, and what waits for what.

    \b
    eratos deployment show 97c136bf
    eratos deployment show 97c136bf -o json | jq .eratos.waiting
    """
    found = session.client.deployment(deployment_id)
    session.out.result(found, *views.deployment(found))


@commands.command("wait")
@arguments.deployment_id
@arguments.timeout
@click.pass_obj
def wait_for_deployment(session: Session, deployment_id: str, timeout: float) -> None:
    """Follow a change until it has ended, and say how far it is. Ends with 1 where it came to another end than it was to.

    \b
    eratos deployment wait 97c136bf
    eratos deployment list -q | xargs -n1 eratos deployment wait
    """
    patience = session.patience(True, timeout)
    assert patience is not None
    found = _ended(session, deployment_id, patience)
    session.out.result(found, *views.deployment(found))
    if (outcome := found["eratos"]["outcome"]) != "done":
        raise Refused(0, f"{deployment_id}: {outcome}")


def _ended(session: Session, deployment_id: str, patience: Patience) -> dict[str, Any]:
    """Return a change once it has ended. Raises TookTooLong, Interrupted, Refused."""
    seen = False

    def look() -> Look[dict[str, Any]]:
        nonlocal seen
        try:
            found = session.client.deployment(deployment_id)
        except Refused as refused:
            if refused.status != 404 or not seen:
                raise
            # Marathon forgets it, and so does the leader of an election with it.
            raise Refused(404, f"{deployment_id}: over, and nobody remembers how it ended: eratos app list") from refused
        seen, line = True, f"{deployment_id}: {views.progress(found)}"
        return Look({"": line}, found if (found.get("eratos") or {}).get("outcome") else None, line)

    return until(look, patience, "ended", f"it goes on; wait again with: eratos deployment wait {deployment_id}")


@commands.command("rollback")
@arguments.deployment_id
@arguments.waits
@click.pass_obj
def roll_back_deployment(session: Session, deployment_id: str, wait_: bool, timeout: float) -> None:
    """Take a change back: what it touched becomes what it was before.

    \b
    eratos deployment rollback 97c136bf
    eratos deployment rollback 97c136bf --wait
    """
    touched = session.client.deployment(deployment_id).get("affectedApps") or ()
    answer = session.client.roll_back(deployment_id)
    session.out.say(f"{deployment_id}: taken back by {answer.get('deploymentId')}")
    patience = session.patience(wait_, timeout)
    if patience is not None:
        there = {str(app["id"]) for app in session.client.apps()}  # what the change had created is deleted
        wait.until_ready(session.client, [app_id for app_id in touched if app_id in there], patience)
    session.out.result(answer)


@commands.command("pause")
@arguments.deployment_id
@click.pass_obj
def pause_deployment(session: Session, deployment_id: str) -> None:
    """Let a change come no further; what crashes meanwhile comes back as what it was.

    \b
    eratos deployment pause 97c136bf
    eratos deployment list -q | xargs -n1 eratos deployment pause
    """
    _steer(session, deployment_id, "pause", "paused")


@commands.command("resume")
@arguments.deployment_id
@click.pass_obj
def resume_deployment(session: Session, deployment_id: str) -> None:
    """Let a change that was paused go on.

    \b
    eratos deployment resume 97c136bf
    eratos deployment resume 97c136bf && eratos deployment wait 97c136bf
    """
    _steer(session, deployment_id, "resume", "goes on")


@commands.command("promote")
@arguments.deployment_id
@click.option("--force", is_flag=True, help="Though the error budget of an app is spent.")
@click.pass_obj
def promote_deployment(session: Session, deployment_id: str, force: bool) -> None:
    """Let the apps of a change go on that stand at a gate of their canary.

    \b
    eratos deployment promote 97c136bf
    eratos deployment promote 97c136bf --force
    """
    _steer(session, deployment_id, "promote", "promoted", force=force)


def _steer(session: Session, deployment_id: str, action: str, done: str, *, force: bool = False) -> None:
    answer = session.client.steer(deployment_id, action, force=force)
    session.out.say(f"{deployment_id}: {done}")
    session.out.result(answer)


@commands.command("cancel")
@arguments.deployment_id
@click.pass_obj
def cancel_deployment(session: Session, deployment_id: str) -> None:
    """End a change where it is, without a way back: its apps can be changed again.

    \b
    eratos deployment cancel 97c136bf
    eratos app apply cart.json             then: what it touched can be changed again
    """
    session.client.cancel(deployment_id)
    session.out.say(f"{deployment_id}: ended; eratos still carries out what it had begun")
    session.out.result({"id": deployment_id})
