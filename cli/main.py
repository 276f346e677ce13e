"""The command ``eratos``: its own options, what it has of subjects, and how it ends. Nothing is decided here."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from eratos.common.errors import EratosError
from eratos.marathon.client import Refused, Unreachable

from . import arguments, connection, files, output, views
from .files import Unreadable
from .output import FORMS, Form, Output
from .patience import Interrupted, until_taken
from .session import Session

_HOW_TO_LOG_IN = (
    "eratos shows what --token-file, ERATOS_TOKEN, ERATOS_CREDENTIALS (user:password) or a context hold: eratos context show"
)

#: Of the commands that somebody may have meant, so many are named.
_MEANT_MOST = 3
#: Options of the whole command, which may stand behind the subcommand too.
_GLOBAL_FLAGS = ("--json", "--quiet", "-q")
_GLOBAL_VALUES = ("--url", "--token-file", "--ca-file", "--cert-file", "--context", "--output", "-o")


class _Subject(click.Group):
    """A subject, such as ``app``. Its commands stand in the module of its name below ``commands/``, imported at its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._fill()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._fill()
        return super().get_command(ctx, cmd_name)

    def _fill(self) -> None:
        self.commands = importlib.import_module(f".commands.{self.name}", __package__).commands.commands


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        import importlib.metadata

        sys.stdout.write(f"eratos {importlib.metadata.version('eratos')}\n")
        ctx.exit()


def _completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    if shell:
        from click import shell_completion

        kind = shell_completion.get_completion_class(shell)
        assert kind is not None
        sys.stdout.write(kind(eratos, {}, "eratos", "_ERATOS_COMPLETE").source() + "\n")
        ctx.exit()


class _Commands(click.Group):
    """Names the command that somebody may have meant who has others' words in the fingers, such as ``eratos scale``."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None  # click itself would end with 1, as if something had failed

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and (meant := self._meant(ctx, name)):
            ctx.fail(f"No such command '{name}': did you mean {' or '.join(f'eratos {words}' for words in meant)}?")
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, name: str) -> list[str]:
        subjects = {subject: group for subject, group in self.commands.items() if isinstance(group, click.Group)}
        subject = "task" if name == "ps" else name.removesuffix("s")
        if subject in subjects and subjects[subject].get_command(ctx, "list"):
            return [f"{subject} list"]
        of_subjects = [f"{subject} {name}" for subject, group in subjects.items() if group.get_command(ctx, name)]
        return of_subjects[:_MEANT_MOST] or difflib.get_close_matches(name, self.commands, _MEANT_MOST, cutoff=0.75)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Ends with 0: done; 1: refused, failed or not ready in time; 2: wrong usage; 130: it was interrupted; "
    "141: nobody read the result to its end.",
)
@click.option(
    "--url",
    default="",
    help=f"where the API is; several schedulers' with commas between [ERATOS_URL; default: {connection.DEFAULT_URL}]",
)
@click.option(
    "--context",
    default="",
    metavar="NAME",
    shell_complete=arguments.complete_context,
    help="one of eratos context [ERATOS_CONTEXT]",
)
@click.option("--output", "-o", "form", type=click.Choice(FORMS), help="wide cuts nothing off; json and yaml are for scripts")
@click.option("--json", "as_json", is_flag=True, help="the same as --output json")
@click.option("--quiet", "-q", is_flag=True, help="of lists the names alone, of changes nothing but failures")
@click.option("--token-file", default="", metavar="FILE", help="file with a token for the API; or ERATOS_TOKEN holds one")
@click.option("--ca-file", default="", metavar="FILE", help="authorities of an https API's certificate [ERATOS_CA_FILE]")
@click.option("--cert-file", default="", metavar="FILE", help="certificate and key to show the API [ERATOS_CERT_FILE]")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="show this command's version and exit",
)
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    expose_value=False,
    is_eager=True,
    callback=_completion,
    help="print what has this shell complete commands and ids, and exit",
)
@click.pass_context
def eratos(ctx: click.Context, /, form: Form | None, as_json: bool, quiet: bool, **_: str) -> None:
    """Run apps on eratos, or on anything else that speaks Marathon's API.

    \b
    eratos app apply shop.json --wait    create or change an app, and wait until it is ready
    eratos doctor                        say whether all is well, and what to do where it is not
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json, --output {form}: give one of them")
    if ctx.obj is not None:
        return
    out = Output(form or ("json" if as_json else "table"), quiet=quiet)
    # What is wrong with a context must not keep its user from mending it.
    ctx.obj = out if ctx.invoked_subcommand == "context" else _session(arguments.connection_options(ctx), out)


def _session(given: connection.Options, out: Output) -> Session:
    return Session(connection.resolve(given).client(), out)


for _name, _help in (
    ("app", "Create, show, scale and delete apps."),
    ("pod", "Show, scale and delete pods; app apply creates and changes them."),
    ("job", "Create, run and stop jobs, which end; see how they ended."),
    ("task", "List and kill tasks."),
    ("group", "Show and delete groups of apps."),
    ("deployment", "Changes under way."),
    ("quota", "How much a group may want: show, set, delete."),
    ("volume", "Persistent volumes: list, and destroy what nobody uses."),
    ("agent", "Take a host out, and take it in again: drain, undrain."),
    ("brake", "Show and release the disaster brake."),
    ("marathon", "Come from Marathon: check its files, copy its apps."),
    ("context", "Keep APIs by name, with what they are shown."),
):
    eratos.add_command(_Subject(_name, help=_help))


@eratos.command("queue")
@click.pass_obj
def show_queue(session: Session) -> None:
    """Show which instances wait to be launched, and why.

    \b
    eratos queue
    eratos queue -o json | jq '.[].delay'
    """
    found = session.client.queue()
    session.out.result(found, views.queue(found))


@eratos.command("agents")
@click.pass_obj
def list_agents(session: Session) -> None:
    """List the hosts: what eratos uses there, what is free, and which take nothing now.

    \b
    eratos agents
    eratos agents -o wide                each on one line, with nothing cut off
    """
    found = session.client.overview()
    session.out.result(found["agents"], views.agents(found))


@eratos.command("logs")
@click.argument(
    "name", metavar="APP|POD|TASK", help="an app or pod, for all of now, or one task", shell_complete=arguments.complete_log
)
@arguments.reads
@click.option("--container", "-c", default="", metavar="NAME", help="one of a pod's; else its first")
@click.pass_obj
def show_logs(session: Session, name: str, follow: bool, stderr: bool, tail: int, container: str) -> None:
    """Show what tasks write. Of several tasks each line names its own.

    \b
    eratos logs -f /shop/cart            all its tasks, each line with its own
    eratos logs -n 20 --stderr shop_cart.6f1c0a52.1
    """
    from . import logs

    found_tasks = logs.tasks_of(session.client, name)
    if not found_tasks:
        raise Refused(404, f"{name} has no task that runs and none that failed: see eratos app show {name}")
    found = logs.opened(
        session.client,
        found_tasks,
        session.out.say,
        stderr=stderr,
        tail=tail,
        follow=follow,
        container=container,
        sleep=session.sleep,
    )
    logs.to_their_end(session.client, found, session.out, follow=follow)


@eratos.command("move")
@click.argument(
    "name",
    metavar="APP|INSTANCE",
    help="an app, or one of its instances, by its id or its task's",
    shell_complete=arguments.complete_log,
)
@click.option(
    "--to", default="", metavar="HOST", help="where to; else wherever there is room", shell_complete=arguments.complete_host
)
@click.option("--wipe", is_flag=True, help="destroy the old volumes once it is ready; else they are left")
@click.option("--cancel", is_flag=True, help="have the app's instances stay, or come back")
@click.option("--wait/--no-wait", "wait_", default=True, help="until it is ready there (yes)")
@arguments.timeout
@click.pass_obj
def move_instance(session: Session, name: str, to: str, wipe: bool, cancel: bool, wait_: bool, timeout: float) -> None:
    """Move an instance to another host, with copies of its persistent volumes.

    It is stopped as soon as that host offers room, its volumes are copied, and it starts there. Where anything fails it starts
    where it was, with its data.

    \b
    eratos move /blog/db --to agent2
    eratos app explain /blog/db          how far it is
    """
    from . import moves, tasks

    if cancel and (to or wipe):
        raise click.UsageError("--cancel ends a move, so it goes without --to and --wipe")
    if cancel:
        found = session.client.cancel_moves(name)
        session.out.say(f"{name}: stays where it is, or comes back there")
        session.out.result(found)
        return
    patience = session.patience(wait_, timeout)
    (asked,) = tasks.whole(session.client, [name])
    moved = until_taken(lambda: moves.begun(session.client, asked, to, wipe=wipe), patience)
    if patience is not None and moved:
        moves.until_there(session.client, moved, patience)
        session.out.say(f"{moved['app']}: moved from {moved['from']}")
    session.out.result(moved)


@eratos.command("exec")
@click.argument(
    "name", metavar="APP|POD|TASK", help="one of its ready instances, or one task", shell_complete=arguments.complete_log
)
@click.argument("command", metavar="[--] COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--stdin", "-i", "with_input", is_flag=True, help="send standard input, to its end")
@click.option("--tty", "-t", "terminal", is_flag=True, help="give it a terminal: with -i for a shell")
@click.option("--container", "-c", default="", metavar="NAME", help="one of a pod's; else its first")
@click.pass_obj
def run_command(session: Session, name: str, command: tuple[str, ...], with_input: bool, terminal: bool, container: str) -> None:
    """Run a command in an instance, and end with its exit code.

    \b
    eratos exec /shop/cart -it -- sh                    a shell
    eratos exec /blog/db -- mysqldump blog > blog.sql   its output here
    """
    from . import exec as execution
    from . import tasks

    (found,) = tasks.whole(session.client, [name])
    code = execution.run(
        session.client,
        found,
        command,
        session.out.say,
        container=container,
        with_input=with_input,
        terminal=terminal,
    )
    click.get_current_context().exit(code)


@eratos.command("forward")
@click.argument("mappings", metavar="LOCAL:APP[:PORTNAME]...", nargs=-1, required=True)
@click.pass_obj
def forward_ports(session: Session, mappings: tuple[str, ...]) -> None:
    """Have ports of this machine lead to an app, until Ctrl-C. Each connection goes to an instance that is ready then.

    \b
    eratos forward 3306:/blog/db:mysql           127.0.0.1:3306 is the port mysql of /blog/db
    eratos forward 8000:/shop/cart 0:/blog/web   two apps; 0 is any free port
    """
    from . import forward

    try:
        parsed = [forward.Mapping.parse(text) for text in mappings]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if twice := {each.local for each in parsed if each.local and sum(each.local == one.local for one in parsed) > 1}:
        raise click.UsageError(f"port {min(twice)} leads to several apps: give each its own")
    forward.run(session.client, parsed, session.out.say)


@eratos.command("who")
@click.argument("request_id", metavar="REQUEST-ID", help="of the header X-Request-Id: in the answer, and in logs")
@click.pass_obj
def show_request(session: Session, request_id: str) -> None:
    """Say which instance on which agent served a request, when, and how. Ends with 1 where nobody knows, and says why.

    \b
    curl -si http://shop.example/ | grep -i x-request-id
    eratos who 01a2213a-0536-7172-9390-a7928f894edc
    """
    found = session.client.request(request_id)
    if found["requests"] or session.out.as_data:
        session.out.result(found, views.requests(found["requests"], session.out))
    if not found["requests"]:
        session.out.fail(f"no balancer knows of a request {request_id}")
    for reason in found["reasons"]:
        session.out.say(reason)
    click.get_current_context().exit(not found["requests"])


@eratos.command("build")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="FILE...",
    help="YAML or JSON with the keys image and app; of several files the later ones win; - reads stdin",
)
@click.option("--apply", "apply_", is_flag=True, help="then create the app or change it, with the image by its digest")
@click.option("--rebuild", is_flag=True, help="also where there is one, from nothing, and with what it builds upon pulled anew")
@click.option("--dry-run", is_flag=True, help="only say what would be done")
@arguments.changes
@click.pass_obj
def build_image(
    session: Session,
    paths: tuple[str, ...],
    apply_: bool,
    rebuild: bool,
    dry_run: bool,
    force: bool,
    wait_: bool,
    timeout: float,
) -> None:
    """Have an image in its registry: built where nobody has built it before, and pushed. Prints it by its digest.

    \b
    eratos build shop.yaml --apply --wait            build it, and have the app run it
    eratos build base.yaml prod.yaml --apply         of both files what the second says
    """
    from .images import building, description
    from .images.engine import Engine

    if not apply_ and (force or wait_):
        raise click.UsageError("--force and --wait are for the app: give --apply as well")
    if apply_ and dry_run:
        raise click.UsageError("--apply, --dry-run: give one of them")
    described = description.load(paths)
    if apply_ and described.app is None:
        raise Unreadable(f"{' + '.join(paths)}: app is missing: write Marathon's definition of what runs the image")
    docker, say = session.docker or Engine(quiet=session.out.quiet), session.out.say
    plan = building.plan(described, docker, say, rebuild=rebuild)
    found = {"name": described.name, "id": plan.image_id, "tag": plan.tag, "source": plan.source, "step": plan.step.value}
    say(building.summary(plan))
    if dry_run:
        session.out.result({**found, "image": None}, plan.step.value)
        return
    image = building.carry_out(plan, docker, say, fresh=rebuild)
    documents = [files.document(" + ".join(paths), described.with_image(image))] if apply_ else []
    answers = session.apply(documents, session.patience(wait_, timeout), force=force)
    session.out.result({**found, "image": image, "applied": answers}, image)


@eratos.command("release")
@click.argument("part", type=click.Choice(arguments.PARTS))
@click.option("--branch", default="main", show_default=True, help="the one that releases are made of")
@click.option("--remote", default="origin", show_default=True, help="where the tag is pushed to")
@click.option("--dry-run", is_flag=True, help="only say what would be done")
@click.pass_obj
def release_repository(session: Session, part: arguments.Part, branch: str, remote: str, dry_run: bool) -> None:
    """Tag the repository of this folder with its next version, v1.4.2 after v1.4.1, and push the tag. Prints it.

    \b
    eratos release patch
    eratos release minor --dry-run        which version that would be
    """
    from .images import release

    version = release.release(Path(), part, session.out.say, branch=branch, remote=remote, dry_run=dry_run)
    session.out.result({"version": version, "released": not dry_run}, version)


@eratos.command("events")
@click.argument("name", metavar="[APP|GROUP]", default="", help="only what is about it", shell_complete=arguments.complete_app)
@click.option("--recent", is_flag=True, help="begin with what happened before, as far as it is kept, 500 at most")
@click.option("--type", "kinds", multiple=True, metavar="TYPE", help="only this type, such as deployment_info; may be repeated")
@click.pass_obj
def follow_events(session: Session, name: str, recent: bool, kinds: tuple[str, ...]) -> None:
    """Follow what happens, until Ctrl-C. With --output json each event is a line of JSON.

    \b
    eratos events /shop --recent
    eratos events --type deployment_info --json | jq -r .plan.id
    """
    from . import events

    after = str(session.client.overview()["earlier"]) if recent else ""
    try:
        for event in events.follow(session.client, kinds, session.out.say, session.sleep, after):
            if not name or events.about(event, "/" + name.strip("/")):
                session.out.item(event, events.line(event))
    except KeyboardInterrupt:
        return  # how people leave what they followed


@eratos.command("doctor")
@click.pass_obj
def examine(session: Session) -> None:
    """Look at every part from here: what is well, what is wrong, and what mends it. Ends with 1 where something is wrong.

    \b
    eratos doctor
    eratos doctor --url http://10.0.0.1:8080,http://10.0.0.2:8080   all schedulers
    """
    from . import doctor

    found = list(doctor.examine(session.client, session.sleep))
    session.out.result([dataclasses.asdict(finding) for finding in found], views.findings(found, session.out))
    click.get_current_context().exit(any(finding.state == "wrong" for finding in found))


@eratos.command("top")
@click.argument("app_id", metavar="[APP]", default="", help="only its instances", shell_complete=arguments.complete_app)
@click.option("--sort", "by", type=click.Choice(arguments.ORDERS), default="requests", show_default=True)
@click.option("--reverse", is_flag=True, help="the other way round")
@click.option(
    "--every", type=click.FloatRange(min=0.5), default=2.0, show_default=True, metavar="SECONDS", help="between two looks"
)
@click.option("--once", is_flag=True, help="look once; always so in a pipe, and with an --output other than table")
@click.pass_obj
def watch_instances(session: Session, app_id: str, by: arguments.Order, reverse: bool, every: float, once: bool) -> None:
    """Watch instances with their requests a second, time to answer (ms), errors (5xx), CPU and memory, until Ctrl-C.

    \b
    eratos top /shop/cart --sort cpu
    eratos top --once -o json | jq 'map(.requests_per_s) | add'
    """
    from . import top

    out = session.out

    def again() -> list[top.Row]:
        return top.ordered(top.look(session.client, app_id), by, reverse=reverse)

    if once or out.width is None or out.quiet:
        found = again()
        out.result([dataclasses.asdict(row) for row in found], top.table(found, out))
        return
    top.watch(again, out, session.sleep, every, lambda: output.size_of(sys.stdout))


@eratos.command("info")
@click.pass_obj
def show_info(session: Session) -> None:
    """Show what answers at the URL: name, version, leader.

    \b
    eratos info
    eratos info -o json | jq -r .version
    """
    info = session.client.info()
    session.out.result(info, views.pairs(info))


def run(argv: Sequence[str], session: Session | None = None) -> int:
    """Run the command and return its exit status, as ``eratos --help`` lists them."""
    arguments = _globals_first(argv)
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:  # closed, as by >&-
            setattr(sys, stream, Path(os.devnull).open(mode))  # noqa: SIM115
    out, stdout = session.out if session is not None else Output(), sys.stdout
    try:
        try:
            eratos(arguments, prog_name="eratos", obj=session)
        finally:
            sys.stdout.flush()  # here, where it shows that nobody reads any more
    except SystemExit as done:
        # How click ends, help and wrong usage included. It puts another stream there where nobody reads any more.
        if sys.stdout is not stdout:
            return 128 + signal.SIGPIPE
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Interrupted as error:
        out.fail(str(error))
        return 128 + signal.SIGINT
    except Unreadable as error:
        out.fail(str(error))
        return 2
    except Refused as refused:
        hint = f"; {_HOW_TO_LOG_IN}" if refused.status == 401 else ""
        if refused.deployments:
            named = ", ".join(refused.deployments)
            hint = f" It is {named}: see eratos deployment show, wait until it has ended, or give --force to take its place"
        out.fail(str(refused) + hint, refused.problems)
    except Unreachable as error:
        out.fail(f"{error}; eratos doctor looks where it fails")
    except EratosError as error:
        out.fail(str(error))
    except OSError as error:
        # What is still to be written goes nowhere instead of failing once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE  # as of any command whose reader left
        what = error.filename or "the result could not be written"
        out.fail(f"{what}: {error.strerror}")
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
        elif item.startswith("-o") and item[2:] in FORMS:  # -ojson, as of other commands
            front += ["-o", item[2:]]
        elif item in _GLOBAL_VALUES:
            front += [item, *([value] if (value := next(items, None)) is not None else [])]
        else:
            rest.append(item)
    return front + rest
