"""docs/cli-reference.md and docs/api-reference.md, made of the commands and the endpoints themselves: ``./dev docs`` writes them.

It imports eratos, so it runs in the development's virtual environment alone, as :mod:`.configuration_page` does.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import click

from eratos.cli.main import eratos
from eratos.scheduler.api.controller import Controller
from eratos.scheduler.api.server import create_api

from . import wrapping

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMANDS, ENDPOINTS = DOCS / "cli-reference.md", DOCS / "api-reference.md"

_COMMANDS_HEAD = """# Commands and options

This page is made from the code: `./dev docs` writes it, and a test compares it. How the commands
behave, and where they find the API: [cli.md](cli.md).
"""

_ENDPOINTS_HEAD = """# Endpoints of the API

This page is made from the API's own OpenAPI document, `/openapi.json`: `./dev docs` writes it, and
a test compares it. What answers hold is in that document; how requests are treated, and where
answers differ from Marathon's: [api.md](api.md).

*Role* is what a caller needs where the API asks who asks ([security.md](security.md)); an endpoint
without one answers every caller. *Query* names the parameters, *body* the schema in
`/openapi.json`. Beside what the last column names, every endpoint may answer {always}.
"""

#: What the last column leaves out, as nearly every endpoint has it.
_TYPES = {"boolean": "true or false", "integer": "a whole number", "number": "a number"}


def write() -> None:
    """Write both pages."""
    COMMANDS.write_text(commands())
    ENDPOINTS.write_text(endpoints())


def commands() -> str:
    """Return the page of all commands."""
    return "\n".join((_COMMANDS_HEAD, *_command(eratos, "eratos", "##")))


def _command(command: click.Command, path: str, mark: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"{mark} {path}\n"
    yield _usage(command, path, context)
    yield _help(command)
    if rows := [*_rows(command)]:
        yield "| argument or option | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(below, f"{path} {name}", mark if command is eratos else "###")


def _usage(command: click.Command, path: str, context: click.Context) -> str:
    pieces = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    options = " [OPTIONS]" if any(isinstance(item, click.Option) for item in command.params) else ""
    return f"```text\n{path}{options}{' ' if pieces else ''}{pieces}\n```\n"


def _help(command: click.Command) -> str:
    """Return what a command says of itself: paragraphs, and what is marked as it stands, as a block."""
    shown = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            shown.append(f"```text\n{inspect.cleandoc(paragraph[2:])}\n```")
        else:
            shown.append(wrapping.wrapped(_plain(" ".join(paragraph.split()))).strip())
    return "\n\n".join(shown) + "\n"


def _rows(command: click.Command) -> Iterator[str]:
    for item in command.params:
        said = _cell(getattr(item, "help", "") or "")
        if isinstance(item, click.Option):
            value = "" if item.is_flag or item.count else " " + _metavar(item).replace("|", r"\|")
            yield f"| `{', '.join(item.opts)}{value}` | {said} |"
        elif said:
            name = item.make_metavar(click.Context(command)).replace("|", r"\|")
            yield f"| `{name}` | {said} |"


def _metavar(option: click.Option) -> str:
    if option.metavar is None and isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.make_metavar(click.Context(eratos))


def _cell(text: str) -> str:
    return _plain(" ".join(text.split())).replace("|", r"\|")


def _plain(text: str) -> str:
    """Return a text in which nothing is taken for HTML or emphasis."""
    return re.sub(r"([<*_\[])", r"\\\1", text) if re.search(r"[<*_\[]", text) and "`" not in text else text


def endpoints() -> str:
    """Return the page of all endpoints."""
    # No request is made, so nobody asks the controller for anything but where its events are.
    document = create_api(cast(Controller, SimpleNamespace(events=Mock()))).openapi()
    operations = [
        (path, method, operation) for path, methods in document["paths"].items() for method, operation in methods.items()
    ]
    always = set.intersection(*({*_failures(operation)} for _, _, operation in operations))
    common = {code: text for code, text in _failures(operations[0][2]).items() if code in always}
    stated = ", ".join(f"{code} ({text.rstrip('.').lower()})" for code, text in sorted(common.items()))
    parts = [wrapping.wrapped(_ENDPOINTS_HEAD.format(always=stated))]
    for tag in sorted({tag for _, _, operation in operations for tag in operation["tags"]}):
        ours = [found for found in operations if tag in found[2]["tags"]]
        parts.append(f"## {tag.capitalize()}\n\n" + _table(ours, always))
    return "\n".join(parts)


def _table(operations: Iterable[tuple[str, str, Mapping[str, Any]]], always: set[str]) -> str:
    lines = ["| request | what | role | query | body | answers |", "| --- | --- | --- | --- | --- | --- |"]
    for path, method, operation in operations:
        query = ", ".join(_parameter(item) for item in operation["parameters"] if item["in"] == "query")
        codes = ", ".join(code for code in sorted(operation["responses"]) if code not in always)
        what = operation["summary"].capitalize()
        role = operation.get("x-eratos-role", "")
        lines.append(f"| `{method.upper()} {path}` | {what} | {role} | {query} | {_body(operation)} | {codes} |")
    return "\n".join(lines) + "\n"


def _failures(operation: Mapping[str, Any]) -> dict[str, str]:
    return {code: answer["description"] for code, answer in operation["responses"].items() if code >= "400"}


def _parameter(item: Mapping[str, Any]) -> str:
    kind = _TYPES.get(item["schema"].get("type", ""), "")
    return f"`{item['name']}`" + (f" ({kind})" if kind else "")


def _body(operation: Mapping[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    found = re.findall(r"#/components/schemas/(\w+)", str(schema))
    return ", ".join(f"`{name}`" for name in dict.fromkeys(found)) or "JSON"


if __name__ == "__main__":
    write()
