"""``eratos task``: the tasks of apps."""

from __future__ import annotations

import click

from eratos.marathon.client import Refused

from .. import arguments, tasks, views
from ..session import Session

commands = click.Group()


@commands.command("list")
@click.argument("app_id", required=False, metavar="[APP]", shell_complete=arguments.complete_app)
@click.pass_obj
def list_tasks(session: Session, app_id: str | None) -> None:
    """List the tasks of an app, or of all.

    \b
    eratos task list /shop/cart
    eratos task list -o wide               whole ids
    """
    found = session.client.tasks(app_id)
    session.out.result(found, views.tasks(found, session.out))


@commands.command("kill")
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...", shell_complete=arguments.complete_task)
@click.option("--scale", is_flag=True, help="and want as many instances fewer")
@click.option("--wipe", is_flag=True, help="and destroy their persistent volumes, with all data in them")
@click.pass_obj
def kill_tasks(session: Session, task_ids: tuple[str, ...], scale: bool, wipe: bool) -> None:
    """Kill tasks; each is replaced, unless --scale is given.

    \b
    eratos task kill shop_cart.6f1c0a52.1
    eratos task kill shop_cart.6f1c0a52.1 --scale   and want one fewer
    """
    if scale and wipe:
        raise click.UsageError("--scale and --wipe exclude each other, as in Marathon")
    answer = session.client.kill_tasks(tasks.whole(session.client, list(task_ids)), scale=scale, wipe=wipe)
    if not scale and not answer.get("tasks"):
        raise Refused(404, "none of these tasks exists: see eratos task list")
    session.out.say("killing " + ", ".join(task_ids))
    session.out.result(answer)
