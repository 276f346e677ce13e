"""``eratos brake``: the disaster brake."""

from __future__ import annotations

import click

from .. import views
from ..session import Session

commands = click.Group()


@commands.command("show")
@click.pass_obj
def show_brake(session: Session) -> None:
    """Show whether the brake is engaged, why, and which hosts are missed.

    \b
    eratos brake show
    eratos brake show -o json
    """
    found = session.client.brake()
    session.out.result(found, *views.brake(found))


@commands.command("release")
@click.pass_obj
def release_brake(session: Session) -> None:
    """Go on in spite of the losses: what is lost is replaced, and tasks that no record stands for are killed.

    \b
    eratos brake show                      first: what was lost, and why it stands still
    eratos brake release
    """
    found = session.client.release_brake()
    session.out.say("released")
    session.out.result(found)
