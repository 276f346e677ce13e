"""``eratos context``: APIs by name, so that nobody types addresses and credentials again."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import click

from eratos.marathon.client import MarathonClient, Refused, without_password

from .. import arguments, connection, contexts, views
from ..output import Output
from ..session import confirm

commands = click.Group()

_name = click.argument("name", metavar="NAME", shell_complete=arguments.complete_context)


@commands.command("add")
@click.argument("name", metavar="NAME")
@click.option("--token", is_flag=True, help="ask for a token, or read it from standard input; kept in the file")
@click.option("--user", default="", metavar="USER", help="ask for this user's password, or read it from standard input")
@click.option("--replace", is_flag=True, help="also where there is one of that name")
@click.pass_obj
def add_context(out: Output, name: str, token: bool, user: str, replace: bool) -> None:
    """Keep an API under a name: what --url, --token-file, --ca-file, --cert-file and their variables say. The first is in use.

    \b
    eratos context add lab --url http://10.0.0.1:8080,http://10.0.0.2:8080
    eratos context add prod --url https://eratos.example:8443 --user alice
    """
    given = arguments.connection_options(click.get_current_context())
    if given.context:
        raise Refused(0, "--context: add takes what --url and its like say; say the new one's name alone")
    found = connection.typed(given)
    if found.origins["url"] == "default":
        raise Refused(0, "give --url, or set ERATOS_URL: a context is where an API is")
    asked = [flag for flag, there in (("--token", token), ("--user", user), ("--token-file", given.token_file)) if there]
    if len(asked) > 1:
        raise Refused(0, f"{', '.join(asked)}: give one of them")
    known = contexts.load()
    if name in known.by_name and not replace:
        raise Refused(0, f"there is a context {name} already: give --replace, or remove it")
    MarathonClient(found.context.url)  # refused where that is no URL
    context = _absolute(found.context)
    if token or user:
        shown = _asked("password" if user else "token")
        context = dataclasses.replace(
            context, token="" if user else shown, token_file="", credentials=f"{user}:{shown}" if user else ""
        )
    dataclasses.replace(found, context=context).client()  # refused where a file cannot be used
    after = known.having(name, context)
    contexts.save(after)
    out.say(f"{name}: kept in {contexts.place()}" + (", in use" if after.current == name else f"; eratos context use {name}"))
    out.result(_shown(name, context, after.current))


def _asked(what: str) -> str:
    """Return a secret that somebody types unseen, or that a pipe holds. Raises Refused where there is none."""
    if sys.stdin.isatty():
        try:
            found = str(click.prompt(what.capitalize(), hide_input=True, err=True))
        except click.Abort:
            raise Refused(0, f"no {what} was given, so nothing was kept") from None
    else:
        found = sys.stdin.readline().strip()
    if not found:
        raise Refused(0, f"standard input holds no {what}: its first line is read")
    return found


def _absolute(context: contexts.Context) -> contexts.Context:
    paths = {field: getattr(context, field) for field in ("token_file", "ca_file", "cert_file")}
    return dataclasses.replace(context, **{field: str(Path(path).absolute()) for field, path in paths.items() if path})


@commands.command("list")
@click.pass_obj
def list_contexts(out: Output) -> None:
    """List the contexts, and which is in use.

    \b
    eratos context list
    eratos context list -q
    """
    known = contexts.load()
    shown = [_shown(name, context, known.current) for name, context in sorted(known.by_name.items())]
    out.result(shown, views.contexts(shown))


@commands.command("use")
@_name
@click.pass_obj
def use_context(out: Output, name: str) -> None:
    """Use a context from now on, where neither options nor the environment say otherwise.

    \b
    eratos context use prod
    eratos app list --context lab           another one, once
    """
    contexts.save(contexts.load().using(name))
    out.say(f"{name} is in use")
    for variable in ("ERATOS_URL", "ERATOS_CONTEXT"):
        if os.environ.get(variable):
            out.say(f"but here {variable} is set, which comes before it")


@commands.command("show")
@click.argument("name", metavar="[NAME]", default="", help="default: what counts here", shell_complete=arguments.complete_context)
@click.pass_obj
def show_context(out: Output, name: str) -> None:
    """Show a context, or what counts here and now, and where each part of that is from. Secrets are not shown.

    \b
    eratos context show
    eratos context show prod
    """
    given = arguments.connection_options(click.get_current_context())
    if name and given.context:
        raise Refused(0, f"--context {given.context}, {name}: give one of them")
    if name:
        context, current = contexts.load().get(name), contexts.load().current
        shown = _shown(name, context, current)
        out.result(shown, views.pairs(shown))
        return
    found = connection.resolve(given)
    shown = {**_shown(found.name, found.context, found.name), "from": _origins(found)}
    out.result(shown, views.counting(shown))


@commands.command("remove")
@_name
@arguments.yes
@click.pass_obj
def remove_context(out: Output, name: str, yes: bool) -> None:
    """Forget a context, and the credentials kept with it.

    \b
    eratos context remove lab
    eratos context remove lab --yes
    """
    known = contexts.load()
    known.get(name)
    if not yes:
        confirm(f"Forget the context {name}?")
    contexts.save(known.without(name))
    out.say(f"{name}: forgotten" + ("; no context is in use now" if known.current == name else ""))


def _shown(name: str, context: contexts.Context, current: str) -> dict[str, Any]:
    return {
        "name": name,
        "url": without_password(context.url),
        "login": context.login,
        "caFile": context.ca_file,
        "certFile": context.cert_file,
        "inUse": bool(name) and name == current,
    }


def _origins(found: connection.Connection) -> dict[str, str]:
    login = next((field for field in ("token", "token_file", "credentials") if getattr(found.context, field)), "")
    named = {"url": "url", "login": login, "caFile": "ca_file", "certFile": "cert_file"}
    return {shown: found.origins[field] for shown, field in named.items() if field and getattr(found.context, field)}
