"""``eratos agent``: take a host out, and take it in again."""

from __future__ import annotations

import click

from .. import arguments, output, wait
from ..session import Session

commands = click.Group()


@commands.command("drain")
@click.argument("host", metavar="AGENT")
@click.option("--deadline", type=click.IntRange(min=1), metavar="SECONDS", help="then what is left is stopped (never)")
@click.option("--wait/--no-wait", "wait_", default=True, help="until nothing is left there (yes)")
@arguments.timeout
@click.pass_obj
def drain(session: Session, host: str, deadline: int | None, wait_: bool, timeout: float) -> None:
    """Have an agent emptied: nothing more is launched there, what can move is replaced elsewhere and stopped then.

    It stays so until undrain. What belongs to the host, as by its volumes, and runs of jobs stay until --deadline.
    """
    patience = session.patience(wait_, timeout)
    found = wait.until_taken(lambda: session.client.drain(host, deadline), patience)
    session.out.say(f"{host}: is drained, and takes nothing more until: eratos agent undrain {host}")
    if patience is not None:
        from .. import drains

        found = drains.until_empty(session.client, host, patience)
    session.out.result(found, output.drain(found))


@commands.command("undrain")
@click.argument("host", metavar="AGENT")
@click.pass_obj
def undrain(session: Session, host: str) -> None:
    """Let an agent that is drained take instances again."""
    found = session.client.undrain(host)
    session.out.say(f"{host}: takes instances again")
    session.out.result(found)
