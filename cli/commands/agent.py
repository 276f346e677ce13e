"""``eratos agent``: take a host out, and take it in again."""

from __future__ import annotations

import click

from .. import arguments, drains, views
from ..patience import until_taken
from ..session import Session

commands = click.Group()

_host = click.argument("host", metavar="HOST", shell_complete=arguments.complete_host)


@commands.command("drain")
@_host
@click.option(
    "--deadline", type=click.IntRange(min=0), metavar="SECONDS", help="from now; then what is left is stopped (0: never)"
)
@click.option("--wait/--no-wait", "wait_", default=True, help="until nothing is left there (yes)")
@arguments.timeout
@click.pass_obj
def drain(session: Session, host: str, deadline: int | None, wait_: bool, timeout: float) -> None:
    """Have a host emptied: nothing more is launched there, what can move is replaced elsewhere and stopped then.

    It stays so until undrain; the same command waits again. Runs of jobs, and what has volumes there that do not follow
    (eratos.follow), stay until they end, or until --deadline.

    \b
    eratos agent drain agent2 --deadline 600
    eratos agent drain agent2 --no-wait
    """
    patience = session.patience(wait_, timeout)
    found = until_taken(lambda: session.client.drain(host, deadline), patience)
    session.out.say(f"{host}: is drained, and takes nothing more until: eratos agent undrain {host}")
    if patience is not None:
        found = drains.until_empty(session.client, host, patience)
    session.out.result(found, *views.drain(found))


@commands.command("undrain")
@_host
@click.pass_obj
def undrain(session: Session, host: str) -> None:
    """Let a host that is drained take instances again.

    \b
    eratos agent undrain agent2
    eratos agents                          which are drained, by whom and since when
    """
    found = session.client.undrain(host)
    session.out.say(f"{host}: takes instances again")
    session.out.result(found)
