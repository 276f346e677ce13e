"""``eratos marathon``: how to come from Marathon."""

from __future__ import annotations

import os

import click

from eratos.marathon.client import Login, MarathonClient, Refused

from .. import migration, views
from ..session import Session

commands = click.Group()


@commands.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...", help="files and folders of JSON or YAML; - reads stdin")
@click.option("--strict", is_flag=True, help="fail for fields that have no effect as well")
@click.pass_obj
def check_files(session: Session, paths: tuple[str, ...], strict: bool) -> None:
    """Say what becomes of each field of apps for Marathon: same, translated, not heeded or refused, and why. Asks no API.

    \b
    eratos marathon check apps/ --strict
    curl -s marathon:8080/v2/groups | eratos marathon check -
    """
    from eratos.marathon.notes import Verdict

    results = list(migration.checked(list(paths)))
    shown = [
        {
            "source": result.source,
            "id": result.app_id,
            "problem": result.problem,
            "fields": [{"path": note.path, "verdict": note.verdict, "message": note.text} for note in result.fields],
        }
        for result in results
    ]
    session.out.result(shown, *(part for result in results for part in views.checked(result)), migration.tally(results))
    bad = (Verdict.REFUSED, Verdict.NOT_HEEDED) if strict else (Verdict.REFUSED,)
    if any(result.problem or any(map(result.has, bad)) for result in results):
        raise click.exceptions.Exit(1)


@commands.command("import")
@click.argument("source", metavar="URL", help="the running Marathon's API, such as http://marathon:8080")
@click.option("--group", default="/", metavar="GROUP", help="only apps in it")
@click.option("--start", is_flag=True, help="start as many instances as there, instead of none")
@click.option("--partly", is_flag=True, help="copy the others where some are refused")
@click.option("--dry-run", is_flag=True, help="only show what would be copied")
@click.option("--source-ca-file", default="", metavar="FILE", help="authorities of its certificate")
@click.pass_obj
def import_apps(session: Session, source: str, group: str, start: bool, partly: bool, dry_run: bool, source_ca_file: str) -> None:
    """Copy a running Marathon's apps, pods and groups, with no instances yet, and say what to do next. Nothing is changed there.

    MARATHON_CREDENTIALS (user:password) or MARATHON_TOKEN log in there. Apps that are here already are left as they are.

    \b
    eratos marathon import http://marathon:8080 --dry-run
    eratos marathon import http://marathon:8080 --group /shop
    """
    login = Login(os.environ.get("MARATHON_TOKEN", ""), os.environ.get("MARATHON_CREDENTIALS", ""), source_ca_file)
    plan = migration.plan(MarathonClient(source, login=login, session=session.source), session.client, group, start=start)
    if plan.refused and not partly:
        problems = [note.problem(app_id) for app_id, found in plan.refused.items() for note in found]
        raise Refused(
            422, f"{len(plan.refused)} apps cannot be taken, so nothing was copied; --partly copies the others", problems
        )
    for below in plan.groups if not dry_run else ():
        session.client.put_group(below)
    if plan.apps and not dry_run:
        session.client.put_apps(plan.apps, partial=False)
    for pod in plan.pods if not dry_run else ():
        session.client.put_pod(str(pod["id"]), pod)
    for enforcing in plan.enforcing if not dry_run else ():
        session.client.put_group(enforcing)
    found = {
        "copied": [str(each["id"]) for each in (*plan.apps, *plan.pods)],
        "instances": plan.instances,
        "refused": {app_id: [str(note) for note in notes] for app_id, notes in plan.refused.items()},
        "alreadyThere": plan.there_already,
        "groups": [str(each["id"]) for each in plan.groups],
    }
    session.out.result(found, *views.imported(plan, start=start, dry_run=dry_run))
