"""The commands of ``eratos``. Each reads its arguments, calls the API, shows the result; nothing is decided here."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from eratos.common.errors import EratosError
from eratos.marathon.client import MarathonClient, Refused, Unreachable
from eratos.marathon.errors import InvalidApp

from . import apply, files, logs, output, tasks, wait
from .output import Output

DEFAULT_URL = "http://127.0.0.1:8080"
WAIT_S = 600.0
#: A shell waits for what completes a word.
COMPLETE_S = 2.0

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


class _InOrder(TyperGroup):
    """Lists its commands by name, however the code puts them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx))


class _Counted(TyperCommand):
    """Takes ``-1`` for a number that is too small, not for an option that nobody knows."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        for before, item in zip(["", *args], args, strict=False):
            if re.fullmatch(r"-\d+", item) and not before.startswith("--"):
                raise typer.BadParameter(f"{item} is too few: 0 or more", param_hint="N")
        return super().parse_args(ctx, args)


def _commands(help_text: str, epilog: str = "") -> typer.Typer:
    # Help without markup: boxes do not survive a pipe or a narrow terminal, and what draws them takes long to import.
    return typer.Typer(
        cls=_InOrder,
        help=help_text,
        epilog=epilog,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


eratos = _commands(
    "Run apps on eratos, or on anything else that speaks Marathon's API.",
    "Ends with 0: done; 1: refused, failed or not ready in time; 2: wrong usage; 130: waiting was interrupted; 141: nobody "
    "read the result to its end.",
)
_app = _commands("Create, show, scale and delete apps.")
_task = _commands("List and kill tasks.")
_group = _commands("Show and delete groups of apps.")
_deployment = _commands("Changes under way.")
_brake = _commands("Show and release the disaster brake.")
for _name, _part in (
    ("app", _app),
    ("task", _task),
    ("group", _group),
    ("deployment", _deployment),
    ("brake", _brake),
):
    eratos.add_typer(_part, name=_name)

Context = typer.Context


def _complete(known: Callable[[MarathonClient], list[str]], ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete an id by those the API knows; where it does not answer soon there is nothing to complete."""
    url = str(ctx.find_root().params.get("url") or os.environ.get("ERATOS_URL") or DEFAULT_URL)
    try:
        found = known(MarathonClient(url, timeout_s=COMPLETE_S))
    except EratosError:
        return []
    return [name for name in found if name.startswith(incomplete)]


def _complete_app(ctx: typer.Context, incomplete: str) -> list[str]:
    return _complete(lambda client: [str(app["id"]) for app in client.apps()], ctx, incomplete)


def _complete_task(ctx: typer.Context, incomplete: str) -> list[str]:
    return _complete(lambda client: [tasks.short(str(task["id"])) for task in client.tasks()], ctx, incomplete)


def _complete_log(ctx: typer.Context, incomplete: str) -> list[str]:
    return (_complete_app if incomplete.startswith("/") or not incomplete else _complete_task)(ctx, incomplete)


def _complete_group(ctx: typer.Context, incomplete: str) -> list[str]:
    def groups(client: MarathonClient) -> list[str]:
        parents = (str(app["id"]).split("/")[:-1] for app in client.apps())
        return sorted({"/".join(names[:count]) for names in parents for count in range(2, len(names) + 1)})

    return _complete(groups, ctx, incomplete)


AppId = Annotated[str, typer.Argument(metavar="APP", help="id of an app, such as /shop/cart", autocompletion=_complete_app)]
AppIds = Annotated[list[str], typer.Argument(metavar="APP...", autocompletion=_complete_app)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="without asking")]
Force = Annotated[bool, typer.Option("--force", help="also while a deployment touches it")]
Wait = Annotated[bool, typer.Option("--wait", help="until every instance runs and is healthy")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="longest wait with --wait", min=0)]


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        sys.stdout.write(f"eratos {importlib.metadata.version('eratos')}\n")
        raise typer.Exit


@eratos.callback()
def _root(
    ctx: Context,
    url: Annotated[
        str, typer.Option("--url", envvar="ERATOS_URL", help="where the API is; several schedulers' with commas between")
    ] = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for scripts")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="show this command's version and exit", callback=_version, is_eager=True)
    ] = False,
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
    patience = _patience(session, wait_, timeout)
    answers = []
    for document in documents:
        try:
            answers.append(wait.until_taken(partial(apply.apply, session.client, document, force=force), patience))
        except Refused as refused:
            raise Refused(refused.status, f"{document.source}: {refused}", refused.problems) from refused
        session.out.say(f"{document.source}: applied {', '.join(app_id for app_id, _ in document.apps()) or 'no app'}")
        for notice in session.client.notices:
            session.out.say(f"  {notice}")
        session.client.notices.clear()
    app_ids = dict.fromkeys(app_id for document in documents for app_id, _ in document.apps())
    if patience is not None:
        wait.until_ready(session.client, app_ids, patience)
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
    rest = session.out.as_json or wait.at_rest(session.client, shown)
    session.out.result(shown, *output.app(shown, queue, session.out, at_rest=rest))


@_app.command("explain")
def explain_app(ctx: Context, app_id: AppId) -> None:
    """Say why an app is not as it should be: what each instance waits for, and until when."""
    session: Session = ctx.obj
    found = session.client.explain(app_id)
    session.out.result(found, *output.explained(found))


@_app.command("scale", cls=_Counted)
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

    def scale() -> Any:
        apply.required(session.client, app_id)
        return session.client.scale(app_id, instances, force=force)

    _change(session, scale, app_id, f"scaled to {instances}", _patience(session, wait_, timeout))


@_app.command("restart")
def restart_app(ctx: Context, app_id: AppId, force: Force = False, wait_: Wait = False, timeout: Timeout = WAIT_S) -> None:
    """Replace every instance of an app, step by step, by one of the same definition."""
    session: Session = ctx.obj
    restart = partial(session.client.restart, app_id, force=force)
    _change(session, restart, app_id, "restarting", _patience(session, wait_, timeout))


@_app.command("wait")
def wait_for_apps(ctx: Context, app_ids: AppIds, timeout: Timeout = WAIT_S) -> None:
    """Wait until every instance of the apps runs and is healthy, as --wait does."""
    session: Session = ctx.obj
    patience = _patience(session, True, timeout)
    assert patience is not None
    found = wait.until_ready(session.client, app_ids, patience)
    session.out.result([{"id": item.app_id, "running": item.running, "healthy": item.healthy} for item in found])


@_app.command("delete")
def delete_app(ctx: Context, app_ids: AppIds, force: Force = False, yes: Yes = False) -> None:
    """Delete apps; their instances are drained and stopped."""
    session: Session = ctx.obj
    if not yes:
        _confirm([str(session.client.app(app_id)["id"]) for app_id in app_ids])
    answers = []
    for app_id in app_ids:
        answers.append(session.client.delete_app(app_id, force=force))
        session.out.say(f"{app_id}: deleted")
    session.out.result(answers)


@_task.command("list")
def list_tasks(
    ctx: Context, app_id: Annotated[str | None, typer.Argument(metavar="[APP]", autocompletion=_complete_app)] = None
) -> None:
    """List the tasks of an app, or of all."""
    session: Session = ctx.obj
    found = session.client.tasks(app_id)
    session.out.result(found, output.tasks(found, session.out))


@_task.command("kill")
def kill_tasks(
    ctx: Context,
    task_ids: Annotated[list[str], typer.Argument(metavar="TASK...", autocompletion=_complete_task)],
    scale: Annotated[bool, typer.Option("--scale", help="and want as many instances fewer")] = False,
) -> None:
    """Kill tasks; each is replaced, unless --scale is given."""
    session: Session = ctx.obj
    answer = session.client.kill_tasks(tasks.whole(session.client, task_ids), scale=scale)
    if not scale and not answer.get("tasks"):
        raise Refused(404, "none of these tasks exists: see eratos task list")
    session.out.say("killing " + ", ".join(task_ids))
    session.out.result(answer)


@_group.command("show")
def show_group(
    ctx: Context, group_id: Annotated[str, typer.Argument(metavar="[GROUP]", autocompletion=_complete_group)] = "/"
) -> None:
    """List the apps of a group and of the groups below it."""
    session: Session = ctx.obj
    group = session.client.group(group_id)
    session.out.result(group, output.apps(_below(group)))


def _below(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(group.get("apps") or ()), *(app for child in group.get("groups") or () for app in _below(child))]


@_group.command("delete")
def delete_group(
    ctx: Context,
    group_id: Annotated[str, typer.Argument(metavar="GROUP", autocompletion=_complete_group)],
    force: Force = False,
    yes: Yes = False,
) -> None:
    """Delete every app of a group."""
    session: Session = ctx.obj
    if not yes:
        _confirm([str(app["id"]) for app in _below(session.client.group(group_id))])
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
    name: Annotated[
        str,
        typer.Argument(metavar="APP|TASK", help="an app, for all its tasks of now, or one task", autocompletion=_complete_log),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the tasks end")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="standard error instead of standard output")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", metavar="LINES", help="how many lines to begin with", min=0)] = 100,
) -> None:
    """Show what tasks write. Of several tasks each line names its own."""
    session: Session = ctx.obj
    found_tasks = logs.tasks_of(session.client, name)
    if not found_tasks:
        raise Refused(404, f"{name} has no task that runs and none that failed: see eratos app show {name}")
    found = logs.opened(session.client, found_tasks, session.out.say, stderr=stderr, tail=tail, follow=follow)
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


def _patience(session: Session, wait_: bool, timeout_s: float) -> wait.Patience | None:
    """Return how long a command waits, from now on; None: not at all."""
    if not wait_:
        return None
    return wait.Patience(session.clock() + timeout_s, timeout_s, session.out.say, session.clock, session.sleep)


def _change(session: Session, change: Callable[[], Any], app_id: str, done: str, patience: wait.Patience | None) -> None:
    answer = wait.until_taken(change, patience)
    session.out.say(f"{app_id}: {done}")
    if patience is not None:
        wait.until_ready(session.client, [app_id], patience)
    session.out.result(answer)


def _confirm(doomed: Sequence[str]) -> None:
    """Ask before apps are deleted. Raises Refused unless the answer is yes."""
    what = f"{len(doomed)} app{'' if len(doomed) == 1 else 's'}: {', '.join(doomed)}"
    try:
        agreed = typer.confirm(f"Delete {what}?", err=True)
    except typer.Abort:
        raise Refused(0, "nobody answered, so nothing was deleted: give --yes where nobody can") from None
    if not agreed:
        raise Refused(0, "nothing was deleted")


def run(argv: Sequence[str], session: Session | None = None) -> int:
    """Run the command and return its exit status, as ``eratos --help`` lists them."""
    arguments = _globals_first(argv)
    out = session.out if session is not None else Output(as_json=False)
    try:
        try:
            eratos(arguments, prog_name="eratos", obj=session)
        finally:
            sys.stdout.flush()  # here, where it can be told that nobody reads any more
    except SystemExit as done:
        # How typer ends, help and wrong usage included.
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except wait.Interrupted as error:
        out.fail(str(error))
        return 128 + signal.SIGINT
    except files.Unreadable as error:
        out.fail(str(error))
        return 2
    except Refused as refused:
        out.fail(str(refused), refused.problems)
    except EratosError as error:
        out.fail(str(error))
    except BrokenPipeError:
        # As of any command whose reader left; what is still to be written goes nowhere instead of failing once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
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
