"""``eratos group``: groups of apps."""

from __future__ import annotations

from typing import Any

import click

from .. import arguments, views
from ..session import Session, confirm_apps

commands = click.Group()


@commands.command("show")
@click.argument("group_id", default="/", metavar="[GROUP]", shell_complete=arguments.complete_group)
@click.pass_obj
def show_group(session: Session, group_id: str) -> None:
    """List the apps of a group and of the groups below it.

    \b
    eratos group show
    eratos group show /shop -o yaml > shop.yaml
    """
    group = session.client.group(group_id)
    session.out.result(group, views.apps(_below(group)))


def _below(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(group.get("apps") or ()), *(app for child in group.get("groups") or () for app in _below(child))]


@commands.command("delete")
@click.argument("group_id", metavar="GROUP", shell_complete=arguments.complete_group)
@arguments.force
@arguments.yes
@click.pass_obj
def delete_group(session: Session, group_id: str, force: bool, yes: bool) -> None:
    """Delete a group, with every app and group in it.

    \b
    eratos group delete /test
    eratos group delete /test --force --yes
    """
    if not yes:
        confirm_apps([str(app["id"]) for app in _below(session.client.group(group_id))])
    answer = session.client.delete_group(group_id, force=force)
    session.out.say(f"{group_id}: deleted")
    session.out.result(answer)
