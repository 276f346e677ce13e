"""Arguments and options that several commands share, and how a shell completes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import click

from eratos.common.errors import EratosError
from eratos.marathon.client import MarathonClient

from . import connection, contexts, tasks

F = TypeVar("F", bound=Callable[..., object])

WAIT_S = 600.0
#: What instances are sorted by.
Order = Literal["app", "task", "host", "state", "age", "requests", "answer", "errors", "cpu", "mem"]
ORDERS: tuple[Order, ...] = get_args(Order)
#: Of a version; what a release makes one higher.
Part = Literal["major", "minor", "patch"]
PARTS: tuple[Part, ...] = get_args(Part)
#: A shell waits for what completes a word.
COMPLETE_S = 2.0


class Counted(click.Command):
    """Takes ``-1`` for a number that is too small, not for an option that nobody knows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for before, item in zip(["", *args], args, strict=False):
            if re.fullmatch(r"-\d+", item) and not before.startswith("--"):
                raise click.BadParameter(f"{item} is too few: 0 or more", param_hint="N")
        return super().parse_args(ctx, args)


def connection_options(ctx: click.Context) -> connection.Options:
    """Return what was typed of the options that say where the API is and what it is shown."""
    given = ctx.find_root().params
    return connection.Options(*(str(given.get(name) or "") for name in connection.Options._fields))


def _complete(known: Callable[[MarathonClient], list[str]], ctx: click.Context, incomplete: str) -> list[str]:
    """Complete an id by those the API knows; where it does not answer soon there is nothing to complete."""
    try:
        found = known(connection.resolve(connection_options(ctx)).client(COMPLETE_S))
    except EratosError:
        return []
    return [name for name in found if name.startswith(incomplete)]


def complete_app(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _complete(lambda client: [str(app["id"]) for app in client.apps()], ctx, incomplete)


def complete_task(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _complete(lambda client: [tasks.short(str(task["id"])) for task in client.tasks()], ctx, incomplete)


def complete_log(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return (complete_app if incomplete.startswith("/") or not incomplete else complete_task)(ctx, param, incomplete)


def complete_group(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from .migration import tree  # here: it reads definitions, whose models take a while to import

    def groups(client: MarathonClient) -> list[str]:
        return sorted(str(found["id"]) for found in tree(client.group()) if found["id"] != "/")

    return _complete(groups, ctx, incomplete)


def complete_deployment(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _complete(lambda client: [str(found["id"]) for found in client.deployments()], ctx, incomplete)


def complete_pod(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _complete(lambda client: [str(pod["id"]) for pod in client.pods()], ctx, incomplete)


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _complete(lambda client: [str(job["id"]) for job in client.jobs()], ctx, incomplete)


def complete_host(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _complete(lambda client: sorted({str(agent["host"]) for agent in client.overview()["agents"]}), ctx, incomplete)


def complete_context(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        return [name for name in sorted(contexts.load().by_name) if name.startswith(incomplete)]
    except EratosError:
        return []


deployment_id = click.argument("deployment_id", metavar="DEPLOYMENT", shell_complete=complete_deployment)
app_id = click.argument("app_id", metavar="APP", help="id of an app, such as /shop/cart", shell_complete=complete_app)
pod_id = click.argument("pod_id", metavar="POD", help="id of a pod, such as /shop/cart", shell_complete=complete_pod)
app_ids = click.argument("app_ids", metavar="APP...", nargs=-1, required=True, shell_complete=complete_app)
job_id = click.argument("job_id", metavar="JOB", help="id of a job, such as shop.backup", shell_complete=complete_job)
count = click.argument("instances", type=click.IntRange(min=0), metavar="N", help="how many instances")
yes = click.option("--yes", "-y", is_flag=True, help="without asking")
force = click.option("--force", is_flag=True, help="also while a deployment touches it, which then does so no longer")
timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=WAIT_S,
    show_default=True,
    help="longest wait with --wait",
)


def reads(command: F) -> F:
    """Give a command what those have that show a log: --follow, --stderr and --tail."""
    lines = click.IntRange(min=0)
    for option in (
        click.option("--tail", "-n", type=lines, default=100, metavar="LINES", help="how many lines to begin with"),
        click.option("--stderr", is_flag=True, help="standard error instead of standard output"),
        click.option("--follow", "-f", is_flag=True, help="go on until the tasks end"),
    ):
        command = option(command)
    return command


def waits(command: F) -> F:
    """Give a command --wait and --timeout."""
    return click.option("--wait", "wait_", is_flag=True, help="until every instance runs and is healthy")(timeout(command))


def changes(command: F) -> F:
    """Give a command what those have that change an app or a pod: --force, --wait and --timeout."""
    return force(waits(command))
