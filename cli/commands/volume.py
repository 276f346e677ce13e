"""``eratos volume``: the persistent volumes of apps."""

from __future__ import annotations

import click

from .. import arguments, views
from ..session import Session, confirm

commands = click.Group()


@commands.command("list")
@click.pass_obj
def list_volumes(session: Session) -> None:
    """List all persistent volumes, with their hosts and who uses them.

    \b
    eratos volume list
    eratos volume list -o json | jq -r '.[] | select(.use == "unused").id'
    """
    found = session.client.volumes()
    session.out.result(found, views.volumes(found))


@commands.command("delete")
@click.argument("volume_id", metavar="VOLUME")
@click.option("--force", is_flag=True, help="forget it although its host does not answer, as that is gone for good")
@arguments.yes
@click.pass_obj
def delete_volume(session: Session, volume_id: str, force: bool, yes: bool) -> None:
    """Destroy a volume that nobody uses, with all data in it.

    \b
    eratos volume delete VOLUME             as eratos volume list names it
    eratos volume delete VOLUME --force     of a host that is gone for good
    """
    if not yes:
        confirm(f"Destroy {volume_id} with all data in it?")
    found = session.client.delete_volume(volume_id, force=force)
    session.out.say(f"{volume_id}: {found['message'] if found['use'] == 'deleting' else 'forgotten'}")
    session.out.result(found)
