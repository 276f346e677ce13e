"""What ``eratos`` says to those who do not know it yet: help with examples."""

from __future__ import annotations

from collections.abc import Iterator

import click

from eratos.cli.main import eratos


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


def test_each_commands_help_has_two_examples_of_which_one_is_of_itself() -> None:
    found = dict(commands(eratos))
    assert len(found) > 60
    examples = {
        name: [line.strip() for line in (command.help or "").partition("\b\n")[2].splitlines() if line.strip()]
        for name, command in found.items()
    }
    assert [name for name, lines in examples.items() if len(lines) < 2] == []
    assert [name for name, lines in examples.items() if not any(f"eratos {name}" in line for line in lines)] == []


def test_examples_name_commands_and_options_that_there_are() -> None:
    found = dict(commands(eratos))
    general = {option for item in eratos.params for option in item.opts}
    wrong = []
    for command in found.values():
        for line in (command.help or "").partition("\b\n")[2].splitlines():
            for piece in line.replace("$(", "|").split("|"):
                words = piece.strip().split("   ")[0].replace("xargs -n1 ", "").split(" -- ")[0].split()
                if words[:1] != ["eratos"]:
                    continue
                name = next((name for name in (" ".join(words[1:3]), words[1]) if name in found), "")
                options = {text for item in found[name].params for text in (*item.opts, *item.secondary_opts)} if name else set()
                if not name or not {word for word in words if word.startswith("--")} <= options | general:
                    wrong.append(line.strip())
    assert wrong == []
