"""``eratos pod``: pods that are there; ``eratos app apply`` creates and changes them."""

from __future__ import annotations

from typing import Any

import click

from .. import arguments, views
from ..session import Session, confirm_apps

commands = click.Group()


@commands.command("list")
@click.pass_obj
def list_pods(session: Session) -> None:
    """List pods.

    \b
    eratos pod list
    eratos pod list -q
    """
    found = session.client.pod_statuses()
    session.out.result(found, views.pods(found))


@commands.command("show")
@arguments.pod_id
@click.pass_obj
def show_pod(session: Session, pod_id: str) -> None:
    """Show a pod, its instances and their containers.

    \b
    eratos pod show /shop/both
    eratos pod show /shop/both -o yaml
    """
    found = session.client.pod_status(pod_id)
    session.out.result(found, *views.pod(found))


@commands.command("scale", cls=arguments.Counted)
@arguments.pod_id
@arguments.count
@arguments.changes
@click.pass_obj
def scale_pod(session: Session, pod_id: str, instances: int, force: bool, wait_: bool, timeout: float) -> None:
    """Set the number of a pod's instances.

    \b
    eratos pod scale /shop/both 3 --wait
    eratos pod scale /shop/both 0
    """

    def scale() -> Any:
        pod = session.client.pod(pod_id)
        return session.client.put_pod(pod_id, pod | {"scaling": {"kind": "fixed", "instances": instances}}, force=force)

    session.change(scale, pod_id, f"scaled to {instances}", session.patience(wait_, timeout))


@commands.command("delete")
@arguments.pod_id
@arguments.force
@arguments.yes
@click.pass_obj
def delete_pod(session: Session, pod_id: str, force: bool, yes: bool) -> None:
    """Delete a pod; its instances are drained and stopped.

    \b
    eratos pod delete /shop/both
    eratos pod delete /shop/both --force --yes
    """
    if not yes:
        confirm_apps([str(session.client.pod(pod_id)["id"])])
    answer = session.client.delete_pod(pod_id, force=force)
    session.out.say(f"{pod_id}: deleted")
    session.out.result(answer)


@commands.command("versions")
@arguments.pod_id
@click.pass_obj
def list_pod_versions(session: Session, pod_id: str) -> None:
    """List the versions of a pod that are kept, the present one first.

    \b
    eratos pod versions /shop/both
    eratos pod versions /shop/both | sed -n 2p   the one before
    """
    found = session.client.pod_versions(pod_id)
    session.out.result(found, *found)


@commands.command("rollback")
@arguments.pod_id
@click.argument("version", metavar="VERSION", help="one that eratos pod versions lists")
@arguments.changes
@click.pass_obj
def roll_back_pod(session: Session, pod_id: str, version: str, force: bool, wait_: bool, timeout: float) -> None:
    """Make a pod what it was in a version, with as many instances as it has now.

    \b
    eratos pod rollback /shop/both 2026-11-28T09:30:00.000Z --wait
    eratos pod rollback /shop/both "$(eratos pod versions /shop/both | sed -n 2p)"
    """

    def back() -> Any:
        former = session.client.pod_version(pod_id, version) | {"scaling": session.client.pod(pod_id)["scaling"]}
        former.pop("version", None)
        return session.client.put_pod(pod_id, former, force=force)

    session.change(back, pod_id, f"back to {version}", session.patience(wait_, timeout))


@commands.command("kill")
@arguments.pod_id
@click.argument("instance_ids", nargs=-1, required=True, metavar="INSTANCE...")
@click.pass_obj
def kill_pod_instances(session: Session, pod_id: str, instance_ids: tuple[str, ...]) -> None:
    """Kill instances of a pod; others take their places.

    \b
    eratos pod kill /shop/both shop_both.instance-6f1c0a52-0001
    eratos pod show /shop/both            names them
    """
    found = session.client.kill_pod_instances(pod_id, list(instance_ids))
    session.out.say(f"{pod_id}: {len(found)} of {len(instance_ids)} killed")
    session.out.result(found)
