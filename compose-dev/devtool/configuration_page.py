"""docs/configuration.md, made of the classes that hold the settings: ``./dev docs`` writes it.

It imports eratos, so it runs in the development's virtual environment alone; no other module here may import it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from eratos.executor import config as executor
from eratos.haproxy import config as companion
from eratos.scheduler import config as scheduler

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

#: How names say units (docs/glossary.md), the first that fits.
UNITS = (
    (r"_ms$", "ms"),
    (r"_s$", "s"),
    (r"_mib$", "MiB"),
    (r"_bytes$", "bytes"),
    (r"_cpus$", "CPUs"),
    (r"_share$", "share of 1"),
    (r"_rate$", "requests/s"),
)

HEAD = """# Settings

This page is made from the code: `./dev docs` writes it, and a test compares it. A wrong value ends
the program at its start, with a sentence for each problem that names the setting and the fix.

Secrets stand in files that root alone can read ([security.md](security.md)). Units stand last in
names. An empty default means that the setting is off, or that its meaning says what counts instead.
"""

SCHEDULER = """## Scheduler

Flags of `eratos-scheduler`, from `scheduler/config.py`. Each can be given in the environment
instead, where a flag wins: `--http-port` is `ERATOS_HTTP_PORT`. True and false are written out.
"""

EXECUTOR = """## Executor

Flags of `eratos-executor`, from `executor/config.py`. Each can be given in the environment instead,
where a flag wins. Agents start executors, so set the variables in the agent's environment. What
Mesos says of itself comes in `MESOS_*` variables from the agent (`executor/mesos/settings.py`).
"""

COMPANION = """## Balancer companion

Environment variables of a balancer's container that its companion reads, from `haproxy/config.py`.
[balancer.md](balancer.md) has them together with those that HAProxy, nginx and consul-template
read.
"""

#: Has the settings that the companion only hands on, with default and meaning.
BALANCER = PAGE.with_name("balancer.md")


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        (
            HEAD,
            SCHEDULER,
            _table("flag", _scheduler()),
            EXECUTOR,
            _table("flag", _executor()),
            COMPANION,
            _table("variable", _companion()),
        )
    )


def _scheduler() -> Iterable[tuple[str, str, str]]:
    for item in dataclasses.fields(scheduler.Config):
        yield "--" + item.name.replace("_", "-"), str(item.default), item.metadata["help"]


def _executor() -> Iterable[tuple[str, str, str]]:
    for flag, default, text in executor.flags({}):
        yield "--" + flag, _here(flag, default), text


def _companion() -> Iterable[tuple[str, str, str]]:
    """Return the variables that the comments of the fields name, with what the fields are where none is set."""
    values = companion.read({})
    comment = ""
    for line in inspect.getsource(companion.Config).splitlines():
        before, mark, after = line.partition("#: ")
        comment += after if mark else ""
        if not (field := re.match(r"^    (\w+): ", before)):
            continue
        variables, meaning = re.findall(r"``([A-Z_]{4,})``", comment), comment.partition(": ")[2]
        if len(variables) == 1:
            yield variables[0], _here(field[1], _text(getattr(values, field[1]))), meaning
        else:
            yield from (row for row in balancer_rows() if row[0] in variables)
        comment = ""


def balancer_rows() -> list[tuple[str, str, str]]:
    """Return variable, default and meaning of each setting in docs/balancer.md; an empty default where the cell is prose."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+) \|$", BALANCER.read_text(), re.MULTILINE)
    literal = re.compile(r"`.*`|[\d.]+")
    return [(name, default.strip("`") if literal.fullmatch(default) else "", meaning) for name, default, meaning in rows]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _here(name: str, default: str) -> str:
    """Return a default without the name of the machine that makes the page."""
    return "the host's name" if name == "host" and default == socket.gethostname() else default


def _table(kind: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = [f"| {kind} | default | unit | meaning |", "| --- | --- | --- | --- |"]
    for name, default, meaning in rows:
        key = name.lstrip("-").lower().replace("-", "_")
        unit = next((unit for pattern, unit in UNITS if re.search(pattern, key)), "")
        shown = default if default in ("", "the host's name") else f"`{_plain(default)}`"
        lines.append(f"| `{name}` | {shown} | {unit} | {_escaped(meaning)} |")
    return "\n".join(lines) + "\n"


def _plain(default: str) -> str:
    """Return a default as users write it: true for True, 300 for 300.0."""
    return {"True": "true", "False": "false"}.get(default, re.sub(r"^(\d+)\.0$", r"\1", default))


def _escaped(text: str) -> str:
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page())
