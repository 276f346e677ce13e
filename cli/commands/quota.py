"""``eratos quota``: how much may be wanted within a group."""

from __future__ import annotations

import click

from .. import arguments, views
from ..session import Session

commands = click.Group()

_group = click.argument("group_id", metavar="GROUP", shell_complete=arguments.complete_group)
_amount = click.IntRange(min=0)


@commands.command("list")
@click.pass_obj
def list_quotas(session: Session) -> None:
    """List all quotas, with how much of each is in use.

    \b
    eratos quota list
    eratos quota list -o json
    """
    found = session.client.quotas()
    session.out.result(found, views.quotas(found))


@commands.command("show")
@_group
@click.pass_obj
def show_quota(session: Session, group_id: str) -> None:
    """Show the quota of a group, and what each app in it uses.

    \b
    eratos quota show /shop
    eratos quota show /                     of all there is
    """
    found = session.client.quota(group_id)
    session.out.result(found, *views.quota(found))


@commands.command("set")
@_group
@click.option("--instances", type=_amount, help="of all apps, pods and runs of jobs in it")
@click.option("--cpus", type=click.FloatRange(min=0))
@click.option("--mem", type=_amount, metavar="MIB")
@click.option("--disk", type=_amount, metavar="MIB")
@click.pass_obj
def set_quota(
    session: Session, group_id: str, instances: int | None, cpus: float | None, mem: int | None, disk: int | None
) -> None:
    """Set the quota of a group, or of / for all there is. What is left out is not bounded, whatever was before.

    \b
    eratos quota set /shop --instances 20 --mem 4096
    eratos quota set / --cpus 32
    """
    limits = {"instances": instances, "cpus": cpus, "mem": mem, "disk": disk}
    given = {kind: limit for kind, limit in limits.items() if limit is not None}
    if not given:
        raise click.UsageError("name what is bounded: --instances, --cpus, --mem or --disk")
    found = session.client.put_quota(group_id, given)
    if over := [kind for kind, left in found["left"].items() if left < 0]:
        session.out.say(f"{found['group']}: more is in use of {', '.join(over)}; it is not stopped, and cannot grow")
    session.out.result(found, *views.quota(found))


@commands.command("delete")
@_group
@click.pass_obj
def delete_quota(session: Session, group_id: str) -> None:
    """Have a group bounded by its quota no longer; those around it go on to hold.

    \b
    eratos quota delete /shop
    eratos quota delete /                  the one of all there is
    """
    found = session.client.delete_quota(group_id)
    session.out.say(f"{found['group']}: has no quota any more")
    session.out.result(found)
