"""The commands of ``eratos``. Each reads its arguments, calls the API, shows the result; nothing is decided here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from eratos.common.errors import EratosError
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.marathon.errors import InvalidApp

from . import apply, files, logs, output, wait
from .output import Output

DEFAULT_URL = "http://127.0.0.1:8080"
WAIT_S = 600.0

#: Options of the whole command, which may stand behind the subcommand too.
_GLOBAL_FLAGS = ("--json",)
_GLOBAL_VALUES = ("--url",)


@dataclass
class Session:
    """What every command works with; tests hand in their own."""

    client: MarathonClient
    out: Output
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


eratos = typer.Typer(
    help="Run apps on eratos, or on anything else that speaks Marathon's API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_app = typer.Typer(help="Create, show, scale and delete apps.", no_args_is_help=True)
_task = typer.Typer(help="List and kill tasks.", no_args_is_help=True)
_group = typer.Typer(help="Show and delete groups of apps.", no_args_is_help=True)
_deployment = typer.Typer(help="Changes under way.", no_args_is_help=True)
_brake = typer.Typer(help="The disaster brake, which holds launches and kills back after a large loss.", no_args_is_help=True)
for _name, _commands in (
    ("app", _app),
    ("task", _task),
    ("group", _group),
    ("deployment", _deployment),
    ("brake", _brake),
):
    eratos.add_typer(_commands, name=_name)

Context = typer.Context
AppId = Annotated[str, typer.Argument(metavar="APP", help="id of an app, such as /shop/cart")]
Force = Annotated[bool, typer.Option("--force", help="also while a deployment touches it")]
Wait = Annotated[bool, typer.Option("--wait", help="until every instance runs and is healthy")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="longest wait with --wait", min=0)]


@eratos.callback()
def _root(
    ctx: Context,
    url: Annotated[str, typer.Option("--url", envvar="ERATOS_URL", help="where the API is")] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for scripts")] = False,
) -> None:
    if ctx.obj is None:
        ctx.obj = Session(MarathonClient(url), Output(as_json=as_json))


@_app.command("apply")
def apply_files(
    ctx: Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="JSON or YAML: an app, a list of apps or a group; - reads stdin")
    ],
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would change")] = False,
    wait_: Wait = False,
    timeout: Timeout = WAIT_S,
) -> None:
    """Create apps, or change them into what the files say. A file without instances keeps their number."""
    session: Session = ctx.obj
    # All files are read before anything is sent: a typo in the last one must not leave half of the work done.
    documents = [document for path in paths for document in files.load(path)]
    if dry_run:
        _show_plan(session, documents)
        return
    answers = []
    for document in documents:
        try:
            answers.append(apply.apply(session.client, document, force=force))
        except Refused as refused:
            raise Refused(refused.status, f"{document.source}: {refused}", refused.problems) from refused
        session.out.say(f"{document.source}: applied {', '.join(app_id for app_id, _ in document.apps()) or 'no app'}")
        for notice in session.client.notices:
            session.out.say(f"  {notice}")
        session.client.notices.clear()
    app_ids = dict.fromkeys(app_id for document in documents for app_id, _ in document.apps())
    if wait_:
        _wait(session, app_ids, timeout)
    session.out.result(answers)


def _show_plan(session: Session, documents: Sequence[files.Document]) -> None:
    changes: dict[str, list[str]] = {}
    for document in documents:
        try:
            changes.update(apply.plan(session.client, document))
        except InvalidApp as invalid:
            raise Refused(422, f"{document.source}: Object is not valid", invalid.problems) from invalid
    lines = [f"{app_id}: {line}" for app_id, changed in changes.items() for line in changed or ["no change"]]
    session.out.result(changes, *lines)


@_app.command("list")
def list_apps(ctx: Context, label: Annotated[str, typer.Option(help="only apps with it: key or key==value")] = "") -> None:
    """List apps."""
    session: Session = ctx.obj
    found = session.client.apps(**({"label": label} if label else {}))
    session.out.result(found, output.apps(found))


@_app.command("show")
def show_app(ctx: Context, app_id: AppId) -> None:
    """Show an app, its tasks, and what its instances wait for."""
    session: Session = ctx.obj
    shown = session.client.app(app_id)
    queue = [] if session.out.as_json else session.client.queue()
    session.out.result(shown, *output.app(shown, queue))


@_app.command("explain")
def explain_app(ctx: Context, app_id: AppId) -> None:
    """Say why an app is not as it should be: what each instance waits for, and until when."""
    session: Session = ctx.obj
    found = session.client.explain(app_id)
    session.out.result(found, *output.explained(found))


@_app.command("scale")
def scale_app(
    ctx: Context,
    app_id: AppId,
    instances: Annotated[int, typer.Argument(metavar="N", min=0, help="how many instances")],
    force: Force = False,
    wait_: Wait = False,
    timeout: Timeout = WAIT_S,
) -> None:
    """Set the number of an app's instances."""
    session: Session = ctx.obj
    apply.required(session.client, app_id)
    _finish(session, session.client.scale(app_id, instances, force=force), app_id, f"scaled to {instances}", wait_, timeout)


@_app.command("restart")
def restart_app(ctx: Context, app_id: AppId, force: Force = False, wait_: Wait = False, timeout: Timeout = WAIT_S) -> None:
    """Replace every instance of an app, step by step, by one of the same definition."""
    session: Session = ctx.obj
    _finish(session, session.client.restart(app_id, force=force), app_id, "restarting", wait_, timeout)


@_app.command("delete")
def delete_app(ctx: Context, app_ids: Annotated[list[str], typer.Argument(metavar="APP...")], force: Force = False) -> None:
    """Delete apps; their instances are drained and stopped."""
    session: Session = ctx.obj
    answers = []
    for app_id in app_ids:
        answers.append(session.client.delete_app(app_id, force=force))
        session.out.say(f"{app_id}: deleted")
    session.out.result(answers)


@_task.command("list")
def list_tasks(ctx: Context, app_id: Annotated[str | None, typer.Argument(metavar="[APP]")] = None) -> None:
    """List the tasks of an app, or of all."""
    session: Session = ctx.obj
    found = session.client.tasks(app_id)
    session.out.result(found, output.tasks(found))


@_task.command("kill")
def kill_tasks(
    ctx: Context,
    task_ids: Annotated[list[str], typer.Argument(metavar="TASK...")],
    scale: Annotated[bool, typer.Option("--scale", help="and want as many instances fewer")] = False,
) -> None:
    """Kill tasks; each is replaced, unless --scale is given."""
    session: Session = ctx.obj
    answer = session.client.kill_tasks(task_ids, scale=scale)
    if not scale and not answer.get("tasks"):
        raise Refused(404, "none of these tasks exists: see eratos task list")
    session.out.say("killing " + ", ".join(task_ids))
    session.out.result(answer)


@_group.command("show")
def show_group(ctx: Context, group_id: Annotated[str, typer.Argument(metavar="[GROUP]")] = "/") -> None:
    """List the apps of a group and of the groups below it."""
    session: Session = ctx.obj
    group = session.client.group(group_id)
    session.out.result(group, output.apps(_below(group)))


def _below(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(group.get("apps") or ()), *(app for child in group.get("groups") or () for app in _below(child))]


@_group.command("delete")
def delete_group(
    ctx: Context,
    group_id: Annotated[str, typer.Argument(metavar="GROUP")],
    force: Force = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="without asking")] = False,
) -> None:
    """Delete every app of a group."""
    session: Session = ctx.obj
    doomed = [app["id"] for app in _below(session.client.group(group_id))]
    if not yes:
        typer.confirm(f"Delete {len(doomed)} apps: {', '.join(doomed)}?", abort=True, err=True)
    answer = session.client.delete_group(group_id, force=force)
    session.out.say(f"{group_id}: deleted")
    session.out.result(answer)


@_deployment.command("list")
def list_deployments(ctx: Context) -> None:
    """List the changes under way."""
    session: Session = ctx.obj
    found = session.client.deployments()
    session.out.result(found, output.deployments(found))


@_brake.command("show")
def show_brake(ctx: Context) -> None:
    """Show whether the brake is engaged, why, and which hosts are missed."""
    session: Session = ctx.obj
    found = session.client.brake()
    session.out.result(found, *output.brake(found))


@_brake.command("release")
def release_brake(ctx: Context) -> None:
    """Go on in spite of the losses: what is lost is replaced, and tasks that no record stands for are killed."""
    session: Session = ctx.obj
    found = session.client.release_brake()
    session.out.say("released")
    session.out.result(found)


@eratos.command("queue")
def show_queue(ctx: Context) -> None:
    """Show which instances wait to be launched, and why."""
    session: Session = ctx.obj
    found = session.client.queue()
    session.out.result(found, output.queue(found))


@eratos.command("logs")
def show_logs(
    ctx: Context,
    name: Annotated[str, typer.Argument(metavar="APP|TASK", help="an app, for all its tasks of now, or one task")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the tasks end")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="standard error instead of standard output")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", metavar="LINES", help="how many lines to begin with", min=0)] = 100,
) -> None:
    """Show what tasks write. Of several tasks each line names its own."""
    session: Session = ctx.obj
    tasks = logs.tasks_of(session.client, name)
    if not tasks:
        raise Refused(404, f"{name} has no task that runs and none that failed: see eratos app show {name}")
    found = logs.opened(session.client, tasks, session.out.say, stderr=stderr, tail=tail, follow=follow)
    try:
        failures = logs.show(found, session.out.raw)
    except KeyboardInterrupt:
        return  # how people leave a log that they followed
    if failures:
        raise Unreachable("; ".join(failures))


@eratos.command("info")
def show_info(ctx: Context) -> None:
    """Show what answers at the URL: name, version, leader."""
    session: Session = ctx.obj
    info = session.client.info()
    session.out.result(info, output.pairs(info))


def _finish(session: Session, answer: Any, app_id: str, done: str, wait_: bool, timeout_s: float) -> None:
    session.out.say(f"{app_id}: {done}")
    if wait_:
        _wait(session, [app_id], timeout_s)
    session.out.result(answer)


def _wait(session: Session, app_ids: Any, timeout_s: float) -> None:
    wait.until_ready(session.client, app_ids, timeout_s, session.out.say, session.clock, session.sleep)


def run(argv: Sequence[str], session: Session | None = None) -> int:
    """Run the command and return its exit status: 0 done, 1 refused or failed, 2 wrong usage."""
    arguments = _globals_first(argv)
    out = session.out if session is not None else Output(as_json=False)
    try:
        eratos(arguments, prog_name="eratos", obj=session)
    except SystemExit as done:
        # How typer ends, help and wrong usage included.
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except files.Unreadable as error:
        out.fail(str(error))
        return 2
    except Refused as refused:
        out.fail(str(refused), refused.problems)
    except EratosError as error:
        out.fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
    return 1


def _globals_first(argv: Sequence[str]) -> list[str]:
    """Move the whole command's options to the front: ``eratos app list --json`` is what people write."""
    front: list[str] = []
    rest: list[str] = []
    items = iter(argv)
    for item in items:
        if item == "--":
            rest += [item, *items]
        elif item in _GLOBAL_FLAGS or item.startswith(tuple(f"{name}=" for name in _GLOBAL_VALUES)):
            front.append(item)
        elif item in _GLOBAL_VALUES:
            front += [item, *([value] if (value := next(items, None)) is not None else [])]
        else:
            rest.append(item)
    return front + rest
