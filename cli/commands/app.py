"""``eratos app``: apps, from files to versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import click

from eratos.marathon.client import MarathonClient, Refused
from eratos.marathon.errors import InvalidApp

from .. import apply, arguments, files, views, wait
from ..session import Session, confirm_apps

commands = click.Group()


_files = click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="FILE...",
    help="JSON or YAML: an app, a pod, a list of apps or a group; - reads stdin",
)


@commands.command("apply")
@_files
@arguments.force
@click.option("--dry-run", is_flag=True, help="only show what would change, as eratos app diff does")
@click.option("--strict", is_flag=True, help="refuse files with fields that have no effect")
@arguments.waits
@click.pass_obj
def apply_files(
    session: Session, paths: tuple[str, ...], force: bool, dry_run: bool, strict: bool, wait_: bool, timeout: float
) -> None:
    """Create apps and pods, or change them into what the files say. A file without instances keeps their number.

    \b
    eratos app apply cart.yaml pay.json --wait
    jq '.cpus = 0.5' cart.json | eratos app apply -
    """
    documents = _loaded(paths)
    if strict:
        for document in documents:
            with _named(document):
                apply.check_strictly(document)
    if dry_run:
        _show_changes(session, documents)
        return
    session.out.result(session.apply(documents, session.patience(wait_, timeout), force=force))


def _loaded(paths: Sequence[str]) -> list[files.Document]:
    """Read all files before anything is sent: a typo in the last one must not leave half of the work done."""
    return [document for path in paths for document in files.load(path)]


@commands.command("diff")
@_files
@click.pass_obj
def diff_files(session: Session, paths: tuple[str, ...]) -> None:
    """Show which fields of which apps applying files would change. Nothing is changed; with any Marathon.

    \b
    eratos app diff cart.yaml
    eratos app diff *.json -o json
    """
    _show_changes(session, _loaded(paths))


@commands.command("plan")
@_files
@click.pass_obj
def plan_files(session: Session, paths: tuple[str, ...]) -> None:
    """Show what applying files would do: how many instances would start, stop and stay, and what would hold that up.

    \b
    eratos app plan cart.yaml
    eratos app plan shop-group.json -o json
    """
    found = apply.rehearse(session.client, _loaded(paths))
    session.out.result(found, *views.planned(found))


@contextlib.contextmanager
def _named(document: files.Document) -> Iterator[None]:
    """Have what is wrong with a document said with its name. Raises Refused."""
    try:
        yield
    except InvalidApp as invalid:
        raise Refused(422, f"{document.source}: Object is not valid", invalid.problems) from invalid


def _show_changes(session: Session, documents: Sequence[files.Document]) -> None:
    changes: dict[str, list[str]] = {}
    for document in documents:
        with _named(document):
            changes.update(apply.plan(session.client, document))
    lines = [f"{app_id}: {line}" for app_id, changed in changes.items() for line in changed or ["no change"]]
    session.out.result(changes, *lines)


@commands.command("list")
@click.option("--label", default="", help="only apps with it: key or key==value")
@click.pass_obj
def list_apps(session: Session, label: str) -> None:
    """List apps.

    \b
    eratos app list --label team==blue
    eratos app list -q | xargs -n1 eratos app versions
    """
    found = session.client.apps(**({"label": label} if label else {}))
    session.out.result(found, views.apps(found))


@commands.command("show")
@arguments.app_id
@click.pass_obj
def show_app(session: Session, app_id: str) -> None:
    """Show an app, its tasks, and what its instances wait for.

    \b
    eratos app show /shop/cart
    eratos app show /shop/cart -o yaml > cart.yaml   to be changed and applied
    """
    shown = session.client.app(app_id)
    queue = [] if session.out.as_data else session.client.queue()
    rest = session.out.as_data or wait.at_rest(session.client, shown)
    session.out.result(shown, *views.app(shown, queue, session.out, at_rest=rest))


@commands.command("explain")
@arguments.app_id
@click.pass_obj
def explain_app(session: Session, app_id: str) -> None:
    """Say why an app is not as it should be: what each instance waits for, and until when.

    \b
    eratos app explain /shop/cart
    eratos app explain /shop/cart -o json | jq '.reasons'
    """
    found = session.client.explain(app_id)
    session.out.result(found, *views.explained(found))


@commands.command("needs")
@click.argument("app_id", metavar="[APP]", default="", help="id of an app; default: all", shell_complete=arguments.complete_app)
@click.pass_obj
def show_needs(session: Session, app_id: str) -> None:
    """Show who requires whom: all, or what an app requires and who requires it.

    \b
    eratos app needs
    eratos app needs /shop/pay
    """
    needs = session.client.needs()
    if app_id:
        name = "/" + app_id.strip("/")
        session.client.app(name)  # refused where there is none
        needs = [need for need in needs if name in (need["app"], need["of"].partition(":")[0])]
    session.out.result({"needs": needs}, views.needs(needs))


@commands.command("scale", cls=arguments.Counted)
@arguments.app_id
@arguments.count
@arguments.changes
@click.pass_obj
def scale_app(session: Session, app_id: str, instances: int, force: bool, wait_: bool, timeout: float) -> None:
    """Set the number of an app's instances.

    \b
    eratos app scale /shop/cart 5 --wait
    eratos app scale /shop/cart 0           stop it, and keep its definition
    """

    def scale() -> Any:
        apply.required(session.client, app_id)
        return session.client.scale(app_id, instances, force=force)

    session.change(scale, app_id, f"scaled to {instances}", session.patience(wait_, timeout))


@commands.command("restart")
@arguments.app_id
@arguments.changes
@click.pass_obj
def restart_app(session: Session, app_id: str, force: bool, wait_: bool, timeout: float) -> None:
    """Replace every instance of an app, step by step, by one of the same definition.

    \b
    eratos app restart /shop/cart --wait
    eratos app restart /shop/cart --force   though a deployment touches it
    """
    restart = partial(session.client.restart, app_id, force=force)
    session.change(restart, app_id, "restarting", session.patience(wait_, timeout))


@commands.command("wait")
@arguments.app_ids
@arguments.timeout
@click.pass_obj
def wait_for_apps(session: Session, app_ids: tuple[str, ...], timeout: float) -> None:
    """Wait until every instance of the apps runs and is healthy, as --wait does.

    \b
    eratos app wait /shop/cart /shop/pay
    eratos app wait /shop/cart --timeout 60 || eratos app explain /shop/cart
    """
    patience = session.patience(True, timeout)
    assert patience is not None
    found = wait.until_ready(session.client, app_ids, patience)
    session.out.result([{"id": item.app_id, "running": item.running, "healthy": item.healthy} for item in found])


@commands.command("delete")
@arguments.app_ids
@click.option("--force", is_flag=True, hidden=True)  # what it says is so in any case
@click.option("--wipe", is_flag=True, help="and destroy their persistent volumes, with all data in them")
@arguments.yes
@click.pass_obj
def delete_app(session: Session, app_ids: tuple[str, ...], force: bool, wipe: bool, yes: bool) -> None:
    """Delete apps, whatever a deployment does with them; their instances are drained and stopped. Persistent volumes stay.

    \b
    eratos app delete /shop/cart
    eratos app delete /test/db --wipe --yes    with its data
    """
    if not yes:
        confirm_apps([str(session.client.app(app_id)["id"]) for app_id in app_ids])
    answers = []
    for app_id in app_ids:
        answers.append(session.client.delete_app(app_id, wipe=wipe))
        session.out.say(f"{app_id}: deleted")
    session.out.result(answers)


@commands.command("versions")
@arguments.app_id
@click.pass_obj
def list_versions(session: Session, app_id: str) -> None:
    """List the versions of an app that are kept, the present one first, and what each of them changed.

    \b
    eratos app versions /shop/cart
    eratos app versions /shop/cart -o json
    """
    names = session.client.versions(app_id)
    if session.out.as_data:
        session.out.result(names)
        return
    definitions = [session.client.version(app_id, name) for name in names]
    session.out.result(names, views.versions(definitions))


@commands.command("rollback")
@arguments.app_id
@click.argument("version", default="", metavar="[VERSION]", help="one of eratos app versions; default: the one before")
@arguments.changes
@click.pass_obj
def roll_back_app(session: Session, app_id: str, version: str, force: bool, wait_: bool, timeout: float) -> None:
    """Make an app what it was in a former version, the number of its instances included.

    \b
    eratos app rollback /shop/cart --wait
    eratos app rollback /shop/cart 2026-11-28T09:30:00.000Z
    """
    wanted = version or _former(session.client, app_id)
    change = partial(session.client.put_version, app_id, wanted, force=force)
    session.change(change, app_id, f"back to version {wanted}", session.patience(wait_, timeout))


@commands.command("promote")
@click.argument("source", metavar="FROM", help="an app, such as /staging/shop", shell_complete=arguments.complete_app)
@click.argument("target", metavar="TO", help="another one, such as /prod/shop", shell_complete=arguments.complete_app)
@arguments.changes
@click.pass_obj
def promote_app(session: Session, source: str, target: str, force: bool, wait_: bool, timeout: float) -> None:
    """Have an app run what another one runs (image, cmd, args, fetch); all else of it stays as it is.

    \b
    eratos app promote /staging/shop /prod/shop --wait
    eratos app promote /staging/shop /prod/shop -q
    """
    change = partial(apply.promote, session.client, source, target, force=force)
    session.change(change, target, f"promoted from {source}", session.patience(wait_, timeout))


def _former(client: MarathonClient, app_id: str) -> str:
    _, *former = client.versions(app_id)
    if not former:
        raise Refused(0, f"{app_id} has no version but the present one: apply the definition that is wanted")
    return former[0]
